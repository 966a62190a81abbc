//! The auth host: takes login requests, sends browsers to the provider, takes them back.

use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;

use crate::proxy::door::{Answer, Navigation, Request};
use crate::proxy::host::Target;
use crate::proxy::login::begin::unable;
use crate::proxy::login::oidc::{Identity, Provider, pkce_challenge};
use crate::proxy::login::outside::{Place, Step};
use crate::proxy::login::{
    AUTH_SESSION, Login, Means, PROVIDER_CALLBACK_PATH, answers, attempt_name, cookie, not_now,
    nothing_here, query, removals, wrong_method,
};
use crate::proxy::session::claims::{
    ATTEMPT_LIFE, Attempt, AuthSession, GROUPS_LIFE, LOGIN_LIFE, LoginRequestClaims, LoginTarget,
};
use crate::proxy::session::cookies::{self, AUTH, STATE_PREFIX};
use crate::proxy::session::entropy::random_text;
use crate::proxy::session::groups::GroupSet;
use crate::proxy::session::tokens::{self, Expected};
use crate::proxy::session::{claims, op_subject, sealed};

/// Longer ID tokens are not kept for the sign-out at the provider: the cookie would be too long.
const LONGEST_HINT: usize = 1000;

impl Login {
    /// Takes a login request from a workspace's host.
    pub(super) async fn take_request(&self, request: &Request<'_>) -> Answer {
        if request.method != Method::GET {
            return wrong_method();
        }
        if request.navigation() != Some(Navigation::Window) {
            // A script of a workspace below the same parent domain could try: it gets no ticket.
            self.note(request, Step::Request, "no-navigation", None);
            return answers::page(
                StatusCode::FORBIDDEN,
                "Not this way",
                "Sign-in works in the window of a browser alone.",
            );
        }
        let now = self.now();
        if !self.takes_address(request.client, now) {
            self.note(request, Step::Request, "too-many", None);
            return answers::too_many();
        }
        let Some(target) = self.requested(request, now) else {
            self.note(request, Step::Request, "token", None);
            return answers::page(
                StatusCode::BAD_REQUEST,
                "This sign-in is over",
                "It took too long, or was not begun by a workspace of this installation. Open the workspace again.",
            );
        };
        let Some(place) = self.place(&target.host) else {
            self.note(request, Step::Request, "unknown-host", None);
            return nothing_here();
        };
        if !self.directory.is_fresh() {
            self.note(request, Step::Request, "stale", None);
            return not_now();
        }
        match self.auth_session(request.fields, now) {
            Some(session) if !self.asks_again(&session, &place, now) => {
                self.let_in(request, &session, target, place, now)
            }
            _ => self.to_provider(request, target, now).await,
        }
    }

    /// Where a login request wants in, if it is one of ours.
    fn requested(&self, request: &Request<'_>, now: Timestamp) -> Option<LoginTarget> {
        let pairs = query::Pairs::parse(request.query()?)?;
        let auth_host = self.site.auth_host();
        let expected = Expected {
            issuer: auth_host,
            audience: auth_host,
        };
        let ring = self.sessions.keys().load();
        let token = pairs.only("request")?.as_bytes();
        let (claims, _) = tokens::verify::<LoginRequestClaims>(&ring, token, expected, now).ok()?;
        Some(claims.target)
    }

    /// The workspace of a host, which must be written as we write it.
    pub(super) fn place(&self, host: &str) -> Option<Place> {
        let parsed = self.site.parse(host.as_bytes()).ok()?;
        let is_ours = matches!(parsed.target, Target::Workspace { .. })
            && parsed.name == host
            && parsed.port.is_none();
        if !is_ours {
            return None;
        }
        self.directory.workspace(&parsed)
    }

    /// Whether the provider is asked again although somebody is signed in: the word about their groups is old, and this
    /// workspace goes by groups.
    fn asks_again(&self, session: &AuthSession, place: &Place, now: Timestamp) -> bool {
        let age = now.as_second().saturating_sub(session.who.grp_at);
        matches!(self.means, Means::Provider(_))
            && !place.groups.is_empty()
            && place.owner != session.who.sub
            && age > GROUPS_LIFE
    }

    /// Gives the ticket.
    fn let_in(
        &self,
        request: &Request<'_>,
        session: &AuthSession,
        target: LoginTarget,
        place: Place,
        now: Timestamp,
    ) -> Answer {
        let user = session.who.sub.as_str();
        if !self.by_user.take(user, now) {
            self.note(request, Step::Request, "too-many", Some(user));
            return answers::too_many();
        }
        let answer = self.give_ticket(session, target, place, now);
        let outcome = if answer.is_some() { "ticket" } else { "failed" };
        self.note(request, Step::Request, outcome, Some(user));
        answer.unwrap_or_else(unable)
    }

