//! Every crate that we build on may be used in a program under Apache-2.0.

use std::process::Command;

use serde_json::Value;

use super::source::root;

/// Licences that ask for no more than a notice, and MPL-2.0, which asks for changes to its own files only.
const ALLOWED: [&str; 16] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

/// Whether an SPDX expression leaves a choice that is allowed. `/` is how some crates write OR.
fn allows(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any_of(&mut rest) == Some(true) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut outcome = all_of(words)?;
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        // Not short-circuited: the words have to be read.
        outcome |= all_of(words)?;
    }
    Some(outcome)
}

fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut outcome = one(words)?;
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        outcome &= one(words)?;
    }
    Some(outcome)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let outcome = any_of(words)?;
        let (close, rest) = words.split_first()?;
        *words = rest;
        return (*close == ")").then_some(outcome);
    }
    let mut name = (*first).to_owned();
    if let [with @ "WITH", exception, rest @ ..] = *words {
        name = format!("{name} {with} {exception}");
        *words = rest;
    }
    Some(ALLOWED.contains(&name.as_str()))
}

#[test]
fn an_expression_is_allowed_when_one_of_its_choices_is() {
    for fine in [
        "MIT",
        "MIT OR GPL-3.0",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(allows(fine), "{fine}");
    }
    for wrong in [
        "GPL-3.0-only",
        "AGPL-3.0",
        "OSL-3.0",
        "MIT AND GPL-3.0",
        "GPL-3.0 WITH LLVM-exception",
        "MIT Apache-2.0",
        "(MIT",
        "",
    ] {
        assert!(!allows(wrong), "{wrong}");
    }
}

#[test]
fn the_licence_of_every_crate_is_one_that_we_allow() {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
        ])
        .arg(host)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Crates for other systems stay in the list of packages; what is built here is in the graph.
    let built: Vec<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    assert!(
        built.len() > 100,
        "{} crates: the graph was not read",
        built.len()
    );
    let wrong: Vec<String> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| built.contains(&package["id"].as_str().unwrap()))
        .filter(|package| !allows(package["license"].as_str().unwrap_or_default()))
        .map(|package| {
            format!(
                "{} {}: {}",
                package["name"], package["version"], package["license"]
            )
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
