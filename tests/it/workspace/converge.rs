//! From whatever others left behind, and through finitely many faults, a Workspace comes to what its spec says, stays
//! there, and touches nothing that is not its own. The states are drawn at random; a failure prints the one it met.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workstead::api::Workspace;
use workstead::api::workspace::ActualState;
use workstead::testkit::faults::{Fault, When, lines};
use workstead::testkit::wait::within;

use super::faults::{outcome, until_same_outcome};
use super::{World, writes_since};
use crate::object;

const AT_ONCE: usize = 6;

/// A child that somebody may harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    ServiceAccount,
    NetworkPolicy,
    Service,
    Deployment,
    Revision,
    Claim,
}

/// What somebody did to it while no controller ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Deleted,
    Edited,
    LabelTaken,
}

/// What the controller meets.
#[derive(Clone, Debug)]
struct Case {
    stopped: bool,
    harms: Vec<(Child, Harm)>,
    status_lost: bool,
    /// Numbers of writes, and what becomes of them.
    faults: Vec<(usize, u16)>,
}

fn cases() -> impl Strategy<Value = Case> {
    use Child::*;
    use Harm::*;
    // A claim that is deleted takes the work along: nothing brings that back. A pin can't be edited, and a lost one is
    // made anew from what runs, with the defaults that the API server put in.
    let harms = [
        (ServiceAccount, Deleted),
        (ServiceAccount, Edited),
        (ServiceAccount, LabelTaken),
        (NetworkPolicy, Deleted),
        (NetworkPolicy, Edited),
        (NetworkPolicy, LabelTaken),
        (Service, Deleted),
        (Service, Edited),
        (Service, LabelTaken),
        (Deployment, Deleted),
        (Deployment, Edited),
        (Deployment, LabelTaken),
        (Revision, LabelTaken),
        (Claim, LabelTaken),
    ];
    let some = proptest::sample::subsequence(harms.to_vec(), 1..=4);
    let fault = (
        0..8usize,
        prop_oneof![Just(409), Just(500), Just(503), Just(429)],
    );
    let faults = proptest::collection::vec(fault, 0..3);
    (any::<bool>(), some, any::<bool>(), faults).prop_map(
        |(stopped, mut harms, status_lost, faults)| {
            // The pin of what is stopped is of the past: its next start makes another one.
            harms.retain(|(child, _)| !stopped || *child != Revision);
            let deployment_gone = harms.contains(&(Deployment, Deleted));
            Case {
                stopped,
                harms,
                // Without both nobody knows that it ran: then it is a start of its own, with a pin of its own.
                status_lost: status_lost && !deployment_gone,
                faults,
            }
        },
    )
}

async fn harm(world: &World, child: Child, harm: Harm) {
    match child {
        Child::ServiceAccount => {
            let edit = json!({"automountServiceAccountToken": true});
            harm_one::<ServiceAccount>(world, "dev", harm, edit).await;
        }
        Child::NetworkPolicy => {
            let edit = json!({"spec": {"egress": [{}]}});
            harm_one::<NetworkPolicy>(world, "dev", harm, edit).await;
        }
        Child::Service => {
            let edit = json!({"spec": {"selector": {"example.com/edited": "1"}}});
            harm_one::<Service>(world, "ws-dev", harm, edit).await;
        }
        Child::Deployment => {
            let edit = json!({"spec": {"replicas": 2}});
            harm_one::<Deployment>(world, "dev", harm, edit).await;
        }
        Child::Revision => harm_one::<ControllerRevision>(world, "dev-1", harm, json!({})).await,
        Child::Claim => {
            harm_one::<PersistentVolumeClaim>(world, "dev-home", harm, json!({})).await;
        }
    }
}

async fn harm_one<K>(world: &World, name: &str, harm: Harm, edit: Value)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let api = world.api::<K>();
    let edit = match harm {
        Harm::Deleted => {
            // It may be gone already: one harm can follow another.
            drop(api.delete(name, &DeleteParams::default()).await);
            return;
        }
        Harm::Edited => edit,
        Harm::LabelTaken => json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
    };
    drop(
        api.patch(name, &PatchParams::default(), &Patch::Merge(edit))
            .await,
    );
}

/// Something of somebody else's that looks almost like ours.
async fn stranger(world: &World) -> ConfigMap {
    let labels = json!({"workstead.dev/workspace": "dev"});
    let stranger: ConfigMap = object(json!({"metadata": {"name": "stranger", "labels": labels}}));
    let configs = world.api::<ConfigMap>();
    configs
        .create(&PostParams::default(), &stranger)
        .await
        .unwrap()
}

async fn run(case: &Case) {
    let world = World::new("converge").await;
    let _kubelet = world.auto_ready();
    let process = world.start();
    let desired = if case.stopped { "Stopped" } else { "Running" };
    world.create("dev", json!({})).await;
    world.until_state("dev", ActualState::Running).await;
    world
        .change("dev", json!({"spec": {"desiredState": desired}}))
        .await;
    let reached = if case.stopped {
        ActualState::Stopped
    } else {
        ActualState::Running
    };
    world.until_state("dev", reached).await;
    world.settle().await;
    process.stop().await.unwrap();
    let wanted = outcome(&world).await;

    let foreign = stranger(&world).await;
    for (child, what) in &case.harms {
        harm(&world, *child, *what).await;
    }
    if case.status_lost {
        let lost = Patch::Merge(json!({"status": null}));
        let workspaces = world.api::<Workspace>();
        let params = PatchParams::default();
        workspaces
            .patch_status("dev", &params, &lost)
            .await
            .unwrap();
    }
    for (number, code) in &case.faults {
        let nth = When::write(world.faults.write_count() + number);
        world.faults.once(nth, Fault::Answer(*code));
    }
    let process = world.start();
    let same = within(Duration::from_secs(40), || async {
        until_same_outcome(&world, &wanted).await
    })
    .await;
    if same.is_none() {
        let got = outcome(&world).await;
        super::faults::assert_same(&got, &wanted, &format!("after {case:?}"));
    }
    world.settle().await;
    let mark = world.faults.mark();
    let touched = json!({"metadata": {"annotations": {"example.com/touch": "1"}}});
    world.change("dev", touched).await;
    world.settle().await;
    let more = lines(&writes_since(&world.faults, mark));
    assert_eq!(more, "", "it does not stay there after {case:?}");
    let left: ConfigMap = world.api().get("stranger").await.unwrap();
    assert_eq!(left.resource_version(), foreign.resource_version());
    process.stop().await.unwrap();
}

async fn run_some(count: usize) {
    let mut runner = TestRunner::default();
    let drawn: Vec<Case> = (0..count)
        .map(|_| cases().new_tree(&mut runner).unwrap().current())
        .collect();
    futures::stream::iter(&drawn)
        .for_each_concurrent(AT_ONCE, run)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_any_state_that_others_left_it_comes_to_what_the_spec_says_and_stays_there() {
    run_some(12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run by make test-long"]
async fn many_states_that_others_left_come_to_what_the_spec_says() {
    run_some(300).await;
}
