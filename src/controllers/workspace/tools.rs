//! How the tools of a workspace get in, as far as a pass decides that: what probes found out, and what a node says to the
//! start that goes on.

use jiff::Timestamp;

use crate::api::class::{Delivery, ToolsDelivery};
use crate::api::workspace::Failure;
use crate::controllers::workspace::Context;
use crate::controllers::workspace::dereference::Dereferenced;
use crate::controllers::workspace::observe::Seen;
use crate::model::evidence::Facts;
use crate::model::installation::Cluster;
use crate::model::mounting::refused;
use crate::model::revision::{Pinned, ToolsRefused, micro};
use crate::model::workspace::ValidatedWorkspace;

/// What the cluster can do, with what is known by now of image volumes.
pub fn cluster(context: &Context) -> Cluster {
    let known = || context.mounting.works(&context.nodes);
    Cluster {
        image_volumes: context.cluster.image_volumes.or_else(known),
        ..context.cluster
    }
}

/// Has a workspace copy its tools where a node refused to mount them, now or at an earlier start with the same images, and
/// says what it said. Only where the class leaves it to us.
pub fn go_over(
    context: &Context,
    seen: &Dereferenced,
    before: &Seen,
    facts: &Facts,
    verdict: &mut Result<ValidatedWorkspace, Failure>,
    now: Timestamp,
) -> Option<ToolsRefused> {
    let (Ok(identity), Ok(class), Ok(workspace)) = (&seen.identity, &seen.class, verdict) else {
        return None;
    };
    if class.tools.delivery != ToolsDelivery::Auto {
        return None;
    }
    let pinned = Pinned::newest(&before.revisions, identity)?;
    let refused = refused_now(context, &pinned, facts, now).or_else(|| {
        let remembered = pinned.pin.inputs.remembered_refusal(workspace);
        remembered.cloned()
    })?;
    workspace.inside.tools.delivery = Delivery::Copy;
    Some(refused)
}

/// What a node says to the start that goes on. It is asked itself, for the sake of all others.
fn refused_now(
    context: &Context,
    pinned: &Pinned,
    facts: &Facts,
    now: Timestamp,
) -> Option<ToolsRefused> {
    let inputs = &pinned.pin.inputs;
    if inputs.tools_delivery != Delivery::ImageVolume || facts.has_ready_pod() {
        return None;
    }
    let pod = facts.main_pod().filter(|pod| pod.mounts_images)?;
    let images = [
        inputs.image.as_str(),
        inputs.tools_image.as_str(),
        inputs.editor_image.as_deref().unwrap_or_default(),
    ];
    let said = refused(pod, &facts.events, &images)?;
    let node = pod.node.as_deref().unwrap_or("unknown");
    if let Some(runtime) = context.nodes.runtime_of(node) {
        context.mounting.suspect(runtime, node);
    }
    Some(ToolsRefused {
        said: format!("node {node}: {said}"),
        at: micro(now),
    })
}
