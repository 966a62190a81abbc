//! Whether the process lives and whether it is ready, with reasons.
//!
//! Live means that it answers. Ready means that nothing it needs is missing; what is missing is listed by name, with why.
//! Notes say how something is that a ready process can do without.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use crate::telemetry::metrics::Families;

/// What is still missing. Cheap to clone: all clones speak of the same process.
#[derive(Clone, Default)]
pub struct Health {
    missing: Arc<RwLock<BTreeMap<String, String>>>,
    notes: Arc<RwLock<BTreeMap<String, String>>>,
}

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// What.
    pub what: String,
    /// Why, in words for the person who runs the cluster.
    pub why: String,
}

/// Something to know that keeps nobody from being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What it is about.
    pub what: String,
    /// How it is and why, in words for the person who runs the cluster.
    pub why: String,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    missing: Vec<Missing>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Note>,
}

impl Health {
    /// A process that misses nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that `what` is missing, and why. Said again, the newer reason counts.
    pub fn set_missing(&self, what: &str, why: impl Into<String>) {
        self.missing
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(what.to_owned(), why.into());
    }

    /// Says that `what` is there.
    pub fn set_met(&self, what: &str) {
        self.missing
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(what);
    }

    /// What is missing now, sorted by name.
    pub fn missing(&self) -> Vec<Missing> {
        self.missing
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(what, why)| Missing {
                what: what.clone(),
                why: why.clone(),
            })
            .collect()
    }

    /// Says how `what` is. Said again, the newer text counts.
    pub fn set_note(&self, what: &str, why: impl Into<String>) {
        self.notes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(what.to_owned(), why.into());
    }

    /// What is to be known, sorted by name.
    pub fn notes(&self) -> Vec<Note> {
        self.notes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(what, why)| Note {
                what: what.clone(),
                why: why.clone(),
            })
            .collect()
    }
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router<M: Families>(health: Health, metrics: Arc<M>) -> axum::Router {
    axum::Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(render_metrics::<M>).with_state(metrics))
}

async fn readyz(State(health): State<Health>) -> Response {
    let missing = health.missing();
    let status = if missing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = Readiness {
        ready: missing.is_empty(),
        missing,
        notes: health.notes(),
    };
    (status, Json(body)).into_response()
}

async fn render_metrics<M: Families>(State(metrics): State<Arc<M>>) -> Response {
    match metrics.encode() {
        Ok(text) => (
            [(
                axum::http::header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    async fn get_path(health: &Health, path: &str) -> (StatusCode, String) {
        let response = router(health.clone(), Arc::new(Metrics::new()))
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_lists_what_is_missing_until_it_is_there() {
        let health = Health::new();
        health.set_missing("crds", "workspaces.workstead.dev is not established");
        health.set_missing("caches", "Pod");
        let (status, body) = get_path(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body,
            r#"{"ready":false,"missing":[{"what":"caches","why":"Pod"},{"what":"crds","why":"workspaces.workstead.dev is not established"}]}"#
        );
        health.set_met("crds");
        health.set_met("caches");
        let (status, body) = get_path(&health, "/readyz").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body, r#"{"ready":true,"missing":[]}"#);
    }

    #[tokio::test]
    async fn a_note_keeps_nobody_from_being_ready() {
        let health = Health::new();
        health.set_note("owners", "not checked");
        health.set_note("owners", "checked");
        let (status, body) = get_path(&health, "/readyz").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            body,
            r#"{"ready":true,"missing":[],"notes":[{"what":"owners","why":"checked"}]}"#
        );
    }

    #[tokio::test]
    async fn healthz_answers_while_not_ready() {
        let health = Health::new();
        health.set_missing("crds", "none");
        assert_eq!(get_path(&health, "/healthz").await.0, StatusCode::OK);
    }
}
