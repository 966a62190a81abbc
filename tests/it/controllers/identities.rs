//! What opens sealed variables is made once and never written again; whom to seal for is published, and kept as it is.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use age::x25519;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use workstead::controllers::identities::{Held, IdentitiesError, Ring, keep, run};
use workstead::controllers::lease::Claim;
use workstead::controllers::{Parts, Shared};
use workstead::secrets::identity::{Identities, Identity, Recipient};
use workstead::testkit::ControlPlane;
use workstead::testkit::wait::eventually;

use super::mk_config;

const SECRET: &str = "workstead-identities";
const MAP: &str = "workstead-recipients";

/// An installation's namespace.
struct Site {
    client: Client,
    namespace: String,
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
}

impl Site {
    async fn new(prefix: &str) -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let (client, namespace) = (plane.client(), plane.namespace(prefix).await.unwrap());
        Self {
            secrets: Api::namespaced(client.clone(), &namespace),
            maps: Api::namespaced(client.clone(), &namespace),
            client,
            namespace,
        }
    }

    async fn keep(&self) -> Result<Held, IdentitiesError> {
        keep(&self.client, &self.namespace, Timestamp::now()).await
    }

    async fn refused(&self) -> String {
        let error = self.keep().await.map(drop).unwrap_err();
        chain(&error)
    }

    /// What the Secret holds.
    async fn text(&self) -> String {
        text_of(&self.secrets.get(SECRET).await.unwrap())
    }

    /// As an administrator does.
    async fn put(&self, text: &str) {
        let data = json!({"stringData": {"identities.txt": text}});
        self.secrets
            .patch(SECRET, &PatchParams::default(), &Patch::Merge(data))
            .await
            .unwrap();
    }

    async fn edit(&self, patch: Value) {
        self.maps
            .patch(MAP, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    async fn published(&self) -> String {
        let map = self.maps.get(MAP).await.unwrap();
        map.data.unwrap()["recipients.txt"].clone()
    }

    async fn delete_secret(&self) {
        self.secrets
            .delete(SECRET, &DeleteParams::default())
            .await
            .unwrap();
    }
}

fn text_of(secret: &Secret) -> String {
    let ByteString(bytes) = &secret.data.as_ref().unwrap()["identities.txt"];
    String::from_utf8(bytes.clone()).unwrap()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn fingerprints(identities: &Identities) -> Vec<String> {
    identities.fingerprints().map(ToString::to_string).collect()
}

/// Fingerprints of the recipients of a published text, read as `age -R` does, and checked against the remarks.
fn read(text: &str) -> Vec<String> {
    let (remarks, recipients): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with('#'));
    let found: Vec<String> = recipients
        .iter()
        .map(|line| Recipient::parse(line).unwrap().fingerprint().to_string())
        .collect();
    let named: Vec<String> = found
        .iter()
        .map(|each| format!("# fingerprint {each}"))
        .collect();
    assert_eq!(remarks, named);
    found
}

#[tokio::test]
async fn an_identity_is_made_once_and_never_written_again() {
    let site = Site::new("identity").await;
    let first = site.keep().await.unwrap();
    let made = site.secrets.get(SECRET).await.unwrap();
    let map = site.maps.get(MAP).await.unwrap();
    assert_eq!(map.labels()["app.kubernetes.io/managed-by"], "workstead");

    let second = site.keep().await.unwrap();
    assert_eq!(first.ring, second.ring);
    assert_eq!(
        fingerprints(&first.identities),
        fingerprints(&second.identities)
    );
    assert_eq!(site.secrets.get(SECRET).await.unwrap(), made);
    // Nothing changed, so nothing was written.
    assert_eq!(site.maps.get(MAP).await.unwrap(), map);

    // Without the ConfigMap it is still the same Secret.
    site.maps
        .delete(MAP, &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(site.keep().await.unwrap().ring, first.ring);
    assert_eq!(site.secrets.get(SECRET).await.unwrap(), made);
    assert_eq!(
        read(&site.published().await),
        fingerprints(&first.identities)
    );

    // It is what age-keygen would have written.
    let text = text_of(&made);
    let lines: Vec<&str> = text.lines().collect();
    let key: x25519::Identity = lines[2].parse().unwrap();
    assert!(lines[0].starts_with("# created: 2"), "{}", lines[0]);
    assert_eq!(lines[1], format!("# public key: {}", key.to_public()));
    assert_eq!(lines.len(), 3);
}

#[tokio::test]
async fn two_that_begin_at_once_agree_on_one_identity() {
    for _ in 0..5 {
        let site = Site::new("two").await;
        let (one, other) = tokio::join!(site.keep(), site.keep());
        let (one, other) = (one.map_err(|e| chain(&e)), other.map_err(|e| chain(&e)));
        let (Ok(one), Ok(other)) = (&one, &other) else {
            panic!("{:?} {:?}", one.err(), other.err());
        };
        assert_eq!(one.ring, other.ring);
        let held = Identities::parse(&site.text().await).unwrap();
        assert_eq!(fingerprints(&held), fingerprints(&one.identities));
        assert_eq!(read(&site.published().await), fingerprints(&held));
    }
}

#[tokio::test]
async fn a_rotation_publishes_both_the_new_one_first_and_changes_the_ring() {
    let site = Site::new("rotation").await;
    let before = site.keep().await.unwrap();
    let new = Identity::generate();
    let old_text = site.text().await;
    site.put(&format!("{}\n{old_text}", *new.to_text())).await;

    let after = site.keep().await.unwrap();
    assert_ne!(after.ring, before.ring);
    let expected = vec![
        new.fingerprint().to_string(),
        fingerprints(&before.identities).remove(0),
    ];
    assert_eq!(fingerprints(&after.identities), expected);
    assert_eq!(read(&site.published().await), expected);

    // The same two in the other order are another ring: the first is whom to seal for.
    site.put(&format!("{old_text}{}\n", *new.to_text())).await;
    let turned = site.keep().await.unwrap();
    assert!(turned.ring != after.ring && turned.ring != before.ring);
    assert_eq!(read(&site.published().await)[1], expected[0]);
}

#[tokio::test]
async fn an_edited_config_map_is_put_right_however_it_was_edited() {
    let site = Site::new("edited").await;
    site.keep().await.unwrap();
    let right = site.maps.get(MAP).await.unwrap();
    let stranger = Identity::generate().recipient().to_string();
    for edit in [
        json!({"data": {"recipients.txt": stranger}}),
        json!({"data": {"recipients.txt": null}}),
        json!({"data": null}),
        json!({"data": {"another.txt": stranger}}),
        json!({"binaryData": {"more": "AAAA"}}),
        json!({"metadata": {"labels": null}}),
        json!({"data": {"recipients.txt": stranger}, "immutable": true}),
    ] {
        site.edit(edit.clone()).await;
        site.keep().await.unwrap();
        let now = site.maps.get(MAP).await.unwrap();
        assert_eq!(now.data, right.data, "{edit}");
        assert_eq!(now.binary_data, None, "{edit}");
        assert_eq!(now.metadata.labels, right.metadata.labels, "{edit}");
    }
}

#[tokio::test]
async fn a_deleted_secret_is_not_replaced_while_somebody_seals_for_it_and_its_loss_is_told() {
    let site = Site::new("gone").await;
    let held = site.keep().await.unwrap();
    let right = site.published().await;
    site.delete_secret().await;

    let said = site.refused().await;
    for part in [
        SECRET,
        MAP,
        &site.namespace,
        &fingerprints(&held.identities)[0],
        "restore it from the backup",
        "every set has to be sealed again",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    // A text that nobody can read was published all the same.
    site.edit(json!({"data": {"recipients.txt": "damaged"}}))
        .await;
    assert!(site.refused().await.contains("gone"));
    assert!(site.secrets.get_opt(SECRET).await.unwrap().is_none());

    // Who deletes both wants to begin anew. So does who empties it.
    site.edit(json!({"data": {"recipients.txt": "# nobody\n"}}))
        .await;
    let anew = site.keep().await.unwrap();
    assert_ne!(anew.ring, held.ring);
    assert_ne!(site.published().await, right);
    site.delete_secret().await;
    site.maps
        .delete(MAP, &DeleteParams::default())
        .await
        .unwrap();
    assert_ne!(site.keep().await.unwrap().ring, anew.ring);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_left_alone_and_its_text_is_in_no_error() {
    let site = Site::new("unreadable").await;
    let key = Identity::generate().to_text();
    let damaged = key.replace("AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1CANARY");
    let long = format!("{}\n", *key).repeat(9);
    for (data, told) in [
        (
            json!({"stringData": {"identities.txt": damaged}}),
            "line 1 is no age identity",
        ),
        (
            json!({"stringData": {"identities.txt": ""}}),
            "there are 0 identities",
        ),
        (
            json!({"stringData": {"identities.txt": long}}),
            "there are 9 identities",
        ),
        (
            json!({"stringData": {"keys.txt": *key}}),
            "has no entry identities.txt",
        ),
        (json!({}), "has no entry identities.txt"),
        (json!({"data": {"identities.txt": "/w=="}}), "is no text"),
    ] {
        let mut secret = data;
        secret["metadata"] = json!({"name": SECRET});
        let secret: Secret = crate::object(secret);
        let params = PostParams::default();
        let made = site.secrets.create(&params, &secret).await.unwrap();
        let error = site.keep().await.map(drop).unwrap_err();
        let said = chain(&error);
        for part in [SECRET, &site.namespace, told, "restore it from the backup"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        let said = format!("{said} {error:?}");
        assert!(
            !said.contains("AGE-SECRET") || said.contains("(AGE-SECRET-KEY-1…)"),
            "{said}"
        );
        assert!(
            !said.contains("CANARY") && !said.contains(&key[16..]),
            "{said}"
        );
        assert_eq!(site.secrets.get(SECRET).await.unwrap(), made);
        // Nothing is published for what nobody can open.
        assert!(site.maps.get_opt(MAP).await.unwrap().is_none());
        site.delete_secret().await;
    }
}

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn mk_shared(site: &Site, claim: &watch::Sender<Claim>) -> Shared {
    let parts = Parts::default();
    Shared {
        client: site.client.clone(),
        standby_client: site.client.clone(),
        config: mk_config(&site.namespace, "only"),
        clock: parts.clock,
        metrics: parts.metrics,
        health: parts.health,
        events: workstead::controllers::events::Events::new(site.client.clone(), "only"),
        claim: claim.subscribe(),
        gitsync_requests: Default::default(),
    }
}

/// What is held, when it is another ring than `before`.
fn held(known: &watch::Receiver<Ring>, before: &str) -> Option<Arc<Held>> {
    match &*known.borrow() {
        Ring::Held(held) if held.ring != before => Some(held.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn what_happens_to_both_objects_acts_within_seconds_and_the_key_is_in_no_log_and_no_other_object()
 {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let site = Site::new("followed").await;
    let (claim, _) = watch::channel(Claim::default());
    let shared = mk_shared(&site, &claim);
    let (ring, known) = watch::channel(Ring::Unread);
    let stop = CancellationToken::new();
    let test = async {
        follow(&site, &known, &log).await;
        stop.cancel();
    };
    tokio::join!(run(&shared, &ring, &stop), test);
}

/// Until a published text begins with this one.
async fn published_first(site: &Site, fingerprint: &str) {
    // Shorter than the look without a reason, and than what is tried again.
    let limit = Duration::from_secs(8);
    let done = workstead::testkit::wait::within(limit, async || {
        let text = site.published().await;
        text.starts_with(&format!("# fingerprint {fingerprint}\n"))
            .then_some(())
    });
    assert!(done.await.is_some(), "not published: {fingerprint}");
}

async fn follow(site: &Site, known: &watch::Receiver<Ring>, log: &Log) {
    let first = eventually("an identity", async || held(known, "")).await;
    let first_text = site.text().await;
    let old = fingerprints(&first.identities).remove(0);

    // A rotation.
    let new = Identity::generate();
    let name = new.fingerprint().to_string();
    let both = format!("{}\n{first_text}", *new.to_text());
    site.put(&both).await;
    published_first(site, &name).await;
    let second = eventually("the new ring", async || held(known, &first.ring)).await;
    assert_eq!(fingerprints(&second.identities), [name.clone(), old]);

    // Somebody wants people to seal for himself.
    let stranger = Identity::generate();
    let forged = format!("{}\n", stranger.recipient());
    site.edit(json!({"data": {"recipients.txt": forged}})).await;
    published_first(site, &name).await;
    let told = format!("foreign=\"{}\"", stranger.fingerprint());
    assert!(log.text().contains(&told), "{told}:\n{}", log.text());

    // The Secret is damaged, then gone: what is held stays in use, and published.
    site.put("AGE-SECRET-KEY-1CANARY").await;
    eventually("the damage in the log", async || {
        log.text()
            .contains("line 1 is no age identity")
            .then_some(())
    })
    .await;
    site.delete_secret().await;
    eventually("the loss in the log", async || {
        log.text()
            .contains("is gone, though people seal for")
            .then_some(())
    })
    .await;
    site.edit(json!({"data": {"recipients.txt": forged}})).await;
    published_first(site, &name).await;
    assert!(site.secrets.get_opt(SECRET).await.unwrap().is_none());
    let still = held(known, "").unwrap();
    assert_eq!(still.ring, second.ring);

    // The backup.
    let backup: Secret = crate::object(json!({
        "metadata": {"name": SECRET}, "stringData": {"identities.txt": first_text},
    }));
    site.secrets
        .create(&PostParams::default(), &backup)
        .await
        .unwrap();
    let third = eventually("the backup", async || held(known, &second.ring)).await;
    assert_eq!(third.ring, first.ring);

    let map = serde_json::to_string(&site.maps.get(MAP).await.unwrap()).unwrap();
    let keys = both
        .lines()
        .filter(|line| line.starts_with("AGE-SECRET-KEY-1"));
    let encoded: Value = serde_json::to_value(ByteString(both.clone().into_bytes())).unwrap();
    for canary in keys.chain([encoded.as_str().unwrap(), "CANARY"]) {
        assert!(!map.contains(canary), "the ConfigMap holds a key");
        assert!(!log.text().contains(canary), "the log holds a key");
    }
    assert!(
        log.text().len() > 1000,
        "nothing was logged:\n{}",
        log.text()
    );
}

#[tokio::test]
async fn a_process_that_never_held_one_says_why_there_is_none_and_takes_it_when_it_comes() {
    let site = Site::new("missing").await;
    let lost = Identity::generate();
    let map: ConfigMap = crate::object(json!({
        "metadata": {"name": MAP}, "data": {"recipients.txt": lost.recipient().to_string()},
    }));
    site.maps
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
    let (claim, _) = watch::channel(Claim::default());
    let shared = mk_shared(&site, &claim);
    let (ring, known) = watch::channel(Ring::Unread);
    let stop = CancellationToken::new();
    let test = async {
        let why = eventually("the reason", async || match &*known.borrow() {
            Ring::Missing(why) => Some(why.clone()),
            _ => None,
        });
        let why = why.await;
        let name = lost.fingerprint().to_string();
        assert!(why.contains(&name) && why.contains("backup"), "{why}");
        let backup: Secret = crate::object(json!({
            "metadata": {"name": SECRET}, "stringData": {"identities.txt": *lost.to_text()},
        }));
        site.secrets
            .create(&PostParams::default(), &backup)
            .await
            .unwrap();
        let held = eventually("the backup", async || held(&known, "")).await;
        assert_eq!(fingerprints(&held.identities), [name]);
        stop.cancel();
    };
    tokio::join!(run(&shared, &ring, &stop), test);
}
