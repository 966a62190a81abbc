//! Why a Workspace is as it is.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::Workspace;
use crate::api::access::EndpointStatus;
use crate::api::activity::Activity;
use crate::api::class::Delivery;
use crate::api::workspace::{
    ActualState, Cause, EffectiveDesiredState, Failure, Origin, PendingChange, PodStatus,
    StoppedByTimer, TimelineStep, ToolsStatus, VolumeStatus,
};
use crate::cli::again::program;
use crate::cli::output::{BAD, Cell, HEADING, table};
use crate::cli::show::{self, condition, is_true};
use crate::cli::why::ask::Freshness;
use crate::cli::why::facts;
use crate::cli::why::inside::Inside;
use crate::model::activity::lease::Used;
use crate::model::activity::words;

/// All that there is to say about a Workspace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    namespace: String,
    name: String,
    state: Option<ActualState>,
    desired: Option<EffectiveDesiredState>,
    ready: bool,
    stalled: bool,
    /// The status speaks of an older spec.
    outdated: bool,
    message: Option<String>,
    failure: Option<Failure>,
    stopped_by_timer: Option<StoppedByTimer>,
    activity: Option<Activity>,
    /// When it was last used, where whoever asks may look.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    /// Why it opens at no address.
    host_conflict: Option<String>,
    /// What there is to say of its sealed variables: why they can't be had, and what is newer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    variables: Vec<String>,
    url: Option<String>,
    endpoints: Vec<EndpointStatus>,
    pod: Option<PodStatus>,
    volume: Option<VolumeStatus>,
    tools: Option<ToolsStatus>,
    timeline: Vec<TimelineStep>,
    pending: Vec<PendingChange>,
    origin: Option<Origin>,
    inside: Option<Inside>,
    #[serde(skip)]
    shown_state: (String, anstyle::Style),
}

/// What a person should know of its sealed variables; nothing while all is well.
fn variables(conditions: &[Condition]) -> Vec<String> {
    let unready = condition(conditions, "VariablesReady").filter(|found| found.status != "True");
    let outdated = condition(conditions, "VariablesOutdated");
    let found = unready.into_iter().chain(outdated);
    found.map(|found| found.message.clone()).collect()
}

impl Explanation {
    /// Gathers it from the object, and how fresh it is.
    pub fn new(workspace: &Workspace, used: Option<&Used>, freshness: Freshness) -> Self {
        let status = workspace.status.clone().unwrap_or_default();
        let outdated = status.observed_generation != workspace.metadata.generation;
        Self {
            namespace: workspace.namespace().unwrap_or_default(),
            name: workspace.name_any(),
            state: status.actual_state,
            desired: status.desired_state,
            ready: is_true(&status.conditions, "Ready"),
            stalled: is_true(&status.conditions, "Stalled"),
            outdated,
            message: condition(&status.conditions, "Ready").map(|found| found.message.clone()),
            failure: status.failure,
            stopped_by_timer: status.stopped_by_timer,
            activity: status.activity,
            last_used_at: used.map(|used| used.at),
            host_conflict: condition(&status.conditions, "HostConflict")
                .map(|found| found.message.clone()),
            variables: variables(&status.conditions),
            url: status.url,
            endpoints: status.endpoints,
            pod: status.pod,
            volume: status.volume,
            tools: status.tools,
            timeline: status.timeline,
            pending: status
                .revision
                .map(|revision| revision.pending)
                .unwrap_or_default(),
            origin: status.origin,
            inside: Inside::new(
                status.supervisor.and_then(|first| first.inspection),
                freshness,
            ),
            shown_state: show::state(workspace),
        }
    }

    /// For people.
    pub fn text(&self, now: Timestamp) -> String {
        let (state, style) = &self.shown_state;
        let mut text = format!(
            "{HEADING}Workspace {}/{}{HEADING:#}: {style}{state}{style:#}",
            self.namespace, self.name
        );
        if let Some(desired) = self.desired
            && format!("{desired:?}") != *state
        {
            text.push_str(&format!(", wanted {desired:?}"));
        }
        text.push('\n');
        text.push_str(&facts(&self.situation(now)));
        if let Some(failure) = &self.failure {
            text.push_str(&failure_text(failure, now));
        }
        if let Some(inside) = &self.inside {
            text.push_str(&inside.text(self.failure.as_ref(), now));
        }
        text.push_str(&self.timeline_text());
        text.push_str(&self.pending_text());
        text
    }

