//! The watches that fill the index, and those of single objects that are handed on.
//!
//! One task holds all watches of one proxy and is the only writer of the table: it takes in what has come, and publishes
//! once. Nothing is published before each kind was listed once: half a picture would open what the other half closes.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::api::{Workspace, WorkspaceClass};
use crate::model::names::{MANAGED_BY, MANAGED_BY_LABEL, REVOCATIONS_CONFIG_MAP};
use crate::proxy::route::facts::{
    ClassFacts, Key, LinkFacts, PodFacts, ServiceFacts, SliceFacts, WorkspaceFacts,
};
use crate::proxy::route::freshness::Freshness;
use crate::proxy::route::index::{Fact, Index, Settings};
use crate::proxy::route::metrics::{KindLabels, ReasonLabels, RouteMetrics};
use crate::proxy::route::refusal::{Kind, Notice};
use crate::proxy::route::table::{Routes, Table};

/// How often the revocation object is read, whatever its watch says.
const LOOK: Duration = Duration::from_secs(15);
/// How long such a read may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);
/// How long one watch lasts before it is taken up again, in seconds: a connection that died without a word is noticed
/// then. The default is five minutes, in which nobody would hear of a share that was taken back.
const WATCH_SECONDS: u32 = 60;
/// So much is taken in before it is published.
const BATCH: usize = 512;

/// What is watched.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// The installation's namespace, where the proxy's own objects are.
    pub namespace: String,
    /// Workspaces of this namespace alone, and classes with these labels alone: for tests that share an API server.
    pub scope: Option<Scope>,
    /// The Secrets that are handed on, by name.
    pub secrets: Vec<String>,
    /// What the index is told.
    pub index: Settings,
}

/// A part of a cluster.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Which namespace.
    pub namespace: String,
    /// Which classes, as a label selector; none, all.
    pub class_labels: Option<String>,
}

/// What a Secret holds. It shows nowhere.
pub struct Kept(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl Kept {
    /// One value.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(|value| value.as_slice())
    }

    /// One value, if it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.get(key)?).ok()
    }

    fn of(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default();
        Self(
            data.into_iter()
                .map(|(key, value)| (key, Zeroizing::new(value.0)))
                .collect(),
        )
    }
}

/// An object that is handed on: none, it is not there.
pub type Handed<T> = watch::Receiver<Option<Arc<T>>>;

/// What revocations are written in.
pub type Revocations = BTreeMap<String, String>;

/// Feeds the table.
pub struct Watches {
    client: Client,
    settings: WatchSettings,
    table: Arc<Table>,
    freshness: Arc<Freshness>,
    metrics: RouteMetrics,
    notices: mpsc::Sender<Notice>,
    secrets: BTreeMap<String, watch::Sender<Option<Arc<Kept>>>>,
    revocations: watch::Sender<Option<Arc<Revocations>>>,
    missing: watch::Sender<BTreeSet<String>>,
}

/// Something that a watch told.
enum News {
    Applied(Fact),
    Deleted(Kind, Key),
    Listed(Kind, Vec<Fact>),
    /// Nothing to take in, such as the begin of a list.
    Nothing,
}

type Told = Pin<Box<dyn Stream<Item = News> + Send>>;

impl Watches {
    /// Watches that have not begun. What is refused goes to `notices`, as far as they are taken.
    pub fn new(
        client: Client,
        settings: WatchSettings,
        table: Arc<Table>,
        freshness: Arc<Freshness>,
        metrics: RouteMetrics,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        let secrets: BTreeMap<_, _> = settings
            .secrets
            .iter()
            .map(|name| (name.clone(), watch::Sender::new(None)))
            .collect();
        let kinds = Kind::ALL.iter().map(|kind| kind.as_str().to_owned());
        let missing = kinds
            .chain(secrets.keys().map(|name| secret_label(name)))
            .chain([revocations_label()])
            .collect();
        Self {
            client,
            settings,
            table,
            freshness,
            metrics,
            notices,
            secrets,
            revocations: watch::Sender::new(None),
            missing: watch::Sender::new(missing),
        }
    }

    /// A Secret of the settings.
    pub fn secret(&self, name: &str) -> Option<Handed<Kept>> {
        self.secrets.get(name).map(watch::Sender::subscribe)
    }

    /// What is revoked.
    pub fn revocations(&self) -> Handed<Revocations> {
        self.revocations.subscribe()
    }

    /// What was not listed yet. Empty, the picture is whole: ready.
    pub fn missing(&self) -> watch::Receiver<BTreeSet<String>> {
        self.missing.subscribe()
    }

