use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use workstead_link::Plan;

use super::projects::{Host, RepositoryUrl};
use super::*;
use crate::api::class::Delivery;
use crate::api::projects::GitUrl;
use crate::api::shared::Blame;
use crate::api::workspace::Cause;
use crate::model::class;
use crate::model::fixtures::{CLUSTER, class_with, installation, valid_class, workspace_with};
use crate::model::workspace::{Inputs, ValidatedWorkspace};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn editors() -> Value {
    json!({"editors": [
        {"name": "vscode", "image": format!("registry.example.com/vscode@{DIGEST}"), "command": ["bin/code-server"],
         "readinessPath": "/healthz", "needs": {"architectures": ["amd64"], "glibc": "2.28"}, "default": true},
        {"name": "terminal", "image": format!("registry.example.com/terminal:1@{DIGEST}"), "command": ["/bin/term"], "port": 7681},
    ]})
}

fn checked(
    spec: Value,
    class: Value,
    secrets: &[CredentialFacts],
) -> Result<ValidatedWorkspace, Failure> {
    crate::model::workspace::validate(&Inputs {
        workspace: &workspace_with(spec),
        class: &valid_class(class),
        exceeded: None,
        volume: None,
        credentials: secrets,
        cluster: CLUSTER,
        installation: &installation(),
    })
}

fn inside(spec: Value, class: Value) -> Inside {
    checked(spec, class, &[]).unwrap().inside
}

fn plan(spec: Value, class: Value) -> Plan {
    serde_json::from_str(&inside(spec, class).plan).unwrap()
}

fn refused(spec: Value) -> Failure {
    checked(spec, editors(), &[]).unwrap_err()
}

fn project(more: Value) -> Value {
    let mut git = json!({"url": "https://git.example.com/api.git"});
    let mut project = json!({"name": "api"});
    for (key, value) in more.as_object().unwrap() {
        let place = if key == "folder" {
            &mut project
        } else {
            &mut git
        };
        place[key] = value.clone();
    }
    project["git"] = git;
    json!({"projects": [project]})
}

#[test]
fn a_workspace_that_asks_for_nothing_has_a_plan_of_nothing() {
    let inside = inside(json!({}), json!({}));
    let author = r#"{"name":"alice","email":"alice@example.com"}"#;
    assert_eq!(
        inside.plan,
        format!(
            r#"{{"version":1,"projects":[],"postStart":[],"editor":null,"author":{author},"credentials":[],"network":{{"kind":"None"}},"keepAlive":[]}}"#
        )
    );
    assert_eq!(inside.editor, None);
    assert_eq!(inside.tools.delivery, Delivery::ImageVolume);
}

#[test]
fn everything_that_is_written_comes_into_the_plan_in_its_order() {
    let spec = json!({
        "projects": [
            {"name": "web", "git": {"url": "ssh://git@git.example.com:2222/web.git", "ref": "v1.2", "shallow": true,
                "sparse": ["docs", "services/web"], "subdirectory": "services/web",
                "remotes": {"upstream": "https://github.example/web.git"}}, "folder": "Web_2"},
            {"name": "api", "git": {"url": "http://git.example.com/api.git"}},
        ],
        "postStart": [
            {"name": "build", "run": "make $HOME", "workingDir": "api", "timeout": "90s"},
            {"name": "after", "run": "true"},
        ],
    });
    insta::assert_snapshot!(
        inside(spec, editors())
            .plan
            .replace(",{", ",\n{")
            .replace(",\"", ",\n\"")
    );
}

