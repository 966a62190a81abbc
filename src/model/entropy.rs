//! Randomness as a value that is passed in.

/// Gives bytes that nobody can guess. Rooms that make keys and tokens ask it; tests pass their own.
pub trait Entropy: Send + Sync {
    /// Fills all of it.
    fn fill(&self, bytes: &mut [u8]);
}