    /// Begins an attempt at the provider. Each has a cookie of its own, so that tabs don't disturb each other.
    async fn to_provider(
        &self,
        request: &Request<'_>,
        target: LoginTarget,
        now: Timestamp,
    ) -> Answer {
        let Means::Provider(provider) = &self.means else {
            self.note(request, Step::Request, "link-needed", None);
            return answers::page(
                StatusCode::UNAUTHORIZED,
                "Not signed in",
                "This installation has no identity provider. Run `workstead open` with the name of the workspace: it makes a link that signs you in.",
            );
        };
        match self.attempt(request, provider, target, now).await {
            Ok((address, cookies)) => {
                self.note(request, Step::Request, "provider", None);
                answers::with_cookies(answers::see_other(&address), cookies)
            }
            Err(why) => {
                self.note_why(request, Step::Request, "failed", None, Some(why));
                provider_away()
            }
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        provider: &Provider,
        target: LoginTarget,
        now: Timestamp,
    ) -> Result<(String, Vec<HeaderValue>), String> {
        let entropy = &*self.entropy;
        let state = attempt_name(now, entropy);
        let attempt = Attempt {
            nonce: random_text::<32>(entropy),
            verifier: random_text::<32>(entropy),
            target,
            iat: now.as_second(),
            exp: now.as_second().saturating_add(ATTEMPT_LIFE),
        };
        let address = provider
            .authorization(&[
                ("redirect_uri", &self.provider_callback()),
                ("state", &state),
                ("nonce", &attempt.nonce),
                ("code_challenge", &pkce_challenge(&attempt.verifier)),
                ("code_challenge_method", "S256"),
            ])
            .await
            .map_err(|error| error.to_string())?;
        let ring = self.sessions.keys().load();
        let value = sealed::seal(&ring, &attempt, &state, now, entropy)
            .map_err(|error| error.to_string())?;
        let name = format!("{STATE_PREFIX}{state}");
        let cookie = cookies::set(&name, &value, ATTEMPT_LIFE.unsigned_abs())
            .map_err(|error| error.to_string())?;
        let mut cookies = removals(request.fields, STATE_PREFIX);
        cookies.push(cookie);
        Ok((address, cookies))
    }

    fn provider_callback(&self) -> String {
        let auth_host = self.site.origin(self.site.auth_host());
        format!("{auth_host}{PROVIDER_CALLBACK_PATH}")
    }

    /// The provider sends a browser back. First the cookie of this `state` is found, and taken away whatever comes then;
    /// then it is made sure that it is this provider that answers; only then the code is redeemed.
    pub(super) async fn take_code(&self, request: &Request<'_>) -> Answer {
        let Means::Provider(provider) = &self.means else {
            return nothing_here();
        };
        if request.method != Method::GET {
            return wrong_method();
        }
        let now = self.now();
        if !self.takes_address(request.client, now) {
            self.note(request, Step::Callback, "too-many", None);
            return answers::too_many();
        }
        let pairs = query::Pairs::parse(request.query().unwrap_or_default()).unwrap_or_default();
        let Some((attempt, removal)) = self.begun(request, &pairs, now) else {
            self.note(request, Step::Callback, "state", None);
            return over();
        };
        let answer = match self.redeem(request, provider, &pairs, &attempt).await {
            Ok(identity) => self.signed_in(request, provider, identity, attempt.target),
            Err(answer) => answer,
        };
        answers::with_cookies(answer, [removal])
    }

    /// The attempt that this browser began with this `state`, and the line that takes its cookie away.
    fn begun(
        &self,
        request: &Request<'_>,
        pairs: &query::Pairs,
        now: Timestamp,
    ) -> Option<(Attempt, HeaderValue)> {
        let state = pairs.only("state")?;
        let name = format!("{STATE_PREFIX}{state}");
        let removal = cookies::remove(&name).ok()?;
        let value = cookie(request.fields, &name).one()?;
        let ring = self.sessions.keys().load();
        let attempt = sealed::open::<Attempt>(&ring, value, state, now).ok()?;
        Some((attempt, removal))
    }

    async fn redeem(
        &self,
        request: &Request<'_>,
        provider: &Provider,
        pairs: &query::Pairs,
        attempt: &Attempt,
    ) -> Result<Identity, Answer> {
        let failed = |outcome: &'static str, why: String| {
            self.note_why(request, Step::Callback, outcome, None, Some(why));
        };
        provider
            .check_issuer(pairs.only("iss"), pairs.has("iss"))
            .await
            .map_err(|error| {
                failed("issuer", error.to_string());
                over()
            })?;
        if let Some(error) = pairs.only("error") {
            let why = pairs.only("error_description").unwrap_or_default();
            failed("refused", format!("{error}: {why}"));
            return Err(refused(&self.site.origin(&attempt.target.host), error));
        }
        let Some(code) = pairs.only("code") else {
            failed(
                "form",
                "the provider sent neither a code nor an error".to_owned(),
            );
            return Err(over());
        };
        provider
            .redeem(
                code,
                &attempt.verifier,
                &attempt.nonce,
                &self.provider_callback(),
            )
            .await
            .map_err(|error| {
                failed(error.label(), error.to_string());
                answers::page_leading_on(
                    error.status(),
                    "Sign-in failed",
                    error.advice(),
                    (&self.site.origin(&attempt.target.host), "Try again"),
                )
            })
    }