#[rstest]
#[case::default(None, json!({}), None)]
#[case::of_the_class(None, editors(), Some("vscode"))]
#[case::named(Some("terminal"), editors(), Some("terminal"))]
#[case::none(Some("none"), editors(), None)]
fn a_workspace_gets_the_editor_that_it_names_or_the_default(
    #[case] named: Option<&str>,
    #[case] class: Value,
    #[case] expected: Option<&str>,
) {
    let spec = named.map_or(json!({}), |name| json!({"editor": name}));
    let inside = inside(spec, class);
    let plan: Plan = serde_json::from_str(&inside.plan).unwrap();
    assert_eq!(plan.editor.map(|editor| editor.name).as_deref(), expected);
    assert_eq!(
        inside
            .editor
            .map(|editor| editor.name.to_string())
            .as_deref(),
        expected
    );
}

#[test]
fn an_editor_is_told_where_its_image_lies_and_what_it_needs() {
    let editor = plan(json!({}), editors()).editor.unwrap();
    assert_eq!(
        json!(editor),
        json!({
            "name": "vscode", "command": ["bin/code-server"], "port": 60001, "readyPath": "/healthz",
            "needs": {"architectures": ["amd64"], "libc": {"kind": "Glibc", "min": "2.28"}},
            "folder": "/opt/workstead-editor",
        })
    );
}

#[test]
fn an_editor_that_the_class_lacks_is_refused_with_those_that_it_has() {
    let failure = refused(json!({"editor": "emacs"}));
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::ClassInvalid, Blame::User)
    );
    assert!(
        failure.message.contains("vscode, terminal, none"),
        "{failure:?}"
    );
    let without = checked(json!({"editor": "vscode"}), json!({}), &[]).unwrap_err();
    assert!(without.message.ends_with("offers none"), "{without:?}");
}

#[test]
fn an_endpoint_on_the_editors_port_is_refused_only_beside_that_editor() {
    let endpoints = json!([{"name": "web", "port": 7681}]);
    let failure = refused(json!({"editor": "terminal", "endpoints": endpoints}));
    assert_eq!(failure.cause, Cause::ConfigInvalid);
    assert!(
        failure.message.starts_with("spec.endpoints[web]: "),
        "{failure:?}"
    );
    assert!(
        checked(
            json!({"editor": "vscode", "endpoints": endpoints}),
            editors(),
            &[]
        )
        .is_ok()
    );
    for port in [60001, 60003, 60004] {
        let spec = json!({"editor": "none", "endpoints": [{"name": "web", "port": port}]});
        assert_eq!(refused(spec).cause, Cause::ConfigInvalid, "{port}");
    }
}

#[rstest]
#[case("https://git.example.com/api.git", "git.example.com")]
#[case("https://GIT.example.com:443/a", "git.example.com")]
#[case("https://git.example.com:8443/a", "git.example.com:8443")]
#[case("http://git.example.com:80/a", "git.example.com")]
#[case("http://git:3000/team/api", "git:3000")]
#[case("ssh://git@git.example.com/team/api.git", "git.example.com")]
#[case("ssh://git@git.example.com:22/a", "git.example.com")]
#[case("ssh://git.example.com:2222/~alice/a", "git.example.com:2222")]
#[case("https://[2001:DB8::1]:8443/a", "[2001:db8::1]:8443")]
#[case("https://10.0.0.1/a@b", "10.0.0.1")]
fn urls_are_taken_and_tell_their_host(#[case] text: &str, #[case] host: &str) {
    let url = RepositoryUrl::new(&GitUrl(text.to_owned())).unwrap();
    assert_eq!((url.as_str(), url.host().as_str()), (text, host));
    // What stands in the annotation of a Secret for it.
    assert_eq!(Host::parse(host).unwrap(), *url.host());
}

