//! The transfer itself: one request when nothing changed, two when something did.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::{
    AutotagOption, Cred, CredentialType, FetchOptions, Oid, ProxyOptions, Reference, Remote,
    RemoteCallbacks, RemoteRedirect, Repository,
};

use super::error::REPOSITORY_BYTES;
use super::{Credentials, FETCHED_REF, FetchError, FetchLimits, FetchRequest, Target};
use crate::api::gitsync::GitReference;
use crate::gitsync::disk::bytes_of;

/// Refs that are fetched to look for a pinned commit: only what the repository itself names. Asked for by its digits
/// alone, some servers hand out commits of forks.
const ALL_REFS: [&str; 2] = [
    "+refs/heads/*:refs/workstead/heads/*",
    "+refs/tags/*:refs/workstead/tags/*",
];

/// Fetches what the request asks for and gives the commit.
pub(super) fn fetch(
    repository: &Repository,
    request: &FetchRequest,
    credentials: Option<&Credentials>,
    expired: &AtomicBool,
) -> Result<Target, FetchError> {
    let wanted = Wanted::of(&request.reference)?;
    let mut remote = repository.remote_anonymous(&request.url).map_err(|error| {
        FetchError::Request(format!("spec.url can't be used: {}", error.message()))
    })?;
    transfer(
        &mut remote,
        repository.path(),
        &wanted.refspecs(),
        request,
        credentials,
        expired,
    )?;
    wanted.resolve(repository, &remote)
}

/// What is asked for.
pub(super) enum Wanted {
    Head,
    Branch(String),
    Tag(String),
    Commit { id: Oid, branch: Option<String> },
}

impl Wanted {
    pub(super) fn of(reference: &GitReference) -> Result<Self, FetchError> {
        let named = |name: &str, kind: &str, prefix: &str| {
            if Reference::is_valid_name(&format!("{prefix}{name}")) {
                Ok(name.to_owned())
            } else {
                Err(FetchError::Request(format!(
                    "spec.ref.{kind} '{name}' is no name that Git allows"
                )))
            }
        };
        if let Some(commit) = &reference.commit {
            let id = Oid::from_str(commit).map_err(|_| {
                FetchError::Request(format!("spec.ref.commit '{commit}' is no commit"))
            })?;
            let branch = reference
                .branch
                .as_deref()
                .map(|branch| named(branch, "branch", "refs/heads/"))
                .transpose()?;
            return Ok(Self::Commit { id, branch });
        }
        if let Some(tag) = &reference.tag {
            return named(tag, "tag", "refs/tags/").map(Self::Tag);
        }
        match &reference.branch {
            Some(branch) => named(branch, "branch", "refs/heads/").map(Self::Branch),
            None => Ok(Self::Head),
        }
    }

    pub(super) fn refspecs(&self) -> Vec<String> {
        match self {
            Self::Head => vec![format!("+HEAD:{FETCHED_REF}")],
            Self::Branch(name)
            | Self::Commit {
                branch: Some(name), ..
            } => {
                vec![format!("+refs/heads/{name}:{FETCHED_REF}")]
            }
            Self::Tag(name) => vec![format!("+refs/tags/{name}:{FETCHED_REF}")],
            Self::Commit { branch: None, .. } => ALL_REFS.map(str::to_owned).to_vec(),
        }
    }

