//! The installation in a cluster: what runs there, and how it was set up.

use std::ffi::OsString;

use clap::{Args, Command, FromArgMatches};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec, Secret};
use kube::Client;
use kube::api::Api;
use zeroize::Zeroizing;

use crate::cli::call::call;
use crate::cli::doctor::report::Finding;
use crate::cli::error::CliError;
use crate::cli::proxy::ProxyArgs;
use crate::model::names::DnsLabel;
use crate::proxy::config::{ClientSecret, Config};

/// This step.
pub const CONTROLLER: &str = "controller";
/// This step.
pub const PROXY: &str = "proxy";

/// The proxy's Deployment.
const DEPLOYMENT: &str = "workstead-proxy";
/// The controller's.
const CONTROLLER_DEPLOYMENT: &str = "workstead-controller";
/// Variables whose values are paths in the pod: what is there is asked of the cluster.
const PATHS: [&str; 2] = [
    "WORKSTEAD_OIDC_CLIENT_SECRET_FILE",
    "WORKSTEAD_OIDC_CA_FILE",
];

/// What the cluster says of the installation.
pub struct Installed {
    /// How its parts fare.
    pub findings: Vec<Finding>,
    /// How the proxy is set up, where there is one.
    pub config: Option<Config>,
    /// The secret of its client at the identity provider.
    pub client_secret: Option<ClientSecret>,
    /// Whether there is one that could not be read.
    pub has_hidden_secret: bool,
    /// Certificates of authorities that vouch for the identity provider: PEM.
    pub authorities: Option<String>,
}

/// Looks at the installation of a namespace.
///
/// # Errors
/// When the cluster does not answer, or the Deployment of the proxy can't be read.
pub async fn look(client: &Client, namespace: &str) -> Result<Installed, CliError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let read = async |name: &str| {
        let what = format!("read Deployment {namespace}/{name}");
        call(&what, deployments.get_opt(name)).await
    };
    let controller = read(CONTROLLER_DEPLOYMENT).await?;
    let proxy = read(DEPLOYMENT).await?;
    let mut installed = Installed {
        findings: vec![
            judge_deployment(CONTROLLER, namespace, controller.as_ref()),
            judge_deployment(PROXY, namespace, proxy.as_ref()),
        ],
        config: None,
        client_secret: None,
        has_hidden_secret: false,
        authorities: None,
    };
    let Some(pod) = proxy.and_then(|proxy| proxy.spec?.template.spec) else {
        return Ok(installed);
    };
    installed.config = Some(configured(&pod, namespace)?);
    if let Some((name, key)) = mounted_secret(&pod) {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = secrets.get(&name).await.ok();
        let value = secret.and_then(|secret| secret.data?.remove(&key));
        let text = value.and_then(|value| String::from_utf8(value.0).ok());
        installed.client_secret = text.and_then(|text| ClientSecret::new(Zeroizing::new(text)));
        installed.has_hidden_secret = installed.client_secret.is_none();
    }
    if let Some((name, key)) = mounted_authorities(&pod) {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let map = call(
            &format!("read ConfigMap {namespace}/{name}"),
            maps.get(&name),
        )
        .await?;
        installed.authorities = map.data.and_then(|mut data| data.remove(&key));
    }
    Ok(installed)
}

/// The configuration that a pod gives the proxy: its plain variables, read as the flags that they stand for.
fn configured(pod: &PodSpec, namespace: &str) -> Result<Config, CliError> {
    let command = ProxyArgs::augment_args(Command::new("proxy"));
    let variables = pod
        .containers
        .iter()
        .flat_map(|container| container.env.iter().flatten());
    let mut words: Vec<OsString> = vec!["proxy".into()];
    for variable in variables {
        let argument = command.get_arguments().find(|argument| {
            argument
                .get_env()
                .is_some_and(|name| *name == *variable.name)
        });
        let (Some(long), Some(value)) = (
            argument.and_then(clap::Arg::get_long),
            variable.value.as_deref(),
        ) else {
            continue;
        };
        if PATHS.contains(&variable.name.as_str()) {
            continue;
        }
        let takes_value = argument.is_some_and(|argument| argument.get_action().takes_values());
        match (takes_value, value) {
            (true, value) => words.push(format!("--{long}={value}").into()),
            (false, "true") => words.push(format!("--{long}").into()),
            (false, _) => {}
        }
    }
    let broken = || {
        CliError::undone(format!(
            "failed to read the settings of Deployment {namespace}/{DEPLOYMENT}"
        ))
    };
    let matches = command
        .mut_args(|argument| argument.env(None))
        .try_get_matches_from(words)
        .map_err(|error| broken().because(error))?;
    let arguments =
        ProxyArgs::from_arg_matches(&matches).map_err(|error| broken().because(error))?;
    let mut config = arguments.config()?;
    config.namespace = DnsLabel::new(namespace)?;
    Ok(config)
}

/// The Secret that the chart mounts for the client, and the key in it.
fn mounted_secret(pod: &PodSpec) -> Option<(String, String)> {
    let volume = pod.volumes.iter().flatten().find_map(|volume| {
        (volume.name == "oidc-client")
            .then_some(volume.secret.as_ref())
            .flatten()
    })?;
    let key = volume.items.as_ref()?.first()?.key.clone();
    Some((volume.secret_name.clone()?, key))
}

