//! Repositories to clone: their URLs, refs and folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use workstead_link as link;

use crate::api::projects::{GitSource, GitUrl, Project};
use crate::api::workspace::Failure;
use crate::model::names::DnsLabel;
use crate::model::workspace::config;

/// The longest folder of a project.
const MAX_FOLDER: usize = 128;
/// The longest path inside a repository.
const MAX_PATH: usize = 512;
/// The longest URL.
const MAX_URL: usize = 1024;
/// The longest name of a branch, tag or commit.
const MAX_REFERENCE: usize = 255;
/// How many remotes beside `origin`.
const MAX_REMOTES: usize = 8;
/// The longest name of a remote.
const MAX_REMOTE: usize = 63;

/// The name of a project, a command or an editor: a DNS label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortName(DnsLabel);

impl ShortName {
    /// Checks and takes a name.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        DnsLabel::new(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ShortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host of a Git server, with its port where that is not the usual one of the scheme.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl Host {
    /// Reads `name`, `name:port` or the same with an address in brackets, as somebody wrote it.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, port) = split_port(text)?;
        Some(Self::of(&name, port))
    }

    fn of(name: &str, port: Option<u16>) -> Self {
        let name = name.to_ascii_lowercase();
        Self(match port {
            Some(port) => format!("{name}:{port}"),
            None => name,
        })
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits a name and a port, both checked.
fn split_port(text: &str) -> Option<(String, Option<u16>)> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            (format!("[{address}]"), port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, port) = text.split_at(end);
            let is_label = |label: &str| {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                (1..=63).contains(&label.len())
                    && label.bytes().all(fits)
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            if name.len() > 253 || !name.split('.').all(is_label) {
                return None;
            }
            (name.to_owned(), port)
        }
    };
    if port.is_empty() {
        return Some((name, None));
    }
    let digits = port.strip_prefix(':')?;
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port: u16 = digits.parse().ok().filter(|port| *port > 0)?;
    Some((name, Some(port)))
}

/// The URL of a repository: `https`, `http` or `ssh`, with nothing secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryUrl {
    text: String,
    host: Host,
}

