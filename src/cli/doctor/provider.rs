//! The identity provider: what it says of itself, whether it knows us, and what time it has.

use http::StatusCode;
use http::header;
use jiff::Timestamp;
use serde::Deserialize;

use crate::cli::doctor::fetch::{FetchError, Fetcher, Reply, escaped};
use crate::cli::doctor::report::Finding;
use crate::cli::doctor::subject::{Provider, Subject};

/// This step.
pub const PROVIDER: &str = "OIDC discovery";
/// This step.
pub const CLIENT: &str = "OIDC client";
/// This step.
pub const REDIRECT: &str = "redirect URI";
/// This step.
pub const CLOCK: &str = "clock";

/// A value that nobody has: a code, a state.
const MADE_UP: &str = "workstead-doctor";
/// SHA-256 of [`MADE_UP`] in base64url: what S256 makes of it.
const CHALLENGE: &str = "X1YXvWc55MGhFl9A0lsOIx4AexpfayJ6mG3OvXRVueM";
/// How far clocks may be apart: what tokens forgive.
const SKEW_SECONDS: i64 = 30;

/// What a provider says of itself (OpenID Connect Discovery).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Who it is.
    pub issuer: String,
    /// Where people sign in.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    code_challenge_methods_supported: Option<Vec<String>>,
    response_types_supported: Option<Vec<String>>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Whether a client's secret goes into the form: only where the provider takes it nowhere else.
    fn takes_secret_in_form(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        let takes = |name: &str| {
            let all = methods.unwrap_or_default();
            all.iter().any(|method| method == name)
        };
        takes("client_secret_post") && !takes("client_secret_basic")
    }
}

/// Asks the provider for its metadata, and judges it.
pub async fn look_at_provider(
    fetcher: &Fetcher,
    provider: &Provider,
) -> (Finding, Option<(Metadata, Reply)>) {
    let url = format!(
        "{}/.well-known/openid-configuration",
        provider.issuer.trim_end_matches('/')
    );
    let reply = match fetcher.get(&url).await {
        Ok(reply) => reply,
        Err(error) => return (no_metadata(&url, &error), None),
    };
    if reply.status != StatusCode::OK {
        let finding = Finding::wrong(PROVIDER, format!("{url} answers {}", reply.status))
            .seen(reply.excerpt())
            .fix(
                "proxy.oidc.issuer has to be the issuer exactly, without the path of its metadata",
            );
        return (finding, None);
    }
    let metadata: Metadata = match serde_json::from_slice(&reply.body) {
        Ok(metadata) => metadata,
        Err(error) => {
            let finding = Finding::wrong(PROVIDER, format!("{url} holds no metadata"))
                .seen(error.to_string())
                .seen(reply.excerpt())
                .fix("proxy.oidc.issuer has to be the issuer exactly");
            return (finding, None);
        }
    };
    let finding = match keys(fetcher, &metadata).await {
        Err(finding) => finding,
        Ok(count) => judge_metadata(provider, &metadata, count),
    };
    (finding, Some((metadata, reply)))
}

fn no_metadata(url: &str, error: &FetchError) -> Finding {
    let finding =
        Finding::wrong(PROVIDER, format!("{url} can't be reached")).seen(error.to_string());
    match error {
        FetchError::Tls(..) => finding.fix(
            "where its certificate is of an authority of your own: --ca-file here, proxy.oidc.ca for the proxy",
        ),
        _ => finding.fix("proxy and browsers both have to reach it, by the same name"),
    }
}

/// How many keys it publishes.
async fn keys(fetcher: &Fetcher, metadata: &Metadata) -> Result<usize, Finding> {
    #[derive(Deserialize)]
    struct Keys {
        keys: Vec<serde_json::Value>,
    }
    let wrong = |why: String| {
        Finding::wrong(
            PROVIDER,
            "its keys can't be read, so no token of it can be checked",
        )
        .seen(format!("{}: {why}", metadata.jwks_uri))
        .fix("that is the provider's to mend, or of what stands before it")
    };
    let reply = fetcher
        .get(&metadata.jwks_uri)
        .await
        .map_err(|error| wrong(error.to_string()))?;
    let keys: Keys = serde_json::from_slice(&reply.body)
        .map_err(|error| wrong(format!("{}, {error}", reply.status)))?;
    if keys.keys.is_empty() {
        return Err(wrong("there is none".to_owned()));
    }
    Ok(keys.keys.len())
}