    /// Watches until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let working = async {
            tokio::join!(
                self.fill(),
                self.look(),
                self.hand_on_revocations(),
                self.hand_on_secrets()
            )
        };
        tokio::select! {
            _ = working => {}
            () = stop.cancelled() => {}
        }
    }

    /// The index and the table.
    async fn fill(&self) {
        let mut index = Index::new(self.settings.index.clone());
        let mut routes = Routes::default();
        let mut listed = BTreeSet::new();
        let mut told = self.told().ready_chunks(BATCH);
        while let Some(batch) = told.next().await {
            for news in batch {
                match news {
                    News::Applied(fact) => index.apply(fact),
                    News::Deleted(kind, key) => index.delete(kind, &key),
                    News::Listed(kind, facts) => {
                        index.reset(kind, facts);
                        listed.insert(kind);
                        self.has_listed(kind.as_str());
                    }
                    News::Nothing => {}
                }
            }
            if listed.len() < Kind::ALL.len() {
                continue;
            }
            let changed = index.settle(&routes);
            let is_first = !self.table.is_synced();
            if let Some(changed) = changed {
                routes = changed;
            } else if !is_first {
                continue;
            }
            self.metrics
                .routes
                .set(i64::try_from(routes.len()).unwrap_or(i64::MAX));
            self.table.publish(routes.clone());
            for notice in index.take_notices() {
                self.tell(notice);
            }
        }
    }

    fn tell(&self, notice: Notice) {
        let reason = notice.refusal.reason();
        self.metrics
            .refusals
            .get_or_create(&ReasonLabels { reason })
            .inc();
        let object = &notice.object;
        tracing::warn!(
            kind = object.kind.as_str(),
            namespace = &*object.key.namespace,
            name = &*object.key.name,
            reason,
            "not routed: {}",
            notice.refusal
        );
        // Events are hints: with too many at once the log has them all.
        let _ = self.notices.try_send(notice);
    }

    fn told(&self) -> impl Stream<Item = News> + use<> {
        let ours = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
        let children = || config().labels(&ours);
        let scope = self.settings.scope.as_ref();
        let classes = scope.and_then(|scope| scope.class_labels.as_deref());
        let classes = classes.map_or_else(config, |labels| config().labels(labels));
        let all: Vec<Told> = vec![
            self.guarded(
                Kind::Workspace,
                self.scoped(),
                config(),
                |workspace: Workspace| Fact::Workspace(Box::new(WorkspaceFacts::of(workspace))),
            ),
            self.guarded(
                Kind::WorkspaceClass,
                Api::all(self.client.clone()),
                classes,
                |class: WorkspaceClass| Fact::Class(ClassFacts::of(&class)),
            ),
            self.plain(Kind::Service, children(), |service: Service| {
                Fact::Service(ServiceFacts::of(&service))
            }),
            self.plain(Kind::EndpointSlice, children(), |slice: EndpointSlice| {
                Fact::Slice(SliceFacts::of(&slice))
            }),
            self.plain(Kind::Pod, children(), |pod: Pod| {
                Fact::Pod(PodFacts::of(&pod))
            }),
            self.plain(
                Kind::ReplicaSet,
                children(),
                |set: PartialObjectMeta<ReplicaSet>| Fact::ReplicaSet(LinkFacts::of(&set.metadata)),
            ),
            self.plain(
                Kind::Deployment,
                children(),
                |deployment: PartialObjectMeta<Deployment>| {
                    Fact::Deployment(LinkFacts::of(&deployment.metadata))
                },
            ),
        ];
        stream::select_all(all)
    }

    fn scoped<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.settings.scope {
            Some(scope) => Api::namespaced(self.client.clone(), &scope.namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// A kind of the cluster's own.
    fn plain<K>(
        &self,
        kind: Kind,
        config: watcher::Config,
        fact: impl Fn(K) -> Fact + Send + 'static,
    ) -> Told
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        self.follow(kind, self.scoped(), config, move |object: K| {
            Ok(fact(object))
        })
    }

    /// A kind of ours, of which an object may be unreadable: nothing is opened by what can't be read.
    fn guarded<K>(
        &self,
        kind: Kind,
        api: Api<DeserializeGuard<K>>,
        config: watcher::Config,
        fact: impl Fn(K) -> Fact + Send + 'static,
    ) -> Told
    where
        K: Resource<DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        self.follow(kind, api, config, move |object: DeserializeGuard<K>| {
            object.0.map(&fact).map_err(|invalid| {
                let key = Key::of(&invalid.metadata);
                tracing::warn!(
                    kind = kind.as_str(),
                    namespace = &*key.namespace,
                    name = &*key.name,
                    error = %invalid.error,
                    "an object can't be read and is not routed"
                );
                key
            })
        })
    }

    fn follow<K>(
        &self,
        kind: Kind,
        api: Api<K>,
        config: watcher::Config,
        fact: impl Fn(K) -> Result<Fact, Key> + Send + 'static,
    ) -> Told
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let (freshness, metrics) = (self.freshness.clone(), self.metrics.clone());
        let mut list = Vec::new();
        let news = move |event: Result<Event<K>, watcher::Error>| {
            let label = kind.as_str();
            match heard(event, label, label, &freshness, &metrics) {
                None | Some(Event::Init) => {
                    list.clear();
                    News::Nothing
                }
                Some(Event::InitApply(object)) => {
                    list.extend(fact(object).ok());
                    News::Nothing
                }
                Some(Event::InitDone) => News::Listed(kind, std::mem::take(&mut list)),
                Some(Event::Apply(object)) => match fact(object) {
                    Ok(fact) => News::Applied(fact),
                    Err(key) => News::Deleted(kind, key),
                },
                Some(Event::Delete(object)) => News::Deleted(kind, Key::of(object.meta())),
            }
        };
        Box::pin(watcher(api, config).default_backoff().map(news))
    }

    fn has_listed(&self, what: &str) {
        self.missing
            .send_if_modified(|missing| missing.remove(what));
    }

    /// Reads the revocation object now and then: a watch may be silent because it is dead.
    async fn look(&self) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // That it is not there is an answer too.
            match timeout(LOOK_DEADLINE, api.get_opt(REVOCATIONS_CONFIG_MAP)).await {
                Ok(Ok(_)) => self.freshness.heard(),
                Ok(Err(error)) => tracing::debug!(%error, "the API server does not answer"),
                Err(_) => tracing::debug!("the API server does not answer in time"),
            }
            let age = self.freshness.age().as_secs();
            self.metrics.age.set(i64::try_from(age).unwrap_or(i64::MAX));
        }
    }

    async fn hand_on_revocations(&self) {
        let label = revocations_label();
        let events = self.one::<ConfigMap>(REVOCATIONS_CONFIG_MAP, "ConfigMap");
        let take = |map: Option<ConfigMap>| {
            let data = map.map(|map| Arc::new(map.data.unwrap_or_default()));
            self.revocations.send_replace(data);
            self.has_listed(&label);
        };
        hand_on(events, take).await;
    }

    async fn hand_on_secrets(&self) {
        let handing = self.secrets.iter().map(|(name, sender)| async move {
            let label = secret_label(name);
            let take = |secret: Option<Secret>| {
                sender.send_replace(secret.map(|secret| Arc::new(Kept::of(secret))));
                self.has_listed(&label);
            };
            hand_on(self.one::<Secret>(name, "Secret"), take).await;
        });
        futures::future::join_all(handing).await;
    }

    /// One object of the installation's namespace, by name: the right to read it is by name too.
    fn one<K>(&self, name: &str, kind: &'static str) -> impl Stream<Item = Event<K>> + use<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let api = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let config = config().fields(&format!("metadata.name={name}"));
        let (freshness, metrics) = (self.freshness.clone(), self.metrics.clone());
        let label = format!("{kind} {name}");
        watcher(api, config)
            .default_backoff()
            .filter_map(move |event| {
                std::future::ready(heard(event, kind, &label, &freshness, &metrics))
            })
    }
}

