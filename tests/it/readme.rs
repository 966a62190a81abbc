//! The README's table of figures is made from benches/results.json, missed bars included.

use std::fmt::Write;
use std::path::Path;

const BEGIN: &str = "<!-- figures:begin -->\n";
const END: &str = "<!-- figures:end -->";

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn table(results: &serde_json::Value) -> String {
    let mut table = String::from(
        "\n| id | measured | yardstick | bar | met | rounds | machine, date, commit |\n|---|---|---|---|---|---|---|\n",
    );
    for figure in results.as_array().unwrap() {
        let text = |key: &str| match &figure[key] {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "–".to_owned(),
            other => other.to_string(),
        };
        let met = if figure["met"] == true {
            "yes"
        } else {
            "**no**"
        };
        let ratio = figure["ratio"]
            .as_f64()
            .map(|r| format!(" (ratio {r:.2})"))
            .unwrap_or_default();
        writeln!(
            table,
            "| `{}` | {} {}{ratio} | {} | {} | {met} | {} | {}, {}, {} |",
            text("id"),
            text("value"),
            text("unit"),
            text("yardstick"),
            text("bar"),
            text("rounds"),
            text("machine"),
            text("date"),
            text("commit"),
        )
        .unwrap();
    }
    table + "\n"
}

#[test]
fn the_figures_in_the_readme_are_those_of_the_results_drift() {
    let readme = read("README.md");
    let results = serde_json::from_str(&read("benches/results.json")).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table(&results));
    if std::env::var_os("WORKSTEAD_BLESS").is_some() {
        std::fs::write(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"),
            &wanted,
        )
        .unwrap();
    } else {
        assert_eq!(readme, wanted, "run `make generate`");
    }
}
