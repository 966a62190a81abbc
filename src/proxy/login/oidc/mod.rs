//! The provider (OpenID Connect): who it is, its keys, redeeming codes.
//!
//! A client of our own: it asks four addresses, and everything that it takes or refuses stands in these files. `fetch`
//! asks; `metadata`, `jwks` and `claims` are pure.

pub mod claims;
pub mod fetch;
pub mod jwks;
pub mod metadata;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use zeroize::{Zeroize as _, Zeroizing};

use crate::model::clock::Clock;
use crate::proxy::config::Oidc;
use crate::proxy::login::query;

use claims::{ClaimsError, For, SignedOut};
use fetch::{Ask, Client, ClientError, FetchError};
use jwks::{KeySet, SignatureError, TokenType};
use metadata::{ClientAuth, Metadata, MetadataError};

/// How often the keys are fetched again for keys that we don't know, in seconds: anybody can name one.
const REFETCH_AFTER: i64 = 60;

/// Who signed in, as the provider says.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user, by the configured claim.
    pub user: String,
    /// The user, by the provider's own name.
    pub subject: String,
    /// The provider's session.
    pub session: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// When the provider vouched for it.
    pub issued_at: i64,
    /// The token that says so.
    pub id_token: String,
}

/// Why the provider is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It can't be asked.
    #[error("failed to ask the identity provider: {}", chain(.0))]
    Fetch(#[from] FetchError),
    /// What it says of itself.
    #[error("the identity provider can't be used: {0}")]
    Metadata(#[from] MetadataError),
    /// Its keys are none.
    #[error("the keys of the identity provider are no JSON Web Key Set")]
    Keys,
    /// Somebody else answered.
    #[error("the answer came from another issuer than the one that was asked")]
    OtherIssuer,
    /// It redeemed a code for something else.
    #[error("the identity provider gave no ID token for the code")]
    NoIdToken,
    /// The signature.
    #[error("its token is refused: {0}")]
    Signature(#[from] SignatureError),
    /// The claims.
    #[error("its token is refused: {0}")]
    Claims(#[from] ClaimsError),
    /// What it says elsewhere is about somebody else.
    #[error("what the identity provider says of the user is about another one")]
    OtherUser,
}

/// An error with what it comes from.
fn chain(error: &FetchError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl ProviderError {
    /// For counters: few values, known beforehand.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Fetch(_) => "provider",
            Self::Metadata(_) => "metadata",
            Self::Keys => "keys",
            Self::OtherIssuer => "issuer",
            Self::NoIdToken => "no-token",
            Self::Signature(_) => "signature",
            Self::Claims(ClaimsError::Unverified) => "unverified",
            Self::Claims(ClaimsError::Missing(_)) => "no-identity",
            Self::Claims(_) => "claims",
            Self::OtherUser => "other-user",
        }
    }

    /// What the browser is answered.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Fetch(_) | Self::Metadata(_) | Self::Keys => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// What somebody can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Fetch(_) | Self::Metadata(_) | Self::Keys => {
                "The identity provider does not answer as it should. Try again in a minute; if it stays so, tell your administrator: the proxy's log says what is wrong."
            }
            Self::Claims(ClaimsError::Unverified) => {
                "The identity provider has not verified your e-mail address. Verify it there, then try again."
            }
            Self::Claims(ClaimsError::Missing(_)) => {
                "The identity provider does not say who you are in the way that this installation needs. Tell your administrator: the proxy's log names the claim."
            }
            _ => {
                "What the identity provider answered is not for this sign-in. Try again; if it stays so, tell your administrator."
            }
        }
    }
}

/// What proves that a code is redeemed by whoever asked for it (RFC 7636, S256).
pub fn pkce_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// The provider.
pub struct Provider {
    config: Oidc,
    client: Client,
    clock: Arc<dyn Clock>,
    metadata: ArcSwapOption<Metadata>,
    keys: ArcSwapOption<KeySet>,
    /// When the keys were last asked for. Held while they are: one asks, the others wait for what it gets.
    asked_at: Mutex<Option<Timestamp>>,
}