/// Takes each state of one object.
async fn hand_on<K>(events: impl Stream<Item = Event<K>>, take: impl Fn(Option<K>)) {
    let mut events = std::pin::pin!(events);
    let mut listed = None;
    while let Some(event) = events.next().await {
        match event {
            Event::Init => listed = None,
            Event::InitApply(object) => listed = Some(object),
            Event::InitDone => take(listed.take()),
            Event::Apply(object) => take(Some(object)),
            Event::Delete(_) => take(None),
        }
    }
}

/// An event of a watch; an error is counted and logged here, and makes the picture old.
fn heard<K>(
    event: Result<Event<K>, watcher::Error>,
    kind: &'static str,
    label: &str,
    freshness: &Freshness,
    metrics: &RouteMetrics,
) -> Option<Event<K>> {
    match event {
        Ok(event) => {
            // A list that begins has not told anything yet.
            if !matches!(event, Event::Init) {
                freshness.watch_told(label);
            }
            Some(event)
        }
        Err(error) => {
            freshness.watch_broke(label);
            metrics
                .watch_errors
                .get_or_create(&KindLabels { kind })
                .inc();
            tracing::warn!(%error, watch = label, "a watch broke; it is taken up again");
            None
        }
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

fn secret_label(name: &str) -> String {
    format!("Secret {name}")
}

fn revocations_label() -> String {
    format!("ConfigMap {REVOCATIONS_CONFIG_MAP}")
}
