use super::*;
use crate::controllers::gitsync::outcome::Counts;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn applied(revision: &str) -> Applied {
    Applied {
        revision: revision.into(),
        at: at(7),
        fetch_error: None,
        errors: Vec::new(),
        counts: Counts::default(),
        objects: 3,
        blocked: None,
        history: History::Descends,
        fights: Vec::new(),
        waiting: Vec::new(),
    }
}

fn outcome(result: Ending) -> Outcome {
    Outcome {
        generation: 4,
        handled_request: None,
        webhook_path: None,
        result,
    }
}

fn failed(code: Code) -> Failed {
    Failed {
        error: SourceError::new(code, "because"),
        attempted: None,
        others: Vec::new(),
        history: History::Same,
    }
}

fn after(before: &GitSyncStatus, result: Ending) -> GitSyncStatus {
    let status = next_status(before, &outcome(result), at(100));
    check_rules(&status);
    status
}

fn condition<'a>(status: &'a GitSyncStatus, name: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.type_ == name)
}

/// The rules that hold at the end of every pass.
fn check_rules(status: &GitSyncStatus) {
    let holds = |name| condition(status, name).is_some_and(|c| c.status == "True");
    let ready = condition(status, "Ready").expect("Ready is always there");
    assert!(!(holds("Reconciling") && holds("Stalled")));
    for name in ["Reconciling", "Stalled"] {
        assert!(condition(status, name).is_none_or(|c| c.status == "True"));
    }
    if ready.status == "True" {
        for name in ["Reconciling", "Stalled", "FightDetected"] {
            assert!(!holds(name), "{name} beside Ready");
        }
    } else {
        let why = ["Reconciling", "Stalled"].map(|name| condition(status, name));
        let why = why.into_iter().flatten().next().expect("one says why");
        assert_eq!((&why.reason, &why.message), (&ready.reason, &ready.message));
    }
    let mut names: Vec<_> = status.conditions.iter().map(|c| &c.type_).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), status.conditions.len(), "a type twice");
    for condition in &status.conditions {
        assert_eq!(condition.observed_generation, status.observed_generation);
        assert!(!condition.reason.is_empty());
    }
}

#[test]
fn every_code_gives_conditions_that_keep_the_rules() {
    let mut before = GitSyncStatus::default();
    for code in Code::ALL {
        before = after(&before, Ending::Failed(failed(*code)));
        assert_eq!(condition(&before, "Ready").unwrap().reason, code.reason());
        let mut partly = applied("main@sha1:a");
        partly.errors = vec![SourceError::new(*code, "because")];
        before = after(&before, Ending::Applied(partly));
        before = after(&before, Ending::Suspended);
    }
    assert!(condition(&before, "Stalled").is_some());
    before = after(&before, Ending::Applied(applied("main@sha1:b")));
    assert_eq!(before.conditions.len(), 1);
    before = after(&before, Ending::Suspended);
    assert_eq!(before.conditions[0].status, "True");
}

#[test]
fn the_same_outcome_twice_gives_the_same_status() {
    for result in [
        Ending::Suspended,
        Ending::Failed(failed(Code::FetchFailed)),
        Ending::Applied(applied("main@sha1:a")),
    ] {
        let first = next_status(&GitSyncStatus::default(), &outcome(result.clone()), at(100));
        let second = next_status(&first, &outcome(result), at(900));
        assert_eq!(first, second);
    }
}

#[test]
fn a_failed_fetch_keeps_the_applied_revision_and_recovers() {
    let good = after(
        &GitSyncStatus::default(),
        Ending::Applied(applied("main@sha1:a")),
    );
    let mut stale = applied("main@sha1:a");
    stale.fetch_error = Some(SourceError::new(Code::AuthenticationFailed, "refused"));
    let bad = after(&good, Ending::Applied(stale));
    assert_eq!(bad.last_applied_revision.as_deref(), Some("main@sha1:a"));
    let ready = condition(&bad, "Ready").unwrap();
    assert_eq!(ready.reason, "AuthenticationFailed");
    assert!(condition(&bad, "Reconciling").is_some());
    let again = after(&bad, Ending::Applied(applied("main@sha1:a")));
    assert_eq!(again.error_count, Some(0));
    assert_eq!(again.conditions.len(), 1);
}

#[test]
fn errors_are_capped_and_counted_and_their_texts_cut() {
    let mut bad = applied("main@sha1:a");
    bad.errors = (0..120)
        .map(|_| {
            SourceError::new(Code::SchemaInvalid, "ä".repeat(2000))
                .in_file("f".repeat(5000))
                .of("o".repeat(5000))
        })
        .collect();
    let status = after(&GitSyncStatus::default(), Ending::Applied(bad));
    assert_eq!(status.errors.len(), MAX_ERRORS);
    assert_eq!(status.error_count, Some(120));
    for error in &status.errors {
        let texts = [
            Some(&error.message),
            error.file.as_ref(),
            error.object.as_ref(),
        ];
        assert!(texts.iter().all(|text| text.unwrap().len() <= MAX_MESSAGE));
    }
    assert!(
        condition(&status, "Stalled").is_some(),
        "only a commit helps"
    );
}

#[test]
fn one_error_that_is_retried_keeps_it_reconciling() {
    let mut bad = applied("main@sha1:a");
    bad.errors = vec![
        SourceError::new(Code::SchemaInvalid, "x"),
        SourceError::new(Code::ApplyForbidden, "y"),
    ];
    let status = after(&GitSyncStatus::default(), Ending::Applied(bad));
    assert!(condition(&status, "Reconciling").is_some());
}

