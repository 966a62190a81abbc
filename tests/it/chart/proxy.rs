//! What Helm renders of the proxy, and which settings of it are refused.

use clap::{Args, Command};
use serde_json::{Value, json};
use workstead::cli::proxy::ProxyArgs;
use workstead::proxy::config::{Drain, Limits};

use super::rendered::{amount, named, of_kind, template, texts};

/// TLS, with all that it needs.
pub const TLS: [&str; 5] = [
    "proxy.enabled=true",
    "baseDomain=work.example.com",
    "proxy.oidc.issuer=https://id.example.com",
    "proxy.oidc.clientId=workstead",
    "proxy.tls.certificates={wildcard}",
];

/// This machine alone.
pub const LOCAL: [&str; 2] = [
    "proxy.enabled=true",
    "proxy.local.domain=workstead.localhost",
];

fn with<'a>(base: &[&'a str], settings: &[&'a str]) -> Result<Vec<Value>, String> {
    template(&[base, settings].concat())
}

fn container(objects: &[Value]) -> &Value {
    &named(objects, "Deployment", "workstead-proxy")["spec"]["template"]["spec"]["containers"][0]
}

fn environment(objects: &[Value]) -> Vec<(&str, &Value)> {
    container(objects)["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), &variable["value"]))
        .collect()
}

fn ports(object: &Value) -> Vec<&Value> {
    object["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| &port["port"])
        .collect()
}

#[test]
fn without_a_word_there_is_no_proxy() {
    let text = serde_json::to_string(&template(&[]).unwrap()).unwrap();
    // The controller makes its Secrets all the same.
    let text = text.replace("workstead-proxy-client", "");
    assert!(
        !text
            .replace("workstead-proxy-keys", "")
            .contains("workstead-proxy")
    );
}

#[test]
fn what_tls_needs_is_asked_for_by_name() {
    for (left_out, named) in [
        (1, "set baseDomain"),
        (2, "the proxy would listen nowhere"),
        (3, "set proxy.oidc.clientId"),
        (4, "set proxy.tls.certificates"),
    ] {
        let mut settings = TLS.to_vec();
        settings.remove(left_out);
        // Certificates without a provider are for nobody.
        if left_out == 2 {
            settings.pop();
        }
        let error = template(&settings).unwrap_err();
        assert!(error.contains(named), "{settings:?}: {error}");
    }
    let error = with(&LOCAL, &["proxy.tls.certificates={wildcard}"]).unwrap_err();
    assert!(error.contains("nobody could sign in"), "{error}");
}

#[test]
fn values_of_the_proxy_that_can_not_work_are_refused_by_name() {
    for (setting, named) in [
        ("proxy.local.domain=work.example.com", "/proxy/local/domain"),
        ("proxy.local.domain=localhost", "/proxy/local/domain"),
        (
            "proxy.local.service.type=LoadBalancer",
            "/proxy/local/service/type",
        ),
        ("proxy.oidc.scopes={email}", "/proxy/oidc/scopes"),
        ("proxy.oidc.issuer=id.example.com", "/proxy/oidc/issuer"),
        ("proxy.tls.certificates={\"\"}", "/proxy/tls/certificates/0"),
        ("proxy.proxyProtocolFrom={lb}", "/proxy/proxyProtocolFrom/0"),
        ("proxy.deniedPorts={0}", "/proxy/deniedPorts/0"),
        ("proxy.limits.hold=long", "/proxy/limits/hold"),
        ("proxy.gateway.enabled=true", "/proxy/gateway/parentRefs"),
        ("proxy.replicas=0", "/proxy/replicas"),
        ("proxy.drain.limit=5m", "limit"),
    ] {
        let error = with(&TLS, &[setting]).unwrap_err();
        assert!(error.contains(named), "{setting}: {error}");
    }
}

#[test]
fn the_proxy_runs_without_rights_on_its_node_and_is_not_taken_away_all_at_once() {
    let objects = with(&TLS, &[]).unwrap();
    let deployment = named(&objects, "Deployment", "workstead-proxy");
    assert_eq!(deployment["spec"]["replicas"], 2);
    let spec = &deployment["spec"]["template"]["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let security = &container(&objects)["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(texts(&security["capabilities"]["drop"]), ["ALL"]);
    assert!(container(&objects)["resources"]["limits"]["memory"].is_string());
    let budget = named(&objects, "PodDisruptionBudget", "workstead-proxy");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["selector"], deployment["spec"]["selector"]);
    // A budget for one replica would hold up every node's maintenance.
    let one = with(&TLS, &["proxy.replicas=1"]).unwrap();
    assert_eq!(of_kind(&one, "PodDisruptionBudget").count(), 0);
}

#[test]
fn the_kubelet_waits_longer_than_the_proxy_drains() {
    let objects = with(
        &TLS,
        &["proxy.drain.lagSeconds=7", "proxy.drain.limitSeconds=100"],
    )
    .unwrap();
    let spec = &named(&objects, "Deployment", "workstead-proxy")["spec"]["template"]["spec"];
    assert!(spec["terminationGracePeriodSeconds"].as_u64().unwrap() > 107);
    let environment = environment(&objects);
    assert!(environment.contains(&("WORKSTEAD_DRAIN_LAG", &json!("7s"))));
    assert!(environment.contains(&("WORKSTEAD_DRAIN_LIMIT", &json!("100s"))));
}

#[test]
fn settings_reach_the_proxy_as_the_environment_that_it_reads() {
    let command = ProxyArgs::augment_args(Command::new("proxy"));
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str())
        .collect();
    let objects = with(
        &TLS,
        &[
            "proxy.local.domain=workstead.localhost",
            "proxy.oidc.clientSecret.name=oidc",
            "proxy.oidc.ca.configMap=company-ca",
            "proxy.oidc.scopes={openid,groups}",
            "proxy.oidc.assumeS256=true",
            "proxy.proxyProtocolFrom={10.0.0.0/8,fd00::1}",
            "proxy.trustedForwarders={192.0.2.1}",
            "proxy.deniedAddresses={10.96.0.0/12}",
            "proxy.deniedPorts={22,25}",
            "proxy.keepAlivePaths={/healthz}",
            "proxy.accessLog=false",
            "reservedNames={grafana}",
            "proxy.limits.silentStream=1h",
        ],
    )
    .unwrap();
    let environment = environment(&objects);
    for (name, _) in &environment {
        assert!(known.contains(name), "no argument has {name}");
    }
    let value = |name: &str| {
        let found = environment.iter().find(|(found, _)| *found == name);
        found.unwrap_or_else(|| panic!("no {name}")).1
    };
    for (name, expected) in [
        ("BASE_DOMAIN", "work.example.com"),
        ("AUTH_HOST", "auth.work.example.com"),
        ("LOCAL_DOMAIN", "workstead.localhost"),
        ("OIDC_SCOPES", "openid,groups"),
        ("OIDC_ASSUME_S256", "true"),
        ("PROXY_PROTOCOL_FROM", "10.0.0.0/8,fd00::1"),
        ("DENIED_PORTS", "22,25"),
        ("RESERVED_NAMES", "grafana"),
        ("ACCESS_LOG", "false"),
        ("LIMIT_SILENT_STREAM", "1h"),
    ] {
        assert_eq!(value(&format!("WORKSTEAD_{name}")), expected, "{name}");
    }
    // What is mounted is where the variables say.
    let mounts = container(&objects)["volumeMounts"].as_array().unwrap();
    for (variable, volume) in [
        ("WORKSTEAD_OIDC_CLIENT_SECRET_FILE", "oidc-client"),
        ("WORKSTEAD_OIDC_CA_FILE", "oidc-ca"),
    ] {
        let mount = mounts.iter().find(|mount| mount["name"] == volume).unwrap();
        let folder = mount["mountPath"].as_str().unwrap();
        assert!(value(variable).as_str().unwrap().starts_with(folder));
    }
}

#[test]
fn the_chart_says_what_the_proxy_takes_when_nobody_says_anything() {
    let objects = with(&LOCAL, &[]).unwrap();
    let environment = environment(&objects);
    let limits = Limits::default();
    let drain = Drain::default();
    for (name, value) in [
        ("LIMIT_CONNECTIONS", limits.connections.to_string()),
        (
            "LIMIT_CONNECTIONS_PER_ADDRESS",
            limits.connections_per_address.to_string(),
        ),
        (
            "LIMIT_STREAMS_PER_USER",
            limits.streams_per_user.to_string(),
        ),
        (
            "LIMIT_STREAMS_PER_WORKSPACE",
            limits.streams_per_workspace.to_string(),
        ),
        (
            "LIMIT_LOGINS_PER_ADDRESS",
            limits.logins_per_address.to_string(),
        ),
        ("LIMIT_LOGINS_PER_USER", limits.logins_per_user.to_string()),
        (
            "LIMIT_REFUSALS_PER_ADDRESS",
            limits.refusals_per_address.to_string(),
        ),
        ("LIMIT_HOLD", format!("{}s", limits.hold.as_secs())),
        (
            "LIMIT_HELD_PER_WORKSPACE",
            limits.held_per_workspace.to_string(),
        ),
        ("LIMIT_HELD_PER_USER", limits.held_per_user.to_string()),
        ("DRAIN_LAG", format!("{}s", drain.lag.as_secs())),
        ("DRAIN_LIMIT", format!("{}s", drain.limit.as_secs())),
    ] {
        let name = format!("WORKSTEAD_{name}");
        assert!(
            environment.contains(&(&name, &json!(value))),
            "{name}: {environment:?}"
        );
    }
    let silent = environment
        .iter()
        .any(|(name, _)| name.ends_with("SILENT_STREAM"));
    assert_eq!(silent, limits.silent_stream.is_some());
    assert!(amount(&container(&objects)["resources"]["limits"]["memory"]) >= 256 << 20);
}

#[test]
fn each_listener_has_its_service_and_plain_http_only_where_it_was_asked_for() {
    let objects = with(&TLS, &[]).unwrap();
    assert_eq!(ports(named(&objects, "Service", "workstead-proxy")), [443]);
    assert!(!of_kind(&objects, "Service").any(|service| ports(service).contains(&&json!(8000))));
    let gateway = [
        "proxy.publicPort=8443",
        "proxy.gateway.enabled=true",
        "proxy.gateway.parentRefs[0].name=edge",
    ];
    let objects = with(&TLS, &gateway).unwrap();
    assert_eq!(ports(named(&objects, "Service", "workstead-proxy")), [8443]);
    let route = named(&objects, "TLSRoute", "workstead-proxy");
    assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["port"], 8443);
    let objects = with(&LOCAL, &[]).unwrap();
    let local = named(&objects, "Service", "workstead-proxy-local");
    assert_eq!(ports(local), [8000]);
    assert_eq!(local["spec"]["type"], "ClusterIP");
    assert!(!of_kind(&objects, "Service").any(|service| ports(service).contains(&&json!(443))));
}

