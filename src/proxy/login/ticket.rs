//! From the auth host to the workspace's host: the ticket, good for a minute, on one host, in one browser, once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::proxy::door::{Answer, Request};
use crate::proxy::login::outside::{Place, Step};
use crate::proxy::login::{Login, TICKET_PATH, answers, cookies_below, query, wrong_method};
use crate::proxy::session::claims::{AuthSession, LoginTarget, TICKET_LIFE, TicketClaims};
use crate::proxy::session::cookies::{self, NONCE_PREFIX};
use crate::proxy::session::tokens::{self, Expected};

/// What tokens carry of a nonce.
pub(super) fn nonce_digest(nonce: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(nonce))
}

impl Login {
    /// Sends a browser that is signed in at the auth host back to where it wants in.
    pub(super) fn give_ticket(
        &self,
        session: &AuthSession,
        target: LoginTarget,
        place: Place,
        now: Timestamp,
    ) -> Option<Answer> {
        let iat = now.as_second();
        let claims = TicketClaims {
            iss: self.site.auth_host().to_owned(),
            aud: target.host,
            ws_uid: place.uid,
            nonce: target.nonce,
            path: target.path,
            who: session.who.clone(),
            grp: session.grp.among(place.groups.iter().map(String::as_str)),
            iat,
            exp: iat.saturating_add(TICKET_LIFE),
        };
        let ticket = tokens::sign(&self.sessions.keys().load(), &claims, now).ok()?;
        let callback = format!("{}{TICKET_PATH}", self.site.origin(&claims.aud));
        let address = query::with_query(&callback, &[("ticket", &ticket)]);
        Some(answers::see_other(&address))
    }

    /// Takes a ticket on the workspace's host, and opens the session.
    ///
    /// Whatever is wrong with it, the answer sets no cookie: what was begun in another browser changes nothing in this one.
    pub(super) fn take_ticket(&self, request: &Request<'_>, place: &Place) -> Answer {
        if request.method != Method::GET {
            return wrong_method();
        }
        let now = self.now();
        if !self.takes_address(request.client, now) {
            self.note(request, Step::Ticket, "too-many", None);
            return answers::too_many();
        }
        match self.check_ticket(request, place, now) {
            Ok((ticket, nonce_name)) => self.open_session(request, ticket, &nonce_name, now),
            Err(outcome) => {
                self.note(request, Step::Ticket, outcome, None);
                answers::page_leading_on(
                    StatusCode::BAD_REQUEST,
                    "This sign-in is over",
                    "It was begun in another browser, was used before, or took too long.",
                    ("/", "Open the workspace"),
                )
            }
        }
    }

    /// The ticket of a request, and the name of the cookie whose nonce it was made for.
    fn check_ticket(
        &self,
        request: &Request<'_>,
        place: &Place,
        now: Timestamp,
    ) -> Result<(TicketClaims, String), &'static str> {
        let pairs = query::Pairs::parse(request.query().unwrap_or_default());
        let pairs = pairs.ok_or("form")?;
        let ticket = pairs.only("ticket").ok_or("form")?;
        let expected = Expected {
            issuer: self.site.auth_host(),
            audience: &request.host.name,
        };
        let ring = self.sessions.keys().load();
        let (ticket, _) = tokens::verify::<TicketClaims>(&ring, ticket.as_bytes(), expected, now)
            .map_err(|_| "token")?;
        if ticket.ws_uid != place.uid {
            return Err("workspace");
        }
        let nonces = cookies_below(request.fields, NONCE_PREFIX);
        let (name, _) = nonces
            .iter()
            .find(|(_, nonce)| nonce_digest(nonce) == ticket.nonce)
            .ok_or("nonce")?;
        let name = std::str::from_utf8(name).map_err(|_| "nonce")?;
        if self.directory.epochs().ends_on(&ticket.who, &place.uid) {
            return Err("revoked");
        }
        Ok((ticket, format!("{NONCE_PREFIX}{name}")))
    }

    fn open_session(
        &self,
        request: &Request<'_>,
        ticket: TicketClaims,
        nonce_name: &str,
        now: Timestamp,
    ) -> Answer {
        let user = ticket.who.sub.clone();
        // The path was checked before it was signed; a check more costs nothing.
        let path = query::return_path(&ticket.path).to_owned();
        let made = self.sessions.open(ticket, now);
        let (Ok(session), Ok(removal)) = (made, cookies::remove(nonce_name)) else {
            self.note(request, Step::Ticket, "failed", Some(&user));
            return super::begin::unable();
        };
        self.note(request, Step::Ticket, "signed-in", Some(&user));
        let address = format!("{}{path}", self.site.origin(&request.host.name));
        answers::with_cookies(answers::see_other(&address), [session, removal])
    }
}
