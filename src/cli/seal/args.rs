//! The arguments of `seal`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::args::ClusterArgs;
use crate::cli::values::{domain, label};
use crate::model::identity::Owner;
use crate::secrets::binding::Scope;
use crate::secrets::document::HIGHEST_SERIAL;

/// Arguments of `seal`.
///
/// Names of variables and recipients are texts here, and are read later: clap repeats what it refuses, and somebody may
/// have typed a value or an identity.
#[derive(Args, Debug)]
pub struct SealArgs {
    /// A file with the set in plaintext: env, files and, where wanted, binding, scope, appliesTo, serial; - reads standard input
    #[arg(value_name = "FILE")]
    pub set: Option<PathBuf>,
    /// A .env file with variables; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "What to seal")]
    pub env_file: Vec<PathBuf>,
    /// A variable whose value is asked for and not shown, or read from standard input, a line each; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "What to seal")]
    pub ask: Vec<String>,
    /// A file LOCAL, which workspaces get at PATH, '~/…' in quotes for their home; may be repeated
    #[arg(
        long = "file",
        value_name = "PATH=LOCAL",
        help_heading = "What to seal"
    )]
    pub local: Vec<String>,
    /// Read plaintext also where Git would take it into a commit
    #[arg(long, help_heading = "What to seal")]
    pub allow_plaintext: bool,
    /// Name of the WorkspaceVariables [default: that of FILE's binding]
    #[arg(long, value_parser = domain, help_heading = "Whom it is for")]
    pub name: Option<String>,
    /// Where it may be used: at its namespace and name, anywhere in its namespace, or anywhere [default: FILE's, else strict]
    #[arg(long, value_enum, help_heading = "Whom it is for")]
    pub scope: Option<ScopeArg>,
    /// Workspaces of this owner take it without listing it
    #[arg(long, value_parser = owner, conflicts_with = "for_namespace", help_heading = "Whom it is for")]
    pub owner: Option<String>,
    /// All Workspaces of the namespace take it without listing it
    #[arg(long, help_heading = "Whom it is for")]
    pub for_namespace: bool,
    /// Its number, which may only rise: an older text is refused then
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=HIGHEST_SERIAL), help_heading = "Whom it is for")]
    pub serial: Option<u64>,
    /// Who can open it.
    #[command(flatten)]
    pub recipients: RecipientsArgs,
    /// Where to write the object [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Who can open what is sealed.
#[derive(Args, Debug)]
pub struct RecipientsArgs {
    /// Who can open it, age1…; may be repeated [default: the recipients that the installation publishes]
    #[arg(long, value_name = "RECIPIENT", help_heading = "Who can open it")]
    pub recipient: Vec<String>,
    /// A file with recipients, one a line, # begins a remark
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "recipient",
        help_heading = "Who can open it"
    )]
    pub recipients_file: Option<PathBuf>,
    /// A file that the recipients have to be those of; written, if it is not there
    #[arg(long, value_name = "FILE", help_heading = "Who can open it")]
    pub pin: Option<PathBuf>,
    /// Namespace of the installation
    #[arg(long, value_name = "NAMESPACE", default_value = "workstead-system", value_parser = label, help_heading = "Who can open it")]
    pub installation_namespace: String,
}

/// Where a set may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeArg {
    /// Only under its namespace and name
    Strict,
    /// Under any name of its namespace
    Namespace,
    /// Anywhere
    Cluster,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Strict => Self::Strict,
            ScopeArg::Namespace => Self::Namespace,
            ScopeArg::Cluster => Self::Cluster,
        }
    }
}

fn owner(text: &str) -> Result<String, String> {
    let owner = Owner::new(text).map_err(|error| error.to_string())?;
    Ok(owner.to_string())
}
