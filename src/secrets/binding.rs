//! To which place a set is bound, and whom it is for. Both stand inside of the sealed text, where nobody changes them.

use crate::secrets::error::{Location, SetError};

/// How much of the binding has to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Namespace and name.
    #[default]
    Strict,
    /// The namespace; any name.
    Namespace,
    /// Any place.
    Cluster,
}

/// Which Workspaces take a set without listing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// None.
    #[default]
    Listed,
    /// Those of this owner, in its namespace, if it is checked who they are.
    Owner(String),
    /// All of its namespace.
    Namespace,
}

/// The place that a set says it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The namespace.
    pub namespace: Option<String>,
    /// The name.
    pub name: Option<String>,
}

impl Binding {
    /// Whether the parts that the scope binds are there.
    pub fn is_whole(&self, scope: Scope) -> bool {
        match scope {
            Scope::Strict => self.namespace.is_some() && self.name.is_some(),
            Scope::Namespace => self.namespace.is_some(),
            Scope::Cluster => true,
        }
    }

    /// Whether a set may be used where it is. Parts are compared one by one: joined ones could be cut elsewhere.
    ///
    /// # Errors
    /// When it is not whole, or for another place.
    pub fn check(&self, scope: Scope, place: &Location) -> Result<(), SetError> {
        if !self.is_whole(scope) {
            return Err(SetError::BindingMissing);
        }
        let namespace = self.namespace.as_ref() == Some(&place.namespace);
        let name = self.name.as_ref() == Some(&place.name);
        let fits = match scope {
            Scope::Strict => namespace && name,
            Scope::Namespace => namespace,
            Scope::Cluster => true,
        };
        if fits {
            return Ok(());
        }
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        let name = match scope {
            Scope::Strict => part(&self.name),
            Scope::Namespace | Scope::Cluster => "*".to_owned(),
        };
        Err(SetError::BindingMismatch {
            sealed_for: format!("{}/{name}", part(&self.namespace)),
            found_at: place.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(namespace: &str, name: &str) -> Binding {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Binding {
            namespace: part(namespace),
            name: part(name),
        }
    }

    #[test]
    fn a_set_is_used_where_it_was_sealed_for_and_nowhere_else() {
        let place = Location {
            namespace: "team-a".to_owned(),
            name: "api".to_owned(),
        };
        use Scope::{Cluster, Namespace, Strict};
        for (scope, namespace, name, expected) in [
            (Strict, "team-a", "api", "ok"),
            (Strict, "team-a", "other", "WV100"),
            (Strict, "team-b", "api", "WV100"),
            (Strict, "team-a/api", "", "WV101"),
            (Strict, "team-a", "", "WV101"),
            (Strict, "", "api", "WV101"),
            (Strict, "team-a-api", "api", "WV100"),
            (Namespace, "team-a", "", "ok"),
            (Namespace, "team-a", "other", "ok"),
            (Namespace, "team-b", "api", "WV100"),
            (Namespace, "", "api", "WV101"),
            (Cluster, "", "", "ok"),
            (Cluster, "team-b", "other", "ok"),
        ] {
            let found = binding(namespace, name).check(scope, &place);
            let found = found.as_ref().map_or_else(SetError::code, |()| "ok");
            assert_eq!(found, expected, "{scope:?} {namespace} {name}");
        }
    }
}
