//! Whether it was checked that somebody may act for an owner: of a Workspace, and of a set of variables.
//!
//! Personal variables reach whatever names their owner, so a name alone is no proof. Two things are: the admission policy
//! that let people name only themselves when the object was made ([`policies`]), and for objects from Git, where the
//! controller itself writes and the policy lets it name anybody, the `owners` of the GitSync.
//!
//! Which file an object came from is taken from its annotation `workstead.dev/origin`. The second policy makes it worth
//! believing: nobody but the controller writes or removes it. That is why that policy has to be in force too, and why an
//! object that has the annotation and lost its labels counts as one from Git: the labels may be taken off by anybody.
//!
//! What is not seen: a policy that an administrator weakened for a while and put right again, and whoever may edit other
//! people's Workspaces, since they can run a program in them.

mod git;
pub mod policies;
mod rules;

pub use git::{SyncFacts, Syncs};
pub use rules::deepest_rule;

use jiff::Timestamp;
use kube::core::ObjectMeta;

use git::Provenance;
use policies::InForce;

/// Code and reason of a refusal for want of a check.
pub const OWNER_UNCHECKED: (&str, &str) = ("WV108", "OwnerUnchecked");

/// Whether the owner of a Workspace is who it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerCheck {
    /// Yes.
    Checked,
    /// Nobody can tell: which rule it breaks, and what to do.
    Unchecked(String),
}

/// Whom a set reaches that is not listed by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// Every Workspace of its namespace.
    Namespace,
    /// Every Workspace of this owner in its namespace.
    Owner(&'a str),
}

/// Judges the owner of a Workspace, by its metadata.
///
/// One that is older than the policies is not believed, although its owner can't be changed: whoever made it then could
/// write any name. An upgrade of the chart keeps the policies as they are, so only their installation draws this line.
pub fn check(
    workspace: &ObjectMeta,
    owner: &str,
    policies: &Result<InForce, String>,
    syncs: &impl Syncs,
) -> OwnerCheck {
    let checked = checked_at_creation(workspace, policies)
        .and_then(|()| checked_by_git(workspace, owner, syncs));
    match checked {
        Ok(()) => OwnerCheck::Checked,
        Err(why) => OwnerCheck::Unchecked(why),
    }
}

fn checked_at_creation(
    workspace: &ObjectMeta,
    policies: &Result<InForce, String>,
) -> Result<(), String> {
    let since = policies.as_ref().map_err(String::clone)?.since;
    let made = workspace.creation_timestamp.as_ref().map(|time| time.0);
    match made {
        // Whole seconds: what was made in the same one may have been made before.
        Some(made) if second(made) > second(since) => Ok(()),
        _ => Err(format!(
            "it is not younger than the admission policies that check who names whom as owner (in force since {since}): \
             delete the Workspace and make it anew; where its class retains volumes it takes its own over again"
        )),
    }
}

fn second(time: Timestamp) -> i64 {
    time.as_second()
}

fn checked_by_git(workspace: &ObjectMeta, owner: &str, syncs: &impl Syncs) -> Result<(), String> {
    let (sync, rules, file) = match git::provenance(workspace, syncs)? {
        Provenance::Hands => return Ok(()),
        Provenance::Git { sync, rules, file } => (sync, rules, file),
    };
    match deepest_rule(&rules.owners, &file) {
        None => Err(format!(
            "GitSync {sync} has no rule in spec.owners for {file}, so whoever may push can name anybody: add a rule for its \
             folder that lists {owner}"
        )),
        Some(rule) if rule.owners.iter().any(|name| name == owner) => Ok(()),
        Some(rule) => Err(format!(
            "spec.owners of GitSync {sync} does not list {owner} for '{}', where {file} lies: add {owner} there, or move the \
             file",
            rule.path
        )),
    }
}

/// Judges, by the metadata of a set, whether it may reach Workspaces that do not list it. The threat is somebody who may
/// commit to one folder alone, and sets `LD_PRELOAD` or `GIT_SSH_COMMAND` for others.
///
/// - A set for an owner: where the GitSync has `owners`, the deepest rule over its file has to list that owner.
/// - A set for the whole namespace: no rule may cover its file, whatever it lists, since the set reaches people whom no
///   rule names. Such sets lie outside of the folders that `owners` hands out, or come by a GitSync of their own.
/// - A GitSync without `owners` trusts its whole repository, and so does this.
/// - A set that was made by hand may reach whom it says: rights on WorkspaceVariables are what guards it.
///
/// # Errors
/// Which rule it breaks, and what to do.
pub fn set_may_apply(set: &ObjectMeta, reach: Reach<'_>, syncs: &impl Syncs) -> Result<(), String> {
    let (sync, rules, file) = match git::provenance(set, syncs)? {
        Provenance::Hands => return Ok(()),
        Provenance::Git { sync, rules, file } => (sync, rules, file),
    };
    if rules.owners.is_empty() {
        return Ok(());
    }
    match (reach, deepest_rule(&rules.owners, &file)) {
        (Reach::Namespace, None) => Ok(()),
        (Reach::Owner(owner), Some(rule)) if rule.owners.iter().any(|name| name == owner) => Ok(()),
        (Reach::Namespace, Some(rule)) => Err(format!(
            "it applies to the whole namespace, and {file} lies under '{}', which spec.owners of GitSync {sync} hands to {}: \
             move the file out of every folder in spec.owners, or apply it by a GitSync of its own",
            rule.path,
            rule.owners.join(", ")
        )),
        (Reach::Owner(owner), Some(rule)) => Err(format!(
            "it applies to {owner}, and spec.owners of GitSync {sync} does not list {owner} for '{}', where {file} lies: \
             move the file to a folder of {owner}",
            rule.path
        )),
        (Reach::Owner(owner), None) => Err(format!(
            "it applies to {owner}, and no rule in spec.owners of GitSync {sync} covers {file}, though there are some: add \
             one for its folder that lists {owner}"
        )),
    }
}

#[cfg(test)]
mod tests;
