//! Fetching: refs, increments, history, credentials, authorities.

use workstead::gitsync::fetch::{FetchError, History};
use workstead::testkit::GitServer;
use workstead::testkit::git_server::Access;

use super::{Client, files};

#[tokio::test]
async fn the_head_of_the_remote_is_followed_when_no_ref_is_named() {
    let server = GitServer::start();
    let repository = server.repository("a");
    let commit = repository.commit(&[
        ("x.yaml", "a: 1\n"),
        ("README.md", "no"),
        ("d/y.yml", "b: 2\n"),
    ]);
    let fetched = Client::of(repository.url()).fetch().await.unwrap();
    assert_eq!(fetched.commit, commit);
    assert_eq!(fetched.revision, format!("main@sha1:{commit}"));
    assert_eq!(fetched.history, History::First);
    assert_eq!(
        files(&fetched),
        [
            ("d/y.yml", "b: 2\n".to_owned()),
            ("x.yaml", "a: 1\n".to_owned())
        ]
    );
}

#[tokio::test]
async fn a_branch_a_tag_and_a_commit_are_found() {
    let server = GitServer::start();
    let repository = server.repository("a");
    let first = repository.commit(&[("x.yaml", "a: 1\n")]);
    let second = repository.commit(&[("x.yaml", "a: 2\n")]);
    let other = repository
        .change()
        .branch("other")
        .file("x.yaml", "a: 3\n")
        .commit();
    repository.tag("plain", &first);
    repository.annotated_tag("v1", &second);
    let fetch = async |branch: Option<&str>, tag: Option<&str>, commit: Option<&str>| {
        let mut client = Client::of(repository.url());
        client.request.reference.branch = branch.map(str::to_owned);
        client.request.reference.tag = tag.map(str::to_owned);
        client.request.reference.commit = commit.map(str::to_owned);
        client.fetch().await.map(|fetched| fetched.revision)
    };
    assert_eq!(
        fetch(Some("other"), None, None).await,
        Ok(format!("other@sha1:{other}"))
    );
    assert_eq!(
        fetch(None, Some("plain"), None).await,
        Ok(format!("plain@sha1:{first}"))
    );
    // The later one wins.
    assert_eq!(
        fetch(Some("other"), Some("v1"), None).await,
        Ok(format!("v1@sha1:{second}"))
    );
    assert_eq!(
        fetch(None, None, Some(&first)).await,
        Ok(format!("sha1:{first}"))
    );
    assert_eq!(
        fetch(Some("main"), None, Some(&first)).await,
        Ok(format!("main@sha1:{first}"))
    );
    let elsewhere = fetch(Some("main"), None, Some(&other)).await.unwrap_err();
    assert!(
        elsewhere
            .to_string()
            .contains("not reachable from branch 'main'"),
        "{elsewhere}"
    );
    let nowhere = fetch(None, None, Some(&"a".repeat(40))).await.unwrap_err();
    assert_eq!(nowhere.code().to_string(), "GS107");
    let branch = fetch(Some("mian"), None, None).await.unwrap_err();
    assert_eq!(
        branch.to_string(),
        "the repository has no branch 'mian': it has for example main, other"
    );
    let wild = fetch(Some("*"), None, None).await.unwrap_err();
    assert_eq!(wild.code().to_string(), "GS100");
}

#[tokio::test]
async fn a_look_at_what_did_not_change_is_one_small_request() {
    let server = GitServer::start();
    let repository = server.repository("a");
    repository.commit(&[("x.yaml", "a: 1\n")]);
    let mut client = Client::of(repository.url()).branch("main");
    client.follow().await;
    server.forget_requests();
    let again = client.follow().await;
    assert_eq!((again.history, again.tree), (History::Same, None));
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].method, "GET");
}

