use super::*;
use crate::model::inside::credentials::CredentialFacts;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn with_editor(more: Value) -> Value {
    let mut class = json!({"editors": [
        {"name": "vscode", "image": format!("registry.example.com/vscode@{DIGEST}"), "command": ["bin/code-server"], "default": true},
    ]});
    for (key, value) in more.as_object().unwrap() {
        class[key] = value.clone();
    }
    class
}

fn with_everything() -> Value {
    json!({
        "projects": [{"name": "api", "git": {"url": "https://git.example.com/api.git"}}],
        "postStart": [{"name": "build", "run": "make $(nproc)"}],
        "endpoints": [{"name": "web", "port": 3000}],
    })
}

fn with_secrets(workspace: Value, class: Value, names: &[&str]) -> Resources {
    let secrets: Vec<CredentialFacts> = names
        .iter()
        .map(|name| {
            let host = format!("{name}.example.com");
            let annotations = [("workstead.dev/hosts".to_owned(), host)].into();
            CredentialFacts::of(name, Some(&annotations)).unwrap()
        })
        .collect();
    let installation = installation();
    let inputs = Inputs {
        workspace: &workspace_with(workspace),
        class: &valid_class(class),
        exceeded: None,
        volume: None,
        credentials: &secrets,
        cluster: CLUSTER,
        installation: &installation,
    };
    render(&validate(&inputs).unwrap(), 1)
}

fn pod(resources: &Resources) -> Value {
    json!(resources.template().spec)
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == name);
    found.unwrap_or(&Value::Null)
}

#[test]
fn a_workspace_with_projects_and_an_editor() {
    let resources = with_secrets(with_everything(), with_editor(json!({})), &["git", "other"]);
    insta::assert_snapshot!(yaml(&resources));
}

#[test]
fn a_workspace_whose_tools_are_copied() {
    let class = with_editor(
        json!({"tools": {"delivery": "Copy", "image": "registry.example.com/tools:2"}}),
    );
    let spec = pod(&rendered(
        json!({"resources": {"limits": {"memory": "1Gi"}}}),
        class,
    ));
    insta::assert_snapshot!(serde_yaml::to_string(&spec).unwrap());
}

/// Who may come in, as a table: labels of the pods, then ports.
fn ways_in(resources: &Resources) -> Vec<(String, Vec<i64>)> {
    let spec = json!(resources.network_policy.spec);
    let rules = spec["ingress"].as_array().unwrap().iter();
    rules
        .map(|rule| {
            let [peer] = &rule["from"].as_array().unwrap()[..] else {
                panic!("{rule}")
            };
            let namespace =
                &peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
            assert_eq!(namespace, "workstead-system");
            let pods = &peer["podSelector"]["matchLabels"];
            assert_eq!(pods["app.kubernetes.io/name"], "workstead");
            let ports = rule["ports"].as_array().unwrap().iter();
            let ports = ports.map(|port| {
                assert_eq!(
                    (&port["protocol"], &port["endPort"]),
                    (&json!("TCP"), &Value::Null)
                );
                port["port"].as_i64().unwrap()
            });
            let component = pods["app.kubernetes.io/component"].as_str().unwrap();
            (component.to_owned(), ports.collect())
        })
        .collect()
}

#[test]
fn the_proxy_reaches_editor_endpoints_and_supervisor_and_the_controller_the_supervisor_alone() {
    let controller = ("controller".to_owned(), vec![60003]);
    let resources = rendered(with_everything(), with_editor(json!({})));
    assert_eq!(
        ways_in(&resources),
        [
            ("proxy".to_owned(), vec![3000, 60001, 60003]),
            controller.clone()
        ]
    );
    let bare = rendered(json!({}), json!({}));
    assert_eq!(
        ways_in(&bare),
        [("proxy".to_owned(), vec![60003]), controller]
    );
}

#[test]
fn the_editor_is_a_port_of_the_service() {
    let service = rendered(with_everything(), with_editor(json!({})))
        .service
        .unwrap();
    let ports: Vec<(String, i32)> = service
        .spec
        .unwrap()
        .ports
        .unwrap()
        .into_iter()
        .map(|port| (port.name.unwrap(), port.port))
        .collect();
    assert_eq!(
        ports,
        [("editor".to_owned(), 60001), ("web".to_owned(), 3000)]
    );
    let none = rendered(json!({"editor": "none"}), with_editor(json!({})));
    assert_eq!(none.service, None);
}

