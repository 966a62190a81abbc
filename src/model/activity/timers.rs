//! The timers that stop and terminate: which one is over, what is to be warned of, and when to look again.
//!
//! - Nothing ends without a warning that stood for a while, whatever happened meanwhile: a controller that was away, or a
//!   limit that was lowered, moves the end rather than skips the warning.
//! - Before it warns of being idle, and again before it stops, the first process is asked whether something goes on inside.
//!   One that does not answer within [`GRACE`] can't keep it running.
//! - What was used since ends a warning, and the timer runs anew from there.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;
use workstead_link::{Report, StepKind, StepState};

use crate::api::activity::{Activity, ActivityKind, KeptAliveBy, Timer, TimerWarning};
use crate::api::workspace::{ActualState, Workspace, WorkspaceStatus};
use crate::model::activity::Lifetimes;
use crate::model::activity::lease::Used;
use crate::model::duration::Span;
use crate::model::revision::micro;

/// How long the first process may take to say what goes on inside.
pub const GRACE: SignedDuration = SignedDuration::from_secs(15);
/// So many programs are named.
const NAMED: usize = 3;

/// All that [`judge`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The Workspace.
    pub workspace: &'a Workspace,
    /// Its status before this pass.
    pub previous: &'a WorkspaceStatus,
    /// The limits in effect.
    pub lifetimes: &'a Lifetimes,
    /// Until then no timer is over.
    pub paused_until: Option<Timestamp>,
    /// When it was last used, and by what.
    pub used: Option<&'a Used>,
    /// Whether its Deployment is up.
    pub is_up: bool,
    /// When the start that goes on was asked for.
    pub started_at: Option<Timestamp>,
    /// Whether it may be terminated: somebody can say what becomes of its volume.
    pub may_terminate: bool,
}

/// What became of a question to the first process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// There is nobody to ask.
    Nobody,
    /// It was asked at this moment, and has not answered.
    Awaited(Timestamp),
    /// It says this.
    Said(Arc<Report>),
}

/// What the timers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The timer that is over.
    pub over: Option<Timer>,
    /// For the status.
    pub activity: Option<Activity>,
    /// When to look again, if nothing happens before.
    pub next: Option<Timestamp>,
}

/// Judges all timers. `ask` puts a question to the first process, and says what became of it; the same question is put
/// again until it was answered.
pub fn judge(
    question: &Question<'_>,
    now: Timestamp,
    ask: &mut dyn FnMut(&str) -> Asked,
) -> Verdict {
    let mut verdict = Verdict::default();
    let before = question.previous.activity.clone().unwrap_or_default();
    let mut activity = Activity::default();
    let state = question.previous.actual_state;
    if matches!(
        state,
        Some(ActualState::Terminating | ActualState::Terminated)
    ) {
        return verdict;
    }
    for timer in [Timer::MaxLifetime, Timer::MaxStopped] {
        if let Some(due) = question.due(timer).filter(|_| question.may_terminate) {
            verdict.take(timer, &mut activity, question.stage(timer, due, now), now);
        }
    }
    if let Some(due) = question.due(Timer::MaxActive) {
        let stage = question.stage(Timer::MaxActive, due, now);
        verdict.take(Timer::MaxActive, &mut activity, stage, now);
    }
    if let Some(since) = question.running_since() {
        idle(
            question,
            &before,
            since,
            now,
            ask,
            &mut activity,
            &mut verdict,
        );
    }
    activity.warnings.sort_by_key(|warning| warning.at.0);
    verdict.activity = (activity != Activity::default()).then_some(activity);
    verdict
}

/// How far a timer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is said of it before this moment.
    Quiet(Timestamp),
    /// A warning is due, of an end at this moment.
    Warns(Timestamp),
    /// It was warned of this end, which is not there yet.
    Warned(Timestamp),
    /// The end that it was warned of is there.
    Over(Timestamp),
}

