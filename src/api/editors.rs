//! What a class gives to the inside of its workspaces: editors, tools, whose name Git writes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An editor that workspaces can choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassEditor {
    /// What it is called in `spec.editor` of a Workspace.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self != 'none'").message("the name of an editor is lower-case letters, digits and '-', a letter or digit first and last, and not none: for example vscode"))]
    pub name: String,
    /// The image that holds it, by digest. It is mounted read-only at /opt/workstead-editor.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(r"self.matches('^(([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?/)?[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?@sha256:[0-9a-f]{64}$')").message("the image of an editor is pinned by digest: write registry/name@sha256: and its 64 hexadecimal digits"))]
    pub image: String,
    /// The program with its arguments. With a `/` in it, but not first, the program is a path inside the image. The folder
    /// to open is where it starts, and the variable WORKSTEAD_FOLDER.
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// The TCP port that it listens on. Left out, 60001.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("!(self in [60003, 60004, 60022])").message("ports 60003, 60004 and 60022 are Workstead's own: choose another one for the editor, or leave it out for 60001"))]
    pub port: Option<u16>,
    /// What is asked for on that port to see whether it answers. Left out, `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^/[!-~]*$')").message("readinessPath begins with '/' and has no spaces: for example /healthz"))]
    pub readiness_path: Option<String>,
    /// What it needs to run. Left out, nothing: it runs in any image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<EditorNeeds>,
    /// Whether Workspaces get it that name no editor. Left out, false; no default, no editor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
}

/// What an editor needs to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct EditorNeeds {
    /// Architectures that it is built for, as Kubernetes names them: amd64, arm64. Left out, any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 32)))]
    #[x_kube(validation = Rule::new("self.all(a, a in ['amd64', 'arm64'])").message("needs.architectures holds names as Kubernetes uses them: amd64 or arm64"))]
    pub architectures: Vec<String>,
    /// The oldest glibc that it runs with, for example `"2.28"`. Left out, it needs none of the image's C library.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,3}[.][0-9]{1,3}([.][0-9]{1,3})?$')").message("needs.glibc is a version in quotes: write for example \"2.28\""))]
    pub glibc: Option<String>,
}

/// How tools get into a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ClassTools {
    /// ImageVolume mounts them, Copy copies them at each start, Auto mounts where that was seen to work. Left out, Auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<ToolsDelivery>,
    /// The image that they come from. Left out, that of the installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(r"self.matches('^(([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?/)?[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?$')").message("tools.image is no image reference: write registry/name:tag or registry/name@sha256:digest"))]
    pub image: Option<String>,
}

/// How tools and editor get into a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ToolsDelivery {
    /// As a read-only volume: nothing is copied.
    ImageVolume,
    /// By init containers that copy them into a volume of the pod.
    Copy,
    /// As a volume where that works, else by copying.
    #[default]
    Auto,
}

/// How tools and editor got into a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// As a read-only volume.
    #[default]
    ImageVolume,
    /// Copied into a volume of the pod.
    Copy,
}

/// Whose name Git writes into commits, unless the repository or the user say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitIdentity {
    /// The name: LocalPart is the part of the owner before '@', Owner the whole. Left out, LocalPart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_from: Option<NameFrom>,
    /// For owners that are no e-mail addresses: what follows '@' in theirs. Left out, Git asks these for an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("gitIdentity.emailDomain is a domain in lower case: write for example example.com"))]
    pub email_domain: Option<String>,
}

/// Which part of the owner is the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NameFrom {
    /// What stands before '@'.
    #[default]
    LocalPart,
    /// The whole.
    Owner,
}
