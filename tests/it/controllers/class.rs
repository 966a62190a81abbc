//! The WorkspaceClass controller.

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use workstead::api::WorkspaceClass;
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::{Process, TEST_LABEL, mk_config};
use crate::object;

fn mk_class(name: &str, test: &str, spec: serde_json::Value) -> WorkspaceClass {
    object(json!({"metadata": {"name": name, "labels": {TEST_LABEL: test}}, "spec": spec}))
}

fn ready(class: &WorkspaceClass) -> Option<(String, String)> {
    let status = class.status.as_ref()?;
    (status.observed_generation == class.metadata.generation).then_some(())?;
    let condition = status.conditions.iter().find(|c| c.type_ == "Ready")?;
    Some((condition.status.clone(), condition.reason.clone()))
}

async fn until(api: &Api<WorkspaceClass>, name: &str, wanted: (&str, &str)) -> WorkspaceClass {
    eventually(&format!("class {name} to be {wanted:?}"), || async {
        let class = api.get(name).await.unwrap();
        let is = ready(&class)?;
        ((is.0.as_str(), is.1.as_str()) == wanted).then_some(class)
    })
    .await
}

#[tokio::test]
async fn a_class_says_what_is_wrong_with_it_and_two_defaults_both_say_so() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("class").await.unwrap();
    let api: Api<WorkspaceClass> = Api::all(plane.client());
    let process = Process::start(mk_config(&namespace, "only"), plane.client());
    let (one, two) = (format!("{namespace}-one"), format!("{namespace}-two"));
    let params = PostParams::default();
    api.create(&params, &mk_class(&one, &namespace, json!({})))
        .await
        .unwrap();
    until(&api, &one, ("True", "Valid")).await;
    let wrong = json!({"resources": {"max": {"example.com/gpu": "500m"}}});
    api.create(&params, &mk_class(&two, &namespace, wrong))
        .await
        .unwrap();
    let class = eventually("the wrong field to be named", || async {
        let class = api.get(&two).await.unwrap();
        (!class.status.as_ref()?.invalid_fields.is_empty()).then_some(class)
    })
    .await;
    let status = class.status.unwrap();
    assert!(
        status.invalid_fields[0].field.contains("example.com/gpu"),
        "{status:?}"
    );

    let default = json!({"metadata": {"annotations": {"workstead.dev/is-default-class": "true"}}});
    for name in [&one, &two] {
        api.patch(name, &PatchParams::default(), &Patch::Merge(&default))
            .await
            .unwrap();
    }
    until(&api, &one, ("False", "SeveralDefaults")).await;
    eventually("the other class to name both", || async {
        let fields = api.get(&two).await.unwrap().status?.invalid_fields;
        let field = fields
            .iter()
            .find(|f| f.field.contains("is-default-class"))?;
        field
            .message
            .contains(&format!("{one}, {two}"))
            .then_some(())
    })
    .await;
    api.delete(&two, &DeleteParams::default()).await.unwrap();
    until(&api, &one, ("True", "Valid")).await;
    api.delete(&one, &DeleteParams::default()).await.unwrap();
    process.stop().await.unwrap();
}