#[rstest]
#[case("git@git.example.com:team/api.git", "ssh://git@host/path")]
#[case("file:///etc/passwd", "https://, http:// or ssh://")]
#[case("ext::sh -c x", "https://, http:// or ssh://")]
#[case("git://git.example.com/a", "https://, http:// or ssh://")]
#[case("HTTPS://git.example.com/a", "https://, http:// or ssh://")]
#[case("https:/git.example.com/a", "https://, http:// or ssh://")]
#[case("/projects/a", "https://, http:// or ssh://")]
#[case("https://alice:hunter2@git.example.com/a", "git-credentials")]
#[case("https://hunter2@git.example.com/a", "git-credentials")]
#[case("ssh://git:hunter2@git.example.com/a", "git-credentials")]
#[case("https://git.example.com/a?private_token=hunter2", "leave out")]
#[case("https://git.example.com/a#hunter2", "leave out")]
#[case("ssh://-oProxyCommand=hunter2/a", "names no host")]
#[case("ssh://-x@git.example.com/a", "the user of ssh")]
#[case("https:///a", "names no host")]
#[case("https://git.example.com", "names no path")]
#[case("https://git.example.com/", "names no path")]
#[case("https://git.example.com/a b", "names no path")]
#[case("https://git.example.com:0/a", "names no host")]
#[case("https://git.example.com:99999/a", "names no host")]
#[case("https://git..example.com/a", "names no host")]
#[case("https://[::1/a", "names no host")]
fn urls_that_carry_secrets_or_lead_elsewhere_are_refused(#[case] text: &str, #[case] said: &str) {
    for spec in [
        project(json!({"url": text})),
        project(json!({"remotes": {"up": text}})),
    ] {
        let failure = refused(spec);
        assert_eq!(failure.cause, Cause::ConfigInvalid);
        assert!(failure.message.contains(said), "{failure:?}");
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
}

#[rstest]
#[case("main")]
#[case("feature/a-b_c")]
#[case("v1.2+3")]
#[case("0123456789abcdef0123456789abcdef01234567")]
#[case("refs/tags/v1")]
#[case("größe")]
#[case("a@b")]
fn refs_are_taken(#[case] text: &str) {
    assert_eq!(
        plan(project(json!({"ref": text})), json!({})).projects[0]
            .reference
            .as_deref(),
        Some(text)
    );
}

#[rstest]
#[case("")]
#[case("-d")]
#[case("--upload-pack=x")]
#[case("a b")]
#[case("a..b")]
#[case("a\nb")]
#[case("a~1")]
#[case("a^")]
#[case("a:b")]
#[case("+a:b")]
#[case("a*")]
#[case("a[b")]
#[case("a\\b")]
#[case("@{-1}")]
#[case("/a")]
#[case("a/")]
#[case("a//b")]
#[case("a/.b")]
#[case(".a")]
#[case("a.")]
#[case("a.lock")]
#[case(&"a".repeat(256))]
fn what_git_takes_for_no_ref_is_refused(#[case] text: &str) {
    let failure = refused(project(json!({"ref": text})));
    assert!(
        failure.message.starts_with("spec.projects[api].git.ref: "),
        "{failure:?}"
    );
}

#[rstest]
#[case(json!({"folder": "a/b"}), "folder")]
#[case(json!({"folder": ".."}), "folder")]
#[case(json!({"folder": "."}), "folder")]
#[case(json!({"folder": ".ssh"}), "folder")]
#[case(json!({"folder": "-a"}), "folder")]
#[case(json!({"folder": ""}), "folder")]
#[case(json!({"folder": "a".repeat(129)}), "folder")]
#[case(json!({"sparse": ["../a"]}), "git.sparse")]
#[case(json!({"sparse": ["/a"]}), "git.sparse")]
#[case(json!({"sparse": ["a/*"]}), "git.sparse")]
#[case(json!({"sparse": ["!a"]}), "git.sparse")]
#[case(json!({"sparse": ["--stdin"]}), "git.sparse")]
#[case(json!({"subdirectory": "a/../../b"}), "git.subdirectory")]
#[case(json!({"subdirectory": "/etc"}), "git.subdirectory")]
#[case(json!({"subdirectory": "a/"}), "git.subdirectory")]
#[case(json!({"subdirectory": "a\nb"}), "git.subdirectory")]
#[case(json!({"remotes": {"origin": "https://a.example/b"}}), "git.remotes")]
#[case(json!({"remotes": {"-x": "https://a.example/b"}}), "git.remotes")]
fn places_outside_are_refused(#[case] more: Value, #[case] field: &str) {
    let failure = refused(project(more));
    let begin = format!("spec.projects[api].{field}: ");
    assert!(failure.message.starts_with(&begin), "{failure:?}");
}

#[test]
fn two_projects_have_two_names_and_two_folders() {
    let git = json!({"url": "https://git.example.com/a"});
    let named = refused(
        json!({"projects": [{"name": "a", "git": git}, {"name": "a", "git": git, "folder": "b"}]}),
    );
    assert!(named.message.contains("this name"), "{named:?}");
    let folder = refused(
        json!({"projects": [{"name": "a", "git": git}, {"name": "b", "git": git, "folder": "a"}]}),
    );
    assert!(folder.message.contains("the folder 'a'"), "{folder:?}");
}

#[rstest]
#[case(json!({"name": "a", "run": " "}), ".run")]
#[case(json!({"name": "a", "run": "a\u{0}"}), ".run")]
#[case(json!({"name": "a", "run": "true", "workingDir": "../etc"}), ".workingDir")]
#[case(json!({"name": "a", "run": "true", "timeout": "0s"}), ".timeout")]
#[case(json!({"name": "a", "run": "true", "timeout": "25h"}), ".timeout")]
fn commands_that_can_not_run_are_refused(#[case] command: Value, #[case] field: &str) {
    let failure = refused(json!({"postStart": [command]}));
    let begin = format!("spec.postStart[a]{field}: ");
    assert!(failure.message.starts_with(&begin), "{failure:?}");
}

#[test]
fn a_plan_stays_below_what_the_kernel_takes() {
    let commands = |count: usize| -> Vec<Value> {
        let one = |at: usize| json!({"name": format!("c{at}"), "run": "x".repeat(4096)});
        (0..count).map(one).collect()
    };
    assert!(
        inside(json!({"postStart": commands(23)}), json!({}))
            .plan
            .len()
            <= 96 * 1024
    );
    let failure = refused(json!({"postStart": commands(24)}));
    assert_eq!(failure.cause, Cause::ConfigInvalid);
    assert!(failure.message.contains("96 KiB"), "{failure:?}");
}

#[rstest]
#[case(json!({"name": "none"}), "stands for no editor")]
#[case(json!({"name": "A"}), "is no name")]
#[case(json!({"image": "registry.example.com/vscode:1"}), "may change")]
#[case(json!({"command": []}), "no program")]
#[case(json!({"port": 80}), "port 80")]
#[case(json!({"port": 60003}), "port 60003")]
#[case(json!({"readinessPath": "healthz"}), "readinessPath")]
#[case(json!({"needs": {"architectures": ["x86_64"]}}), "architecture")]
#[case(json!({"needs": {"glibc": "new"}}), "glibc")]
fn an_editor_that_is_wrong_is_left_out_and_reported(#[case] change: Value, #[case] said: &str) {
    let mut class = editors();
    for (key, value) in change.as_object().unwrap() {
        class["editors"][1][key] = value.clone();
    }
    let verdict = class::validate(&class_with(class));
    assert!(verdict.is_usable());
    let [wrong] = &verdict.invalid[..] else {
        panic!("{:?}", verdict.invalid)
    };
    assert!(
        wrong.field.starts_with("spec.editors[") && wrong.message.contains(said),
        "{wrong:?}"
    );
    let names: Vec<String> = verdict
        .class
        .unwrap()
        .editors
        .iter()
        .map(|e| e.name.to_string())
        .collect();
    assert_eq!(names, ["vscode"]);
}

#[test]
fn of_two_default_editors_the_first_is_it() {
    let mut class = editors();
    class["editors"][1]["default"] = json!(true);
    let verdict = class::validate(&class_with(class));
    assert_eq!(verdict.invalid[0].field, "spec.editors[terminal].default");
    let defaults: Vec<bool> = verdict
        .class
        .unwrap()
        .editors
        .iter()
        .map(|e| e.default)
        .collect();
    assert_eq!(defaults, [true, false]);
}

#[test]
fn tools_of_a_wrong_image_start_nothing() {
    let verdict = class::validate(&class_with(json!({"tools": {"image": "Not An Image"}})));
    assert_eq!(verdict.blocking[0].field, "spec.tools.image");
}

#[rstest]
#[case(json!({}), None, Delivery::ImageVolume)]
#[case(json!({}), Some(true), Delivery::ImageVolume)]
#[case(json!({}), Some(false), Delivery::Copy)]
#[case(json!({"delivery": "Auto"}), Some(false), Delivery::Copy)]
#[case(json!({"delivery": "Copy"}), Some(true), Delivery::Copy)]
#[case(json!({"delivery": "ImageVolume"}), Some(false), Delivery::ImageVolume)]
fn tools_are_mounted_where_that_works_unless_the_class_says_otherwise(
    #[case] tools: Value,
    #[case] works: Option<bool>,
    #[case] expected: Delivery,
) {
    let class = valid_class(json!({"tools": tools}));
    let cluster = Cluster {
        image_volumes: works,
        ..CLUSTER
    };
    let tools = Tools::of(&class.tools, &installation(), cluster);
    assert_eq!(tools.delivery, expected);
    assert_eq!(tools.image, installation().tools_image);
}

#[test]
fn two_secrets_for_a_host_do_not_keep_a_workspace_from_starting() {
    let secret = |name: &str| {
        let annotations = [(
            "workstead.dev/hosts".to_owned(),
            "git.example.com".to_owned(),
        )]
        .into();
        CredentialFacts::of(name, Some(&annotations)).unwrap()
    };
    let one = checked(project(json!({})), json!({}), &[secret("a")])
        .unwrap()
        .inside;
    let plan: Plan = serde_json::from_str(&one.plan).unwrap();
    assert_eq!(plan.credentials[0].name, "a");
    assert_eq!(one.credentials.len(), 1);
    let two = checked(project(json!({})), json!({}), &[secret("b"), secret("a")])
        .unwrap()
        .inside;
    assert_eq!(two.credentials.len(), 2);
    let nowhere = checked(json!({}), json!({}), &[secret("a")])
        .unwrap()
        .inside;
    assert!(
        nowhere.credentials.is_empty(),
        "nothing is cloned, so nothing is mounted"
    );
}

proptest! {
    #[test]
    fn no_url_that_is_taken_holds_a_password_or_an_option(text in "(https?|ssh)://[a-z@:.\\[\\]/?#0-9-]{0,30}|\\PC{0,40}") {
        if let Ok(url) = RepositoryUrl::new(&GitUrl(text.clone())) {
            let rest = text.split_once("://").unwrap().1;
            let authority = rest.split('/').next().unwrap();
            prop_assert!(!authority.starts_with('-'));
            let user = authority.rsplit_once('@').map(|(user, _)| user);
            prop_assert!(user.is_none_or(|user| text.starts_with("ssh://") && !user.contains([':', '@'])));
            prop_assert!(Host::parse(url.host().as_str()).is_some());
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,60}|[a-z:.\\[\\]0-9]{0,30}") {
        let _ = Host::parse(&text);
        let _ = refuse(&text);
    }
}

/// Puts a text into every field.
fn refuse(text: &str) -> bool {
    let spec = json!({
        "projects": [{"name": text, "folder": text, "git": {"url": text, "ref": text, "sparse": [text], "subdirectory": text, "remotes": {text: text}}}],
        "postStart": [{"name": text, "run": text, "workingDir": text, "timeout": text}],
        "editor": text,
    });
    checked(spec, editors(), &[]).is_err()
}
