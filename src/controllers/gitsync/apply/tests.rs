use super::*;
use crate::api::gitsync::SyncedKind;
use crate::model::sync::SourceObject;

fn planned(change: Change) -> PlannedApply {
    PlannedApply {
        change,
        object: SourceObject {
            id: ObjectId {
                kind: SyncedKind::Workspace,
                namespace: Some("team".into()),
                name: "x".into(),
            },
            file: "x.yaml".into(),
            line: 1,
            value: json!({
                "apiVersion": "workstead.dev/v1alpha1",
                "kind": "Workspace",
                "metadata": {"name": "x", "namespace": "team", "labels": {"a": "b"}},
                "spec": {"owner": "alice", "image": "i"},
            }),
            digest: "d".into(),
        },
        uid: Some("u".into()),
    }
}

fn live(revision: &str, file: &str) -> DynamicObject {
    let origin = Origin {
        repository: "https://git/r.git".into(),
        revision: revision.into(),
        file: file.into(),
    };
    serde_json::from_value(json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "Workspace",
        "metadata": {
            "name": "x", "namespace": "team", "uid": "u",
            "labels": {"a": "b", GITSYNC_NAMESPACE_LABEL: "sync", GITSYNC_NAME_LABEL: "all"},
            "annotations": {ORIGIN_ANNOTATION: serde_json::to_string(&origin).unwrap()},
        },
        "spec": {"owner": "alice", "image": "i", "desiredState": "Stopped"},
    }))
    .unwrap()
}

fn with_source<T>(act: impl FnOnce(&Source<'_>) -> T) -> T {
    act(&Source {
        key: &Key::new("sync", "all"),
        repository: "https://git/r.git",
        revision: "main@sha1:new",
    })
}

fn revision_in(body: &Value) -> String {
    let text = body["metadata"]["annotations"][ORIGIN_ANNOTATION]
        .as_str()
        .unwrap();
    serde_json::from_str::<Origin>(text).unwrap().revision
}

#[test]
fn what_is_sent_is_the_document_with_our_marks() {
    let body = with_source(|s| {
        body(
            s,
            &planned(Change::Update),
            None,
            Must::Be(Some("u".into())),
        )
    })
    .unwrap();
    assert_eq!(body["metadata"]["labels"]["a"], "b");
    assert_eq!(body["metadata"]["labels"][GITSYNC_NAME_LABEL], "all");
    assert_eq!(body["metadata"]["uid"], "u");
    assert_eq!(revision_in(&body), "main@sha1:new");
    assert_eq!(body["spec"], json!({"owner": "alice", "image": "i"}));
}

#[test]
fn what_is_to_be_made_must_not_be_there_yet() {
    let body = with_source(|s| body(s, &planned(Change::Create), None, Must::NotExist));
    let metadata = &body.unwrap()["metadata"];
    assert_eq!(metadata["resourceVersion"], NO_VERSION);
    assert!(metadata.get("uid").is_none());
}

#[test]
fn a_correction_keeps_the_revision_and_an_update_does_not() {
    let old = live("main@sha1:old", "x.yaml");
    let of =
        |change| with_source(|s| body(s, &planned(change), Some(&old), Must::Be(None))).unwrap();
    assert_eq!(revision_in(&of(Change::Drift)), "main@sha1:old");
    assert_eq!(revision_in(&of(Change::Update)), "main@sha1:new");
    let moved = live("main@sha1:old", "elsewhere.yaml");
    let body =
        with_source(|s| body(s, &planned(Change::Drift), Some(&moved), Must::Be(None))).unwrap();
    assert_eq!(revision_in(&body), "main@sha1:new");
}

#[test]
fn a_field_that_git_leaves_out_is_no_drift() {
    let id = planned(Change::Drift).object.id;
    let same = live("main@sha1:old", "x.yaml");
    let body =
        with_source(|s| body(s, &planned(Change::Drift), Some(&same), Must::Be(None))).unwrap();
    assert_eq!(drift(&id, &body, &same), None);
    let mut edited = same.clone();
    edited.data["spec"]["image"] = json!("other");
    assert_eq!(
        drift(&id, &body, &edited).as_deref(),
        Some("spec.image changed")
    );
    let mut unlabelled = same;
    unlabelled.metadata.labels = None;
    assert_eq!(
        drift(&id, &body, &unlabelled).as_deref(),
        Some("metadata.labels changed")
    );
}
