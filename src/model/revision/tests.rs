use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::workspace::ChangeEffect;
use crate::model::fixtures::*;
use crate::model::workspace::ValidatedWorkspace;

/// A template that differs by its image.
fn template(image: &str) -> PodTemplateSpec {
    serde_json::from_value(json!({"spec": {"containers": [{"name": "workspace", "image": image}]}}))
        .unwrap()
}

fn of_image(image: &str, generation: i64) -> ValidatedWorkspace {
    let mut workspace = workspace_with(json!({"image": image}));
    workspace.metadata.generation = Some(generation);
    validated(&workspace, &valid_class(json!({})))
}

/// A ControllerRevision of the workspace, as the API server would hold it.
fn stored(number: i64, image: &str, generation: i64, started: i64) -> ControllerRevision {
    let workspace = of_image(image, generation);
    let pin = Pin {
        inputs: PinInputs::of(&workspace, at(started)),
        template: template(image),
        network_policy: None,
    };
    serde_json::from_value(json!({
        "metadata": {"name": format!("api-{number}"), "ownerReferences": [
            {"apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace", "name": "api", "uid": workspace.identity.uid, "controller": true}]},
        "revision": number, "data": serde_json::to_value(pin).unwrap(),
    }))
    .unwrap()
}

struct Case {
    replicas: i32,
    facts: Facts,
    previous: Value,
    revisions: Vec<ControllerRevision>,
    live: Option<PodTemplateSpec>,
    image: &'static str,
    generation: i64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            replicas: 1,
            facts: Facts {
                pods: Some(vec![]),
                ..Facts::default()
            },
            previous: json!({}),
            revisions: Vec::new(),
            live: None,
            image: "new",
            generation: 2,
        }
    }
}

fn choose(case: &Case) -> TemplateChoice {
    let workspace = of_image(case.image, case.generation);
    let previous: WorkspaceStatus = serde_json::from_value(case.previous.clone()).unwrap();
    template_to_apply(&TemplateQuestion {
        identity: &workspace.identity,
        replicas: case.replicas,
        facts: &case.facts,
        previous: &previous,
        revisions: &case.revisions,
        live: case.live.as_ref(),
        rendered: &template(case.image),
        inputs: &PinInputs::of(&workspace, at(100)),
        network_policy: None,
    })
}

/// (what is done, name, image).
fn said(choice: &TemplateChoice) -> (&'static str, &str, &str) {
    let kind = match choice {
        TemplateChoice::Unpinned => return ("unpinned", "", ""),
        TemplateChoice::Keep(_) => "keep",
        TemplateChoice::Start(_) => "start",
    };
    let pinned = choice.pinned().unwrap();
    let image = pinned.pin.template.spec.as_ref().unwrap().containers[0]
        .image
        .as_deref()
        .unwrap();
    (kind, &pinned.name, image)
}

fn up() -> Facts {
    facts(Some(&settled(1, 1)), Some(&[ready_pod()]))
}

fn failing() -> Facts {
    facts(
        Some(&rolling(1)),
        Some(&[waiting_pod("ImagePullBackOff", "not found")]),
    )
}

fn down() -> Facts {
    facts(Some(&settled(0, 0)), Some(&[]))
}

fn recorded(state: &str, name: &str) -> Value {
    json!({"actualState": state, "desiredState": "Running", "revision": {"name": name}, "startRequestedAt": time(1)})
}

#[test]
fn a_start_whose_mounts_are_refused_goes_over_to_copying_with_its_own_time() {
    let mounted = stored(1, "old", 1, 50);
    let copying = |facts: Facts| {
        let mut workspace = of_image("old", 1);
        workspace.inside.tools.delivery = Delivery::Copy;
        let inputs = PinInputs {
            tools_refused: Some(ToolsRefused {
                said: "no".to_owned(),
                at: micro(at(60)),
            }),
            ..PinInputs::of(&workspace, at(60))
        };
        template_to_apply(&TemplateQuestion {
            identity: &workspace.identity,
            replicas: 1,
            facts: &facts,
            previous: &serde_json::from_value(recorded("Starting", "api-1")).unwrap(),
            revisions: std::slice::from_ref(&mounted),
            live: None,
            rendered: &template("copied"),
            inputs: &inputs,
            network_policy: None,
        })
    };
    let choice = copying(failing());
    assert_eq!(said(&choice), ("start", "api-2", "copied"));
    let inputs = &choice.pinned().unwrap().pin.inputs;
    assert_eq!(inputs.started_at, micro(at(50)), "the same start goes on");
    assert_eq!(inputs.went_over_at(), Some(at(60)));
    let later = PinInputs {
        started_at: micro(at(90)),
        ..inputs.clone()
    };
    assert_eq!(later.went_over_at(), None, "a later start only remembers");
    let (same, other) = (of_image("old", 5), of_image("new", 5));
    assert!(later.remembered_refusal(&same).is_some());
    assert!(
        later.remembered_refusal(&other).is_none(),
        "another image may be let in"
    );
    assert_eq!(
        said(&copying(up())),
        ("keep", "api-1", "old"),
        "one that runs goes on"
    );
}

