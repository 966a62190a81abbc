//! Servers that stall, lie and redirect; trees that no honest repository has; caches that were broken.

use std::sync::Arc;
use std::time::Duration;

use workstead::api::gitsync::SyncedKind;
use workstead::gitsync::fetch::{FetchError, FetchLimits, History};
use workstead::gitsync::rules::ObjectRules;
use workstead::gitsync::snapshot::{self, Source};
use workstead::model::sync::Code;
use workstead::testkit::GitServer;
use workstead::testkit::git_server::{Access, Behaviour, On, Repository};

use super::{Client, files, refused};

fn served() -> (GitServer, Repository) {
    let server = GitServer::start();
    let repository = server.repository("a");
    repository.commit(&[("x.yaml", "a: 1\n")]);
    (server, repository)
}

/// Fails now, works once the server behaves again, and never later than a second after its time.
async fn fails_then_recovers(on: On, behaviour: Behaviour, expected: &str) -> FetchError {
    let (server, repository) = served();
    server.always(on, behaviour);
    let client = Client::of(repository.url()).timeout(1_500);
    let limit = Duration::from_millis(3_500);
    let outcome = tokio::time::timeout(limit, client.fetch()).await;
    let error = outcome.expect("the fetch ends in time").unwrap_err();
    assert_eq!(error.code().to_string(), expected, "{error}");
    server.heal();
    let client = client.timeout(20_000);
    assert_eq!(files(&client.fetch().await.unwrap()).len(), 1);
    error
}

#[tokio::test]
async fn a_server_that_stalls_ends_with_the_time() {
    for on in [On::Refs, On::Pack] {
        fails_then_recovers(on, Behaviour::NeverAnswer, "GS106").await;
        fails_then_recovers(on, Behaviour::HalfThenStall, "GS106").await;
    }
}

#[tokio::test]
async fn a_server_that_drips_ends_with_the_time() {
    for on in [On::Refs, On::Pack] {
        let drip = Behaviour::Drip(1, Duration::from_millis(200));
        fails_then_recovers(on, drip, "GS106").await;
    }
}

#[tokio::test]
async fn a_server_that_is_silent_ends_with_the_time() {
    let (server, repository) = served();
    server.be_silent();
    let client = Client::of(repository.url()).timeout(1_000);
    let error = client.fetch().await.unwrap_err();
    assert_eq!(error, FetchError::Timeout(1_000));
}

#[tokio::test]
async fn a_server_that_breaks_off_or_lies_is_an_error_and_no_panic() {
    for on in [On::Refs, On::Pack] {
        for behaviour in [
            Behaviour::Break,
            Behaviour::HalfThenBreak,
            Behaviour::Status(500),
            Behaviour::Garbage(b"this is no answer".to_vec()),
            Behaviour::Garbage(vec![0; 100_000]),
            Behaviour::Garbage(b"0008NAK\nPACK\0\0\0\x02\xff\xff\xff\xff".to_vec()),
            Behaviour::Garbage(Vec::new()),
        ] {
            fails_then_recovers(on, behaviour, "GS105").await;
        }
    }
    fails_then_recovers(On::Refs, Behaviour::Status(403), "GS102").await;
}

#[tokio::test]
async fn a_pack_that_was_tampered_with_is_not_taken() {
    let flip = Behaviour::Tamper(Arc::new(|mut bytes: Vec<u8>| {
        let pack = bytes.windows(4).position(|word| word == b"PACK").unwrap();
        // Behind the head of the pack, in the first object.
        bytes[pack + 20] ^= 0xff;
        bytes
    }));
    fails_then_recovers(On::Pack, flip, "GS105").await;
}

#[tokio::test]
async fn redirects_that_go_round_end() {
    let (server, repository) = served();
    server.always(On::Everything, Behaviour::Redirect(server.url()));
    let error = Client::of(repository.url())
        .timeout(5_000)
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.code().to_string(), "GS105", "{error}");
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let (server, repository) = served();
    let thief = GitServer::start();
    thief.repository("a").commit(&[("x.yaml", "a: 1\n")]);
    // Another name for the loopback: another host for every client.
    let elsewhere = thief.url().replace("127.0.0.1", "localhost");
    server.always(On::Everything, Behaviour::Redirect(elsewhere));
    thief.set_access(Access::Basic("alice".into(), "secret".into()));
    for client in [
        Client::of(repository.url()).basic("alice", "secret"),
        Client::of(repository.url()).bearer("secret"),
    ] {
        client.fetch().await.unwrap_err();
    }
    let shown: Vec<_> = thief
        .requests()
        .into_iter()
        .filter_map(|r| r.authorization)
        .collect();
    assert_eq!(shown, Vec::<String>::new());
    // Without credentials there is nothing to lose.
    thief.set_access(Access::Open);
    Client::of(repository.url()).fetch().await.unwrap();
}

