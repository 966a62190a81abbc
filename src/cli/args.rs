//! The command line as it is typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::controller::ControllerArgs;
use crate::cli::dns::DnsArgs;
use crate::cli::doctor::DoctorArgs;
use crate::cli::identity::IdentityArgs;
use crate::cli::open::OpenArgs;
use crate::cli::output::DataFormat;
use crate::cli::proxy::ProxyArgs;
use crate::cli::seal::SealArgs;
use crate::cli::values::{domain, duration, label};
use crate::cli::vars::VarsArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  done, and the answer is no: a file is wrong, what was waited for failed, a stop was refused
  2  it could not be done: wrong arguments, no cluster, no such object";

/// Development workspaces from a Git repository, on Kubernetes.
///
/// A commit says which workspaces there are; the controller makes them run and tells the truth about them. Placed in
/// your PATH as kubectl-workstead, it is the plugin `kubectl workstead` too.
#[derive(Debug, Parser)]
#[command(name = "workstead", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List workspaces
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  workstead list                 those of the context's namespace
  workstead list -A -o wide      all, with class, image and node
  workstead list -o json         for programs"
    )]
    List(ListArgs),
    /// Say why a workspace or a GitSync is as it is: cause, evidence, next step, timeline
    #[command(after_help = "\
Examples:
  workstead why alice-api
  workstead why gitsync/platform -n workstead-system
  workstead why alice-api -o json

It ends with 0 whenever it could explain, also what failed: for programs, -o json has the state.")]
    Why(WhyArgs),
    /// Start a workspace
    ///
    /// Sets spec.desiredState to Running, unless a file decides it. A workspace that a timer stopped is woken.
    #[command(after_help = "\
Examples:
  workstead start alice-api
  workstead start alice-api --wait --timeout 2m
  workstead start alice-api --wait -o json         for programs: what was asked, state, status")]
    Start(RunStateArgs),
    /// Stop a workspace; its home volume stays
    ///
    /// Sets spec.desiredState to Stopped. Refused where a file decides it: the file is named.
    #[command(after_help = "\
Examples:
  workstead stop alice-api --wait")]
    Stop(RunStateArgs),
    /// Restart a workspace: it stops, then starts with all changes that waited
    #[command(after_help = "\
Examples:
  workstead restart alice-api --wait")]
    Restart(RunStateArgs),
    /// Have a GitSync fetch and apply now
    #[command(after_help = "\
Examples:
  workstead sync platform -n workstead-system --wait")]
    Sync(SyncArgs),
    /// Say what files would create, change, delete and restart, and what waits for a start
    #[command(after_help = "\
Examples:
  workstead plan                                   what waits for a start already
  workstead plan . --gitsync platform              as that GitSync would apply this checkout, deletes included
  workstead plan --gitsync platform                as it would apply the commit that it follows
  workstead plan workspaces/ -o json               for programs")]
    Plan(PlanArgs),
    /// Check files without a cluster: what the API server refuses and what could never run, with file, line and column
    #[command(after_help = "\
Examples:
  workstead validate workspaces/
  workstead validate . --gitsync platform/gitsync.yaml     with its path, owners and kinds
  workstead validate . -o json                             for programs")]
    Validate(ValidateArgs),
    /// Print the Kubernetes objects that a Workspace becomes
    #[command(after_help = "\
Examples:
  workstead render alice.yaml --class class-team.yaml")]
    Render(RenderArgs),
    /// Seal variables and files, so that they may lie in a repository
    ///
    /// It makes a WorkspaceVariables that the controller alone can open, and you with an identity among the recipients:
    /// `age -d` opens the text in spec.sealed. To which place it belongs is inside of the sealed text.
    #[command(after_help = "\
Examples:
  workstead seal vars.yaml -o variables/api.yaml               a set that says its place itself
  workstead seal --env-file .env --name api -n team-a -o variables/api.yaml
  workstead seal --ask TOKEN --file '~/.netrc=netrc' --name api -n team-a -o variables/api.yaml
  workstead seal vars.yaml --pin recipients.txt -o variables/api.yaml
  workstead seal vars.yaml --recipients-file recipients.txt    without a cluster, to the screen")]
    Seal(Box<SealArgs>),
    /// Look at sealed variables of a workspace, take newer ones; edit, rotate and check sealed sets
    #[command(after_help = "\
