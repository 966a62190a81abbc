//! The groups of a user, so short that those of two hundred fit into a cookie.
//!
//! The auth host must answer one question alone: which of the groups that a workspace names are this user's. For that a
//! digest of each is enough. Ten bytes: who wants into a group by a name that digests alike must try 2^80 names, each of them
//! a group at the provider.

use sha2::{Digest as _, Sha256};

/// Bytes of each digest.
const DIGEST_BYTES: usize = 10;
/// As many groups as fit beside the rest. Of those who have more, the ones that no workspace names go first.
pub const MOST_GROUPS: usize = 200;
/// Bytes of group names in a session or a ticket. One of them is enough to be let in.
const MOST_NAME_BYTES: usize = 1200;

/// A set of groups, by their digests, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSet(Vec<u8>);

impl GroupSet {
    /// The set of these. `is_named` says whether any workspace names a group; those are kept first where it is too many.
    pub fn new<'a>(
        groups: impl IntoIterator<Item = &'a str>,
        is_named: impl Fn(&str) -> bool,
    ) -> Self {
        let mut groups: Vec<(bool, &str)> = groups
            .into_iter()
            .map(|group| (!is_named(group), group))
            .collect();
        groups.sort_unstable();
        groups.dedup();
        let kept = groups.iter().take(MOST_GROUPS);
        Self(kept.flat_map(|(_, group)| digest(group)).collect())
    }

    /// The set that was written as these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// What [`GroupSet::from_bytes`] reads.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// No group.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of the named groups that are in the set, in their order, as many as a cookie holds.
    pub fn among<'a>(&self, named: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let is_member = |group: &str| {
            let wanted = digest(group);
            self.0
                .chunks_exact(DIGEST_BYTES)
                .any(|digest| digest == wanted)
        };
        let mut left = MOST_NAME_BYTES;
        named
            .into_iter()
            .filter(|group| is_member(group))
            .take_while(|group| {
                // As JSON writes it, a control byte takes six.
                let length = serde_json::to_string(group).map_or(usize::MAX, |text| text.len() + 1);
                let fits = length <= left;
                left = left.saturating_sub(length);
                fits
            })
            .map(str::to_owned)
            .collect()
    }
}

fn digest(group: &str) -> [u8; DIGEST_BYTES] {
    let whole: [u8; 32] = Sha256::digest(group.as_bytes()).into();
    let mut short = [0; DIGEST_BYTES];
    for (to, from) in short.iter_mut().zip(whole) {
        *to = from;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count)
            .map(|number| format!("c0ffee00-0000-4000-8000-{number:012}"))
            .collect()
    }

    #[test]
    fn a_set_knows_its_groups_and_no_other() {
        let set = GroupSet::new(["team-a", "team-b"], |_| false);
        assert_eq!(set.among(["team-c", "team-b", "Team-A"]), ["team-b"]);
        assert!(GroupSet::none().among(["team-a"]).is_empty());
    }

    #[test]
    fn of_too_many_groups_those_that_workspaces_name_are_kept() {
        let all = names(1000);
        let named = |group: &str| group.ends_with("999");
        let set = GroupSet::new(all.iter().map(String::as_str), named);
        assert_eq!(set.among([all[999].as_str()]), [all[999].clone()]);
        assert_eq!(set.0.len(), MOST_GROUPS * DIGEST_BYTES);
    }

    #[test]
    fn names_are_cut_where_a_cookie_ends() {
        let all = names(200);
        let set = GroupSet::new(all.iter().map(String::as_str), |_| true);
        let kept = set.among(all.iter().map(String::as_str));
        assert!((20..200).contains(&kept.len()));
        assert_eq!(kept[..], all[..kept.len()]);
    }

    #[test]
    fn a_set_that_was_not_made_here_has_no_groups() {
        for bytes in [&b""[..], b"short", &[0; 25]] {
            assert!(GroupSet::from_bytes(bytes).among(["team-a"]).is_empty());
        }
    }
}