#[tokio::test]
async fn a_cache_that_was_broken_is_made_anew() {
    let (_server, repository) = served();
    let mut client = Client::of(repository.url()).branch("main");
    client.follow().await;
    client.request.known = None;
    let cache = client.cache().to_owned();
    // What a killed process leaves behind.
    std::fs::create_dir_all(cache.join("refs/workstead")).unwrap();
    for leftover in [
        "refs/workstead/fetched.lock",
        "HEAD.lock",
        "packed-refs.lock",
        "objects/pack/pack_git2_x",
    ] {
        std::fs::write(cache.join(leftover), "").unwrap();
    }
    repository.commit(&[("x.yaml", "a: 2\n")]);
    assert_eq!(client.fetch().await.unwrap().history, History::Forward);
    // What a bad disk leaves behind.
    for entry in std::fs::read_dir(cache.join("objects/pack")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "garbage").unwrap();
    }
    assert_eq!(
        files(&client.fetch().await.unwrap()),
        [("x.yaml", "a: 2\n".to_owned())]
    );
    std::fs::write(cache.join("HEAD"), "garbage").unwrap();
    std::fs::write(cache.join("config"), "[garbage").unwrap();
    client.fetch().await.unwrap();
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, "a file in its place").unwrap();
    client.fetch().await.unwrap_err();
}

#[tokio::test]
async fn a_tree_that_no_honest_repository_has_is_read_without_harm() {
    let (_server, repository) = served();
    let blob = repository.blob(b"a: 1\n");
    let folder = repository.raw_tree(&[("100644", "inner.yaml", &blob)]);
    let pointer =
        repository.blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    let link = repository.blob(b"/etc/passwd");
    let commit = repository.commit(&[("x.yaml", "a: 1\n")]);
    let tree = repository.raw_tree(&[
        ("40000", "..", &folder),
        ("40000", ".git", &folder),
        ("40000", ".github", &folder),
        ("40000", "a", &folder),
        ("100644", "lfs.yaml", &pointer),
        ("120000", "link", &link),
        ("120000", "link.md", &link),
        ("120000", "link.yaml", &link),
        ("160000", "module", &commit),
        ("100644", "new\nline.yaml", &blob),
        ("100644", "ok.yaml", &blob),
    ]);
    repository.commit_tree("evil", &tree);
    let fetched = Client::of(repository.url())
        .branch("evil")
        .fetch()
        .await
        .unwrap();
    let paths: Vec<&str> = files(&fetched).iter().map(|(path, _)| *path).collect();
    assert_eq!(paths, ["a/inner.yaml", "ok.yaml"]);
    let refused: Vec<&str> = refused(&fetched).iter().map(|(path, _)| *path).collect();
    assert_eq!(
        refused,
        [
            "..",
            ".git",
            "lfs.yaml",
            "link",
            "link.yaml",
            "module",
            "new\nline.yaml"
        ]
    );
    let tree = fetched.tree.unwrap();
    assert!(
        tree.errors
            .iter()
            .all(|error| error.code == Code::UnsafeEntry)
    );
    assert_eq!(tree.unattributable.len(), 7);
}

#[tokio::test]
async fn a_path_that_is_missing_or_leads_through_a_symlink_is_no_empty_tree() {
    let (_server, repository) = served();
    repository
        .change()
        .file("real/x.yaml", "a: 1\n")
        .symlink("link", "real")
        .commit();
    for path in ["nothing", "link", "x.yaml", "real/x.yaml/deeper"] {
        let mut client = Client::of(repository.url());
        client.request.tree.path = path.into();
        let tree = client.fetch().await.unwrap().tree.unwrap();
        assert!(tree.path_missing && tree.files.is_empty(), "{path}");
        assert_eq!(tree.errors[0].code, Code::PathNotFound);
    }
}

#[tokio::test]
async fn each_limit_is_answered_by_its_name() {
    let (_server, repository) = served();
    repository
        .change()
        .file("big.yaml", vec![b'#'; 10 * 1024 * 1024])
        .file("a/b/c/d/deep.yaml", "a: 1\n")
        .file("y.yaml", "a: 1\n")
        .commit();
    let fetched = Client::of(repository.url()).fetch().await.unwrap();
    assert_eq!(files(&fetched).len(), 3);
    let refused = refused(&fetched);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == "big.yaml" && refused[0].1.contains("exceeds limit fileBytes"));

    let limited = async |change: fn(&mut Client)| {
        let mut client = Client::of(repository.url());
        change(&mut client);
        match client.fetch().await {
            Err(FetchError::Limit { limit, .. }) => limit,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(limited(|c| c.request.tree.limits.files = 2).await, "files");
    assert_eq!(
        limited(|c| c.request.tree.limits.entries = 3).await,
        "entries"
    );
    assert_eq!(limited(|c| c.request.tree.limits.depth = 3).await, "depth");
    assert_eq!(
        limited(|c| c.request.tree.limits.total_bytes = 6).await,
        "treeBytes"
    );
    assert_eq!(
        limited(|c| c.request.limits.bytes = 5_000).await,
        "fetchBytes"
    );
    assert_eq!(
        limited(|c| c.request.limits.objects = 3).await,
        "fetchObjects"
    );
    assert_eq!(
        limited(|c| c.request.limits.repository_bytes = 5_000).await,
        "repositoryBytes"
    );
    assert_eq!(
        limited(|c| c.request.limits.room = 5_000).await,
        "repositoriesBytes"
    );
}

/// Text that no compression makes small.
fn noise(mut seed: u32, lines: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..lines {
        text.push(b'#');
        for _ in 0..10 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.extend(format!("{seed:08x}").into_bytes());
        }
        text.push(b'\n');
    }
    text
}

