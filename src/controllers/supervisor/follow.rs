//! Following the supervisors of workspaces that start: one stream each, as long as there is something to tell.
//!
//! A pass says whom to follow, and looks up what was told. A stream ends with the steps; what was told then stands in
//! the status, and nobody is connected to. So workspaces that run cost nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use workstead_link::{Report, Request};

use crate::controllers::cache::Key;
use crate::controllers::passes::chain;
use crate::controllers::supervisor::authority::AuthorityError;
use crate::controllers::supervisor::keys::Keys;
use crate::inside::dial::{Call, DialError, Target, call};
use crate::model::clock::Clock;

/// So many streams at once; the others wait for their turn.
const STREAMS: usize = 512;
/// Orders and news that wait to be taken.
const WAITING: usize = 1024;
/// After a failed call; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a supervisor can't be followed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    /// Our own certificate.
    #[error("failed to prepare our certificate")]
    Sign(#[from] AuthorityError),
    /// It does not answer.
    #[error(transparent)]
    Call(#[from] DialError),
}

/// One life of a workspace's main container. Each has its own supervisor, which begins at the first step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// What the node calls the container.
    pub container: String,
    /// The request of somebody who wants to know how it is now.
    pub request: Option<String>,
}

impl Life {
    /// Whether who follows `self` need not ask again for `wanted`.
    fn serves(&self, wanted: &Self) -> bool {
        self.container == wanted.container
            && (wanted.request.is_none() || self.request == wanted.request)
    }
}

/// What a life told last.
#[derive(Clone, Debug)]
pub struct Said {
    /// The report.
    pub report: Arc<Report>,
    /// Whether it was told since the request was made.
    pub answers: bool,
}

/// What is known of a life.
struct Followed {
    life: Life,
    said: Option<Said>,
    stop: CancellationToken,
}

/// Somebody to follow.
struct Order {
    key: Key,
    life: Life,
    target: Target,
    stop: CancellationToken,
}

/// Whom we follow and what they told.
pub struct Followers {
    known: Mutex<HashMap<Key, Followed>>,
    orders: mpsc::Sender<Order>,
    news: mpsc::Sender<Key>,
}

/// The other ends, for [`Followers::run`] and for whoever is to be woken.
pub struct Ends {
    orders: mpsc::Receiver<Order>,
    news: mpsc::Receiver<Key>,
}

impl Ends {
    /// Workspaces of which there is news, and what takes the orders.
    pub fn split(self) -> (impl Stream<Item = Key> + Send + 'static, Orders) {
        let mut news = self.news;
        (
            futures::stream::poll_fn(move |context| news.poll_recv(context)),
            Orders(self.orders),
        )
    }
}

/// What is to be done.
pub struct Orders(mpsc::Receiver<Order>);

impl Followers {
    /// Nobody yet.
    pub fn new() -> (Self, Ends) {
        let (orders, taken) = mpsc::channel(WAITING);
        let (news, heard) = mpsc::channel(WAITING);
        let followers = Self {
            known: Mutex::default(),
            orders,
            news,
        };
        let ends = Ends {
            orders: taken,
            news: heard,
        };
        (followers, ends)
    }

    /// Follows a life, if that is not done already. Returns whether it is: when too many wait, ask again.
    pub fn follow(&self, key: &Key, life: &Life, target: Target) -> bool {
        let mut known = self.lock();
        let before = known.get(key);
        if before.is_some_and(|followed| followed.life.serves(life)) {
            return true;
        }
        // What was told before the request is no answer to it, and true until there is one.
        let said = before
            .filter(|followed| followed.life.container == life.container)
            .and_then(|followed| followed.said.clone())
            .map(|said| Said {
                answers: false,
                ..said
            });
        let stop = CancellationToken::new();
        let order = Order {
            key: key.clone(),
            life: life.clone(),
            target,
            stop: stop.clone(),
        };
        if self.orders.try_send(order).is_err() {
            return false;
        }
        let followed = Followed {
            life: life.clone(),
            said,
            stop,
        };
        if let Some(before) = known.insert(key.clone(), followed) {
            before.stop.cancel();
        }
        true
    }

    /// Follows a Workspace no more: its container is gone, or has told all.
    pub fn leave(&self, key: &Key) {
        if let Some(followed) = self.lock().remove(key) {
            followed.stop.cancel();
        }
    }

