//! Repositories as tests need them: made by the real git, with whatever a hostile author would put in.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// When the first commit of every repository is made; each later one a second after. So the same commits have the
/// same ids in every run.
const FIRST_COMMIT: u64 = 1_767_225_600;

/// A bare repository.
#[derive(Debug)]
pub struct Repository {
    path: PathBuf,
    url: String,
    commits: AtomicU64,
}

impl Repository {
    /// Makes an empty one. `url` is where a server shows it, or nothing.
    ///
    /// # Panics
    /// When git fails, as all functions here do.
    pub fn init(path: &Path, url: String) -> Self {
        let repository = Self {
            path: path.to_owned(),
            url,
            commits: AtomicU64::new(0),
        };
        let path = path.as_os_str();
        let words: [&OsStr; 5] = [
            "init".as_ref(),
            "--quiet".as_ref(),
            "--bare".as_ref(),
            "--initial-branch=main".as_ref(),
            path,
        ];
        run(command(None).args(words), b"");
        // Let anybody push who gets past the server, and fetch what no branch names any more.
        repository.git(&["config", "http.receivepack", "true"]);
        repository.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        repository
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where clients find it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Commits files to `main`, on top of what is there, and gives the id of the commit.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        files
            .iter()
            .fold(self.change(), |change, (path, content)| {
                change.file(path, content)
            })
            .commit()
    }

    /// Begins a commit.
    pub fn change(&self) -> Change<'_> {
        Change {
            repository: self,
            branch: "main".to_owned(),
            message: "Change".to_owned(),
            parent: Parent::Head,
            lines: Vec::new(),
        }
    }

    /// The commit that a branch, tag or other name stands for; none where there is no such name.
    pub fn find(&self, name: &str) -> Option<String> {
        let words = ["rev-parse", "--quiet", "--verify"];
        let output = command(Some(&self.path))
            .args(words)
            .arg(format!("{name}^{{commit}}"))
            .output()
            .expect("git runs");
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }

    /// Lets a branch stand for a commit, whatever it stood for before: a force push.
    pub fn set_branch(&self, branch: &str, commit: &str) {
        self.git(&["update-ref", &format!("refs/heads/{branch}"), commit]);
    }

    /// Takes a branch away.
    pub fn delete_branch(&self, branch: &str) {
        self.git(&["update-ref", "-d", &format!("refs/heads/{branch}")]);
    }

    /// Lets a plain tag stand for a commit.
    pub fn tag(&self, tag: &str, commit: &str) {
        self.git(&["update-ref", &format!("refs/tags/{tag}"), commit]);
    }

    /// Makes a tag with a message of its own.
    pub fn annotated_tag(&self, tag: &str, commit: &str) {
        self.git(&[
            "tag",
            "--force",
            "--annotate",
            "--message",
            tag,
            tag,
            commit,
        ]);
    }

    /// Says which branch is the one that clones get.
    pub fn set_head(&self, branch: &str) {
        self.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]);
    }

    /// Writes a blob and gives its id.
    pub fn blob(&self, content: &[u8]) -> String {
        self.git_with(&["hash-object", "-w", "--stdin"], content)
    }

    /// Writes a tree as it is told, without the checks that git makes: names such as `..` and `.git` go in. An entry is
    /// a mode (`100644`, `40000`, `120000`, `160000`), a name, and the id of what it stands for.
    pub fn raw_tree(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend(hex::decode(id).expect("an object id"));
        }
        let words = ["hash-object", "-t", "tree", "-w", "--stdin", "--literally"];
        self.git_with(&words, &bytes)
    }

    /// Commits a tree to a branch, without a parent.
    pub fn commit_tree(&self, branch: &str, tree: &str) -> String {
        let id = self.git(&["commit-tree", "-m", "Change", tree]);
        self.set_branch(branch, &id);
        id
    }

    /// Runs git in it and gives what it says.
    pub fn git(&self, words: &[&str]) -> String {
        self.git_with(words, b"")
    }

    fn git_with(&self, words: &[&str], input: &[u8]) -> String {
        run(command(Some(&self.path)).args(words), input)
    }
}

