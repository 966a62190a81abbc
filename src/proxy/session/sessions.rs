//! The session of a request: found, verified, remembered, and made anew while somebody works.

use std::sync::Arc;

use http::HeaderValue;
use jiff::Timestamp;

use crate::proxy::door::Fields;
use crate::proxy::session::cache::{Cache, Verified};
use crate::proxy::session::claims::{
    GROUPS_LIFE, LOGIN_LIFE, Login, SESSION_LIFE, SessionClaims, TicketClaims,
};
use crate::proxy::session::cookies::{self, CookieError, Found};
use crate::proxy::session::keys::{Keys, Ring};
use crate::proxy::session::revocation::Epochs;
use crate::proxy::session::tokens::{self, Expected, SKEW, SignError, TokenError};

/// Who is signed in, on one host of one workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Who, and since when.
    pub login: Login,
    /// The host.
    pub host: String,
    /// UID of the Workspace.
    pub workspace_uid: String,
    /// Those of the user's groups that the workspace's policy named when the session was made.
    pub groups: Vec<String>,
    /// When the session was made, in seconds since 1970.
    pub issued_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// The key that signed it: its end is the session's.
    pub key: String,
}

impl SignedIn {
    /// The user, as `spec.owner` and `spec.shared` name users.
    pub fn subject(&self) -> &str {
        &self.login.sub
    }

    /// When everything that rests on this login ends, streams too.
    pub fn login_ends_at(&self) -> i64 {
        self.login.auth_time.saturating_add(LOGIN_LIFE)
    }

    /// Whether the login still holds, for streams that outlive the session: not revoked, its key in the ring, its time
    /// not over.
    pub fn holds(&self, keys: &Keys, epochs: &Epochs, now: Timestamp) -> bool {
        now.as_second() < self.login_ends_at()
            && keys.knows(&self.key)
            && !epochs.ends_on(&self.login, &self.workspace_uid)
    }
}

/// What a request shows of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    None,
    /// Something that is none.
    Invalid(Refused),
    /// A live session for this host and workspace.
    Valid(Arc<SignedIn>),
}

/// Why what a request shows is no session of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One of them is not from us.
    #[error("the cookie stands there twice")]
    Twice,
    /// No live token of this host.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A workspace of the same name, but another.
    #[error("it is for a workspace that is gone")]
    Workspace,
    /// Ended before its time.
    #[error("the login was ended")]
    Revoked,
}

impl Refused {
    /// For counters: few values, known beforehand.
    pub fn label(self) -> &'static str {
        match self {
            Self::Twice => "twice",
            Self::Token(TokenError::Over) => "over",
            Self::Token(TokenError::Audience) => "audience",
            Self::Token(TokenError::Kind) => "kind",
            Self::Token(TokenError::Key) => "key",
            Self::Token(_) => "token",
            Self::Workspace => "workspace",
            Self::Revoked => "revoked",
        }
    }
}

/// Verifies sessions, and remembers those that it verified.
pub struct Sessions {
    keys: Arc<Keys>,
    issuer: String,
    cache: Cache,
}

