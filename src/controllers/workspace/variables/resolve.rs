//! Which sets and Secrets a Workspace gets, by what is known of them now. Nothing is opened for it.

use std::collections::BTreeMap;

use crate::api::Workspace;
use crate::controllers::owners::OwnerChecks;
use crate::controllers::variables::{Known, Sets, Standing, Usable};
use crate::model::owners::OwnerCheck;
use crate::model::variables::pin::{Asked, Source, VariablesLevel};
use crate::secrets::binding::Audience;

/// What a Workspace gets.
#[derive(Default)]
pub struct Resolved {
    /// Sets, in the order in which they are put together.
    pub sets: Vec<(Source, Usable)>,
    /// Why sets that would reach it do not: nobody checked who its owner is, or who brought them may not.
    pub withheld: Vec<String>,
}

/// Why it can't be said.
#[derive(Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// A set was not looked at yet: its name.
    Unseen(String),
    /// It lists a set that is not there.
    Missing(String),
    /// Sets that can't be used: which, and why.
    Unavailable(String),
}

/// Finds out which sets a Workspace gets.
pub fn resolve(
    sets: &Sets,
    owners: &OwnerChecks,
    workspace: &Workspace,
    asked: &Asked,
) -> Result<Resolved, Unresolved> {
    let namespace = workspace.metadata.namespace.as_deref().unwrap_or_default();
    sets.in_namespace(namespace, |known| {
        let reach = Reach {
            known,
            owners,
            workspace,
            asked,
        };
        reach.resolve()
    })
}

struct Reach<'a> {
    known: &'a BTreeMap<String, Known>,
    owners: &'a OwnerChecks,
    workspace: &'a Workspace,
    asked: &'a Asked,
}

impl Reach<'_> {
    fn resolve(&self) -> Result<Resolved, Unresolved> {
        let mut resolved = Resolved::default();
        let unlisted = self
            .known
            .iter()
            .filter(|(name, _)| !self.asked.sets.contains(name));
        let mut problems = Vec::new();
        for (name, known) in unlisted {
            let Some(standing) = &known.standing else {
                return Err(Unresolved::Unseen(name.clone()));
            };
            let level = match standing.audience() {
                Some(Audience::Namespace) => VariablesLevel::Namespace,
                Some(Audience::Owner(owner)) if *owner == self.workspace.spec.owner => {
                    VariablesLevel::Owner
                }
                _ => continue,
            };
            if let Err(why) = self.may_reach(name, standing) {
                resolved.withheld.push(why);
                continue;
            }
            match standing {
                Standing::Usable(usable) => resolved.push(level, name, usable),
                Standing::Refused { why, .. } => problems.push(refusal(name, why)),
            }
        }
        for name in &self.asked.sets {
            let Some(known) = self.known.get(name) else {
                return Err(Unresolved::Missing(name.clone()));
            };
            match &known.standing {
                None => return Err(Unresolved::Unseen(name.clone())),
                Some(Standing::Refused { why, .. }) => problems.push(refusal(name, why)),
                Some(standing @ Standing::Usable(usable)) => {
                    match self.may_be_listed(name, standing) {
                        Ok(()) => resolved.push(VariablesLevel::Workspace, name, usable),
                        Err(why) => problems.push(why),
                    }
                }
            }
        }
        if problems.is_empty() {
            // Stable: within a level the order stays.
            resolved.sets.sort_by_key(|(source, _)| source.level);
            Ok(resolved)
        } else {
            Err(Unresolved::Unavailable(problems.join("; ")))
        }
    }

    /// A set for an owner is for nobody else, also when somebody else lists it.
    fn may_be_listed(&self, name: &str, standing: &Standing) -> Result<(), String> {
        match standing.audience() {
            Some(Audience::Owner(owner)) if *owner != self.workspace.spec.owner => Err(format!(
                "WV108: WorkspaceVariables {name} is for another owner than {}: take it out of spec.variables",
                self.workspace.spec.owner
            )),
            Some(Audience::Owner(_)) => self.may_reach(name, standing),
            _ => Ok(()),
        }
    }

    /// Whether who brought a set may give it to all whom it is for, and, where it is for an owner, whether the Workspace
    /// is known to be that owner's.
    fn may_reach(&self, name: &str, standing: &Standing) -> Result<(), String> {
        let refuse = |why: String| Err(format!("WV108: WorkspaceVariables {name}: {why}"));
        let (Standing::Usable(usable), Some(audience)) = (standing, standing.audience()) else {
            return Ok(());
        };
        if let Err(why) = self.owners.set_may_apply(&usable.set, audience) {
            return refuse(why);
        }
        match audience {
            Audience::Owner(_) => match self.owners.of(self.workspace) {
                OwnerCheck::Checked => Ok(()),
                OwnerCheck::Unchecked(why) => refuse(why),
            },
            Audience::Listed | Audience::Namespace => Ok(()),
        }
    }
}

impl Resolved {
    fn push(&mut self, level: VariablesLevel, name: &str, usable: &Usable) {
        let source = Source {
            level,
            name: name.to_owned(),
            digest: usable.digest.clone(),
        };
        self.sets.push((source, usable.clone()));
    }
}

fn refusal(name: &str, why: &str) -> String {
    format!("WorkspaceVariables {name} can't be used: {why}")
}
