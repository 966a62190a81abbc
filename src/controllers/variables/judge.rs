//! Whether an opened set may be used where it is. Looked at for each object, also when its text is known already: else a
//! copy would pass by what was found of the original. Pure.

use std::sync::Arc;

use crate::api::WorkspaceVariables;
use crate::api::variables::{AcceptedSet, AppliesTo};
use crate::controllers::variables::opener::Content;
use crate::controllers::variables::sets::{Standing, Usable};
use crate::model::names::ACCEPT_SERIAL_ANNOTATION;
use crate::secrets::binding::{Audience, Scope};
use crate::secrets::document::Document;
use crate::secrets::error::{Location, SetError};
use crate::secrets::identity::{Fingerprint, Identities};
use crate::secrets::serial::{Before, ContentTag, accept};

/// Names of each kind that a status has: an object holds no more than about 1.5 MiB, and the sealed text may have 1 MiB of it.
const NAMED: usize = 200;

/// What came of a set.
pub enum Outcome {
    /// There is nothing to open it with: why.
    NoIdentities(String),
    /// It may not be used: why.
    Refused(SetError),
    /// It may be used.
    Accepted(Accepted),
}

/// A set that may be used.
pub struct Accepted {
    /// What a status says of it.
    pub set: AcceptedSet,
    /// Who gets it.
    pub audience: Audience,
    /// The highest serial of all that were accepted, this one included.
    pub serial: Option<u64>,
    /// Whose identity opened it.
    pub by: Fingerprint,
    /// How many variables it has.
    pub variables: usize,
    /// How many files.
    pub files: usize,
}

impl Outcome {
    /// Reason and message of one that may not be used.
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        match self {
            Self::NoIdentities(why) => Some(("IdentitiesMissing", why.clone())),
            Self::Refused(error) => Some((error.reason(), format!("{}: {error}", error.code()))),
            Self::Accepted(_) => None,
        }
    }

    /// What the set is by it, for Workspaces.
    pub fn standing(&self, set: &Arc<WorkspaceVariables>) -> Standing {
        match self {
            Self::Accepted(accepted) => Standing::Usable(Usable {
                audience: accepted.audience.clone(),
                digest: accepted.set.digest.clone(),
                set: set.clone(),
            }),
            refused => {
                let why = refused.refusal().map(|(_, message)| message);
                let before = set.status.as_ref();
                let before = before.and_then(|status| status.accepted.as_ref());
                Standing::Refused {
                    why: why.unwrap_or_default(),
                    audience: before.map(audience_of),
                }
            }
        }
    }
}

/// Who gets what was accepted, as its status says.
fn audience_of(accepted: &AcceptedSet) -> Audience {
    match &accepted.applies_to {
        Some(AppliesTo {
            owner: Some(owner), ..
        }) => Audience::Owner(owner.clone()),
        Some(AppliesTo {
            namespace: Some(true),
            ..
        }) => Audience::Namespace,
        _ => Audience::Listed,
    }
}

/// Judges a set at its place, by what was accepted there before.
pub fn judge(
    object: &WorkspaceVariables,
    digest: &str,
    content: &Content,
    identities: &Identities,
) -> Result<Accepted, SetError> {
    let document = &content.document;
    let place = Location {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
    };
    document.binding.check(document.scope, &place)?;
    let annotations = object.metadata.annotations.as_ref();
    let allowed = annotations.and_then(|all| all.get(ACCEPT_SERIAL_ANNOTATION));
    let before = before(object);
    let allowed = allowed.map(|digest| digest.trim());
    let serial = accept(document, digest, &before, allowed, identities)?;
    Ok(Accepted {
        set: accepted_set(document, digest, content.tag.as_ref()),
        audience: document.audience.clone(),
        serial,
        by: content.by.clone(),
        variables: document.env.len(),
        files: document.files.len(),
    })
}

fn before(object: &WorkspaceVariables) -> Before {
    let Some(status) = &object.status else {
        return Before::default();
    };
    let accepted = status.accepted.as_ref();
    let content = accepted.and_then(|accepted| accepted.content.as_deref());
    Before {
        digest: accepted
            .map(|accepted| accepted.digest.clone())
            .unwrap_or_default(),
        serial: status.serial.and_then(|serial| u64::try_from(serial).ok()),
        content: content.and_then(ContentTag::parse),
    }
}

fn accepted_set(document: &Document, digest: &str, tag: Option<&ContentTag>) -> AcceptedSet {
    let applies_to = match &document.audience {
        Audience::Listed => None,
        Audience::Owner(owner) => Some(AppliesTo {
            owner: Some(owner.clone()),
            namespace: None,
        }),
        Audience::Namespace => Some(AppliesTo {
            owner: None,
            namespace: Some(true),
        }),
    };
    let scope = match document.scope {
        Scope::Strict => "Strict",
        Scope::Namespace => "Namespace",
        Scope::Cluster => "Cluster",
    };
    let unnamed =
        [document.env.len(), document.files.len()].map(|count| count.saturating_sub(NAMED));
    let unnamed = unnamed.iter().sum::<usize>();
    AcceptedSet {
        digest: digest.to_owned(),
        content: tag.map(ContentTag::to_text),
        scope: scope.to_owned(),
        applies_to,
        env: first(document.env.keys()),
        files: first(document.files.keys()),
        unnamed: i64::try_from(unnamed).ok().filter(|count| *count > 0),
    }
}

fn first(names: impl Iterator<Item = impl ToString>) -> Vec<String> {
    names.take(NAMED).map(|name| name.to_string()).collect()
}
