//! The house itself: who knows whom, which crate has which door, which licences are in it, how large its files are.
//! CONTRIBUTING.md says the same for people.

mod ignored;
mod licences;
mod source;

use source::{File, files};

/// A room and whom it may know. What is not listed is forbidden. `link` is the crate of messages and paths.
const ARROWS: [(&str, &[&str]); 12] = [
    ("api", &[]),
    ("model", &["api", "link"]),
    ("render", &["api", "model", "link"]),
    ("yaml", &[]),
    ("secrets", &["api", "model", "yaml"]),
    ("gitsync", &["api", "model", "yaml", "secrets", "telemetry"]),
    (
        "controllers",
        &[
            "api",
            "model",
            "render",
            "gitsync",
            "yaml",
            "secrets",
            "link",
            "telemetry",
            "inside",
        ],
    ),
    ("proxy", &["api", "model", "inside", "link", "telemetry"]),
    ("inside", &["model", "link"]),
    ("telemetry", &[]),
    (
        "cli",
        &[
            "api",
            "model",
            "render",
            "gitsync",
            "yaml",
            "secrets",
            "link",
            "telemetry",
            "controllers",
            "proxy",
            "inside",
        ],
    ),
    (
        "testkit",
        &[
            "api",
            "model",
            "render",
            "gitsync",
            "yaml",
            "secrets",
            "link",
            "telemetry",
            "controllers",
            "proxy",
            "inside",
        ],
    ),
];

/// Who may name what of other people's. The one door to each thing with effects.
const DOORS: [Door; 12] = [
    Door {
        thing: "git2::",
        may: &["gitsync/fetch"],
        why: "one place knows libgit2 and its traps",
    },
    Door {
        thing: "serde_yaml::",
        may: &["yaml/"],
        why: "it is frozen and only writes",
    },
    Door {
        thing: "serde_saphyr::",
        may: &["yaml/"],
        why: "limits on hostile text are set in one place",
    },
    Door {
        thing: "kube::Client",
        may: &["controllers/", "proxy/", "cli/", "testkit/"],
        why: "the core is pure",
    },
    Door {
        thing: "kube::Api",
        may: &["controllers/", "proxy/", "cli/", "testkit/"],
        why: "the core is pure",
    },
    Door {
        thing: "kube::client::",
        may: &["controllers/", "proxy/", "cli/", "testkit/"],
        why: "the core is pure",
    },
    Door {
        thing: "kube::runtime::",
        may: &["controllers/", "proxy/", "cli/", "testkit/"],
        why: "the core is pure",
    },
    Door {
        thing: "tokio::",
        may: &[
            "controllers/",
            "proxy/",
            "inside/",
            "cli/",
            "testkit/",
            "telemetry/",
            "gitsync/fetch",
            "gitsync/worker.rs",
            "main.rs",
        ],
        why: "the core waits for nothing",
    },
    Door {
        thing: "age::",
        may: &["secrets/"],
        why: "what is sealed is opened in one room",
    },
    Door {
        thing: "clap::",
        may: &["cli/", "main.rs"],
        why: "what was typed is read in one room",
    },
    Door {
        thing: "std::env::var",
        may: &["cli/", "testkit/"],
        why: "the environment is read in one room",
    },
    Door {
        thing: "Timestamp::now",
        may: &["controllers/clock.rs", "testkit/"],
        why: "time is passed in",
    },
];

/// Lines of a file, tests not counted, above which it is named; above twice as many the test fails.
const SOFT_CAP: usize = 500;

struct Door {
    thing: &'static str,
    may: &'static [&'static str],
    why: &'static str,
}

fn fail_with(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Which other rooms a file names, with the line.
fn imports(file: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, room) in source::after(&file.code, "crate::") {
        found.push((line, room));
    }
    for (line, _) in source::after(&file.code, "workstead_link::") {
        found.push((line, "link".to_owned()));
    }
    found
}

#[test]
fn every_room_has_its_arrows_written_down() {
    let map = std::fs::read_to_string(source::root().join("src/lib.rs")).unwrap();
    let mut rooms: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    rooms.sort_unstable();
    let mut known: Vec<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    known.sort_unstable();
    assert_eq!(rooms, known);
}

