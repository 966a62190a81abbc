//! Names and UIDs that stand in many objects, kept once.

use std::collections::HashSet;
use std::sync::Arc;

/// From how many on it is first looked for those that nobody has any more.
const FIRST_SWEEP: usize = 4096;

/// All texts that some object has.
#[derive(Debug)]
pub struct Texts {
    known: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Texts {
    /// Puts the one that is known in place of an equal one.
    pub fn share(&mut self, text: &mut Arc<str>) {
        if let Some(known) = self.known.get(text) {
            *text = known.clone();
            return;
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = FIRST_SWEEP.max(2 * self.known.len());
        }
        self.known.insert(text.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_those_that_nobody_has_go() {
        let mut texts = Texts::default();
        let (mut one, mut other): (Arc<str>, Arc<str>) = ("a".into(), "a".into());
        texts.share(&mut one);
        texts.share(&mut other);
        assert!(Arc::ptr_eq(&one, &other));
        for number in 0..3 * FIRST_SWEEP {
            texts.share(&mut number.to_string().into());
        }
        assert!(texts.known.len() <= FIRST_SWEEP);
        assert!(texts.known.contains("a"));
    }
}
