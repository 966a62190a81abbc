//! What a Workspace asks for, as far as the way in depends on it.
//!
//! Kept for every workspace, so nothing else of a spec is.

use crate::api::WorkspaceSpec;
use crate::api::access::{Endpoint, Shared};
use crate::api::workspace::DesiredState;

/// A spec, without what only its pod needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Who owns it.
    pub owner: Box<str>,
    /// The ports that it opens.
    pub endpoints: Box<[Endpoint]>,
    /// Whether it is to run, where the spec says so.
    pub desired_state: Option<DesiredState>,
    /// None for most.
    shared: Option<Box<Shared>>,
}

impl Asked {
    /// Keeps what is needed.
    pub fn of(spec: WorkspaceSpec) -> Self {
        Self {
            owner: spec.owner.into_boxed_str(),
            endpoints: spec.endpoints.into_boxed_slice(),
            desired_state: spec.desired_state,
            shared: spec.shared.map(Box::new),
        }
    }

    /// With whom it is shared.
    pub fn shared(&self) -> Option<&Shared> {
        self.shared.as_deref()
    }
}
