//! A workspace that is not there: stopped, starting, failed, ending. What is the matter, and how a start goes on.

use http::StatusCode;
use serde_json::json;

use crate::api::steps::TimelineStep;
use crate::api::workspace::ActualState;
use crate::proxy::authorize::decide::Allowed;
use crate::proxy::door::{Answer, Request};
use crate::proxy::pages::html::Page;
use crate::proxy::pages::{not_found, object, page, program, sees_inside};
use crate::proxy::route::Route;
use crate::proxy::route::seen::Seen;
use crate::proxy::wake::visits::can_wake;

/// How a start goes on, for programs.
pub const STATE_PATH: &str = "/.workstead-proxy/state";
/// How soon a page that shows a start comes anew, in seconds.
const SOON: u32 = 1;
/// The same for one that waits for a person.
const LATER: u32 = 10;
/// How long a page waits for something new while a workspace is being woken, in seconds. Each load is a visit: one whose
/// request for the start was lost has to be made again.
const WAKING: u32 = 3;
/// The same while it starts: pulling an image takes its time.
const STARTING: u32 = 30;

/// What a page says of a state.
struct Words {
    title: &'static str,
    text: &'static str,
    again_after: Option<u32>,
    /// Whoever sees inside watches it go on, and after so many seconds without anything new the page is loaded anew.
    patience: Option<u32>,
}

/// The answer to a request for a workspace that is not there. It loads itself again until it is.
pub fn not_running(request: &Request<'_>, route: &Route, allowed: Allowed) -> Answer {
    let status = &route.status;
    let words = words(route);
    if request.navigation().is_none() {
        return program(
            StatusCode::SERVICE_UNAVAILABLE,
            words.title,
            words.text,
            words.again_after,
        );
    }
    let mut body = Page::new(words.title).paragraph(words.text);
    if sees_inside(allowed) {
        body = body.facts(&facts(route)).steps(&steps(status));
        if let Some(failure) = status.failure() {
            body = body.printed(&failure.evidence);
        }
        if let Some(patience) = words.patience {
            body = body.live(&state_name(status), patience);
        }
    }
    page(StatusCode::SERVICE_UNAVAILABLE, body, words.again_after)
}

/// Answers the paths of ours that show how a workspace is.
pub fn own_path(request: &Request<'_>, route: &Route, allowed: Allowed) -> Answer {
    if request.path() != STATE_PATH || !sees_inside(allowed) {
        return not_found();
    }
    let status = &route.status;
    let steps: Vec<_> = steps(status)
        .into_iter()
        .map(|(step, state)| json!({"step": step, "state": state}))
        .collect();
    let state = json!({
        "state": state_name(status),
        "isThere": route.pod().is_some() && status.actual_state == Some(ActualState::Running),
        "failure": status.failure(),
        "steps": steps,
    });
    object(StatusCode::OK, &state, None)
}

fn words(route: &Route) -> Words {
    let status = &route.status;
    let (title, text, again_after, patience) = match status.actual_state {
        Some(ActualState::Failed | ActualState::Error) => (
            "The workspace does not start",
            "Something is wrong with it. What, and what to do, stands below; the page loads again by itself.",
            Some(LATER),
            None,
        ),
        Some(ActualState::Terminating | ActualState::Terminated) => (
            "The workspace has ended",
            "It was terminated, and nothing wakes it. Make a new Workspace.",
            None,
            None,
        ),
        Some(ActualState::Stopped | ActualState::Stopping) if can_wake(route) => (
            "The workspace is being woken",
            "It had stopped, and your visit starts it. The page opens by itself when it is there.",
            Some(SOON),
            Some(WAKING),
        ),
        Some(ActualState::Stopped | ActualState::Stopping) => (
            "The workspace is stopped",
            "A person or a file says that it is to be stopped: start it with `workstead start`, or change desiredState in its file.",
            Some(LATER),
            None,
        ),
        _ => (
            "The workspace is starting",
            "The page opens by itself when it is there.",
            Some(SOON),
            Some(STARTING),
        ),
    };
    Words {
        title,
        text,
        again_after,
        patience,
    }
}

/// What it does, as its status says; empty where nothing is known yet.
fn state_name(status: &Seen) -> String {
    status
        .actual_state
        .map_or_else(String::new, |state| format!("{state:?}"))
}

fn facts(route: &Route) -> Vec<(&'static str, String)> {
    let status = &route.status;
    let mut facts = vec![(
        "Workspace",
        format!("{}/{}", route.key.namespace, route.key.name),
    )];
    if status.actual_state.is_some() {
        facts.push(("State", state_name(status)));
    }
    if let Some(failure) = status.failure() {
        facts.push(("Cause", format!("{:?}", failure.cause)));
        facts.push(("What", failure.message.clone()));
        facts.push(("Next step", failure.next_step.clone()));
    }
    facts
}

/// The steps of the start that goes on or failed. What has stopped has none yet: those in its status are of the start before.
fn steps(status: &Seen) -> Vec<(String, String)> {
    if matches!(
        status.actual_state,
        Some(ActualState::Stopped | ActualState::Stopping)
    ) {
        return Vec::new();
    }
    status.timeline().iter().map(step).collect()
}