    /// Opens the session of the auth host, and gives the ticket for where the browser came from.
    fn signed_in(
        &self,
        request: &Request<'_>,
        provider: &Provider,
        identity: Identity,
        target: LoginTarget,
    ) -> Answer {
        let now = self.now();
        let session = self.session_of(provider, identity, now);
        let who = session.who.sub.clone();
        let Ok(cookie) = self.auth_cookie(&session, now) else {
            self.note(request, Step::Callback, "failed", Some(&who));
            return unable();
        };
        self.note(request, Step::Callback, "signed-in", Some(&who));
        let answer = match self.place(&target.host) {
            Some(place) if self.directory.is_fresh() => {
                self.let_in(request, &session, target, place, now)
            }
            Some(_) => not_now(),
            None => nothing_here(),
        };
        answers::with_cookies(answer, [cookie])
    }

    fn session_of(&self, provider: &Provider, identity: Identity, now: Timestamp) -> AuthSession {
        let at = now.as_second();
        let groups = identity.groups.iter().map(String::as_str);
        AuthSession {
            who: claims::Login {
                sid: random_text::<16>(&*self.entropy),
                op_sid: identity.session,
                op_sub: Some(op_subject(provider.issuer(), &identity.subject)),
                sub: identity.user,
                // Never ahead of our own clock: an entry that ends logins is compared with it.
                auth_time: at.min(identity.issued_at),
                grp_at: at,
            },
            grp: GroupSet::new(groups, |group| self.directory.names_group(group)),
            hint: Some(identity.id_token).filter(|token| token.len() <= LONGEST_HINT),
            iat: at,
            exp: at.min(identity.issued_at).saturating_add(LOGIN_LIFE),
        }
    }

    /// The cookie of a session of the auth host. Where it would be too long, the hint goes: it is a courtesy.
    pub(super) fn auth_cookie(
        &self,
        session: &AuthSession,
        now: Timestamp,
    ) -> Result<HeaderValue, super::link::Unable> {
        let ring = self.sessions.keys().load();
        let life = session.exp.saturating_sub(now.as_second());
        let life = u64::try_from(life).map_err(|_| super::link::Unable)?;
        let cookie = |session: &AuthSession| {
            let sealed = sealed::seal(&ring, session, AUTH_SESSION, now, &*self.entropy);
            let sealed = sealed.map_err(|_| super::link::Unable)?;
            cookies::set(AUTH, &sealed, life).map_err(|_| super::link::Unable)
        };
        cookie(session).or_else(|_| {
            cookie(&AuthSession {
                hint: None,
                ..session.clone()
            })
        })
    }
}

/// The attempt was another browser's, or is over.
fn over() -> Answer {
    answers::page(
        StatusCode::BAD_REQUEST,
        "This sign-in is over",
        "It was begun in another browser, was used before, or took too long. Open the workspace again.",
    )
}

fn provider_away() -> Answer {
    answers::page(
        StatusCode::SERVICE_UNAVAILABLE,
        "Sign-in is not possible right now",
        "The identity provider does not answer as it should. Try again in a minute; if it stays so, tell your administrator: the proxy's log says what is wrong.",
    )
}

/// The provider said no. `error` is a code (RFC 6749), and is shown only where it is one.
fn refused(origin: &str, error: &str) -> Answer {
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let code = if error.len() <= 40 && error.bytes().all(is_code) {
        error
    } else {
        "an unknown error"
    };
    answers::page_leading_on(
        StatusCode::FORBIDDEN,
        "The identity provider did not sign you in",
        &format!("It answered: {code}."),
        (origin, "Try again"),
    )
}