#[test]
fn what_waits_for_a_delete_keeps_it_reconciling_and_is_named() {
    let mut waits = applied("main@sha1:a");
    waits.waiting = (0..7).map(|n| format!("Workspace team/w{n}")).collect();
    let status = after(&GitSyncStatus::default(), Ending::Applied(waits.clone()));
    let reconciling = condition(&status, "Reconciling").expect("it goes on by itself");
    assert_eq!(reconciling.reason, "WaitingForDeletion");
    assert!(
        reconciling
            .message
            .contains("Workspace team/w4; and 2 more")
    );
    // Beside an error that only a commit can mend, too.
    waits.errors = vec![SourceError::new(Code::SchemaInvalid, "because")];
    let status = after(&status, Ending::Applied(waits.clone()));
    let reconciling = condition(&status, "Reconciling").expect("it goes on by itself");
    assert_eq!(reconciling.reason, "PartiallyApplied");
    assert!(reconciling.message.contains("7 objects"));
    waits.waiting.clear();
    let status = after(&status, Ending::Applied(waits));
    assert!(condition(&status, "Stalled").is_some());
}

#[test]
fn a_deletion_that_takes_long_names_what_holds_it_and_the_way_out() {
    let deleting = Deleting {
        going: vec!["Workspace team/a, which finalizer x/y holds".into()],
        errors: vec![SourceError::new(Code::PruneFailed, "refused")],
        left: Vec::new(),
    };
    let status = after(&GitSyncStatus::default(), Ending::Deleting(deleting));
    let message = &condition(&status, "Reconciling")
        .expect("it goes on")
        .message;
    for part in [
        "Workspace team/a, which finalizer x/y holds",
        "GS403 PruneFailed: refused",
        "spec.deletionPolicy: Orphan",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(status.error_count, Some(1));
}

#[test]
fn a_fight_is_still_told_after_a_pass_that_failed_or_did_nothing() {
    let mut fights = applied("main@sha1:a");
    fights.fights = vec!["Workspace team/a: spec.image changed by x".into()];
    fights.errors = vec![SourceError::new(Code::FightDetected, "because")];
    let fought = after(&GitSyncStatus::default(), Ending::Applied(fights));
    for ending in [
        Ending::Failed(failed(Code::ApiUnavailable)),
        Ending::Suspended,
    ] {
        let status = after(&fought, ending);
        let kept = condition(&status, "FightDetected").expect("it was not looked at again");
        assert!(kept.message.contains("spec.image"));
    }
    let settled = after(&fought, Ending::Applied(applied("main@sha1:a")));
    assert!(condition(&settled, "FightDetected").is_none());
}

#[test]
fn rewritten_history_stands_beside_ready_until_the_next_descendant() {
    let mut rewritten = applied("main@sha1:b");
    rewritten.history = History::Rewritten("a is no ancestor of b".into());
    let status = after(&GitSyncStatus::default(), Ending::Applied(rewritten));
    assert_eq!(condition(&status, "Ready").unwrap().status, "True");
    assert!(condition(&status, "HistoryRewritten").is_some());
    let mut same = applied("main@sha1:b");
    same.history = History::Same;
    let status = after(&status, Ending::Applied(same));
    assert!(condition(&status, "HistoryRewritten").is_some());
    let status = after(&status, Ending::Applied(applied("main@sha1:c")));
    assert!(condition(&status, "HistoryRewritten").is_none());
}

#[test]
fn history_has_one_entry_a_commit_and_five_commits() {
    let mut status = GitSyncStatus::default();
    for n in 0..8 {
        for _ in 0..2 {
            let mut pass = applied(&format!("main@sha1:{n}"));
            pass.counts.updated = 1;
            status = after(&status, Ending::Applied(pass));
        }
    }
    assert_eq!(status.history.len(), MAX_HISTORY);
    assert_eq!(status.history[0].revision, "main@sha1:7");
    assert!(status.history.iter().all(|entry| entry.updated == 2));
    let quiet = after(&status, Ending::Applied(applied("main@sha1:9")));
    assert_eq!(quiet.history, status.history);
}

#[test]
fn a_blocked_prune_stalls_and_says_how_to_approve() {
    let mut pass = applied("main@sha1:a");
    pass.blocked = Some(Box::new(crate::api::gitsync::PruneBlocked {
        commit: "a".into(),
        digest: "d".into(),
        count: 2,
        objects: vec![],
        reason: "the tree holds no objects".into(),
        approval: "a/d".into(),
    }));
    pass.errors = vec![
        SourceError::new(Code::PruneBlocked, "x"),
        SourceError::new(Code::ApplyForbidden, "y"),
    ];
    let status = after(&GitSyncStatus::default(), Ending::Applied(pass));
    let stalled = condition(&status, "Stalled").unwrap();
    assert_eq!(stalled.reason, "PruneBlocked");
    assert!(stalled.message.contains("beside that, 1 error"));
    let blocked = condition(&status, "PruneBlocked").unwrap();
    assert!(blocked.message.contains("approve-prune=a/d"));
    // A failed fetch does not make the set go away.
    let status = after(&status, Ending::Failed(failed(Code::FetchFailed)));
    assert!(condition(&status, "PruneBlocked").is_some());
    let status = after(&status, Ending::Applied(applied("main@sha1:b")));
    assert!(condition(&status, "PruneBlocked").is_none());
    assert_eq!(status.prune_blocked, None);
}
