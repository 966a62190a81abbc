//! What supervisor, controller, proxy and netforward say to each other.
//!
//! Owns paths, ports and messages that both ends of a conversation must agree on. Knows serde and nothing else.
//!
//! Every message is JSON with names in camel case. A reader passes over fields that it does not know, fills in those
//! that are missing, and reads values that it does not know as `Other`: the two ends are never of one age.

mod plan;
mod report;

pub use plan::{
    Author, Command, Credential, Editor, Libc, Needs, Network, PLAN_LIMIT, PLAN_VARIABLE,
    PLAN_VERSION, Plan, Project, SECRETS_VARIABLE,
};
pub use report::{
    Cause, Idle, LINE_LIMIT, REPORT_VERSION, Report, Request, Step, StepFailure, StepKind,
    StepState, TAIL_BYTES, TAIL_LINES,
};

/// Where the Workstead image is mounted, read-only, in every workspace container.
pub const TOOLS_PATH: &str = "/opt/workstead";

/// The first process of a workspace container, inside [`TOOLS_PATH`].
pub const SUPERVISOR_PATH: &str = "/opt/workstead/bin/workstead-supervisor";

/// The Git of the tools, inside [`TOOLS_PATH`]: it runs in any image, as any user.
pub const GIT_PATH: &str = "/opt/workstead/bin/git";

/// The ssh of the tools, inside [`TOOLS_PATH`].
pub const SSH_PATH: &str = "/opt/workstead/bin/ssh";

/// Where the image of the editor is mounted, read-only.
pub const EDITOR_PATH: &str = "/opt/workstead-editor";

/// The volume that lasts: every project is a folder in it.
pub const PROJECTS_PATH: &str = "/projects";

/// Sockets and files of a running workspace, in memory.
pub const RUN_PATH: &str = "/run/workstead";

/// Key, certificate and client authority of the supervisor: [`TLS_CERTIFICATE`], [`TLS_KEY`] and [`TLS_CLIENTS`].
pub const SUPERVISOR_FILES_PATH: &str = "/run/workstead/supervisor";

/// The supervisor's certificate, in [`SUPERVISOR_FILES_PATH`].
pub const TLS_CERTIFICATE: &str = "tls.crt";

/// The key of that certificate, in [`SUPERVISOR_FILES_PATH`].
pub const TLS_KEY: &str = "tls.key";

/// The authority that signs those who may ask the supervisor, in [`SUPERVISOR_FILES_PATH`].
pub const TLS_CLIENTS: &str = "ca.crt";

/// A folder for each Secret with Git credentials, named like it.
pub const CREDENTIALS_PATH: &str = "/run/workstead/git-credentials";

/// The files of sealed sets, read-only, each at its path in the set. Those whose path begins with `~/` lie in a folder that
/// is really named `~`, and the supervisor links them into HOME.
pub const FILES_PATH: &str = "/run/workstead/files";

/// The editor.
pub const EDITOR_PORT: u16 = 60001;

/// The supervisor's conversation with controller and proxy: TLS 1.3, both ends with a certificate.
pub const SUPERVISOR_PORT: u16 = 60003;

/// `GET /ready` for the kubelet, without data.
pub const READY_PORT: u16 = 60004;

/// The URI in the certificate of the controller.
pub const CONTROLLER_IDENTITY: &str = "workstead://controller";

/// The URI in the certificate of the proxy.
pub const PROXY_IDENTITY: &str = "workstead://proxy";
