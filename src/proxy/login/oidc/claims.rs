//! What ID tokens and logout tokens must say, and what is taken of them.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::proxy::session::tokens::SKEW;

/// An ID token that was made longer ago was not made for this login: attempts live for 10 minutes.
const OLDEST: i64 = 10 * 60;
/// Longer names of users would not fit into cookies.
const LONGEST_USER: usize = 256;
/// Longer names of sessions or users of the provider would not either.
const LONGEST_NAME: usize = 255;
/// What makes a token a logout token.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What a token must be for.
#[derive(Clone, Copy, Debug)]
pub struct For<'a> {
    /// The issuer.
    pub issuer: &'a str,
    /// Our name there.
    pub client_id: &'a str,
}

/// Why the claims of a token are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Somebody else's token.
    #[error("it is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("it is for another client")]
    Audience,
    /// Its time.
    #[error("its times ({0}) are over, to come or missing")]
    Times(&'static str),
    /// For another login.
    #[error("it was made for another login")]
    Nonce,
    /// It names nobody, or with a name too long.
    #[error("its claim '{0}' is missing, empty or too long")]
    Missing(String),
    /// Anybody can write any address there.
    #[error("the address in its claim 'email' is not verified ('email_verified' is not true)")]
    Unverified,
    /// No logout token.
    #[error("it is no logout token: {0}")]
    NoLogout(&'static str),
}

/// Checks what every token must say, but when it ends.
fn check_common(claims: &Map<String, Value>, whose: For<'_>) -> Result<(), ClaimsError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(whose.issuer) {
        return Err(ClaimsError::Issuer);
    }
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let azp = claims.get("azp");
    let is_ours = |value: &Value| value.as_str() == Some(whose.client_id);
    let named = audiences.contains(&whose.client_id);
    if !named || (audiences.len() > 1 && azp.is_none()) || azp.is_some_and(|azp| !is_ours(azp)) {
        return Err(ClaimsError::Audience);
    }
    Ok(())
}

fn check_end(claims: &Map<String, Value>, now: i64) -> Result<(), ClaimsError> {
    match time(claims, "exp") {
        Some(exp) if exp.saturating_add(SKEW) > now => Ok(()),
        _ => Err(ClaimsError::Times("exp")),
    }
}

/// When it was made: lately, and not in the future.
fn issued_at(claims: &Map<String, Value>, now: i64) -> Result<i64, ClaimsError> {
    let iat = time(claims, "iat").ok_or(ClaimsError::Times("iat"))?;
    let is_late = iat <= now.saturating_add(SKEW);
    let is_young = iat.saturating_add(OLDEST + SKEW) > now;
    if is_late && is_young {
        Ok(iat)
    } else {
        Err(ClaimsError::Times("iat"))
    }
}

/// Checks an ID token of this login, and gives when it was made and whose it is at the provider.
///
/// # Errors
/// When it is not one.
pub fn check_id_token(
    claims: &Map<String, Value>,
    whose: For<'_>,
    nonce: &str,
    now: Timestamp,
) -> Result<(i64, String), ClaimsError> {
    let now = now.as_second();
    check_common(claims, whose)?;
    check_end(claims, now)?;
    let iat = issued_at(claims, now)?;
    if time(claims, "nbf").is_some_and(|nbf| nbf > now.saturating_add(SKEW)) {
        return Err(ClaimsError::Times("nbf"));
    }
    if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
        return Err(ClaimsError::Nonce);
    }
    Ok((iat, name(claims, "sub")?))
}

/// Whom a logout token signs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOut {
    /// One session.
    pub session: Option<String>,
    /// The user, by the provider's name.
    pub subject: Option<String>,
    /// The token's own name.
    pub id: String,
    /// When that was.
    pub issued_at: i64,
}

/// Checks a logout token.
///
/// # Errors
/// When it is not one.
pub fn check_logout_token(
    claims: &Map<String, Value>,
    whose: For<'_>,
    now: Timestamp,
) -> Result<SignedOut, ClaimsError> {
    let now = now.as_second();
    check_common(claims, whose)?;
    // Older drafts have no exp: the age bounds it all the same.
    if claims.contains_key("exp") {
        check_end(claims, now)?;
    }
    let issued_at = issued_at(claims, now)?;
    let event = claims.get("events").and_then(|all| all.get(LOGOUT_EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(ClaimsError::NoLogout("no event of a logout"));
    }
    if claims.contains_key("nonce") {
        return Err(ClaimsError::NoLogout("it has a nonce, as ID tokens have"));
    }
    let optional = |claim: &str| match claims.contains_key(claim) {
        true => name(claims, claim).map(Some),
        false => Ok(None),
    };
    let (session, subject) = (optional("sid")?, optional("sub")?);
    if session.is_none() && subject.is_none() {
        return Err(ClaimsError::NoLogout("it names neither sid nor sub"));
    }
    Ok(SignedOut {
        session,
        subject,
        id: name(claims, "jti")?,
        issued_at,
    })
}

/// The user, by the configured claim, byte for byte.
///
/// # Errors
/// When the claim is not there, or is an address that nobody verified.
pub fn user(claims: &Map<String, Value>, claim: &str) -> Result<String, ClaimsError> {
    let missing = || ClaimsError::Missing(claim.to_owned());
    let user = claims.get(claim).and_then(Value::as_str);
    let user = user.ok_or_else(missing)?;
    if user.is_empty() || user.len() > LONGEST_USER || user.chars().any(char::is_control) {
        return Err(missing());
    }
    if claim == "email" {
        let verified = claims.get("email_verified");
        // Some providers write it as text.
        let is_true = |value: &Value| value == &Value::Bool(true) || value == "true";
        if !verified.is_some_and(is_true) {
            return Err(ClaimsError::Unverified);
        }
    }
    Ok(user.to_owned())
}

/// The groups; none where the claims don't say: they are elsewhere, or too many for a token.
pub fn groups(claims: &Map<String, Value>, claim: &str) -> Option<Vec<String>> {
    match claims.get(claim)? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => Some(
            many.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        _ => None,
    }
}

/// The provider's session.
pub fn session(claims: &Map<String, Value>) -> Option<String> {
    name(claims, "sid").ok()
}

fn name(claims: &Map<String, Value>, claim: &str) -> Result<String, ClaimsError> {
    let found = claims.get(claim).and_then(Value::as_str);
    found
        .filter(|name| (1..=LONGEST_NAME).contains(&name.len()))
        .map(str::to_owned)
        .ok_or_else(|| ClaimsError::Missing(claim.to_owned()))
}

/// Seconds since 1970. Some providers write fractions.
fn time(claims: &Map<String, Value>, claim: &str) -> Option<i64> {
    let value = claims.get(claim)?;
    #[allow(clippy::cast_possible_truncation)]
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds as i64))
}
