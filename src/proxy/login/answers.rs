//! What a login answers: redirects, refusals for programs, short pages for people. Nothing of it is ever cached, framed or
//! readable from another origin.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    SET_COOKIE, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Bytes;

use crate::proxy::door::Answer;

/// Takes away what siblings set.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// No script, no picture, no frame: our pages need none.
fn policy(form_action: &str) -> Option<HeaderValue> {
    let text = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(text).ok()
}

fn answer(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// 303: go there, by GET.
pub fn see_other(location: &str) -> Answer {
    let Ok(location) = HeaderValue::try_from(location) else {
        return page(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Sign-in failed",
            "The next address could not be written. Please tell your administrator.",
        );
    };
    let mut answer = answer(StatusCode::SEE_OTHER, String::new());
    answer.headers_mut().insert(LOCATION, location);
    answer
}

/// 401 for whatever is no navigation: a program reads it, and no redirect leads it astray.
pub fn unauthorized(error: &str, next: &str) -> Answer {
    let body = serde_json::json!({"error": error, "next": next}).to_string();
    let mut answer = answer(StatusCode::UNAUTHORIZED, body);
    let headers = answer.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json);
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Workstead"));
    answer
}

/// Short JSON for a program.
pub fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = answer(status, body.to_string());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

/// A page that says what happened, and what to do.
pub fn page(status: StatusCode, title: &str, text: &str) -> Answer {
    let (title, text) = (escape(title), escape(text));
    html(
        status,
        &title,
        &format!("<h1>{title}</h1><p>{text}</p>"),
        "'none'",
    )
}

/// A page with one link: where to go from here.
pub fn page_leading_on(
    status: StatusCode,
    title: &str,
    text: &str,
    (address, label): (&str, &str),
) -> Answer {
    let [title, text, address, label] = [title, text, address, label].map(escape);
    let body = format!("<h1>{title}</h1><p>{text}</p><p><a href=\"{address}\">{label}</a></p>");
    html(status, &title, &body, "'none'")
}

/// 429: come back later.
pub fn too_many() -> Answer {
    let mut answer = page(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many sign-ins",
        "There were too many sign-ins from here within a minute. Wait a minute, then load the page again.",
    );
    let minute = HeaderValue::from_static("60");
    answer.headers_mut().insert(RETRY_AFTER, minute);
    answer
}

/// A button of a form.
pub struct Button<'a> {
    /// The value of the field `scope`.
    pub scope: &'a str,
    /// What stands on it.
    pub label: &'a str,
}

/// A page with a form that posts to its own address. `leads_to` are the origins that the answer may lead on to: browsers
/// hold a form to them.
pub fn form(title: &str, text: &str, buttons: &[Button<'_>], leads_to: &[String]) -> Answer {
    let (title, text) = (escape(title), escape(text));
    let buttons: String = buttons
        .iter()
        .map(|button| {
            let (scope, label) = (escape(button.scope), escape(button.label));
            format!("<button name=\"scope\" value=\"{scope}\">{label}</button> ")
        })
        .collect();
    let body = format!("<h1>{title}</h1><p>{text}</p><form method=\"post\">{buttons}</form>");
    let action = ["'self'"]
        .into_iter()
        .chain(leads_to.iter().map(String::as_str));
    let action: Vec<&str> = action.collect();
    let mut answer = html(StatusCode::OK, &title, &body, &action.join(" "));
    // Without it, browsers send `Origin: null` with the form, and nothing tells whose it is.
    let same_origin = HeaderValue::from_static("same-origin");
    answer.headers_mut().insert(REFERRER_POLICY, same_origin);
    answer
}

fn html(status: StatusCode, title: &str, body: &str, form_action: &str) -> Answer {
    let style = "body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:15vh auto;padding:0 1em}button{font:inherit;padding:.4em 1em}";
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{style}</style>{body}</html>\n"
    );
    let mut answer = answer(status, text);
    let headers = answer.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(CONTENT_TYPE, html);
    if let Some(policy) = policy(form_action) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// Adds cookies to an answer.
pub fn with_cookies(mut answer: Answer, cookies: impl IntoIterator<Item = HeaderValue>) -> Answer {
    for cookie in cookies {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

/// Has the browser forget its cookies for this site: for those that can't all be ours.
pub fn clearing_cookies(mut answer: Answer) -> Answer {
    let cookies = HeaderValue::from_static("\"cookies\"");
    answer.headers_mut().insert(CLEAR_SITE_DATA, cookies);
    answer
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_clickjacking_and_markup_in_what_a_page_repeats() {
        let page = page(
            StatusCode::BAD_REQUEST,
            "<b>",
            "\"><script>alert(1)</script>",
        );
        let body = std::str::from_utf8(page.body()).unwrap();
        assert!(!body.contains("<script") && !body.contains("<b>"), "{body}");
        let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
    }

    #[test]
    fn nothing_that_we_answer_is_kept_or_told_on_or_readable_elsewhere() {
        let answers = [
            see_other("https://login.example.net/"),
            unauthorized("no session", "sign in"),
            page(StatusCode::NOT_FOUND, "No", "Nothing here."),
            too_many(),
        ];
        for answer in answers {
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(answer.headers()[REFERRER_POLICY], "no-referrer");
            let allowed = |name: &HeaderName| name.as_str().starts_with("access-control-");
            assert!(!answer.headers().keys().any(allowed));
        }
    }
}
