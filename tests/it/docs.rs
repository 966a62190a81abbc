//! docs/: what is generated there, and that no page lies or is missing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde_json::Value;
use workstead::api::crds;
use workstead::cli::args::Cli;
use workstead::model::owners::OWNER_UNCHECKED;
use workstead::model::sync::Code;
use workstead::model::variables::references::REFERENCE_REFUSED;
use workstead::proxy::route::refusal::Refusal;
use workstead::secrets::error::SetError;

use crate::chart;
use crate::generated::check_generated;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn definitions() -> Vec<Value> {
    crds::all()
        .iter()
        .map(|crd| serde_json::to_value(crd).unwrap())
        .collect()
}

fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Fields of a schema, a row each, depth first in the order of their names.
fn rows(schema: &Value, path: &str, rows: &mut Vec<String>) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, field) in properties {
        let inner = format!("{path}.{name}");
        let mark = if required.contains(&name.as_str()) {
            " **required**"
        } else {
            ""
        };
        rows.push(format!(
            "| `{inner}`{mark} | {} | {} |",
            type_of(field),
            description(field)
        ));
        let (below, path) = if field["items"].is_object() {
            (&field["items"], format!("{inner}[]"))
        } else {
            (field, inner)
        };
        // The parts of a condition are the same everywhere; Kubernetes documents them.
        if name != "conditions" {
            self::rows(below, &path, rows);
        }
    }
}

fn type_of(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect();
        return values.join(", ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return if field["pattern"].as_str().unwrap_or_default().contains('%') {
            "integer or share".to_owned()
        } else {
            "quantity".to_owned()
        };
    }
    match field["type"].as_str().unwrap_or("any") {
        "array" => format!("list of {}", type_of(&field["items"])),
        "object" if field["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&field["additionalProperties"]))
        }
        "string"
            if field["pattern"]
                .as_str()
                .unwrap_or_default()
                .contains("(ms|s)") =>
        {
            "duration".to_owned()
        }
        "string" if field["format"] == "date-time" => "time".to_owned(),
        other => other.to_owned(),
    }
}

/// What the schema says of it, with the rules that the API server checks.
fn description(field: &Value) -> String {
    let mut text = field["description"].as_str().unwrap_or_default().to_owned();
    for rule in field["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        if let Some(message) = rule["message"].as_str() {
            text.push_str(&format!("<br>*{message}*"));
        }
    }
    text.replace('\n', " ").replace('|', "\\|")
}

fn field_tables(definition: &Value) -> String {
    let mut text = String::new();
    for part in ["spec", "status"] {
        let mut table = Vec::new();
        rows(&schema(definition)["properties"][part], part, &mut table);
        text.push_str(&format!(
            "\n### {part}\n\n| field | type | |\n|---|---|---|\n"
        ));
        text.push_str(&table.join("\n"));
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Puts generated text between its marks.
fn between_marks(page: &str, generated: &str) -> String {
    let (begin, end) = ("<!-- fields:begin -->\n", "<!-- fields:end -->");
    let (head, rest) = page.split_once(begin).expect("a mark where fields begin");
    let (_, tail) = rest.split_once(end).expect("a mark where fields end");
    format!("{head}{begin}{generated}{end}{tail}")
}

#[test]
fn drift_the_field_tables_are_those_of_the_schemas() {
    for definition in definitions() {
        let name = definition["spec"]["names"]["singular"].as_str().unwrap();
        let path = docs().join(format!("kinds/{name}.md"));
        let page = std::fs::read_to_string(&path).unwrap();
        let expected = between_marks(&page, &field_tables(&definition));
        check_generated(&path, &expected).expect("write it again with `make generate`");
    }
}

/// The help of every command below one, and of those below them.
fn help_below(command: &mut clap::Command, above: &str, text: &mut String) {
    for command in command.get_subcommands_mut() {
        if command.is_hide_set() || command.get_name() == "help" {
            continue;
        }
        let name = format!("{above}{}", command.get_name());
        let help = command.render_long_help().to_string();
        text.push_str(&format!("\n## {name}\n\n```\n{}\n```\n", help.trim_end()));
        help_below(command, &format!("{name} "), text);
    }
}

#[test]
fn drift_the_page_of_the_commands_is_their_help() {
    let mut text =
        String::from("# Commands\n\nGenerated from the help of the commands: `make generate`.\n\n");
    let mut root = Cli::command().bin_name("workstead").term_width(100);
    root.build();
    text.push_str(&format!("```\n{}```\n", root.render_long_help()));
    help_below(&mut root, "", &mut text);
    let text: String = text
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    check_generated(&docs().join("commands.md"), &text)
        .expect("write it again with `make generate`");
}

/// Text constants of a source file.
fn texts(source: &str) -> Vec<&str> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \""))
        .filter_map(|(_, value)| value.strip_suffix("\";"))
        .collect()
}

/// What stands in code marks.
fn code_spans(page: &str) -> Vec<&str> {
    page.split('`').skip(1).step_by(2).collect()
}