#[tokio::test]
async fn an_object_that_unpacks_to_more_than_allowed_is_answered_by_the_name_of_the_limit() {
    let (_server, repository) = served();
    let mut large = noise(1, 20_000);
    repository
        .change()
        .file("large.txt", large.clone())
        .commit();
    // Sent as a difference to the one before: a few bytes that unpack to many.
    large.extend_from_slice(b"more\n");
    repository.change().file("large.txt", large).commit();
    let mut client = Client::of(repository.url());
    client.request.limits.object_bytes = 100_000;
    let error = client.fetch().await.unwrap_err();
    assert!(
        matches!(&error, FetchError::Limit { limit, .. } if limit == "objectBytes"),
        "{error:?}"
    );
    client.request.limits.object_bytes = 10_000_000;
    client.fetch().await.unwrap();
}

#[tokio::test]
async fn a_repository_that_rewritten_history_made_large_is_fetched_anew_and_fits_again() {
    let (_server, repository) = served();
    let mut client = Client::of(repository.url());
    client.request.limits.repository_bytes = 900_000;
    for seed in 1..4 {
        let commit = repository
            .change()
            .orphan()
            .file("noise.txt", noise(seed, 10_000))
            .commit();
        let fetched = client.fetch().await.unwrap();
        assert_eq!(fetched.commit, commit);
    }
}

#[tokio::test]
async fn a_bomb_of_trees_is_answered_by_the_name_of_the_limit() {
    let (_server, repository) = served();
    let blob = repository.blob(b"a: 1\n");
    let names: Vec<String> = (0..10).map(|n| format!("f{n}.yaml")).collect();
    let entries: Vec<(&str, &str, &str)> = names
        .iter()
        .map(|name| ("100644", name.as_str(), blob.as_str()))
        .collect();
    let mut tree = repository.raw_tree(&entries);
    for _ in 0..10 {
        let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
        let entries: Vec<(&str, &str, &str)> = names
            .iter()
            .map(|name| ("40000", name.as_str(), tree.as_str()))
            .collect();
        tree = repository.raw_tree(&entries);
    }
    repository.commit_tree("bomb", &tree);
    let error = Client::of(repository.url())
        .branch("bomb")
        .fetch()
        .await
        .unwrap_err();
    assert!(
        matches!(&error, FetchError::Limit { limit, .. } if limit == "files" || limit == "entries"),
        "{error}"
    );
}

#[tokio::test]
async fn a_worker_that_takes_too_much_memory_ends_and_says_so() {
    let (_server, repository) = served();
    let mut client = Client::of(repository.url());
    client.request.limits.memory = 1024 * 1024;
    let error = client.fetch().await.unwrap_err();
    assert!(
        matches!(&error, FetchError::Limit { limit, .. } if limit == "fetchMemory"),
        "{error:?}"
    );
    client.request.limits.memory = FetchLimits::default().memory;
    client.fetch().await.unwrap();
}

#[tokio::test]
async fn one_broken_file_among_fifty_stops_one_object() {
    let (_server, repository) = served();
    let mut change = repository.change().delete("x.yaml");
    for number in 0..50 {
        let image = if number == 7 { "imag" } else { "image" };
        change = change.file(
            &format!("team-a/w{number}.yaml"),
            format!(
                "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: w{number}\nspec:\n  owner: alice\n  {image}: debian:13\n"
            ),
        );
    }
    let commit = change.commit();
    let fetched = Client::of(repository.url()).fetch().await.unwrap();
    let rules = ObjectRules {
        kinds: [SyncedKind::Workspace].into(),
        ..ObjectRules::anything("team-a")
    };
    let source = Source {
        commit: fetched.commit.clone(),
        revision: fetched.revision.clone(),
    };
    let snapshot = snapshot::build(fetched.tree.unwrap(), source, &rules);
    assert_eq!((snapshot.objects.len(), snapshot.held.len()), (49, 1));
    assert_eq!(snapshot.commit, commit);
    let errors: Vec<String> = snapshot.errors.iter().map(ToString::to_string).collect();
    assert!(
        errors[1].starts_with("team-a/w7.yaml:7:3: GS211"),
        "{errors:?}"
    );
}