fn judge_metadata(provider: &Provider, metadata: &Metadata, keys: usize) -> Finding {
    if metadata.issuer != provider.issuer {
        return Finding::wrong(PROVIDER, "the provider calls itself otherwise")
            .seen(format!("it says {}", metadata.issuer))
            .seen(format!("we ask for {}", provider.issuer))
            .fix(format!("set proxy.oidc.issuer={}", metadata.issuer));
    }
    let lacks = |list: &Option<Vec<String>>, wanted: &str| {
        list.as_ref()
            .is_some_and(|values| !values.iter().any(|value| value == wanted))
    };
    if lacks(&metadata.response_types_supported, "code") {
        return Finding::wrong(PROVIDER, "the provider has no authorization codes")
            .fix("allow the response type code there");
    }
    let usable = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519",
    ];
    let signs = metadata.id_token_signing_alg_values_supported.as_ref();
    if signs.is_some_and(|all| !all.iter().any(|one| usable.contains(&one.as_str()))) {
        return Finding::wrong(PROVIDER, "the provider signs in no way that we take")
            .seen(format!(
                "it offers {}",
                signs.map(|all| all.join(", ")).unwrap_or_default()
            ))
            .fix(format!("allow one of {} there", usable.join(", ")));
    }
    let announced = metadata
        .code_challenge_methods_supported
        .as_ref()
        .is_some_and(|methods| methods.iter().any(|method| method == "S256"));
    match (announced, provider.assume_s256) {
        (false, false) => Finding::wrong(
            PROVIDER,
            "the provider does not announce that it checks S256: the proxy does not start",
        )
        .fix("switch PKCE with S256 on there; if it has it without saying so: proxy.oidc.assumeS256=true"),
        (false, true) => Finding::warning(
            PROVIDER,
            "the provider does not announce that it checks S256, and we go on as if it did",
        ),
        (true, _) => Finding::good(
            PROVIDER,
            format!("{} is known by {keys} keys and checks S256", provider.issuer),
        ),
    }
}

/// Redeems a code that nobody gave out: the refusal tells whether the provider knows the client.
pub async fn look_at_client(
    fetcher: &Fetcher,
    subject: &Subject,
    provider: &Provider,
    metadata: &Metadata,
) -> Finding {
    let redirect = subject.redirect_uri();
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", MADE_UP),
        ("redirect_uri", redirect.as_str()),
        ("code_verifier", MADE_UP),
    ];
    let mut basic = None;
    match &provider.client_secret {
        Some(secret) if metadata.takes_secret_in_form() => {
            form.push(("client_id", provider.client_id.as_str()));
            form.push(("client_secret", secret.expose()));
        }
        Some(secret) => basic = Some((provider.client_id.as_str(), secret.expose())),
        None if provider.has_hidden_secret => {
            return Finding::skipped(CLIENT, "its secret can't be read with your rights")
                .fix("give it by --oidc-client-secret-file, or run this as an administrator");
        }
        None => form.push(("client_id", provider.client_id.as_str())),
    }
    let sent = fetcher.post(&metadata.token_endpoint, &form, basic);
    let reply = match sent.await {
        Ok(reply) => reply,
        Err(error) => {
            return Finding::wrong(CLIENT, "codes can't be redeemed")
                .seen(format!("{}: {error}", metadata.token_endpoint))
                .fix("the proxy has to reach the token endpoint too");
        }
    };
    judge_redeemed(provider, reply.status, &reply.body, &reply.excerpt())
}

fn judge_redeemed(provider: &Provider, status: StatusCode, body: &[u8], excerpt: &str) -> Finding {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    match refusal.as_ref().map(|refusal| refusal.error.as_str()) {
        // It looked at the code, so the client had passed.
        Some("invalid_grant") => Finding::good(
            CLIENT,
            format!("the provider knows {}", provider.client_id),
        ),
        Some("invalid_client" | "unauthorized_client") => Finding::wrong(
            CLIENT,
            format!("the provider refuses {}", provider.client_id),
        )
        .seen(excerpt)
        .fix("compare proxy.oidc.clientId and the Secret of proxy.oidc.clientSecret with what is registered there"),
        _ => Finding::warning(
            CLIENT,
            "the provider's answer to a made-up code does not tell whether it knows us",
        )
        .seen(format!("{status}: {excerpt}")),
    }
}

