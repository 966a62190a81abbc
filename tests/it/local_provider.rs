//! What `make up OIDC=1` makes beside a proxy by links: an authority, secrets, an identity provider. A control plane alone stands for
//! the cluster; the functions are those of `up`, and nothing runs.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use workstead::testkit::ControlPlane;

/// What `up` sources and sets before it installs, on a cluster of this machine.
const UP: &str = r#"set -Eeuo pipefail
CLUSTER_DIR=$PWD/tests/e2e/cluster REGISTRY='' FOREIGN='' OIDC=yes CLUSTER=probe STATE=$HOME/probe
for part in common config build tls oci install oidc foreign; do . "$CLUSTER_DIR/lib/$part.sh"; done
KUBECTL=kubectl HELM=$("$TOOL" path helm)/helm PROVIDER_PORT=28444 PROXY_TLS_PORT=28443
declare -A IMAGE_NAMES=([workstead]=localhost/workstead:1 [tools]=localhost/workstead-tools:1 [provider]=localhost/workstead-provider:1)
wait_for_rollout() { :; }
"#;
const INSTALL: &str = "oidc_begin; install_workstead; install_provider; show_sign_in";
/// Where browsers see the auth host.
const AUTH: &str = "https://auth.workstead.localhost:28443/.workstead-proxy";

struct Machine {
    plane: ControlPlane,
    home: tempfile::TempDir,
}

impl Machine {
    async fn start() -> Self {
        let plane = ControlPlane::start().await.unwrap();
        let home = tempfile::tempdir().unwrap();
        Self { plane, home }
    }

    #[allow(clippy::disallowed_methods)] // where programs and caches are, not what is tested
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let kubectl = self.plane.kubectl();
        let folder = Path::new(kubectl.get_program()).parent().unwrap();
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/cluster/cluster");
        let path = std::env::var("PATH").unwrap();
        // The caches are those of whoever runs the tests, the state is not.
        let cache = std::env::var("WORKSTEAD_CACHE")
            .unwrap_or_else(|_| format!("{}/.cache/workstead", std::env::var("HOME").unwrap()));
        Command::new(program)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("KUBECONFIG", self.plane.kubeconfig())
            .env("WORKSTEAD_CACHE", cache)
            .env("TOOL", tool)
            .env("HOME", self.home.path())
            .output()
            .unwrap()
    }

    /// Runs functions of `up`, and gives what they print.
    fn up(&self, steps: &str) -> String {
        said(self.run("bash", &["-c", &format!("{UP}{steps}")]))
    }

    fn get(&self, namespace: &str, object: &str) -> Value {
        let found = self.run("kubectl", &["get", "-n", namespace, object, "-o", "json"]);
        serde_json::from_str(&said(found)).unwrap()
    }

    /// An entry of a Secret.
    fn secret(&self, namespace: &str, name: &str, entry: &str) -> String {
        use base64::Engine as _;
        let secret = self.get(namespace, &format!("secret/{name}"));
        let text = secret["data"][entry].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        String::from_utf8(bytes.unwrap()).unwrap()
    }

    fn settings(&self) -> Value {
        serde_json::from_str(&self.secret("workstead-id", "provider", "settings.json")).unwrap()
    }
}

fn said(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_and_provider_know_each_other_by_the_names_and_ports_that_browsers_see() {
    let machine = Machine::start().await;
    let shown = machine.up(INSTALL);
    let provider = machine.get("workstead-id", "service/provider");
    assert_eq!(provider["spec"]["ports"][0]["port"], 28444);
    let proxy = machine.get("workstead-system", "service/workstead-proxy");
    assert_eq!(proxy["spec"]["ports"][0]["port"], 28443);
    for (namespace, deployment, service, host) in [
        (
            "workstead-system",
            "deployment/workstead-proxy",
            &provider,
            "id.workstead.localhost",
        ),
        (
            "workstead-id",
            "deployment/provider",
            &proxy,
            "auth.workstead.localhost",
        ),
    ] {
        let pod = machine.get(namespace, deployment)["spec"]["template"]["spec"].clone();
        let alias = &pod["hostAliases"][0];
        assert_eq!(alias["ip"], service["spec"]["clusterIP"], "{deployment}");
        assert_eq!(alias["hostnames"], serde_json::json!([host]));
    }
    let settings = machine.settings();
    let client = &settings["client"];
    assert_eq!(settings["issuer"], "https://id.workstead.localhost:28444");
    assert_eq!(client["redirect_uris"][0], format!("{AUTH}/oidc/callback"));
    assert_eq!(
        client["backchannel_logout_uri"],
        format!("{AUTH}/oidc/back-channel-logout")
    );
    let password = settings["password"].as_str().unwrap();
    assert!(password.len() >= 16 && shown.contains(password), "{shown}");

    // Again: whoever trusts the authority and knows the password need not learn others.
    let authority = machine
        .home
        .path()
        .join("probe/authority/workstead.localhost/ca.crt");
    let before = (std::fs::read(&authority).unwrap(), settings);
    machine.up(INSTALL);
    assert_eq!(
        (std::fs::read(&authority).unwrap(), machine.settings()),
        before
    );

    // Without it, nothing of it stays.
    machine.up("remove_provider");
    for (namespace, object) in [
        ("workstead-system", "secret/workstead-tls"),
        ("workstead-system", "secret/workstead-oidc"),
        ("workstead-system", "configmap/workstead-oidc-ca"),
    ] {
        let found = machine.run(
            "kubectl",
            &["get", "-n", namespace, object, "--ignore-not-found"],
        );
        assert_eq!(said(found), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threat_the_authority_vouches_for_names_of_workstead_alone() {
    let machine = Machine::start().await;
    let folder = machine
        .home
        .path()
        .join("probe/authority/workstead.localhost");
    machine.up(
        "authority_make; authority_certify proxy '*.workstead.localhost' auth.workstead.localhost",
    );
    machine.up("authority_make; authority_certify other www.example.com");
    let verify = |name: &str, host: &str| {
        let [authority, certificate] = ["ca", name].map(|file| folder.join(format!("{file}.crt")));
        let command = ["verify", "-verify_hostname", host, "-CAfile"];
        let files = [authority, certificate].map(|path| path.display().to_string());
        let files = files.iter().map(String::as_str);
        let arguments: Vec<&str> = command.into_iter().chain(files).collect();
        machine.run("openssl", &arguments).status.success()
    };
    assert!(verify("proxy", "alice-code.workstead.localhost"));
    assert!(!verify("other", "www.example.com"));
    let key = std::fs::metadata(folder.join("ca.key")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o077,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_to_try_things_out_with_is_refused_on_a_cluster_of_somebody_else() {
    let machine = Machine::start().await;
    let output = machine.run("tests/e2e/cluster/up", &["--oidc"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        error.contains("OIDC=1 is for the cluster of this machine"),
        "{error}"
    );
}