#[test]
fn the_first_start_pins_revision_one() {
    assert_eq!(said(&choose(&Case::default())), ("start", "api-1", "new"));
}

#[test]
fn a_workspace_that_was_never_started_and_should_not_be_pins_nothing() {
    assert_eq!(
        said(&choose(&Case {
            replicas: 0,
            ..Case::default()
        })),
        ("unpinned", "", "")
    );
}

#[test]
fn while_it_runs_the_pinned_template_stays_whatever_changed() {
    let case = Case {
        facts: up(),
        previous: recorded("Running", "api-1"),
        revisions: vec![stored(1, "old", 1, 1)],
        ..Case::default()
    };
    assert_eq!(said(&choose(&case)), ("keep", "api-1", "old"));
}

#[test]
fn a_controller_that_lost_the_status_restarts_nothing() {
    for facts in [up(), failing(), facts(Some(&settled(1, 0)), Some(&[]))] {
        let case = Case {
            facts,
            revisions: vec![stored(1, "old", 1, 1)],
            ..Case::default()
        };
        assert_eq!(said(&choose(&case)), ("keep", "api-1", "old"));
    }
}

#[test]
fn while_it_stops_and_is_stopped_the_pinned_template_stays() {
    for facts in [up(), down()] {
        let case = Case {
            replicas: 0,
            facts,
            revisions: vec![stored(1, "old", 1, 1)],
            ..Case::default()
        };
        assert_eq!(said(&choose(&case)), ("keep", "api-1", "old"));
    }
}

#[test]
fn a_start_from_stopped_takes_what_is_new_also_when_nothing_changed() {
    for (image, generation) in [("new", 2), ("old", 1)] {
        let case = Case {
            facts: down(),
            previous: json!({
                "actualState": "Stopped", "desiredState": "Stopped", "revision": {"name": "api-4"},
                "startRequestedAt": time(1),
            }),
            revisions: vec![stored(4, "old", 1, 1)],
            image,
            generation,
            ..Case::default()
        };
        let choice = choose(&case);
        assert_eq!(said(&choice), ("start", "api-5", image));
        assert_eq!(choice.pinned().unwrap().pin.inputs.started_at.0, at(100));
    }
}

#[test]
fn a_start_that_died_between_pin_and_deployment_goes_on_with_its_pin() {
    let case = Case {
        facts: down(),
        previous: recorded("Stopped", "api-1"),
        revisions: vec![stored(2, "new", 2, 50), stored(1, "old", 1, 1)],
        ..Case::default()
    };
    let choice = choose(&case);
    assert_eq!(said(&choice), ("start", "api-2", "new"));
    assert_eq!(choice.pinned().unwrap().pin.inputs.started_at.0, at(50));
}

#[test]
fn a_start_whose_pin_could_not_be_written_does_not_go_on_with_the_one_before() {
    let case = Case {
        facts: down(),
        previous: recorded("Stopped", "api-2"),
        revisions: vec![stored(1, "new", 2, 50)],
        ..Case::default()
    };
    let choice = choose(&case);
    assert_eq!(said(&choice), ("start", "api-2", "new"));
    assert_eq!(choice.pinned().unwrap().pin.inputs.started_at.0, at(100));
}

#[test]
fn a_start_whose_deployment_could_not_be_applied_goes_on_with_its_pin() {
    let never_made = Facts {
        pods: Some(vec![]),
        ..Facts::default()
    };
    for (facts, state) in [
        (never_made.clone(), "CreationRequested"),
        (never_made, "Error"),
        (down(), "Stopped"),
        (down(), "Error"),
    ] {
        let case = Case {
            facts,
            previous: recorded(state, "api-4"),
            revisions: vec![stored(4, "new", 2, 90)],
            ..Case::default()
        };
        assert_eq!(choose(&case).pinned().unwrap().name, "api-4", "{state}");
    }
}