#[test]
fn nobody_in_the_network_is_let_to_the_port_of_plain_http() {
    for settings in [&TLS[..], &LOCAL[..]] {
        let objects = template(settings).unwrap();
        let policy = named(&objects, "NetworkPolicy", "workstead-proxy");
        let deployment = named(&objects, "Deployment", "workstead-proxy");
        assert_eq!(
            policy["spec"]["podSelector"],
            deployment["spec"]["selector"]
        );
        let rules = policy["spec"]["ingress"].to_string();
        assert!(!rules.contains("8000"), "{rules}");
    }
    let objects = with(&LOCAL, &["proxy.local.allowFrom={192.0.2.0/24}"]).unwrap();
    let policy = named(&objects, "NetworkPolicy", "workstead-proxy");
    let rule = &policy["spec"]["ingress"][1];
    assert_eq!(rule["ports"][0]["port"], 8000);
    assert_eq!(rule["from"], json!([{"ipBlock": {"cidr": "192.0.2.0/24"}}]));
}

#[test]
fn a_provider_that_dns_does_not_know_is_named_in_the_pods() {
    let aliases = [
        "proxy.hostAliases[0].ip=192.0.2.7",
        "proxy.hostAliases[0].hostnames={id.example.com}",
    ];
    let objects = with(&TLS, &aliases).unwrap();
    let pod = &named(&objects, "Deployment", "workstead-proxy")["spec"]["template"]["spec"];
    assert_eq!(
        pod["hostAliases"],
        json!([{"ip": "192.0.2.7", "hostnames": ["id.example.com"]}])
    );
    with(&TLS, &["proxy.hostAliases[0].ip=192.0.2.7"]).unwrap_err();
}

