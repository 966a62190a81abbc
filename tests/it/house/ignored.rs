//! Tests that an ordinary run leaves out: each is run by a verb of the Makefile.

use super::{fail_with, source};

const LONG: &str = "takes minutes: run by make test-long";

/// File, reason and name of every test that is marked so.
fn ignored(folder: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![source::root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Some("rs") = path.extension().and_then(|e| e.to_str()) else {
                continue;
            };
            let text = std::fs::read_to_string(&path).unwrap();
            // Split in two, so that this line is not one of them.
            for after in text.split(concat!("#[", "ignore")).skip(1) {
                let reason = after.split('"').nth(1).unwrap_or_default().to_owned();
                let name = after.split("fn ").nth(1).unwrap_or_default();
                let name = name.split('(').next().unwrap_or_default().to_owned();
                found.push((path.display().to_string(), reason, name));
            }
        }
    }
    found
}

#[test]
fn every_ignored_test_is_run_by_some_verb() {
    let read = |file: &str| std::fs::read_to_string(source::root().join(file)).unwrap();
    let (makefile, run) = (read("Makefile"), read("tests/e2e/run"));
    assert!(makefile.contains("cargo test --test it -- --ignored --skip helper_\n"));
    let mut wrong = Vec::new();
    for (file, reason, name) in ["src", "crates", "tests/it"].into_iter().flat_map(ignored) {
        if file.contains("/tests/it/") && (reason == LONG || name.starts_with("helper_")) {
            continue;
        }
        wrong.push(format!(
            "{file}: {name} is ignored and no verb runs it: give it the reason '{LONG}', or the name helper_…"
        ));
    }
    // On the node all are ignored, and the script runs them; those that judge the whole run it names one by one.
    let left_out = ["last::", "takeover::", "tools::", "layouts::"];
    let left_out = left_out.map(|part| format!("--skip {part} ")).concat();
    assert!(run.contains(&format!("-- --ignored --test-threads=2 {left_out}\"$@\"\n")));
    for (file, _, name) in ignored("tests/e2e") {
        let is_named = run.split_whitespace().any(|word| {
            let part = word.strip_prefix("last::");
            part.is_some_and(|part| !part.is_empty() && name.starts_with(part))
        });
        if file.ends_with("/last.rs") && !is_named {
            wrong.push(format!("{file}: {name} is not run by tests/e2e/run"));
        }
    }
    assert!(run.contains("takeover::\n") && run.contains("tools::\n"));
    assert!(run.contains("proxy::layouts::)\n") && makefile.contains("tests/e2e/run layouts\n"));
    fail_with(wrong);
}
