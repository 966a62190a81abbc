//! The first step, on the workspace's host: a request that shows no session.

use http::{HeaderValue, StatusCode};

use crate::proxy::door::{Answer, Navigation, Request};
use crate::proxy::login::outside::Step;
use crate::proxy::login::ticket::nonce_digest;
use crate::proxy::login::{LOGIN_PATH, Login, answers, attempt_name, query, removals};
use crate::proxy::session::claims::{
    ATTEMPT_LIFE, LOGIN_REQUEST_LIFE, LoginRequestClaims, LoginTarget,
};
use crate::proxy::session::cookies::{self, NONCE_PREFIX};
use crate::proxy::session::entropy::random_text;
use crate::proxy::session::{Look, Refused, tokens};

impl Login {
    /// Answers a request to a workspace's host that needs a session and has none. `look` is what it showed.
    ///
    /// A top-level navigation goes to the auth host, with a nonce in its cookies that ties what comes back to this
    /// browser. All else gets 401: a program or a script would follow a redirect to a page that it can't use.
    pub fn begin(&self, request: &Request<'_>, look: &Look) -> Answer {
        // A frame shows no sign-in.
        if matches!(request.navigation(), None | Some(Navigation::Frame)) {
            self.note(request, Step::Begin, "unauthorized", None);
            let next = format!(
                "open {}/ in a browser and sign in",
                self.site.origin(&request.host.name)
            );
            return answers::unauthorized("this request needs a session", &next);
        }
        if *look == Look::Invalid(Refused::Twice) {
            // A login would set one more cookie of the name, and end here again.
            self.note(request, Step::Begin, "twice", None);
            let page = answers::page(
                StatusCode::BAD_REQUEST,
                "Two sessions at once",
                "Another site has set a cookie with the name of our session. Your browser was told to forget the cookies of this site: load the page again.",
            );
            return answers::clearing_cookies(page);
        }
        match self.to_auth_host(request) {
            Some((address, cookies)) => {
                self.note(request, Step::Begin, "sent", None);
                answers::with_cookies(answers::see_other(&address), cookies)
            }
            None => {
                self.note(request, Step::Begin, "failed", None);
                unable()
            }
        }
    }

    /// The address of the auth host with a login request, and the cookies that go with it.
    fn to_auth_host(&self, request: &Request<'_>) -> Option<(String, Vec<HeaderValue>)> {
        let now = self.now();
        let entropy = &*self.entropy;
        let nonce = random_text::<32>(entropy);
        let name = format!("{NONCE_PREFIX}{}", attempt_name(now, entropy));
        let iat = now.as_second();
        let claims = LoginRequestClaims {
            iss: self.site.auth_host().to_owned(),
            aud: self.site.auth_host().to_owned(),
            target: LoginTarget {
                host: request.host.name.clone(),
                path: query::return_path(request.target).to_owned(),
                nonce: nonce_digest(nonce.as_bytes()),
            },
            iat,
            exp: iat.saturating_add(LOGIN_REQUEST_LIFE),
        };
        let signed = tokens::sign(&self.sessions.keys().load(), &claims, now).ok()?;
        let auth_host = self.site.origin(self.site.auth_host());
        let address =
            query::with_query(&format!("{auth_host}{LOGIN_PATH}"), &[("request", &signed)]);
        let mut cookies = removals(request.fields, NONCE_PREFIX);
        cookies.push(cookies::set(&name, &nonce, ATTEMPT_LIFE.unsigned_abs()).ok()?);
        Some((address, cookies))
    }
}

/// Something of ours failed that never should.
pub(super) fn unable() -> Answer {
    answers::page(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Sign-in failed",
        "The sign-in could not be prepared. Try again; if it happens again, tell your administrator.",
    )
}
