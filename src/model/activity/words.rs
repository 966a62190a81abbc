//! What timers say to people.

use jiff::Timestamp;

use crate::api::activity::{ActivityKind, KeptAliveBy, StoppedByTimer, Timer, TimerWarning};

/// What will happen, and what puts it off.
pub fn warning(warning: &TimerWarning) -> String {
    let at = moment(warning.at.0);
    match warning.timer {
        Timer::Idle => format!("it is not used, and is stopped at {at} unless somebody uses it"),
        Timer::MaxActive => format!(
            "it has run for nearly as long as it may, and is stopped at {at}; starting it again begins the time anew"
        ),
        Timer::MaxStopped => format!(
            "it has been stopped for nearly as long as it may be, and is terminated at {at} unless somebody starts it"
        ),
        Timer::MaxLifetime => format!(
            "it is nearly as old as it may become, and is terminated at {at}: save what you need"
        ),
    }
}

/// What has happened, and why.
pub fn ended(stop: &StoppedByTimer) -> String {
    let why = why(stop.timer);
    if stop.timer.terminates() {
        format!("{why}, so it is terminated")
    } else {
        format!("{why}, so it is stopped until somebody starts or visits it")
    }
}

/// Why a timer ended it, in few words.
pub fn why(timer: Timer) -> &'static str {
    match timer {
        Timer::Idle => "nobody used it for as long as timeouts.idle says",
        Timer::MaxActive => "it ran for as long as timeouts.maxActive says",
        Timer::MaxStopped => "it was stopped for as long as timeouts.maxStopped says",
        Timer::MaxLifetime => "it is as old as timeouts.maxLifetime says",
    }
}

/// What keeps it from being idle.
pub fn kept_alive(by: &KeptAliveBy) -> String {
    let detail = by.detail.as_deref();
    match (by.kind, detail) {
        (ActivityKind::Http, None) => "requests to the editor".to_owned(),
        (ActivityKind::Http, Some(port)) => format!("requests to port {port}"),
        (ActivityKind::WebSocket, None) => "somebody working in the editor".to_owned(),
        (ActivityKind::WebSocket, Some(port)) => format!("a WebSocket to port {port}"),
        (ActivityKind::Ssh, _) => "an SSH session".to_owned(),
        (ActivityKind::Programs, Some(names)) => format!("programs that run: {names}"),
        (ActivityKind::Programs, None) => "programs that run".to_owned(),
        (ActivityKind::Start, Some(name)) => format!("its start, which is not over: {name}"),
        (ActivityKind::Start, None) => "its start, which is not over".to_owned(),
        (ActivityKind::Other, Some(detail)) => detail.to_owned(),
        (ActivityKind::Other, None) => "some use".to_owned(),
    }
}

/// A moment as people read it.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::model::fixtures::at;

    #[test]
    fn each_timer_says_when_and_what_can_be_done() {
        for timer in [
            Timer::Idle,
            Timer::MaxActive,
            Timer::MaxStopped,
            Timer::MaxLifetime,
        ] {
            let at = Time(at(0));
            let soon = warning(&TimerWarning {
                timer,
                at: at.clone(),
            });
            assert!(soon.contains("2026-03-01 12:00:00 UTC"), "{soon}");
            let over = ended(&StoppedByTimer {
                timer,
                at,
                generation: 1,
            });
            assert!(over.contains(&format!("timeouts.{timer}")), "{over}");
            assert_eq!(over.contains("terminated"), timer.terminates(), "{over}");
        }
    }
}