    /// The commit, after the transfer. A refspec that matches nothing fetches nothing and is no error for libgit2, so
    /// what the remote listed decides.
    fn resolve(self, repository: &Repository, remote: &Remote<'_>) -> Result<Target, FetchError> {
        let heads = remote
            .list()
            .map_err(|error| FetchError::Remote(error.message().to_owned()))?;
        let listed = |name: &str| heads.iter().find(|head| head.name() == name);
        let tip = |kind: &str, folder: &str, name: &str| {
            let head = listed(&format!("{folder}{name}"))
                .ok_or_else(|| missing(kind, name, heads.iter().map(git2::RemoteHead::name)))?;
            peel(repository, head.oid())
        };
        let reaches = |tip: Oid, id: Oid| {
            tip == id || repository.graph_descendant_of(tip, id).unwrap_or(false)
        };
        match self {
            Self::Head => {
                let head = listed("HEAD").ok_or_else(|| {
                    FetchError::NoRef(
                        "the repository has no HEAD: it is empty, or name a branch in spec.ref"
                            .to_owned(),
                    )
                })?;
                let name = head
                    .symref_target()
                    .map(|target| target.trim_start_matches("refs/heads/").to_owned());
                Ok(Target {
                    commit: peel(repository, head.oid())?,
                    name: Some(name.unwrap_or_else(|| "HEAD".to_owned())),
                })
            }
            Self::Branch(name) => Ok(Target {
                commit: tip("branch", "refs/heads/", &name)?,
                name: Some(name),
            }),
            Self::Tag(name) => Ok(Target {
                commit: tip("tag", "refs/tags/", &name)?,
                name: Some(name),
            }),
            Self::Commit {
                id,
                branch: Some(name),
            } => {
                if !reaches(tip("branch", "refs/heads/", &name)?, id) {
                    return Err(FetchError::NoRef(format!(
                        "commit {id} is not reachable from branch '{name}'"
                    )));
                }
                Ok(Target {
                    commit: peel(repository, id)?,
                    name: Some(name),
                })
            }
            Self::Commit { id, branch: None } => {
                let mut tips = heads
                    .iter()
                    .filter_map(|head| peel(repository, head.oid()).ok());
                if !tips.any(|tip| reaches(tip, id)) {
                    return Err(FetchError::NoRef(format!(
                        "commit {id} is in no branch or tag of the repository"
                    )));
                }
                Ok(Target {
                    commit: peel(repository, id)?,
                    name: None,
                })
            }
        }
    }
}

/// A ref that is not there, with those that are.
fn missing<'a>(kind: &str, name: &str, refs: impl Iterator<Item = &'a str>) -> FetchError {
    let prefix = if kind == "tag" {
        "refs/tags/"
    } else {
        "refs/heads/"
    };
    let mut there: Vec<&str> = refs
        .filter_map(|name| name.strip_prefix(prefix))
        .filter(|name| !name.ends_with("^{}"))
        .take(5)
        .collect();
    there.sort_unstable();
    let hint = if there.is_empty() {
        "it has none".to_owned()
    } else {
        format!("it has for example {}", there.join(", "))
    };
    FetchError::NoRef(format!("the repository has no {kind} '{name}': {hint}"))
}

/// The commit behind a tag or a commit.
fn peel(repository: &Repository, id: Oid) -> Result<Oid, FetchError> {
    repository
        .find_object(id, None)
        .map_err(|error| FetchError::repository(&error))?
        .peel_to_commit()
        .map(|commit| commit.id())
        .map_err(|_| FetchError::NoRef(format!("{id} is no commit")))
}

fn transfer(
    remote: &mut Remote<'_>,
    folder: &Path,
    refspecs: &[String],
    request: &FetchRequest,
    credentials: Option<&Credentials>,
    expired: &AtomicBool,
) -> Result<(), FetchError> {
    let exceeded = RefCell::new(None);
    let before = bytes_of(folder);
    let asked = Cell::new(0);
    let mut callbacks = RemoteCallbacks::new();
    callbacks.credentials(|url, _, allowed| {
        asked.set(asked.get() + 1);
        answer(credentials, &request.url, url, allowed, asked.get())
    });
    callbacks.transfer_progress(|progress| {
        let over = over_limit(
            &request.limits,
            before,
            progress.received_bytes() as u64,
            progress.total_objects() as u64,
        );
        let goes_on = over.is_none() && !expired.load(Ordering::Relaxed);
        if over.is_some() {
            *exceeded.borrow_mut() = over;
        }
        goes_on
    });
    callbacks.sideband_progress(|_| !expired.load(Ordering::Relaxed));
    let mut proxy = ProxyOptions::new();
    proxy.auto();
    let header;
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks)
        .proxy_options(proxy)
        .download_tags(AutotagOption::None)
        .update_fetchhead(false)
        // Credentials would go along to wherever a redirect leads.
        .follow_redirects(match credentials {
            Some(_) => RemoteRedirect::None,
            None => RemoteRedirect::Initial,
        });
    if let Some(Credentials::Bearer { token }) = credentials {
        header = zeroize::Zeroizing::new(format!("Authorization: Bearer {}", token.as_str()));
        options.custom_headers(&[header.as_str()]);
    }
    let who = if credentials.is_some() {
        "the credentials of spec.secretRef"
    } else {
        "a client without credentials"
    };
    let outcome = remote.fetch(refspecs, Some(&mut options), None);
    drop(options);
    match (outcome, exceeded.into_inner()) {
        (_, Some(error)) => Err(error),
        (Ok(()), None) => Ok(()),
        (Err(error), None) => Err(FetchError::transfer(&error, who, request.timeout_ms)),
    }
}

