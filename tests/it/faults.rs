//! The fault layer: what it does to calls is what tests of controllers build on.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Error, ResourceExt as _};
use serde_json::json;
use tokio::time::timeout;
use workstead::testkit::faults::{Call, Cut, EventFault, Fault, Faults, When, lines};
use workstead::testkit::{ControlPlane, wait};

use crate::object;

/// A client with faults, one without, and a namespace of their own.
struct Room {
    faults: Faults,
    faulty: Api<ConfigMap>,
    plain: Api<ConfigMap>,
}

impl Room {
    async fn new() -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let namespace = plane.namespace("faults").await.unwrap();
        let faults = Faults::new();
        Self {
            faulty: Api::namespaced(faults.client(plane.config()), &namespace),
            plain: Api::namespaced(plane.client(), &namespace),
            faults,
        }
    }

    async fn create(&self, name: &str) -> kube::Result<ConfigMap> {
        self.faulty.create(&PostParams::default(), &map(name)).await
    }

    async fn names(&self) -> Vec<String> {
        let list = self.plain.list(&ListParams::default()).await.unwrap();
        list.iter().map(|map| map.name_any()).collect()
    }
}

fn map(name: &str) -> ConfigMap {
    object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}))
}

fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[tokio::test]
async fn an_answer_of_the_script_reaches_the_caller_at_once_and_the_server_never() {
    let room = Room::new().await;
    for wanted in [409, 410, 429, 500, 503, 504] {
        room.faults.once(When::writes(), Fault::Answer(wanted));
        // Were the client to try again by itself, the second try would succeed.
        let error = room.create("a").await.unwrap_err();
        assert_eq!(code(&error), Some(wanted));
    }
    assert!(room.names().await.is_empty());
    room.create("a").await.unwrap();
    assert_eq!(room.names().await, ["a"]);
}

#[tokio::test]
async fn a_conflict_of_the_script_reads_as_one_of_the_server() {
    let room = Room::new().await;
    room.faults.once(When::any(), Fault::Answer(409));
    let Err(Error::Api(status)) = room.create("a").await else {
        panic!("it should fail");
    };
    assert!(status.is_conflict() && !status.is_already_exists());
}

#[tokio::test]
async fn a_cut_looks_the_same_in_both_forms_but_the_server_acted_in_one() {
    let mut errors = Vec::new();
    for (cut, made) in [(Cut::RequestLost, 0), (Cut::ReplyLost, 1)] {
        let room = Room::new().await;
        let fault = if cut == Cut::ReplyLost {
            Fault::ReplyLost
        } else {
            Fault::RequestLost
        };
        room.faults.once(When::call(1), fault);
        errors.push(room.create("a").await.unwrap_err().to_string());
        assert_eq!(room.names().await.len(), made, "{cut:?}");
    }
    assert_eq!(errors[0], errors[1]);
}

#[tokio::test]
async fn a_call_that_hangs_ends_only_by_the_callers_deadline() {
    for (fault, made) in [(Fault::Hang, 0), (Fault::ReplyHangs, 1)] {
        let room = Room::new().await;
        room.faults.once(When::call(1), fault);
        let ended = timeout(Duration::from_millis(500), room.create("a")).await;
        assert!(ended.is_err());
        assert_eq!(room.names().await.len(), made);
    }
}

#[tokio::test]
async fn faults_are_picked_by_number_by_write_number_and_by_what_a_call_is() {
    let room = Room::new().await;
    room.faults.once(When::call(2), Fault::Answer(500));
    room.create("a").await.unwrap();
    assert!(room.faulty.get("a").await.is_err());
    room.faults.once(When::write(3), Fault::Answer(500));
    room.create("b").await.unwrap();
    room.faulty.get("b").await.unwrap();
    assert!(room.create("c").await.is_err());
    let deletes =
        When::request(Method::DELETE, "configmaps").and(When::matching(|call| call.name() == "b"));
    room.faults.always(deletes, Fault::Answer(503));
    room.faulty.delete("a", &Default::default()).await.unwrap();
    for _ in 0..3 {
        assert!(room.faulty.delete("b", &Default::default()).await.is_err());
    }
    room.faults.heal();
    room.faulty.delete("b", &Default::default()).await.unwrap();
    room.faults.restart_count();
    room.faults.once(When::call(1), Fault::Answer(500));
    assert!(room.faulty.get("a").await.is_err());
}

