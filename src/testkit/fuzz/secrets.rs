//! What strangers can write into sealed sets, and people into files that are to be sealed.

use std::sync::LazyLock;

use crate::api::variables::SealedFormat;
use crate::secrets::document::{Document, Draft};
use crate::secrets::dotenv;
use crate::secrets::identity::Identities;
use crate::secrets::recipients::Recipients;
use crate::secrets::set::{inspect_set, open_set};

/// Of the seeds alone.
static IDENTITIES: LazyLock<Identities> = LazyLock::new(|| {
    Identities::parse(include_str!("../../secrets/vectors/identity.txt")).unwrap()
});

/// A sealed text, as either format. What opens has nothing against it that can be seen without opening it.
pub fn sealed(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for format in [SealedFormat::Age, SealedFormat::Sops] {
        let seen = inspect_set(format, &text);
        match open_set(format, &text, &IDENTITIES, None) {
            Ok(_) => assert_eq!(seen, Ok(())),
            Err(error) => assert!(error.to_string().len() < 4096, "{error}"),
        }
    }
}

/// A plaintext. What is read is written as something that reads the same, and a `.env` file or a list of recipients is read
/// or refused.
pub fn plaintext(data: &[u8]) {
    if let Ok(document) = Document::read(data) {
        let written = document.write().unwrap();
        let Ok(again) = Document::read(&written) else {
            panic!("what is written is read again");
        };
        assert!(
            *again.write().unwrap() == *written,
            "it is written the same"
        );
        assert!(Draft::read(data).is_ok(), "a draft may say all of it");
    }
    let text = String::from_utf8_lossy(data);
    let _ = dotenv::read(&text);
    let _ = Recipients::parse(&text);
}
