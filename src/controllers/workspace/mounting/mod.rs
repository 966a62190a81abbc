//! Whether tools can be mounted: asked of each pair of versions of kubelet and container runtime that nodes have, and kept
//! in a ConfigMap, so that another process need not ask again.
//!
//! Nobody waits for this. While nothing is known tools are mounted, and a start that is refused goes over to copying.

mod ask;
mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::controllers::Shared;
use crate::controllers::backoff::Backoff;
use crate::controllers::passes::chain;
use crate::controllers::workspace::Context;
use crate::controllers::workspace::nodes::Nodes;
use crate::model::failures::is_transient;
use crate::model::mounting::{Answer, Answers, Finding, Runtime};

/// So many probes run at a time.
const AT_A_TIME: usize = 4;
/// After the ConfigMap could not be read or written.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// A node that is suspected again and again is not asked more often than this.
const SUSPECT_AGAIN: Duration = Duration::from_secs(600);

/// What is known, shared by all passes.
pub struct Mounting {
    image: String,
    state: Mutex<State>,
    suspicion: Notify,
    loaded: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    answers: Answers,
    /// Nodes that refused a start, by what runs their containers: to be asked themselves.
    suspects: BTreeMap<Runtime, String>,
    /// When a node was last suspected.
    suspected: HashMap<String, Instant>,
}

impl Mounting {
    /// Nothing is known yet of this tools image.
    pub fn new(image: String) -> Self {
        Self {
            image,
            state: Mutex::default(),
            suspicion: Notify::new(),
            loaded: watch::Sender::new(false),
        }
    }

    /// Waits until it is known what an earlier process found out: a pass before that would take back what it decided.
    pub async fn wait_until_loaded(&self) {
        let mut loaded = self.loaded.subscribe();
        // The sender lives in self, so this ends by the value alone.
        let _ = loaded.wait_for(|loaded| *loaded).await;
    }

    /// Whether tools can be mounted wherever a pod may land; none while nobody knows.
    pub fn works(&self, nodes: &Nodes) -> Option<bool> {
        let present = nodes.runtimes();
        self.state().answers.work(present.as_ref())
    }

    /// A node refused a start. That may be the fault of an image in which nobody can look into `/opt`, and then concerns
    /// nobody else: so the node is asked before all others copy too.
    pub fn suspect(&self, runtime: Runtime, node: &str) {
        let mut state = self.state();
        let now = Instant::now();
        let recent = |at: &Instant| now.duration_since(*at) < SUSPECT_AGAIN;
        let known = state.answers.of(&runtime);
        if known.is_some_and(|answer| !answer.works)
            || state.suspected.get(node).is_some_and(recent)
        {
            return;
        }
        state.suspected.retain(|_, at| recent(at));
        state.suspected.insert(node.to_owned(), now);
        state.suspects.insert(runtime, node.to_owned());
        drop(state);
        self.suspicion.notify_one();
    }