#[test]
fn an_ingress_and_a_route_name_every_host_of_the_proxy_and_nothing_else() {
    let objects = with(
        &TLS,
        &[
            "proxy.authHost=login.example.net",
            "proxy.ingress.enabled=true",
            "proxy.gateway.enabled=true",
            "proxy.gateway.parentRefs[0].name=edge",
        ],
    )
    .unwrap();
    let hosts = ["*.work.example.com", "login.example.net"];
    let route = named(&objects, "TLSRoute", "workstead-proxy");
    assert_eq!(texts(&route["spec"]["hostnames"]), hosts);
    let ingress = named(&objects, "Ingress", "workstead-proxy");
    let rules = ingress["spec"]["rules"].as_array().unwrap();
    let named: Vec<&str> = rules
        .iter()
        .map(|rule| rule["host"].as_str().unwrap())
        .collect();
    assert_eq!(named, hosts);
    // The proxy ends TLS itself: nothing that stands before it is given a certificate.
    assert!(ingress["spec"]["tls"].is_null());
}

#[test]
fn the_proxy_reads_secrets_of_its_own_namespace_by_name_and_no_others() {
    let objects = with(&TLS, &["proxy.tls.certificates={wildcard,login}"]).unwrap();
    let cluster = named(&objects, "ClusterRole", "workstead-proxy");
    for rule in cluster["rules"].as_array().unwrap() {
        let resources = texts(&rule["resources"]);
        for never in ["secrets", "configmaps", "pods/exec", "pods/portforward"] {
            assert!(!resources.contains(&never), "{rule}");
        }
    }
    let own = named(&objects, "Role", "workstead-proxy");
    let secrets: Vec<&Value> = own["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| texts(&rule["resources"]).contains(&"secrets"))
        .collect();
    let [rule] = secrets[..] else {
        panic!("{secrets:?}");
    };
    assert_eq!(
        texts(&rule["resourceNames"]),
        [
            "workstead-proxy-keys",
            "workstead-proxy-client",
            "wildcard",
            "login"
        ]
    );
    for verb in texts(&rule["verbs"]) {
        assert!(["get", "list", "watch"].contains(&verb), "{verb}");
    }
}

#[test]
fn links_that_the_controller_writes_lead_to_the_listener_that_there_is() {
    let links = |settings: &[&str]| {
        let objects = template(settings).unwrap();
        let pod =
            &named(&objects, "Deployment", "workstead-controller")["spec"]["template"]["spec"];
        let environment = pod["containers"][0]["env"].as_array().unwrap().clone();
        ["BASE_DOMAIN", "BASE_PLAIN_HTTP", "BASE_PORT"].map(|name| {
            let name = format!("WORKSTEAD_{name}");
            let found = environment.iter().find(|variable| variable["name"] == name);
            found.map(|variable| variable["value"].as_str().unwrap().to_owned())
        })
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(links(&[]), [None, None, None]);
    assert_eq!(links(&TLS), [some("work.example.com"), None, None]);
    assert_eq!(
        links(&[&TLS[..], &["proxy.publicPort=8443"]].concat()),
        [some("work.example.com"), None, some("8443")]
    );
    assert_eq!(
        links(&[&LOCAL[..], &["proxy.local.port=8001"]].concat()),
        [some("workstead.localhost"), some("true"), some("8001")]
    );
    // Both: everybody's.
    assert_eq!(
        links(&[&TLS[..], &LOCAL[1..]].concat()),
        [some("work.example.com"), None, None]
    );
}
