//! Whether Git would take a file into a commit: what is secret must not lie there.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::cli::error::CliError;

/// Refuses a file that lies in a Git work tree and is not ignored there. It need not exist yet.
///
/// # Errors
/// When Git would take it, or when nobody can tell.
pub fn refuse_exposed(path: &Path, instead: &str) -> Result<(), CliError> {
    let shown = path.display();
    let exposed = exposed(path)
        .map_err(|error| CliError::undone(format!("failed to look at {shown}")).because(error))?;
    let Some(root) = exposed else {
        return Ok(());
    };
    Err(CliError::no(format!(
        "{shown} is secret, lies in the Git work tree {} and is not ignored there: the next commit may hold it",
        root.display()
    ))
    .next(format!("add it to .gitignore, {instead}. If it was committed before, change its values: history keeps them")))
}

/// The root of the work tree whose next commit may hold a file.
fn exposed(path: &Path) -> io::Result<Option<PathBuf>> {
    // Of a link, Git keeps where it leads to; the content is what matters.
    let file = match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
            folder.canonicalize()?.join(name)
        }
        found => found?,
    };
    let mut above = file.ancestors().skip(1);
    let root = above.find(|folder| folder.join(".git").exists());
    Ok(root
        .filter(|root| !is_ignored(root, &file))
        .map(Path::to_owned))
}

/// As Git decides it: the last pattern of the nearest file counts, and nothing comes back from a folder that is left out.
fn is_ignored(root: &Path, file: &Path) -> bool {
    let Ok(relative) = file.strip_prefix(root) else {
        return false;
    };
    let mut levels = vec![
        GitignoreBuilder::new(root).build_global().0,
        patterns(root, &root.join(".git/info/exclude")),
    ];
    let mut at = root.to_owned();
    let mut parts = relative.components().peekable();
    while let Some(part) = parts.next() {
        if part.as_os_str() == ".git" {
            return true;
        }
        levels.push(patterns(&at, &at.join(".gitignore")));
        at.push(part);
        let is_folder = parts.peek().is_some();
        let mut verdicts = levels
            .iter()
            .rev()
            .map(|level| level.matched(&at, is_folder));
        if matches!(
            verdicts.find(|verdict| !verdict.is_none()),
            Some(Match::Ignore(_))
        ) {
            return true;
        }
    }
    false
}

/// The patterns of a file; none, if there is no such file.
fn patterns(folder: &Path, file: &Path) -> Gitignore {
    let mut builder = GitignoreBuilder::new(folder);
    // What can't be read ignores nothing: that errs on the safe side.
    let _ = builder.add(file);
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_git_would_take_is_told_from_what_it_ignores() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("tree/.git/info/exclude", "excluded\n");
        write("tree/.gitignore", "*.env\nsecret/\n/top\n");
        write("tree/team/.gitignore", "!kept.env\n");
        write("tree/secret/.gitignore", "!back\n");
        write("tree/module/.git", "gitdir: elsewhere\n");
        for (path, is_exposed) in [
            ("outside.env", false),
            ("tree/vars.yaml", true),
            ("tree/a.env", false),
            ("tree/team/a.env", false),
            ("tree/team/kept.env", true),
            ("tree/team/top", true),
            ("tree/top", false),
            ("tree/excluded", false),
            ("tree/secret/back", false),
            ("tree/.git/x", false),
            ("tree/module/a.env", true),
        ] {
            write(path, "");
            let found = exposed(&root.join(path)).unwrap();
            assert_eq!(found.is_some(), is_exposed, "{path}");
            fs::remove_file(root.join(path)).unwrap();
            let found = exposed(&root.join(path)).unwrap();
            assert_eq!(found.is_some(), is_exposed, "{path}, before it is there");
        }
    }

    #[test]
    fn a_link_is_judged_by_where_its_content_lies() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join(".git")).unwrap();
        fs::write(folder.path().join("outside"), "").unwrap();
        fs::write(tree.join("inside"), "").unwrap();
        std::os::unix::fs::symlink("../outside", tree.join("out")).unwrap();
        std::os::unix::fs::symlink("tree/inside", folder.path().join("in")).unwrap();
        assert!(exposed(&tree.join("out")).unwrap().is_none());
        let found = exposed(&folder.path().join("in")).unwrap();
        assert_eq!(found, Some(tree.canonicalize().unwrap()));
    }
}
