//! Which Workspace holds a host name. Labels of hosts ignore namespaces, so two Workspaces may want the same one.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Resource;

use crate::model::names::RESERVED_LABELS;

/// A Workspace that asks for the host of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name: the label.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
    /// When it was created, by the API server.
    pub created: Option<Timestamp>,
}

impl Claim {
    /// Reads the claim of a Workspace.
    pub fn of<K: Resource>(workspace: &K) -> Self {
        let metadata = workspace.meta();
        Self {
            name: metadata.name.as_deref().unwrap_or_default().into(),
            namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
        }
    }

    /// The oldest comes first, then the UID decides. Not the status: that is lost in a restore, and the host would go to
    /// whoever copied the name. One without a date was not made by an API server, and comes last.
    fn order(&self) -> impl Ord {
        let age = self
            .created
            .map_or((true, Timestamp::MAX), |at| (false, at));
        (age, self.uid.clone())
    }
}

/// Why a Workspace does not hold the host of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// The name is kept for the installation itself.
    Reserved,
    /// An older Workspace has the same name.
    HeldBy {
        /// Its namespace. For administrators: a stranger's namespace is nobody else's business.
        namespace: Arc<str>,
        /// Its UID.
        uid: Arc<str>,
    },
}

/// All claims of a cluster, by name. Both the proxy and the controller keep one up to date from their watches.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    claims: HashMap<Arc<str>, Vec<Claim>>,
}

impl Hosts {
    /// Takes in a Workspace. Returns those whose verdict may be another one now, itself left out.
    pub fn insert(&mut self, claim: Claim) -> Vec<Claim> {
        let claims = self.claims.entry(claim.name.clone()).or_default();
        let before = holder(claims).map(|holder| holder.uid.clone());
        claims.retain(|other| other.uid != claim.uid);
        let uid = claim.uid.clone();
        // Mostly the only one.
        claims.reserve_exact(1);
        claims.push(claim);
        affected(claims, before, &uid)
    }

    /// Takes out a Workspace. Returns those whose verdict may be another one now.
    pub fn remove(&mut self, name: &str, uid: &str) -> Vec<Claim> {
        let Some(claims) = self.claims.get_mut(name) else {
            return Vec::new();
        };
        let before = holder(claims).map(|holder| holder.uid.clone());
        claims.retain(|other| &*other.uid != uid);
        let affected = affected(claims, before, uid);
        if claims.is_empty() {
            self.claims.remove(name);
        }
        affected
    }

    /// All that ask for a name.
    pub fn claims(&self, name: &str) -> &[Claim] {
        self.claims.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Why a Workspace does not hold the host of its name; none, it does. `reserved` are the names that the installation
    /// keeps, beside those that are always kept.
    pub fn conflict(&self, name: &str, uid: &str, reserved: &[String]) -> Option<Conflict> {
        if is_reserved(name, reserved) {
            return Some(Conflict::Reserved);
        }
        let holder = holder(self.claims(name))?;
        (&*holder.uid != uid).then(|| Conflict::HeldBy {
            namespace: holder.namespace.clone(),
            uid: holder.uid.clone(),
        })
    }
}

/// Whether a label is kept for the installation.
pub fn is_reserved(label: &str, more: &[String]) -> bool {
    RESERVED_LABELS.contains(&label) || more.iter().any(|reserved| reserved == label)
}

/// The one that holds the host.
fn holder(claims: &[Claim]) -> Option<&Claim> {
    claims
        .iter()
        .min_by(|one, other| one.order().cmp(&other.order()))
}

/// If another one holds it now, everybody else may have another verdict.
fn affected(claims: &[Claim], before: Option<Arc<str>>, changed: &str) -> Vec<Claim> {
    let after = holder(claims).map(|holder| holder.uid.clone());
    if before == after {
        return Vec::new();
    }
    let others = claims.iter().filter(|claim| &*claim.uid != changed);
    others.cloned().collect()
}
