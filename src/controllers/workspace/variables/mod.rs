//! What a Workspace has of sealed sets and Secrets: found out, taken at a start, and compared with what is newest.
//!
//! While nothing changes nothing is opened and nothing read: what a start took stands in its pin, and what the status
//! compared it with is told by digests.

mod merged;
mod resolve;
mod secrets;

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use tokio::time::{Instant, timeout_at};

use crate::api::Workspace;
use crate::api::environment::OutdatedVariable;
use crate::api::shared::Blame;
use crate::api::workspace::{Cause, DesiredState, Failure};
use crate::controllers::apply::ApplyError;
use crate::controllers::cache::Key;
use crate::controllers::workspace::Context;
use crate::controllers::workspace::dereference::Dereferenced;
use crate::controllers::workspace::observe::Seen;
use crate::controllers::workspace::references::{Brought, take};
use crate::model::revision::{PinInputs, Pinned};
use crate::model::status::{Compared, Problem, VariablesFound};
use crate::model::variables::VariableName;
use crate::model::variables::pin::{
    self, Asked, Renewal, Source, VariablesLevel, VariablesPin, digest_of,
};
use crate::model::variables::references::{self, SecretFacts};
use crate::model::workspace::{ENVIRONMENT_BYTES, Identity, TakenVariables, ValidatedWorkspace};
use crate::secrets::document::LONGEST_VARIABLE;
use crate::secrets::merge::{Merged, Origin};

pub use secrets::{clear, ensure, remove};

use resolve::{Resolved, Unresolved, resolve};

/// So long a pass waits for a set that was not looked at yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a pass found out.
#[derive(Default)]
pub struct Variables {
    /// What a start now has.
    pub taken: TakenVariables,
    /// The Secret for it, if it was put together now.
    pub made: Option<Secret>,
    /// For the status.
    pub found: VariablesFound,
    /// Why nothing can start.
    pub blocked: Option<Failure>,
}

impl Variables {
    /// Judges a spec that holds by its sets too.
    ///
    /// # Errors
    /// What blocks it.
    pub fn judge(
        &mut self,
        verdict: Result<ValidatedWorkspace, Failure>,
    ) -> Result<ValidatedWorkspace, Failure> {
        let mut workspace = verdict?;
        match self.blocked.take() {
            Some(blocked) => Err(blocked),
            None => {
                workspace.variables = std::mem::take(&mut self.taken);
                Ok(workspace)
            }
        }
    }
}

/// What is newest, and why it is not all.
struct Newest {
    resolved: Resolved,
    references: Vec<Source>,
    digest: String,
}

/// What a pass looks at.
struct Look<'a> {
    context: &'a Context,
    seen: &'a Dereferenced,
    identity: &'a Identity,
    asked: Asked,
    pinned: Option<PinInputs>,
    /// Whether the Secret of the pin is there.
    secret_exists: bool,
}

/// Looks at the sets and Secrets of a Workspace:
/// 1. which reach it,
/// 2. whether a start takes them, or has what the last one had,
/// 3. put together what it takes,
/// 4. compare what it has with what is newest.
///
/// # Errors
/// When the API server does not say what is in a Secret.
pub async fn look(
    context: &Context,
    seen: &Dereferenced,
    before: &Seen,
) -> Result<Variables, ApplyError> {
    let ends = seen.workspace.spec.desired_state == Some(DesiredState::Terminated);
    let Ok(identity) = seen.identity.as_ref().map_err(|_| ()) else {
        return Ok(Variables::default());
    };
    if ends || seen.is_deleted() {
        return Ok(Variables::default());
    }
    let pinned = Pinned::newest(&before.revisions, identity).map(|pinned| pinned.pin.inputs);
    let pin = pinned.as_ref().and_then(|inputs| inputs.variables.as_ref());
    let secret_exists = match pin {
        Some(pin) => secrets::exists(context, &seen.parent, pin).await?,
        None => true,
    };
    let look = Look {
        context,
        seen,
        identity,
        asked: Asked::of(&seen.workspace.spec),
        pinned,
        secret_exists,
    };
    let newest = look.newest().await?;
    match look.renewal() {
        Some(renewal) => look.renew(renewal, newest).await,
        None => look.keep(newest).await,
    }
}

