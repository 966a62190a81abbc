//! The end of a login: by the user, in this browser or everywhere; at the provider too; and when the provider says so.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::proxy::door::{Answer, Request};
use crate::proxy::login::answers::Button;
use crate::proxy::login::outside::Step;
use crate::proxy::login::{
    Login, Means, SIGNED_OUT_PATH, answers, nothing_here, query, wrong_method,
};
use crate::proxy::session::claims;
use crate::proxy::session::cookies::{self, AUTH, SESSION};
use crate::proxy::session::revocation::{Entry, Whose};
use crate::proxy::session::{SignedIn, op_subject};

/// How long a sign-out waits for its own entry to come back by the watch, so that the next page knows of it.
const COMES_BACK: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOKS: Duration = Duration::from_millis(20);

impl Login {
    /// Sign-out on a workspace's host: ends the login of this browser, on all hosts.
    ///
    /// Everywhere else than in this browser it ends on the auth host alone: what runs in a workspace could press the
    /// button here.
    pub(super) async fn sign_out_here(
        &self,
        request: &Request<'_>,
        signed_in: Option<&SignedIn>,
    ) -> Answer {
        match *request.method {
            Method::GET => match signed_in {
                Some(signed_in) => self.ask_here(signed_in),
                None => not_signed_in(),
            },
            Method::POST => {
                let Some(signed_in) = signed_in else {
                    return not_signed_in();
                };
                if !is_pressed(request, &self.site.origin(&request.host.name)) {
                    return self.not_by_us(request);
                }
                let entries = [Entry::new(
                    Whose::Login(signed_in.login.sid.clone()),
                    self.now(),
                )];
                if let Err(answer) = self.end(request, &signed_in.login, &entries).await {
                    return answer;
                }
                let next = format!(
                    "{}{SIGNED_OUT_PATH}",
                    self.site.origin(self.site.auth_host())
                );
                let removal = cookies::remove(SESSION).ok();
                answers::with_cookies(answers::see_other(&next), removal)
            }
            _ => wrong_method(),
        }
    }

    fn ask_here(&self, signed_in: &SignedIn) -> Answer {
        let text = format!(
            "You are signed in as {}. Signing out ends this in all windows of this browser.",
            signed_in.subject()
        );
        let button = Button {
            scope: "here",
            label: "Sign out",
        };
        let mut leads_to = vec![self.site.origin(self.site.auth_host())];
        leads_to.extend(
            self.provider()
                .and_then(|provider| provider.end_session_origin()),
        );
        answers::form("Sign out", &text, &[button], &leads_to)
    }

    /// Sign-out on the auth host: of this browser, or of every one.
    pub(super) async fn sign_out_at_auth_host(&self, request: &Request<'_>) -> Answer {
        let now = self.now();
        let Some(session) = self.auth_session(request.fields, now) else {
            return not_signed_in();
        };
        let who = &session.who;
        match *request.method {
            Method::GET => {
                let text = format!("You are signed in as {}.", who.sub);
                let buttons = [
                    Button {
                        scope: "here",
                        label: "Sign out in this browser",
                    },
                    Button {
                        scope: "everywhere",
                        label: "Sign out everywhere",
                    },
                ];
                let provider = self.provider();
                let leads_to = provider.and_then(|provider| provider.end_session_origin());
                answers::form("Sign out", &text, &buttons, leads_to.as_slice())
            }
            Method::POST => {
                if !is_pressed(request, &self.site.origin(self.site.auth_host())) {
                    return self.not_by_us(request);
                }
                let mut entries = vec![Entry::new(Whose::Login(who.sid.clone()), now)];
                if scope(request.body) == Some("everywhere") {
                    entries.push(Entry::new(Whose::User(who.sub.clone()), now));
                }
                if let Err(answer) = self.end(request, who, &entries).await {
                    return answer;
                }
                let next = self.after_sign_out(session.hint.as_deref());
                let removal = cookies::remove(AUTH).ok();
                answers::with_cookies(answers::see_other(&next), removal)
            }
            _ => wrong_method(),
        }
    }

    /// Where somebody ends up who signed out: takes the cookie away, and signs out at the provider on the way.
    pub(super) async fn signed_out(&self, request: &Request<'_>) -> Answer {
        if request.method != Method::GET {
            return wrong_method();
        }
        let now = self.now();
        let Some(session) = self.any_auth_session(request.fields, now) else {
            return answers::page(
                StatusCode::OK,
                "You are signed out",
                "You can close this window.",
            );
        };
        if !self.comes_to_end(&session.who).await {
            return answers::see_other(super::SIGN_OUT_PATH);
        }
        let next = self.after_sign_out(session.hint.as_deref());
        answers::with_cookies(answers::see_other(&next), cookies::remove(AUTH).ok())
    }

