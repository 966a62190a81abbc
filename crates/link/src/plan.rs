//! What a supervisor is to do. It comes with the pod, so that a restart needs nobody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The environment variable of the main container that holds a [`Plan`]. Its children do not see it.
pub const PLAN_VARIABLE: &str = "WORKSTEAD_PLAN";

/// The environment variable of the main container that names those whose values are secret, with commas between them. It goes
/// where [`PLAN_VARIABLE`] goes.
pub const SECRETS_VARIABLE: &str = "WORKSTEAD_SECRETS";

/// How long the plan may be. The kernel takes no single variable of more than 128 KiB.
pub const PLAN_LIMIT: usize = 96 * 1024;

/// The version that this crate writes.
pub const PLAN_VERSION: u32 = 1;

/// All that is to happen in a workspace after its start. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    /// [`PLAN_VERSION`] of the writer.
    pub version: u32,
    /// What is cloned, in this order.
    pub projects: Vec<Project>,
    /// What runs once the projects are there, in this order.
    pub post_start: Vec<Command>,
    /// The editor, if the workspace has one.
    pub editor: Option<Editor>,
    /// Who makes the commits.
    pub author: Option<Author>,
    /// Which Secret holds the credentials for which hosts.
    pub credentials: Vec<Credential>,
    /// How the workspace gets its network.
    pub network: Network,
    /// Names of programs: while one of them runs, the workspace is not idle.
    pub keep_alive: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            version: PLAN_VERSION,
            projects: Vec::new(),
            post_start: Vec::new(),
            editor: None,
            author: None,
            credentials: Vec::new(),
            network: Network::default(),
            keep_alive: Vec::new(),
        }
    }
}

/// A repository that is cloned, unless its folder exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Project {
    /// Names the step.
    pub name: String,
    /// Where it comes from: https, http or ssh, without credentials.
    pub url: String,
    /// A branch, a tag or a commit; the remote's own choice without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Further remotes: name and URL.
    pub remotes: BTreeMap<String, String>,
    /// Take the last commit only.
    pub shallow: bool,
    /// Folders to check out; all without one.
    pub sparse: Vec<String>,
    /// The part of the repository in which the work is done: editor and commands begin there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subdirectory: Option<String>,
    /// The folder below [`crate::PROJECTS_PATH`].
    pub folder: String,
}

/// A command that runs after the start, by the shell of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Command {
    /// Names the step.
    pub name: String,
    /// The text that `/bin/sh` gets.
    pub run: String,
    /// Where it runs: a path below [`crate::PROJECTS_PATH`], or an absolute one. The first project without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// After this it is ended; 0 stands for the supervisor's own limit.
    pub timeout_seconds: u32,
}

/// An editor that the workspace offers on a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Editor {
    /// Its name in the class.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it listens.
    pub port: u16,
    /// What it answers once it is ready.
    pub ready_path: String,
    /// What the image must have.
    pub needs: Needs,
    /// Where its image is mounted.
    pub folder: String,
}

/// What an editor needs of the workspace's image and node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Needs {
    /// Names as Kubernetes uses them, such as `amd64`; any without one.
    pub architectures: Vec<String>,
    /// The C library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libc: Option<Libc>,
}

/// A C library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Libc {
    /// The GNU one.
    Glibc {
        /// The oldest version that will do, such as `2.28`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<String>,
    },
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// Name and mail address in commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Author {
    /// For people.
    pub name: String,
    /// For mail.
    pub email: String,
}

/// A Secret with credentials, mounted in [`crate::CREDENTIALS_PATH`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Credential {
    /// The Secret.
    pub name: String,
    /// For these hosts, with a port where it is not the usual one.
    pub hosts: Vec<String>,
}

/// How the workspace gets its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Network {
    /// The pod's own.
    #[default]
    None,
    /// One that this version does not know, and so can't attach.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_way_through_json() {
        let plan = Plan {
            projects: vec![Project {
                name: "api".to_owned(),
                url: "https://git.example.com/api.git".to_owned(),
                reference: Some("main".to_owned()),
                remotes: BTreeMap::from([("fork".to_owned(), "ssh://git@x/y".to_owned())]),
                shallow: true,
                sparse: vec!["docs".to_owned()],
                subdirectory: Some("docs".to_owned()),
                folder: "api".to_owned(),
            }],
            post_start: vec![Command {
                name: "build".to_owned(),
                run: "make".to_owned(),
                working_dir: None,
                timeout_seconds: 60,
            }],
            editor: Some(Editor {
                name: "code".to_owned(),
                command: vec!["bin/code".to_owned()],
                port: 60001,
                ready_path: "/healthz".to_owned(),
                needs: Needs {
                    architectures: vec!["amd64".to_owned()],
                    libc: Some(Libc::Glibc {
                        min: Some("2.28".to_owned()),
                    }),
                },
                folder: "/opt/workstead-editor".to_owned(),
            }),
            author: Some(Author::default()),
            credentials: vec![Credential {
                name: "team".to_owned(),
                hosts: vec!["git.example.com".to_owned()],
            }],
            keep_alive: vec!["cargo".to_owned()],
            ..Plan::default()
        };
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        for name in ["postStart", "timeoutSeconds", "readyPath", "keepAlive"] {
            assert!(text.contains(&format!("\"{name}\"")), "{name}: {text}");
        }
        assert!(
            text.contains(r#""libc":{"kind":"Glibc","min":"2.28"}"#),
            "{text}"
        );
        assert!(text.contains(r#""network":{"kind":"None"}"#), "{text}");
    }

    #[test]
    fn an_empty_plan_asks_for_nothing() {
        assert_eq!(serde_json::from_str::<Plan>("{}").unwrap(), Plan::default());
    }

    #[test]
    fn a_plan_of_a_newer_writer_is_still_read() {
        let text = r#"{
            "version": 7, "sshd": {"port": 60022},
            "projects": [{"name": "a", "url": "https://x/a", "folder": "a", "submodules": true}],
            "editor": {"name": "e", "port": 60001, "needs": {"libc": {"kind": "Bionic", "api": 30}, "gpu": 1}},
            "network": {"kind": "Tunnel", "table": 3}
        }"#;
        let plan: Plan = serde_json::from_str(text).unwrap();
        assert_eq!((plan.version, plan.network), (7, Network::Other));
        assert_eq!(plan.projects[0].folder, "a");
        assert_eq!(plan.editor.unwrap().needs.libc, Some(Libc::Other));
    }
}
