//! What each header is to a proxy, by its name in every spelling.

use memchr::memchr;

/// Longest name that can be more than a plain one.
const LONGEST_SPECIAL: usize = 64;

/// What a header is to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: it goes on.
    Plain,
    /// `Host`.
    Host,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding`.
    Coding,
    /// `Connection`.
    Connection,
    /// `Upgrade`.
    Upgrade,
    /// `Cookie`.
    Cookie,
    /// `Expect`.
    Expect,
    /// `Keep-Alive`.
    KeepAlive,
    /// Of this connection alone.
    Hop,
    /// What only a proxy may say: who asks, and from where. In every spelling.
    Claim,
    /// A name that is another one to programs which take `_` for `-`.
    Ambiguous,
    /// `Set-Cookie`.
    SetCookie,
    /// `Clear-Site-Data`.
    ClearSiteData,
    /// `Alt-Svc`.
    AltSvc,
}

/// In lower case, with `-` for whatever a CGI program would take for it.
fn plain_spelling(name: &[u8]) -> [u8; LONGEST_SPECIAL] {
    let mut spelling = [0; LONGEST_SPECIAL];
    for (to, from) in spelling.iter_mut().zip(name) {
        *to = if from.is_ascii_alphanumeric() {
            from.to_ascii_lowercase()
        } else {
            b'-'
        };
    }
    spelling
}

/// What a header of a request is to a proxy.
pub fn request_kind(name: &[u8]) -> Kind {
    let spelling = plain_spelling(name);
    let plain = spelling.get(..name.len()).unwrap_or(&spelling);
    let kind = match plain {
        b"host" => Kind::Host,
        b"content-length" => Kind::Length,
        b"transfer-encoding" => Kind::Coding,
        b"connection" => Kind::Connection,
        b"upgrade" => Kind::Upgrade,
        b"cookie" => Kind::Cookie,
        b"expect" => Kind::Expect,
        b"keep-alive"
        | b"proxy-connection"
        | b"proxy-authorization"
        | b"te"
        | b"http2-settings" => Kind::Hop,
        _ if is_claim(plain) => Kind::Claim,
        _ => Kind::Plain,
    };
    if name
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    {
        kind
    } else if kind != Kind::Plain || memchr(b'_', name).is_some() {
        Kind::Ambiguous
    } else {
        Kind::Plain
    }
}

/// Names by which proxies tell apps who asks and from where.
const CLAIMS: [&[u8]; 23] = [
    b"client-cert",
    b"client-cert-chain",
    b"client-ip",
    b"cf-connecting-ip",
    b"cf-connecting-ipv6",
    b"fastly-client-ip",
    b"forwarded",
    b"forwarded-for",
    b"front-end-https",
    b"proxy",
    b"true-client-ip",
    b"x-client-cert",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-forwarded",
    b"x-host",
    b"x-http-host-override",
    b"x-real-ip",
    b"x-rewrite-url",
    b"x-scheme",
    b"x-url-scheme",
    b"x-user-email",
    b"x-username",
];

/// The same, as beginnings.
const CLAIM_FAMILIES: [&[u8]; 20] = [
    b"cf-access-",
    b"remote-",
    b"ssl-client-",
    b"tailscale-user-",
    b"x-amzn-oidc-",
    b"x-auth-request-",
    b"x-auth-user",
    b"x-authenticated-",
    b"x-authentik-",
    b"x-envoy-",
    b"x-forwarded-",
    b"x-goog-authenticated-",
    b"x-goog-iap-",
    b"x-ms-client-principal",
    b"x-original-",
    b"x-pomerium-",
    b"x-remote-",
    b"x-ssl-client-",
    b"x-webauth-",
    b"x-workstead-",
];

fn is_claim(plain: &[u8]) -> bool {
    matches!(
        plain.first(),
        Some(b'c' | b'f' | b'p' | b'r' | b's' | b't' | b'x')
    ) && (CLAIMS.contains(&plain)
        || CLAIM_FAMILIES
            .iter()
            .any(|family| plain.starts_with(family)))
}

/// What a header of a response is to a proxy.
pub fn response_kind(name: &[u8]) -> Kind {
    let spelling = plain_spelling(name);
    match spelling.get(..name.len()).unwrap_or(&spelling) {
        b"set-cookie" => Kind::SetCookie,
        b"clear-site-data" => Kind::ClearSiteData,
        b"alt-svc" => Kind::AltSvc,
        b"content-length" => Kind::Length,
        b"transfer-encoding" => Kind::Coding,
        b"connection" => Kind::Connection,
        b"upgrade" => Kind::Upgrade,
        b"keep-alive" => Kind::KeepAlive,
        b"proxy-connection" | b"te" => Kind::Hop,
        // Says that an answer is ours: none of an app's is.
        b"x-workstead-proxy" => Kind::Claim,
        _ => Kind::Plain,
    }
}

/// Whether a header may come after the body.
pub fn may_trail(name: &[u8]) -> bool {
    let only_in_heads: [&[u8]; 4] = [b"authorization", b"origin", b"referer", b"content-type"];
    request_kind(name) == Kind::Plain
        && response_kind(name) == Kind::Plain
        && !only_in_heads
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Host", Kind::Host)]
    #[case("cOnTeNt-LeNgTh", Kind::Length)]
    #[case("Content_Length", Kind::Ambiguous)]
    #[case("Transfer_Encoding", Kind::Ambiguous)]
    #[case("Transfer-Encoding", Kind::Coding)]
    #[case("TE", Kind::Hop)]
    #[case("X-Workstead-User", Kind::Claim)]
    #[case("x_workstead_user", Kind::Ambiguous)]
    #[case("X.Workstead.User", Kind::Ambiguous)]
    #[case("X-Workstead_User", Kind::Ambiguous)]
    #[case("X-Forwarded-For", Kind::Claim)]
    #[case("X-FORWARDED-HOST", Kind::Claim)]
    #[case("Forwarded", Kind::Claim)]
    #[case("X-Auth-Request-Email", Kind::Claim)]
    #[case("Remote-User", Kind::Claim)]
    #[case("X-Real-IP", Kind::Claim)]
    #[case("X-Original-URL", Kind::Claim)]
    #[case("my_header", Kind::Ambiguous)]
    #[case("my.header", Kind::Plain)]
    #[case("Authorization", Kind::Plain)]
    #[case("Cookie", Kind::Cookie)]
    #[case("Cookie2", Kind::Plain)]
    #[case("X-Requested-With", Kind::Plain)]
    fn a_header_is_known_in_every_spelling(#[case] name: &str, #[case] kind: Kind) {
        assert_eq!(request_kind(name.as_bytes()), kind);
    }

    #[test]
    fn a_long_name_of_a_family_is_known_too() {
        let name = format!("X-Workstead-{}", "a".repeat(200));
        assert_eq!(request_kind(name.as_bytes()), Kind::Claim);
        assert_eq!(request_kind(&[b'a'; 200]), Kind::Plain);
    }
}
