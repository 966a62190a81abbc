//! The webhook receiver: a Git server says that something was pushed.
//!
//! Runs on every replica. A report can only cause a fetch of what a GitSync is configured to fetch: the body is
//! never parsed, only its signature is checked. Where no controller leads, the report becomes the annotation
//! `workstead.dev/reconcile-requested-at`, which the leader sees.

mod limit;
mod signature;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::limit::Limits;
use self::signature::PATH_PREFIX;
pub use self::signature::{Check, hook_path};
use super::requests::Requests;
use crate::api::GitSync;
use crate::controllers::cache::Key;
use crate::controllers::guard::{Guarded, Sentinel};
use crate::model::clock::Clock;
use crate::model::names::{GITSYNC_MANAGER, RECONCILE_REQUESTED_ANNOTATION};

/// Longest report: GitHub's own cap. Nothing is kept of it, so the cap bounds time, not memory.
pub const MAX_BODY: usize = 25 * 1024 * 1024;
/// A client that says nothing is dropped after this.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// The whole exchange ends within this.
const DEADLINE: Duration = Duration::from_secs(20);
/// One call to the API server.
const API_DEADLINE: Duration = Duration::from_secs(5);
/// Open connections; the next ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// Key of the Secret of `spec.webhook.secretRef`.
pub const TOKEN_KEY: &str = "token";

/// What the receiver needs.
pub struct Receiver {
    /// The GitSyncs that it serves.
    pub gitsyncs: Api<Guarded<GitSync>>,
    /// Reads the one Secret that a report is checked against. May write annotations on a standby replica.
    pub client: Client,
    /// Where reports go.
    pub requests: Requests,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

struct State {
    receiver: Receiver,
    /// The GitSyncs, watched; their `status.webhookPath` is the routing table.
    gitsyncs: Store<GitSync>,
    limits: Mutex<Limits>,
}

/// Serves reports until cancelled, then ends the open ones. Runs on every replica, whoever leads.
pub async fn serve(listener: TcpListener, receiver: Receiver, token: CancellationToken) {
    let (gitsyncs, writer) = reflector::store();
    // The controller of the leader tells of those that can't be read.
    let sentinel = Sentinel::silent("GitSync");
    let known = gitsyncs.clone();
    let watched = watcher(receiver.gitsyncs.clone(), watcher::Config::default())
        .default_backoff()
        .try_filter_map(move |event| {
            let before = |key: &Key| {
                let found = known.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
                Some(Arc::unwrap_or_clone(found))
            };
            std::future::ready(Ok(sentinel.sift(event, before)))
        })
        .modify(|gitsync: &mut GitSync| gitsync.managed_fields_mut().clear())
        .reflect(writer)
        .for_each(|event| async move {
            if let Err(error) = event {
                tracing::warn!(%error, "failed to watch the GitSyncs for the webhook receiver");
            }
        });
    let state = Arc::new(State {
        receiver,
        gitsyncs,
        limits: Mutex::default(),
    });
    tokio::select! {
        () = watched => {}
        () = accept(listener, state, &token) => {}
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, token: &CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = token.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(state.clone(), stream));
                }
                // A client that vanished, or no more descriptors: neither ends the server.
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a webhook connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    // Those in the middle of an exchange may end it; what is left after a moment is cut off.
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(2), drained)
        .await
        .is_err()
    {
        connections.shutdown().await;
    }
}