#[test]
fn the_plan_reaches_the_first_process_as_it_is() {
    let resources = rendered(with_everything(), with_editor(json!({})));
    let spec = pod(&resources);
    let env = &spec["containers"][0]["env"];
    let written = named(env, "WORKSTEAD_PLAN")["value"].as_str().unwrap();
    let workspace = validated(
        &workspace_with(with_everything()),
        &valid_class(with_editor(json!({}))),
    );
    assert_eq!(expanded(written), workspace.inside.plan);
    assert!(workspace.inside.plan.contains("make $(nproc)"));
}

#[test]
fn credentials_are_files_of_their_secrets_and_nothing_else() {
    let spec = pod(&with_secrets(
        json!({"projects": [{"name": "a", "git": {"url": "https://b.example.com/a", "remotes": {"up": "ssh://git@a.example.com/a"}}}]}),
        json!({}),
        &["b", "a", "unused"],
    ));
    let volume = &named(&spec["volumes"], "git-credentials")["projected"];
    assert_eq!(volume["defaultMode"], 0o440);
    let sources = volume["sources"].as_array().unwrap();
    let names: Vec<&str> = sources
        .iter()
        .map(|one| one["secret"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b"]);
    for source in sources {
        assert_eq!(source["secret"]["optional"], true);
        let items = source["secret"]["items"].as_array().unwrap();
        assert_eq!(items.len(), 6);
    }
    assert_eq!(
        sources[0]["secret"]["items"][0],
        json!({"key": "username", "path": "a/username"})
    );
    for variable in spec["containers"][0]["env"].as_array().unwrap() {
        assert_eq!(variable["valueFrom"], Value::Null);
    }
}

#[test]
fn a_key_of_the_first_process_is_needed_and_read_by_its_group_alone() {
    let spec = pod(&rendered(json!({}), json!({})));
    assert_eq!(
        named(&spec["volumes"], "supervisor")["secret"],
        json!({
            "secretName": "api-supervisor", "defaultMode": 0o440,
            "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}, {"key": "ca.crt", "path": "ca.crt"}],
        })
    );
    assert_eq!(
        named(&spec["volumes"], "run")["emptyDir"]["medium"],
        "Memory"
    );
    assert_eq!(spec["initContainers"], Value::Null);
}

#[test]
fn the_kubelet_asks_for_an_editor_and_where_there_is_none_it_asks_nobody() {
    let probe = |workspace: Value| {
        let spec = pod(&rendered(workspace, with_editor(json!({}))));
        spec["containers"][0]["readinessProbe"].clone()
    };
    assert_eq!(
        probe(json!({})),
        json!({"httpGet": {"path": "/ready", "port": 60004}, "periodSeconds": 1, "failureThreshold": 3})
    );
    assert_eq!(probe(json!({"editor": "none"})), Value::Null);
}

#[test]
fn what_waits_is_called_as_the_author_calls_it() {
    let fields = |before: Value, after: Value| -> Vec<String> {
        let class = || with_editor(json!({}));
        let changes = changes(&rendered(before, class()), &rendered(after, class()), false);
        let waiting = changes
            .iter()
            .filter(|change| change.effect == ChangeEffect::NextStart);
        waiting.map(|change| change.field.clone()).collect()
    };
    let before = || json!({"postStart": [{"name": "a", "run": "echo $(date)"}]});
    let mut after = before();
    after["projects"] = with_everything()["projects"].clone();
    assert_eq!(fields(before(), after), ["spec.projects"]);
    assert_eq!(fields(before(), json!({})), ["spec.postStart"]);
    let editor = fields(
        before(),
        json!({"editor": "none", "postStart": before()["postStart"]}),
    );
    assert!(editor.contains(&"spec.editor".to_owned()), "{editor:?}");
    assert!(
        editor.iter().all(|field| !field.contains("WORKSTEAD_PLAN")),
        "{editor:?}"
    );
}

#[test]
fn a_template_of_the_release_before_plans_differs_by_its_plan() {
    let now = rendered(
        json!({}),
        json!({"gitIdentity": {"emailDomain": "example.com"}}),
    );
    let mut old = now.template().clone();
    let container = &mut old.spec.as_mut().unwrap().containers[0];
    container
        .env
        .as_mut()
        .unwrap()
        .retain(|one| one.name != "WORKSTEAD_PLAN");
    let changes = crate::model::revision::pending_changes(&old, now.template(), false);
    let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["git identity"]);
}

proptest! {
    #[test]
    fn projects_and_commands_pass_through_pods_unharmed(
        runs in prop::collection::vec("[ -~]{1,20}|[$()A]{1,6}|\\PC{1,10}", 0..4),
        folder in "[a-z]{1,9}",
        secrets in prop::collection::btree_set("[ab]", 0..3),
    ) {
        let commands: Vec<Value> = runs.iter().enumerate().filter(|(_, run)| !run.trim().is_empty())
            .map(|(at, run)| json!({"name": format!("c{at}"), "run": run})).collect();
        let spec = json!({"postStart": commands, "projects": [{"name": "p", "folder": folder, "git": {"url": "https://a.example.com/p"}}]});
        let names: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let mut turned = names.clone();
        turned.reverse();
        let one = with_secrets(spec.clone(), with_editor(json!({})), &names);
        let other = with_secrets(spec, with_editor(json!({})), &turned);
        prop_assert_eq!(yaml(&one), yaml(&other));
        let pod = pod(&one);
        let plan = named(&pod["containers"][0]["env"], "WORKSTEAD_PLAN");
        let plan: workstead_link::Plan = serde_json::from_str(&expanded(plan["value"].as_str().unwrap())).unwrap();
        let told: Vec<Value> = plan.post_start.iter().map(|one| json!({"name": one.name, "run": one.run})).collect();
        prop_assert_eq!(told, commands);
        // Every mount has its volume, and every volume its mount.
        let list = |value: &Value| -> Vec<String> {
            let mut list: Vec<String> = value.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
            list.sort();
            list
        };
        prop_assert_eq!(list(&pod["volumes"]), list(&pod["containers"][0]["volumeMounts"]));
    }
}

#[test]
fn variables_of_sealed_sets_come_from_their_secret_and_files_from_a_volume() {
    use crate::model::variables::pin::{Asked, PinnedFile, Source, VariablesLevel, VariablesPin};
    use crate::model::variables::{FilePath, VariableName};

    let workspace = workspace_with(json!({"env": [{"name": "B", "value": "plain"}]}));
    let mut workspace = validated(&workspace, &valid_class(json!({})));
    let names = ["A", "B", "HOME"].map(|name| (VariableName::new(name).unwrap(), 0));
    workspace.variables.pin = Some(VariablesPin {
        secret: "api-vars-01234567".to_owned(),
        digest: "0123456789".to_owned(),
        sources: vec![Source {
            level: VariablesLevel::Workspace,
            name: "own".to_owned(),
            digest: "d".to_owned(),
        }],
        env: names.into(),
        files: vec![PinnedFile {
            path: FilePath::parse("~/.netrc").unwrap(),
            key: "file-0000".to_owned(),
            mode: 0o400,
            source: 0,
        }],
        asked: Asked::default(),
    });
    let template = render(&workspace, 1).template().clone();
    let pod = serde_json::to_value(template.spec.unwrap()).unwrap();
    let main = &pod["containers"][0];
    let env = main["env"].as_array().unwrap();
    let of = |name: &str| {
        let found: Vec<_> = env.iter().filter(|one| one["name"] == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0].clone()
    };
    let sealed = |name: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "api-vars-01234567", "key": name}}});
    assert_eq!(of("A"), sealed("A"));
    assert_eq!(of("B"), json!({"name": "B", "value": "plain"}));
    assert_eq!(of("HOME"), sealed("HOME"));
    let volumes = pod["volumes"].as_array().unwrap();
    let files = volumes.iter().find(|one| one["name"] == "files").unwrap();
    assert_eq!(
        files["secret"],
        json!({
            "secretName": "api-vars-01234567", "defaultMode": 0o440,
            "items": [{"key": "file-0000", "path": "~/.netrc", "mode": 0o400}],
        })
    );
    let mounts = main["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|one| one["name"] == "files").unwrap();
    let expected = json!({"name": "files", "mountPath": "/run/workstead/files", "readOnly": true});
    assert_eq!(mount, &expected);
}
