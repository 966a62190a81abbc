//! What holds the proxy to the few things that it writes, whatever rights it was given.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use workstead::api::Workspace;
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::{LOCAL, PROXY, install};

/// The namespace of the installation.
const OWN: &str = "workstead-system";

/// A control plane of its own, since policies hold in the whole cluster, with the chart installed by Helm.
async fn installed() -> &'static ControlPlane {
    static INSTALLED: OnceCell<ControlPlane> = OnceCell::const_new();
    INSTALLED
        .get_or_init(|| async {
            let plane = ControlPlane::start().await.unwrap();
            // It holds where people's own policies are switched off, too.
            install(&plane, &[&LOCAL[..], &["admission.enabled=false"]].concat()).unwrap();
            let probe = lease("probe", None);
            let all_rights = all_rights(&plane);
            eventually("the policy holds", async || {
                let leases: Api<Lease> = Api::namespaced(all_rights.clone(), "default");
                let made = leases.create(&dry_run(), &probe).await;
                made.is_err_and(|error| error.to_string().contains("workstead-proxy"))
                    .then_some(())
            })
            .await;
            plane
        })
        .await
}

/// A stolen proxy in a cluster whose administrator gave it every right.
fn all_rights(plane: &ControlPlane) -> Client {
    plane.client_as(PROXY, &["system:masters"])
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

fn lease(name: &str, label: Option<&str>) -> Lease {
    let mut value = json!({"metadata": {"name": name}, "spec": {"holderIdentity": "a"}});
    if let Some(label) = label {
        value["metadata"]["labels"] = json!({"workstead.dev/lease": label});
    }
    crate::object(value)
}

/// The words of a refusal.
fn refusal<T>(result: kube::Result<T>) -> String {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(error) => error.to_string(),
    }
}

/// A Workspace with a status, made by the administrator.
async fn workspace(plane: &ControlPlane, name: &str) -> Api<Workspace> {
    let admin: Api<Workspace> = Api::namespaced(plane.client(), "default");
    let made = crate::object(json!({
        "metadata": {"name": name}, "spec": {"owner": "alice", "image": "debian"},
    }));
    admin.create(&PostParams::default(), &made).await.unwrap();
    let status = json!({"status": {"actualState": "Stopped", "url": "https://a.example.com"}});
    admin
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    admin
}

#[tokio::test]
async fn the_proxy_wakes_a_workspace_with_the_rights_of_the_chart() {
    let plane = installed().await;
    let admin = workspace(plane, "woken").await;
    let proxy: Api<Workspace> = Api::namespaced(plane.client_as(PROXY, &[]), "default");
    let wake = json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
        "status": {"wake": {"requestedAt": "2026-12-01T10:00:00.000000Z", "by": "alice"}},
    });
    let by = PatchParams::apply("workstead/proxy").force();
    proxy
        .patch_status("woken", &by, &Patch::Apply(&wake))
        .await
        .unwrap();
    // Once more, over its own.
    let later = json!({"status": {"wake": {"requestedAt": "2026-12-01T11:00:00.000000Z"}}});
    proxy
        .patch_status("woken", &PatchParams::default(), &Patch::Merge(later))
        .await
        .unwrap();
    let seen = serde_json::to_value(admin.get("woken").await.unwrap().status.unwrap()).unwrap();
    assert_eq!(seen["wake"]["requestedAt"], "2026-12-01T11:00:00.000000Z");
    assert_eq!(seen["actualState"], "Stopped");
}

#[tokio::test]
async fn no_right_lets_the_proxy_write_another_field_of_a_status_or_any_spec() {
    let plane = installed().await;
    workspace(plane, "held").await;
    let proxy: Api<Workspace> = Api::namespaced(all_rights(plane), "default");
    let parameters = PatchParams::default();
    for status in [
        json!({"actualState": "Running"}),
        json!({"url": null}),
        json!({"desiredState": "Running"}),
        json!({"wake": {"requestedAt": "2026-12-01T10:00:00.000000Z"}, "actualState": "Running"}),
        Value::Null,
    ] {
        let patch = Patch::Merge(json!({"status": status}));
        let said = refusal(proxy.patch_status("held", &parameters, &patch).await);
        assert!(said.contains("status.wake"), "{status}: {said}");
    }
    for patch in [
        json!({"spec": {"image": "evil"}}),
        json!({"metadata": {"annotations": {"workstead.dev/restart-requested-at": "now"}}}),
    ] {
        let said = refusal(proxy.patch("held", &parameters, &Patch::Merge(patch)).await);
        assert!(said.contains("status.wake"), "{said}");
    }
    let said = refusal(proxy.delete("held", &DeleteParams::default()).await);
    assert!(said.contains("status.wake"), "{said}");
    // And by the chart's own rights it does not come that far.
    let proxy: Api<Workspace> = Api::namespaced(plane.client_as(PROXY, &[]), "default");
    let patch = Patch::Merge(json!({"spec": {"image": "evil"}}));
    let said = refusal(proxy.patch("held", &parameters, &patch).await);
    assert!(said.contains("cannot patch"), "{said}");
}

