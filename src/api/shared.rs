//! Values that several kinds use: quantities, durations, conditions, failures.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The form of amounts: the API's own for quantities, less the sign, since no field of ours may be negative.
const QUANTITY_PATTERN: &str = r"^(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";
/// The form of lengths of time. So few digits that no text of the longest length exceeds what 64 bits of nanoseconds can
/// count: 292 years.
const DURATION_PATTERN: &str = "^([0-9]{1,9}(ms|s)|[0-9]{1,7}m|[0-9]{1,5}h)+$";
/// The form of shares in percent.
pub(in crate::api) const SHARE_PATTERN: &str = "^(100|[0-9]{1,2})%$";

/// What a text of each form is, and what to write for example. The server knows the pattern alone.
const FORMS: [(&str, &str); 3] = [
    (
        QUANTITY_PATTERN,
        "is no amount: write for example 500m, 512Mi or 4Gi",
    ),
    (
        DURATION_PATTERN,
        "is no length of time: write for example 30s, 5m or 1h30m",
    ),
    (
        SHARE_PATTERN,
        "is no share: write 0% to 100%, for example 20%, or a number without quotes",
    ),
];

/// What to say of a text that does not have the form of a pattern; none for a pattern that is not of our definitions.
pub fn form_in_words(pattern: &str) -> Option<&'static str> {
    let found = FORMS.iter().find(|(known, _)| *known == pattern);
    found.map(|(_, words)| *words)
}

/// An amount as Kubernetes writes it (`500m`, `2Gi`, `1`), kept as the author wrote it.
///
/// A plain number in YAML (`cpu: 1`) is accepted too, as Kubernetes does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Integer(i64),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Text(text) => Self(text),
            Written::Integer(number) => Self(number.to_string()),
        })
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A pattern binds text alone, the least value numbers.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "pattern": QUANTITY_PATTERN,
        })
    }
}

/// A length of time such as `30s`, `5m` or `1h30m`, kept as the author wrote it. Units: `h`, `m`, `s`, `ms`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DurationText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": DURATION_PATTERN,
        })
    }
}

// The rule looks at three resources alone: one that looks at all that may be there exceeds what the server lets it cost,
// since it takes an amount for a text as long as a request. The others are checked by the controller.
/// Requests and limits of the main container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || ['cpu', 'memory', 'ephemeral-storage'].all(k, !(k in self.requests) || !(k in self.limits) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)").message("a request is over its limit: lower the request or raise the limit"))]
pub struct Resources {
    /// What the scheduler sets aside, by resource name (`cpu`, `memory`, …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the container may use at most, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// A reference to an object of the same namespace by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Whose fault a failure is. `User` failures page nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Blame {
    /// The author of the Workspace can mend it.
    User,
    /// The people who run the cluster can mend it.
    Platform,
}

/// The schema of a list of conditions: a map by `type`, so that two writers do not overwrite each other.
pub fn conditions_schema(generator: &mut SchemaGenerator) -> Schema {
    let item = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