async fn connection(state: Arc<State>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(&state, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(DEADLINE, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a webhook connection broke"),
        Err(_) => tracing::debug!("a webhook connection took too long"),
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match report(state, request).await {
        Ok(key) => {
            tracing::info!(gitsync = %key, "a push was reported");
            (StatusCode::ACCEPTED, "a fetch was asked for\n")
        }
        Err(refusal) => refusal.words(),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    if status == StatusCode::TOO_MANY_REQUESTS {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

/// Why a report was not taken. Says nothing that helps somebody who guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    UnknownPath,
    NotPost,
    Limited,
    Unsigned,
    TooLarge,
    Broken,
    Unavailable,
}

impl Refusal {
    fn words(self) -> (StatusCode, &'static str) {
        match self {
            Self::UnknownPath => (StatusCode::NOT_FOUND, "no such hook\n"),
            Self::NotPost => (StatusCode::METHOD_NOT_ALLOWED, "a hook takes POST\n"),
            Self::Limited => (StatusCode::TOO_MANY_REQUESTS, "too many reports\n"),
            Self::Unsigned => (
                StatusCode::UNAUTHORIZED,
                "the signature does not fit: use the token of the GitSync's webhook Secret as the hook's secret\n",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "the report is larger than 25 MiB\n",
            ),
            Self::Broken => (StatusCode::BAD_REQUEST, "the report broke off\n"),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the report could not be handed on, try again\n",
            ),
        }
    }
}

/// One report: route → limit → check → hand on.
async fn report(state: &State, request: Request<Incoming>) -> Result<Key, Refusal> {
    let gitsync = route(&state.gitsyncs, request.uri().path())?;
    if request.method() != Method::POST {
        return Err(Refusal::NotPost);
    }
    let key = Key::new(gitsync.namespace().unwrap_or_default(), gitsync.name_any());
    let now = state.receiver.clock.now();
    let allowed = state
        .limits
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .allow(&key, now);
    if !allowed {
        return Err(Refusal::Limited);
    }
    let token = fetch_token(&state.receiver.client, &gitsync, &key).await?;
    // The status may be older than the Secret: the path must be that of the token in force.
    if hook_path(&key.namespace, &key.name, &token).as_deref() != Some(request.uri().path()) {
        // The token was exchanged since. Nobody may watch Secrets, so this is what shows it: the next pass writes the new
        // path into the status. Whoever calls knew the old one, and the limit above holds.
        if !state.receiver.requests.ask_look(key.clone()) {
            annotate(&state.receiver, &key).await?;
        }
        return Err(Refusal::UnknownPath);
    }
    check(request, &token).await?;
    hand_on(&state.receiver, &key).await?;
    Ok(key)
}

fn route(gitsyncs: &Store<GitSync>, path: &str) -> Result<Arc<GitSync>, Refusal> {
    if !path.starts_with(PATH_PREFIX) {
        return Err(Refusal::UnknownPath);
    }
    let fits = |gitsync: &GitSync| {
        gitsync.spec.webhook.is_some()
            && gitsync
                .status
                .as_ref()
                .and_then(|s| s.webhook_path.as_deref())
                == Some(path)
    };
    gitsyncs.find(fits).ok_or(Refusal::UnknownPath)
}

async fn fetch_token(client: &Client, gitsync: &GitSync, key: &Key) -> Result<Vec<u8>, Refusal> {
    let Some(webhook) = &gitsync.spec.webhook else {
        return Err(Refusal::UnknownPath);
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let read = tokio::time::timeout(API_DEADLINE, secrets.get_opt(&webhook.secret_ref.name));
    match read.await {
        Ok(Ok(Some(secret))) => secret
            .data
            .and_then(|mut data| data.remove(TOKEN_KEY))
            .map(|bytes| bytes.0)
            .filter(|token| !token.is_empty())
            .ok_or(Refusal::Unavailable),
        Ok(Ok(None)) => Err(Refusal::Unavailable),
        Ok(Err(error)) => {
            tracing::warn!(gitsync = %key, %error, "failed to read the webhook's Secret");
            Err(Refusal::Unavailable)
        }
        Err(_) => Err(Refusal::Unavailable),
    }
}

/// Reads the body to its end, feeding the signature's check and keeping nothing.
async fn check(request: Request<Incoming>, token: &[u8]) -> Result<(), Refusal> {
    let mut check = Check::begin(request.headers(), token).ok_or(Refusal::Unsigned)?;
    if !check.is_claimed() {
        return Err(Refusal::Unsigned);
    }
    let mut body = request.into_body();
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(Refusal::TooLarge);
    }
    let mut read = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::Broken)?;
        if let Some(part) = frame.data_ref() {
            read = read.saturating_add(part.len());
            if read > MAX_BODY {
                return Err(Refusal::TooLarge);
            }
            check.update(part);
        }
    }
    if check.into_verdict() {
        Ok(())
    } else {
        Err(Refusal::Unsigned)
    }
}

/// To the controller of this process, or through the annotation to the one that leads.
async fn hand_on(receiver: &Receiver, key: &Key) -> Result<(), Refusal> {
    if receiver.requests.ask_fetch(key.clone()) {
        return Ok(());
    }
    annotate(receiver, key).await
}

/// Asks the controller that leads elsewhere for a pass.
async fn annotate(receiver: &Receiver, key: &Key) -> Result<(), Refusal> {
    let gitsyncs: Api<GitSync> = Api::namespaced(receiver.client.clone(), &key.namespace);
    let patch = Patch::Merge(serde_json::json!({
        "metadata": { "annotations": {
            RECONCILE_REQUESTED_ANNOTATION: format!("{} webhook", receiver.clock.now()),
        } }
    }));
    let parameters = PatchParams {
        field_manager: Some(GITSYNC_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = gitsyncs.patch(&key.name, &parameters, &patch);
    match tokio::time::timeout(API_DEADLINE, patched).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(gitsync = %key, %error, "failed to hand on a webhook's report");
            Err(Refusal::Unavailable)
        }
        Err(_) => Err(Refusal::Unavailable),
    }
}