/// The ConfigMap that the chart mounts for authorities, and the key in it.
fn mounted_authorities(pod: &PodSpec) -> Option<(String, String)> {
    let volume = pod.volumes.iter().flatten().find_map(|volume| {
        (volume.name == "oidc-ca")
            .then_some(volume.config_map.as_ref())
            .flatten()
    })?;
    let key = volume.items.as_ref()?.first()?.key.clone();
    Some((volume.name.clone(), key))
}

fn judge_deployment(
    step: &'static str,
    namespace: &str,
    deployment: Option<&Deployment>,
) -> Finding {
    let Some(deployment) = deployment else {
        let finding = Finding::wrong(step, format!("there is none in namespace {namespace}"));
        return finding.fix(match step {
            PROXY => "install it: helm upgrade … --set proxy.enabled=true; docs/tasks/proxy.md says what it needs",
            _ => "install Workstead (docs/tasks/install.md), or say where it is: --installation-namespace",
        });
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let wanted = wanted.unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let why: Vec<String> = status
        .conditions
        .iter()
        .flatten()
        .filter(|condition| condition.status != "True")
        .filter_map(|condition| condition.message.clone())
        .collect();
    let ask = format!(
        "ask why: kubectl -n {namespace} get --raw \
         /api/v1/namespaces/{namespace}/services/{}:8080/proxy/readyz names what is missing; \
         kubectl -n {namespace} logs deployment/{name}",
        if step == PROXY {
            "workstead-proxy-metrics"
        } else {
            "workstead-metrics"
        },
    );
    let finding = match (ready, wanted) {
        (_, 0) => Finding::wrong(step, format!("Deployment {name} wants no replica")),
        (0, _) => Finding::wrong(step, format!("none of {wanted} replicas is ready")),
        (ready, wanted) if ready < wanted => {
            Finding::warning(step, format!("{ready} of {wanted} replicas are ready"))
        }
        (ready, _) => return Finding::good(step, format!("{ready} ready")),
    };
    why.into_iter().fold(finding, Finding::seen).fix(ask)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::report::Verdict;

    fn pod() -> PodSpec {
        serde_json::from_value(json!({
            "containers": [{"name": "proxy", "env": [
                {"name": "WORKSTEAD_IDENTITY", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "WORKSTEAD_BASE_DOMAIN", "value": "work.example.com"},
                {"name": "WORKSTEAD_CERTIFICATES", "value": "wildcard"},
                {"name": "WORKSTEAD_OIDC_ISSUER", "value": "https://id.example.com"},
                {"name": "WORKSTEAD_OIDC_CLIENT_ID", "value": "workstead"},
                {"name": "WORKSTEAD_OIDC_ASSUME_S256", "value": "false"},
                {"name": "WORKSTEAD_OIDC_CLIENT_SECRET_FILE", "value": "/not/here"},
                {"name": "SOMEBODY_ELSES", "value": "x"},
            ]}],
            "volumes": [
                {"name": "oidc-client", "secret": {"secretName": "oidc", "items": [{"key": "k", "path": "secret"}]}},
                {"name": "oidc-ca", "configMap": {"name": "company", "items": [{"key": "ca", "path": "ca.crt"}]}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_settings_of_a_running_proxy_are_read_as_it_reads_them() {
        let config = configured(&pod(), "tools").unwrap();
        let tls = config.listeners.tls().unwrap();
        assert_eq!(tls.site.auth_host(), "auth.work.example.com");
        assert!(!tls.oidc.assume_s256);
        assert_eq!(config.namespace.as_str(), "tools");
        let mut assuming = pod();
        assuming.containers[0].env.as_mut().unwrap()[5].value = Some("true".to_owned());
        let config = configured(&assuming, "tools").unwrap();
        assert!(config.oidc().unwrap().assume_s256);
    }

    #[test]
    fn settings_that_the_proxy_could_not_start_with_are_named() {
        let mut broken = pod();
        broken.containers[0].env.as_mut().unwrap()[3].value = Some("id.example.com".to_owned());
        let error = configured(&broken, "tools").unwrap_err();
        assert!(error.evidence[0].contains("--oidc-issuer"), "{error:?}");
    }

    #[test]
    fn what_the_chart_mounts_is_found_by_the_names_of_its_volumes() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(mounted_secret(&pod()), pair("oidc", "k"));
        assert_eq!(mounted_authorities(&pod()), pair("company", "ca"));
    }

    #[rstest]
    #[case(2, 2, Verdict::Good)]
    #[case(1, 2, Verdict::Warning)]
    #[case(0, 2, Verdict::Wrong)]
    #[case(0, 0, Verdict::Wrong)]
    fn replicas_are_counted(#[case] ready: i32, #[case] wanted: i32, #[case] verdict: Verdict) {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "workstead-proxy"},
            "spec": {"replicas": wanted, "selector": {}, "template": {}},
            "status": {"readyReplicas": ready},
        }))
        .unwrap();
        let found = judge_deployment(PROXY, "tools", Some(&deployment));
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert_eq!(
            judge_deployment(PROXY, "tools", None).verdict,
            Verdict::Wrong
        );
    }
}
