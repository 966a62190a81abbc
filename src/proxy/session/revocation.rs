//! What ends logins before their time: entries in one ConfigMap that every replica watches.
//!
//! An entry says who and until when. It is compared with when somebody **signed in**, not with when a session was made: a
//! replica that has not seen the entry yet may just have made one anew. Each entry lies under a key of its own, so that
//! people and replicas write beside each other.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::proxy::session::claims::{LOGIN_LIFE, Login};
use crate::proxy::session::tokens::SKEW;

/// Bytes that the entries may have together: an object holds 1 MiB, and some of it must stay for administrators.
pub const MOST_BYTES: usize = 900 * 1024;

/// Whose logins end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// All of a user.
    User(String),
    /// All on the hosts of a Workspace, by its UID.
    Workspace(String),
    /// One login, by our own name for it.
    Login(String),
    /// All that came of one session at the provider.
    ProviderSession(String),
    /// All of a user, by the provider's name as [`op_subject`] shortens it.
    ProviderUser(String),
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose logins end.
    pub whose: Whose,
    /// Those end whose users signed in by then. Single logins and sessions end whenever that was.
    pub not_before: Timestamp,
    /// From then on nothing lives that the entry could end.
    pub expires: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(flatten)]
    whose: WrittenWhose,
    not_before: Timestamp,
    #[serde(default)]
    expires: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenWhose {
    User(String),
    Workspace(String),
    Login(String),
    ProviderSession(String),
    ProviderUser(String),
}

impl Entry {
    /// One that ends what was signed in by now.
    pub fn new(whose: Whose, now: Timestamp) -> Self {
        Self {
            whose,
            not_before: now,
            expires: longest_after(now),
        }
    }

    /// The key that it lies under: the same for the same login, user or workspace, whatever is in their names.
    pub fn key(&self) -> String {
        let (kind, name) = match &self.whose {
            Whose::User(name) => ("user", name),
            Whose::Workspace(name) => ("workspace", name),
            Whose::Login(name) => ("login", name),
            Whose::ProviderSession(name) => ("provider-session", name),
            Whose::ProviderUser(name) => ("provider-user", name),
        };
        let digest = hex::encode(Sha256::digest(name.as_bytes()));
        format!("{kind}.{}", digest.get(..32).unwrap_or_default())
    }

    /// As it lies in the ConfigMap.
    pub fn to_json(&self) -> String {
        let whose = match self.whose.clone() {
            Whose::User(name) => WrittenWhose::User(name),
            Whose::Workspace(name) => WrittenWhose::Workspace(name),
            Whose::Login(name) => WrittenWhose::Login(name),
            Whose::ProviderSession(name) => WrittenWhose::ProviderSession(name),
            Whose::ProviderUser(name) => WrittenWhose::ProviderUser(name),
        };
        let written = Written {
            whose,
            not_before: self.not_before,
            expires: Some(self.expires),
        };
        // Texts and times: nothing in it can fail.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Reads what [`Entry::to_json`] wrote, or a person: `expires` may be left out.
    pub fn parse(text: &str) -> Option<Self> {
        let written: Written = serde_json::from_str(text).ok()?;
        let whose = match written.whose {
            WrittenWhose::User(name) => Whose::User(name),
            WrittenWhose::Workspace(name) => Whose::Workspace(name),
            WrittenWhose::Login(name) => Whose::Login(name),
            WrittenWhose::ProviderSession(name) => Whose::ProviderSession(name),
            WrittenWhose::ProviderUser(name) => Whose::ProviderUser(name),
        };
        let longest = longest_after(written.not_before);
        Some(Self {
            whose,
            not_before: written.not_before,
            // One that ends sooner would let sessions live again.
            expires: written.expires.map_or(longest, |at| at.max(longest)),
        })
    }
}

/// No login from before lives then.
fn longest_after(time: Timestamp) -> Timestamp {
    let life = jiff::SignedDuration::from_secs(LOGIN_LIFE + 2 * SKEW);
    time.checked_add(life).unwrap_or(Timestamp::MAX)
}

/// The provider's name for a user, short and of known length, apart from that of every other provider.
pub fn op_subject(issuer: &str, subject: &str) -> String {
    let digest = Sha256::digest([issuer, subject].join("\0").as_bytes());
    hex::encode(digest).chars().take(32).collect()
}

/// Everything that was ended, as one value to look in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    users: HashMap<String, i64>,
    workspaces: HashMap<String, i64>,
    provider_users: HashMap<String, i64>,
    logins: HashSet<String>,
    provider_sessions: HashSet<String>,
    unreadable: Vec<String>,
}