Examples:
  workstead vars list alice-api                    what it has, by name, and what is newer
  workstead vars update alice-api --restart
  workstead vars edit variables/api.yaml --identity ~/identity.txt
  workstead vars rotate variables/*.yaml --identity ~/identity.txt
  workstead vars check variables/")]
    Vars(Box<VarsArgs>),
    /// Make, list and retire what opens sealed variables
    #[command(after_help = "\
Examples:
  workstead identity new -o identity.txt
  workstead identity new --install                 the installation's next one
  workstead identity list
  workstead identity retire 0123456789abcdef")]
    Identity(IdentityArgs),
    /// Open a workspace in the browser
    ///
    /// Where people sign in at an identity provider it shows the workspace's address. On one machine without one it makes a
    /// login link that works once, for ten minutes: whoever can read Secret workstead-proxy-keys can.
    #[command(after_help = "\
Examples:
  workstead open alice-api
  workstead open alice-api --port 3000 --print")]
    Open(OpenArgs),
    /// Say which step of the way from a browser to a workspace is wrong, and what mends it
    ///
    /// It looks at what is installed in the cluster, or, with --base-domain, at what is still to be: names, certificate,
    /// identity provider, clocks.
    #[command(after_help = "\
Examples:
  workstead doctor
  workstead doctor -o json                                 for programs
  workstead doctor --base-domain work.example.com --oidc-issuer https://id.example.com --oidc-client-id workstead
  workstead doctor --connect-to 203.0.113.7:443            before the names lead there

It ends with 1 when a step is wrong.")]
    Doctor(Box<DoctorArgs>),
    /// Print the CustomResourceDefinitions of all kinds
    #[command(after_help = "\
Examples:
  workstead crds | kubectl apply --server-side -f -")]
    Crds(CrdsArgs),
    /// Print a completion script
    #[command(after_help = "\
Examples:
  source <(workstead completion bash)
  workstead completion zsh > \"${fpath[1]}/_workstead\"
  workstead completion fish > ~/.config/fish/completions/workstead.fish")]
    Completion(CompletionArgs),
    /// Run the controllers (in the cluster; the chart does it)
    Controller(Box<ControllerArgs>),
    /// Run the proxy, the way into workspaces (in the cluster; the chart does it)
    Proxy(Box<ProxyArgs>),
    /// Fetch a commit: the controller starts it and talks to it over its standard input
    #[command(hide = true)]
    GitFetch,
}

/// Which cluster, and which namespace.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Namespace [default: that of the context]
    #[arg(short, long, value_parser = label)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
    /// Path of the kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Arguments of `list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only those of this owner
    #[arg(long)]
    pub owner: Option<String>,
    /// How to write the answer
    #[arg(short, long, value_enum)]
    pub output: Option<ListFormat>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// A table with more columns
    Wide,
}

/// Arguments of `why`.
#[derive(Args, Debug)]
pub struct WhyArgs {
    /// A workspace, or gitsync/NAME
    pub name: String,
    /// How to write the answer [default: text]
    #[arg(short, long, value_enum)]
    pub output: Option<DataFormat>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Arguments of `start`, `stop` and `restart`.
#[derive(Args, Debug)]
pub struct RunStateArgs {
    /// Name of the workspace
    #[arg(value_parser = domain)]
    pub name: String,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to write the answer [default: text]
    #[arg(short, long, value_enum)]
    pub output: Option<DataFormat>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Whether to wait.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// Wait until it is so, and say what happens meanwhile
    #[arg(short, long)]
    pub wait: bool,
    /// How long to wait, for example 90s or 10m
    #[arg(long, default_value = "10m", value_parser = duration, requires = "wait")]
    pub timeout: std::time::Duration,
}

/// Arguments of `sync`.
#[derive(Args, Debug)]
pub struct SyncArgs {
    /// Name of the GitSync
    #[arg(value_parser = domain)]
    pub name: String,
    /// Waiting.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to write the answer [default: text]
    #[arg(short, long, value_enum)]
    pub output: Option<DataFormat>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Arguments of `validate`.
#[derive(Args, Debug)]
pub struct ValidateArgs {
    /// Folders or files; - reads standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// A file with the GitSync whose rules hold: path, ignore, owners, kinds, namespaces
    #[arg(long, value_name = "FILE")]
    pub gitsync: Option<PathBuf>,
    /// Files to leave out, in gitignore syntax
    #[arg(long, value_name = "PATTERN")]
    pub ignore: Vec<String>,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default", value_parser = label)]
    pub namespace: String,
    /// How to write the answer [default: a line an error]
    #[arg(short, long, value_enum)]
    pub output: Option<DataFormat>,
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// A checkout of the repository, a folder or a file
    pub path: Option<PathBuf>,
    /// The GitSync that would apply it: its path, rules, inventory and deletion guard
    #[arg(long, value_name = "NAME", value_parser = domain)]
    pub gitsync: Option<String>,
    /// What waits in all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How to write the answer [default: text]
    #[arg(short, long, value_enum)]
    pub output: Option<DataFormat>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Arguments of `render`.
#[derive(Args, Debug)]
pub struct RenderArgs {
    /// The file with the Workspace
    pub file: PathBuf,
    /// Files with the class
    #[arg(long = "class", value_name = "FILE")]
    pub classes: Vec<PathBuf>,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default", value_parser = label)]
    pub namespace: String,
    /// The Workstead image of the installation
    #[arg(long, default_value = concat!("workstead:", env!("CARGO_PKG_VERSION")))]
    pub tools_image: String,
    /// The domain of the installation
    #[arg(long)]
    pub base_domain: Option<String>,
    /// The namespace of the installation
    #[arg(long, default_value = "workstead-system")]
    pub installation_namespace: String,
    /// Who answers DNS queries.
    #[command(flatten)]
    pub dns: DnsArgs,
    /// How to write the answer
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub output: DataFormat,
}

/// Arguments of `crds`.
#[derive(Args, Debug)]
pub struct CrdsArgs {
    /// How to write the answer
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub output: DataFormat,
}

/// Arguments of `completion`.
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// Which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Shell {
    /// What writes the script.
    pub fn generator(self) -> clap_complete::Shell {
        match self {
            Self::Bash => clap_complete::Shell::Bash,
            Self::Zsh => clap_complete::Shell::Zsh,
            Self::Fish => clap_complete::Shell::Fish,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
