//! Which Secrets a Workspace may take values from.
//!
//! Whoever may write a Workspace could otherwise read every Secret of its namespace. So the Secret consents, by a label that
//! only those can set who may write Secrets, and it may name one owner whose Workspaces alone are meant. A name is no
//! proof: then the owner has to be checked, as `model::owners` says.

use kube::core::ObjectMeta;

use crate::model::names::{OWNER_ANNOTATION, USE_LABEL, VARIABLES};
use crate::model::owners::OwnerCheck;

/// Code and reason of every refusal here.
pub const REFERENCE_REFUSED: (&str, &str) = ("WV109", "ReferenceRefused");

/// What a Secret says of itself, nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretFacts<'a> {
    /// What it may be used for.
    pub used_for: Option<&'a str>,
    /// Whose it is; none, everybody's in the namespace.
    pub owner: Option<&'a str>,
    /// Its UID.
    pub uid: &'a str,
    /// Its version.
    pub version: &'a str,
}

impl<'a> SecretFacts<'a> {
    /// Reads the metadata of a Secret.
    pub fn of(metadata: &'a ObjectMeta) -> Self {
        let label = |key: &str| metadata.labels.as_ref().and_then(|all| all.get(key));
        let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key));
        Self {
            used_for: label(USE_LABEL).map(String::as_str),
            owner: annotation(OWNER_ANNOTATION).map(String::as_str),
            uid: metadata.uid.as_deref().unwrap_or_default(),
            version: metadata.resource_version.as_deref().unwrap_or_default(),
        }
    }
}

/// A Secret that may be used, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usable {
    /// Its UID: another Secret of the name is another one.
    pub uid: String,
    /// Its version.
    pub version: String,
}

/// Why a Secret may not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceRefusal {
    /// It is not there.
    #[error(
        "Secret {0} is not there: make it, with the label {USE_LABEL}={VARIABLES}, or correct secretKeyRef.name"
    )]
    Missing(String),
    /// It does not consent.
    #[error(
        "Secret {0} does not say that its values may be used: label it, kubectl label secret {0} {USE_LABEL}={VARIABLES}, if \
         every Workspace of the namespace may have them; the annotation {OWNER_ANNOTATION} keeps it to one owner"
    )]
    Unlabelled(String),
    /// It is for something else.
    #[error(
        "Secret {name} is for {found}, as its label {USE_LABEL} says: name one with {USE_LABEL}={VARIABLES}"
    )]
    OtherUse {
        /// The Secret.
        name: String,
        /// What its label says.
        found: String,
    },
    /// It is somebody else's.
    #[error(
        "Secret {name} is for Workspaces of {owner} alone, as its annotation {OWNER_ANNOTATION} says: name another Secret, or \
         correct the annotation"
    )]
    ForeignOwner {
        /// The Secret.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// It is this owner's, and nobody can tell whether the Workspace is too.
    #[error(
        "Secret {name} is for Workspaces of {owner} alone, and the owner of this one is not checked: {why}"
    )]
    OwnerUnchecked {
        /// The Secret.
        name: String,
        /// Whose it is.
        owner: String,
        /// Which rule is broken, and what to do.
        why: String,
    },
}

/// Judges whether a Workspace of an owner may use a Secret. Owners are compared to the letter.
///
/// # Errors
/// The rule that it breaks.
pub fn judge(
    name: &str,
    found: Option<SecretFacts<'_>>,
    owner: &str,
    check: &OwnerCheck,
) -> Result<Usable, ReferenceRefusal> {
    let Some(secret) = found else {
        return Err(ReferenceRefusal::Missing(name.to_owned()));
    };
    let name = || name.to_owned();
    match secret.used_for {
        None => return Err(ReferenceRefusal::Unlabelled(name())),
        Some(VARIABLES) => {}
        Some(other) => {
            return Err(ReferenceRefusal::OtherUse {
                name: name(),
                found: other.to_owned(),
            });
        }
    }
    match (secret.owner, check) {
        (Some(own), _) if own != owner => {
            return Err(ReferenceRefusal::ForeignOwner {
                name: name(),
                owner: own.to_owned(),
            });
        }
        (Some(own), OwnerCheck::Unchecked(why)) => {
            return Err(ReferenceRefusal::OwnerUnchecked {
                name: name(),
                owner: own.to_owned(),
                why: why.clone(),
            });
        }
        (Some(_), OwnerCheck::Checked) | (None, _) => {}
    }
    Ok(Usable {
        uid: secret.uid.to_owned(),
        version: secret.version.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn unchecked() -> OwnerCheck {
        OwnerCheck::Unchecked("the policy is gone".to_owned())
    }

    #[rstest]
    #[case::everybodys(Some("variables"), None, OwnerCheck::Checked, "")]
    #[case::everybodys_for_an_owner_whom_nobody_checked(Some("variables"), None, unchecked(), "")]
    #[case::the_owners_own(Some("variables"), Some("alice"), OwnerCheck::Checked, "")]
    #[case::nobody_checked_the_owner(
        Some("variables"),
        Some("alice"),
        unchecked(),
        "not checked: the policy is gone"
    )]
    #[case::somebody_elses(Some("variables"), Some("bob"), OwnerCheck::Checked, "of bob alone")]
    #[case::to_the_letter(
        Some("variables"),
        Some("Alice"),
        OwnerCheck::Checked,
        "of Alice alone"
    )]
    #[case::of_nobody(Some("variables"), Some(""), OwnerCheck::Checked, "alone")]
    #[case::no_label(
        None,
        Some("alice"),
        OwnerCheck::Checked,
        "workstead.dev/use=variables"
    )]
    #[case::an_empty_label(Some(""), None, OwnerCheck::Checked, "its label")]
    #[case::git_credentials(
        Some("git-credentials"),
        None,
        OwnerCheck::Checked,
        "is for git-credentials"
    )]
    fn a_secret_consents_by_its_label_and_may_name_one_owner(
        #[case] used_for: Option<&str>,
        #[case] owner: Option<&str>,
        #[case] check: OwnerCheck,
        #[case] said: &str,
    ) {
        let metadata: ObjectMeta = serde_json::from_value(json!({
            "uid": "u", "resourceVersion": "7",
            "labels": used_for.map(|value| json!({"workstead.dev/use": value})),
            "annotations": owner.map(|value| json!({"workstead.dev/owner": value})),
        }))
        .unwrap();
        let judged = judge("db", Some(SecretFacts::of(&metadata)), "alice", &check);
        if said.is_empty() {
            let usable = judged.unwrap();
            assert_eq!((&*usable.uid, &*usable.version), ("u", "7"));
            return;
        }
        let why = judged.unwrap_err().to_string();
        assert!(why.contains("Secret db "), "{why}");
        assert!(why.contains(said), "{why}");
    }

    #[test]
    fn a_secret_that_is_not_there_is_named() {
        let why = judge("db", None, "alice", &OwnerCheck::Checked).unwrap_err();
        assert!(why.to_string().contains("Secret db is not there"), "{why}");
    }
}
