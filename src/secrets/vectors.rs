//! What the programs age (1.3.2) and sops (3.13.3) made of one set, opened here. `vectors/` says nothing to anybody: its
//! identity opens nothing else.

use super::identity::Identities;
use super::set::open_set;
use crate::api::variables::SealedFormat;
use crate::model::variables::{FilePath, VariableName};

const IDENTITY: &str = include_str!("vectors/identity.txt");

#[test]
fn what_age_and_sops_seal_is_opened_byte_for_byte() {
    let identities = Identities::parse(IDENTITY).unwrap();
    for (format, sealed) in [
        (SealedFormat::Age, include_str!("vectors/age.txt")),
        (SealedFormat::Sops, include_str!("vectors/sops.yaml")),
        // JSON, and with a MAC that counts only what is sealed.
        (SealedFormat::Sops, include_str!("vectors/sops.json")),
    ] {
        let opened = open_set(format, sealed, &identities, None);
        let opened = opened.map_err(|error| error.to_string()).unwrap();
        assert_eq!(Some(&opened.by), identities.fingerprints().next());
        let set = opened.document;
        assert_eq!(
            (set.serial, set.env.len(), set.files.len()),
            (Some(7), 2, 2)
        );
        let value = |name| set.env[&VariableName::parse(name).unwrap()].expose();
        assert_eq!(value("DATABASE_URL"), "postgres://db/$(X)?a='b'\n");
        assert_eq!(value("FLAG"), "true");
        let file = |path| set.files[&FilePath::parse(path).unwrap()].content.expose();
        assert_eq!(file(".netrc"), b"machine x\n");
        assert_eq!(file("bin/tool"), b"\x00\x01\xff");
    }
}

/// As an editor or a tool does it that thinks it knows better.
#[test]
fn a_document_of_sops_survives_other_line_breaks_and_no_other_change() {
    let identities = Identities::parse(IDENTITY).unwrap();
    let sealed = include_str!("vectors/sops.yaml");
    let opens = |text: &str| open_set(SealedFormat::Sops, text, &identities, None).is_ok();
    assert!(opens(&sealed.replace('\n', "\r\n")));
    let (env, files) = (
        sealed.find("\nenv:").unwrap(),
        sealed.find("\nfiles:").unwrap(),
    );
    let end = sealed.find("\nsops:").unwrap();
    let reordered = format!(
        "{}{}{}{}",
        &sealed[..env],
        &sealed[files..end],
        &sealed[env..files],
        &sealed[end..]
    );
    assert!(!opens(&reordered));
}
