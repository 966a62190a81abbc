//! Calls to the cluster, with a deadline each, and their errors in words.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use crate::cli::again::program;
use crate::cli::error::CliError;
use crate::model::names::CLI_MANAGER;

/// No call takes longer; the client itself would wait for ever.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for a call.
///
/// # Errors
/// When it fails or takes too long. `what` completes "failed to …".
pub async fn call<T>(
    what: &str,
    work: impl Future<Output = kube::Result<T>>,
) -> Result<T, CliError> {
    match timeout(DEADLINE, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explain(what, error)),
        Err(_) => Err(CliError::undone(format!("failed to {what}"))
            .seen(format!(
                "the API server gave no answer within {} s",
                DEADLINE.as_secs()
            ))
            .next("look whether the cluster is well: kubectl get --raw /readyz")),
    }
}

/// Sets an annotation by which a person asks for something.
///
/// By merge patch: a server-side apply would take back every other field that this manager ever applied.
///
/// # Errors
/// When the call fails.
pub async fn annotate<K>(api: &Api<K>, name: &str, key: &str, value: &str) -> Result<(), CliError>
where
    K: Clone + DeserializeOwned + Debug,
{
    annotate_all(api, name, &[key], value).await
}

/// Sets several at once to one value: whoever sees one of them sees all.
///
/// # Errors
/// When the call fails.
pub async fn annotate_all<K>(
    api: &Api<K>,
    name: &str,
    keys: &[&str],
    value: &str,
) -> Result<(), CliError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let annotations: BTreeMap<&str, &str> = keys.iter().map(|key| (*key, value)).collect();
    let body = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let parameters = PatchParams {
        field_manager: Some(CLI_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let written = api.patch(name, &parameters, &body);
    call(&format!("annotate {name}"), written).await.map(|_| ())
}

/// What an error of the client means for the person who typed the command.
pub fn explain(what: &str, error: kube::Error) -> CliError {
    let failed = CliError::undone(format!("failed to {what}"));
    match error {
        kube::Error::Api(status) if status.is_not_found() && is_missing_kind(&status.message) => failed
            .seen(&status.message)
            .next("install Workstead in this cluster (docs/tasks/install.md), or choose another one with --context"),
        kube::Error::Api(status) if status.is_not_found() => failed
            .seen(&status.message)
            .next(look_around(&status.message)),
        kube::Error::Api(status) if status.is_forbidden() => {
            let step = missing_right(&status.message);
            let failed = failed.seen(&status.message);
            match step {
                Some(step) => failed.next(step),
                None => failed,
            }
        }
        kube::Error::Api(status) if status.code == 401 => failed
            .seen(&status.message)
            .next("sign in again: the credentials of the kubeconfig are not accepted any more"),
        kube::Error::Api(status) => failed.seen(format!("{}: {}", status.reason, status.message)),
        other @ (kube::Error::HyperError(_) | kube::Error::Service(_)) => failed
            .because(other)
            .next("look whether the API server can be reached: kubectl cluster-info"),
        other => failed.because(other),
    }
}

/// What lists the objects of the kind that was looked for.
fn look_around(message: &str) -> String {
    if message.starts_with("gitsyncs.") {
        return "look what there is: kubectl get gitsyncs --all-namespaces".to_owned();
    }
    format!("look what there is: {} list --all-namespaces", program())
}

/// The role to ask for, by what the server says is not allowed. A policy that refused says itself what to do.
fn missing_right(message: &str) -> Option<String> {
    if !message.contains(" cannot ") {
        return None;
    }
    let looks = ["get", "list", "watch"]
        .iter()
        .any(|verb| message.contains(&format!(" cannot {verb} resource ")));
    let role = if message.contains("resource \"gitsyncs\"") && !looks {
        "workstead-gitsync-editor in that namespace: a GitSync names owners, so neither edit nor admin may change one"
    } else if message.contains("resource \"workspaceclasses\"") && looks {
        "workstead-class-reader, by a ClusterRoleBinding: classes belong to no namespace"
    } else if message.contains(" at the cluster scope") {
        "view in all namespaces, or name one that you may look into: -n NAMESPACE"
    } else if looks {
        "view in that namespace"
    } else {
        "edit in that namespace"
    };
    Some(format!("ask an administrator for the ClusterRole {role}"))
}

/// The server's text where the kind itself is unknown to it; an unknown object is named instead.
fn is_missing_kind(message: &str) -> bool {
    message.contains("could not find the requested resource") || message.contains("page not found")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "cannot patch resource \"gitsyncs\" in API group \"workstead.dev\" in the namespace \"a\"",
        "workstead-gitsync-editor"
    )]
    #[case(
        "cannot get resource \"gitsyncs\" in API group \"workstead.dev\" in the namespace \"a\"",
        "ClusterRole view in that namespace"
    )]
    #[case(
        "cannot list resource \"workspaces\" in API group \"workstead.dev\" at the cluster scope",
        "-n NAMESPACE"
    )]
    #[case(
        "cannot patch resource \"workspaces\" in API group \"workstead.dev\" in the namespace \"a\"",
        "ClusterRole edit in that namespace"
    )]
    #[case(
        "cannot get resource \"workspaceclasses\" in API group \"workstead.dev\" at the cluster scope",
        "workstead-class-reader"
    )]
    fn whoever_lacks_a_right_is_told_the_role_that_has_it(
        #[case] refused: &str,
        #[case] role: &str,
    ) {
        let message = format!("x is forbidden: User \"alice\" {refused}");
        let step = missing_right(&message).unwrap();
        assert!(step.contains(role), "{step}");
    }

    #[test]
    fn a_policy_that_refuses_is_no_missing_right() {
        assert_eq!(
            missing_right("ValidatingAdmissionPolicy 'p' denied request: no"),
            None
        );
    }
}