#[test]
fn a_start_that_never_succeeded_takes_a_mended_spec() {
    for (state, timeline) in [
        ("Starting", json!([])),
        (
            "Starting",
            json!([{"step": "Scheduled", "atMilliseconds": 1, "milliseconds": 1}]),
        ),
        ("Error", json!([])),
    ] {
        let mut previous = recorded(state, "api-1");
        previous["timeline"] = timeline;
        let case = Case {
            facts: failing(),
            previous,
            revisions: vec![stored(1, "old", 1, 1)],
            ..Case::default()
        };
        assert_eq!(said(&choose(&case)), ("start", "api-2", "new"));
    }
}

#[test]
fn a_start_that_goes_on_does_not_take_a_changed_class_or_renderer() {
    let case = Case {
        facts: failing(),
        previous: recorded("Starting", "api-1"),
        revisions: vec![stored(1, "old", 1, 1)],
        generation: 1,
        ..Case::default()
    };
    assert_eq!(said(&choose(&case)), ("keep", "api-1", "old"));
}

#[test]
fn a_failed_workspace_takes_a_mended_class_too_and_also_one_that_once_ran() {
    let mut previous = recorded("Failed", "api-1");
    previous["timeline"] = json!([{"step": "Running", "atMilliseconds": 1, "milliseconds": 1}]);
    let case = Case {
        facts: failing(),
        previous: previous.clone(),
        revisions: vec![stored(1, "old", 1, 1)],
        generation: 1,
        ..Case::default()
    };
    assert_eq!(said(&choose(&case)), ("start", "api-2", "new"));
    let unchanged = Case {
        facts: failing(),
        previous,
        revisions: vec![stored(1, "old", 1, 1)],
        image: "old",
        generation: 1,
        ..Case::default()
    };
    assert_eq!(said(&choose(&unchanged)), ("keep", "api-1", "old"));
}

#[test]
fn one_that_ran_and_lost_its_pod_keeps_its_pin() {
    let mut previous = recorded("Starting", "api-1");
    previous["timeline"] = json!([{"step": "Running", "atMilliseconds": 1, "milliseconds": 1}]);
    let case = Case {
        facts: failing(),
        previous,
        revisions: vec![stored(1, "old", 1, 1)],
        ..Case::default()
    };
    assert_eq!(said(&choose(&case)), ("keep", "api-1", "old"));
}

#[test]
fn a_deployment_that_was_deleted_under_a_running_workspace_comes_back_as_it_was() {
    for state in ["Running", "Starting", "Unknown", "Failed"] {
        let case = Case {
            previous: recorded(state, "api-1"),
            revisions: vec![stored(1, "old", 1, 1)],
            image: "old",
            generation: 1,
            ..Case::default()
        };
        assert_eq!(said(&choose(&case)), ("keep", "api-1", "old"), "{state}");
    }
    let stopped = Case {
        previous: recorded("Stopped", "api-1"),
        revisions: vec![stored(1, "old", 1, 1)],
        ..Case::default()
    };
    assert_eq!(said(&choose(&stopped)), ("start", "api-2", "new"));
}

#[test]
fn when_the_pin_of_a_running_workspace_was_deleted_what_runs_is_pinned() {
    let case = Case {
        facts: up(),
        previous: recorded("Running", "api-1"),
        live: Some(template("old")),
        ..Case::default()
    };
    let choice = choose(&case);
    assert_eq!(said(&choice), ("start", "api-1", "old"));
    assert_eq!(choice.pinned().unwrap().pin.inputs.started_at.0, at(1));
}

#[test]
fn revisions_of_an_earlier_workspace_of_the_same_name_are_not_ours() {
    let mut foreign = stored(7, "old", 1, 1);
    foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "another".to_owned();
    let case = Case {
        revisions: vec![foreign.clone()],
        ..Case::default()
    };
    assert_eq!(said(&choose(&case)), ("start", "api-8", "new"));
    let identity = of_image("x", 1).identity;
    let ours: Vec<_> = (1..=4)
        .map(|number| stored(number, "x", 1, 1))
        .chain([foreign])
        .collect();
    assert_eq!(superseded(&ours, &identity), ["api-2", "api-1"]);
}

