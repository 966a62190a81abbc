//! Values that nothing prints: no Debug, no Display, no Serialize; wiped when they are dropped.

use zeroize::Zeroizing;

/// A text that is secret.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

/// Bytes that are secret.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretText {
    /// Takes a text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for whoever has to hand it on.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl SecretBytes {
    /// Takes bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for whoever has to hand them on.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
