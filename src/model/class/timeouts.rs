//! The time limits of a class, each checked on its own.

use crate::api::class::ClassTimeouts;
use crate::api::shared::DurationText;
use crate::model::activity::Lifetimes;
use crate::model::class::fields::Report;
use crate::model::class::{Deadlines, LEAST_STARTUP, LEAST_STOPPING};
use crate::model::duration::Span;

pub(super) fn class_deadlines(
    timeouts: &ClassTimeouts,
    report: &mut Report,
) -> (Deadlines, Span, Span) {
    let second = Span::from_seconds(1);
    let hour = Span::from_seconds(3600);
    let default = Deadlines::default();
    let cap = |report: &mut Report, field: &str, written, least| {
        let read = timeout(written, least)?;
        report.require(&format!("spec.timeouts.{field}"), read)
    };
    let keep = |report: &mut Report, field: &str, written, least| {
        let read = timeout(written, least)?;
        report.keep(&format!("spec.timeouts.{field}"), read)
    };
    let max_startup =
        cap(report, "maxStartup", &timeouts.max_startup, LEAST_STARTUP).unwrap_or(hour);
    let max_stopping = cap(
        report,
        "maxStopping",
        &timeouts.max_stopping,
        LEAST_STOPPING,
    )
    .unwrap_or(hour);
    let startup = keep(report, "startup", &timeouts.startup, LEAST_STARTUP);
    let stopping = keep(report, "stopping", &timeouts.stopping, LEAST_STOPPING);
    let image_pull = keep(report, "imagePull", &timeouts.image_pull, second);
    let container_config = keep(
        report,
        "containerConfig",
        &timeouts.container_config,
        second,
    );
    let admission = keep(report, "admission", &timeouts.admission, second);
    let deadlines = Deadlines {
        startup: within_cap(report, "startup", startup, default.startup, max_startup),
        stopping: within_cap(report, "stopping", stopping, default.stopping, max_stopping),
        image_pull: image_pull.unwrap_or(default.image_pull),
        container_config: container_config.unwrap_or(default.container_config),
        admission: admission.unwrap_or(default.admission),
        lifetimes: default.lifetimes,
    };
    (deadlines, max_startup, max_stopping)
}

/// One of the limits after which a workspace ends by itself: its name, what was written of it and of the longest, and
/// where it stands.
type Lifetime<'a> = (
    &'static str,
    &'a Option<DurationText>,
    &'a Option<DurationText>,
    fn(&mut Lifetimes) -> &mut Span,
);

/// When workspaces end by themselves that say nothing, and the longest that they may ask for. Left out, the longest is the
/// usual one, or what the class itself gives where that is longer.
pub(super) fn class_lifetimes(
    timeouts: &ClassTimeouts,
    report: &mut Report,
) -> (Lifetimes, Lifetimes) {
    let written = timeouts.longest.clone().unwrap_or_default();
    let (mut least, mut lifetimes) = (Lifetimes::LEAST, Lifetimes::default());
    // Nobody has to say that a workspace may be idle for as long as it may run at all.
    let mut longest = Lifetimes {
        idle: lifetimes.max_active,
        ..lifetimes
    };
    let limits: [Lifetime<'_>; 4] = [
        ("idle", &timeouts.idle, &written.idle, |of| &mut of.idle),
        (
            "maxActive",
            &timeouts.max_active,
            &written.max_active,
            |of| &mut of.max_active,
        ),
        (
            "maxStopped",
            &timeouts.max_stopped,
            &written.max_stopped,
            |of| &mut of.max_stopped,
        ),
        (
            "maxLifetime",
            &timeouts.max_lifetime,
            &written.max_lifetime,
            |of| &mut of.max_lifetime,
        ),
    ];
    for (name, default, cap, of) in limits {
        let least = *of(&mut least);
        let default = timeout(default, least)
            .and_then(|read| report.keep(&format!("spec.timeouts.{name}"), read));
        let cap = timeout(cap, least)
            .and_then(|read| report.require(&format!("spec.timeouts.longest.{name}"), read));
        let (usual, most) = (*of(&mut lifetimes), *of(&mut longest));
        let most = cap.unwrap_or_else(|| most.max(default.unwrap_or(usual)));
        *of(&mut longest) = most;
        *of(&mut lifetimes) = within_cap(report, name, default, usual, most);
    }
    (lifetimes, longest)
}

/// Reads a time limit, if it was written.
fn timeout(written: &Option<DurationText>, least: Span) -> Option<Result<Span, String>> {
    Some(match Span::try_from(written.as_ref()?) {
        Ok(span) if span < least => Err(format!("{span} is too short: write {least} or more")),
        Ok(span) => Ok(span),
        Err(error) => Err(error.to_string()),
    })
}

/// A time limit that is not over its cap. A default gives way in silence, what was written is reported.
fn within_cap(
    report: &mut Report,
    field: &str,
    written: Option<Span>,
    default: Span,
    most: Span,
) -> Span {
    if let Some(written) = written.filter(|written| *written > most) {
        report.drop(
            &format!("spec.timeouts.{field}"),
            format!(
                "{written} is over the longest that the class allows, {most}: write {most} or less"
            ),
        );
    }
    written.unwrap_or(default).min(most)
}
