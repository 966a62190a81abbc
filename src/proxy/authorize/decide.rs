//! The decision: one pure function for HTTP, WebSockets, streams and SSH alike.

use jiff::Timestamp;

use crate::api::access::{EndpointProtocol, Visibility};
use crate::model::access::{Port, is_shared_with};
use crate::proxy::route::freshness::Stage;
use crate::proxy::route::table::Route;
use crate::proxy::session::SignedIn;

/// Somebody who is signed in to one workspace: the session was checked, and was made for this host and this UID.
pub trait Viewer: Send + Sync {
    /// As the identity provider names them.
    fn user(&self) -> &str;

    /// Whether the identity provider said that they are in this group.
    fn is_in(&self, group: &str) -> bool;

    /// When the login is over, at the latest.
    fn login_ends(&self) -> Timestamp;

    /// When the session is over. What rests on groups ends here: what is known of groups is not older than a session.
    fn session_ends(&self) -> Timestamp;
}

impl Viewer for SignedIn {
    fn user(&self) -> &str {
        self.subject()
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|of| of == group)
    }

    fn login_ends(&self) -> Timestamp {
        moment(self.login_ends_at())
    }

    fn session_ends(&self) -> Timestamp {
        moment(self.expires_at)
    }
}

/// A moment that no calendar has is long over.
fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN)
}

/// What is asked.
pub struct Question<'a, V: ?Sized> {
    /// The workspace that the host stands for.
    pub route: &'a Route,
    /// The port that the host stands for; none is the editor.
    pub port: Option<u16>,
    /// Who asks, if they are signed in here.
    pub viewer: Option<&'a V>,
    /// How old the picture is.
    pub stage: Stage,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may pass.
    Allow(Allowed),
    /// It would depend on who asks.
    SignIn,
    /// As if there was no such workspace: for strangers, and for ports that are none of theirs.
    NotFound,
    /// Who asks may open the workspace, but nobody may open this.
    Forbidden(Forbidden),
    /// The cluster was not heard of for too long to say.
    Unsure(Stage),
}

/// By what right something passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// As whom.
    pub role: Role,
    /// Who may open this port, all in all.
    pub visibility: Visibility,
    /// Which port of the pod; none, when no editor runs.
    pub port: Option<u16>,
    /// What it speaks.
    pub protocol: EndpointProtocol,
}

/// As whom somebody passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nobody in particular: the port is everybody's.
    Public,
    /// Everybody who is signed in may.
    SignedIn,
    /// It is shared with a group of theirs.
    ByGroup,
    /// It is shared with them by name.
    ByName,
    /// It is theirs.
    Owner,
}

impl Role {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Public,
        Self::SignedIn,
        Self::ByGroup,
        Self::ByName,
        Self::Owner,
    ];

    /// For counters and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::SignedIn => "signed_in",
            Self::ByGroup => "by_group",
            Self::ByName => "by_name",
            Self::Owner => "owner",
        }
    }
}

/// Why nobody may open something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// The port is Workstead's own.
    InternalPort,
    /// No endpoint names it, and the class does not let owners open such ports.
    UndeclaredPort,
}

impl Decision {
    /// For counters and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Allow(allowed) => allowed.role.as_str(),
            Self::SignIn => "sign_in",
            Self::NotFound => "not_found",
            Self::Forbidden(Forbidden::InternalPort) => "internal_port",
            Self::Forbidden(Forbidden::UndeclaredPort) => "undeclared_port",
            Self::Unsure(_) => "stale",
        }
    }
}

/// Decides. What is not allowed by some line here is denied.
///
/// Everybody but the owner gets the same answer for a port that is not there and for one that is closed: which ports a
/// workspace has is not told to strangers.
pub fn decide<V: Viewer + ?Sized>(question: &Question<'_, V>) -> Decision {
    let Question { route, viewer, .. } = question;
    let port = route.port(question.port);
    let visibility = port.visibility(route.shared(), &route.rules);
    let role = role(route, *viewer, visibility);
    if let Some(unsure) = too_old(question.stage, role, viewer.is_some()) {
        return unsure;
    }
    match (role, visibility) {
        (Some(role), Some(visibility)) => Decision::Allow(Allowed {
            role,
            visibility,
            port: number(port, route),
            protocol: protocol(port),
        }),
        (Some(Role::Owner), None) => Decision::Forbidden(match port {
            Port::Internal => Forbidden::InternalPort,
            _ => Forbidden::UndeclaredPort,
        }),
        _ if viewer.is_some() => Decision::NotFound,
        _ => Decision::SignIn,
    }
}

/// As whom somebody may open a port of this visibility. The owner is the owner even where nothing may be opened.
fn role<V: Viewer + ?Sized>(
    route: &Route,
    viewer: Option<&V>,
    visibility: Option<Visibility>,
) -> Option<Role> {
    let public = (visibility == Some(Visibility::Public)).then_some(Role::Public);
    let Some(viewer) = viewer else { return public };
    if viewer.user() == route.owner() {
        return Some(Role::Owner);
    }
    let visibility = visibility?;
    let shared = route.shared();
    if visibility >= Visibility::Shared {
        if is_shared_with(shared, viewer.user(), std::iter::empty()) {
            return Some(Role::ByName);
        }
        let groups = shared.into_iter().flat_map(|shared| &shared.groups);
        let groups = groups
            .map(String::as_str)
            .filter(|group| viewer.is_in(group));
        if is_shared_with(shared, viewer.user(), groups) {
            return Some(Role::ByGroup);
        }
    }
    match visibility {
        Visibility::Private | Visibility::Shared => None,
        Visibility::Authenticated => Some(Role::SignedIn),
        Visibility::Public => public,
    }
}

/// What the age of the picture leaves.
fn too_old(stage: Stage, role: Option<Role>, is_signed_in: bool) -> Option<Decision> {
    let passes = match stage {
        Stage::Fresh => true,
        // Nobody can sign in now.
        Stage::Settled => is_signed_in || role.is_some(),
        Stage::Owners => role == Some(Role::Owner),
        Stage::Closed => false,
    };
    (!passes).then_some(Decision::Unsure(stage))
}

fn number(port: Port<'_>, route: &Route) -> Option<u16> {
    match port {
        Port::Editor => route.editor_port(),
        Port::Declared(endpoint) => Some(endpoint.port),
        Port::Undeclared(port) => Some(port),
        Port::Internal => None,
    }
}

fn protocol(port: Port<'_>) -> EndpointProtocol {
    match port {
        Port::Declared(endpoint) => endpoint.protocol.unwrap_or_default(),
        Port::Editor | Port::Undeclared(_) | Port::Internal => EndpointProtocol::Http,
    }
}

/// When a right ends although nothing changes.
pub fn ends<V: Viewer + ?Sized>(role: Role, viewer: Option<&V>) -> Option<Timestamp> {
    let viewer = viewer?;
    match role {
        // Nothing of it rests on who they are.
        Role::Public => None,
        Role::ByGroup => Some(viewer.session_ends()),
        Role::SignedIn | Role::ByName | Role::Owner => Some(viewer.login_ends()),
    }
}

#[cfg(test)]
mod tests;