/// Begins a login that may ask nobody anything: where it leads tells whether our redirect URI is registered.
pub async fn look_at_redirect(
    fetcher: &Fetcher,
    subject: &Subject,
    provider: &Provider,
    metadata: &Metadata,
) -> Finding {
    let redirect = subject.redirect_uri();
    let join = if metadata.authorization_endpoint.contains('?') {
        '&'
    } else {
        '?'
    };
    let url = format!(
        "{}{join}response_type=code&prompt=none&scope=openid&client_id={}&redirect_uri={}&state={MADE_UP}\
         &nonce={MADE_UP}&code_challenge_method=S256&code_challenge={CHALLENGE}",
        metadata.authorization_endpoint,
        escaped(&provider.client_id),
        escaped(&redirect),
    );
    match fetcher.get(&url).await {
        Ok(reply) => judge_redirect(
            &redirect,
            reply.status,
            reply.header(header::LOCATION),
            &reply.excerpt(),
        ),
        Err(error) => Finding::wrong(REDIRECT, "people can't be sent to the provider")
            .seen(error.to_string())
            .fix("browsers have to reach the authorization endpoint"),
    }
}

fn judge_redirect(
    redirect: &str,
    status: StatusCode,
    location: Option<&str>,
    excerpt: &str,
) -> Finding {
    let back = location.and_then(|location| {
        let query = location.strip_prefix(redirect)?.strip_prefix('?')?;
        let error = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("error="));
        Some(error.unwrap_or_default().to_owned())
    });
    match back.as_deref() {
        Some(
            ""
            | "login_required"
            | "interaction_required"
            | "consent_required"
            | "account_selection_required",
        ) => Finding::good(REDIRECT, format!("the provider leads back to {redirect}")),
        Some(error) => Finding::warning(REDIRECT, "the provider leads back, but refuses the login")
            .seen(format!("error={error}"))
            .fix("look what the client may ask for there: scopes, response type code, PKCE"),
        None if status.is_client_error() || status.is_server_error() => {
            Finding::wrong(REDIRECT, "the provider does not lead back to us")
                .seen(format!("{status}: {excerpt}"))
                .fix(format!(
                    "register exactly this redirect URI for the client: {redirect}"
                ))
        }
        None => Finding::warning(
            REDIRECT,
            "the provider shows a page of its own, so whether it will lead back is not known",
        )
        .seen(match location {
            Some(location) => format!("{status} to {location}"),
            None => status.to_string(),
        })
        .fix(format!(
            "look there that exactly this redirect URI is registered: {redirect}"
        )),
    }
}

/// Compares clocks: theirs with ours.
pub fn judge_clock(now: Timestamp, others: &[(&str, Option<&str>)]) -> Finding {
    let mut known = Vec::new();
    for (whose, date) in others {
        let parsed = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        if let Some(date) = parsed {
            known.push((*whose, date.timestamp()));
        }
    }
    let Some((first, _)) = known.first() else {
        return Finding::skipped(CLOCK, "nobody said what time it is");
    };
    let apart = |time: Timestamp| time.duration_since(now).as_secs();
    for (whose, time) in &known {
        if apart(*time).abs() <= SKEW_SECONDS {
            continue;
        }
        let finding = if known.len() > 1 {
            Finding::wrong(
                CLOCK,
                "clocks are apart: tokens are taken too late or too early",
            )
        } else {
            Finding::wrong(
                CLOCK,
                format!("the clock of {whose} and that of this machine are apart"),
            )
        };
        return known
            .iter()
            .fold(
                finding.seen(format!("this machine: {now}")),
                |finding, (whose, time)| finding.seen(format!("{whose}: {time}")),
            )
            .fix(
                "keep all of them by NTP: the nodes of the cluster, the provider, and this machine",
            );
    }
    Finding::good(
        CLOCK,
        format!("{first} and this machine agree within {SKEW_SECONDS} s"),
    )
}

#[cfg(test)]
mod tests;