#[test]
fn differences_are_named_as_users_know_them() {
    let before: PodTemplateSpec = serde_json::from_value(json!({
        "metadata": {"labels": {"team": "a"}},
        "spec": {"terminationGracePeriodSeconds": 30, "securityContext": {"runAsUser": 1}, "hostUsers": false,
            "containers": [{"name": "workspace", "image": "a", "command": ["x"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}], "resources": {"limits": {"memory": "1Gi"}}}]},
    }))
    .unwrap();
    let after: PodTemplateSpec = serde_json::from_value(json!({
        "metadata": {"labels": {"team": "b"}},
        "spec": {"terminationGracePeriodSeconds": 10, "securityContext": {"runAsUser": 2},
            "containers": [{"name": "workspace", "image": "b", "command": ["y"],
                "env": [{"name": "A", "value": "2"}, {"name": "C", "value": "1"}], "resources": {"limits": {"memory": "2Gi"}}}]},
    }))
    .unwrap();
    let changes = pending_changes(&before, &after, false);
    let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "pod.hostUsers",
            "pod.metadata.labels.team",
            "pod.securityContext.runAsUser",
            "spec.command",
            "spec.env[A]",
            "spec.env[B]",
            "spec.env[C]",
            "spec.image",
            "spec.resources.limits.memory",
            "spec.timeouts.stopping",
        ]
    );
    assert!(
        changes
            .iter()
            .all(|change| change.effect == ChangeEffect::NextStart)
    );
    assert!(
        pending_changes(&before, &after, true)
            .iter()
            .all(|change| change.effect == ChangeEffect::RestartNow)
    );
    assert_eq!(pending_changes(&before, &before, false), vec![]);
}

proptest! {
    #[test]
    fn a_ready_pod_is_never_replaced(
        state in prop::sample::select(vec!["Running", "Starting", "Failed", "Unknown", "Error", "Stopped"]),
        pinned_image in prop::sample::select(vec!["old", "new"]), generation in 1..3_i64, has_status in any::<bool>(),
    ) {
        let previous = if has_status { recorded(state, "api-1") } else { json!({}) };
        let case = Case { facts: up(), previous, revisions: vec![stored(1, pinned_image, 1, 1)], generation, ..Case::default() };
        let choice = choose(&case);
        prop_assert_eq!(said(&choice), ("keep", "api-1", pinned_image));
    }

    #[test]
    fn whatever_was_chosen_is_kept_by_the_next_pass(
        state in prop::sample::select(vec!["Running", "Starting", "Failed", "Unknown", "Error", "Stopped", "CreationRequested"]),
        facts in prop::sample::select(vec![up(), failing(), down(), Facts { pods: Some(vec![]), ..Facts::default() }]),
        has_pin in any::<bool>(), generation in 1..3_i64,
    ) {
        let revisions = if has_pin { vec![stored(1, "old", 1, 1)] } else { vec![] };
        let mut case = Case { facts, previous: recorded(state, "api-1"), revisions, generation, live: Some(template("old")), ..Case::default() };
        if let TemplateChoice::Start(pinned) = choose(&case) {
            let object = json!({"metadata": {"name": pinned.name, "ownerReferences": [{"apiVersion": "a", "kind": "Workspace", "name": "api",
                "uid": of_image("x", 1).identity.uid, "controller": true}]}, "revision": pinned.number, "data": serde_json::to_value(&pinned.pin).unwrap()});
            case.revisions.push(serde_json::from_value(object).unwrap());
            // The Deployment was applied and the status written: the start goes on.
            case.facts = failing();
            case.previous = recorded("Starting", &pinned.name);
            case.previous["startRequestedAt"] = json!(pinned.pin.inputs.started_at);
            let next = choose(&case);
            let is_repin = pinned.pin.template == template("old") && generation == 2;
            if !is_repin {
                prop_assert_eq!(next, TemplateChoice::Keep(pinned));
            }
        }
    }

    #[test]
    fn a_pin_survives_the_api_server(image in "[a-z]{1,8}", started in 0..1_000_000_i64) {
        let revision = stored(3, &image, 5, started);
        let text = serde_json::to_string(&revision).unwrap();
        let back: ControllerRevision = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(Pinned::of(&back), Pinned::of(&revision));
        prop_assert!(Pinned::of(&revision).is_some());
    }
}