impl Epochs {
    /// Reads the data of the ConfigMap. What can't be read is named by [`Epochs::unreadable`], and ends nothing.
    pub fn parse(data: &BTreeMap<String, String>) -> Self {
        let mut epochs = Self::default();
        for (key, text) in data {
            let Some(entry) = Entry::parse(text) else {
                epochs.unreadable.push(key.clone());
                continue;
            };
            let not_before = entry.not_before.as_second();
            let mut raise = |map: fn(&mut Self) -> &mut HashMap<String, i64>, name: String| {
                let epoch = map(&mut epochs).entry(name).or_insert(not_before);
                *epoch = not_before.max(*epoch);
            };
            match entry.whose {
                Whose::User(name) => raise(|epochs| &mut epochs.users, name),
                Whose::Workspace(name) => raise(|epochs| &mut epochs.workspaces, name),
                Whose::ProviderUser(name) => raise(|epochs| &mut epochs.provider_users, name),
                Whose::Login(name) => {
                    epochs.logins.insert(name);
                }
                Whose::ProviderSession(name) => {
                    epochs.provider_sessions.insert(name);
                }
            }
        }
        epochs
    }

    /// The keys of entries that are none: for the log, and for whoever wrote them.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Whether a login was ended, on whatever host.
    pub fn ends(&self, login: &Login) -> bool {
        let by = |epochs: &HashMap<String, i64>, name: &str| {
            !epochs.is_empty()
                && epochs
                    .get(name)
                    .is_some_and(|epoch| login.auth_time <= *epoch)
        };
        let op_sid = login.op_sid.as_ref();
        let op_sub = login.op_sub.as_ref();
        by(&self.users, &login.sub)
            || (!self.logins.is_empty() && self.logins.contains(&login.sid))
            || op_sid.is_some_and(|sid| self.provider_sessions.contains(sid))
            || op_sub.is_some_and(|sub| by(&self.provider_users, sub))
    }

    /// Whether a login was ended on the hosts of a workspace.
    pub fn ends_on(&self, login: &Login, workspace_uid: &str) -> bool {
        let on_workspace = !self.workspaces.is_empty()
            && self
                .workspaces
                .get(workspace_uid)
                .is_some_and(|epoch| login.auth_time <= *epoch);
        on_workspace || self.ends(login)
    }
}

/// The data without entries that end nothing any more, and what was taken out. Unreadable ones stay for a person to see.
pub fn pruned(
    data: &BTreeMap<String, String>,
    now: Timestamp,
) -> (BTreeMap<String, String>, usize) {
    let lives = |text: &str| Entry::parse(text).is_none_or(|entry| entry.expires > now);
    let kept: BTreeMap<String, String> = data
        .iter()
        .filter(|(_, text)| lives(text))
        .map(|(key, text)| (key.clone(), text.clone()))
        .collect();
    let gone = data.len() - kept.len();
    (kept, gone)
}

/// Why an entry can't be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The object would grow beyond what the API server takes.
    #[error("the revocations would take {0} bytes, and have room for {MOST_BYTES}")]
    Full(usize),
}

