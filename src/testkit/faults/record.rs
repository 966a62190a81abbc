//! What went through: the calls, in their order.

use http::Method;
use serde_json::Value;

use super::script::Fault;
use crate::model::names::CONTROLLER_LEASE;

/// One call of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which call it was since the last [`super::Faults::restart_count`], from 1. Watches are not counted: when they begin
    /// depends on the moment. They carry 0.
    pub number: usize,
    /// Which write it was, from 1; 0 for reads and watches.
    pub write_number: usize,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The query, as sent.
    pub query: String,
    /// What was sent; empty for reads.
    pub body: String,
    /// What was answered; none while no answer came.
    pub status: Option<u16>,
    /// The fault that hit it.
    pub fault: Option<Fault>,
}

impl Call {
    /// Whether it changes something: no reads, no dry runs, no questions about rights.
    pub fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
            && !self
                .query
                .split('&')
                .any(|part| part.starts_with("dryRun="))
            && !self.path.starts_with("/apis/authorization.k8s.io/")
    }

    /// Whether it is a stream of events.
    pub fn is_watch(&self) -> bool {
        self.method == Method::GET && self.query.split('&').any(|part| part == "watch=true")
    }

    /// What was sent, as JSON; null where nothing was.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The plural name of the kind, for example `deployments`; nothing for paths that are no resource.
    pub fn resource(&self) -> &str {
        self.parts().0
    }

    /// The name of the object; nothing for lists and creates.
    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// `status`, `scale` and the like, or nothing.
    pub fn subresource(&self) -> &str {
        self.parts().2
    }

    /// Whether it is about who leads, by the leader's Lease. Those of workspaces are children like others.
    pub fn is_claim(&self) -> bool {
        self.resource() == "leases" && matches!(self.name(), "" | CONTROLLER_LEASE)
    }

    fn parts(&self) -> (&str, &str, &str) {
        let mut words = self.path.trim_matches('/').split('/').peekable();
        // /api/v1/… for the core, /apis/<group>/<version>/… for all others.
        let prefix = match words.next() {
            Some("api") => 1,
            Some("apis") => 2,
            _ => return ("", "", ""),
        };
        let mut words = words.skip(prefix);
        let (mut resource, mut name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let mut rest = words.next();
        if resource == "namespaces"
            && let Some(next) = rest
            && !matches!(next, "status" | "finalize")
        {
            (resource, name) = (next, words.next().unwrap_or(""));
            rest = words.next();
        }
        (resource, name, rest.unwrap_or(""))
    }

    /// The call in a line, for the message of a failed test.
    pub fn line(&self) -> String {
        let status = self.status.map_or("-".to_owned(), |code| code.to_string());
        let fault = self.fault.as_ref().map(|fault| format!(" [{fault:?}]"));
        format!(
            "{} {} {} -> {status}{}",
            self.number,
            self.method,
            self.path,
            fault.unwrap_or_default()
        )
    }
}

/// Calls in a form that can be read in the message of a failed test.
pub fn lines(calls: &[Call]) -> String {
    calls.iter().map(Call::line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, path: &str, query: &str) -> Call {
        Call {
            number: 1,
            write_number: 0,
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            body: String::new(),
            status: None,
            fault: None,
        }
    }

    #[test]
    fn the_resource_of_a_path_is_read_with_and_without_a_namespace() {
        let parts = |path| {
            let call = call(Method::GET, path, "");
            let (resource, name, subresource) = call.parts();
            format!("{resource}|{name}|{subresource}")
        };
        assert_eq!(parts("/api/v1/namespaces/a/pods/b/status"), "pods|b|status");
        assert_eq!(parts("/api/v1/namespaces/a"), "namespaces|a|");
        assert_eq!(parts("/api/v1/namespaces/a/status"), "namespaces|a|status");
        assert_eq!(
            parts("/apis/apps/v1/namespaces/a/deployments"),
            "deployments||"
        );
        assert_eq!(
            parts("/apis/workstead.dev/v1alpha1/workspaceclasses/x"),
            "workspaceclasses|x|"
        );
        assert_eq!(parts("/version"), "||");
    }

    #[test]
    fn a_dry_run_and_a_question_about_rights_are_no_writes() {
        assert!(call(Method::PATCH, "/api/v1/namespaces/a", "force=true").is_write());
        assert!(
            !call(
                Method::PATCH,
                "/api/v1/namespaces/a",
                "force=true&dryRun=All"
            )
            .is_write()
        );
        let review = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        assert!(!call(Method::POST, review, "").is_write());
        assert!(!call(Method::GET, "/api/v1/pods", "watch=true").is_write());
    }
}
