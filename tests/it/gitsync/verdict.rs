//! Files mean what kubectl reads in them, and a change is judged as the server judges it. That the verdict on an object
//! is the server's is shown beside the definitions.

use serde_json::Value;
use workstead::api::gitsync::SyncedKind;
use workstead::gitsync::rules::{ObjectRules, TreeLimits, TreeRules};
use workstead::gitsync::verdict::Verdict;
use workstead::testkit::ControlPlane;

use crate::crds::rules;

#[test]
fn a_rule_about_a_change_is_evaluated_beside_the_old_object() {
    for case in rules::rules().into_iter().chain(rules::limits()) {
        let Some(old) = case.old() else {
            continue;
        };
        let kind = SyncedKind::from_name(case.kind).unwrap();
        let verdict = Verdict::default();
        assert_eq!(
            verdict.findings(kind, &case.good(), Some(&old)),
            vec![],
            "{}",
            case.message
        );
        let found = verdict.findings(kind, &case.bad(), Some(&old));
        assert!(
            found.iter().any(|f| f.message.starts_with(case.message)),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_file_means_what_kubectl_reads_in_it() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("scalars").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Env values must be text, so each scalar shows what it was read as: text is taken, anything else refused.
    let scalars = [
        "yes",
        "No",
        "on",
        "y",
        "~",
        "null",
        "12",
        "0x1F",
        "0o17",
        "010",
        "08",
        "1_000",
        "1e3",
        ".5",
        "1.0",
        "-.inf",
        ".nan",
        "1:30",
        "2001-01-01",
        "2001-12-14t21:59:43.10-05:00",
        "500m",
        "2Gi",
        "+12",
        "0b11",
        "1e999",
        "'yes'",
        "\"12\"",
        "!!str 12",
        "|\n        yes",
        "<<",
        "=",
        "1__",
        "_1",
        "0x",
        "12e03",
        "-0",
        "&a text",
        "!!float 3",
        "!!int \"3\"",
        "TRUE",
        "tRUE",
    ];
    let mut wrong = Vec::new();
    for (number, scalar) in scalars.iter().enumerate() {
        let text = format!(
            "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: w{number}\nspec:\n  owner: alice\n  image: debian:13\n  env:\n    - name: A\n      value: {scalar}\n"
        );
        let file = folder.path().join(format!("w{number}.yaml"));
        std::fs::write(&file, &text).unwrap();
        let output = plane
            .kubectl()
            .args([
                "apply",
                "--dry-run=server",
                "--validate=strict",
                "-o",
                "json",
                "-n",
                &namespace,
                "-f",
            ])
            .arg(&file)
            .output()
            .unwrap();
        let snapshot = workstead::gitsync::validate_dir(
            &file,
            &TreeRules::new("", "", TreeLimits::default()).unwrap(),
            &ObjectRules::anything(&namespace),
        )
        .unwrap();
        let ours = snapshot
            .objects
            .values()
            .next()
            .map(|object| object.value["spec"]["env"][0].get("value").cloned());
        let theirs = output.status.success().then(|| {
            let object: Value = serde_json::from_slice(&output.stdout).unwrap();
            object["spec"]["env"][0].get("value").cloned()
        });
        if ours != theirs {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong.push(format!(
                "{scalar}: we read {ours:?}, kubectl {theirs:?} {said}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