enum Parent {
    Head,
    None,
    Commit(String),
}

/// A commit in the making.
pub struct Change<'a> {
    repository: &'a Repository,
    branch: String,
    message: String,
    parent: Parent,
    lines: Vec<u8>,
}

impl Change<'_> {
    /// To another branch than `main`.
    #[must_use]
    pub fn branch(mut self, branch: &str) -> Self {
        self.branch = branch.to_owned();
        self
    }

    /// With this message.
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        self.message = message.to_owned();
        self
    }

    /// On top of this commit instead of the branch: history is rewritten.
    #[must_use]
    pub fn onto(mut self, commit: &str) -> Self {
        self.parent = Parent::Commit(commit.to_owned());
        self
    }

    /// On top of nothing: a history of its own.
    #[must_use]
    pub fn orphan(mut self) -> Self {
        self.parent = Parent::None;
        self
    }

    /// Writes a file.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry("100644", path, content.as_ref())
    }

    /// Writes a program.
    #[must_use]
    pub fn executable(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry("100755", path, content.as_ref())
    }

    /// Makes a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry("120000", path, target.as_bytes())
    }

    /// Makes the entry of a submodule.
    #[must_use]
    pub fn submodule(mut self, path: &str, commit: &str) -> Self {
        self.line(&format!("M 160000 {commit} {}", quote(path)));
        self
    }

    /// Takes a file or folder away.
    #[must_use]
    pub fn delete(mut self, path: &str) -> Self {
        self.line(&format!("D {}", quote(path)));
        self
    }

    /// Takes everything away.
    #[must_use]
    pub fn delete_all(mut self) -> Self {
        self.line("deleteall");
        self
    }

    /// Makes the commit and gives its id.
    pub fn commit(self) -> String {
        let repository = self.repository;
        let name = format!("refs/heads/{}", self.branch);
        let time = FIRST_COMMIT + repository.commits.fetch_add(1, Ordering::Relaxed);
        let parent = match self.parent {
            Parent::Head => repository.find(&name),
            Parent::Commit(id) => Some(id),
            Parent::None => None,
        };
        if parent.is_none() && repository.find(&name).is_some() {
            // Without a parent, the importer would take the branch as it is for one.
            repository.delete_branch(&self.branch);
        }
        let mut stream = format!(
            "commit {name}\ncommitter Test <test@example.com> {time} +0000\ndata {}\n{}\n",
            self.message.len(),
            self.message
        )
        .into_bytes();
        if let Some(parent) = parent {
            stream.extend_from_slice(format!("from {parent}\n").as_bytes());
        }
        stream.extend_from_slice(&self.lines);
        stream.extend_from_slice(b"\ndone\n");
        repository.git_with(&["fast-import", "--quiet", "--done", "--force"], &stream);
        repository.find(&name).expect("the commit just made")
    }

    fn entry(mut self, mode: &str, path: &str, content: &[u8]) -> Self {
        self.line(&format!("M {mode} inline {}", quote(path)));
        self.line(&format!("data {}", content.len()));
        self.lines.extend_from_slice(content);
        self.lines.push(b'\n');
        self
    }

    fn line(&mut self, text: &str) {
        self.lines.extend_from_slice(text.as_bytes());
        self.lines.push(b'\n');
    }
}

fn quote(path: &str) -> String {
    let path = path
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n");
    format!("\"{path}\"")
}

/// git, free of whatever this machine has configured for it.
pub(super) fn command(repository: Option<&Path>) -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", format!("{FIRST_COMMIT} +0000"))
        .env("GIT_COMMITTER_DATE", format!("{FIRST_COMMIT} +0000"));
    for name in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{name}_NAME"), "Test")
            .env(format!("GIT_{name}_EMAIL"), "test@example.com");
    }
    // A hook that runs the tests sets these for its own repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    if let Some(path) = repository {
        command.arg("--git-dir").arg(path);
    }
    command
}

fn run(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git runs");
    // git reads all of it before it answers at length, so this can't block for ever.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input));
    let output = child.wait_with_output().expect("git ends");
    assert!(
        output.status.success(),
        "{command:?} failed: {} (input {written:?})",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
