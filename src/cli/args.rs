//! The command line as it is typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::dns::DnsArgs;
use crate::cli::output::DataFormat;

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

/// Arguments of `controller`: each can be given by its environment variable too, which is how the chart does it.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// The installation's namespace: the Lease of the leader lives here
    #[arg(long, env = "WORKSTEAD_NAMESPACE", hide_env_values = true, default_value = "workstead-system", value_parser = label)]
    pub namespace: String,
    /// Who we are in the Lease: the name of the pod [default: a random one]
    #[arg(long, env = "WORKSTEAD_IDENTITY", hide_env_values = true)]
    pub identity: Option<String>,
    /// The Workstead image, mounted into every workspace
    #[arg(long, env = "WORKSTEAD_TOOLS_IMAGE", hide_env_values = true)]
    pub tools_image: String,
    /// Secrets of that namespace with registry credentials, for pods that find out whether the image can be mounted
    #[arg(long, env = "WORKSTEAD_PULL_SECRETS", hide_env_values = true, value_name = "SECRET", value_delimiter = ',', value_parser = domain)]
    pub pull_secrets: Vec<String>,
    /// The domain under which workspaces open, for example work.example.com
    #[arg(long, env = "WORKSTEAD_BASE_DOMAIN", hide_env_values = true, value_parser = domain)]
    pub base_domain: Option<String>,
    /// How many Workspaces there may be in the cluster [default: no limit]
    #[arg(long, env = "WORKSTEAD_QUOTA_TOTAL", hide_env_values = true)]
    pub quota_total: Option<u32>,
    /// Who answers DNS queries.
    #[command(flatten)]
    pub dns: DnsArgs,
    /// Objects of a kind that are reconciled at the same time
    #[arg(long, env = "WORKSTEAD_CONCURRENCY", hide_env_values = true, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// What Git repositories may cost.
    #[command(flatten)]
    pub git: GitArgs,
    /// Where Git repositories are kept; a cache
    #[arg(
        long,
        env = "WORKSTEAD_STATE_DIRECTORY",
        hide_env_values = true,
        default_value = "/var/lib/workstead"
    )]
    pub state_directory: PathBuf,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(
        long,
        env = "WORKSTEAD_HEALTH_ADDRESS",
        hide_env_values = true,
        default_value = "0.0.0.0:8080"
    )]
    pub health_address: SocketAddr,
    /// Where the hooks of Git servers are received
    #[arg(
        long,
        env = "WORKSTEAD_WEBHOOK_ADDRESS",
        hide_env_values = true,
        default_value = "0.0.0.0:8082"
    )]
    pub webhook_address: SocketAddr,
    /// Look at this namespace alone [default: all]
    #[arg(long, env = "WORKSTEAD_WATCH_NAMESPACE", hide_env_values = true, value_parser = label)]
    pub watch_namespace: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,workstead=debug
    #[arg(
        long,
        env = "WORKSTEAD_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    pub log: String,
    /// How log lines look
    #[arg(
        long,
        env = "WORKSTEAD_LOG_FORMAT",
        hide_env_values = true,
        value_enum,
        default_value = "text"
    )]
    pub log_format: LogFormatArg,
    /// Path of a kubeconfig [default: the pod's ServiceAccount, or $KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What Git repositories may cost the controller. A test relates the defaults to the memory and the volume of the chart's
/// pod.
#[derive(Args, Clone, Debug)]
pub struct GitArgs {
    /// Fetches from Git at the same time, each in a process of its own
    #[arg(long = "git-fetches", env = "WORKSTEAD_GIT_FETCHES", hide_env_values = true, default_value_t = 6, value_parser = clap::value_parser!(u16).range(2..))]
    pub fetches: u16,
    /// Memory of one fetch
    #[arg(long = "git-fetch-memory", env = "WORKSTEAD_GIT_FETCH_MEMORY", hide_env_values = true, default_value = "96Mi", value_parser = bytes)]
    pub fetch_memory: u64,
    /// Bytes that one fetch may transfer
    #[arg(long = "git-fetch-bytes", env = "WORKSTEAD_GIT_FETCH_BYTES", hide_env_values = true, default_value = "128Mi", value_parser = bytes)]
    pub fetch_bytes: u64,
    /// Objects that one fetch may transfer
    #[arg(
        long = "git-fetch-objects",
        env = "WORKSTEAD_GIT_FETCH_OBJECTS",
        hide_env_values = true,
        default_value_t = 500_000
    )]
    pub fetch_objects: u64,
    /// Bytes of one object of a repository, unpacked
    #[arg(long = "git-object-bytes", env = "WORKSTEAD_GIT_OBJECT_BYTES", hide_env_values = true, default_value = "32Mi", value_parser = bytes)]
    pub object_bytes: u64,
    /// Bytes of one repository on disk
    #[arg(long = "git-repository-bytes", env = "WORKSTEAD_GIT_REPOSITORY_BYTES", hide_env_values = true, default_value = "384Mi", value_parser = bytes)]
    pub repository_bytes: u64,
    /// Bytes of all repositories on disk
    #[arg(long = "git-repositories-bytes", env = "WORKSTEAD_GIT_REPOSITORIES_BYTES", hide_env_values = true, default_value = "1Gi", value_parser = bytes)]
    pub repositories_bytes: u64,
    /// Bytes of the YAML files of one tree
    #[arg(long = "git-tree-bytes", env = "WORKSTEAD_GIT_TREE_BYTES", hide_env_values = true, default_value = "16Mi", value_parser = bytes)]
    pub tree_bytes: u64,
    /// Bytes of the YAML files of all trees, which are kept in memory
    #[arg(long = "git-trees-bytes", env = "WORKSTEAD_GIT_TREES_BYTES", hide_env_values = true, default_value = "32Mi", value_parser = bytes)]
    pub trees_bytes: u64,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// For machines
    Json,
}

/// Reads `96Mi`, `1Gi`, `500000`.
fn bytes(text: &str) -> Result<u64, String> {
    let amount = crate::model::quantity::Amount::parse(text).map_err(|error| error.to_string())?;
    amount
        .to_u64()
        .ok_or_else(|| format!("'{text}' is no whole number of bytes: write for example 96Mi"))
}

/// Reads `90s`, `10m`, `1h30m`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("'{text}' is no length of time: write for example 90s or 10m");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    std::time::Duration::try_from(span).map_err(|_| wrong())
}

fn label(text: &str) -> Result<String, String> {
    crate::model::names::DnsLabel::new(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|error| error.to_string())
}

fn domain(text: &str) -> Result<String, String> {
    crate::model::names::DnsSubdomain::new(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        assert_eq!(bytes("96Mi"), Ok(96 * 1024 * 1024));
        assert_eq!(bytes("1k"), Ok(1000));
        for wrong in ["", "0.5", "-1Mi", "many"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        assert_eq!(duration("90s").unwrap().as_secs(), 90);
        assert_eq!(duration("1h30m").unwrap().as_secs(), 5400);
        assert!(duration("soon").is_err());
        assert!(duration("-5s").is_err());
    }
}
