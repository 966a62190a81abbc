//! The Helm chart: what is generated in it, what it renders, and what its policies refuse on a real API server.

use std::path::{Path, PathBuf};

use workstead::api::crds;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a generated file with what is committed; with `WORKSTEAD_BLESS` set, writes it instead.
pub fn check_generated(path: &Path, expected: &str) -> Result<(), String> {
    if std::env::var_os("WORKSTEAD_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
        return Ok(());
    }
    match std::fs::read_to_string(path) {
        Ok(found) if found == expected => Ok(()),
        Ok(_) => Err(format!("{} is out of date", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// A definition as a template: Helm never upgrades what lies in a chart's crds/ folder, and a definition that
/// goes with the release would take every Workspace with it.
fn crd_template(crd: &impl serde::Serialize) -> (String, String) {
    let mut value = serde_json::to_value(crd).unwrap();
    value["metadata"]["annotations"]["helm.sh/resource-policy"] = "keep".into();
    let name = value["spec"]["names"]["plural"]
        .as_str()
        .unwrap()
        .to_owned();
    let yaml = serde_yaml::to_string(&value).unwrap();
    assert!(
        !yaml.contains("{{"),
        "{name}: a description would be read as a template"
    );
    let text = format!(
        "{{{{- /* Generated from src/api: make generate. */}}}}\n{{{{- if .Values.crds.install }}}}\n{yaml}{{{{- end }}}}\n"
    );
    (format!("{name}.yaml"), text)
}

#[test]
fn drift_the_charts_definitions_are_those_of_the_code() {
    let folder = root().join("charts/workstead/templates/crds");
    let expected: Vec<(String, String)> = crds::all().iter().map(crd_template).collect();
    let errors: Vec<String> = expected
        .iter()
        .filter_map(|(name, text)| check_generated(&folder.join(name), text).err())
        .collect();
    assert!(
        errors.is_empty(),
        "{}\nwrite them again with `make generate`",
        errors.join("\n")
    );
    let mut committed: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    committed.retain(|path| !expected.iter().any(|(name, _)| path.ends_with(name)));
    assert!(
        committed.is_empty(),
        "not generated from any kind: {committed:?}"
    );
}
