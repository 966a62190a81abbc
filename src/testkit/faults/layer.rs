//! The layer itself: it sits between the kube client and the connection to the real API server.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Bytes};
use kube::client::Body;
use serde_json::json;
use tower::{BoxError, Layer, Service};

use super::script::Fault;
use super::watch::{self, FaultyBody};
use super::{Faults, Ticket};

impl<S> Layer<S> for Faults {
    type Service = FaultyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FaultyService {
            inner,
            faults: self.clone(),
        }
    }
}

/// A connection to the API server that fails as the script says.
pub struct FaultyService<S> {
    inner: S,
    faults: Faults,
}

impl<S, B> Service<Request<Body>> for FaultyService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<FaultyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let faults = self.faults.clone();
        let ticket = faults.begin(&request, sent(&request));
        // Nothing is sent before the future is polled, so that a lost request is really lost.
        let answer = self.inner.call(request);
        Box::pin(async move {
            match ticket.fault.clone() {
                Some(Fault::Answer(code)) => Ok(faults.answered(&ticket, status_answer(code))),
                Some(Fault::RequestLost) => {
                    faults.settled(&ticket);
                    Err(reset())
                }
                Some(Fault::ReplyLost) => {
                    let answer = answer.await;
                    faults.settled(&ticket);
                    answer.map_err(Into::into)?;
                    Err(reset())
                }
                Some(Fault::Hang) => {
                    faults.settled(&ticket);
                    pending().await
                }
                Some(Fault::ReplyHangs) => {
                    let answer = answer.await;
                    faults.settled(&ticket);
                    answer.map_err(Into::into)?;
                    pending().await
                }
                Some(Fault::Delay(time)) => {
                    let response = answer.await.map_err(Into::into)?;
                    tokio::time::sleep(time).await;
                    forward(faults, ticket, response).await
                }
                Some(Fault::Stale) if faults.remembered(&ticket).is_some() => {
                    let body = faults.remembered(&ticket).unwrap_or_default();
                    let response = Response::new(full(body));
                    Ok(faults.answered(&ticket, response))
                }
                Some(Fault::Stale) | None => {
                    let response = answer.await.map_err(Into::into)?;
                    forward(faults, ticket, response).await
                }
            }
        })
    }
}

async fn forward<B>(
    faults: Faults,
    ticket: Ticket,
    response: Response<B>,
) -> Result<Response<FaultyBody>, BoxError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let response = response.map(|body| body.map_err(Into::into).boxed_unsync());
    let mut response = faults.answered(&ticket, response);
    if response.status() != http::StatusCode::OK {
        return Ok(response);
    }
    if ticket.is_watch {
        let commands = faults.register_watch(&ticket.path);
        let wrap = |body| watch::wrap(faults, ticket.path, body, commands);
        return Ok(response.map(wrap));
    }
    if ticket.is_read && faults.remembers() {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        faults.remember(&ticket, bytes.clone());
        response = Response::from_parts(parts, full(bytes));
    }
    Ok(response)
}

/// What a request carries. Bodies of the kube client are whole, so this waits for nothing.
fn sent(request: &Request<Body>) -> String {
    let bytes = request
        .body()
        .try_clone()
        .and_then(|body| body.collect_bytes().now_or_never())
        .and_then(Result::ok)
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn full(bytes: Bytes) -> FaultyBody {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An answer as the API server words it.
fn status_answer(code: u16) -> Response<FaultyBody> {
    let (reason, message) = match code {
        403 => ("Forbidden", "fault of the test: forbidden"),
        404 => ("NotFound", "fault of the test: not found"),
        409 => (
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest \
             version and try again",
        ),
        410 => ("Expired", "too old resource version"),
        422 => ("Invalid", "fault of the test: invalid"),
        429 => ("TooManyRequests", "fault of the test: too many requests"),
        503 => ("ServiceUnavailable", "fault of the test: unavailable"),
        504 => (
            "Timeout",
            "fault of the test: the request did not complete in time",
        ),
        _ => ("InternalError", "fault of the test: internal error"),
    };
    let mut body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    let mut response = Response::builder()
        .status(code)
        .header("content-type", "application/json");
    if code == 429 {
        body["details"] = json!({"retryAfterSeconds": 1});
        response = response.header("retry-after", "1");
    }
    let body = full(body.to_string().into());
    response.body(body).expect("a status and literal headers")
}

pub(super) fn reset() -> BoxError {
    std::io::Error::new(
        std::io::ErrorKind::ConnectionReset,
        "fault of the test: connection reset",
    )
    .into()
}
