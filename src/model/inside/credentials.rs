//! Which Secrets with Git credentials a workspace gets.
//!
//! Whoever writes a Workspace names no Secret: the Secret names its hosts, and its owner if it has one. So nobody can send
//! a credential to a host of their own, and nobody gets what is another's.

use std::collections::{BTreeMap, BTreeSet};

use workstead_link::Credential;

use crate::model::identity::Owner;
use crate::model::inside::projects::Host;
use crate::model::names::{CREDENTIAL_HOSTS_ANNOTATION, DnsSubdomain, OWNER_ANNOTATION};

/// What a Secret with the label says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFacts {
    /// Its name.
    pub name: DnsSubdomain,
    /// Hosts that it is for.
    pub hosts: BTreeSet<Host>,
    /// Whose it is; none, everybody's in the namespace.
    pub owner: Option<String>,
}

impl CredentialFacts {
    /// Reads a Secret's name and annotations. A host that can't be read counts for nothing.
    pub fn of(name: &str, annotations: Option<&BTreeMap<String, String>>) -> Option<Self> {
        let annotation = |key: &str| annotations.and_then(|all| all.get(key));
        let hosts = annotation(CREDENTIAL_HOSTS_ANNOTATION).map_or("", String::as_str);
        Some(Self {
            name: DnsSubdomain::new(name).ok()?,
            hosts: hosts
                .split(',')
                .filter_map(|host| Host::parse(host.trim()))
                .collect(),
            owner: annotation(OWNER_ANNOTATION).cloned(),
        })
    }

    fn is_for(&self, owner: &Owner) -> bool {
        self.owner
            .as_deref()
            .is_none_or(|own| own == owner.as_str())
    }
}

/// Secrets with the hosts that each is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fitting(BTreeMap<DnsSubdomain, BTreeSet<Host>>);

/// Chooses the Secrets for an owner and the hosts of the projects: all that fit.
///
/// Two may fit one host, with a token in the one and a key for ssh in the other. Where both hold what Git asks for, it gets
/// neither, and the clone fails with `CloneAuth` and both names. That is found out inside, where the files are: here
/// nobody reads a Secret.
pub fn fitting(owner: &Owner, needed: &BTreeSet<Host>, secrets: &[CredentialFacts]) -> Fitting {
    let fits = |secret: &&CredentialFacts| {
        // What no project needs stays outside.
        secret.is_for(owner) && !secret.hosts.is_disjoint(needed)
    };
    let fitting = secrets.iter().filter(fits);
    Fitting(
        fitting
            .map(|secret| (secret.name.clone(), secret.hosts.clone()))
            .collect(),
    )
}

impl Fitting {
    /// Their names.
    pub(super) fn names(&self) -> BTreeSet<DnsSubdomain> {
        self.0.keys().cloned().collect()
    }

    /// As the first process is told of them.
    pub(super) fn to_link(&self) -> Vec<Credential> {
        let entry = |(name, hosts): (&DnsSubdomain, &BTreeSet<Host>)| Credential {
            name: name.to_string(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        self.0.iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn secret(name: &str, hosts: &str, owner: Option<&str>) -> CredentialFacts {
        let mut annotations =
            BTreeMap::from([("workstead.dev/hosts".to_owned(), hosts.to_owned())]);
        annotations.extend(owner.map(|own| ("workstead.dev/owner".to_owned(), own.to_owned())));
        CredentialFacts::of(name, Some(&annotations)).unwrap()
    }

    fn chosen(needed: &[&str], secrets: &[CredentialFacts]) -> Vec<String> {
        let owner = Owner::new("alice@example.com").unwrap();
        let needed = needed
            .iter()
            .map(|host| Host::parse(host).unwrap())
            .collect();
        let fitting = fitting(&owner, &needed, secrets);
        assert_eq!(fitting.names().len(), fitting.to_link().len());
        let all = fitting.to_link().into_iter();
        all.map(|c| format!("{}: {}", c.name, c.hosts.join(" ")))
            .collect()
    }

    #[rstest]
    #[case::the_host_is_named("git.example.com", None, true)]
    #[case::among_others("a.example, GIT.Example.com ,b.example", None, true)]
    #[case::the_owner_is_this_one("git.example.com", Some("alice@example.com"), true)]
    #[case::another_owner("git.example.com", Some("bob@example.com"), false)]
    #[case::an_owner_that_is_nobody("git.example.com", Some(""), false)]
    #[case::the_owner_is_compared_to_the_letter(
        "git.example.com",
        Some("Alice@example.com"),
        false
    )]
    #[case::another_host("example.com", None, false)]
    #[case::another_port("git.example.com:8443", None, false)]
    #[case::no_patterns("*.example.com", None, false)]
    #[case::no_host("", None, false)]
    fn a_secret_is_used_when_host_and_owner_fit(
        #[case] hosts: &str,
        #[case] owner: Option<&str>,
        #[case] used: bool,
    ) {
        let secret = secret("token", hosts, owner);
        assert_eq!(
            chosen(&["git.example.com"], &[secret]).len(),
            usize::from(used)
        );
    }

    #[test]
    fn a_secret_without_hosts_is_for_none() {
        let facts = CredentialFacts::of("token", None).unwrap();
        assert!(chosen(&["git.example.com"], &[facts]).is_empty());
    }

    #[test]
    fn of_several_that_fit_all_are_told_and_never_another_owners() {
        let secrets = [
            secret("two", "git.example.com", Some("alice@example.com")),
            secret("one", "git.example.com,other.example", None),
            secret("three", "git.example.com", Some("bob@example.com")),
        ];
        assert_eq!(
            chosen(&["git.example.com"], &secrets),
            ["one: git.example.com other.example", "two: git.example.com"]
        );
    }

    #[test]
    fn further_hosts_of_a_secret_come_along_and_further_secrets_do_not() {
        let secrets = [
            secret("one", "b.example,a.example", None),
            secret("other", "c.example", None),
        ];
        assert_eq!(
            chosen(&["a.example"], &secrets),
            ["one: a.example b.example"]
        );
    }

    proptest! {
        #[test]
        fn the_order_of_secrets_does_not_matter_and_nobody_gets_anothers(
            hosts in prop::collection::vec((prop::collection::btree_set("[abc]", 0..3), 0..3_usize), 0..5),
            needed in prop::collection::btree_set("[abc]", 0..3),
        ) {
            let owners = [None, Some("alice@example.com"), Some("bob@example.com")];
            let mut secrets: Vec<CredentialFacts> = hosts.iter().enumerate().map(|(at, (hosts, owner))| {
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                secret(&format!("s{at}"), &hosts.join(","), owners[*owner])
            }).collect();
            let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
            let told = chosen(&needed, &secrets);
            let fits = |secret: &&CredentialFacts| {
                let hosts: Vec<&str> = secret.hosts.iter().map(Host::as_str).collect();
                secret.owner.as_deref() != Some("bob@example.com") && needed.iter().any(|host| hosts.contains(host))
            };
            prop_assert_eq!(told.len(), secrets.iter().filter(fits).count());
            secrets.reverse();
            prop_assert_eq!(chosen(&needed, &secrets), told);
        }
    }
}
