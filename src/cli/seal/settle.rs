//! What the set says of itself and what was typed become one. Where both speak, they have to agree.

use std::fmt::Display;

use crate::cli::error::CliError;
use crate::cli::seal::args::SealArgs;
use crate::model::identity::Owner;
use crate::model::names::{DnsLabel, DnsSubdomain};
use crate::secrets::binding::{Audience, Binding, Scope};
use crate::secrets::document::{Document, Draft};
use crate::secrets::error::Location;

/// What was typed about a set.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    name: Option<String>,
    namespace: Option<String>,
    scope: Option<Scope>,
    audience: Option<Audience>,
    serial: Option<u64>,
}

impl From<&SealArgs> for Typed {
    fn from(arguments: &SealArgs) -> Self {
        let owner = arguments.owner.clone().map(Audience::Owner);
        let namespace = arguments.for_namespace.then_some(Audience::Namespace);
        Self {
            name: arguments.name.clone(),
            namespace: arguments.cluster.namespace.clone(),
            scope: arguments.scope.map(Scope::from),
            audience: owner.or(namespace),
            serial: arguments.serial,
        }
    }
}

impl Typed {
    /// Where the set will be. `default` is the namespace where nobody names one.
    ///
    /// # Errors
    /// When nobody says it, or two say different things.
    pub fn place(&self, draft: &Draft, default: Option<&str>) -> Result<Location, CliError> {
        let binding = draft.binding.clone().unwrap_or_default();
        let name = agreed("name", self.name.clone(), "--name", binding.name)?;
        let namespace = agreed(
            "namespace",
            self.namespace.clone(),
            "--namespace",
            binding.namespace,
        )?;
        let namespace = namespace.or_else(|| default.map(str::to_owned));
        let place = Location {
            namespace: namespace.ok_or_else(|| unnamed("namespace"))?,
            name: name.ok_or_else(|| unnamed("name"))?,
        };
        let wrong = |error| CliError::no("the binding is no place").because(error);
        DnsLabel::new(&*place.namespace).map_err(wrong)?;
        DnsSubdomain::new(&*place.name).map_err(wrong)?;
        Ok(place)
    }

    /// The set, bound to its place.
    ///
    /// # Errors
    /// When both say different things.
    pub fn document(self, draft: Draft, place: &Location) -> Result<Document, CliError> {
        let shown = |scope: Scope| format!("{scope:?}");
        let (typed, written) = (self.scope.map(shown), draft.scope.map(shown));
        agreed("scope", typed, "--scope", written)?;
        let audiences = (&self.audience, &draft.audience);
        let (typed, written) = (audiences.0.as_ref(), audiences.1.as_ref());
        let option = "--owner or --for-namespace";
        agreed(
            "appliesTo",
            typed.map(audience),
            option,
            written.map(audience),
        )?;
        let serial = agreed("serial", self.serial, "--serial", draft.serial)?;
        let scope = self.scope.or(draft.scope).unwrap_or_default();
        let audience = self.audience.or(draft.audience).unwrap_or_default();
        check_owner(&audience)?;
        let binding = draft.binding.unwrap_or_default();
        let (namespace, name) = match scope {
            Scope::Strict => (Some(&place.namespace), Some(&place.name)),
            Scope::Namespace => (Some(&place.namespace), None),
            Scope::Cluster => (None, None),
        };
        Ok(Document {
            binding: Binding {
                namespace: namespace.cloned().or(binding.namespace),
                name: name.cloned().or(binding.name),
            },
            scope,
            audience,
            serial,
            env: draft.env,
            files: draft.files,
        })
    }
}

/// Whether the owner that a set is for, if it is for one, can be one.
///
/// # Errors
/// When it can't.
pub fn check_owner(audience: &Audience) -> Result<(), CliError> {
    let Audience::Owner(owner) = audience else {
        return Ok(());
    };
    let wrong = |error| CliError::no("appliesTo names no owner").because(error);
    Owner::new(owner).map(drop).map_err(wrong)
}

/// For whom a set is, in words.
pub fn audience(audience: &Audience) -> String {
    match audience {
        Audience::Listed => "Workspaces that list it".to_owned(),
        Audience::Owner(owner) => format!("Workspaces of {owner}"),
        Audience::Namespace => "all Workspaces of the namespace".to_owned(),
    }
}

