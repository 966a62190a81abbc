//! What a provider says of itself (OpenID Connect Discovery), checked before anything of it is used.

use http::Uri;
use serde::Deserialize;

/// What we need of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// Who it is.
    pub issuer: String,
    /// Where browsers go.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where it says more about somebody.
    #[serde(default)]
    pub userinfo_endpoint: Option<String>,
    /// Where browsers go to sign out.
    #[serde(default)]
    pub end_session_endpoint: Option<String>,
    /// Whether it names itself when it sends a browser back (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// How a client proves itself where codes are redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In `Authorization`.
    Basic,
    /// In the form.
    Post,
}

/// What is wrong with the metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// No JSON of the kind.
    #[error("its metadata is none: {0}")]
    Form(String),
    /// It speaks for somebody else.
    #[error("it calls itself '{found}' and not '{expected}': write the issuer as it writes it")]
    Issuer {
        /// What was configured.
        expected: String,
        /// What it says.
        found: String,
    },
    /// An address that would not protect what is sent there.
    #[error("its {what} is '{address}', which is not reached by https")]
    Address {
        /// Which.
        what: &'static str,
        /// What it is.
        address: String,
    },
    /// A stolen code could be redeemed by anybody.
    #[error(
        "it does not announce PKCE with S256 (code_challenge_methods_supported): switch that on there, or set --oidc-assume-s256 if it checks it all the same"
    )]
    NoS256,
}

impl Metadata {
    /// Reads and checks what a provider says of itself.
    ///
    /// # Errors
    /// When it is not this issuer's, or nothing that a login can safely use.
    pub fn parse(
        text: &[u8],
        issuer: &str,
        assume_s256: bool,
        takes_plain: bool,
    ) -> Result<Self, MetadataError> {
        let metadata: Self =
            serde_json::from_slice(text).map_err(|error| MetadataError::Form(error.to_string()))?;
        if metadata.issuer != issuer {
            return Err(MetadataError::Issuer {
                expected: issuer.to_owned(),
                found: metadata.issuer,
            });
        }
        let addresses = [
            (
                "authorization_endpoint",
                Some(&metadata.authorization_endpoint),
            ),
            ("token_endpoint", Some(&metadata.token_endpoint)),
            ("jwks_uri", Some(&metadata.jwks_uri)),
            ("userinfo_endpoint", metadata.userinfo_endpoint.as_ref()),
            (
                "end_session_endpoint",
                metadata.end_session_endpoint.as_ref(),
            ),
        ];
        for (what, address) in addresses {
            if let Some(address) = address.filter(|address| !is_safe(address, takes_plain)) {
                let address = address.clone();
                return Err(MetadataError::Address { what, address });
            }
        }
        let methods = &metadata.code_challenge_methods_supported;
        if !assume_s256 && !methods.iter().any(|method| method == "S256") {
            return Err(MetadataError::NoS256);
        }
        Ok(metadata)
    }

    /// How the client proves itself: in `Authorization`, unless the provider takes it in the form alone.
    pub fn client_auth(&self) -> ClientAuth {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        let takes = |methods: &[String], name: &str| methods.iter().any(|method| method == name);
        match methods {
            Some(methods)
                if takes(methods, "client_secret_post")
                    && !takes(methods, "client_secret_basic") =>
            {
                ClientAuth::Post
            }
            _ => ClientAuth::Basic,
        }
    }

    /// The origin of the page for signing out.
    pub fn end_session_origin(&self) -> Option<String> {
        let uri: Uri = self.end_session_endpoint.as_ref()?.parse().ok()?;
        Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
    }
}

fn is_safe(address: &str, takes_plain: bool) -> bool {
    let Ok(uri) = address.parse::<Uri>() else {
        return false;
    };
    let by = matches!(uri.scheme_str(), Some("https"))
        || (takes_plain && uri.scheme_str() == Some("http"));
    let plain = |authority: &str| !authority.contains('@');
    by && uri
        .authority()
        .is_some_and(|authority| plain(authority.as_str()))
        && !address.contains('#')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://id.example.com";

    fn good() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/auth",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://id.example.com/jwks",
            "code_challenge_methods_supported": ["plain", "S256"],
            "something_else": {"a": 1},
        })
    }

    fn parse(metadata: &Value, assume: bool) -> Result<Metadata, MetadataError> {
        Metadata::parse(metadata.to_string().as_bytes(), ISSUER, assume, false)
    }

    #[test]
    fn metadata_of_this_issuer_is_taken() {
        let metadata = parse(&good(), false).unwrap();
        assert_eq!(metadata.client_auth(), ClientAuth::Basic);
        assert!(!metadata.authorization_response_iss_parameter_supported);
    }

    #[rstest]
    #[case("issuer", json!("https://id.example.com/"))]
    #[case("issuer", json!("https://evil.test"))]
    #[case("token_endpoint", json!("http://id.example.com/token"))]
    #[case("authorization_endpoint", json!("https://user@id.example.com/auth"))]
    #[case("jwks_uri", json!("file:///etc/passwd"))]
    #[case("userinfo_endpoint", json!("/userinfo"))]
    #[case("end_session_endpoint", json!("https://id.example.com/out#x"))]
    #[case("jwks_uri", json!(null))]
    #[case("code_challenge_methods_supported", json!(["plain"]))]
    #[case("code_challenge_methods_supported", json!([]))]
    fn metadata_that_a_login_could_not_rely_on_is_refused(
        #[case] field: &str,
        #[case] value: Value,
    ) {
        let mut metadata = good();
        metadata[field] = value;
        let error = parse(&metadata, false).unwrap_err();
        let assumed = parse(&metadata, true);
        assert_eq!(assumed.is_ok(), error == MetadataError::NoS256, "{error}");
    }

    #[rstest]
    #[case(json!(["client_secret_post"]), ClientAuth::Post)]
    #[case(json!(["client_secret_post", "client_secret_basic"]), ClientAuth::Basic)]
    #[case(json!(["none"]), ClientAuth::Basic)]
    fn a_client_proves_itself_as_the_provider_takes_it(
        #[case] methods: Value,
        #[case] auth: ClientAuth,
    ) {
        let mut metadata = good();
        metadata["token_endpoint_auth_methods_supported"] = methods;
        assert_eq!(parse(&metadata, false).unwrap().client_auth(), auth);
    }
}
