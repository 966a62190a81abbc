//! What the first process of a workspace tells, as a pass sees it.

use crate::api::Workspace;
use crate::api::workspace::WorkspaceStatus;
use crate::controllers::cache::Key;
use crate::controllers::supervisor::follow::Life;
use crate::controllers::workspace::Context;
use crate::inside::dial::Target;
use crate::inside::pin::PublicKeyDigest;
use crate::model::evidence::Facts;
use crate::model::inside::credentials::CredentialFacts;
use crate::model::inside::told::{self, Answer, Told};
use crate::model::revision::Pinned;
use kube::ResourceExt;

/// What a pass looks at.
pub struct Question<'a> {
    /// The Workspace.
    pub workspace: &'a Workspace,
    /// Its name.
    pub key: &'a Key,
    /// The status before this pass.
    pub previous: &'a WorkspaceStatus,
    /// What is there.
    pub facts: &'a Facts,
    /// The pin of the start that goes on.
    pub pinned: Option<&'a Pinned>,
    /// The key of the first process, if this pass looked.
    pub public_key: Option<PublicKeyDigest>,
    /// What the timers ask it.
    pub of_timers: Option<&'a str>,
}

/// What was heard of it.
pub struct Heard {
    /// What it told so far.
    pub told: Told,
    /// What became of a request to ask it.
    pub answer: Answer,
    /// Whether the pass must look again soon.
    pub hurry: bool,
}

impl Heard {
    fn nothing_new(told: Told) -> Self {
        Self {
            told,
            answer: Answer::Nobody,
            hurry: false,
        }
    }
}

/// What it told so far. Listens to it while there is more to hear or somebody asks, and no longer.
pub fn told(context: &Context, question: &Question<'_>) -> Heard {
    let Question {
        workspace,
        key,
        previous,
        facts,
        ..
    } = *question;
    let pinned = question.pinned.map(|pinned| &pinned.pin.template);
    let asked = told::asked(workspace, previous);
    let request = asked.map(String::as_str).or(question.of_timers);
    let Some((container, pod)) = told::life(facts).filter(|_| pinned.is_some()) else {
        context.followers.leave(key);
        return Heard::nothing_new(Told::Nothing);
    };
    let parts = pinned.map(told::parts).unwrap_or_default();
    let settled = facts.has_ready_pod() && told::is_settled(previous, container);
    if request.is_none() && (settled || parts.is_empty()) {
        context.followers.leave(key);
        let told = if settled {
            Told::Settled
        } else {
            Told::Nothing
        };
        return Heard::nothing_new(told);
    }
    // What stands in the status counts until it says something else.
    let known = if settled {
        Told::Settled
    } else {
        Told::Silent(parts)
    };
    let answer = match asked {
        Some(_) => Answer::Awaited,
        None => Answer::Nobody,
    };
    let recorded = previous.supervisor.as_ref();
    let recorded = recorded.and_then(|known| PublicKeyDigest::parse(&known.public_key_sha256));
    let (Some(address), Some(public_key)) = (pod.address, question.public_key.or(recorded)) else {
        return Heard {
            told: known,
            answer,
            hurry: false,
        };
    };
    let life = Life {
        container: container.to_owned(),
        request: request.map(str::to_owned),
    };
    let target = Target::of_pod(address, public_key);
    let follows = context.followers.follow(key, &life, target);
    match context.followers.report(key, &life) {
        Some(said) => Heard {
            answer: match answer {
                Answer::Awaited if said.answers => Answer::Given(said.report.clone()),
                other => other,
            },
            told: Told::Heard(said.report),
            hurry: false,
        },
        None => Heard {
            told: known,
            answer,
            hurry: !follows,
        },
    }
}

/// The Secrets with Git credentials in the namespace of a Workspace.
pub fn credentials(context: &Context, key: &Key) -> Vec<CredentialFacts> {
    let all = context.children.credentials.all();
    let mut found: Vec<CredentialFacts> = all
        .iter()
        .filter(|secret| secret.namespace().as_deref() == Some(&key.namespace))
        .filter_map(|secret| {
            let annotations = secret.metadata.annotations.as_ref();
            CredentialFacts::of(secret.metadata.name.as_deref()?, annotations)
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}
