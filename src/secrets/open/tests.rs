use super::*;
use crate::secrets::identity::Recipient;
use crate::secrets::seal::{SealError, seal};

const PLAINTEXT: &[u8] = b"binding: {namespace: a, name: b}\nenv: {A: hunter2}\n";

fn error(sealed: &str, identities: &Identities) -> SetError {
    match open(sealed, identities, None) {
        Ok(_) => panic!("it opens: {sealed}"),
        Err(error) => error,
    }
}

fn ring(identities: &[&Identity]) -> Identities {
    Identities::of(identities.iter().copied().cloned().collect()).unwrap()
}

#[test]
fn what_is_sealed_is_opened_by_each_of_its_recipients_and_by_nobody_else() {
    let [one, two, other] = [(); 3].map(|()| Identity::generate());
    let sealed = seal(PLAINTEXT, &[one.recipient(), two.recipient()]).unwrap();
    for identity in [&one, &two] {
        let opened = open(&sealed, &ring(&[&other, identity]), None)
            .map_err(|error| error.to_string())
            .unwrap();
        assert_eq!(&**opened.plaintext, PLAINTEXT);
        assert_eq!(opened.by, *identity.fingerprint());
    }
    let error = error(&sealed, &ring(&[&other]));
    assert_eq!(error.code(), "WV104");
    let text = error.to_string();
    assert!(
        text.contains("2 X25519") && text.contains(&other.fingerprint().to_string()),
        "{text}"
    );
}

#[test]
fn the_identity_of_the_last_time_is_tried_first() {
    let [one, two] = [(); 2].map(|()| Identity::generate());
    let sealed = seal(PLAINTEXT, &[one.recipient(), two.recipient()]).unwrap();
    let both = ring(&[&one, &two]);
    for last in [&one, &two] {
        let opened = open(&sealed, &both, Some(last.fingerprint()))
            .map_err(|error| error.to_string())
            .unwrap();
        assert_eq!(opened.by, *last.fingerprint());
    }
}

/// One byte of each class: armor, version, stanza, MAC, nonce, payload.
#[test]
fn a_text_that_was_changed_anywhere_is_refused() {
    let identity = Identity::generate();
    let identities = ring(&[&identity]);
    let sealed = seal(PLAINTEXT, &[identity.recipient()]).unwrap();
    for index in 0..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        let error = error(&changed, &identities);
        assert!(
            ["WV103", "WV104", "WV105"].contains(&error.code()),
            "{index}: {error}"
        );
        assert!(!error.to_string().contains("hunter2"));
    }
    for end in 0..sealed.trim_end().len() {
        error(&sealed[..end], &identities);
    }
    let twice = format!("{sealed}{sealed}");
    assert_eq!(error(&twice, &identities).code(), "WV103");
}

#[test]
fn costly_and_foreign_texts_are_refused_before_anything_is_decrypted() {
    let identity = Identity::generate();
    let identities = ring(&[&identity]);
    let long = "x".repeat(LONGEST_SEALED + 1);
    assert_eq!(error(&long, &identities).code(), "WV106");
    for foreign in [
        "",
        "hello",
        "age-encryption.org/v1\n",
        "-----BEGIN PGP MESSAGE-----",
    ] {
        assert_eq!(error(foreign, &identities).code(), "WV105", "{foreign}");
    }
    let many: Vec<Recipient> = (0..MOST_STANZAS)
        .map(|_| Identity::generate().recipient())
        .chain([identity.recipient()])
        .collect();
    assert!(matches!(
        seal(PLAINTEXT, &many),
        Err(SealError::Recipients(_))
    ));
    assert!(matches!(
        seal(PLAINTEXT, &[]),
        Err(SealError::Recipients(0))
    ));
    let most: Vec<Recipient> = many[2..].to_vec();
    open(&seal(PLAINTEXT, &most).unwrap(), &identities, None)
        .map_err(|error| error.to_string())
        .unwrap();
    assert_eq!(error(&by_age(&many), &identities).code(), "WV106");
    assert_eq!(error(&by_passphrase(), &identities).code(), "WV105");
}

/// As somebody makes it who does not ask us.
fn by_age(recipients: &[Recipient]) -> String {
    let all = recipients
        .iter()
        .map(|recipient| &recipient.0 as &dyn age::Recipient);
    armored(age::Encryptor::with_recipients(all).unwrap())
}

fn by_passphrase() -> String {
    let mut recipient = age::scrypt::Recipient::new("secret".to_owned().into());
    recipient.set_work_factor(2);
    armored(age::Encryptor::with_recipients(std::iter::once(&recipient as _)).unwrap())
}

fn armored(encryptor: age::Encryptor) -> String {
    use std::io::Write as _;
    let armor =
        age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor).unwrap();
    let mut writer = encryptor.wrap_output(armor).unwrap();
    writer.write_all(PLAINTEXT).unwrap();
    String::from_utf8(writer.finish().unwrap().finish().unwrap()).unwrap()
}
