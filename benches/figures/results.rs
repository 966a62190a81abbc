//! Figures as they are printed and kept.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// A measured figure.
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What it is held against, as measured in the same run.
    pub(crate) yardstick: Option<String>,
    /// Value by yardstick.
    pub(crate) ratio: Option<f64>,
    pub(crate) bar: &'static str,
    pub(crate) met: bool,
    pub(crate) rounds: usize,
}

impl Figure {
    pub(crate) fn print(&self) {
        let yardstick = self.yardstick.as_deref().unwrap_or("–");
        let met = if self.met { "met" } else { "MISSED" };
        println!(
            "{}: {} {} (yardstick: {yardstick}; bar: {}; {met}; {} rounds)",
            self.id, self.value, self.unit, self.bar, self.rounds
        );
    }

    fn entry(&self) -> Value {
        json!({
            "id": self.id,
            "value": self.value,
            "unit": self.unit,
            "yardstick": self.yardstick,
            "ratio": self.ratio.map(|ratio| (ratio * 100.0).round() / 100.0),
            "bar": self.bar,
            "met": self.met,
            "rounds": self.rounds,
            "machine": machine(),
            "date": output("date", &["-u", "+%F"]),
            "commit": commit(),
        })
    }
}

/// The smallest value that a share of the values does not exceed: the nearest rank, upwards.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    (sorted[rank.max(1) - 1] * 10.0).round() / 10.0
}

/// Puts the figures into benches/results.json; the others stay as they are. Those of an unoptimised build are only
/// printed: they would be taken for the release's.
pub(crate) fn merge(measured: &[Figure]) {
    if cfg!(debug_assertions) {
        println!("not written to benches/results.json: this build is not optimised");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results.json");
    let mut all: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for figure in measured {
        all.retain(|entry| entry["id"] != figure.id);
        all.push(figure.entry());
    }
    let place = |entry: &Value| crate::IDS.iter().position(|id| entry["id"] == **id);
    all.sort_by_key(place);
    std::fs::write(&path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, Linux {}", output("uname", &["-r"]))
}

/// The commit that was measured, and whether the tree was something else. What a run itself writes does not count.
fn commit() -> String {
    let head = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let written = [":!benches/results.json", ":!README.md"];
    let mut status = vec!["status", "--porcelain", "--", "."];
    status.extend(written);
    if output("git", &status).is_empty() {
        head
    } else {
        format!("{head}-dirty")
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