impl Question<'_> {
    /// Since when it runs, while it does.
    fn running_since(&self) -> Option<Timestamp> {
        let runs = self.is_up && self.previous.actual_state == Some(ActualState::Running);
        let since = self.previous.running_since.as_ref().filter(|_| runs)?;
        Some(since.0)
    }

    /// When a timer would be over that nobody can put off.
    fn due(&self, timer: Timer) -> Option<Timestamp> {
        let metadata = &self.workspace.metadata;
        let start = match timer {
            Timer::Idle => None,
            Timer::MaxActive => self.started_at.filter(|_| self.is_up),
            Timer::MaxStopped => {
                let stopped = self.previous.actual_state == Some(ActualState::Stopped);
                let since = self.previous.stopped_since.as_ref();
                since
                    .filter(|_| stopped && !self.is_up)
                    .map(|since| since.0)
            }
            Timer::MaxLifetime => metadata.creation_timestamp.as_ref().map(|time| time.0),
        };
        Some(self.limit(timer).after(start?).max(self.earliest()))
    }

    fn limit(&self, timer: Timer) -> Span {
        match timer {
            Timer::Idle => self.lifetimes.idle,
            Timer::MaxActive => self.lifetimes.max_active,
            Timer::MaxStopped => self.lifetimes.max_stopped,
            Timer::MaxLifetime => self.lifetimes.max_lifetime,
        }
    }

    fn earliest(&self) -> Timestamp {
        self.paused_until.unwrap_or(Timestamp::MIN)
    }

    /// How long before its end a timer is warned of.
    fn lead(&self, timer: Timer) -> SignedDuration {
        let (share, most) = match timer {
            Timer::Idle => (2, Span::from_seconds(300)),
            Timer::MaxActive => (4, Span::from_seconds(3600)),
            Timer::MaxStopped => (4, Span::from_seconds(72 * 3600)),
            Timer::MaxLifetime => (4, Span::from_seconds(7 * 24 * 3600)),
        };
        let limit = self.limit(timer).milliseconds() / share;
        let lead = limit.min(most.milliseconds());
        SignedDuration::from_millis(i64::try_from(lead).unwrap_or(i64::MAX))
    }

    /// How far a timer is that would be over at `due`.
    fn stage(&self, timer: Timer, due: Timestamp, now: Timestamp) -> Stage {
        let warnings = self.previous.activity.iter();
        let mut warnings = warnings.flat_map(|activity| &activity.warnings);
        // One of an earlier end than the present one is out of date: it was used meanwhile, or the limit was raised.
        let warned = warnings.find(|warning| warning.timer == timer && warning.at.0 >= due);
        let lead = self.lead(timer);
        match warned.map(|warning| warning.at.0) {
            Some(at) if now >= at => Stage::Over(at),
            Some(at) => Stage::Warned(at),
            None => {
                let begin = due.saturating_sub(lead).unwrap_or(Timestamp::MIN);
                if now < begin {
                    return Stage::Quiet(begin);
                }
                Stage::Warns(whole_seconds(due.max(later(now, lead))))
            }
        }
    }
}

impl Verdict {
    /// Takes in a timer that nobody can put off.
    fn take(&mut self, timer: Timer, activity: &mut Activity, stage: Stage, now: Timestamp) {
        match stage {
            Stage::Quiet(begin) => self.look(begin),
            Stage::Warns(at) | Stage::Warned(at) => self.warn(timer, at, activity),
            Stage::Over(_) => {
                self.over.get_or_insert(timer);
                self.look(now);
            }
        }
    }

    fn warn(&mut self, timer: Timer, at: Timestamp, activity: &mut Activity) {
        activity.warnings.push(TimerWarning {
            timer,
            at: Time(at),
        });
        self.look(at);
    }

