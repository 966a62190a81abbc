//! The login of one machine, without a provider: a link from whoever can read the key ring, good for ten minutes, once.
//!
//! It works over the listener of this machine alone, which no other machine reaches.

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::model::entropy::Entropy;
use crate::proxy::door::{Answer, Request};
use crate::proxy::host::Site;
use crate::proxy::login::begin::unable;
use crate::proxy::login::outside::{Step, Use};
use crate::proxy::login::{LOGIN_PATH, Login, answers, not_now, query, wrong_method};
use crate::proxy::session::claims::{self, AuthSession, LINK_LIFE, LOGIN_LIFE, LinkClaims};
use crate::proxy::session::entropy::random_text;
use crate::proxy::session::groups::GroupSet;
use crate::proxy::session::keys::Ring;
use crate::proxy::session::tokens::{self, Expected, SKEW, SignError};

/// A cookie could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to make the cookie of a login")]
pub struct Unable;

/// A link that signs a user in once, and leads to a workspace's host.
///
/// # Errors
/// When there is no key.
pub fn mint_link(
    ring: &Ring,
    site: &Site,
    workspace_host: &str,
    user: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<String, SignError> {
    let iat = now.as_second();
    let claims = LinkClaims {
        iss: site.auth_host().to_owned(),
        aud: site.auth_host().to_owned(),
        sub: user.to_owned(),
        host: workspace_host.to_owned(),
        jti: random_text::<16>(entropy),
        iat,
        exp: iat.saturating_add(LINK_LIFE),
    };
    let token = tokens::sign(ring, &claims, now)?;
    let address = format!("{}{LOGIN_PATH}", site.origin(site.auth_host()));
    Ok(query::with_query(&address, &[("link", &token)]))
}

/// The name under which a link is known as used.
fn digest(claims: &LinkClaims) -> String {
    let digest = Sha256::digest(claims.jti.as_bytes());
    hex::encode(digest).chars().take(40).collect()
}

/// When nobody could use it any more, whatever their clock says.
fn counts_until(claims: &LinkClaims) -> Timestamp {
    let end = Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX);
    end.checked_add(SignedDuration::from_secs(2 * SKEW))
        .unwrap_or(Timestamp::MAX)
}

impl Login {
    /// Takes a link: opens the session of the auth host, and sends the browser to the workspace, where an ordinary login
    /// begins.
    pub(super) async fn take_link(&self, request: &Request<'_>) -> Answer {
        if request.method != Method::GET {
            return wrong_method();
        }
        if !request.client.is_insecure_local {
            self.note(request, Step::Link, "elsewhere", None);
            return over();
        }
        let now = self.now();
        if !self.takes_address(request.client, now) {
            self.note(request, Step::Link, "too-many", None);
            return answers::too_many();
        }
        if is_looking_ahead(request) {
            self.note(request, Step::Link, "no-navigation", None);
            return answers::page(
                StatusCode::FORBIDDEN,
                "Not this way",
                "Open the link in the window of a browser.",
            );
        }
        let Some(claims) = self.link(request, now) else {
            self.note(request, Step::Link, "token", None);
            return over();
        };
        if !self.directory.is_fresh() {
            self.note(request, Step::Link, "stale", Some(&claims.sub));
            return not_now();
        }
        match self
            .effects
            .use_link(&digest(&claims), counts_until(&claims))
            .await
        {
            Ok(Use::First) => self.sign_in_by(request, &claims, now),
            Ok(Use::Again) => {
                self.note(request, Step::Link, "used", Some(&claims.sub));
                over()
            }
            Err(error) => {
                let why = Some(error.to_string());
                self.note_why(request, Step::Link, "failed", Some(&claims.sub), why);
                not_now()
            }
        }
    }

    fn link(&self, request: &Request<'_>, now: Timestamp) -> Option<LinkClaims> {
        let pairs = query::Pairs::parse(request.query()?)?;
        let auth_host = self.site.auth_host();
        let expected = Expected {
            issuer: auth_host,
            audience: auth_host,
        };
        let ring = self.sessions.keys().load();
        let token = pairs.only("link")?.as_bytes();
        let (claims, _) = tokens::verify::<LinkClaims>(&ring, token, expected, now).ok()?;
        Some(claims)
    }

    fn sign_in_by(&self, request: &Request<'_>, claims: &LinkClaims, now: Timestamp) -> Answer {
        let at = now.as_second();
        let session = AuthSession {
            who: claims::Login {
                sub: claims.sub.clone(),
                sid: random_text::<16>(&*self.entropy),
                op_sid: None,
                op_sub: None,
                auth_time: at,
                grp_at: at,
            },
            grp: GroupSet::none(),
            hint: None,
            iat: at,
            exp: at.saturating_add(LOGIN_LIFE),
        };
        let is_workspace = self.place(&claims.host).is_some();
        let Ok(cookie) = self.auth_cookie(&session, now) else {
            self.note(request, Step::Link, "failed", Some(&claims.sub));
            return unable();
        };
        self.note(request, Step::Link, "signed-in", Some(&claims.sub));
        let answer = if is_workspace {
            answers::see_other(&format!("{}/", self.site.origin(&claims.host)))
        } else {
            answers::page(
                StatusCode::NOT_FOUND,
                "No such workspace",
                "You are signed in, but the workspace of this link is not there, or not ready for the proxy yet. Open its address again in a moment.",
            )
        };
        answers::with_cookies(answer, [cookie])
    }
}

/// A browser that fetches pages before somebody asks for them would use the link up; so would a script or a frame.
fn is_looking_ahead(request: &Request<'_>) -> bool {
    let mut ahead = false;
    for name in ["sec-purpose", "purpose", "x-moz"] {
        request.fields.each(name, &mut |_| ahead = true);
    }
    request
        .fields
        .each("sec-fetch-dest", &mut |value| ahead |= value != b"document");
    ahead
}

fn over() -> Answer {
    answers::page(
        StatusCode::FORBIDDEN,
        "This link does not sign in",
        "A link works once, for ten minutes, on the machine that it was made for. Run `workstead open` again.",
    )
}
