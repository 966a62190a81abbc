//! The WorkspaceVariables controller: sealed sets are opened, judged at their place, and told of without a value.

use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde_json::json;
use workstead::api::WorkspaceVariables;
use workstead::model::names::{
    IDENTITIES_ENTRY, IDENTITIES_SECRET, RECIPIENTS_CONFIG_MAP, VARIABLES_MANAGER,
};
use workstead::secrets::identity::{Identity, Recipient};
use workstead::secrets::seal::seal;
use workstead::telemetry::metrics::OpenedLabels;
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::{Process, mk_config};

/// A value that is written nowhere but into the sealed text.
const CANARY: &str = "cAnArY-5f3e9b";

/// A controller, and whom to seal for there.
pub struct World {
    pub client: Client,
    pub namespace: String,
    pub recipient: Recipient,
}

impl World {
    /// With a controller that has made its identity.
    pub async fn start(prefix: &str) -> (Self, Process) {
        let plane = ControlPlane::shared().await.unwrap();
        let namespace = plane.namespace(prefix).await.unwrap();
        let client = plane.client();
        let process = Process::start(mk_config(&namespace, "only"), client.clone());
        (Self::of(client, namespace).await, process)
    }

    /// In a namespace that has a controller.
    pub async fn of(client: Client, namespace: String) -> Self {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
        let recipient = eventually("a recipient", || async {
            let map = maps.get_opt(RECIPIENTS_CONFIG_MAP).await.unwrap()?;
            let text = map.data?.remove("recipients.txt")?;
            let line = text.lines().find(|line| line.starts_with("age1"))?;
            Some(Recipient::parse(line).unwrap())
        })
        .await;
        Self {
            client,
            namespace,
            recipient,
        }
    }

    fn again(&self) -> Process {
        Process::start(mk_config(&self.namespace, "only"), self.client.clone())
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn sets(&self) -> Api<WorkspaceVariables> {
        self.api()
    }

    /// A set that is sealed for its place.
    pub fn seal(&self, name: &str, body: &str) -> String {
        let place = format!("{{namespace: {}, name: {name}}}", self.namespace);
        self.seal_for(&place, body)
    }

    fn seal_for(&self, binding: &str, body: &str) -> String {
        let plaintext = format!("binding: {binding}\n{body}\n");
        seal(plaintext.as_bytes(), std::slice::from_ref(&self.recipient)).unwrap()
    }

    /// As kubectl apply does.
    pub async fn apply(&self, name: &str, sealed: &str) {
        let object = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceVariables",
            "metadata": {"name": name}, "spec": {"format": "Age", "sealed": sealed},
        });
        let params = PatchParams::apply("kubectl").force();
        let patch = Patch::Apply(&object);
        self.sets().patch(name, &params, &patch).await.unwrap();
    }

    /// Waits until this is said of the newest version.
    pub async fn until(&self, name: &str, reason: &str) -> WorkspaceVariables {
        let what = format!("{name} to be {reason}");
        eventually(&what, || async {
            let set = self.sets().get(name).await.unwrap();
            let status = set.status.as_ref()?;
            let is_newest = status.observed_generation == set.metadata.generation;
            let ready = status.conditions.iter().find(|one| one.type_ == "Ready")?;
            (is_newest && ready.reason == reason).then_some(set)
        })
        .await
    }

    pub async fn accepted(&self, name: &str, body: &str) -> WorkspaceVariables {
        self.apply(name, &self.seal(name, body)).await;
        self.until(name, "Accepted").await
    }
}

fn message(set: &WorkspaceVariables) -> &str {
    &set.status.as_ref().unwrap().conditions[0].message
}

fn opened(process: &Process) -> u64 {
    let count = |outcome| {
        let labels = OpenedLabels { outcome };
        process.metrics.opened_sets.get_or_create(&labels).get()
    };
    count("ok") + count("refused")
}

