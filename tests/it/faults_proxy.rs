//! The fault proxy, by a client that knows nothing of it: what tests of processes build on.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::Kubeconfig;
use kube::{Api, Client, Config, Error, ResourceExt};
use serde_json::json;
use tokio::time::timeout;
use workstead::testkit::faults::{Cut, EventFault, Fault, When, lines};
use workstead::testkit::wait::eventually;
use workstead::testkit::{ControlPlane, FaultProxy, Faults};

use crate::object;

/// A proxy, a client on its far side, and a namespace of their own.
struct Room {
    plane: &'static ControlPlane,
    namespace: String,
    proxy: FaultProxy,
    faults: Faults,
    plain: Api<ConfigMap>,
}

impl Room {
    async fn new() -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let namespace = plane.namespace("proxy").await.unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(plane.client(), &namespace);
        let bindings: Api<RoleBinding> = Api::namespaced(plane.client(), &namespace);
        let params = PostParams::default();
        let account = object(json!({"metadata": {"name": "caller"}}));
        accounts.create(&params, &account).await.unwrap();
        let binding = object(json!({
            "metadata": {"name": "caller"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "caller", "namespace": namespace}],
        }));
        bindings.create(&params, &binding).await.unwrap();
        let account = format!("system:serviceaccount:{namespace}:caller");
        let bound: Api<ConfigMap> = Api::namespaced(plane.client_as(&account, &[]), &namespace);
        eventually("the binding to hold", async || {
            bound.list(&ListParams::default()).await.ok()
        })
        .await;
        let faults = Faults::new();
        Self {
            proxy: FaultProxy::start(plane, "the-caller", &faults),
            plain: Api::namespaced(plane.client(), &namespace),
            plane,
            namespace,
            faults,
        }
    }

    /// What a program does with the kubeconfig that it was given; with the client's own retry, or without.
    async fn caller(&self, retries: bool) -> Api<ConfigMap> {
        let path = self.proxy.kubeconfig(self.plane, &self.namespace, "caller");
        let file = Kubeconfig::read_from(path.await.unwrap()).unwrap();
        let mut config = Config::from_custom_kubeconfig(file, &Default::default())
            .await
            .unwrap();
        config.default_retry = retries;
        Api::namespaced(Client::try_from(config).unwrap(), &self.namespace)
    }

    async fn names(&self) -> Vec<String> {
        let list = self.plain.list(&ListParams::default()).await.unwrap();
        let ours = list.iter().map(ResourceExt::name_any);
        ours.filter(|name| name.starts_with("map-")).collect()
    }
}

fn map(name: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name}}))
}

async fn create(api: &Api<ConfigMap>, name: &str) -> kube::Result<ConfigMap> {
    api.create(&PostParams::default(), &map(name)).await
}

#[tokio::test]
async fn through_the_proxy_a_program_is_whom_its_token_says_and_the_log_knows_it_by_its_agent() {
    let room = Room::new().await;
    create(&room.caller(true).await, "map-a").await.unwrap();
    assert_eq!(room.names().await, ["map-a"]);
    let event = eventually("the audit log to name the request", || async {
        let events = room.plane.audit().unwrap();
        let by_agent = |agent: &Option<String>| agent.as_deref() == Some("the-caller");
        let mut ours = events
            .into_iter()
            .filter(|event| by_agent(&event.user_agent));
        ours.find(|event| event.request_uri.contains(&room.namespace))
    })
    .await;
    let account = format!("system:serviceaccount:{}:caller", room.namespace);
    assert_eq!((event.user(), event.is_write()), (&*account, true));
    assert!(event.request_received_timestamp <= event.stage_timestamp);
}

#[tokio::test]
async fn the_clients_own_retry_hides_some_answers_of_the_proxy_and_not_others() {
    let room = Room::new().await;
    let (with, without) = (room.caller(true).await, room.caller(false).await);
    for code in [503, 504] {
        room.faults.times(2, When::writes(), Fault::Answer(code));
        let mark = room.faults.mark();
        create(&with, &format!("map-{code}")).await.unwrap();
        let tries = room.faults.writes_since(mark);
        assert_eq!(tries.len(), 3, "{}", lines(&tries));
    }
    for (code, api) in [(503, &without), (500, &with), (409, &with)] {
        room.faults.once(When::writes(), Fault::Answer(code));
        match create(api, "map-a").await.unwrap_err() {
            Error::Api(status) => assert_eq!(status.code, code),
            other => panic!("{other}"),
        }
    }
    assert_eq!(room.names().await, ["map-503", "map-504"]);
}

