use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::model::variables::VariableName;
use crate::secrets::identity::Identity;
use crate::secrets::seal::seal;

const KEY: [u8; 32] = [7; 32];
const WHEN: &str = "2026-11-29T08:00:00Z";

/// A document as SOPS makes it; what is no `binding`, `env` or `serial` comes as it is.
struct Sealed {
    leaves: Vec<(&'static str, &'static str, &'static str)>,
    only_sealed: bool,
}

impl Sealed {
    fn usual() -> Self {
        Self {
            leaves: vec![
                ("binding:namespace:", "str", "team-a"),
                ("binding:name:", "str", "api"),
                ("serial:", "int", "7"),
                ("env:URL:", "str", "postgres://$(X)"),
                ("env:TOKEN:", "str", "hunter2"),
            ],
            only_sealed: false,
        }
    }

    fn leaf(&self, path: &str) -> String {
        let (_, kind, value) = self.leaves.iter().find(|leaf| leaf.0 == path).unwrap();
        sealed_value(value, kind, path)
    }

    fn mac(&self) -> String {
        let mut hash = Sha512::new();
        if self.only_sealed {
            hash.update(ONLY_SEALED);
        }
        for (_, _, value) in &self.leaves {
            hash.update(value);
        }
        sealed_value(&hex::encode_upper(hash.finalize()), "str", WHEN)
    }

