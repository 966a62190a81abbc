//! What the API server's audit log says about a start: how often the controller wrote.

use jiff::Timestamp;
use serde_json::Value;

use crate::results::Figure;

/// A start that was measured.
pub(crate) struct Start {
    /// Just before the Workspace was created.
    pub(crate) from: Timestamp,
    /// A moment after Running was seen.
    pub(crate) to: Timestamp,
    /// How often its state, a condition or its timeline changed.
    pub(crate) transitions: usize,
}

/// What one start cost.
struct Cost {
    writes: usize,
    status_writes: usize,
    transitions: usize,
}

/// writes-per-start, of the start that cost most. None without the log, which only a cluster of our own gives.
pub(crate) fn writes(namespace: &str, starts: &[Start]) -> Option<Figure> {
    let Ok(log) = std::env::var("E2E_AUDIT_LOG") else {
        println!("skipped: writes-per-start, since E2E_AUDIT_LOG names no audit log");
        return None;
    };
    let text = std::fs::read_to_string(log).unwrap();
    let calls: Vec<(Timestamp, bool)> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| is_write_of_ours(event, namespace))
        .map(|event| {
            let at = event["requestReceivedTimestamp"].as_str().unwrap();
            let of_status = event["objectRef"]["subresource"] == "status";
            (at.parse().unwrap(), of_status)
        })
        .collect();
    let costs = starts.iter().map(|start| {
        let within = |(at, _): &&(Timestamp, bool)| (start.from..=start.to).contains(at);
        let mine: Vec<_> = calls.iter().filter(within).collect();
        Cost {
            writes: mine.len(),
            status_writes: mine.iter().filter(|(_, of_status)| *of_status).count(),
            transitions: start.transitions,
        }
    });
    let costs: Vec<Cost> = costs.collect();
    assert!(
        costs.iter().all(|cost| cost.writes > 0),
        "a start without a write: the log does not fit the starts"
    );
    let worst = costs.iter().max_by_key(|cost| cost.writes).unwrap();
    let total: usize = costs.iter().map(|cost| cost.writes).sum();
    let mean = (total as f64 / costs.len() as f64 * 10.0).round() / 10.0;
    let once_each = costs
        .iter()
        .all(|cost| cost.status_writes <= cost.transitions);
    Some(Figure {
        id: "writes-per-start",
        value: worst.writes as f64,
        unit: "API writes, worst start",
        yardstick: Some(format!(
            "mean {mean}; of the worst, {} wrote the status, for {} transitions",
            worst.status_writes, worst.transitions
        )),
        ratio: None,
        bar: "at most 15, at most one status write a transition",
        met: worst.writes <= 15 && once_each,
        rounds: costs.len(),
    })
}

/// A write of the controller in the namespace, without Events and Leases.
fn is_write_of_ours(event: &Value, namespace: &str) -> bool {
    let user = event["user"]["username"].as_str().unwrap_or_default();
    let verb = event["verb"].as_str().unwrap_or_default();
    let resource = event["objectRef"]["resource"].as_str().unwrap_or_default();
    event["objectRef"]["namespace"] == namespace
        && event["stage"] == "ResponseComplete"
        && user.ends_with(":workstead-controller")
        && ["create", "update", "patch", "delete"].contains(&verb)
        && !["events", "leases"].contains(&resource)
}