impl RepositoryUrl {
    /// Checks and takes a URL.
    pub(crate) fn new(url: &GitUrl) -> Result<Self, String> {
        // The text may hold a password: it stands in no message.
        let text = url.0.as_str();
        let Some((scheme, usual, rest)) = scheme(text) else {
            return Err("a URL begins with https://, http:// or ssh://: instead of git@host:path write ssh://git@host/path".to_owned());
        };
        if text.len() > MAX_URL {
            return Err(format!(
                "a URL has at most {MAX_URL} characters: shorten it"
            ));
        }
        if rest.contains(['?', '#']) {
            return Err("'?' and '#' have no place in the URL of a repository: leave out what begins with them".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if let Some(user) = user {
            if scheme != "ssh" || user.contains(':') {
                return Err("credentials have no place in a URL: put them into a Secret with the label workstead.dev/use: git-credentials, and name the host in its annotation workstead.dev/hosts".to_owned());
            }
            if !is_user(user) {
                return Err("the user of ssh is letters, digits, '-', '_' and '.': write for example ssh://git@host/path".to_owned());
            }
        }
        let Some((name, port)) = split_port(host) else {
            return Err("the URL names no host, or one that can't be: write for example https://git.example.com/team/api.git".to_owned());
        };
        if path.is_empty() || !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("the URL names no path, or one with spaces: write for example https://git.example.com/team/api.git".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            host: Host::of(&name, port.filter(|port| *port != usual)),
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whose credentials it takes.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

/// Scheme, its usual port, and what follows.
fn scheme(text: &str) -> Option<(&'static str, u16, &str)> {
    [("https", 443), ("http", 80), ("ssh", 22)]
        .into_iter()
        .find_map(|(scheme, port)| {
            let rest = text.strip_prefix(scheme)?.strip_prefix("://")?;
            Some((scheme, port, rest))
        })
}

fn is_user(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A project that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedProject {
    name: ShortName,
    url: RepositoryUrl,
    remotes: BTreeMap<String, RepositoryUrl>,
    git: GitSource,
    folder: String,
}

impl ValidatedProject {
    /// The hosts that it is fetched from.
    pub(super) fn hosts(&self) -> impl Iterator<Item = Host> {
        std::iter::once(&self.url)
            .chain(self.remotes.values())
            .map(|url| url.host.clone())
    }
}

impl From<ValidatedProject> for link::Project {
    fn from(project: ValidatedProject) -> Self {
        let text = |(name, url): (String, RepositoryUrl)| (name, url.text);
        Self {
            name: project.name.to_string(),
            url: project.url.text,
            reference: project.git.reference,
            remotes: project.remotes.into_iter().map(text).collect(),
            shallow: project.git.shallow.unwrap_or(false),
            sparse: project.git.sparse,
            subdirectory: project.git.subdirectory,
            folder: project.folder,
        }
    }
}

/// Checks projects. Their order is the author's: the editor opens on the first.
pub(super) fn validated(written: &[Project]) -> Result<Vec<ValidatedProject>, Failure> {
    let (mut names, mut folders) = (BTreeSet::new(), BTreeSet::new());
    let mut projects = Vec::with_capacity(written.len());
    for project in written {
        let field = format!("spec.projects[{}]", project.name);
        let checked = one(project, &field)?;
        if !names.insert(checked.name.clone()) {
            return Err(config(
                &field,
                "two projects have this name: give each its own",
            ));
        }
        if !folders.insert(checked.folder.clone()) {
            return Err(config(
                &format!("{field}.folder"),
                &format!(
                    "another project has the folder '{}': give each its own",
                    checked.folder
                ),
            ));
        }
        projects.push(checked);
    }
    Ok(projects)
}

fn one(project: &Project, field: &str) -> Result<ValidatedProject, Failure> {
    let wrong = |below: &str| {
        let field = format!("{field}{below}");
        move |why: String| config(&field, &why)
    };
    let git = &project.git;
    let name = ShortName::new(&project.name).map_err(wrong(""))?;
    let folder = project.folder.clone().unwrap_or_else(|| name.to_string());
    check_folder(&folder).map_err(wrong(".folder"))?;
    if let Some(reference) = &git.reference {
        check_reference(reference).map_err(wrong(".git.ref"))?;
    }
    for path in &git.sparse {
        check_path(path, SPARSE)
            .and_then(|()| no_pattern(path))
            .map_err(wrong(".git.sparse"))?;
    }
    if let Some(path) = &git.subdirectory {
        check_path(path, SUBDIRECTORY).map_err(wrong(".git.subdirectory"))?;
    }
    if git.remotes.len() > MAX_REMOTES {
        return Err(wrong(".git.remotes")(format!(
            "{} remotes are more than {MAX_REMOTES}: leave some out",
            git.remotes.len()
        )));
    }
    let mut remotes = BTreeMap::new();
    for (remote, url) in &git.remotes {
        let below = format!(".git.remotes.{remote}");
        check_remote(remote).map_err(wrong(".git.remotes"))?;
        let url = RepositoryUrl::new(url).map_err(wrong(&below))?;
        remotes.insert(remote.clone(), url);
    }
    Ok(ValidatedProject {
        name,
        url: RepositoryUrl::new(&git.url).map_err(wrong(".git.url"))?,
        remotes,
        git: git.clone(),
        folder,
    })
}

/// One component of a path that hides nothing: HOME is the folder above.
fn check_folder(folder: &str) -> Result<(), String> {
    let first = folder.bytes().next();
    let fits = first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && folder.len() <= MAX_FOLDER
        && folder
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if fits {
        return Ok(());
    }
    Err(format!(
        "'{folder}' is no folder in /projects: write at most {MAX_FOLDER} letters, digits, '.', '_' and '-', no '.' or '-' first and no '/'"
    ))
}

/// What Git takes for the name of a branch or a tag; a commit is one too.
fn check_reference(text: &str) -> Result<(), String> {
    let never = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let wrong = text.is_empty()
        || text.len() > MAX_REFERENCE
        || text.starts_with(['-', '/', '.'])
        || text.ends_with(['/', '.'])
        || text.ends_with(".lock")
        || ["..", "//", "/.", "@{"]
            .iter()
            .any(|part| text.contains(part))
        || text.contains(never);
    if wrong {
        return Err(format!(
            "'{text}' is no branch, tag or commit: write for example main, v1.2 or 40 hexadecimal digits"
        ));
    }
    Ok(())
}

fn check_remote(name: &str) -> Result<(), String> {
    let first = name.bytes().next();
    let fits = first.is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() <= MAX_REMOTE
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    match fits {
        true if name == "origin" => Err(
            "origin is git.url itself: give the remote another name, for example upstream"
                .to_owned(),
        ),
        true => Ok(()),
        false => Err(format!(
            "'{name}' is no name of a remote: write letters, digits, '-' and '_', for example upstream"
        )),
    }
}

const SPARSE: &str = "write folders of the repository, for example services/api";
const SUBDIRECTORY: &str = "write a folder of the repository, for example services/api";

fn check_path(path: &str, said: &str) -> Result<(), String> {
    let wrong = path.is_empty()
        || path.chars().count() > MAX_PATH
        || path.starts_with(['-', '/'])
        || path.ends_with('/')
        || path.contains("//");
    if wrong {
        return Err(format!("'{path}' can't be: {said}"));
    }
    refuse_parts(path, said)
}

fn no_pattern(path: &str) -> Result<(), String> {
    if path.starts_with(['!', '#']) || path.contains(['*', '?', '[', ']', '\\']) {
        return Err(format!("'{path}' is a pattern: {SPARSE}"));
    }
    Ok(())
}

/// Parts that lead out, and characters that belong into no path.
pub(super) fn refuse_parts(path: &str, said: &str) -> Result<(), String> {
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(format!("'{path}' has a part '.' or '..': {said}"));
    }
    if path.contains(|c: char| c.is_ascii_control()) {
        return Err(format!("there is a control character in it: {said}"));
    }
    Ok(())
}