impl Provider {
    /// A provider that was not asked yet. `authorities` are the bytes of the file that the configuration names.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(
        config: Oidc,
        authorities: Option<&[u8]>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        let takes_plain = takes_plain(&config);
        Ok(Self {
            client: Client::new(authorities, takes_plain)?,
            config,
            clock,
            metadata: ArcSwapOption::empty(),
            keys: ArcSwapOption::empty(),
            asked_at: Mutex::new(None),
        })
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        self.config.issuer.as_str()
    }

    /// Whether a login could begin: metadata and keys are there.
    pub fn is_loaded(&self) -> bool {
        self.metadata.load().is_some() && self.keys.load().is_some()
    }

    /// Asks the provider for its metadata and keys anew. For the start, and then from time to time.
    ///
    /// # Errors
    /// When it does not answer, or can't be used. What was known before stays.
    pub async fn load(&self) -> Result<(), ProviderError> {
        let issuer = self.issuer();
        let address = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let text = self.client.ask(&address, Ask::Get { bearer: None }).await?;
        let assume = self.config.assume_s256;
        let metadata = Metadata::parse(&text, issuer, assume, takes_plain(&self.config))?;
        let metadata = Arc::new(metadata);
        self.load_keys(&metadata).await?;
        self.metadata.store(Some(metadata));
        Ok(())
    }

    async fn load_keys(&self, metadata: &Metadata) -> Result<Arc<KeySet>, ProviderError> {
        let ask = Ask::Get { bearer: None };
        let text = self.client.ask(&metadata.jwks_uri, ask).await?;
        let keys = Arc::new(KeySet::parse(&text).ok_or(ProviderError::Keys)?);
        self.keys.store(Some(Arc::clone(&keys)));
        Ok(keys)
    }

    /// The metadata, asked for where it is not there yet.
    async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        if let Some(metadata) = self.metadata.load_full() {
            return Ok(metadata);
        }
        let mut asked_at = self.asked_at.lock().await;
        if let Some(metadata) = self.metadata.load_full() {
            return Ok(metadata);
        }
        *asked_at = Some(self.clock.now());
        self.load().await?;
        self.metadata.load_full().ok_or(ProviderError::Keys)
    }

    /// Where a browser signs in, with these fields in the query.
    ///
    /// # Errors
    /// When the provider can't be used.
    pub async fn authorization(&self, fields: &[(&str, &str)]) -> Result<String, ProviderError> {
        let metadata = self.metadata().await?;
        let scopes = self.config.scopes.join(" ");
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", self.config.client_id.as_str()),
            ("scope", scopes.as_str()),
        ];
        pairs.extend_from_slice(fields);
        Ok(query::with_query(&metadata.authorization_endpoint, &pairs))
    }

    /// Makes sure that it was this provider that sent a browser back (RFC 9207): a code of another one is never shown to
    /// it, and one of it to no other.
    ///
    /// # Errors
    /// When it was another one, or may have been.
    pub async fn check_issuer(
        &self,
        issuer: Option<&str>,
        is_there: bool,
    ) -> Result<(), ProviderError> {
        let announced = self
            .metadata()
            .await?
            .authorization_response_iss_parameter_supported;
        match issuer {
            Some(issuer) if issuer == self.issuer() => Ok(()),
            None if !is_there && !announced => Ok(()),
            _ => Err(ProviderError::OtherIssuer),
        }
    }

    /// Redeems a code, and says who signed in.
    ///
    /// # Errors
    /// When the provider won't, or what it gives is not for this login.
    pub async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
        redirect_uri: &str,
    ) -> Result<Identity, ProviderError> {
        let metadata = self.metadata().await?;
        let ask = self.redemption(metadata.client_auth(), code, verifier, redirect_uri);
        let body = self.client.ask(&metadata.token_endpoint, ask).await?;
        let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| ProviderError::NoIdToken)?;
        let claims = self.verify(&tokens.id_token, TokenType::Id).await?;
        let whose = self.whose();
        let (issued_at, subject) = claims::check_id_token(&claims, whose, nonce, self.clock.now())?;
        let said = self.said(&metadata, &tokens, &claims, &subject).await?;
        Ok(Identity {
            user: said.user,
            subject,
            session: claims::session(&claims),
            groups: said.groups,
            issued_at,
            id_token: tokens.id_token.clone(),
        })
    }

    fn redemption(
        &self,
        auth: ClientAuth,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Ask<'static> {
        let id = self.config.client_id.as_str();
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let secret = self.config.client_secret.as_ref();
        let authorization = match (secret, auth) {
            (Some(secret), ClientAuth::Basic) => Some(basic(id, secret.expose())),
            (Some(secret), ClientAuth::Post) => {
                pairs.extend([("client_id", id), ("client_secret", secret.expose())]);
                None
            }
            (None, _) => {
                pairs.push(("client_id", id));
                None
            }
        };
        Ask::Form {
            body: Zeroizing::new(query::write(&pairs)),
            authorization,
        }
    }

    /// Who it is and their groups: from the ID token, and from the provider where the token does not say.
    async fn said(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        id_token: &Map<String, Value>,
        subject: &str,
    ) -> Result<Said, ProviderError> {
        let (identity, group) = (&self.config.identity_claim, &self.config.groups_claim);
        let user = claims::user(id_token, identity);
        let groups = claims::groups(id_token, group);
        let endpoint = metadata.userinfo_endpoint.as_ref();
        let (Some(endpoint), Some(access)) = (endpoint, &tokens.access_token) else {
            return Ok(Said {
                user: user?,
                groups: groups.unwrap_or_default(),
            });
        };
        if let (Ok(user), Some(groups)) = (&user, &groups) {
            return Ok(Said {
                user: user.clone(),
                groups: groups.clone(),
            });
        }
        let bearer = Some(access.as_str());
        let body = self.client.ask(endpoint, Ask::Get { bearer }).await?;
        let info: Map<String, Value> =
            serde_json::from_slice(&body).map_err(|_| ProviderError::OtherUser)?;
        if info.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(ProviderError::OtherUser);
        }
        Ok(Said {
            user: user.or_else(|_| claims::user(&info, identity))?,
            groups: groups
                .or_else(|| claims::groups(&info, group))
                .unwrap_or_default(),
        })
    }

    /// Verifies a token by the provider's keys. Where none fits, they are fetched again, but not often.
    async fn verify(
        &self,
        token: &str,
        typ: TokenType,
    ) -> Result<Map<String, Value>, ProviderError> {
        let known = self.keys.load_full().unwrap_or_default();
        match known.verify(token, typ) {
            Err(SignatureError::UnknownKey) => {}
            other => return Ok(other?),
        }
        let metadata = self.metadata().await?;
        let mut asked_at = self.asked_at.lock().await;
        let now = self.clock.now();
        let is_due = asked_at
            .is_none_or(|at| now.as_second().saturating_sub(at.as_second()) >= REFETCH_AFTER);
        let keys = if is_due {
            *asked_at = Some(now);
            self.load_keys(&metadata).await?
        } else {
            // Somebody else may just have fetched them.
            self.keys.load_full().unwrap_or_default()
        };
        Ok(keys.verify(token, typ)?)
    }

    /// Verifies a logout token, and says whom it signs out.
    ///
    /// # Errors
    /// When it is not one of this provider for us.
    pub async fn signed_out(&self, token: &str) -> Result<SignedOut, ProviderError> {
        let claims = self.verify(token, TokenType::Logout).await?;
        let now = self.clock.now();
        Ok(claims::check_logout_token(&claims, self.whose(), now)?)
    }

    /// Where a browser signs out at the provider, and comes back from to `back`; none where it can't.
    pub fn end_session(&self, hint: Option<&str>, back: &str) -> Option<String> {
        let metadata = self.metadata.load_full()?;
        let endpoint = metadata.end_session_endpoint.as_ref()?;
        let mut pairs = vec![
            ("client_id", self.config.client_id.as_str()),
            ("post_logout_redirect_uri", back),
        ];
        pairs.extend(hint.map(|hint| ("id_token_hint", hint)));
        Some(query::with_query(endpoint, &pairs))
    }

    /// The origin of the page for signing out, for the rule that holds forms to where they may lead.
    pub fn end_session_origin(&self) -> Option<String> {
        self.metadata.load_full()?.end_session_origin()
    }

    fn whose(&self) -> For<'_> {
        For {
            issuer: self.config.issuer.as_str(),
            client_id: &self.config.client_id,
        }
    }
}

fn takes_plain(config: &Oidc) -> bool {
    config.issuer.as_str().starts_with("http://")
}

/// `Authorization` of a client: both parts encoded as in a form first (RFC 6749, 2.3.1).
fn basic(id: &str, secret: &str) -> Zeroizing<String> {
    let mut pair = Zeroizing::new(String::new());
    query::encode(id, &mut pair);
    pair.push(':');
    query::encode(secret, &mut pair);
    Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

struct Said {
    user: String,
    groups: Vec<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    #[serde(default)]
    access_token: Option<String>,
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.id_token.zeroize();
        self.access_token.zeroize();
    }
}