/// The callback comes again after each refusal, for ever: the second time is the last.
fn answer(
    credentials: Option<&Credentials>,
    configured: &str,
    url: &str,
    allowed: CredentialType,
    times: u32,
) -> Result<Cred, git2::Error> {
    let refused =
        |message: &str| git2::Error::new(git2::ErrorCode::Auth, git2::ErrorClass::Http, message);
    match credentials {
        _ if times > 1 => Err(refused("they were tried and are not accepted")),
        None => Err(refused(
            "it wants credentials: name a Secret in spec.secretRef",
        )),
        Some(_) if origin(url) != origin(configured) => Err(refused(
            "it sent us to another host, which does not get our credentials",
        )),
        Some(Credentials::Basic { username, password })
            if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) =>
        {
            Cred::userpass_plaintext(username, password)
        }
        Some(Credentials::Basic { .. }) => Err(refused("it takes no name and password")),
        Some(Credentials::Bearer { .. }) => Err(refused("the token is not accepted")),
    }
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.to_lowercase();
    let scheme = scheme.to_lowercase();
    let default = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(default).unwrap_or(&host).to_owned();
    Some((scheme, host))
}

/// `before` is what the repository had, `bytes` and `objects` what came.
fn over_limit(limits: &FetchLimits, before: u64, bytes: u64, objects: u64) -> Option<FetchError> {
    let limit = |name: &str, detail: String| FetchError::Limit {
        limit: name.to_owned(),
        detail,
    };
    if bytes > limits.bytes {
        return Some(limit(
            "fetchBytes",
            format!(
                "one transfer has more than {} bytes: split the repository, or keep large files elsewhere",
                limits.bytes
            ),
        ));
    }
    if before.saturating_add(bytes) > limits.repository_bytes {
        return Some(limit(
            REPOSITORY_BYTES,
            format!(
                "it has more than {} bytes on disk: split it, or keep large files elsewhere",
                limits.repository_bytes
            ),
        ));
    }
    if bytes > limits.room {
        return Some(limit(
            "repositoriesBytes",
            "the repositories of all GitSyncs together are too large: an administrator can raise it with the size of the controller's volume, or take GitSyncs away"
                .to_owned(),
        ));
    }
    (objects > limits.objects).then(|| {
        limit(
            "fetchObjects",
            format!(
                "one transfer has {objects} objects, at most {} are taken",
                limits.objects
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_of_a_transfer_has_its_name() {
        let limits = FetchLimits {
            bytes: 100,
            objects: 10,
            repository_bytes: 150,
            room: 40,
            ..FetchLimits::default()
        };
        let name = |before, bytes, objects| match over_limit(&limits, before, bytes, objects) {
            Some(FetchError::Limit { limit, .. }) => limit,
            None => String::new(),
            Some(other) => panic!("{other}"),
        };
        assert_eq!(name(0, 40, 10), "");
        assert_eq!(name(0, 101, 0), "fetchBytes");
        assert_eq!(name(120, 31, 0), "repositoryBytes");
        assert_eq!(name(0, 41, 0), "repositoriesBytes");
        assert_eq!(name(0, 0, 11), "fetchObjects");
    }

    #[test]
    fn the_origin_of_a_url_is_scheme_host_and_port() {
        assert_eq!(
            origin("https://Git.Example.com:443/a"),
            origin("https://git.example.com")
        );
        assert_ne!(
            origin("https://git.example.com"),
            origin("http://git.example.com")
        );
        assert_ne!(
            origin("https://git.example.com"),
            origin("https://git.example.com:8443")
        );
        assert_ne!(
            origin("https://git.example.com"),
            origin("https://git.example.com.evil.org")
        );
        assert_eq!(
            origin("https://evil@git.example.com/x"),
            origin("https://git.example.com")
        );
    }
}