#[test]
fn drift_the_page_of_names_has_every_shared_name_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (names, link) = (read("src/model/names.rs"), read("crates/link/src/lib.rs"));
    let shared = [texts(&names), texts(&link)].concat();
    assert!(
        shared.len() > 25,
        "the names are not where they are looked for"
    );
    let page = read("docs/names.md");
    let spans = code_spans(&page);
    // A span may go on with a value: `workstead.dev/prune: disabled`.
    let key = |span: &str| span.split(": ").next().unwrap().to_owned();
    let keys: BTreeSet<String> = spans.iter().map(|span| key(span)).collect();
    let values: BTreeSet<&str> = spans
        .iter()
        .filter_map(|span| Some(span.split_once(": ")?.1))
        .collect();
    let missing: Vec<&&str> = shared
        .iter()
        .filter(|name| !keys.contains(**name) && !values.contains(**name))
        .collect();
    assert!(missing.is_empty(), "docs/names.md lacks {missing:?}");
    let invented: Vec<&String> = keys
        .iter()
        .filter(|key| key.contains("workstead.dev/") || key.starts_with("workstead/"))
        .filter(|key| !shared.contains(&key.as_str()))
        .collect();
    assert!(invented.is_empty(), "only docs/names.md knows {invented:?}");
}

#[test]
fn the_page_of_names_has_every_object_of_the_chart() {
    let page = std::fs::read_to_string(docs().join("names.md")).unwrap();
    let spans = code_spans(&page);
    let settings = [
        &chart::TLS[..],
        &chart::LOCAL,
        &["controller.replicas=2", "proxy.ingress.enabled=true"],
    ];
    for object in chart::template(&settings.concat()).unwrap() {
        let (kind, name) = (&object["kind"], object["metadata"]["name"].as_str());
        // The definitions are named after their kinds.
        if kind == "CustomResourceDefinition" {
            continue;
        }
        let name = name.unwrap();
        assert!(spans.contains(&name), "docs/names.md lacks {kind} {name}");
    }
}

fn pages(folder: &str) -> BTreeSet<String> {
    std::fs::read_dir(docs().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect()
}

#[test]
fn drift_every_error_code_has_its_page_and_its_line() {
    let index = std::fs::read_to_string(docs().join("errors/README.md")).unwrap();
    let mut expected = BTreeSet::new();
    for code in Code::ALL {
        let page = std::fs::read_to_string(docs().join(format!("errors/{code}.md")))
            .unwrap_or_else(|error| panic!("docs/errors/{code}.md: {error}"));
        let head = format!("# {code} {}\n\n{}\n", code.reason(), code.meaning());
        assert!(
            page.starts_with(&head),
            "docs/errors/{code}.md begins with:\n{head}"
        );
        let line = format!(
            "| [{code}]({code}.md) | {} | {} |",
            code.reason(),
            code.meaning()
        );
        assert!(
            index.contains(&line),
            "docs/errors/README.md has the line:\n{line}"
        );
        expected.insert(format!("{code}.md"));
    }
    assert_eq!(pages("errors"), expected, "pages without a code");
}

#[test]
fn drift_every_reason_not_to_be_routed_is_explained() {
    let page = std::fs::read_to_string(docs().join("tasks/not-routed.md")).unwrap();
    for reason in Refusal::REASONS {
        assert!(page.contains(&format!("\n| `{reason}` | ")), "{reason}");
    }
}

#[test]
fn drift_every_reason_to_refuse_a_set_is_explained() {
    let page = std::fs::read_to_string(docs().join("tasks/variables-refused.md")).unwrap();
    let others = [OWNER_UNCHECKED, REFERENCE_REFUSED];
    for (code, reason) in SetError::CODES.into_iter().chain(others) {
        assert!(
            page.contains(&format!("\n| `{code}` | `{reason}` | ")),
            "{code}"
        );
    }
}

#[test]
fn drift_every_cause_has_its_page_and_its_line() {
    let definitions = definitions();
    let workspace = definitions
        .iter()
        .find(|each| each["spec"]["names"]["kind"] == "Workspace");
    let status = &schema(workspace.unwrap())["properties"]["status"];
    let causes = status["properties"]["failure"]["properties"]["cause"]["enum"]
        .as_array()
        .unwrap();
    let index = std::fs::read_to_string(docs().join("causes/README.md")).unwrap();
    let mut expected = BTreeSet::new();
    for cause in causes.iter().filter_map(Value::as_str) {
        let page = std::fs::read_to_string(docs().join(format!("causes/{cause}.md")))
            .unwrap_or_else(|error| panic!("docs/causes/{cause}.md: {error}"));
        assert!(
            page.starts_with(&format!("# {cause}\n")),
            "docs/causes/{cause}.md names it"
        );
        assert!(
            page.contains("## What to do"),
            "docs/causes/{cause}.md says what to do"
        );
        assert!(
            index.contains(&format!("| [{cause}]({cause}.md) |")),
            "the index has {cause}"
        );
        expected.insert(format!("{cause}.md"));
    }
    assert_eq!(pages("causes"), expected, "pages without a cause");
}

fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn drift_no_link_leads_nowhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    markdown(&docs(), &mut files);
    markdown(&root.join("examples"), &mut files);
    files.extend(
        [
            "README.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "CHANGELOG.md",
        ]
        .map(|f| root.join(f)),
    );
    let mut broken = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            // What the bench writes is there after the first one.
            if target.is_empty() || target.contains("://") || target == "benches/results.json" {
                continue;
            }
            if !file.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