    /// What a life told last.
    pub fn report(&self, key: &Key, life: &Life) -> Option<Said> {
        let known = self.lock();
        let followed = known
            .get(key)
            .filter(|followed| followed.life.serves(life))?;
        followed.said.clone()
    }

    /// Carries the orders out, until shutdown.
    pub async fn run(
        &self,
        orders: Orders,
        keys: &Keys,
        clock: &dyn Clock,
        shutdown: &CancellationToken,
    ) {
        let mut orders = orders.0;
        let places = Semaphore::new(STREAMS);
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(order) = orders.recv() => running.push(self.carry_out(order, keys, clock, &places)),
                Some(()) = running.next() => {}
            }
        }
    }

    async fn carry_out(&self, order: Order, keys: &Keys, clock: &dyn Clock, places: &Semaphore) {
        let following = async {
            // The semaphore is never closed.
            let _place = places.acquire().await;
            let mut pause = FIRST_PAUSE;
            loop {
                match self.listen(&order, keys, clock).await {
                    Ok(true) => return,
                    Ok(false) => pause = FIRST_PAUSE,
                    Err(error) => {
                        tracing::debug!(workspace = %order.key, error = chain(&error), "a supervisor does not answer");
                    }
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        tokio::select! {
            () = following => {}
            () = order.stop.cancelled() => {}
        }
    }

    /// Listens to one stream to its end. Returns whether all was told.
    async fn listen(
        &self,
        order: &Order,
        keys: &Keys,
        clock: &dyn Clock,
    ) -> Result<bool, FollowError> {
        let us = keys.us(clock.now())?;
        let mut stream: Call = call(&us.identity, order.target, Request::Watch).await?;
        let mut settled = false;
        while let Some(report) = stream.next().await? {
            settled = report.settled;
            self.heard(order, report).await;
        }
        Ok(settled)
    }

    async fn heard(&self, order: &Order, report: Report) {
        let is_ours = match self.lock().get_mut(&order.key) {
            Some(followed) if followed.life == order.life => {
                followed.said = Some(Said {
                    report: Arc::new(report),
                    answers: true,
                });
                true
            }
            _ => false,
        };
        if is_ours {
            // Closed only when the controller ends.
            let _ = self.news.send(order.key.clone()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Followed>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inside::pin::PublicKeyDigest;

    fn life(request: Option<&str>) -> Life {
        Life {
            container: "containerd://1".to_owned(),
            request: request.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn what_was_told_before_a_request_is_no_answer_to_it_and_true_until_there_is_one() {
        let (followers, ends) = Followers::new();
        let (_news, mut orders) = ends.split();
        let key = Key {
            namespace: "team-a".to_owned(),
            name: "api".to_owned(),
        };
        let target = Target {
            address: ([127, 0, 0, 1], 60003).into(),
            key: PublicKeyDigest::parse(&"0".repeat(64)).unwrap(),
        };
        let told = |ports: &[u16]| Report {
            ports: ports.to_vec(),
            ..Report::default()
        };
        assert!(followers.follow(&key, &life(None), target));
        let first = orders.0.try_recv().unwrap();
        followers.heard(&first, told(&[1])).await;
        assert!(followers.report(&key, &life(None)).unwrap().answers);

        // Asked: there is another call, and what is known stays known.
        assert!(followers.follow(&key, &life(Some("now")), target));
        assert!(first.stop.is_cancelled());
        let second = orders.0.try_recv().unwrap();
        let known = followers.report(&key, &life(Some("now"))).unwrap();
        assert!(!known.answers);
        assert_eq!(known.report.ports, [1]);
        followers.heard(&first, told(&[9])).await;
        let known = followers.report(&key, &life(Some("now"))).unwrap();
        assert!(!known.answers, "the first call is over");
        followers.heard(&second, told(&[2])).await;
        let answer = followers.report(&key, &life(Some("now"))).unwrap();
        assert!(answer.answers);
        assert_eq!(answer.report.ports, [2]);

        // Once it is answered the same call goes on.
        assert!(followers.follow(&key, &life(None), target));
        assert!(orders.0.try_recv().is_err());
        assert!(!second.stop.is_cancelled());

        // Another container has told nothing yet.
        let next = Life {
            container: "containerd://2".to_owned(),
            request: None,
        };
        assert!(followers.follow(&key, &next, target));
        assert!(followers.report(&key, &next).is_none());
    }
}