    /// What is to be asked now, on which node, and how long to wait before some other may be. Whoever refused a start
    /// comes first.
    fn due(&self, nodes: &Nodes, asking: &Asking) -> (BTreeMap<Runtime, String>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.state();
        let mut room = AT_A_TIME.saturating_sub(asking.busy.len());
        let mut due = BTreeMap::new();
        let mut next = None;
        let suspects = std::mem::take(&mut state.suspects);
        for (runtime, node) in suspects {
            if room == 0 || asking.busy.contains(&runtime) {
                state.suspects.insert(runtime, node);
            } else {
                room -= 1;
                due.insert(runtime, node);
            }
        }
        for (runtime, node) in nodes.to_ask() {
            let known = state.answers.of(&runtime).is_some();
            if known || asking.busy.contains(&runtime) || due.contains_key(&runtime) {
                continue;
            }
            match asking
                .not_before
                .get(&runtime)
                .filter(|moment| **moment > now)
            {
                Some(moment) => next = Some(next.unwrap_or(*moment).min(*moment)),
                None if room == 0 => {}
                None => {
                    room -= 1;
                    due.insert(runtime, node);
                }
            }
        }
        (due, next)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what an earlier process found out.
    async fn load(&self, shared: &Shared) -> Result<(), kube::Error> {
        let data = store::load(&shared.client, &shared.config.namespace).await?;
        self.state().answers = Answers::of_data(&data, &self.image);
        Ok(())
    }

    async fn save(&self, shared: &Shared) -> Result<(), kube::Error> {
        let data = self.state().answers.to_data();
        store::save(&shared.client, &shared.config.namespace, data).await
    }
}

/// Asks whatever is not known, for as long as this process leads.
pub async fn run(context: &Context, shutdown: &CancellationToken) {
    // An API server that knows no image volumes has answered for all nodes.
    if context.cluster.image_volumes == Some(false) {
        context.mounting.loaded.send_replace(true);
        return;
    }
    tokio::select! {
        () = keep_asking(context) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn keep_asking(context: &Context) {
    let shared = &context.shared;
    while let Err(error) = context.mounting.load(shared).await {
        tracing::warn!(
            error = chain(&error),
            "what is known of image volumes can't be read"
        );
        // Who may not read it asks anew.
        if matches!(&error, kube::Error::Api(status) if !is_transient(Some(status.code))) {
            break;
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
    context.mounting.loaded.send_replace(true);
    let mut asking = Asking {
        backoff: Backoff::new(shared.config.backoff),
        not_before: HashMap::new(),
        busy: BTreeSet::new(),
        unsaved: false,
    };
    let mut probes = FuturesUnordered::new();
    loop {
        let (due, mut next) = context.mounting.due(&context.nodes, &asking);
        for (runtime, node) in due {
            asking.busy.insert(runtime.clone());
            probes.push(async move {
                let finding = ask::ask(shared, &context.mounting.image, &runtime, &node).await;
                (runtime, node, finding)
            });
        }
        if asking.unsaved {
            match context.mounting.save(shared).await {
                Ok(()) => asking.unsaved = false,
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "what is known of image volumes can't be written down yet"
                    );
                    let again = Instant::now() + TRY_AGAIN;
                    next = Some(next.unwrap_or(again).min(again));
                }
            }
        }
        let waited = async {
            match next {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((runtime, node, finding)) = probes.next() => {
                asking.take(context, runtime, node, finding);
            }
            () = context.nodes.runtimes_changed() => {}
            () = context.mounting.suspicion.notified() => {}
            () = waited => {}
        }
    }
}

/// Where the asking stands.
struct Asking {
    backoff: Backoff<Runtime>,
    not_before: HashMap<Runtime, Instant>,
    /// What is being asked.
    busy: BTreeSet<Runtime>,
    /// Whether there are answers that are not written down.
    unsaved: bool,
}

impl Asking {
    fn take(&mut self, context: &Context, runtime: Runtime, node: String, finding: Finding) {
        self.busy.remove(&runtime);
        let (works, said) = match finding {
            Finding::Answer(works, said) => (works, said),
            Finding::Pending | Finding::Nothing(_) => {
                let said = match finding {
                    Finding::Nothing(said) => said,
                    _ => String::new(),
                };
                let pause = self.backoff.failed(runtime.clone(), rand::random());
                tracing::warn!(
                    %runtime, node, said, ?pause,
                    "whether tools can be mounted could not be found out; it is tried again"
                );
                self.not_before.insert(runtime, Instant::now() + pause);
                return;
            }
        };
        tracing::info!(%runtime, node, works, said, "whether tools can be mounted");
        self.backoff.reset(&runtime);
        self.not_before.remove(&runtime);
        self.unsaved = true;
        let present = context.nodes.runtimes().unwrap_or_default();
        let answer = Answer {
            runtime,
            image: context.mounting.image.clone(),
            works,
            node,
            said,
        };
        context.mounting.state().answers.take(answer, &present);
    }
}