#[test]
fn no_room_knows_another_that_it_must_not_know() {
    let mut wrong = Vec::new();
    for file in files() {
        let Some((room, may)) = ARROWS.iter().find(|(room, _)| file.is_in(room)) else {
            continue;
        };
        for (line, other) in imports(&file) {
            let is_room = other == "link" || ARROWS.iter().any(|(room, _)| *room == other);
            if is_room && other != *room && !may.contains(&other.as_str()) {
                wrong.push(format!(
                    "src/{}:{line}: {room} must not know {other}",
                    file.path
                ));
            }
        }
    }
    fail_with(wrong);
}

#[test]
fn no_path_climbs_out_of_its_room() {
    let mut wrong = Vec::new();
    for file in files() {
        let depth = file.path.split('/').count() - usize::from(file.path.ends_with("/mod.rs"));
        let climb = "super::".repeat(depth);
        for place in file.places(|line| line.contains(&climb)) {
            wrong.push(format!("{place}: write crate::… instead"));
        }
    }
    fail_with(wrong);
}

#[test]
fn only_main_knows_the_command_line() {
    let mut wrong = Vec::new();
    for file in files() {
        let is_allowed = file.is_in("cli") || file.path == "main.rs" || file.path == "lib.rs";
        if !is_allowed && file.code.contains("crate::cli") {
            wrong.push(format!("src/{} names crate::cli", file.path));
        }
    }
    fail_with(wrong);
}

#[test]
fn every_thing_with_effects_has_one_door() {
    let mut wrong = Vec::new();
    for file in files() {
        for door in &DOORS {
            if door.may.iter().any(|place| file.path.starts_with(place)) {
                continue;
            }
            for place in file.places(|line| names(line, door.thing)) {
                wrong.push(format!(
                    "{place}: {} is not for here: {}",
                    door.thing, door.why
                ));
            }
        }
    }
    fail_with(wrong);
}

/// Whether a line names a thing, also inside braces: `use kube::{Api, Client}`.
fn names(line: &str, thing: &str) -> bool {
    if line
        .match_indices(thing)
        .any(|(at, _)| !source::continues(line, at))
    {
        return true;
    }
    let Some((krate, item)) = thing.trim_end_matches("::").split_once("::") else {
        return false;
    };
    let Some(rest) = line
        .split_once(&format!("use {krate}::{{"))
        .map(|(_, rest)| rest)
    else {
        return false;
    };
    rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .any(|word| word == item || word.starts_with(&format!("{item}::")))
}

#[test]
fn a_thing_is_found_in_every_way_of_naming_it() {
    for line in [
        "use kube::Api;",
        "let a: kube::Api<Pod>;",
        "use kube::{Api, Client};",
        "use kube::{core::X, Api};",
    ] {
        assert!(names(line, "kube::Api"), "{line}");
    }
    assert!(names("use kube::{runtime::wait, X};", "kube::runtime::"));
    for line in [
        "use kube::{ResourceExt};",
        "mykube::Api",
        "use kube::{ApiResource};",
    ] {
        assert!(!names(line, "kube::Api"), "{line}");
    }
}

#[test]
fn crates_that_a_later_room_brings_are_not_here_yet() {
    let lock = std::fs::read_to_string(source::root().join("Cargo.lock")).unwrap();
    for (name, why) in [
        ("sqlx", "it comes with src/store"),
        (
            "aws-lc-rs",
            "two TLS providers in a process make the implicit choice panic",
        ),
        (
            "openssl",
            "TLS of our own is rustls; libgit2 alone brings the system's library",
        ),
        (
            "reqwest",
            "its default features bring a second TLS provider",
        ),
    ] {
        assert!(
            !lock.contains(&format!("\nname = \"{name}\"\n")),
            "{name} is in Cargo.lock: {why}"
        );
    }
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    let silent: Vec<String> = files()
        .into_iter()
        .filter(|file| !file.whole.starts_with("//!"))
        .map(|file| format!("src/{} has no //! at its head", file.path))
        .collect();
    fail_with(silent);
}

#[test]
fn no_file_outgrows_its_reader() {
    let mut wrong = Vec::new();
    for file in files() {
        let lines = file.code.trim_end().lines().count();
        if lines > SOFT_CAP {
            let line = format!("src/{} has {lines} lines: split it by concern", file.path);
            println!("{line}");
            wrong.extend((lines > 2 * SOFT_CAP).then_some(line));
        }
    }
    fail_with(wrong);
}