#[tokio::test]
async fn no_right_lets_the_proxy_touch_leases_of_others() {
    let plane = installed().await;
    let leases = |client: Client, namespace: &str| Api::<Lease>::namespaced(client, namespace);
    let admin = leases(plane.client(), OWN);
    admin
        .create(&PostParams::default(), &lease("workstead-controller", None))
        .await
        .unwrap();
    let own = leases(all_rights(plane), OWN);
    let elsewhere = leases(all_rights(plane), "default");
    for (api, name, label) in [
        (&own, "free", None),
        (&own, "free", Some("leader")),
        (&elsewhere, "used-link", Some("login")),
        (&elsewhere, "dev-activity", Some("activity")),
    ] {
        refusal(api.create(&dry_run(), &lease(name, label)).await);
    }
    // To claim one by its label is no way either, nor to let one go.
    let parameters = PatchParams::default();
    let claim = Patch::Merge(json!({
        "metadata": {"labels": {"workstead.dev/lease": "activity"}}, "spec": {"holderIdentity": "me"},
    }));
    let said = refusal(own.patch("workstead-controller", &parameters, &claim).await);
    assert!(said.contains("workstead.dev/lease"), "{said}");
    refusal(
        own.delete("workstead-controller", &DeleteParams::default())
            .await,
    );

    // Its own, with the chart's rights.
    let by_chart = plane.client_as(PROXY, &[]);
    let links = leases(by_chart.clone(), OWN);
    let used = lease("used-link", Some("login"));
    links.create(&PostParams::default(), &used).await.unwrap();
    let again = links
        .create(&PostParams::default(), &used)
        .await
        .unwrap_err();
    assert!(
        matches!(&again, kube::Error::Api(status) if status.reason == "AlreadyExists"),
        "{again}"
    );
    // Whoever makes a link look older than it is has it cleared away, and can use it again.
    let older = json!({"spec": {"acquireTime": "2020-01-01T00:00:00.000000Z"}});
    let older = Patch::Merge(older);
    let said = refusal(own.patch("used-link", &parameters, &older).await);
    assert!(said.contains("changes no others"), "{said}");
    refusal(own.delete("used-link", &DeleteParams::default()).await);
    let activity = leases(by_chart, "default");
    let made = lease("dev-activity", Some("activity"));
    leases(plane.client(), "default")
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
    let used = Patch::Merge(json!({"spec": {"renewTime": "2026-12-01T10:00:00.000000Z"}}));
    activity
        .patch("dev-activity", &parameters, &used)
        .await
        .unwrap();
    let freed = Patch::Merge(json!({"metadata": {"labels": {"workstead.dev/lease": null}}}));
    refusal(activity.patch("dev-activity", &parameters, &freed).await);
}

#[tokio::test]
async fn no_right_lets_the_proxy_write_another_config_map_than_the_revocations() {
    let plane = installed().await;
    let map = |name: &str| -> ConfigMap { crate::object(json!({"metadata": {"name": name}})) };
    let own: Api<ConfigMap> = Api::namespaced(all_rights(plane), OWN);
    let elsewhere: Api<ConfigMap> = Api::namespaced(all_rights(plane), "default");
    for (api, name) in [(&own, "coredns"), (&elsewhere, "workstead-revocations")] {
        let said = refusal(api.create(&dry_run(), &map(name)).await);
        assert!(
            said.contains("workstead-revocations and no other"),
            "{said}"
        );
    }
    let by_chart: Api<ConfigMap> = Api::namespaced(plane.client_as(PROXY, &[]), OWN);
    let mut made = by_chart
        .create(&PostParams::default(), &map("workstead-revocations"))
        .await
        .unwrap();
    made.data = Some([("user".to_owned(), "2026-12-01T10:00:00Z".to_owned())].into());
    by_chart
        .replace("workstead-revocations", &PostParams::default(), &made)
        .await
        .unwrap();
    refusal(
        own.delete("workstead-revocations", &DeleteParams::default())
            .await,
    );
}
