//! Git servers that refuse, lie, stall, and histories that are rewritten.

use std::time::Duration;

use serde_json::json;
use workstead::testkit::GitServer;
use workstead::testkit::git_server::Access;

use super::{Fixture, codes, condition, holds, workspace};

/// A retry that tests can wait for.
fn quick() -> serde_json::Value {
    json!({"retryInterval": "1s", "timeout": "2s"})
}

#[tokio::test]
async fn refused_credentials_keep_the_last_revision_and_a_corrected_secret_recovers() {
    let f = Fixture::new().await;
    f.server
        .set_access(Access::Basic("alice".into(), "right".into()));
    f.secret("git", &[("username", "alice"), ("password", "right")])
        .await;
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    let mut spec = quick();
    spec["secretRef"] = json!({"name": "git"});
    let running = f.start_at(&first, spec).await;
    f.secret("git", &[("username", "alice"), ("password", "w0rd-canary")])
        .await;
    let second = f.repository.commit(&[("a.yaml", &workspace("a", "i:2"))]);
    f.sync().await;
    let status = f.until_reason("AuthenticationFailed").await;
    assert_eq!(
        status.last_applied_revision,
        Some(format!("main@sha1:{first}"))
    );
    assert!(holds(&status, "Reconciling"));
    assert_eq!(codes(&status), ["GS102"]);
    assert!(!format!("{status:?}").contains("canary"), "{status:?}");
    assert_eq!(f.workspace("a").await.spec.image, "i:1");
    f.secret("git", &[("username", "alice"), ("password", "right")])
        .await;
    f.until_applied(&second).await;
    // A Secret that is missing, or has another shape, is told apart from one that the server refuses.
    f.secret("git", &[("token", "w0rd-canary")]).await;
    f.sync().await;
    let status = f.until_reason("SecretInvalid").await;
    assert!(holds(&status, "Stalled"), "only a person can help");
    assert!(
        condition(&status, "Ready")
            .unwrap()
            .2
            .contains("bearerToken")
    );
    f.secret("git", &[("username", "alice"), ("password", "right")])
        .await;
    f.until_applied(&second).await;
    running.stop().await;
}