#[tokio::test]
async fn a_cut_is_a_reset_connection_in_both_forms_and_the_client_does_not_try_again() {
    for (fault, made) in [(Fault::RequestLost, 0), (Fault::ReplyLost, 1)] {
        let room = Room::new().await;
        let api = room.caller(true).await;
        // A connection that is used again is cut as a new one is.
        api.list(&ListParams::default()).await.unwrap();
        room.faults.once(When::writes(), fault);
        let error = create(&api, "map-a").await.unwrap_err();
        assert!(!matches!(error, Error::Api(_)), "{error}");
        assert_eq!(room.names().await.len(), made);
        create(&api, "map-b").await.unwrap();
    }
}

#[tokio::test]
async fn watches_pass_as_streams_with_the_faults_of_the_script() {
    let room = Room::new().await;
    let api = room.caller(true).await;
    room.faults.on_events(
        |_, event| match event["object"]["metadata"]["name"].as_str() {
            Some("map-lost") => EventFault::Drop,
            Some("map-twice") => EventFault::Duplicate,
            Some("map-late") => EventFault::Delay(Duration::from_millis(200)),
            _ => EventFault::Pass,
        },
    );
    let listed = api.list(&ListParams::default()).await.unwrap();
    let version = listed.metadata.resource_version.unwrap();
    let watch = async || {
        api.watch(&WatchParams::default(), &version)
            .await
            .unwrap()
            .boxed()
    };
    let mut events = watch().await;
    let mut seen = Vec::new();
    for name in ["map-lost", "map-twice", "map-late", "map-once"] {
        // One after the other, while the watch is open: a stream, and no answer at its end.
        create(&api, name).await.unwrap();
        let times = match name {
            "map-lost" => 0,
            "map-twice" => 2,
            _ => 1,
        };
        for _ in 0..times {
            let event = timeout(Duration::from_secs(20), events.try_next()).await;
            match event.unwrap().unwrap() {
                Some(WatchEvent::Added(map)) => seen.push(map.name_any()),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(seen, ["map-twice", "map-twice", "map-late", "map-once"]);
    room.faults.expire_watches("configmaps");
    let gone = events.next().await.unwrap().unwrap();
    assert!(matches!(gone, WatchEvent::Error(status) if status.code == 410));
    assert!(events.next().await.is_none());
    let mut broken = watch().await;
    room.faults.break_watches("configmaps");
    while let Some(Ok(_)) = broken.next().await {}
    let mut closed = watch().await;
    room.faults.close_watches("configmaps");
    while let Some(event) = closed.next().await {
        event.unwrap();
    }
    room.faults
        .once(When::watch("configmaps"), Fault::Answer(410));
    let refused = api.watch(&WatchParams::default(), &version).await;
    assert!(refused.is_err_and(|e| matches!(e, Error::Api(status) if status.code == 410)));
}

#[tokio::test]
async fn whoever_is_cut_off_gets_no_answer_and_no_event_until_there_is_a_network_again() {
    let room = Room::new().await;
    let api = room.caller(true).await;
    let params = WatchParams::default();
    let mut events = api.watch(&params, "0").await.unwrap().boxed();
    room.proxy.cut_off();
    // The watch falls silent; a used connection and a new one alike.
    let moment = Duration::from_millis(300);
    create(&room.plain, "map-a").await.unwrap();
    let silent = async { while events.try_next().await.is_ok_and(|event| event.is_some()) {} };
    assert!(timeout(moment, silent).await.is_err());
    assert!(timeout(moment, create(&api, "map-b")).await.is_err());
    let other = room.caller(true).await;
    assert!(timeout(moment, create(&other, "map-c")).await.is_err());
    room.proxy.restore();
    create(&api, "map-d").await.unwrap();
    assert_eq!(room.names().await, ["map-a", "map-d"]);
    let broken = async { while events.try_next().await.is_ok_and(|event| event.is_some()) {} };
    timeout(Duration::from_secs(20), broken).await.unwrap();
}

#[tokio::test]
async fn a_frozen_process_hears_nothing_and_is_told_of_when_the_server_has_acted() {
    for (cut, made) in [(Cut::RequestLost, 0), (Cut::ReplyLost, 1)] {
        let room = Room::new().await;
        let api = room.caller(true).await;
        room.faults.freeze(When::write(1), cut);
        let mut frozen = std::pin::pin!(create(&api, "map-a"));
        tokio::select! {
            answer = frozen.as_mut() => panic!("{answer:?}"),
            () = room.faults.wait_for_crash() => {}
        }
        assert_eq!(room.names().await.len(), made, "{cut:?}");
        let moment = Duration::from_millis(200);
        assert!(timeout(moment, frozen).await.is_err());
        assert!(timeout(moment, create(&api, "map-b")).await.is_err());
        room.faults.heal();
        create(&api, "map-c").await.unwrap();
        assert_eq!(room.names().await.len(), made + 1);
    }
}