#[tokio::test]
async fn only_what_is_new_is_fetched_and_only_the_folder_is_read() {
    let server = GitServer::start();
    let repository = server.repository("a");
    let big: String = (0..200_000).map(|n| format!("{n} ")).collect();
    repository.commit(&[
        ("big.txt", &big),
        ("ws/x.yaml", "a: 1\n"),
        ("y.yaml", "b: 1\n"),
    ]);
    let mut client = Client::of(repository.url()).branch("main");
    client.request.tree.path = "ws".into();
    let first = client.follow().await;
    assert_eq!(files(&first).len(), 1);
    let packs = |client: &Client| -> u64 {
        std::fs::read_dir(client.cache().join("objects/pack"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum()
    };
    let before = packs(&client);
    repository.commit(&[("ws/x.yaml", "a: 2\n")]);
    let second = client.follow().await;
    assert_eq!(second.history, History::Forward);
    assert_eq!(files(&second), [("ws/x.yaml", "a: 2\n".to_owned())]);
    assert!(
        packs(&client) - before < 10_000,
        "{} then {}",
        before,
        packs(&client)
    );
}

#[tokio::test]
async fn a_pinned_commit_that_is_applied_costs_no_request() {
    let server = GitServer::start();
    let repository = server.repository("a");
    let commit = repository.commit(&[("x.yaml", "a: 1\n")]);
    let mut client = Client::of(repository.url());
    client.request.reference.commit = Some(commit);
    client.follow().await;
    server.forget_requests();
    let again = client.follow().await;
    assert_eq!(again.history, History::Same);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn rewritten_history_is_noticed_and_the_applied_commit_stays_at_hand() {
    let server = GitServer::start();
    let repository = server.repository("a");
    let first = repository.commit(&[("x.yaml", "a: 1\n")]);
    let second = repository.commit(&[("x.yaml", "a: 2\n")]);
    let mut client = Client::of(repository.url()).branch("main");
    client.follow().await;
    repository.set_branch("main", &first);
    assert_eq!(client.fetch().await.unwrap().history, History::Back);
    repository
        .change()
        .onto(&first)
        .file("x.yaml", "a: 3\n")
        .commit();
    let rewritten = client.follow().await;
    assert_eq!(rewritten.history, History::Rewritten);
    assert!(rewritten.history.is_rewritten());
    repository.commit(&[("x.yaml", "a: 4\n")]);
    assert_eq!(client.follow().await.history, History::Forward);
    // A cache that was lost no longer knows the old commit.
    client.request.applied = Some(second);
    std::fs::remove_dir_all(client.cache()).unwrap();
    assert_eq!(client.fetch().await.unwrap().history, History::Unknown);
}

#[tokio::test]
async fn a_branch_that_is_gone_is_an_error_and_the_cache_does_not_stand_in_for_it() {
    let server = GitServer::start();
    let repository = server.repository("a");
    repository.commit(&[("x.yaml", "a: 1\n")]);
    repository
        .change()
        .branch("feature")
        .file("y.yaml", "a: 1\n")
        .commit();
    let mut client = Client::of(repository.url()).branch("feature");
    client.follow().await;
    repository.delete_branch("feature");
    assert!(matches!(client.fetch().await, Err(FetchError::NoRef(_))));
    let empty = server.repository("empty");
    let error = Client::of(empty.url()).fetch().await.unwrap_err();
    assert_eq!(error.code().to_string(), "GS107", "{error}");
}

#[tokio::test]
async fn a_name_and_password_open_the_door_and_wrong_ones_do_not() {
    let server = GitServer::start();
    let repository = server.repository("a");
    repository.commit(&[("x.yaml", "a: 1\n")]);
    server.set_access(Access::Basic("alice".into(), "open sesame".into()));
    let good = Client::of(repository.url()).basic("alice", "open sesame");
    good.fetch().await.unwrap();
    server.forget_requests();
    let wrong = Client::of(repository.url()).basic("alice", "canary-password");
    let error = wrong.fetch().await.unwrap_err();
    assert_eq!(error.code().to_string(), "GS102");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    assert!(server.requests().len() <= 3, "{:?}", server.requests());
    let nobody = Client::of(repository.url()).fetch().await.unwrap_err();
    assert!(
        nobody
            .to_string()
            .contains("name a Secret in spec.secretRef"),
        "{nobody}"
    );
    // The right one works at once, in the same cache.
    server.set_access(Access::Basic("alice".into(), "canary-password".into()));
    wrong.fetch().await.unwrap();
}

#[tokio::test]
async fn a_bearer_token_opens_the_door_and_a_wrong_one_does_not() {
    let server = GitServer::start();
    let repository = server.repository("a");
    repository.commit(&[("x.yaml", "a: 1\n")]);
    server.set_access(Access::Bearer("token-1".into()));
    Client::of(repository.url())
        .bearer("token-1")
        .fetch()
        .await
        .unwrap();
    let error = Client::of(repository.url())
        .bearer("token-2")
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.code().to_string(), "GS102");
    assert!(!error.to_string().contains("token-2"));
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named_and_only_then() {
    let server = GitServer::start_tls();
    let repository = server.repository("a");
    repository.commit(&[("x.yaml", "a: 1\n")]);
    let stranger = Client::of(repository.url()).fetch().await.unwrap_err();
    assert_eq!(stranger.code().to_string(), "GS104", "{stranger}");
    assert!(stranger.to_string().contains("ca.crt"));
    let mut client = Client::of(repository.url());
    client.request.authority = server.authority().map(str::to_owned);
    client.fetch().await.unwrap();
    // Another authority does not help: each fetch has its own.
    let other = GitServer::start_tls();
    let mut client = Client::of(repository.url());
    client.request.authority = other.authority().map(str::to_owned);
    let error = client.fetch().await.unwrap_err();
    assert_eq!(error.code().to_string(), "GS104", "{error}");
    let mut client = Client::of(repository.url());
    client.request.authority = Some("no certificate".into());
    let error = client.fetch().await.unwrap_err();
    assert_eq!(error.code().to_string(), "GS104", "{error}");
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_named_as_such() {
    let server = GitServer::start();
    let url = format!("{}/nothing.git", server.url());
    let error = Client::of(&url).fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NoRepository(_)), "{error:?}");
    let error = Client::of("http://127.0.0.1:1/x.git")
        .fetch()
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Remote(_)), "{error:?}");
    let error = Client::of("http://no-such-host.invalid/x.git")
        .fetch()
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Remote(_)), "{error:?}");
}
