//! Who may open which port of a workspace, and which workspace holds a host name. The proxy decides by these functions on
//! each request, and the controller tells by them what was decided.
//!
//! What is not allowed here is closed: a port that is not named, a class that is silent, a name that two want.

mod host;

use crate::api::WorkspaceSpec;
use crate::api::access::{
    ClassAccess, EditorVisibility, Endpoint, EndpointStatus, Shared, Visibility,
};
use crate::model::identity::EndpointPort;
use crate::model::installation::Installation;
pub use host::{Claim, Conflict, Hosts};

/// To whom a class lets workspaces be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessRules {
    /// The widest visibility of an endpoint.
    pub max_visibility: Visibility,
    /// The widest visibility of an editor.
    pub editor: EditorVisibility,
    /// Whether the owner may open ports that no endpoint names.
    pub undeclared_ports: bool,
}

impl AccessRules {
    /// What is in effect where nothing can be read: owners open what they declared, and nobody else anything.
    pub const CLOSED: Self = Self {
        max_visibility: Visibility::Private,
        editor: EditorVisibility::Private,
        undeclared_ports: false,
    };

    /// Reads what a class says. Any text of these fields has a meaning: nothing of it can be wrong.
    pub fn of(written: Option<&ClassAccess>) -> Self {
        let written = written.cloned().unwrap_or_default();
        Self {
            max_visibility: written.max_visibility.unwrap_or(Visibility::Authenticated),
            editor: written.editor.unwrap_or_default(),
            undeclared_ports: written.undeclared_ports.unwrap_or(false),
        }
    }
}

/// What a port of a workspace is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Port<'a> {
    /// The editor's: a shell.
    Editor,
    /// One that the Workspace declares.
    Declared(&'a Endpoint),
    /// Any other that programs may listen on.
    Undeclared(u16),
    /// One of Workstead's own, closed to everybody.
    Internal,
}

impl<'a> Port<'a> {
    /// What a host stands for: no port is the editor. `editor` is `status.editorPort`, the port of the editor that runs,
    /// if there is one.
    ///
    /// The editor's port is the editor by whatever host it is reached: declaring an endpoint with its number opens it to
    /// nobody to whom it would be closed.
    pub fn of(endpoints: &'a [Endpoint], editor: Option<u16>, asked: Option<u16>) -> Self {
        let Some(port) = asked else {
            return Self::Editor;
        };
        if editor == Some(port) {
            return Self::Editor;
        }
        if EndpointPort::new(port).is_err() {
            return Self::Internal;
        }
        let mut declared = endpoints.iter();
        match declared.find(|endpoint| endpoint.port == port) {
            Some(endpoint) => Self::Declared(endpoint),
            None => Self::Undeclared(port),
        }
    }

    /// Who may open it: what the Workspace asks for, and never more than its class allows. None is nobody, not even the
    /// owner.
    pub fn visibility(self, shared: Option<&Shared>, class: &AccessRules) -> Option<Visibility> {
        match self {
            Self::Editor => Some(Visibility::from(editor(shared).min(class.editor))),
            Self::Declared(endpoint) => {
                let asked = endpoint.visibility.unwrap_or_default();
                Some(asked.min(class.max_visibility))
            }
            Self::Undeclared(_) if class.undeclared_ports => Some(Visibility::Private),
            Self::Undeclared(_) | Self::Internal => None,
        }
    }
}

/// What the Workspace asks for its editor.
fn editor(shared: Option<&Shared>) -> EditorVisibility {
    match shared {
        Some(shared) => shared.editor.unwrap_or_default(),
        None => EditorVisibility::Private,
    }
}

/// Whether a signed-in user is among those with whom it is shared. Names are compared byte for byte.
pub fn is_shared_with<'a>(
    shared: Option<&Shared>,
    user: &str,
    mut groups: impl Iterator<Item = &'a str>,
) -> bool {
    let Some(shared) = shared else { return false };
    shared.users.iter().any(|name| name == user)
        || groups.any(|group| shared.groups.iter().any(|name| name == group))
}

/// Where the endpoints open, and for whom, for the status.
pub fn endpoints(
    workspace: &str,
    spec: &WorkspaceSpec,
    class: &AccessRules,
    installation: &Installation,
) -> Vec<EndpointStatus> {
    let declared = spec.endpoints.iter();
    declared
        .filter_map(|endpoint| {
            let port = endpoint.port;
            let visibility = Port::Declared(endpoint).visibility(spec.shared.as_ref(), class)?;
            Some(EndpointStatus {
                name: endpoint.name.clone(),
                port,
                visibility,
                url: installation.url(&format!("{port}-{workspace}")),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
