//! Connections to ports that wait for their next request. Each belongs to one workspace, pod and port.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::h2c::connections::Connections;
use super::upstream::Upstream;
use crate::proxy::door::{UpstreamKey, UpstreamProtocol};

/// How many wait for one port at most.
const FOR_ONE: usize = 32;
/// How many wait altogether at most.
const FOR_ALL: usize = 4096;
/// How long one waits at most.
const IDLE: Duration = Duration::from_secs(60);
/// An app closes at its own limit: we stop before.
const MARGIN: Duration = Duration::from_secs(1);
/// How often those are looked for that waited too long.
const SWEEP: Duration = Duration::from_secs(5);

/// Connections that wait.
#[derive(Default)]
pub struct Pool {
    inner: Mutex<Inner>,
    /// Connections of HTTP/2, which serve many requests at once.
    pub(super) shared: Connections,
}

#[derive(Default)]
struct Inner {
    waiting: HashMap<UpstreamKey, Vec<Waiting>>,
    count: usize,
    /// Counts the closings: what was opened before one does not come back after it.
    generation: u64,
}

struct Waiting {
    upstream: Upstream,
    until: Instant,
    protocol: UpstreamProtocol,
}

impl Pool {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often connections were closed so far.
    pub fn generation(&self) -> u64 {
        self.inner().generation
    }

    /// How many wait, those of HTTP/2 that serve others meanwhile among them.
    pub fn len(&self) -> usize {
        self.inner().count + self.shared.count()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the one that was used last, if it is still good.
    pub fn take(&self, key: &UpstreamKey, protocol: UpstreamProtocol) -> Option<Upstream> {
        let now = Instant::now();
        loop {
            let mut waiting = self.inner().pop(key)?;
            let is_good = waiting.until > now && waiting.protocol == protocol;
            if is_good && waiting.upstream.is_quiet() {
                waiting.upstream.is_reused = true;
                return Some(waiting.upstream);
            }
        }
    }

    /// Takes one back after a response.
    pub fn give(&self, key: &UpstreamKey, protocol: UpstreamProtocol, upstream: Upstream) {
        if upstream.is_single() {
            return;
        }
        let limit = upstream.kept_for.map_or(IDLE, |kept| kept.min(IDLE));
        let Some(limit) = limit.checked_sub(MARGIN) else {
            return;
        };
        let waiting = Waiting {
            upstream,
            until: Instant::now() + limit,
            protocol,
        };
        self.inner().push(key, waiting);
    }

    /// Closes those of which this says so, and those of them that are in use when they come back.
    pub fn close(&self, is_closed: impl Fn(&UpstreamKey) -> bool) {
        self.shared.close(&is_closed);
        let mut inner = self.inner();
        inner.generation += 1;
        inner.waiting.retain(|key, _| !is_closed(key));
        inner.count = inner.waiting.values().map(Vec::len).sum();
    }

    /// Closes those that waited too long.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.shared.sweep(now);
        let mut inner = self.inner();
        inner.waiting.retain(|_, waiting| {
            waiting.retain(|waiting| waiting.until > now);
            !waiting.is_empty()
        });
        inner.count = inner.waiting.values().map(Vec::len).sum();
    }

    /// Sweeps until it is told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = interval(SWEEP);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.sweep();
        }
        self.shared.shut().await;
    }
}

impl Inner {
    fn pop(&mut self, key: &UpstreamKey) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(key)?.pop()?;
        self.count -= 1;
        Some(waiting)
    }

    fn push(&mut self, key: &UpstreamKey, waiting: Waiting) {
        if waiting.upstream.generation != self.generation || self.count >= FOR_ALL {
            return;
        }
        // The key is copied for the first alone.
        if let Some(others) = self.waiting.get_mut(key) {
            if others.len() < FOR_ONE {
                others.push(waiting);
                self.count += 1;
            }
        } else {
            self.waiting.insert(key.clone(), vec![waiting]);
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::proxy::wire::Blocks;

    const HTTP: UpstreamProtocol = UpstreamProtocol::Http;

    fn key(pod: &str, port: u16) -> UpstreamKey {
        UpstreamKey {
            workspace: "w".into(),
            pod: pod.into(),
            port,
        }
    }

    async fn pair(pool: &Pool) -> (Upstream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let blocks = Blocks::new(1);
        let connect = Upstream::connect(address, HTTP, &blocks, pool.generation());
        let (ours, theirs) = tokio::join!(connect, listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_serves_its_own_workspace_pod_and_port_alone() {
        let pool = Pool::default();
        let (upstream, _app) = pair(&pool).await;
        pool.give(&key("p", 80), HTTP, upstream);
        assert!(pool.take(&key("p", 81), HTTP).is_none());
        assert!(pool.take(&key("q", 80), HTTP).is_none());
        assert!(pool.take(&key("p", 80), HTTP).unwrap().is_reused);
        assert!(pool.is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_speaks_unasked_is_not_used() {
        let pool = Pool::default();
        let (first, app) = pair(&pool).await;
        let (second, mut talker) = pair(&pool).await;
        drop(app);
        talker.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        pool.give(&key("p", 80), HTTP, first);
        pool.give(&key("p", 80), HTTP, second);
        // The kernel's word reaches the runtime when it next looks.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(pool.take(&key("p", 80), HTTP).is_none());
    }

    #[tokio::test]
    async fn pod_ip_reuse_what_was_opened_before_a_closing_does_not_come_back() {
        let pool = Pool::default();
        let (waiting, _app) = pair(&pool).await;
        let (used, _app) = pair(&pool).await;
        pool.give(&key("p", 80), HTTP, waiting);
        pool.close(|key| &*key.pod == "p");
        pool.give(&key("p", 80), HTTP, used);
        assert!(pool.is_empty());
        let (fresh, _app) = pair(&pool).await;
        pool.give(&key("p", 80), HTTP, fresh);
        pool.close(|key| &*key.pod == "q");
        assert_eq!(pool.len(), 1);
    }

    #[tokio::test]
    async fn those_that_waited_too_long_are_closed_and_their_number_is_bounded() {
        let pool = Pool::default();
        let (mut said, _app) = pair(&pool).await;
        said.kept_for = Some(MARGIN);
        pool.give(&key("p", 80), HTTP, said);
        pool.sweep();
        assert!(pool.is_empty());
        let mut apps = Vec::new();
        for _ in 0..FOR_ONE + 1 {
            let (upstream, app) = pair(&pool).await;
            pool.give(&key("p", 80), HTTP, upstream);
            apps.push(app);
        }
        assert_eq!(pool.len(), FOR_ONE);
        pool.sweep();
        assert_eq!(pool.len(), FOR_ONE);
    }
}
