//! Whether somebody changes an object back as often as we correct it. Pure: time comes in.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::model::sync::ObjectId;

/// Corrections of one object within [`WINDOW`] that are still no fight.
const MAX_CORRECTIONS: usize = 5;
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// How long corrections stop: doubled each time that it goes on, up to the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(60);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(30);

/// Corrections by object.
#[derive(Debug, Default)]
pub struct Fights(BTreeMap<ObjectId, Fight>);

#[derive(Debug, Default)]
struct Fight {
    corrections: VecDeque<Timestamp>,
    pauses: u32,
    until: Option<Timestamp>,
    /// Who and what, in words.
    about: String,
}

impl Fights {
    /// Whether an object may be corrected now. Otherwise, what it is about and how long to wait.
    pub fn may_correct(
        &self,
        id: &ObjectId,
        now: Timestamp,
    ) -> Result<(), (String, SignedDuration)> {
        match self.0.get(id).and_then(|f| f.until.map(|until| (f, until))) {
            Some((fight, until)) if now < until => {
                Err((fight.about.clone(), until.duration_since(now)))
            }
            _ => Ok(()),
        }
    }

    /// Notes a correction. `true` when this was one too many: from now on corrections pause.
    pub fn corrected(&mut self, id: &ObjectId, about: String, now: Timestamp) -> bool {
        let fight = self.0.entry(id.clone()).or_default();
        fight.about = about;
        fight.corrections.push_back(now);
        while fight
            .corrections
            .front()
            .is_some_and(|first| now.duration_since(*first) >= WINDOW)
        {
            fight.corrections.pop_front();
        }
        let resumed = fight.until.take().is_some();
        if !resumed && fight.corrections.len() <= MAX_CORRECTIONS {
            return false;
        }
        // It goes on after a pause: the next one is longer.
        let factor = 2_i32.saturating_pow(fight.pauses.min(10));
        let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
        fight.pauses = fight.pauses.saturating_add(1);
        fight.corrections.clear();
        fight.until = now.checked_add(pause).ok();
        true
    }

    /// Forgets fights that ended: nobody changed the object back during the pause.
    pub fn settled(&mut self, id: &ObjectId, now: Timestamp) {
        let over =
            self.0
                .get(id)
                .is_some_and(|fight| match (fight.until, fight.corrections.back()) {
                    (Some(until), _) => now >= until,
                    (None, Some(last)) => now.duration_since(*last) >= WINDOW,
                    (None, None) => true,
                });
        if over {
            self.0.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gitsync::SyncedKind;

    fn id() -> ObjectId {
        ObjectId {
            kind: SyncedKind::Workspace,
            namespace: Some("a".into()),
            name: "x".into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_sixth_correction_within_a_minute_pauses() {
        let mut fights = Fights::default();
        for n in 0..5 {
            assert_eq!(fights.may_correct(&id(), at(n)), Ok(()));
            assert!(!fights.corrected(&id(), "x".into(), at(n)));
        }
        assert!(fights.corrected(&id(), "image by kubectl".into(), at(5)));
        let (about, wait) = fights.may_correct(&id(), at(6)).unwrap_err();
        assert_eq!((about.as_str(), wait.as_secs()), ("image by kubectl", 59));
        assert_eq!(fights.may_correct(&id(), at(65)), Ok(()));
    }

    #[test]
    fn slow_corrections_are_no_fight() {
        let mut fights = Fights::default();
        for n in 0..50 {
            assert!(!fights.corrected(&id(), "x".into(), at(n * 13)));
        }
    }

    #[test]
    fn a_fight_that_goes_on_pauses_longer_up_to_half_an_hour() {
        let mut fights = Fights::default();
        let mut now = 0;
        for n in 0..6 {
            fights.corrected(&id(), "x".into(), at(n));
        }
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let wait = fights
                .may_correct(&id(), at(now + 5))
                .unwrap_err()
                .1
                .as_secs();
            now += 5 + wait;
            fights.corrected(&id(), "x".into(), at(now));
            pauses.push(wait);
            now -= 5;
        }
        assert!(
            pauses.windows(2).all(|pair| pair[0] <= pair[1]),
            "{pauses:?}"
        );
        assert_eq!(*pauses.last().unwrap(), 1800);
    }

    #[test]
    fn a_fight_that_ended_is_forgotten() {
        let mut fights = Fights::default();
        for n in 0..6 {
            fights.corrected(&id(), "x".into(), at(n));
        }
        fights.settled(&id(), at(10));
        assert!(fights.may_correct(&id(), at(10)).is_err());
        fights.settled(&id(), at(66));
        assert!(fights.0.is_empty());
    }
}