    fn look(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// The idle timer: what was used puts it off, and what goes on inside.
fn idle(
    question: &Question<'_>,
    before: &Activity,
    since: Timestamp,
    now: Timestamp,
    ask: &mut dyn FnMut(&str) -> Asked,
    activity: &mut Activity,
    verdict: &mut Verdict,
) {
    let busy_at = before.busy_at.clone().filter(|busy| busy.0 >= since);
    let used = question.used.filter(|used| used.at >= since);
    // A clock that runs ahead of ours tells of no use in the future.
    let used_at = used.map(|used| used.at.min(now));
    let busy_is_last = busy_at.as_ref().map(|busy| busy.0) > used_at;
    activity.kept_alive_by = if busy_is_last {
        before.kept_alive_by.clone()
    } else {
        used.map(|used| used.by.clone())
    };
    activity.busy_at = busy_at.clone().filter(|_| busy_is_last);
    // A visit is a use, also where the Lease does not say so yet.
    let visit = question.previous.wake.as_ref();
    let visit = visit.map(|wake| wake.requested_at.0.min(now));
    let last = [used_at, busy_at.map(|busy| busy.0), visit];
    let last = last.into_iter().flatten().fold(since, Timestamp::max);
    let due = question
        .limit(Timer::Idle)
        .after(last)
        .max(question.earliest());
    let stage = question.stage(Timer::Idle, due, now);
    let (at, name) = match stage {
        Stage::Quiet(begin) => return verdict.look(begin),
        Stage::Warned(at) => return verdict.warn(Timer::Idle, at, activity),
        Stage::Warns(at) => (at, format!("idle-warning-{}", due.as_second())),
        Stage::Over(at) => (at, format!("idle-stop-{}", at.as_second())),
    };
    let said = ask(&name);
    if let Asked::Said(report) = &said
        && let Some(by) = busy(report)
    {
        activity.kept_alive_by = Some(by);
        activity.busy_at = Some(micro(now));
        let begin = question.limit(Timer::Idle).after(now);
        let begin = begin.saturating_sub(question.lead(Timer::Idle));
        return verdict.look(begin.unwrap_or(Timestamp::MAX));
    }
    let until = match said {
        Asked::Awaited(asked) => Some(later(asked, GRACE)).filter(|until| now < *until),
        Asked::Nobody | Asked::Said(_) => None,
    };
    match (stage, until) {
        // It is told when it is known. Meanwhile nothing is said.
        (Stage::Warns(_), Some(until)) => verdict.look(until),
        (Stage::Warns(_), None) => verdict.warn(Timer::Idle, at, activity),
        // The warning stands until the answer is there.
        (_, Some(until)) => {
            verdict.warn(Timer::Idle, at, activity);
            verdict.next = Some(until);
        }
        (_, None) => {
            verdict.over.get_or_insert(Timer::Idle);
        }
    }
}

/// What goes on inside, by what the first process says.
fn busy(report: &Report) -> Option<KeptAliveBy> {
    let programs = &report.idle.keep_alive;
    if !programs.is_empty() {
        let named: Vec<&str> = programs.iter().take(NAMED).map(String::as_str).collect();
        let more = programs.len().saturating_sub(NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        return Some(KeptAliveBy {
            kind: ActivityKind::Programs,
            detail: Some(format!("{}{more}", named.join(", "))),
        });
    }
    let mut steps = report.steps.iter();
    let running = steps.find(|step| {
        step.state == StepState::Running
            && matches!(step.kind, StepKind::Clone | StepKind::PostStart)
    })?;
    Some(KeptAliveBy {
        kind: ActivityKind::Start,
        detail: running.subject.clone(),
    })
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Rounded up: as a status keeps it, and not before it is due.
fn whole_seconds(moment: Timestamp) -> Timestamp {
    let whole = Timestamp::from_second(moment.as_second()).unwrap_or(moment);
    if whole < moment {
        later(whole, SignedDuration::from_secs(1))
    } else {
        whole
    }
}

#[cfg(test)]
mod tests;