    /// The page of the provider for signing out, which leads back; or straight to the page that says so.
    fn after_sign_out(&self, hint: Option<&str>) -> String {
        let auth_host = self.site.origin(self.site.auth_host());
        let back = format!("{auth_host}{SIGNED_OUT_PATH}");
        self.provider()
            .and_then(|provider| provider.end_session(hint, &back))
            .unwrap_or(back)
    }

    /// Writes entries, and waits until this replica knows of them.
    async fn end(
        &self,
        request: &Request<'_>,
        login: &claims::Login,
        entries: &[Entry],
    ) -> Result<(), Answer> {
        if let Err(error) = self.effects.revoke(entries).await {
            let why = Some(error.to_string());
            self.note_why(request, Step::SignOut, "failed", Some(&login.sub), why);
            return Err(answers::page(
                StatusCode::SERVICE_UNAVAILABLE,
                "You are still signed in",
                "The sign-out could not be written down. Try again in a minute; if it stays so, tell your administrator.",
            ));
        }
        let outcome = if entries.len() > 1 {
            "everywhere"
        } else {
            "signed-out"
        };
        self.note(request, Step::SignOut, outcome, Some(&login.sub));
        self.comes_to_end(login).await;
        Ok(())
    }

    /// Whether this replica knows that a login was ended, now or in a moment.
    async fn comes_to_end(&self, login: &claims::Login) -> bool {
        let known = async {
            while !self.directory.epochs().ends(login) {
                tokio::time::sleep(LOOKS).await;
            }
        };
        tokio::time::timeout(COMES_BACK, known).await.is_ok()
    }

    fn not_by_us(&self, request: &Request<'_>) -> Answer {
        self.note(request, Step::SignOut, "foreign", None);
        answers::page(
            StatusCode::FORBIDDEN,
            "Not this way",
            "Signing out works from the page of this address alone.",
        )
    }

    /// The provider says that somebody signed out there (OpenID Connect Back-Channel Logout). Any replica takes it.
    pub(super) async fn back_channel(&self, request: &Request<'_>) -> Answer {
        let Means::Provider(provider) = &self.means else {
            return nothing_here();
        };
        if request.method != Method::POST {
            return wrong_method();
        }
        let refused = |why: String| {
            self.note_why(request, Step::BackChannel, "refused", None, Some(why));
            let body = json!({"error": "invalid_request"});
            answers::json(StatusCode::BAD_REQUEST, &body)
        };
        let form = std::str::from_utf8(request.body).ok();
        let form = form.and_then(query::Pairs::parse).unwrap_or_default();
        let Some(token) = form.only("logout_token") else {
            return refused("there is no logout_token".to_owned());
        };
        let signed_out = match provider.signed_out(token).await {
            Ok(signed_out) => signed_out,
            Err(error) => return refused(error.to_string()),
        };
        // As of when the provider said so: a token that is sent once more ends no later login.
        let at = Timestamp::from_second(signed_out.issued_at).unwrap_or_else(|_| self.now());
        let whose = match (signed_out.session, signed_out.subject) {
            (Some(session), _) => Whose::ProviderSession(session),
            (None, Some(subject)) => Whose::ProviderUser(op_subject(provider.issuer(), &subject)),
            (None, None) => return refused("it names nobody".to_owned()),
        };
        match self
            .effects
            .revoke(&[Entry::new(whose, at.min(self.now()))])
            .await
        {
            Ok(()) => {
                self.note(request, Step::BackChannel, "signed-out", None);
                answers::json(StatusCode::OK, &json!({}))
            }
            Err(error) => {
                let why = Some(error.to_string());
                self.note_why(request, Step::BackChannel, "failed", None, why);
                let body = json!({"error": "temporarily_unavailable"});
                answers::json(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
        }
    }
}

/// The scope that a form names.
fn scope(body: &[u8]) -> Option<&'static str> {
    let pairs = query::Pairs::parse(std::str::from_utf8(body).ok()?)?;
    (pairs.only("scope")? == "everywhere").then_some("everywhere")
}

/// Whether somebody pressed the button of our own page: a navigation from the same origin, with a person behind it.
fn is_pressed(request: &Request<'_>, origin: &str) -> bool {
    let only = |name: &str| request.only(name);
    match only("sec-fetch-site") {
        Some(site) => {
            site == b"same-origin"
                && only("sec-fetch-mode") == Some(b"navigate")
                && only("sec-fetch-dest") == Some(b"document")
                && only("sec-fetch-user") == Some(b"?1")
        }
        None => only("origin") == Some(origin.as_bytes()),
    }
}

fn not_signed_in() -> Answer {
    answers::page(
        StatusCode::OK,
        "You are not signed in",
        "There is nothing to sign out of in this browser.",
    )
}
