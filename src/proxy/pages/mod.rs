//! Pages of ours: what a person reads, and what a program gets, where no workspace answers.
//!
//! Each says what is the matter, what shows it, and what to do. None can be framed, kept, or read by another origin.

mod html;
mod states;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use hyper::body::Bytes;
use serde_json::json;

use crate::proxy::authorize::decide::Allowed;
use crate::proxy::authorize::origin::Foreign;
use crate::proxy::door::{Answer, Failure, Request};
use crate::proxy::limits::streams::TooMany;
use crate::proxy::route::Route;

pub use states::{STATE_PATH, not_running, own_path};

/// The same for every host that is none and for every workspace that is not the visitor's: neither is told from the other.
pub fn not_found() -> Answer {
    message(
        StatusCode::NOT_FOUND,
        "Nothing here",
        "There is no workspace at this address, or it is not shared with you. If it should be yours, sign in as its owner, or ask them to share it.",
    )
}

/// What another origin asked by a preflight is not allowed. No header says what would be.
pub fn no_preflight() -> Answer {
    message(
        StatusCode::FORBIDDEN,
        "Not from another origin",
        "This port answers no preflight of that origin. Its endpoint can list it in allowedOrigins, with cors: Passthrough.",
    )
}

/// A page of another origin made the request.
pub fn foreign(why: Foreign) -> Answer {
    if why == Foreign::Repeated {
        // It can't be framed, so it only goes on in a window, and the next request comes from this very host.
        let body = html::Page::new("Opening…").paragraph(
            "A page of another origin led here. If this page does not go on by itself, load it again.",
        );
        return page(StatusCode::FORBIDDEN, body, Some(0));
    }
    message(
        StatusCode::FORBIDDEN,
        "Not from another page",
        "A page of another origin made this request with your cookies, so it was stopped. Open the address itself, or list that origin in allowedOrigins of the endpoint.",
    )
}

/// No editor runs, so the workspace's own host has nothing to show.
pub fn no_editor(request: &Request<'_>, route: &Route) -> Answer {
    let text = match route.asked.endpoints.first() {
        Some(endpoint) => format!(
            "This workspace runs without an editor. Its endpoint {} opens at {}-{}.",
            endpoint.name, endpoint.port, request.host.name
        ),
        None => "This workspace runs without an editor and names no endpoints: set spec.editor, or add to spec.endpoints.".to_owned(),
    };
    message(StatusCode::NOT_FOUND, "No editor", &text)
}

/// The pod did not prove that it is the workspace's.
pub fn no_proof(request: &Request<'_>, reason: &str) -> Answer {
    let text = format!(
        "The workspace runs, but its first process did not answer as it should ({reason}). The page tries again by itself; if it lasts, `workstead why` says more."
    );
    again(request, "The workspace is not reached", &text)
}

/// A port gave no response.
pub fn no_response(request: &Request<'_>, failure: Failure) -> Answer {
    let text = match failure {
        Failure::Refused => {
            "The workspace runs, but nothing listens on this port yet. Start your program there, on 0.0.0.0 or on localhost.".to_owned()
        }
        other => format!("The workspace runs, but {other}."),
    };
    let mut answer = again(request, "No answer from this port", &text);
    *answer.status_mut() = match failure {
        Failure::Slow => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    answer
}

/// As many requests as may be are under way at the same time.
pub fn too_many_streams(request: &Request<'_>, what: TooMany) -> Answer {
    let (status, text) = match what {
        TooMany::OfUser => (
            StatusCode::TOO_MANY_REQUESTS,
            "You have as many requests and streams open as one person may have here. Close tabs or programs that you don't need, then try again.",
        ),
        TooMany::ToWorkspace => (
            StatusCode::SERVICE_UNAVAILABLE,
            "As many requests and streams are open to this workspace as one workspace may have here. Close tabs or programs that you don't need, or wait until others have.",
        ),
    };
    let mut answer = again(request, "Too many at the same time", text);
    *answer.status_mut() = status;
    answer
}

/// Too many requests of one address asked for what is not there, or not theirs.
pub fn too_many_refusals(request: &Request<'_>, seconds: u32) -> Answer {
    let title = "Too many requests for what is not there";
    let text = "Very many requests from your network asked within this minute for what is not there or not open to them. Wait for the next one.";
    let status = StatusCode::TOO_MANY_REQUESTS;
    if request.navigation().is_some() {
        return page(
            status,
            html::Page::new(title).paragraph(text),
            Some(seconds),
        );
    }
    program(status, title, text, Some(seconds))
}

/// A page with a title and a text.
pub fn message(status: StatusCode, title: &str, text: &str) -> Answer {
    let body = html::Page::new(title).paragraph(text);
    page(status, body, None)
}

/// 503, and the page loads itself again.
fn again(request: &Request<'_>, title: &str, text: &str) -> Answer {
    if request.navigation().is_some() {
        let body = html::Page::new(title).paragraph(text);
        return page(StatusCode::SERVICE_UNAVAILABLE, body, Some(3));
    }
    program(StatusCode::SERVICE_UNAVAILABLE, title, text, Some(3))
}

fn page(status: StatusCode, body: html::Page, again_after: Option<u32>) -> Answer {
    let (text, policy) = body.finish(again_after);
    let mut answer = Answer::new(Bytes::from(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    guard(&mut answer, again_after);
    answer
}

/// For programs: the same in JSON.
fn program(status: StatusCode, title: &str, text: &str, again_after: Option<u32>) -> Answer {
    object(status, &json!({"error": title, "next": text}), again_after)
}

fn object(status: StatusCode, value: &serde_json::Value, again_after: Option<u32>) -> Answer {
    let mut answer = Answer::new(Bytes::from(value.to_string()));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    guard(&mut answer, again_after);
    answer
}

fn guard(answer: &mut Answer, again_after: Option<u32>) {
    let headers = answer.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (VARY, "Origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(seconds) = again_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Whether somebody may see how a workspace is, and not only that it is not there: who may open its editor, or owns it.
fn sees_inside(allowed: Allowed) -> bool {
    use crate::proxy::authorize::decide::Role;
    allowed.role >= Role::ByGroup
}