#[tokio::test]
async fn a_private_authority_is_trusted_from_the_secret_and_a_wrong_one_is_not() {
    let f = Fixture::with_server(GitServer::start_tls()).await;
    let other = GitServer::start_tls();
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    f.secret("git", &[("ca.crt", other.authority().unwrap())])
        .await;
    let mut spec = quick();
    spec["secretRef"] = json!({"name": "git"});
    f.create(spec).await;
    let running = f.start();
    let status = f.until_reason("TlsFailed").await;
    assert_eq!(codes(&status), ["GS104"]);
    assert_eq!(f.names().await, Vec::<String>::new());
    f.secret("git", &[("ca.crt", f.server.authority().unwrap())])
        .await;
    f.until_applied(&first).await;
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_and_another_gitsync_does_not_wait_for_it() {
    let f = Fixture::new().await;
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    f.create(json!({"retryInterval": "1s", "timeout": "8s"}))
        .await;
    // Of one process, whose other controllers work on one object at a time.
    let running = f.start();
    f.until_applied(&first).await;
    f.server.be_silent();
    f.annotate("workstead.dev/reconcile-requested-at", "now")
        .await;
    let begin = tokio::time::Instant::now();
    let well = GitServer::start();
    let repository = well.repository("other");
    repository.commit(&[("b.yaml", &workspace("b", "i:1"))]);
    f.create_beside("beside", repository.url()).await;
    workstead::testkit::wait::eventually("the other's object", || async {
        f.workspaces().get_opt("b").await.unwrap().map(|_| ())
    })
    .await;
    assert!(
        begin.elapsed() < Duration::from_secs(7),
        "{:?}",
        begin.elapsed()
    );
    let status = f.until_reason("FetchTimeout").await;
    assert_eq!(codes(&status), ["GS106"]);
    assert_eq!(
        status.last_applied_revision,
        Some(format!("main@sha1:{first}"))
    );
    // Before the server speaks again: the next try finds it, and after that there is none for an hour.
    let second = f.repository.commit(&[("a.yaml", &workspace("a", "i:2"))]);
    f.server.heal();
    f.until_applied(&second).await;
    running.stop().await;
}

#[tokio::test]
async fn a_process_that_is_to_end_does_not_wait_for_a_silent_server() {
    let f = Fixture::new().await;
    f.server.be_silent();
    f.create(json!({"timeout": "60s"})).await;
    let running = f.start();
    workstead::testkit::wait::eventually("a connection", || async {
        (f.server.connections() > 0).then_some(())
    })
    .await;
    let begin = tokio::time::Instant::now();
    running.stop().await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    let status = f.status().await;
    assert!(
        condition(&status, "Ready").is_none(),
        "nothing wrong is told: {status:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_waited_for() {
    let f = Fixture::new().await;
    f.server.be_silent();
    f.create(json!({"retryInterval": "1s", "timeout": "1s"}))
        .await;
    let running = f.start();
    let status = f.until_reason("FetchTimeout").await;
    assert_eq!(status.last_applied_revision, None);
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    f.server.heal();
    f.until_applied(&first).await;
    running.stop().await;
}

#[tokio::test]
async fn a_branch_that_is_not_there_stalls_and_is_looked_for_again() {
    let f = Fixture::new().await;
    f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    f.create(json!({"ref": {"branch": "later"}, "retryInterval": "1s"}))
        .await;
    let running = f.start();
    let status = f.until_reason("RefNotFound").await;
    assert!(holds(&status, "Stalled"));
    let commit = f
        .repository
        .change()
        .branch("later")
        .file("b.yaml", workspace("b", "i:1"))
        .commit();
    let revision = format!("later@sha1:{commit}");
    f.until("the branch to be applied", |status| {
        status.last_applied_revision.as_deref() == Some(&revision) && holds(status, "Ready")
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_rewritten_history_is_followed_and_told_until_the_next_descendant() {
    let f = Fixture::new().await;
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    let second = f.repository.commit(&[("a.yaml", &workspace("a", "i:2"))]);
    let running = f.start_at(&second, json!({})).await;
    let other = f
        .repository
        .change()
        .onto(&first)
        .message("Instead")
        .file("a.yaml", workspace("a", "i:3"))
        .commit();
    f.sync().await;
    let status = f.until_applied(&other).await;
    let (_, _, message) = condition(&status, "HistoryRewritten").expect("it is told");
    assert!(
        message.contains(&second) && message.contains(&other),
        "{message}"
    );
    // The same commit again does not make it go away.
    f.sync().await;
    assert!(holds(&f.status().await, "HistoryRewritten"));
    let next = f.repository.commit(&[("a.yaml", &workspace("a", "i:4"))]);
    f.sync().await;
    let status = f.until_applied(&next).await;
    assert!(condition(&status, "HistoryRewritten").is_none());
    // Set back to an ancestor.
    f.repository.set_branch("main", &first);
    f.sync().await;
    let status = f.until_applied(&first).await;
    assert!(
        condition(&status, "HistoryRewritten")
            .unwrap()
            .2
            .contains("set back")
    );
    assert_eq!(f.workspace("a").await.spec.image, "i:1");
    running.stop().await;
}

#[tokio::test]
async fn a_changed_spec_acts_at_once_and_a_pushed_commit_arrives_by_the_interval() {
    let f = Fixture::new().await;
    f.repository.commit(&[
        ("one/a.yaml", &workspace("a", "i:1")),
        ("two/b.yaml", &workspace("b", "i:1")),
    ]);
    f.create(json!({"path": "one"})).await;
    let running = f.start();
    f.until("one to be applied", |status| {
        holds(status, "Ready") && status.objects == Some(1)
    })
    .await;
    f.change(json!({"spec": {"path": "", "interval": "5s"}}))
        .await;
    f.until("both to be applied", |status| {
        holds(status, "Ready") && status.objects == Some(2)
    })
    .await;
    let next = f
        .repository
        .commit(&[("two/b.yaml", &workspace("b", "i:2"))]);
    let applied = tokio::time::timeout(Duration::from_secs(30), f.until_applied(&next)).await;
    assert!(applied.is_ok());
    running.stop().await;
}

#[tokio::test]
async fn both_annotations_that_ask_for_a_pass_are_echoed() {
    let f = Fixture::new().await;
    let first = f.repository.commit(&[("a.yaml", &workspace("a", "i:1"))]);
    let running = f.start_at(&first, json!({})).await;
    f.sync().await;
    f.annotate("reconcile.fluxcd.io/requestedAt", "by flux")
        .await;
    f.until("the echo", |status| {
        status.last_handled_reconcile_at.as_deref() == Some("by flux")
    })
    .await;
    f.sync().await;
    running.stop().await;
}