    fn situation(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let ready = match (self.ready, self.stalled, &self.failure) {
            (true, ..) => "yes",
            // What helps is said below, with the failure.
            (false, true, Some(_)) => "no",
            (false, true, None) => "no, and only a person can help",
            (false, false, _) => "not yet",
        };
        lines.push(("ready", ready.to_owned()));
        if let Some(message) = self.message.as_ref().filter(|message| !message.is_empty())
            && self.failure.is_none()
        {
            lines.push(("says", message.clone()));
        }
        if self.outdated {
            lines.push(("note", self.outdated_text().to_owned()));
        }
        if let Some(stop) = &self.stopped_by_timer {
            let when = show::ago(now, stop.at.0);
            let why = words::why(stop.timer);
            let text = if stop.timer.terminates() {
                format!("{when} ago by a timer: {why}")
            } else {
                format!(
                    "{when} ago by a timer: {why}; a visit or {} start {} -n {} starts it",
                    program(),
                    self.name,
                    self.namespace
                )
            };
            lines.push(("ended", text));
        }
        lines.extend(self.activity_lines(now));
        if let Some(conflict) = &self.host_conflict {
            lines.push(("address", conflict.clone()));
        }
        let said = self.variables.iter();
        lines.extend(said.map(|said| ("variables", said.clone())));
        if let Some(url) = &self.url {
            lines.push(("opens at", url.clone()));
        }
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            let title = if place == 0 { "endpoints" } else { "" };
            let url = endpoint.url.as_deref().unwrap_or("no address");
            let text = format!(
                "{} {}, {:?}: {url}",
                endpoint.name, endpoint.port, endpoint.visibility
            );
            lines.push((title, text));
        }
        if let Some(pod) = &self.pod {
            let node = pod.node.as_deref().unwrap_or("no node yet");
            lines.push(("pod", format!("{} on {node}", pod.name)));
        }
        if let Some(tools) = &self.tools {
            lines.push(("tools", tools_text(tools)));
        }
        if let Some(volume) = self.volume.as_ref().filter(|volume| volume.retained) {
            lines.push(("volume", format!("{} was kept", volume.name)));
        }
        if let Some(origin) = &self.origin {
            lines.push(("file", format!("{} in {}", origin.file, origin.repository)));
            lines.push(("revision", origin.revision.clone()));
        }
        lines
    }

    /// Why it still runs, and what will end that.
    fn activity_lines(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if let Some(used) = self.last_used_at {
            lines.push(("last used", format!("{} ago", show::ago(now, used))));
        }
        let Some(activity) = &self.activity else {
            return lines;
        };
        if let Some(by) = &activity.kept_alive_by {
            lines.push(("kept alive", format!("by {}", words::kept_alive(by))));
        }
        let warnings = activity.warnings.iter();
        lines.extend(warnings.map(|warning| ("soon", words::warning(warning))));
        lines
    }

    fn outdated_text(&self) -> &'static str {
        if self.state.is_none() {
            "no controller has looked at it yet: is one running? kubectl get deployments -A -l app.kubernetes.io/name=workstead"
        } else {
            "the spec changed since: the controller has not looked at the change yet"
        }
    }

    fn timeline_text(&self) -> String {
        if self.timeline.is_empty() {
            return String::new();
        }
        let rows: Vec<Vec<Cell>> = self
            .timeline
            .iter()
            .map(|step| {
                vec![
                    format!("  {:?}", step.step).into(),
                    show::milliseconds(step.at_milliseconds).into(),
                    format!("+{}", show::milliseconds(step.milliseconds)).into(),
                ]
            })
            .collect();
        format!("\n{}", table(&["LAST START", "AFTER", "STEP TOOK"], &rows))
    }

    fn pending_text(&self) -> String {
        if self.pending.is_empty() {
            return String::new();
        }
        let rows: Vec<Vec<Cell>> = self
            .pending
            .iter()
            .map(|change| {
                vec![
                    format!("  {}", change.field).into(),
                    show::effect(change.effect).into(),
                ]
            })
            .collect();
        format!("\n{}", table(&["PENDING CHANGE", "TAKES EFFECT"], &rows))
    }
}

/// How the tools got in, and why so.
fn tools_text(tools: &ToolsStatus) -> String {
    match (tools.delivery, &tools.refused) {
        (Delivery::ImageVolume, _) => "mounted".to_owned(),
        (Delivery::Copy, None) => "copied".to_owned(),
        (Delivery::Copy, Some(said)) => format!("copied, since they can't be mounted: {said}"),
    }
}

fn failure_text(failure: &Failure, now: Timestamp) -> String {
    let mut lines = vec![
        (
            "cause",
            format!("{BAD}{:?}{BAD:#}: {}", failure.cause, failure.message),
        ),
        ("blame", show::blame(failure.blame).to_owned()),
        ("evidence", failure.evidence.clone()),
        (
            "next step",
            format!("{HEADING}{}{HEADING:#}", failure.next_step),
        ),
        (
            "retry",
            if failure.retryable {
                "it may recover by itself".to_owned()
            } else {
                "it waits for a change".to_owned()
            },
        ),
        ("more", page(failure.cause)),
    ];
    if let Some(since) = &failure.since {
        lines.push((
            "since",
            format!("{} ({} ago)", since.0, show::ago(now, since.0)),
        ));
    }
    format!("\n{}", facts(&lines))
}

/// Where the documentation speaks of a cause.
fn page(cause: Cause) -> String {
    format!("docs/causes/{cause:?}.md")
}
