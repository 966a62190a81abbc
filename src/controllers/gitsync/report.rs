//! Telling: the status when it changed, Events on what happened.

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::EventType;
use serde_json::json;

use super::context::Context;
use super::outcome::{Applied, Ending, History, Outcome};
use super::status::{ConditionType, next_status};
use crate::api::gitsync::GitSyncStatus;
use crate::api::{API_VERSION, GitSync};
use crate::controllers::cache::Key;
use crate::model::names::GITSYNC_MANAGER;
use crate::model::sync::Code;

/// Why the status is not told.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It could not be written.
    #[error("failed to write the status")]
    Write(#[source] kube::Error),
}

/// Writes the status if it differs, then the Events of what changed.
///
/// # Errors
/// When the API server refuses. A GitSync that was deleted meanwhile needs no status.
pub async fn report(
    context: &Context,
    gitsync: &GitSync,
    outcome: &Outcome,
) -> Result<(), ReportError> {
    let before = gitsync.status.clone().unwrap_or_default();
    let after = next_status(&before, outcome, context.shared.clock.now());
    if after == before {
        return Ok(());
    }
    if !write(context, gitsync, &after).await? {
        return Ok(());
    }
    if let Ending::Applied(applied) = &outcome.result
        && !applied.counts.is_zero()
    {
        let counts = applied.counts;
        tracing::info!(
            gitsync = %Key::of(gitsync),
            revision = applied.revision,
            created = counts.created,
            changed = counts.updated,
            deleted = counts.deleted,
            errors = applied.errors.len(),
            "applied a commit"
        );
    }
    context
        .shared
        .events
        .unreadable(gitsync, &before.unreadable)
        .await;
    for event in events(&before, &after, outcome) {
        context
            .shared
            .events
            .publish(
                gitsync,
                event.kind,
                event.reason,
                &event.action,
                &event.note,
            )
            .await;
    }
    Ok(())
}

async fn write(
    context: &Context,
    gitsync: &GitSync,
    status: &GitSyncStatus,
) -> Result<bool, ReportError> {
    let key = Key::of(gitsync);
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": "GitSync",
        // The UID is a precondition: the status of this GitSync is not that of one made anew under its name.
        "metadata": { "name": key.name, "namespace": key.namespace, "uid": gitsync.metadata.uid },
        "status": status,
    });
    let api: Api<GitSync> = Api::namespaced(context.shared.client.clone(), &key.namespace);
    let written = api
        .patch_status(
            &key.name,
            &PatchParams::apply(GITSYNC_MANAGER).force(),
            &Patch::Apply(&body),
        )
        .await;
    match written {
        Ok(gitsync) => {
            context.gitsyncs.wrote(gitsync);
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(source) => Err(ReportError::Write(source)),
    }
}

#[derive(Debug)]
struct News {
    kind: EventType,
    reason: &'static str,
    /// What changes between two events of one reason: they would be folded into one else.
    action: String,
    note: String,
}

/// What is worth an Event: a revision that changed something, a change for the worse or the better.
fn events(before: &GitSyncStatus, after: &GitSyncStatus, outcome: &Outcome) -> Vec<News> {
    let mut news = Vec::new();
    if let Ending::Applied(applied) = &outcome.result {
        if !applied.counts.is_zero() {
            news.push(applied_news(applied));
        }
        if let History::Rewritten(message) = &applied.history {
            news.push(News {
                kind: EventType::Warning,
                reason: Code::HistoryRewritten.reason(),
                action: applied.revision.clone(),
                note: message.clone(),
            });
        }
    }
    let ready = |status: &GitSyncStatus| {
        status
            .conditions
            .iter()
            .find(|c| c.type_ == ConditionType::Ready.name())
            .map(|c| (c.status == "True", c.reason.clone(), c.message.clone()))
    };
    match (ready(before), ready(after)) {
        (was, Some((false, reason, message))) if was.as_ref().map(|w| &w.1) != Some(&reason) => {
            news.push(News {
                kind: EventType::Warning,
                reason: "NotReady",
                action: reason,
                note: message,
            });
        }
        (Some((false, reason, _)), Some((true, _, message))) => news.push(News {
            kind: EventType::Normal,
            reason: "Recovered",
            action: reason,
            note: message,
        }),
        _ => {}
    }
    news
}

fn applied_news(applied: &Applied) -> News {
    let counts = applied.counts;
    News {
        kind: EventType::Normal,
        reason: "Applied",
        action: applied.revision.clone(),
        note: format!(
            "applied {}: {} created, {} changed, {} deleted",
            applied.revision, counts.created, counts.updated, counts.deleted
        ),
    }
}
