//! Files of a repository: YAML, the verdict on it, and the trees that they stand in.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::gitsync::SyncedKind;
use crate::api::{GitSync, Workspace, WorkspaceClass, WorkspaceVariables};
use crate::gitsync::fetch::raw::{self, RawEntry, RawObject};
use crate::gitsync::rules::{ObjectRules, TreeLimits, TreeRules};
use crate::gitsync::snapshot::{self, Source};
use crate::gitsync::tree::Tree;
use crate::model::class;
use crate::model::identity::ImageReference;
use crate::model::installation::{Cluster, Installation};
use crate::model::names::DnsLabel;
use crate::model::sync::{Snapshot, SourceFile};
use crate::model::workspace::{Inputs, validate};
use crate::yaml::{self, Limits, Node};

use super::super::builders::mk_class;

/// Reads a file. What is read fits the limits, and what is written of it reads back as the same.
pub fn yaml(data: &[u8]) {
    let limits = Limits::default();
    let documents = yaml::read(data, limits);
    // Beside the documents there may be the word that there are too many.
    assert!(documents.len() <= limits.documents + 1);
    let (mut nodes, mut text) = (0, 0);
    for document in &documents {
        match document {
            Ok(document) => {
                measure(&document.root, 0, &mut nodes, &mut text);
                let value = document.root.to_json();
                let written = yaml::write(&value).unwrap();
                let wide = Limits {
                    documents: 1,
                    nodes: usize::MAX,
                    text: usize::MAX,
                    depth: limits.depth,
                };
                let back = yaml::read(written.as_bytes(), wide);
                let back = back.first().unwrap().as_ref().unwrap().root.to_json();
                assert_eq!(back, value, "{written}");
            }
            Err(error) => assert!(error.place.line >= 1 && error.place.column >= 1),
        }
    }
    assert!(nodes <= limits.nodes && text <= limits.text);
}

fn measure(node: &Node, depth: usize, nodes: &mut usize, text: &mut usize) {
    assert!(depth <= Limits::default().depth);
    *nodes += 1;
    match &node.value {
        yaml::Value::Text(own) => *text += own.len(),
        yaml::Value::Sequence(items) => {
            for item in items {
                measure(item, depth + 1, nodes, text);
            }
        }
        yaml::Value::Mapping(entries) => {
            for entry in entries {
                *text += entry.key.len();
                measure(&entry.node, depth + 1, nodes, text);
            }
        }
        _ => {}
    }
}

/// The whole verdict on one file, and what becomes of an object that is good: it is of its type, and a Workspace is
/// either refused with a cause or rendered.
pub fn verdict(data: &[u8]) {
    let tree = Tree {
        files: vec![SourceFile {
            path: "a.yaml".to_owned(),
            content: data.to_vec(),
        }],
        ..Tree::default()
    };
    let snapshot = judge(&tree, &ObjectRules::anything("team-a"));
    let lines = data.split(|byte| *byte == b'\n').count();
    // Old line breaks (CR) count as lines for the parser, but not here.
    let lines = lines + data.iter().filter(|byte| **byte == b'\r').count();
    for error in &snapshot.errors {
        let line = error.line.unwrap_or(1) as usize;
        assert!(
            line >= 1 && line <= lines + 1,
            "line {line} of {lines}: {error}"
        );
    }
    for object in snapshot.objects.values() {
        accept(object.id.kind, &object.value);
    }
}

/// What the verdict let through.
fn accept(kind: SyncedKind, value: &Value) {
    let text = value.to_string();
    match kind {
        SyncedKind::GitSync => drop(serde_json::from_value::<GitSync>(value.clone()).expect(&text)),
        SyncedKind::WorkspaceVariables => {
            drop(serde_json::from_value::<WorkspaceVariables>(value.clone()).expect(&text));
        }
        SyncedKind::WorkspaceClass => {
            let class: WorkspaceClass = serde_json::from_value(value.clone()).expect(&text);
            class::validate(&class);
        }
        SyncedKind::Workspace => {
            let workspace: Workspace = serde_json::from_value(value.clone()).expect(&text);
            render(super::super::builders::stored(workspace, Some("team-a")));
        }
    }
}

fn render(workspace: Workspace) {
    let class = class::validate(&mk_class("standard")).class.unwrap();
    let installation = Installation::new(
        DnsLabel::new("workstead-system").unwrap(),
        ImageReference::new("registry.example.com/workstead:0.1.0").unwrap(),
    );
    let outcome = validate(&Inputs {
        workspace: &workspace,
        class: &class,
        exceeded: None,
        volume: None,
        credentials: &[],
        cluster: Cluster {
            minor: 36,
            user_namespaces: None,
            image_volumes: None,
        },
        installation: &installation,
    });
    match outcome {
        Ok(validated) => {
            let once = crate::render::render(&validated, 1).to_values();
            assert_eq!(once, crate::render::render(&validated, 1).to_values());
        }
        Err(failure) => assert!(!failure.message.is_empty() && !failure.next_step.is_empty()),
    }
}