fn step(step: &TimelineStep) -> (String, String) {
    let name = format!("{:?}", step.step);
    (name, format!("{} ms", step.milliseconds))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::api::access::{EndpointProtocol, Visibility};
    use crate::proxy::authorize::decide::Role;
    use crate::proxy::door::{Client, Fields};
    use crate::proxy::host::{RequestHost, Target};
    use crate::proxy::route::fixtures::route;

    struct Lines(Vec<(&'static str, &'static [u8])>);

    impl Fields for Lines {
        fn each<'a>(&'a self, name: &str, call: &mut dyn FnMut(&'a [u8])) {
            for (own, value) in &self.0 {
                if own.eq_ignore_ascii_case(name) {
                    call(value);
                }
            }
        }
    }

    fn ask(target: &str, lines: Lines, role: Role, state: &str) -> Answer {
        let failure = json!({
            "cause": "CloneAuth", "blame": "User", "message": "refused <b>", "evidence": "fatal: no",
            "retryable": false, "nextStep": "give it a key",
        });
        let mut route = route(json!({}), json!({}));
        let mut status = json!({"actualState": state, "timeline": [
            {"step": "Applied", "atMilliseconds": 5, "milliseconds": 5},
        ]});
        if state == "Failed" {
            status["failure"] = failure;
        }
        route.status = Seen::of(serde_json::from_value(status).unwrap());
        let host = RequestHost {
            name: "api.ws.example.com".to_owned(),
            port: None,
            target: Target::Workspace {
                workspace: "api".to_owned(),
                port: None,
            },
        };
        let client = Client {
            address: [192, 0, 2, 1].into(),
            is_tls: true,
            is_insecure_local: false,
            version: "1.1",
        };
        let request = Request {
            method: &Method::GET,
            target,
            host: &host,
            fields: &lines,
            is_websocket: false,
            body_length: None,
            body: &[],
            client: &client,
        };
        let allowed = Allowed {
            role,
            visibility: Visibility::Public,
            port: None,
            protocol: EndpointProtocol::Http,
        };
        if target == STATE_PATH {
            own_path(&request, &route, allowed)
        } else {
            not_running(&request, &route, allowed)
        }
    }

    fn browser() -> Lines {
        Lines(vec![
            ("Sec-Fetch-Mode", b"navigate"),
            ("Sec-Fetch-Dest", b"document"),
        ])
    }

    fn text(answer: &Answer) -> &str {
        std::str::from_utf8(answer.body()).unwrap()
    }

    #[test]
    fn the_owner_of_what_failed_reads_cause_evidence_and_next_step() {
        let page = ask("/", browser(), Role::Owner, "Failed");
        assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
        for expected in [
            "does not start",
            "CloneAuth",
            "refused &lt;b&gt;",
            "fatal: no",
            "give it a key",
            "Applied",
            "5 ms",
        ] {
            assert!(
                text(&page).contains(expected),
                "{expected}: {}",
                text(&page)
            );
        }
        assert_eq!(page.headers()["retry-after"], "10");
        assert_eq!(page.headers()["cache-control"], "no-store");
    }

    #[test]
    fn what_is_being_woken_shows_no_steps_of_the_start_before() {
        let page = ask("/", browser(), Role::Owner, "Stopped");
        assert!(text(&page).contains("being woken"), "{}", text(&page));
        assert!(!text(&page).contains("Applied"), "{}", text(&page));
    }

    #[test]
    fn visitors_of_a_public_port_learn_nothing_of_what_is_inside() {
        let page = ask("/", browser(), Role::Public, "Failed");
        for hidden in ["CloneAuth", "fatal", "Applied", "team-a"] {
            assert!(!text(&page).contains(hidden), "{hidden}: {}", text(&page));
        }
        let state = ask(STATE_PATH, Lines(Vec::new()), Role::Public, "Failed");
        assert_eq!(state.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_start_is_watched_by_who_sees_inside_and_by_nobody_else() {
        let live = |role, state| {
            let page = ask("/", browser(), role, state);
            let policy = page.headers()["content-security-policy"].to_str().unwrap();
            assert_eq!(
                text(&page).contains("<script>"),
                policy.contains("script-src")
            );
            policy.contains("script-src")
        };
        assert!(live(Role::Owner, "Starting") && live(Role::ByName, "Starting"));
        assert!(live(Role::Owner, "Stopped"));
        assert!(!live(Role::Public, "Starting") && !live(Role::Owner, "Failed"));
    }

    #[test]
    fn a_program_gets_json_and_no_page() {
        let answer = ask("/api", Lines(Vec::new()), Role::Owner, "Starting");
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["retry-after"], "1");
        let state = ask(STATE_PATH, Lines(Vec::new()), Role::ByName, "Starting");
        let state: serde_json::Value = serde_json::from_slice(state.body()).unwrap();
        assert_eq!(
            (&state["state"], &state["isThere"]),
            (&json!("Starting"), &json!(false))
        );
    }
}
