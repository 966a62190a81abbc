//! Sets for tests.

use crate::secrets::document::Document;
use crate::secrets::error::SetError;

/// A set that uses everything.
pub(super) const WHOLE: &str = "\
binding: {namespace: team-a, name: alice-api}
scope: Strict
appliesTo: {owner: alice@example.com}
serial: 7
env:
  DATABASE_URL: \"postgres://db/$(X)?a='b'\\n\"
  EMPTY: ''
files:
  .netrc: {mode: \"0400\", content: \"machine x\\n\"}
  bin/tool: {b64: \"AAH/\"}
  ~/.config/x: {content: \"y\"}
";

/// The error of what can't be read.
pub(super) fn refused(plaintext: &str) -> SetError {
    match Document::read(plaintext.as_bytes()) {
        Ok(_) => panic!("it is read: {plaintext}"),
        Err(error) => error,
    }
}
