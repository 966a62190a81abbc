//! Words and colours for what statuses say.

use anstyle::Style;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::shared::Blame;
use crate::api::workspace::{ActualState, ChangeEffect, EffectiveDesiredState, Workspace};
use crate::cli::again::program;
use crate::cli::output::{BAD, FAINT, GOOD, MOVING};

/// What stands where there is nothing to show.
pub const NOTHING: &str = "–";

/// The condition of a type.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of a type is True.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    condition(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// A state as a word, with its colour.
pub fn state(workspace: &Workspace) -> (String, Style) {
    match workspace
        .status
        .as_ref()
        .and_then(|status| status.actual_state)
    {
        Some(state) => (format!("{state:?}"), state_style(state)),
        None => ("Unseen".to_owned(), FAINT),
    }
}

fn state_style(state: ActualState) -> Style {
    match state {
        ActualState::Running => GOOD,
        ActualState::Failed | ActualState::Error => BAD,
        ActualState::Stopped | ActualState::Terminated => FAINT,
        ActualState::CreationRequested
        | ActualState::Starting
        | ActualState::Stopping
        | ActualState::Terminating
        | ActualState::Unknown => MOVING,
    }
}

/// What is wanted, as a word.
pub fn desired(workspace: &Workspace) -> String {
    workspace
        .status
        .as_ref()
        .and_then(|status| status.desired_state)
        .map_or_else(
            || NOTHING.to_owned(),
            |desired: EffectiveDesiredState| format!("{desired:?}"),
        )
}

/// Whose fault it is, as people say it.
pub fn blame(blame: Blame) -> &'static str {
    match blame {
        Blame::User => "the author of the Workspace can mend it",
        Blame::Platform => "the people who run the cluster can mend it",
    }
}

/// When a change takes effect, as people say it.
pub fn effect(effect: ChangeEffect) -> String {
    match effect {
        ChangeEffect::Live => "at once, without a restart".to_owned(),
        ChangeEffect::NextStart => format!("when it next starts ({} restart)", program()),
        ChangeEffect::RestartNow => "by a restart now".to_owned(),
    }
}

/// So many of a thing: `1 file`, `2 files`.
pub fn count(count: usize, one: &str) -> String {
    counted(count, one, &format!("{one}s"))
}

/// So many of a thing, in the words for one and for many.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// How long ago, in the one or two largest units.
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600, seconds / 60);
    if days > 2 {
        format!("{days}d")
    } else if hours > 2 {
        format!("{hours}h")
    } else if minutes > 9 {
        format!("{minutes}m")
    } else if minutes > 1 {
        format!("{minutes}m{}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// Milliseconds as people read them.
pub fn milliseconds(count: i64) -> String {
    if count < 10_000 {
        format!("{count} ms")
    } else {
        format!("{}.{} s", count / 1000, count % 1000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_counted_as_one() {
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(0, "error"), "0 errors");
        assert_eq!(counted(2, "delete waits", "deletes wait"), "2 deletes wait");
    }

    #[test]
    fn ages_are_short_and_never_negative() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let before = |seconds: i64| ago(now, now - jiff::SignedDuration::from_secs(seconds));
        assert_eq!(before(-5), "0s");
        assert_eq!(before(59), "59s");
        assert_eq!(before(130), "2m10s");
        assert_eq!(before(3000), "50m");
        assert_eq!(before(4 * 3600), "4h");
        assert_eq!(before(9 * 86_400), "9d");
    }
}