/// The data with an entry more and without those that ended. A later time of the same one wins, in whatever order they
/// come.
///
/// # Errors
/// When there is no room.
pub fn with(
    data: &BTreeMap<String, String>,
    entry: &Entry,
    now: Timestamp,
) -> Result<BTreeMap<String, String>, AddError> {
    let (mut data, _) = pruned(data, now);
    let key = entry.key();
    let before = data.get(&key).and_then(|text| Entry::parse(text));
    if before.is_none_or(|before| before.not_before < entry.not_before) {
        data.insert(key, entry.to_json());
    }
    let bytes = data.iter().map(|(key, text)| key.len() + text.len()).sum();
    if bytes > MOST_BYTES {
        return Err(AddError::Full(bytes));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn login() -> Login {
        Login {
            sub: "alice@example.com".to_owned(),
            sid: "s1".to_owned(),
            op_sid: Some("op1".to_owned()),
            op_sub: Some(op_subject("https://id.example.com", "42")),
            auth_time: 1000,
            grp_at: 1000,
        }
    }

    fn epochs(entries: impl IntoIterator<Item = Entry>) -> Epochs {
        let data = entries
            .into_iter()
            .map(|entry| (entry.key(), entry.to_json()))
            .collect();
        Epochs::parse(&data)
    }

    #[rstest]
    #[case::user(Whose::User("alice@example.com".into()), 1000, true)]
    #[case::user_who_came_back(Whose::User("alice@example.com".into()), 999, false)]
    #[case::another_case(Whose::User("Alice@example.com".into()), 1000, false)]
    #[case::workspace(Whose::Workspace("w1".into()), 1000, true)]
    #[case::workspace_before(Whose::Workspace("w1".into()), 999, false)]
    #[case::another_workspace(Whose::Workspace("w2".into()), 1000, false)]
    #[case::login_needs_no_clock(Whose::Login("s1".into()), 0, true)]
    #[case::another_login(Whose::Login("s2".into()), 2000, false)]
    #[case::provider_session(Whose::ProviderSession("op1".into()), 0, true)]
    #[case::another_provider_session(Whose::ProviderSession("s1".into()), 2000, false)]
    #[case::provider_user(
        Whose::ProviderUser(op_subject("https://id.example.com", "42")),
        1000,
        true
    )]
    #[case::same_user_elsewhere(
        Whose::ProviderUser(op_subject("https://other.example.com", "42")),
        1000,
        false
    )]
    fn an_entry_ends_whose_login_it_names(
        #[case] whose: Whose,
        #[case] second: i64,
        #[case] ended: bool,
    ) {
        let epochs = epochs([Entry::new(whose, at(second))]);
        assert_eq!(epochs.ends_on(&login(), "w1"), ended);
    }

    #[test]
    fn the_later_of_two_times_counts_in_either_order() {
        let user = |second| Entry::new(Whose::User("a".into()), at(second));
        for order in [[1000, 2000], [2000, 1000]] {
            let mut data = BTreeMap::new();
            for second in order {
                data = with(&data, &user(second), at(second)).unwrap();
            }
            assert_eq!(data.len(), 1);
            assert_eq!(
                Entry::parse(data.values().next().unwrap()),
                Some(user(2000))
            );
        }
    }

    #[test]
    fn an_entry_goes_when_nothing_lives_that_it_could_end() {
        let entry = Entry::new(Whose::Login("s".into()), at(1000));
        let data = with(&BTreeMap::new(), &entry, at(1000)).unwrap();
        let end = 1000 + LOGIN_LIFE + 2 * SKEW;
        assert_eq!(pruned(&data, at(end - 1)).1, 0);
        assert_eq!(pruned(&data, at(end)), (BTreeMap::new(), 1));
    }

    #[test]
    fn a_person_may_write_an_entry_by_hand() {
        let text = r#"{"user": "alice@example.com", "notBefore": "2026-11-28T12:00:00Z"}"#;
        let entry = Entry::parse(text).unwrap();
        assert_eq!(entry.whose, Whose::User("alice@example.com".into()));
        // An end that would let sessions live again is put off.
        let short = text.replace('}', r#", "expires": "2026-11-28T12:00:01Z"}"#);
        assert_eq!(Entry::parse(&short), Some(entry));
    }

    #[test]
    fn what_is_no_entry_is_named_and_stays() {
        let data = BTreeMap::from([("user.x".to_owned(), "yesterday".to_owned())]);
        assert_eq!(Epochs::parse(&data).unreadable(), ["user.x"]);
        assert_eq!(pruned(&data, at(0)).1, 0);
    }

    #[test]
    fn a_full_object_says_so_instead_of_losing_entries() {
        let data = BTreeMap::from([("user.x".to_owned(), "x".repeat(MOST_BYTES))]);
        let entry = Entry::new(Whose::Login("s".into()), at(0));
        assert!(matches!(with(&data, &entry, at(0)), Err(AddError::Full(_))));
    }

    #[test]
    fn a_key_is_one_that_a_config_map_takes() {
        let entry = Entry::new(Whose::User("a b/ü@\n".into()), at(0));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        assert!(entry.key().bytes().all(plain), "{}", entry.key());
        assert_eq!(Entry::parse(&entry.to_json()), Some(entry));
    }
}
