//! What a Workspace holds and does at a start: repositories and commands.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::api::shared::DurationText;

/// A repository that is cloned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Project {
    /// What it is called.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("the name of a project is lower-case letters, digits and '-', a letter or digit first and last: write folder for a folder of another name"))]
    pub name: String,
    /// Where it comes from.
    pub git: GitSource,
    /// The folder that it is cloned into, in /projects. Left out, its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_][-A-Za-z0-9._]*$')").message("folder is one folder in /projects: letters, digits, '.', '_' and '-', no '.' or '-' first and no '/'"))]
    pub folder: Option<String>,
}

// No field names a Secret: whoever writes a Workspace could send any credential of the namespace to a host of their own.
/// A Git repository. Credentials come from the Secrets of the namespace that have the label
/// `workstead.dev/use: git-credentials` and name its host in `workstead.dev/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct GitSource {
    /// Its URL: `https://`, `http://` or `ssh://`. No user and no password in it, but for the user of ssh.
    pub url: GitUrl,
    /// The branch, tag or commit to check out. Left out, the default branch of the server.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new(r"self.matches('^[^-/.\\x00-\\x20\\x7f~^:?*\\[\\\\][^\\x00-\\x20\\x7f~^:?*\\[\\\\]*$') && !self.contains('..') && !self.contains('//') && !self.contains('/.') && !self.contains('@{') && !self.endsWith('/') && !self.endsWith('.') && !self.endsWith('.lock')").message("git.ref is the name of a branch or tag, or a commit: for example main, v1.2 or the 40 hexadecimal digits, without spaces and '..'"))]
    pub reference: Option<String>,
    /// More remotes by name, with their URLs. `origin` is `url`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new("self.all(k, k.size() <= 63 && k.matches('^[A-Za-z0-9][-A-Za-z0-9_]*$') && k != 'origin')").message("the name of a remote is letters, digits, '-' and '_', at most 63, and not origin, which is git.url: for example upstream"))]
    pub remotes: BTreeMap<String, GitUrl>,
    /// Fetch the newest commit alone. Left out, the whole history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shallow: Option<bool>,
    /// Folders that are checked out, with all that is below them, beside the files at the top. Left out, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)))]
    #[x_kube(validation = Rule::new(r"self.all(p, p.matches('^[^-/!#*?\\[\\]\\\\\\x00-\\x1f\\x7f][^*?\\[\\]\\\\\\x00-\\x1f\\x7f]*$') && !p.matches('(^|/)[.]{1,2}(/|$)') && !p.contains('//') && !p.endsWith('/'))").message("git.sparse names folders of the repository: for example services/api, without '..', patterns, and '/' first or last"))]
    pub sparse: Vec<String>,
    /// The folder of the repository that you work in: there the editor opens and start commands run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(r"self.matches('^[^-/\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$') && !self.matches('(^|/)[.]{1,2}(/|$)') && !self.contains('//') && !self.endsWith('/')").message("git.subdirectory is a folder of the repository: for example services/api, without '..' and '/' first or last"))]
    pub subdirectory: Option<String>,
}

/// The URL of a Git repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GitUrl(pub String);

impl JsonSchema for GitUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GitUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "x-kubernetes-validations": [
                {
                    "rule": "self.matches('^(https?|ssh)://')",
                    "message": "the URL of a repository begins with https://, http:// or ssh://; instead of git@host:path write ssh://git@host/path",
                },
                {
                    "rule": "!self.matches('^https?://[^/]*@') && !self.matches('^ssh://[^/@]*:[^/]*@') && !self.matches('[?#]')",
                    "message": "the URL of a repository carries no credentials, '?' or '#': put credentials into a Secret with the label workstead.dev/use: git-credentials",
                },
                {
                    "rule": r"self.matches('^[a-z]+://([A-Za-z0-9_][-A-Za-z0-9_.]*@)?([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?/[!-~]+$')",
                    "message": "the URL of a repository names a host and a path: write for example https://git.example.com/team/api.git",
                },
            ],
        })
    }
}

/// A command that runs at every start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostStartCommand {
    /// What it is called, in the status and for people.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("the name of a start command is lower-case letters, digits and '-', a letter or digit first and last: for example build"))]
    pub name: String,
    /// The command, for a shell of the image.
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = Rule::new(r"self.matches('[^ \\t\\r\\n]')").message("run is a command for a shell: write for example cargo fetch"))]
    pub run: String,
    /// Where it runs: a folder, from /projects on unless it begins with `/`. Left out, the first project, or /projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(r"!self.matches('(^|/)[.]{1,2}(/|$)') && self.matches('^[^\\x00-\\x1f\\x7f]+$')").message("workingDir is a folder without '..', from /projects on unless it begins with '/': for example api"))]
    pub working_dir: Option<String>,
    /// How long it may take before it is ended and called failed, at most 24h. Left out, 15m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("the timeout of a start command is 1s to 24h: write for example 10m"))]
    pub timeout: Option<DurationText>,
}