impl Sessions {
    /// For an installation, named by its auth host.
    pub fn new(keys: Arc<Keys>, auth_host: &str) -> Self {
        Self {
            keys,
            issuer: auth_host.to_owned(),
            cache: Cache::default(),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Looks at the cookies of a request to a host of a workspace.
    pub fn look(
        &self,
        fields: &dyn Fields,
        host: &str,
        workspace_uid: &str,
        epochs: &Epochs,
        now: Timestamp,
    ) -> Look {
        let mut found = Found::Absent;
        fields.each("cookie", &mut |field| {
            found = found.and_in(field, cookies::SESSION);
        });
        match found {
            Found::Absent => Look::None,
            Found::Twice => Look::Invalid(Refused::Twice),
            Found::One(value) => self.verify(value, host, workspace_uid, epochs, now),
        }
    }

    fn verify(
        &self,
        token: &[u8],
        host: &str,
        workspace_uid: &str,
        epochs: &Epochs,
        now: Timestamp,
    ) -> Look {
        let ring = self.keys.load();
        let remembered = self.cache.get(token, ring.generation());
        let signed_in = match remembered {
            Some(signed_in) => signed_in,
            None => match self.read(&ring, token, host, now) {
                Ok(signed_in) => {
                    let signed_in = Arc::new(signed_in);
                    self.cache.put(
                        token,
                        Verified {
                            generation: ring.generation(),
                            signed_in: Arc::clone(&signed_in),
                        },
                    );
                    signed_in
                }
                Err(error) => return Look::Invalid(Refused::Token(error)),
            },
        };
        let end = signed_in.expires_at.min(signed_in.login_ends_at());
        // A remembered one may have been another host's, and time has gone by: all that can change is asked each time.
        let refused = if signed_in.host != host {
            Some(Refused::Token(TokenError::Audience))
        } else if signed_in.workspace_uid != workspace_uid {
            Some(Refused::Workspace)
        } else if end.saturating_add(SKEW) <= now.as_second() {
            Some(Refused::Token(TokenError::Over))
        } else if epochs.ends_on(&signed_in.login, workspace_uid) {
            Some(Refused::Revoked)
        } else {
            None
        };
        refused.map_or(Look::Valid(signed_in), Look::Invalid)
    }

    fn read(
        &self,
        ring: &Ring,
        token: &[u8],
        host: &str,
        now: Timestamp,
    ) -> Result<SignedIn, TokenError> {
        let expected = Expected {
            issuer: &self.issuer,
            audience: host,
        };
        let (claims, key) = tokens::verify::<SessionClaims>(ring, token, expected, now)?;
        Ok(SignedIn {
            login: claims.who,
            host: claims.aud,
            workspace_uid: claims.ws_uid,
            groups: claims.grp,
            issued_at: claims.iat,
            expires_at: claims.exp,
            key,
        })
    }

    /// The cookie of the session that a ticket opens.
    ///
    /// # Errors
    /// When it can't be signed, or is longer than browsers keep.
    pub fn open(&self, ticket: TicketClaims, now: Timestamp) -> Result<HeaderValue, MakeError> {
        self.cookie(
            SessionClaims {
                iss: self.issuer.clone(),
                aud: ticket.aud,
                ws_uid: ticket.ws_uid,
                who: ticket.who,
                grp: ticket.grp,
                iat: 0,
                exp: 0,
            },
            now,
        )
    }

    /// The cookie that goes on from here, in the last half of a session's life: for pages that stay open and never
    /// navigate. Only after the request was let in, by the whole decision.
    ///
    /// Never beyond the life of the login; access that rests on a group, only while the word about the group is fresh.
    pub fn renewed(
        &self,
        signed_in: &SignedIn,
        rests_on_group: bool,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let at = now.as_second();
        let half = signed_in.expires_at.saturating_sub(signed_in.issued_at) / 2;
        let groups_are_fresh = at.saturating_sub(signed_in.login.grp_at) <= GROUPS_LIFE;
        let is_late = at >= signed_in.issued_at.saturating_add(half);
        let gains = signed_in.login_ends_at() > signed_in.expires_at;
        if !is_late || !gains || (rests_on_group && !groups_are_fresh) {
            return None;
        }
        let claims = SessionClaims {
            iss: self.issuer.clone(),
            aud: signed_in.host.clone(),
            ws_uid: signed_in.workspace_uid.clone(),
            who: signed_in.login.clone(),
            grp: if groups_are_fresh {
                signed_in.groups.clone()
            } else {
                Vec::new()
            },
            iat: 0,
            exp: 0,
        };
        self.cookie(claims, now).ok()
    }

    /// Signs for as long as a session may live from now on.
    fn cookie(&self, claims: SessionClaims, now: Timestamp) -> Result<HeaderValue, MakeError> {
        let iat = now.as_second();
        let end = claims.who.auth_time.saturating_add(LOGIN_LIFE);
        let exp = iat.saturating_add(SESSION_LIFE).min(end);
        let life = u64::try_from(exp.saturating_sub(iat)).map_err(|_| MakeError::Over)?;
        let claims = SessionClaims { iat, exp, ..claims };
        let token = tokens::sign(&self.keys.load(), &claims, now)?;
        Ok(cookies::set(cookies::SESSION, &token, life)?)
    }
}

/// Why there is no cookie.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The login is older than anything may be.
    #[error("the login is over")]
    Over,
    /// It can't be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// It can't be set.
    #[error(transparent)]
    Cookie(#[from] CookieError),
}
