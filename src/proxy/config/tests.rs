use rstest::rstest;

use super::*;

fn site(domain: &str, auth_host: &str, scheme: Scheme) -> Site {
    let name = |text: &str| DnsSubdomain::new(text).unwrap();
    Site::new(&name(domain), &name(auth_host), scheme, None).unwrap()
}

fn oidc() -> Oidc {
    Oidc {
        issuer: Issuer::new("https://id.example.com").unwrap(),
        client_id: "workstead".to_owned(),
        client_secret: ClientSecret::new(Zeroizing::new("canary-7f3a\n".to_owned())),
        scopes: vec!["openid".to_owned()],
        identity_claim: "email".to_owned(),
        groups_claim: "groups".to_owned(),
        assume_s256: false,
        authorities: None,
    }
}

fn tls(domain: &str, auth_host: &str) -> TlsListener {
    TlsListener {
        address: "0.0.0.0:8443".parse().unwrap(),
        site: site(domain, auth_host, Scheme::Https),
        certificates: vec![DnsSubdomain::new("wildcard").unwrap()],
        proxy_protocol_from: Vec::new(),
        oidc: oidc(),
    }
}

fn local() -> LocalListener {
    LocalListener {
        address: "0.0.0.0:8000".parse().unwrap(),
        site: site(
            "workstead.localhost",
            "auth.workstead.localhost",
            Scheme::Http,
        ),
    }
}

#[test]
fn one_listener_is_enough_and_none_is_not() {
    assert!(
        Listeners::new(
            Some(tls("ws.example.com", "login.example.net")),
            Some(local())
        )
        .is_ok()
    );
    assert!(Listeners::new(None, Some(local())).is_ok());
    assert_eq!(
        Listeners::new(None, None).unwrap_err(),
        ListenersError::None
    );
}

#[test]
fn tls_without_a_certificate_is_refused() {
    let bare = TlsListener {
        certificates: Vec::new(),
        ..tls("ws.example.com", "login.example.net")
    };
    let error = Listeners::new(Some(bare), None).unwrap_err();
    assert_eq!(
        error,
        ListenersError::NoCertificate("ws.example.com".to_owned())
    );
}

#[test]
fn plain_http_never_carries_links_of_tls_nor_the_other_way_round() {
    let wrong = LocalListener {
        site: site(
            "workstead.localhost",
            "auth.workstead.localhost",
            Scheme::Https,
        ),
        ..local()
    };
    let error = Listeners::new(None, Some(wrong)).unwrap_err();
    assert!(matches!(error, ListenersError::Scheme { .. }), "{error}");
    let wrong = TlsListener {
        site: local().site,
        ..tls("ws.example.com", "login.example.net")
    };
    let error = Listeners::new(Some(wrong), None).unwrap_err();
    assert!(matches!(error, ListenersError::Scheme { .. }), "{error}");
}

#[rstest]
#[case("workstead.localhost", "auth.workstead.localhost", false)]
#[case("deep.workstead.localhost", "login.example.net", false)]
#[case("ws.example.com", "login.workstead.localhost", false)]
#[case("tls-workstead.localhost", "auth.tls-workstead.localhost", true)]
#[case("other.localhost", "login.other.localhost.example", true)]
fn no_name_belongs_to_both_listeners(
    #[case] domain: &str,
    #[case] auth_host: &str,
    #[case] taken: bool,
) {
    let both = Listeners::new(Some(tls(domain, auth_host)), Some(local()));
    assert_eq!(both.is_ok(), taken, "{both:?}");
}

#[test]
fn what_is_printed_at_start_says_that_there_is_a_secret_and_not_which() {
    let printed = format!(
        "{:?}",
        Listeners::new(Some(tls("ws.example.com", "login.example.net")), None).unwrap()
    );
    assert!(printed.contains("set, not shown"), "{printed}");
    assert!(!printed.contains("canary-7f3a"), "{printed}");
}

#[rstest]
#[case("https://id.example.com", true)]
#[case("https://id.example.com:8443/realms/a/", true)]
#[case("http://127.0.0.1:9000", true)]
#[case("http://[::1]:9000", true)]
#[case("http://id.workstead.localhost:9000", true)]
#[case("http://id.example.com", false)]
#[case("http://localhost.example.com", false)]
#[case("ftp://id.example.com", false)]
#[case("id.example.com", false)]
#[case("/realm", false)]
#[case("", false)]
#[case("https://id.example.com?tenant=a", false)]
#[case("https://id.example.com#a", false)]
#[case("https://user@id.example.com", false)]
fn an_issuer_is_a_url_that_nobody_on_the_way_can_answer_for(
    #[case] text: &str,
    #[case] taken: bool,
) {
    let issuer = Issuer::new(text);
    assert_eq!(issuer.is_ok(), taken, "{issuer:?}");
}

#[test]
fn the_secret_of_a_file_is_taken_without_its_last_line_end() {
    let read = |text: &str| ClientSecret::new(Zeroizing::new(text.to_owned()));
    assert_eq!(
        read("a b\r\n").map(|secret| secret.expose().to_owned()),
        Some("a b".to_owned())
    );
    assert!(read("\n").is_none());
}

#[rstest]
#[case("10.1.2.3", true)]
#[case("::ffff:10.1.2.3", true)]
#[case("11.1.2.3", false)]
#[case("fd00::9", true)]
#[case("fe00::9", false)]
fn an_address_of_ipv4_is_the_same_on_every_socket(#[case] address: IpAddr, #[case] among: bool) {
    let ranges = ["10.0.0.0/8", "fd00::/8"].map(|text| Cidr::parse(text).unwrap());
    assert_eq!(is_among(address, &ranges), among);
}
