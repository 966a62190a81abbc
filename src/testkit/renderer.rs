//! Another release: the same objects, but for the pods.

use crate::controllers::workspace::renderer::{Renderer, Standard};
use crate::model::workspace::ValidatedWorkspace;
use crate::render::Resources;

/// A release that renders pods with one annotation more.
pub struct NextRelease;

impl Renderer for NextRelease {
    fn render(&self, workspace: &ValidatedWorkspace, replicas: i32) -> Resources {
        let resources = Standard.render(workspace, replicas);
        let mut template = resources.template().clone();
        let annotations = &mut template.metadata.get_or_insert_default().annotations;
        annotations
            .get_or_insert_default()
            .insert("example.com/release".to_owned(), "next".to_owned());
        resources.with_template(&template)
    }
}
