//! The shape of a field as the API server applies it: which lists are one value, and what tells the items of the others
//! apart.

use crate::api::gitsync::SyncedKind;

use super::DEFINITIONS;
use super::schema::{ListType, Schema};

/// The place of a value in the schema of a kind; what is in no schema of ours, as metadata is, has none.
#[derive(Clone, Copy, Debug)]
pub struct Shape(Option<&'static Schema>);

/// What tells the items of a list apart when several managers apply it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// Nothing: the list is one value.
    Atomic,
    /// Their values.
    Set,
    /// The values of these fields.
    Map(&'static [String]),
}

impl Shape {
    /// That of a whole object.
    pub fn of(kind: SyncedKind) -> Self {
        Self(DEFINITIONS.get(&kind).map(|definition| &definition.schema))
    }

    /// That of a field.
    #[must_use]
    pub fn field(self, name: &str) -> Self {
        Self(self.0.and_then(|schema| schema.property(name)))
    }

    /// That of each item of a list.
    #[must_use]
    pub fn item(self) -> Self {
        Self(self.0.and_then(|schema| schema.items.as_deref()))
    }

    /// What tells its items apart.
    pub fn items(self) -> Items {
        match self.0.map(|schema| &schema.list) {
            Some(ListType::Set) => Items::Set,
            Some(ListType::Map(keys)) => Items::Map(keys),
            Some(ListType::Atomic) | None => Items::Atomic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_map_only_where_the_definition_says_so() {
        let spec = |kind| Shape::of(kind).field("spec");
        for field in ["env", "endpoints"] {
            match spec(SyncedKind::Workspace).field(field).items() {
                Items::Map(keys) => assert_eq!(keys, ["name"], "{field}"),
                other => panic!("{field}: {other:?}"),
            }
        }
        let class = spec(SyncedKind::WorkspaceClass);
        assert_eq!(class.field("imagePullSecrets").items(), Items::Atomic);
        assert_eq!(class.field("nothing").item().items(), Items::Atomic);
    }
}