/// Reads a tree as objects, with what must hold for every snapshot.
fn judge(tree: &Tree, rules: &ObjectRules) -> Snapshot {
    let source = Source::default();
    let (snapshot, readings) =
        snapshot::build_after(&Default::default(), tree.clone(), source.clone(), rules);
    let files: BTreeSet<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
    for (id, object) in &snapshot.objects {
        assert!(!snapshot.held.contains(id), "{id} is applied and held");
        assert!(files.contains(object.file.as_str()), "{id} is of no file");
        assert_eq!(*id, object.id);
    }
    let wrong = tree.errors.len() + tree.unattributable.len();
    assert!(snapshot.unattributable.is_superset(&tree.unattributable));
    assert!(wrong == 0 || !snapshot.errors.is_empty());
    // What was read once is not read otherwise the second time.
    let (again, _) = snapshot::build_after(&readings, tree.clone(), source, rules);
    assert_eq!(again, snapshot);
    snapshot
}

/// A commit, object by object, a line each; the last one is its root. `|` stands for a line break.
///
/// ```text
/// path folder                      spec.path
/// ignore *.gen.yaml|docs/          spec.ignore
/// blob kind: Workspace|…           a file
/// tree 100644 a.yaml 0,40000 b 1   a folder: mode, name, and which of the objects before
/// raw …                            a folder, as these very bytes
/// ```
///
/// What is read stays inside the tree and within the limits.
pub fn tree(data: &[u8]) {
    let (mut path, mut ignore) = (String::new(), String::new());
    let mut objects = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        let (word, rest) = match line.iter().position(|byte| *byte == b' ') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        match word {
            b"path" => path = String::from_utf8_lossy(rest).into_owned(),
            b"ignore" => ignore = String::from_utf8_lossy(&broken_lines(rest)).into_owned(),
            b"blob" => objects.push(RawObject::Blob(broken_lines(rest))),
            b"tree" => objects.push(RawObject::Folder(
                rest.split(|byte| *byte == b',').map(entry).collect(),
            )),
            b"raw" => objects.push(RawObject::Bytes(rest.to_vec())),
            _ => {}
        }
    }
    let limits = TreeLimits {
        file_bytes: 4096,
        files: 16,
        total_bytes: 16 * 1024,
        entries: 5_000,
        depth: 8,
    };
    let Ok(rules) = TreeRules::new(&path, &ignore, limits) else {
        return;
    };
    let Ok(tree) = raw::read_objects(&objects, &rules) else {
        return;
    };
    assert!(tree.files.len() <= limits.files);
    let bytes: usize = tree.files.iter().map(|file| file.content.len()).sum();
    assert!(bytes as u64 <= limits.total_bytes);
    for file in &tree.files {
        stays_inside(&file.path, &rules);
        assert!(file.content.len() as u64 <= limits.file_bytes);
    }
    assert!(!tree.path_missing || tree.files.is_empty());
    judge(&tree, &ObjectRules::anything("team-a"));
}

fn stays_inside(path: &str, rules: &TreeRules) {
    let parts: Vec<&str> = path.split('/').collect();
    let folders = rules
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .count();
    assert!(path.starts_with(&rules.path), "{path}");
    assert!(parts.len() <= folders + rules.limits.depth + 1, "{path}");
    for part in parts {
        let leads_away = matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git");
        assert!(!leads_away && !part.contains('\\'), "{path}");
        assert!(!part.chars().any(char::is_control), "{path:?}");
    }
}

fn broken_lines(text: &[u8]) -> Vec<u8> {
    let line_break = |byte: &u8| if *byte == b'|' { b'\n' } else { *byte };
    text.iter().map(line_break).collect()
}

fn entry(text: &[u8]) -> RawEntry {
    let mut words = text.splitn(2, |byte| *byte == b' ');
    let mode = words.next().unwrap_or_default().to_vec();
    let rest = words.next().unwrap_or_default();
    let (name, object) = match rest.iter().rposition(|byte| *byte == b' ') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &[][..]),
    };
    RawEntry {
        mode,
        name: name.to_vec(),
        object: std::str::from_utf8(object)
            .ok()
            .and_then(|text| text.parse().ok()),
    }
}
