//! Images that can't be pulled.

use rstest::rstest;

use super::*;
use crate::model::failures::images::classify;

/// Texts as kubelets, runtimes and registries write them.
#[rstest]
#[case(
    "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example.com/dev/rust:1.95\": failed to resolve reference \"registry.example.com/dev/rust:1.95\": registry.example.com/dev/rust:1.95: not found",
    Cause::ImageNotFound,
    Blame::User
)]
#[case(
    "manifest unknown: manifest unknown",
    Cause::ImageNotFound,
    Blame::User
)]
#[case(
    "no match for platform in manifest: not found",
    Cause::ImageNotFound,
    Blame::User
)]
#[case(
    "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized",
    Cause::ImageAuth,
    Blame::User
)]
#[case(
    "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
    Cause::ImageAuth,
    Blame::User
)]
#[case(
    "dial tcp: lookup registry.example.com: no such host",
    Cause::ImagePullTransient,
    Blame::Platform
)]
#[case(
    "net/http: TLS handshake timeout",
    Cause::ImagePullTransient,
    Blame::Platform
)]
#[case(
    "unexpected status from HEAD request: 503 Service Unavailable",
    Cause::ImagePullTransient,
    Blame::Platform
)]
#[case(
    "toomanyrequests: You have reached your pull rate limit",
    Cause::ImagePullTransient,
    Blame::Platform
)]
fn what_a_registry_says_is_told_apart(
    #[case] message: &str,
    #[case] cause: Cause,
    #[case] blame: Blame,
) {
    let (state, failure) = of_pod(waiting_pod("ErrImagePull", message), 5);
    let failure = failure.unwrap();
    assert_eq!(
        (state, failure.cause, failure.blame),
        (ActualState::Starting, cause, blame),
        "{failure:?}"
    );
    assert!(failure.evidence.contains("ErrImagePull") && failure.retryable);
}

#[test]
fn the_name_of_an_image_does_not_decide_what_the_registry_meant() {
    let image = "registry.example.com/unauthorized/denied:1";
    assert_eq!(
        classify(&format!("{image}: not found"), image),
        Cause::ImageNotFound
    );
}

#[test]
fn an_invalid_image_name_is_an_image_that_does_not_exist() {
    let (_, failure) = of_pod(
        waiting_pod("InvalidImageName", "couldn't parse image name"),
        5,
    );
    assert_eq!(failure.unwrap().cause, Cause::ImageNotFound);
}

#[test]
fn pull_errors_fail_a_start_after_sixty_seconds_counted_from_when_they_were_first_seen() {
    let mut pulling = evidence(
        Some(&rolling(1)),
        Some(&[waiting_pod("ErrImagePull", "not found")]),
    );
    remembered(&mut pulling, Cause::ImageNotFound, 30);
    assert_eq!(actual_state(&pulling, at(89)).0, ActualState::Starting);
    assert_eq!(next_deadline(&pulling, at(89)), Some(at(90)));
    assert_eq!(actual_state(&pulling, at(90)).0, ActualState::Failed);
}

#[test]
fn a_bare_back_off_keeps_what_was_known_and_asks_events_otherwise() {
    let bare = || {
        waiting_pod(
            "ImagePullBackOff",
            "Back-off pulling image \"registry.example.com/dev/rust:1.95\"",
        )
    };
    let mut known = evidence(Some(&rolling(1)), Some(&[bare()]));
    remembered(&mut known, Cause::ImageAuth, 1);
    assert_eq!(
        actual_state(&known, at(5)).1.unwrap().cause,
        Cause::ImageAuth
    );
    let hinted = with(
        bare(),
        None,
        &[event(
            "Pod",
            "api-1-x",
            "Failed",
            "Failed to pull image \"x\": manifest unknown",
        )],
    );
    assert_eq!(
        actual_state(&hinted, at(5)).1.unwrap().cause,
        Cause::ImageNotFound
    );
    let unknown = evidence(Some(&rolling(1)), Some(&[bare()]));
    assert_eq!(
        actual_state(&unknown, at(5)).1.unwrap().cause,
        Cause::ImagePullTransient
    );
}

#[test]
fn transient_pull_errors_wait_for_the_startup_timer() {
    let mut pulling = evidence(
        Some(&rolling(1)),
        Some(&[waiting_pod("ErrImagePull", "dial tcp: i/o timeout")]),
    );
    remembered(&mut pulling, Cause::ImagePullTransient, 1);
    assert_eq!(actual_state(&pulling, at(299)).0, ActualState::Starting);
    let (state, failure) = actual_state(&pulling, at(300));
    assert_eq!(
        (state, failure.unwrap().cause),
        (ActualState::Failed, Cause::ImagePullTransient)
    );
}

#[test]
fn trouble_with_the_tools_image_is_the_platforms() {
    let message = "failed to pull image \"registry.example.com/workstead:0.1.0\": not found";
    let (_, failure) = of_pod(waiting_pod("ErrImagePull", message), 5);
    let failure = failure.unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::ToolsUnavailable, Blame::Platform)
    );
}

#[test]
fn trouble_with_the_image_of_the_editor_is_the_platforms_and_names_it() {
    let editor = "registry.example.com/vscode@sha256:0a";
    let said = format!("failed to pull image \"{editor}\": not found");
    let pod = waiting_pod("ErrImagePull", &said);
    let mut pulling = evidence(Some(&rolling(1)), Some(&[pod]));
    pulling.editor_image = editor.to_owned();
    let failure = actual_state(&pulling, at(5)).1.unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::ToolsUnavailable, Blame::Platform)
    );
    assert!(failure.message.starts_with("the editor "), "{failure:?}");
    assert!(failure.next_step.contains(editor), "{failure:?}");
}