#[tokio::test]
async fn after_a_crash_nothing_goes_through_until_it_is_healed() {
    let room = Room::new().await;
    let params = WatchParams::default().timeout(60);
    let mut watch = room.faulty.watch(&params, "0").await.unwrap().boxed();
    room.faults.crash(When::write(2), Cut::ReplyLost);
    room.create("a").await.unwrap();
    assert!(!room.faults.has_crashed());
    assert!(room.create("b").await.is_err());
    timeout(Duration::from_secs(5), room.faults.wait_for_crash())
        .await
        .unwrap();
    assert!(room.create("c").await.is_err());
    assert!(room.faulty.get("a").await.is_err());
    let broken = async { while watch.try_next().await.is_ok_and(|event| event.is_some()) {} };
    timeout(Duration::from_secs(5), broken).await.unwrap();
    assert_eq!(room.names().await, ["a", "b"]);
    room.faults.heal();
    room.create("c").await.unwrap();
}

#[tokio::test]
async fn a_crash_is_told_when_the_server_has_acted_so_that_the_caller_may_be_dropped_at_once() {
    for (cut, made) in [(Cut::RequestLost, 0), (Cut::ReplyLost, 1)] {
        let room = Room::new().await;
        room.faults.crash(When::write(1), cut);
        let api = room.faulty.clone();
        let mut caller = tokio::task::JoinSet::new();
        caller.spawn(async move { api.create(&PostParams::default(), &map("a")).await });
        room.faults.wait_for_crash().await;
        caller.shutdown().await;
        assert_eq!(room.names().await.len(), made, "{cut:?}");
    }
}

#[tokio::test]
async fn the_record_tells_writes_from_reads_and_watches() {
    let room = Room::new().await;
    room.create("a").await.unwrap();
    let mark = room.faults.mark();
    room.faulty.get("a").await.unwrap();
    drop(
        room.faulty
            .watch(&WatchParams::default(), "0")
            .await
            .unwrap(),
    );
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::apply("workstead/test")
    };
    room.faulty
        .patch("a", &dry, &Patch::Apply(map("a")))
        .await
        .unwrap();
    assert_eq!(lines(&room.faults.writes_since(mark)), "");
    assert_eq!(room.faults.calls_since(mark).len(), 3);
    let patch = Patch::Merge(json!({"data": {"key": "value"}}));
    room.faulty
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let writes: Vec<Call> = room.faults.writes();
    assert_eq!(lines(&writes).lines().count(), 2);
    assert_eq!(
        (writes[1].resource(), writes[1].name(), writes[1].status),
        ("configmaps", "a", Some(200))
    );
    assert_eq!(writes[1].json()["data"]["key"], "value");
    assert_eq!(writes[1].write_number, 2);
}

#[tokio::test]
async fn a_stale_read_answers_as_the_same_read_was_answered_before() {
    let room = Room::new().await;
    room.faults.remember_reads();
    let count = async || {
        room.faulty
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len()
    };
    assert_eq!(count().await, 0);
    room.create("a").await.unwrap();
    room.faults.once(When::any(), Fault::Stale);
    assert_eq!(count().await, 0);
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn a_watch_ends_breaks_or_expires_when_told_to() {
    let room = Room::new().await;
    let params = WatchParams::default().timeout(60);
    for how in ["close", "expire", "break"] {
        let mut watch = room.faulty.watch(&params, "0").await.unwrap().boxed();
        match how {
            "close" => room.faults.close_watches("configmaps"),
            "expire" => room.faults.expire_watches("configmaps"),
            _ => room.faults.break_watches("configmaps"),
        }
        let end = async {
            loop {
                match watch.next().await {
                    // One may have been on its way.
                    Some(Ok(WatchEvent::Bookmark(_))) => {}
                    other => return other,
                }
            }
        };
        let end = timeout(Duration::from_secs(5), end).await.unwrap();
        match how {
            "close" => assert!(end.is_none(), "{end:?}"),
            "expire" => assert!(
                matches!(&end, Some(Ok(WatchEvent::Error(status))) if status.code == 410),
                "{end:?}"
            ),
            _ => assert!(matches!(&end, Some(Err(_))), "{end:?}"),
        }
    }
}

#[tokio::test]
async fn events_of_a_watch_are_lost_and_doubled_as_the_test_says() {
    let room = Room::new().await;
    room.faults.on_events(
        |_, event| match event["object"]["metadata"]["name"].as_str() {
            Some("lost") => EventFault::Drop,
            Some("twice") => EventFault::Duplicate,
            Some("late") => EventFault::Delay(Duration::from_millis(200)),
            _ => EventFault::Pass,
        },
    );
    let version = room
        .plain
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let params = WatchParams::default().timeout(60);
    let watch = room.faulty.watch(&params, &version).await.unwrap();
    for name in ["lost", "twice", "late", "once"] {
        room.create(name).await.unwrap();
    }
    let names = watch.try_filter_map(|event| async move {
        Ok(match event {
            WatchEvent::Added(map) => Some(map.name_any()),
            _ => None,
        })
    });
    let seen: Vec<String> = timeout(wait::PATIENCE, names.take(4).try_collect())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen, ["twice", "twice", "late", "once"]);
}