#[tokio::test]
async fn a_set_that_is_sealed_for_its_place_is_accepted_and_named_without_a_value() {
    let (world, process) = World::start("sets").await;
    let body = format!(
        "appliesTo: {{owner: alice@example.com}}\nserial: 7\nenv: {{TOKEN: {CANARY}, B: '8080'}}\n\
         files: {{.netrc: {{content: {CANARY}}}}}"
    );
    let set = world.accepted("api", &body).await;
    let status = set.status.as_ref().unwrap();
    let accepted = status.accepted.as_ref().unwrap();
    assert_eq!(
        (&*accepted.env, &*accepted.files),
        (
            &["B".to_owned(), "TOKEN".to_owned()][..],
            &[".netrc".to_owned()][..]
        )
    );
    assert_eq!(
        (status.serial, accepted.digest.len(), &*accepted.scope),
        (Some(7), 64, "Strict")
    );
    let applies_to = accepted.applies_to.as_ref().unwrap();
    assert_eq!(applies_to.owner.as_deref(), Some("alice@example.com"));
    let by = world.recipient.fingerprint().to_string();
    assert_eq!(status.opened_by.as_ref(), Some(&by));
    assert_eq!(
        message(&set),
        "2 variables and 1 file, for Workspaces of alice@example.com"
    );
    let text = process.metrics.encode().unwrap();
    assert!(
        text.contains(&format!("workstead_variables_sets{{identity=\"{by}\"}} 1")),
        "{text}"
    );
    // A refusal of each kind that may look at values.
    world
        .apply(
            "api",
            &world.seal("api", &format!("env: {{TOKEN: {CANARY}, 1: {CANARY}}}")),
        )
        .await;
    let refused = world.until("api", "InvalidContent").await;
    let events = world.api::<Event>();
    let told = eventually("an event", || async {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        let ours = all
            .iter()
            .any(|event| event.reason.as_deref() == Some("InvalidContent"));
        ours.then_some(all)
    })
    .await;
    let said = [
        serde_json::to_string(&refused).unwrap(),
        serde_json::to_string(&told).unwrap(),
        process.metrics.encode().unwrap(),
    ];
    assert!(said.iter().all(|text| !text.contains(CANARY)), "{said:?}");
    world
        .sets()
        .delete("api", &DeleteParams::default())
        .await
        .unwrap();
    eventually("no set of that identity", || async {
        let text = process.metrics.encode().unwrap();
        text.contains(&format!("workstead_variables_sets{{identity=\"{by}\"}} 0"))
            .then_some(())
    })
    .await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_set_that_was_copied_elsewhere_is_refused_though_its_text_is_known() {
    let (world, process) = World::start("copies").await;
    let sealed = world.seal("api", "env: {A: x}");
    world.apply("api", &sealed).await;
    world.until("api", "Accepted").await;
    world.apply("copy", &sealed).await;
    let copy = world.until("copy", "BindingMismatch").await;
    let says = format!(
        "WV100: it was sealed for {0}/api and is at {0}/copy",
        world.namespace
    );
    assert!(message(&copy).starts_with(&says), "{}", message(&copy));
    assert!(copy.status.as_ref().unwrap().accepted.is_none());
    assert_eq!(opened(&process), 1, "the copy is the same text");
    for (name, binding, reason) in [
        (
            "other",
            "{namespace: team-b, name: other}",
            "BindingMismatch",
        ),
        ("half", "{name: half}", "BindingMissing"),
        // Together the parts are the same text.
        (
            "api",
            &*format!("{{namespace: {}/, name: api}}", world.namespace),
            "BindingMismatch",
        ),
    ] {
        world
            .apply(name, &world.seal_for(binding, "env: {A: x}"))
            .await;
        world.until(name, reason).await;
    }
    let wide = format!("{{namespace: {}}}", world.namespace);
    world
        .apply(
            "any",
            &world.seal_for(&wide, "scope: Namespace\nenv: {A: x}"),
        )
        .await;
    world.until("any", "Accepted").await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn an_older_text_is_refused_until_an_administrator_lets_exactly_it_in() {
    let (world, process) = World::start("serials").await;
    let old = world.seal("api", "serial: 6\nenv: {A: old}");
    let good = world.accepted("api", "serial: 7\nenv: {A: new}").await;
    world.apply("api", &old).await;
    let refused = world.until("api", "ReplayedVariables").await;
    let (status, before) = (
        refused.status.as_ref().unwrap(),
        good.status.as_ref().unwrap(),
    );
    assert_eq!(
        (&status.accepted, status.serial),
        (&before.accepted, Some(7))
    );
    assert!(
        message(&refused).contains("stays in use"),
        "{}",
        message(&refused)
    );
    // Another content under the same number; then the same content, sealed again.
    world
        .apply("api", &world.seal("api", "serial: 7\nenv: {A: other}"))
        .await;
    world.until("api", "ReplayedVariables").await;
    world.accepted("api", "serial: 7\nenv: {A: new}").await;
    // The message names the digest that the annotation takes.
    world.apply("api", &old).await;
    let refused = world.until("api", "ReplayedVariables").await;
    let digest = message(&refused).split("accept-serial: ").nth(1).unwrap();
    let digest = &digest[..64];
    let let_in = json!({"metadata": {"annotations": {"workstead.dev/accept-serial": digest}}});
    let params = PatchParams::default();
    let patch = Patch::Merge(&let_in);
    world.sets().patch("api", &params, &patch).await.unwrap();
    let accepted = world.until("api", "Accepted").await;
    let status = accepted.status.unwrap();
    assert_eq!(
        (status.serial, status.accepted.unwrap().digest),
        (Some(7), digest.to_owned())
    );
    // An object that is made anew has no past.
    world
        .sets()
        .delete("api", &DeleteParams::default())
        .await
        .unwrap();
    world.accepted("api", "serial: 1\nenv: {A: x}").await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_damaged_set_leaves_the_last_good_one_and_all_others_alone() {
    let (world, process) = World::start("damaged").await;
    let good = world.accepted("api", "env: {A: x}").await;
    world.accepted("other", "env: {A: x}").await;
    let sealed = world.seal("api", "env: {A: new}");
    let cut: String = sealed
        .lines()
        .filter(|line| !line.starts_with("-----END"))
        .collect();
    world.apply("api", &cut).await;
    let refused = world.until("api", "IntegrityFailed").await;
    assert_eq!(
        refused.status.unwrap().accepted,
        good.status.unwrap().accepted
    );
    world.accepted("other", "env: {A: z}").await;
    world.accepted("api", "env: {A: new}").await;
    process.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_is_opened_or_written_when_nothing_changed_and_after_a_restart_each_text_once() {
    let (world, process) = World::start("steady").await;
    for number in 0..10 {
        world
            .accepted(
                &format!("set-{number}"),
                &format!("serial: {number}\nenv: {{A: x}}"),
            )
            .await;
    }
    assert_eq!(opened(&process), 10);
    let touch = json!({"metadata": {"annotations": {"example.com/touch": "1"}}});
    let before = versions(&world).await;
    for number in 0..10 {
        let (name, params) = (format!("set-{number}"), PatchParams::default());
        world
            .sets()
            .patch(&name, &params, &Patch::Merge(&touch))
            .await
            .unwrap();
    }
    let touched = versions(&world).await;
    assert_ne!(before, touched);
    // The last of them is seen when another change is.
    world.accepted("last", "env: {A: x}").await;
    assert_eq!(opened(&process), 11);
    process.stop().await.unwrap();

    let process = world.again();
    eventually("all texts to be opened", || async {
        (opened(&process) == 11).then_some(())
    })
    .await;
    world.accepted("later", "env: {A: x}").await;
    assert_eq!(opened(&process), 12);
    let mut now = versions(&world).await;
    now.retain(|(name, _)| name.starts_with("set-"));
    assert_eq!(now, touched, "none was written");
    process.stop().await.unwrap();
}

/// Names and versions of the objects.
async fn versions(world: &World) -> Vec<(String, String)> {
    let all = world.sets().list(&ListParams::default()).await.unwrap();
    let metadata = all.items.into_iter().map(|set| set.metadata);
    metadata
        .map(|metadata| (metadata.name.unwrap(), metadata.resource_version.unwrap()))
        .collect()
}

#[tokio::test]
async fn a_set_for_an_identity_that_comes_later_is_accepted_as_soon_as_it_is_there() {
    let (world, process) = World::start("ring").await;
    world.accepted("known", "env: {A: x}").await;
    let later = Identity::generate();
    let place = format!("{{namespace: {}, name: api}}", world.namespace);
    let plaintext = format!("binding: {place}\nenv: {{A: x}}\n");
    let sealed = seal(plaintext.as_bytes(), &[later.recipient()]).unwrap();
    world.apply("api", &sealed).await;
    let refused = world.until("api", "NoMatchingIdentity").await;
    let held = world.recipient.fingerprint().to_string();
    assert!(message(&refused).contains(&held), "{}", message(&refused));
    let secrets: Api<Secret> = world.api();
    let secret = secrets.get(IDENTITIES_SECRET).await.unwrap();
    let ring = secret.data.unwrap().remove(IDENTITIES_ENTRY).unwrap();
    let ring = format!(
        "{}\n{}",
        *later.to_text(),
        String::from_utf8(ring.0).unwrap()
    );
    let change = json!({"stringData": {IDENTITIES_ENTRY: ring}});
    let params = PatchParams {
        field_manager: Some("administrator".to_owned()),
        ..PatchParams::default()
    };
    secrets
        .patch(IDENTITIES_SECRET, &params, &Patch::Merge(&change))
        .await
        .unwrap();
    let accepted = world.until("api", "Accepted").await;
    assert_eq!(
        accepted.status.unwrap().opened_by,
        Some(later.fingerprint().to_string())
    );
    // Whom the old one serves is served on, and who opened it is still said.
    let known = world.sets().get("known").await.unwrap();
    assert_eq!(known.status.unwrap().opened_by, Some(held));
    process.stop().await.unwrap();
}

/// The largest that may be: sealed text and status lie in one object.
#[tokio::test]
async fn a_set_of_very_many_long_names_is_accepted_and_some_are_only_counted() {
    let (world, process) = World::start("many-names").await;
    let name = |kind: &str, number: usize, length: usize| {
        let head = format!("{kind}{number}_");
        head.clone() + &"x".repeat(length - head.len())
    };
    let mut body = "env:\n".to_owned();
    for number in 0..500 {
        body.push_str(&format!("  {}: v\n", name("V", number, 253)));
    }
    body.push_str("files:\n");
    for number in 0..500 {
        let part = name("f", number, 255);
        let path = format!("{part}/{part}");
        body.push_str(&format!("  {path}: {{content: x}}\n"));
    }
    // Much of what is left of a sealed text.
    body.push_str(&format!("  filler: {{content: {}}}\n", "x".repeat(340_000)));
    let body = body.replace("  f499", "  # f499");
    let set = world.accepted("api", &body).await;
    assert_eq!(
        message(&set),
        "500 variables and 500 files, for Workspaces that list it"
    );
    let accepted = set.status.unwrap().accepted.unwrap();
    assert_eq!(
        (accepted.env.len(), accepted.files.len(), accepted.unnamed),
        (200, 200, Some(600))
    );
    process.stop().await.unwrap();
}

#[tokio::test]
async fn a_plain_text_is_refused_before_it_is_stored() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("plain").await.unwrap();
    let sets: Api<WorkspaceVariables> = Api::namespaced(plane.client(), &namespace);
    for format in ["Age", "Sops"] {
        let object = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceVariables",
            "metadata": {"name": "api"},
            "spec": {"format": format, "sealed": format!("env: {{TOKEN: {CANARY}}}")},
        });
        let params = PatchParams::apply(VARIABLES_MANAGER);
        let refused = sets
            .patch("api", &params, &Patch::Apply(&object))
            .await
            .unwrap_err();
        let kube::Error::Api(status) = refused else {
            panic!("{refused}");
        };
        assert!(status.message.contains("exchange it"), "{}", status.message);
    }
    assert!(
        sets.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