/// The one thing that both say, if they do.
fn agreed<T: PartialEq + Display>(
    what: &str,
    typed: Option<T>,
    option: &str,
    written: Option<T>,
) -> Result<Option<T>, CliError> {
    match (typed, written) {
        (Some(typed), Some(written)) if typed != written => Err(CliError::no(format!(
            "the {what} of the set is said twice, and differs"
        ))
        .seen(format!("the file says: {written}"))
        .seen(format!("{option} says: {typed}"))
        .next(format!("correct the file, or leave {option} out"))),
        (typed, written) => Ok(typed.or(written)),
    }
}

fn unnamed(part: &str) -> CliError {
    CliError::undone(format!("nothing says for which {part} the set is")).next(format!(
        "say --{part}, or write binding: {{namespace: …, name: …}} into the file"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "binding: {namespace: team-a, name: api}\n";

    fn draft(text: &str) -> Draft {
        let draft = Draft::read(format!("env: {{A: '1'}}\n{text}").as_bytes());
        draft.map_err(|error| error.to_string()).unwrap()
    }

    fn typed(name: &str, namespace: &str) -> Typed {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Typed {
            name: part(name),
            namespace: part(namespace),
            ..Typed::default()
        }
    }

    #[test]
    fn the_place_is_said_by_the_file_or_by_the_options_and_never_by_both_differently() {
        for (name, namespace, file, default, expected) in [
            ("api", "team-a", "", None, Ok("team-a/api")),
            ("api", "team-a", PLACE, None, Ok("team-a/api")),
            ("", "", PLACE, None, Ok("team-a/api")),
            ("", "", PLACE, Some("other"), Ok("team-a/api")),
            ("api", "", "", Some("other"), Ok("other/api")),
            ("api", "", "", None, Err("nothing says for which namespace")),
            ("", "team-a", "", None, Err("nothing says for which name ")),
            (
                "web",
                "team-a",
                PLACE,
                None,
                Err("the name of the set is said twice"),
            ),
            (
                "api",
                "team-b",
                PLACE,
                None,
                Err("the namespace of the set is said twice"),
            ),
            (
                "",
                "",
                "binding: {namespace: A b, name: c}",
                None,
                Err("the binding is no place"),
            ),
        ] {
            let found = typed(name, namespace).place(&draft(file), default);
            match (found, expected) {
                (Ok(place), Ok(expected)) => assert_eq!(place.to_string(), expected),
                (Err(error), Err(expected)) => {
                    assert!(error.cause.starts_with(expected), "{}", error.cause);
                }
                (found, _) => panic!(
                    "{name} {namespace} {file}: {:?}",
                    found.map(|at| at.to_string())
                ),
            }
        }
    }

    #[test]
    fn scope_audience_and_serial_are_taken_from_whoever_says_them_and_refused_where_both_differ() {
        let place = Location {
            namespace: "team-a".to_owned(),
            name: "api".to_owned(),
        };
        let options = Typed {
            scope: Some(Scope::Namespace),
            audience: Some(Audience::Namespace),
            serial: Some(7),
            ..Typed::default()
        };
        let same = "scope: Namespace\nappliesTo: {namespace: true}\nserial: 7";
        for (typed, file) in [
            (options.clone(), ""),
            (options.clone(), same),
            (Typed::default(), same),
        ] {
            let set = typed.document(draft(file), &place).ok().unwrap();
            assert_eq!(
                (set.scope, set.serial),
                (Scope::Namespace, Some(7)),
                "{file}"
            );
            assert_eq!(set.audience, Audience::Namespace);
            assert_eq!(set.binding.name, None, "no name is bound");
            assert!(set.binding.check(set.scope, &place).is_ok());
        }
        for (file, what) in [
            ("scope: Cluster", "scope"),
            ("appliesTo: {owner: alice@example.com}", "appliesTo"),
            ("serial: 8", "serial"),
        ] {
            let error = options.clone().document(draft(file), &place);
            let cause = error.map(drop).unwrap_err().cause;
            let expected = format!("the {what} of the set is said twice, and differs");
            assert_eq!(cause, expected);
        }
        let plain = Typed::default().document(draft(""), &place).ok().unwrap();
        assert_eq!((plain.scope, plain.serial), (Scope::Strict, None));
        assert!(plain.binding.check(Scope::Strict, &place).is_ok());
    }
}
