//! The Git server of the kit, seen by the real git as its client.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use workstead::testkit::GitServer;
use workstead::testkit::git_server::{Access, Behaviour, On, Repository};

/// git as a client that asks nobody and knows nothing of this machine's settings.
fn git(server: &GitServer, words: &[&str]) -> Output {
    client(server).args(words).output().unwrap()
}

fn client(server: &GitServer) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["10", "git"])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Test")
        .env("GIT_AUTHOR_EMAIL", "test@example.com")
        .env("GIT_COMMITTER_NAME", "Test")
        .env("GIT_COMMITTER_EMAIL", "test@example.com");
    if let Some(authority) = server.authority_file() {
        command.env("GIT_SSL_CAINFO", authority);
    }
    command
}

fn remote_head(server: &GitServer, url: &str) -> Option<String> {
    let output = git(server, &["ls-remote", url, "refs/heads/main"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = text.split_whitespace().next().map(str::to_owned);
    id.filter(|_| output.status.success())
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server with a repository that has one commit of one file.
fn server() -> (GitServer, Repository) {
    let server = GitServer::start();
    let repository = server.repository("team");
    repository.commit(&[("a.yaml", "kind: Workspace\n")]);
    (server, repository)
}

fn clone(server: &GitServer, url: &str, into: &Path) -> Output {
    git(server, &["clone", "--quiet", url, into.to_str().unwrap()])
}

#[test]
fn a_clone_has_what_was_committed_and_a_push_comes_back() {
    for server in [GitServer::start(), GitServer::start_tls()] {
        let repository = server.repository("team");
        let id = repository.commit(&[("teams/a/dev.yaml", "kind: Workspace\n"), ("b c.txt", "x")]);
        assert_eq!(remote_head(&server, repository.url()), Some(id));
        let folder = tempfile::tempdir().unwrap();
        let output = clone(&server, repository.url(), folder.path());
        assert!(output.status.success(), "{}", errors(&output));
        let file = folder.path().join("teams/a/dev.yaml");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kind: Workspace\n");
        std::fs::write(&file, "changed\n").unwrap();
        let inside = folder.path().to_str().unwrap();
        let output = git(
            &server,
            &[
                "-C",
                inside,
                "commit",
                "--quiet",
                "--all",
                "--message",
                "Edit",
            ],
        );
        assert!(output.status.success(), "{}", errors(&output));
        let output = git(
            &server,
            &["-C", inside, "push", "--quiet", "origin", "main"],
        );
        assert!(output.status.success(), "{}", errors(&output));
        assert_eq!(
            repository.git(&["show", "main:teams/a/dev.yaml"]),
            "changed"
        );
    }
}

#[test]
fn the_certificate_of_the_server_is_refused_without_its_authority() {
    let server = GitServer::start_tls();
    let repository = server.repository("team");
    repository.commit(&[("a", "b")]);
    let output = client(&server)
        .env("GIT_SSL_CAINFO", "/etc/ssl/certs/ca-certificates.crt")
        .args(["ls-remote", repository.url()])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(
        errors(&output).contains("certificate"),
        "{}",
        errors(&output)
    );
}

#[test]
fn who_is_not_let_in_gets_401_and_who_is_gets_in() {
    let (server, repository) = server();
    let with = |header: &str| {
        let header = format!("http.extraHeader=Authorization: {header}");
        git(&server, &["-c", &header, "ls-remote", repository.url()])
            .status
            .success()
    };
    server.set_access(Access::Basic("alice".to_owned(), "secret".to_owned()));
    assert!(
        !git(&server, &["ls-remote", repository.url()])
            .status
            .success()
    );
    assert_eq!(server.requests().last().unwrap().status, Some(401));
    // alice:secret, alice:wrong
    assert!(with("Basic YWxpY2U6c2VjcmV0"));
    assert!(!with("Basic YWxpY2U6d3Jvbmc="));
    server.set_access(Access::Bearer("token".to_owned()));
    assert!(with("Bearer token"));
    assert!(!with("Bearer other"));
    let last = server.requests();
    assert!(
        last.iter()
            .any(|request| request.authorization.as_deref() == Some("Bearer token"))
    );
}

#[test]
fn requests_and_connections_are_counted() {
    let (server, repository) = server();
    remote_head(&server, repository.url()).unwrap();
    let requests = server.requests();
    assert!(
        requests[0]
            .target
            .starts_with("/team.git/info/refs?service=git-upload-pack")
    );
    assert!(requests.iter().all(|request| request.status == Some(200)));
    assert!(server.connections() >= 1);
    server.forget_requests();
    assert!(server.requests().is_empty());
}

#[test]
fn a_stall_keeps_the_client_waiting_until_its_own_deadline() {
    let (server, repository) = server();
    let stalls = |server: &GitServer| {
        let output = Command::new("timeout")
            .args(["1", "git", "clone", "--quiet", repository.url()])
            .arg(tempfile::tempdir().unwrap().path().join("clone"))
            .output()
            .unwrap();
        server.heal();
        // What timeout says when the client still waited.
        output.status.code() == Some(124)
    };
    server.always(On::Everything, Behaviour::NeverAnswer);
    assert!(stalls(&server));
    server.always(On::Pack, Behaviour::HalfThenStall);
    assert!(stalls(&server));
    server.be_silent();
    assert!(stalls(&server));
    server.always(On::Pack, Behaviour::Drip(1, Duration::from_millis(100)));
    assert!(stalls(&server));
    assert!(remote_head(&server, repository.url()).is_some());
}

#[test]
fn a_broken_or_wrong_answer_fails_the_client_at_once() {
    let (server, repository) = server();
    let wrong = [
        (On::Refs, Behaviour::Break),
        (On::Refs, Behaviour::Status(503)),
        (On::Refs, Behaviour::Garbage(b"\xff\x00nonsense".to_vec())),
        (On::Pack, Behaviour::HalfThenBreak),
        (
            On::Pack,
            Behaviour::Tamper(Arc::new(|mut answer| {
                let last = answer.len() - 40;
                answer[last] ^= 0xff;
                answer
            })),
        ),
    ];
    for (number, (on, behaviour)) in wrong.into_iter().enumerate() {
        server.always(on, behaviour);
        let folder = tempfile::tempdir().unwrap();
        let output = clone(&server, repository.url(), folder.path());
        assert!(!output.status.success(), "case {number}");
        assert_ne!(output.status.code(), Some(124), "case {number}");
        server.heal();
    }
    server.once(On::Refs, Behaviour::Status(500));
    assert!(remote_head(&server, repository.url()).is_none());
    assert!(remote_head(&server, repository.url()).is_some());
}

#[test]
fn a_redirect_sends_the_client_to_another_server() {
    let (server, repository) = server();
    let other = GitServer::start();
    let id = other.repository("team").commit(&[("else", "where")]);
    server.always(On::Refs, Behaviour::Redirect(other.url()));
    assert_eq!(remote_head(&server, repository.url()), Some(id));
    assert!(!other.requests().is_empty());
}

#[test]
fn the_same_commits_have_the_same_ids_in_every_run() {
    let ids = || {
        let (_server, repository) = server();
        let first = repository.find("main").unwrap();
        [first, repository.commit(&[("b", "c")])]
    };
    assert_eq!(ids(), ids());
}

#[test]
fn a_repository_has_branches_tags_links_submodules_and_rewritten_history() {
    let (_server, repository) = server();
    let first = repository.find("main").unwrap();
    let second = repository
        .change()
        .symlink("link", "../../etc/passwd")
        .submodule("module", &first)
        .executable("run", "#!/bin/sh\n")
        .file("quote\" and \\ and ü", "x")
        .commit();
    assert_eq!(repository.git(&["rev-parse", "main~1"]), first);
    let tree = repository.git(&["ls-tree", "-r", "main"]);
    for mode in ["100644 blob", "100755 blob", "120000 blob", "160000 commit"] {
        assert!(tree.contains(mode), "{tree}");
    }
    repository.tag("v1", &first);
    repository.annotated_tag("v2", &second);
    assert_eq!(repository.find("v2"), Some(second.clone()));
    let other = repository.change().branch("other").file("a", "b").commit();
    assert_eq!(repository.git(&["rev-list", "--count", &other]), "1");
    let rewritten = repository.change().onto(&first).file("a", "b").commit();
    assert_eq!(repository.find("main"), Some(rewritten));
    let orphan = repository.change().orphan().file("a", "b").commit();
    assert_eq!(repository.git(&["rev-list", "--count", &orphan]), "1");
    repository.set_branch("main", &second);
    repository.delete_branch("other");
    assert_eq!(
        (repository.find("main"), repository.find("other")),
        (Some(second), None)
    );
    repository.change().delete("a.yaml").commit();
    assert!(
        !repository
            .git(&["ls-tree", "-r", "main"])
            .contains("a.yaml")
    );
    repository.change().delete_all().commit();
    assert_eq!(repository.git(&["ls-tree", "-r", "main"]), "");
}

#[test]
fn a_tree_may_have_names_that_git_itself_would_refuse() {
    let (_server, repository) = server();
    let blob = repository.blob(b"evil");
    let inner = repository.raw_tree(&[("100644", "config", &blob)]);
    let tree = repository.raw_tree(&[("40000", "..", &inner), ("40000", ".git", &inner)]);
    repository.commit_tree("hostile", &tree);
    let names = repository.git(&["ls-tree", "--name-only", "hostile"]);
    assert_eq!(names, "..\n.git");
}