    fn text(&self, recipients: &[&Identity]) -> String {
        let mut text = String::new();
        for group in ["binding", "env"] {
            text += &format!("{group}:\n");
            for (path, _, _) in &self.leaves {
                if let Some(key) = path.strip_prefix(&format!("{group}:")) {
                    text += &format!("  {} {}\n", key, self.leaf(path));
                }
            }
            if group == "binding" {
                text += &format!("serial: {}\n", self.leaf("serial:"));
            }
        }
        text += "sops:\n  age:\n";
        for identity in recipients {
            let file = seal(&KEY, &[identity.recipient()]).unwrap();
            let file = file
                .lines()
                .map(|line| format!("        {line}\n"))
                .collect::<String>();
            text += &format!(
                "    - recipient: {}\n      enc: |\n{file}",
                identity.recipient()
            );
        }
        text += &format!("  lastmodified: \"{WHEN}\"\n  mac: {}\n", self.mac());
        if self.only_sealed {
            text += "  mac_only_encrypted: true\n";
        }
        text + "  version: 3.13.3\n"
    }
}

fn sealed_value(value: &str, kind: &str, additional: &str) -> String {
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(&KEY).unwrap();
    let nonce = Sha512::digest(additional.as_bytes());
    let (msg, aad) = (value.as_bytes(), additional.as_bytes());
    let sealed = cipher
        .encrypt(Nonce::from_slice(&nonce[..32]), Payload { msg, aad })
        .unwrap();
    let (data, tag) = sealed.split_at(sealed.len() - 16);
    let [data, nonce, tag] = [data, &nonce[..32], tag].map(|part| STANDARD.encode(part));
    format!("ENC[AES256_GCM,data:{data},iv:{nonce},tag:{tag},type:{kind}]")
}

fn ring(identities: &[&Identity]) -> Identities {
    Identities::of(identities.iter().copied().cloned().collect()).unwrap()
}

fn opened(text: &str, identity: &Identity) -> OpenedSet {
    open_sops(text, &ring(&[identity]), None)
        .map_err(|error| error.to_string())
        .unwrap()
}

fn error(text: &str, identity: &Identity) -> SetError {
    match open_sops(text, &ring(&[identity]), None) {
        Ok(_) => panic!("it opens: {text}"),
        Err(error) => {
            assert!(!error.to_string().contains("hunter2"), "{error}");
            error
        }
    }
}

#[test]
fn a_document_of_sops_is_opened_by_each_of_its_recipients() {
    let [one, two, other] = [(); 3].map(|()| Identity::generate());
    for only_sealed in [false, true] {
        let text = Sealed {
            only_sealed,
            ..Sealed::usual()
        }
        .text(&[&one, &two]);
        for identity in [&one, &two] {
            let set = opened(&text, identity);
            assert_eq!(set.by, *identity.fingerprint());
            assert_eq!(set.document.serial, Some(7));
            assert_eq!(set.document.binding.name.as_deref(), Some("api"));
            assert_eq!(
                set.document.env[&VariableName::parse("URL").unwrap()].expose(),
                "postgres://$(X)"
            );
        }
        let error = error(&text, &other);
        assert_eq!(error.code(), "WV104");
        assert!(
            error.to_string().contains(&one.fingerprint().to_string()),
            "{error}"
        );
    }
}

#[test]
fn what_is_moved_renamed_dropped_added_or_unsealed_is_refused() {
    let identity = Identity::generate();
    let set = Sealed::usual();
    let text = set.text(&[&identity]);
    let (url, token) = (set.leaf("env:URL:"), set.leaf("env:TOKEN:"));
    let swapped = text
        .replace(&url, "SWAP")
        .replace(&token, &url)
        .replace("SWAP", &token);
    let reordered = text.replace(
        &format!("  URL: {url}\n  TOKEN: {token}\n"),
        &format!("  TOKEN: {token}\n  URL: {url}\n"),
    );
    let mac = set.mac();
    let changed_mac = sealed_value("00", "str", WHEN);
    for (what, changed, code) in [
        ("moved", swapped, "WV103"),
        ("in another order", reordered, "WV103"),
        ("renamed", text.replace("  TOKEN:", "  TOKE:"), "WV103"),
        (
            "dropped",
            text.replace(&format!("  TOKEN: {token}\n"), ""),
            "WV103",
        ),
        (
            "doubled",
            text.replace(
                &format!("  TOKEN: {token}\n"),
                &format!("  TOKEN: {token}\n  TOKEN: {token}\n"),
            ),
            "WV103",
        ),
        (
            "added empty",
            text.replace("env:\n", "env:\n  MORE: ''\n"),
            "WV107",
        ),
        (
            "added null",
            text.replace("env:\n", "env:\n  MORE:\n"),
            "WV107",
        ),
        (
            "added open",
            text.replace("env:\n", "env:\n  MORE: open\n"),
            "WV107",
        ),
        (
            "added an empty map",
            text.replace("env:\n", "files: {}\nenv:\n"),
            "WV107",
        ),
        (
            "a list",
            text.replace(
                &format!("serial: {}", set.leaf("serial:")),
                &format!("serial:\n  - {}", set.leaf("serial:")),
            ),
            "WV107",
        ),
        (
            "of another type",
            text.replace("type:int]", "type:str]"),
            "WV107",
        ),
        (
            "another moment",
            text.replace(WHEN, "2026-11-29T08:00:01Z"),
            "WV103",
        ),
        ("another MAC", text.replace(&mac, &changed_mac), "WV103"),
        (
            "no MAC",
            text.replace(&format!("  mac: {mac}\n"), ""),
            "WV103",
        ),
        (
            "counted otherwise",
            text.replace("  version:", "  mac_only_encrypted: true\n  version:"),
            "WV103",
        ),
        (
            "key groups",
            text.replace("sops:\n", "sops:\n  key_groups: [{}]\n"),
            "WV105",
        ),
        ("without age", text.replace("  age:\n", "  kms:\n"), "WV105"),
        ("two documents", format!("{text}---\n{text}"), "WV105"),
        ("no document", String::new(), "WV105"),
        ("something else", "a: b".to_owned(), "WV105"),
    ] {
        assert_ne!(changed, text, "{what}");
        assert_eq!(
            error(&changed, &identity).code(),
            code,
            "{what}: {}",
            error(&changed, &identity)
        );
    }
}

#[test]
fn costly_documents_are_refused_before_anything_is_opened() {
    let identity = Identity::generate();
    let many: Vec<&Identity> = std::iter::repeat_n(&identity, 21).collect();
    assert_eq!(
        error(&Sealed::usual().text(&many), &identity).code(),
        "WV106"
    );
    let long = format!(
        "{}# {}",
        Sealed::usual().text(&[&identity]),
        "x".repeat(LONGEST_SEALED)
    );
    assert_eq!(error(&long, &identity).code(), "WV106");
}
