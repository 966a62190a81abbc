//! Counters of the proxy. Every label has few values that are known beforehand.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::proxy::authorize::decide::Role;
use crate::proxy::route::metrics::RouteMetrics;
use crate::telemetry::metrics::Families;

/// How a request was answered.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    /// `workspace`, or `own` for our pages and the login.
    pub by: &'static str,
    /// `1xx` to `5xx`, or `none` where the connection ended before an answer.
    pub status: &'static str,
}

/// What was decided, and why.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct DecisionLabels {
    /// `allow`, `sign_in` or `deny`.
    pub decision: &'static str,
    /// The rule.
    pub reason: &'static str,
}

/// A rule of the front.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RuleLabels {
    /// Its name.
    pub rule: &'static str,
}

/// A kind of long request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StreamLabels {
    /// `request` or `websocket`.
    pub kind: &'static str,
}

/// A step of a login.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct LoginLabels {
    /// Which.
    pub step: &'static str,
    /// `ok`, or why not.
    pub outcome: &'static str,
}

/// All families, and the registry that writes them out.
pub struct ProxyMetrics {
    registry: Registry,
    /// Requests by who answered and how.
    pub requests: Family<RequestLabels, Counter>,
    /// Decisions by outcome and rule.
    pub decisions: Family<DecisionLabels, Counter>,
    /// Requests that the front refused, by rule.
    pub refused: Family<RuleLabels, Counter>,
    /// Requests to workspaces that are open now.
    pub open_streams: Family<StreamLabels, Gauge>,
    /// Steps of logins by outcome.
    pub logins: Family<LoginLabels, Counter>,
    /// How long it took to connect to a port of a workspace.
    pub connect_seconds: Histogram,
    /// From the head of a request to its first byte on the way to the workspace.
    pub decide_seconds: Histogram,
    /// Lines of the access log that were left out because they came too fast.
    pub access_lines_lost: Counter,
    /// Requests that asked for a workspace to be woken.
    pub wakes: Counter,
    /// Requests that wait for a workspace to be ready.
    pub held: Gauge,
    at_hand: AtHand,
}

/// Members of families that every request counts in: nothing is looked up for it.
struct AtHand {
    open_requests: Gauge,
    open_websockets: Gauge,
    answered: [Counter; CLASSES.len()],
    allowed: [Counter; Role::ALL.len()],
}

impl fmt::Debug for ProxyMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyMetrics").finish_non_exhaustive()
    }
}

impl ProxyMetrics {
    /// Makes and registers every family, under the prefix `workstead_proxy_`; those of discovery with them.
    pub fn new(routes: &RouteMetrics) -> Self {
        let mut all = Registry::with_prefix("workstead");
        routes.register(&mut all);
        let registry = all.sub_registry_with_prefix("proxy");
        // 50 µs to about 1.6 s: most of what is added lies below a millisecond.
        let short = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let requests = register!("requests", "Requests", Family::default());
        let decisions = register!("decisions", "Decisions on requests", Family::default());
        let open_streams = register!(
            "open_streams",
            "Requests to workspaces that are open",
            Family::default()
        );
        Self {
            at_hand: AtHand::of(&requests, &decisions, &open_streams),
            requests,
            decisions,
            open_streams,
            refused: register!(
                "refused_requests",
                "Requests refused before any decision, by rule",
                Family::default()
            ),
            logins: register!("logins", "Steps of logins", Family::default()),
            connect_seconds: register!(
                "connect_seconds",
                "How long a connection to a workspace took",
                short()
            ),
            decide_seconds: register!(
                "decide_seconds",
                "From the head of a request to its first byte on the way to the workspace",
                short()
            ),
            access_lines_lost: register!(
                "access_lines_lost",
                "Lines of the access log left out because they came too fast",
                Counter::default()
            ),
            wakes: register!(
                "wakes",
                "Requests that asked for a workspace to be woken",
                Counter::default()
            ),
            held: register!(
                "held_requests",
                "Requests that wait for a workspace to be ready",
                Gauge::default()
            ),
            registry: all,
        }
    }
}

impl ProxyMetrics {
    /// Requests to workspaces that are open now, of this kind.
    pub fn open(&self, is_websocket: bool) -> &Gauge {
        if is_websocket {
            &self.at_hand.open_websockets
        } else {
            &self.at_hand.open_requests
        }
    }

    /// Requests that a workspace answered so; none where the connection ended before.
    pub fn answered(&self, status: Option<u16>) -> &Counter {
        let [.., none] = &self.at_hand.answered;
        let class = class_of(status.unwrap_or_default());
        let at = CLASSES.iter().position(|known| *known == class);
        at.and_then(|at| self.at_hand.answered.get(at))
            .unwrap_or(none)
    }

    /// Requests that were let in by this right.
    pub fn allowed(&self, role: Role) -> &Counter {
        let [first, ..] = &self.at_hand.allowed;
        let at = Role::ALL.iter().position(|known| *known == role);
        at.and_then(|at| self.at_hand.allowed.get(at))
            .unwrap_or(first)
    }
}

impl AtHand {
    fn of(
        requests: &Family<RequestLabels, Counter>,
        decisions: &Family<DecisionLabels, Counter>,
        open: &Family<StreamLabels, Gauge>,
    ) -> Self {
        let open = |kind| open.get_or_create(&StreamLabels { kind }).clone();
        Self {
            open_requests: open("request"),
            open_websockets: open("websocket"),
            answered: CLASSES.map(|status| {
                let by = "workspace";
                requests
                    .get_or_create(&RequestLabels { by, status })
                    .clone()
            }),
            allowed: Role::ALL.map(|role| {
                let (decision, reason) = ("allow", role.as_str());
                let labels = DecisionLabels { decision, reason };
                decisions.get_or_create(&labels).clone()
            }),
        }
    }
}

impl Families for ProxyMetrics {
    fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// All classes of a status, and none.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// The class of a status, as a label.
pub fn class_of(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_time_is_told_apart_from_fifty_microseconds_on() {
        let metrics = ProxyMetrics::new(&RouteMetrics::default());
        metrics.decide_seconds.observe(0.000_04);
        metrics
            .requests
            .get_or_create(&RequestLabels {
                by: "workspace",
                status: class_of(204),
            })
            .inc();
        let text = metrics.encode().unwrap();
        for line in [
            r#"workstead_proxy_decide_seconds_bucket{le="0.00005"} 1"#,
            r#"workstead_proxy_requests_total{by="workspace",status="2xx"} 1"#,
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