impl Look<'_> {
    fn pin(&self) -> Option<&VariablesPin> {
        self.pinned.as_ref()?.variables.as_ref()
    }

    fn renewal(&self) -> Option<Renewal> {
        let workspace = &self.seen.workspace;
        let status = workspace.status.as_ref();
        let handled = status.and_then(|s| s.last_handled_variables_update_at.as_deref());
        let class = self.seen.class.as_ref().ok();
        pin::renewal(&pin::Question {
            pinned: self.pinned.as_ref(),
            asked: &self.asked,
            request: pin::update_requested(workspace).map(String::as_str),
            handled,
            refresh: class.is_some_and(|class| class.refresh_variables),
            secret_exists: self.secret_exists,
        })
    }

    /// What is newest, or why that can't be said. A set that was not looked at yet is waited for, though not for long.
    async fn newest(&self) -> Result<Result<Newest, String>, ApplyError> {
        let Context { sets, owners, .. } = self.context;
        let until = Instant::now() + PATIENCE;
        let workspace: &Workspace = &self.seen.workspace;
        let mut looked_live = false;
        let resolved = loop {
            let mut bell = sets.bell();
            bell.mark_unchanged();
            let waits_for = match resolve(sets, owners, workspace, &self.asked) {
                Ok(resolved) => break resolved,
                Err(Unresolved::Unavailable(why)) => return Ok(Err(why)),
                Err(Unresolved::Unseen(name)) => name,
                Err(Unresolved::Missing(name)) => {
                    let missing = format!(
                        "WorkspaceVariables {name} is not there: make it in namespace {}, or take it out of spec.variables",
                        self.seen.key.namespace
                    );
                    // What was made a moment ago may not be seen yet.
                    if !looked_live {
                        looked_live = true;
                        if !secrets::set_exists(self.context, &self.seen.key.namespace, &name)
                            .await?
                        {
                            return Ok(Err(missing));
                        }
                    }
                    name
                }
            };
            let closed = timeout_at(until, bell.changed()).await;
            if closed.is_err() {
                return Ok(Err(format!(
                    "WorkspaceVariables {waits_for} was not looked at yet"
                )));
            }
        };
        let references = match self.references().await? {
            Ok(references) => references,
            Err(why) => return Ok(Err(why)),
        };
        let sources: Vec<Source> = sources(&resolved, &references);
        let digest = digest_of(&sources, &self.asked);
        Ok(Ok(Newest {
            resolved,
            references,
            digest,
        }))
    }

    /// A start has what the last one had.
    async fn keep(&self, newest: Result<Newest, String>) -> Result<Variables, ApplyError> {
        let mut variables = Variables {
            taken: self.as_before(),
            ..Variables::default()
        };
        match newest {
            Ok(newest) => {
                variables.found.problem = newest.problem();
                variables.found.compared = self.compare(&newest, None).await?;
            }
            Err(why) => variables.found.problem = Some(Problem::Unavailable(why)),
        }
        Ok(variables)
    }

    /// A start takes what is newest.
    async fn renew(
        &self,
        renewal: Renewal,
        newest: Result<Newest, String>,
    ) -> Result<Variables, ApplyError> {
        let taken = match newest {
            Ok(newest) => self.take(&newest).await?.map(|merged| (newest, merged)),
            Err(why) => Err(why),
        };
        let (newest, merged) = match taken {
            Ok(taken) => taken,
            Err(why) => return Ok(self.without(renewal, why)),
        };
        let sources = sources(&newest.resolved, &newest.references);
        let pin = (!sources.is_empty())
            .then(|| merged::pin_of(self.identity, sources, &self.asked, &merged));
        let request = pin::update_requested(&self.seen.workspace).cloned();
        let before = self.pinned.as_ref();
        let compared = self.compare(&newest, Some(&merged)).await?;
        Ok(Variables {
            made: pin
                .as_ref()
                .map(|pin| merged::secret_of(self.identity, pin, &merged)),
            taken: TakenVariables {
                pin,
                request: request.or_else(|| before?.variables_request.clone()),
            },
            found: VariablesFound {
                problem: newest.problem(),
                compared,
            },
            blocked: None,
        })
    }

    /// What is newest can't be had. Who asked for it keeps what there is; who has nothing, or lists something else, waits.
    fn without(&self, renewal: Renewal, why: String) -> Variables {
        let keeps = matches!(renewal, Renewal::Requested | Renewal::OfClass);
        Variables {
            taken: self.as_before(),
            made: None,
            blocked: (!keeps).then(|| unavailable(&why)),
            found: VariablesFound {
                problem: Some(Problem::Unavailable(why)),
                compared: None,
            },
        }
    }

    fn as_before(&self) -> TakenVariables {
        let before = self.pinned.as_ref();
        TakenVariables {
            pin: self.pin().cloned(),
            request: before.and_then(|inputs| inputs.variables_request.clone()),
        }
    }

    /// Puts together what is newest, or says why it does not go together.
    async fn take(&self, newest: &Newest) -> Result<Result<Merged, String>, ApplyError> {
        let mut contents = Vec::with_capacity(newest.resolved.sets.len());
        for (source, usable) in &newest.resolved.sets {
            match self.context.sets.content(usable).await {
                Ok(content) => contents.push((source, content)),
                Err(error) => {
                    return Ok(Err(format!("WorkspaceVariables {}: {error}", source.name)));
                }
            }
        }
        let documents = contents
            .iter()
            .map(|(source, content)| (origin_of(source), &content.document));
        let mut merged = match Merged::of(documents) {
            Ok(merged) => merged,
            Err(error) => return Ok(Err(error.to_string())),
        };
        for source in &newest.references {
            let brought = match self.read(source).await? {
                Ok(brought) => brought,
                Err(why) => return Ok(Err(why)),
            };
            let origin = origin_of(source).into();
            for (name, value) in brought.values {
                merged.set(name, value, &origin);
            }
        }
        if let Err(error) = merged.check() {
            return Ok(Err(error.to_string()));
        }
        Ok(self.fits(&merged).map(|()| merged))
    }

    /// The Secrets that it names, as they are now, or why one of them may not be used.
    async fn references(&self) -> Result<Result<Vec<Source>, String>, ApplyError> {
        let mut sources = Vec::new();
        if self.asked.references.is_empty() {
            return Ok(Ok(sources));
        }
        let check = self.context.owners.of(&self.seen.workspace);
        let owner = &self.seen.workspace.spec.owner;
        for name in self.asked.secrets() {
            let key = Key::new(&self.seen.key.namespace, name);
            let found = secrets::referable(self.context, &key).await?;
            let facts = found
                .as_deref()
                .map(|found| SecretFacts::of(&found.metadata));
            match references::judge(name, facts, owner, &check) {
                Ok(usable) => sources.push(Source {
                    level: VariablesLevel::Inline,
                    name: name.to_owned(),
                    digest: format!("{}@{}", usable.uid, usable.version),
                }),
                Err(refusal) => return Ok(Err(format!("WV109: {refusal}"))),
            }
        }
        Ok(Ok(sources))
    }

    /// What it takes of a Secret, or why that can't be had.
    async fn read(&self, source: &Source) -> Result<Result<Brought, String>, ApplyError> {
        let asked = self.asked.references.iter();
        let asked = asked
            .filter(|(_, reference)| reference.name == source.name)
            // A name that breaks the rules is refused with the spec.
            .filter_map(|(variable, reference)| {
                Some((VariableName::new(variable).ok()?, reference.key.clone()))
            })
            .collect();
        let check = self.context.owners.of(&self.seen.workspace);
        let owner = &self.seen.workspace.spec.owner;
        let key = Key::new(&self.seen.key.namespace, &source.name);
        let client = &self.context.shared.client;
        match take(client, &key, &asked, owner, &check).await {
            Ok(brought) => Ok(Ok(brought)),
            Err(error) => match error.entry() {
                Some((code, _)) => Ok(Err(format!("{code}: {error}"))),
                None => Err(secrets::unread(key, error)),
            },
        }
    }

    /// Whether the environment of a process holds all of it.
    fn fits(&self, merged: &Merged) -> Result<(), String> {
        let sealed = merged.env.iter();
        let sealed = sealed.map(|(name, from)| name.as_str().len() + from.value.expose().len() + 2);
        let plain = self.seen.workspace.spec.env.iter();
        let plain = plain.map(|variable| variable.name.len() + variable.value.len() + 2);
        if sealed.chain(plain).sum::<usize>() > ENVIRONMENT_BYTES {
            return Err(
                "all variables together are longer than 512 KiB: put large values into files"
                    .to_owned(),
            );
        }
        // Their names go to the first process as one variable.
        let names = merged.env.keys().map(|name| name.as_str().len() + 1);
        if names.sum::<usize>() + workstead_link::SECRETS_VARIABLE.len() >= LONGEST_VARIABLE {
            return Err(
                "the names of all variables together are longer than 128 KiB: put some of them into files"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// What a start would change that takes what is newest. None before the first one, or where nobody can say.
    async fn compare(
        &self,
        newest: &Newest,
        merged: Option<&Merged>,
    ) -> Result<Option<Compared>, ApplyError> {
        let Some(inputs) = &self.pinned else {
            return Ok(None);
        };
        if inputs.variables_lost || !self.secret_exists {
            return Ok(None);
        }
        let none = digest_of(&[], &Asked::default());
        let pin = self.pin();
        let same =
            |outdated: Vec<OutdatedVariable>| Some(Compared::new(newest.digest.clone(), outdated));
        if pin.map_or(&none, |pin| &pin.digest) == &newest.digest {
            return Ok(same(Vec::new()));
        }
        let secret = pin.map_or("", |pin| pin.secret.as_str());
        let previous = self.seen.workspace.status.clone().unwrap_or_default();
        if let Some(known) = Compared::known(&previous, secret, &newest.digest) {
            return Ok(Some(known));
        }
        let taken;
        let merged = match merged {
            Some(merged) => merged,
            None => match self.take(newest).await? {
                Ok(merged) => {
                    taken = merged;
                    &taken
                }
                // It would not go together: the status of the sets, or the next start, says so.
                Err(_) => return Ok(None),
            },
        };
        let had = match pin {
            Some(pin) => {
                secrets::values(self.context, &self.seen.key.namespace, &pin.secret).await?
            }
            None => None,
        };
        let entry = |key: &str| had.as_ref().and_then(|had| had.entry(key));
        Ok(same(merged::differences(pin, entry, merged)))
    }
}

impl Newest {
    fn problem(&self) -> Option<Problem> {
        let withheld = &self.resolved.withheld;
        (!withheld.is_empty()).then(|| Problem::OwnerUnchecked(withheld.join("; ")))
    }
}

fn sources(resolved: &Resolved, references: &[Source]) -> Vec<Source> {
    let sets = resolved.sets.iter().map(|(source, _)| source);
    sets.chain(references).cloned().collect()
}

fn origin_of(source: &Source) -> Origin {
    Origin {
        level: source.level,
        name: source.name.clone(),
    }
}

fn unavailable(why: &str) -> Failure {
    Failure {
        cause: Cause::VariablesUnavailable,
        blame: Blame::User,
        message: why.to_owned(),
        evidence: "spec.variables, spec.env[].valueFrom and the WorkspaceVariables of the namespace"
            .to_owned(),
        retryable: true,
        next_step: "see kubectl get workspacevariables, and mend what is named: the workspace starts by itself then"
            .to_owned(),
        since: None,
    }
}
