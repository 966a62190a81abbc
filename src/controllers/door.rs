//! What stands between the controllers and the API server: a deadline for every call, a count of every call, and the
//! rule that nobody writes who does not lead.
//!
//! It is a layer around the client, so that no call in any controller can forget it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::{BoxError, Service};

use crate::controllers::lease::Claim;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::RequestLabels;

/// A read, body included. A page of 500 large objects is well within it.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// A write, body included.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// From the request for a watch to the head of its answer; the watch itself has the server's time limit.
const WATCH_HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Why a call did not go through the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// Somebody else leads, or nobody.
    #[error("not sent: this process does not hold the lease")]
    NotLeader,
    /// The API server did not answer in time. A write may have been carried out.
    #[error("no answer from the API server within {0:?}")]
    Deadline(Duration),
}

/// Puts the door before a client. With a claim, writes are sent only while it holds.
pub fn client(
    client: Client,
    metrics: Arc<Metrics>,
    claim: Option<watch::Receiver<Claim>>,
) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(
        Door {
            client,
            metrics,
            claim,
        },
        namespace,
    )
}

#[derive(Clone)]
struct Door {
    client: Client,
    metrics: Arc<Metrics>,
    claim: Option<watch::Receiver<Claim>>,
}

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    // Boxed, so that the lower client's own errors arrive above as what they are.
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let door = self.clone();
        Box::pin(async move {
            let verb = verb(&request);
            let result = door.send(request, verb).await;
            let outcome = outcome(&result);
            door.metrics
                .api_requests
                .get_or_create(&RequestLabels { verb, outcome })
                .inc();
            result
        })
    }
}

impl Door {
    async fn send(
        &self,
        request: Request<Body>,
        verb: &'static str,
    ) -> Result<Response<Body>, BoxError> {
        let deadline = match verb {
            "watch" => WATCH_HEAD_DEADLINE,
            "get" | "list" => READ_DEADLINE,
            _ => self.write_deadline()?,
        };
        let whole = async {
            let response = self.client.send(request).await?;
            if verb == "watch" {
                return Ok::<_, BoxError>(response);
            }
            // Read here, so that the deadline covers the body too.
            let (head, body) = response.into_parts();
            let bytes = body.collect().await?.to_bytes();
            Ok(Response::from_parts(head, Body::from(bytes)))
        };
        match timeout(deadline, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(DoorError::Deadline(deadline).into()),
        }
    }

    /// A write never waits for longer than the claim is sure.
    fn write_deadline(&self) -> Result<Duration, DoorError> {
        let Some(claim) = &self.claim else {
            return Ok(WRITE_DEADLINE);
        };
        let remaining = claim.borrow().remaining();
        remaining
            .map(|left| left.min(WRITE_DEADLINE))
            .ok_or(DoorError::NotLeader)
    }
}

fn verb(request: &Request<Body>) -> &'static str {
    let method = request.method();
    if method == Method::GET {
        let query = request.uri().query().unwrap_or_default();
        let has = |key: &str| query.split('&').any(|pair| pair.starts_with(key));
        if has("watch=true") || has("watch=1") {
            "watch"
        } else if has("limit=") || has("resourceVersion=") || has("labelSelector=") {
            "list"
        } else {
            "get"
        }
    } else if method == Method::POST {
        "create"
    } else if method == Method::PUT {
        "update"
    } else if method == Method::DELETE {
        "delete"
    } else {
        "patch"
    }
}

fn outcome(result: &Result<Response<Body>, BoxError>) -> &'static str {
    match result {
        Ok(response) => match response.status() {
            StatusCode::CONFLICT => "conflict",
            status if status.is_client_error() => "client_error",
            status if status.is_server_error() => "server_error",
            _ => "ok",
        },
        Err(error) => match error.downcast_ref::<DoorError>() {
            Some(DoorError::NotLeader) => "not_leader",
            Some(DoorError::Deadline(_)) => "timeout",
            None => "transport",
        },
    }
}
