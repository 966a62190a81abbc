use serde_json::json;

use super::*;
use crate::secrets::identity::Identity;
use crate::secrets::seal::seal;

fn mk_set(sealed: &str) -> WorkspaceVariables {
    serde_json::from_value(json!({
        "metadata": {"namespace": "a", "name": "b"},
        "spec": {"format": "Age", "sealed": sealed},
    }))
    .unwrap()
}

fn sealed(identity: &Identity, value: &str) -> WorkspaceVariables {
    let plaintext = format!("binding: {{namespace: a, name: b}}\nenv: {{A: \"{value}\"}}\n");
    mk_set(&seal(plaintext.as_bytes(), &[identity.recipient()]).unwrap())
}

fn held(ring: &str, identities: &[&Identity]) -> Held {
    Held {
        identities: Identities::of(identities.iter().copied().cloned().collect()).unwrap(),
        ring: ring.to_owned(),
    }
}

struct Counted {
    opener: Opener,
    metrics: Arc<Metrics>,
}

impl Counted {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::new());
        Self {
            opener: Opener::new(metrics.clone()),
            metrics,
        }
    }

    /// The code of a refusal, `ok` otherwise.
    async fn open(&self, set: &WorkspaceVariables, held: &Held) -> &'static str {
        let opened = self.opener.open(set, held).await.ok().unwrap();
        opened.content.map_or_else(|error| error.code(), |_| "ok")
    }

    fn times(&self) -> u64 {
        let count = |outcome| {
            let labels = OpenedLabels { outcome };
            self.metrics.opened_sets.get_or_create(&labels).get()
        };
        count("ok") + count("refused")
    }
}

#[tokio::test]
async fn a_text_is_opened_once_however_often_it_is_asked_for() {
    let identity = Identity::generate();
    let set = sealed(&identity, "x");
    let held = held("one", &[&identity]);
    let counted = Counted::new();
    for _ in 0..3 {
        assert_eq!(counted.open(&set, &held).await, "ok");
    }
    assert_eq!(counted.times(), 1);
    assert_eq!(counted.open(&sealed(&identity, "y"), &held).await, "ok");
    assert_eq!(counted.times(), 2);
}

#[tokio::test]
async fn what_these_identities_do_not_open_is_tried_again_with_others_alone() {
    let [old, new] = [(); 2].map(|()| Identity::generate());
    let set = sealed(&new, "x");
    let counted = Counted::new();
    for _ in 0..2 {
        assert_eq!(counted.open(&set, &held("one", &[&old])).await, "WV104");
    }
    assert_eq!(counted.times(), 1);
    assert_eq!(counted.open(&set, &held("two", &[&new, &old])).await, "ok");
    // What is known stays known: to be open is no matter of who holds what now.
    assert_eq!(counted.open(&set, &held("three", &[&old])).await, "ok");
    assert_eq!(counted.times(), 2);
}

#[tokio::test]
async fn what_is_kept_stays_within_its_bounds() {
    let identity = Identity::generate();
    let counted = Counted::new();
    let keep = |name: String, size| {
        let error = SetError::BindingMissing;
        counted
            .opener
            .keep((SealedFormat::Age, name), size, "one", &Err(error));
    };
    for number in 0..MOST_KEPT.get() + 10 {
        keep(number.to_string(), 1);
    }
    assert_eq!(counted.opener.texts().kept.len(), MOST_KEPT.get());
    assert_eq!(counted.opener.texts().bytes, MOST_KEPT.get());
    for number in 0..200 {
        keep(format!("large {number}"), 1024 * 1024);
    }
    let (bytes, count) = {
        let texts = counted.opener.texts();
        let sizes: usize = texts.kept.iter().map(|(_, kept)| kept.size).sum();
        assert_eq!(texts.bytes, sizes);
        (texts.bytes, texts.kept.len())
    };
    assert!(bytes <= MOST_BYTES && count == 128, "{bytes} {count}");
    // The same text twice counts once.
    let set = sealed(&identity, "x");
    let before = counted.opener.texts().bytes;
    for ring in ["one", "two"] {
        counted
            .open(&set, &held(ring, &[&Identity::generate()]))
            .await;
    }
    let texts = counted.opener.texts();
    assert!(
        texts.bytes <= before + set.spec.sealed.len(),
        "{}",
        texts.bytes
    );
}
