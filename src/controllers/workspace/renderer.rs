//! The renderer as a value: a test wraps it, to see what a release with another rendering does to what runs.

use crate::model::workspace::ValidatedWorkspace;
use crate::render::{self, Resources};

/// Makes the objects of a workspace.
pub trait Renderer: Send + Sync {
    /// The objects, with so many replicas.
    fn render(&self, workspace: &ValidatedWorkspace, replicas: i32) -> Resources;
}

/// That of this release.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standard;

impl Renderer for Standard {
    fn render(&self, workspace: &ValidatedWorkspace, replicas: i32) -> Resources {
        render::render(workspace, replicas)
    }
}
