//! What our tokens and sealed values say. Times are seconds since 1970.
//!
//! Fields that a reader doesn't know are passed over: replicas of two versions run side by side during an upgrade. A field
//! that stands there twice is an error.

use serde::{Deserialize, Serialize};

use crate::proxy::session::groups::GroupSet;
use crate::proxy::session::keys::{Sealed, Signed};
use crate::proxy::session::sealed::Value;
use crate::proxy::session::tokens::{Claims, Common};

/// How long a session lives.
pub const SESSION_LIFE: i64 = 3600;
/// How long a ticket lives.
pub const TICKET_LIFE: i64 = 60;
/// How long a login request lives.
pub const LOGIN_REQUEST_LIFE: i64 = 5 * 60;
/// How long a link lives.
pub const LINK_LIFE: i64 = 10 * 60;
/// How long a login may take at the provider.
pub const ATTEMPT_LIFE: i64 = 10 * 60;
/// How long after a login everything that rests on it ends.
pub const LOGIN_LIFE: i64 = 12 * 3600;
/// How old the word about somebody's groups may be when access is given by it anew.
pub const GROUPS_LIFE: i64 = 3600;

/// Who signed in, when, and how the provider calls it. The same in every token of one login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user, by the configured claim of the provider: what `spec.owner` is compared with.
    pub sub: String,
    /// The login: one in each browser.
    pub sid: String,
    /// The provider's session, where it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op_sid: Option<String>,
    /// The provider's own name for the user, as [`op_subject`](crate::proxy::session::op_subject) shortens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op_sub: Option<String>,
    /// When the provider vouched for the user.
    pub auth_time: i64,
    /// When it last named the user's groups.
    pub grp_at: i64,
}

/// Of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// The installation: its auth host.
    pub iss: String,
    /// The host.
    pub aud: String,
    /// UID of the Workspace: one of the same name that comes later is another.
    pub ws_uid: String,
    /// Who.
    pub who: Login,
    /// Those of the user's groups that the workspace's policy names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grp: Vec<String>,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
}

/// Of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// The installation: its auth host.
    pub iss: String,
    /// The host that takes it.
    pub aud: String,
    /// UID of the Workspace.
    pub ws_uid: String,
    /// SHA-256 of the nonce that the browser holds, in base64url.
    pub nonce: String,
    /// Where to go then.
    pub path: String,
    /// Who.
    pub who: Login,
    /// Those of the user's groups that the workspace's policy names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grp: Vec<String>,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
}

/// Of a login request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRequestClaims {
    /// The installation: its auth host.
    pub iss: String,
    /// The auth host.
    pub aud: String,
    /// What is asked for.
    #[serde(rename = "for")]
    pub target: LoginTarget,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
}

/// Where a browser wants in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginTarget {
    /// The workspace's host.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// SHA-256 of the nonce that the browser holds, in base64url.
    pub nonce: String,
}

/// Of a link that signs in, on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkClaims {
    /// The installation: its auth host.
    pub iss: String,
    /// The auth host.
    pub aud: String,
    /// The user.
    pub sub: String,
    /// The workspace's host to go to.
    pub host: String,
    /// Its name: a link is used once.
    pub jti: String,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
}

/// A login on its way over the provider.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What the ID token must repeat.
    pub nonce: String,
    /// What proves to the provider that we began this (PKCE).
    pub verifier: String,
    /// Where to go then; none for a login on the auth host alone.
    pub target: LoginTarget,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
}

/// The session of the auth host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthSession {
    /// Who.
    pub who: Login,
    /// The user's groups. They stand behind the rest as bytes: in JSON they would not fit.
    #[serde(skip)]
    pub grp: GroupSet,
    /// The ID token, for the sign-out at the provider, where it is short enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
}

macro_rules! claims {
    ($($claims:ty => $kind:expr),* $(,)?) => {$(
        impl Claims for $claims {
            const KIND: Signed = $kind;

            fn common(&self) -> Common<'_> {
                Common { iss: &self.iss, aud: &self.aud, iat: self.iat, exp: self.exp }
            }
        }
    )*};
}

claims! {
    SessionClaims => Signed::Session,
    TicketClaims => Signed::Ticket,
    LoginRequestClaims => Signed::LoginRequest,
    LinkClaims => Signed::Link,
}

impl Value for Attempt {
    const KIND: Sealed = Sealed::Attempt;

    fn issued_at(&self) -> i64 {
        self.iat
    }

    fn expires_at(&self) -> i64 {
        self.exp
    }
}

impl Value for AuthSession {
    const KIND: Sealed = Sealed::AuthSession;

    fn tail(&self) -> &[u8] {
        self.grp.as_bytes()
    }

    fn take_tail(&mut self, bytes: &[u8]) {
        self.grp = GroupSet::from_bytes(bytes);
    }

    fn issued_at(&self) -> i64 {
        self.iat
    }

    fn expires_at(&self) -> i64 {
        self.exp
    }
}
