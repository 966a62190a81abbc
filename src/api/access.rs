//! Who may open what of a workspace, and how its ports are reached.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// With whom a workspace is shared: its editor, and the endpoints whose visibility is Shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Shared {
    /// Users, each as the identity provider names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 320)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(u, u.matches('^[!-~]+$'))").message("shared.users have no spaces or control characters: write each as the identity provider does, for example bob@example.com"))]
    pub users: Vec<String>,
    /// Groups, each as the identity provider names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(r"self.all(g, !g.matches('[\\x00-\\x1f\\x7f]') && !g.matches('^ | $'))").message("shared.groups have no control characters, and no space first or last: write each as the identity provider does, for example team-a"))]
    pub groups: Vec<String>,
    /// Whether they may open the editor too. It is a shell: who opens it can do all that the owner can do in the workspace.
    /// Private keeps it for the owner. Left out, Shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub editor: Option<EditorVisibility>,
}

/// A port that the workspace serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.cors) || self.cors != 'Passthrough' || (has(self.allowedOrigins) && self.allowedOrigins.size() > 0)").message("cors: Passthrough needs allowedOrigins: name the origins whose preflights go to the program"))]
#[x_kube(validation = Rule::new("!has(self.publicWake) || !self.publicWake || (has(self.visibility) && self.visibility == 'Public')").message("publicWake is for endpoints with visibility: Public: others are woken by those who may open them"))]
pub struct Endpoint {
    /// What it is called, for people and in the Service.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("the name of an endpoint is lower-case letters, digits and '-', a letter first: for example web"))]
    #[x_kube(validation = Rule::new("self != 'editor'").message("an endpoint can't be called editor, which is the editor's own name in the Service: choose another name"))]
    pub name: String,
    /// The TCP port inside the workspace, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    #[x_kube(validation = Rule::new("!(self in [60001, 60003, 60004, 60022])").message("ports 60001, 60003, 60004 and 60022 are Workstead's own: choose another one for the endpoint"))]
    pub port: u16,
    /// Who may open it: Private, Shared, Authenticated or Public, within what the class allows. Left out, Private.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// Other origins whose pages may use it with the cookies of who is signed in, for example that of another endpoint:
    /// `https://8080-dev.workspaces.example.com`. Left out, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 300)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(o, o.matches('^https?://[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?$'))").message("allowedOrigins holds origins as browsers send them, in lower case and without a path: for example https://app.example.com"))]
    #[x_kube(validation = Rule::new("self.all(o, !o.matches('^https:.*:443$') && !o.matches('^http:.*:80$'))").message("allowedOrigins leaves out the port that the scheme has anyway: write https://app.example.com without :443"))]
    pub allowed_origins: Vec<String>,
    /// Whether preflights of these origins go to the program. Left out, Strict: they are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// What the program speaks: Http, Https or H2c (gRPC). Left out, Http.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<EndpointProtocol>,
    /// Whether visitors without a session may start a stopped workspace. Left out, no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_wake: Option<bool>,
}

/// Where an endpoint opens, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EndpointStatus {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Who may open it, as the class allows it.
    pub visibility: Visibility,
    /// Where it opens in a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Who may open a port. Each includes those before it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Visibility {
    /// The owner.
    #[default]
    Private,
    /// Those in `spec.shared` too.
    Shared,
    /// Everybody who is signed in.
    Authenticated,
    /// Everybody.
    Public,
}

/// Who may open the editor.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum EditorVisibility {
    /// The owner.
    Private,
    /// Those in `spec.shared` too.
    #[default]
    Shared,
}

impl From<EditorVisibility> for Visibility {
    fn from(editor: EditorVisibility) -> Self {
        match editor {
            EditorVisibility::Private => Self::Private,
            EditorVisibility::Shared => Self::Shared,
        }
    }
}

/// What becomes of preflights, which browsers send without cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Cors {
    /// They are refused, unless the port is Public.
    #[default]
    Strict,
    /// Those of `allowedOrigins` go to the program, which answers them.
    Passthrough,
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EndpointProtocol {
    /// HTTP/1.1, WebSockets with it.
    #[default]
    Http,
    /// HTTP/1.1 by TLS, with any certificate.
    Https,
    /// HTTP/2 without TLS, as gRPC servers speak it.
    H2c,
}

/// What workspaces may open, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClassAccess {
    /// The widest visibility that an endpoint may have. Left out, Authenticated. A Workspace that asks for more gets this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_visibility: Option<Visibility>,
    /// Whether editors may be shared. Left out, Shared. Private keeps each for its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub editor: Option<EditorVisibility>,
    /// Whether the owner may open ports that no endpoint names. Left out, no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undeclared_ports: Option<bool>,
}
