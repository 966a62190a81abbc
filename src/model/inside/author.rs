//! Whose name Git writes into commits.

use workstead_link::Author;

use crate::api::class::GitIdentity;
use crate::api::editors::NameFrom;
use crate::model::identity::Owner;
use crate::model::names::DnsSubdomain;

/// How a class makes authors of owners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorRules {
    /// Which part of the owner is the name.
    pub name_from: NameFrom,
    /// What follows '@' for owners that are no addresses.
    pub email_domain: Option<DnsSubdomain>,
}

impl AuthorRules {
    /// Reads what a class says, with what is wrong about the domain: the rest holds without it.
    pub(crate) fn of(identity: Option<&GitIdentity>) -> (Self, Option<String>) {
        let Some(identity) = identity else {
            return (Self::default(), None);
        };
        let domain = identity.email_domain.clone().map(DnsSubdomain::new);
        let (email_domain, wrong) = match domain.transpose() {
            Ok(domain) => (domain, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let rules = Self {
            name_from: identity.name_from.unwrap_or_default(),
            email_domain,
        };
        (rules, wrong)
    }
}

/// The author that commits of this owner get; none when no address can be told, for then Git has to ask.
pub(super) fn of(owner: &Owner, rules: &AuthorRules) -> Option<Author> {
    let owner = owner.as_str();
    let address = owner.split_once('@').filter(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@')
    });
    let local = address.map_or(owner, |(local, _)| local);
    let email = match (address, &rules.email_domain) {
        (Some(_), _) => plain(owner),
        (None, Some(domain)) => format!("{}@{domain}", in_address(owner)),
        (None, None) => return None,
    };
    let name = plain(match rules.name_from {
        NameFrom::LocalPart => local,
        NameFrom::Owner => owner,
    });
    // Git refuses names of nothing but punctuation.
    let says_nothing = |text: &str| !text.bytes().any(|b| b.is_ascii_alphanumeric());
    (!says_nothing(&name) && !says_nothing(&email)).then_some(Author { name, email })
}

/// Without the marks that end a name or an address in a commit.
fn plain(text: &str) -> String {
    text.replace(['<', '>'], "")
}

/// What stands before '@': other characters would have to be quoted.
fn in_address(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    let text: String = text
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    text.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("alice@example.com", None, Some(("alice", "alice@example.com")))]
    #[case("alice@example.com", Some("corp.example"), Some(("alice", "alice@example.com")))]
    #[case("alice", Some("corp.example"), Some(("alice", "alice@corp.example")))]
    #[case("oidc:alice", Some("corp.example"), Some(("oidc:alice", "oidc-alice@corp.example")))]
    #[case("alice", None, None)]
    #[case("@example.com", None, None)]
    #[case("a@b@c.example", None, None)]
    #[case("al<i>ce@example.com", None, Some(("alice", "alice@example.com")))]
    #[case("---", Some("corp.example"), None)]
    fn authors_are_made_of_owners(
        #[case] owner: &str,
        #[case] domain: Option<&str>,
        #[case] expected: Option<(&str, &str)>,
    ) {
        let rules = AuthorRules {
            name_from: NameFrom::LocalPart,
            email_domain: domain.map(|domain| DnsSubdomain::new(domain).unwrap()),
        };
        let author = of(&Owner::new(owner).unwrap(), &rules);
        let author = author.map(|author| (author.name, author.email));
        let expected = expected.map(|(name, email)| (name.to_owned(), email.to_owned()));
        assert_eq!(author, expected);
    }

    #[test]
    fn the_name_may_be_the_whole_owner() {
        let rules = AuthorRules {
            name_from: NameFrom::Owner,
            email_domain: None,
        };
        let author = of(&Owner::new("alice@example.com").unwrap(), &rules).unwrap();
        assert_eq!(author.name, "alice@example.com");
    }

    proptest! {
        #[test]
        fn no_owner_breaks_a_commit(owner in "[!-~]{1,40}") {
            let rules = AuthorRules {
                name_from: NameFrom::LocalPart,
                email_domain: DnsSubdomain::new("example.com").ok(),
            };
            if let Some(author) = of(&Owner::new(&owner).unwrap(), &rules) {
                for text in [&author.name, &author.email] {
                    prop_assert!(!text.is_empty() && !text.contains(['<', '>', '\n', ' ']));
                }
                prop_assert!(author.email.contains('@'));
            }
        }
    }
}
