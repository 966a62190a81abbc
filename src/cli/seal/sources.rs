//! Where values come from: a set in plaintext, `.env` files, files, and whoever is asked. Each key comes from one of them.

use std::collections::BTreeMap;
use std::fs::File as LocalFile;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::cli::seal::args::SealArgs;
use crate::cli::worktree::refuse_exposed;
use crate::model::variables::{FilePath, VariableName};
use crate::secrets::document::{DEFAULT_MODE, Draft, File};
use crate::secrets::dotenv;
use crate::secrets::text::{SecretBytes, SecretText};

/// No file that is longer fits into a sealed text.
const LONGEST: u64 = 2 * 1024 * 1024;
/// Stands for standard input where a file is named.
const STANDARD_INPUT: &str = "-";

/// The sources that were named.
#[derive(Debug)]
pub struct Sources {
    set: Option<PathBuf>,
    env_files: Vec<PathBuf>,
    files: Vec<(FilePath, PathBuf)>,
    /// Variables to ask for.
    pub asked: Vec<VariableName>,
}

impl Sources {
    /// Reads the arguments. What is wrong with one is not repeated: a value may stand in it.
    ///
    /// # Errors
    /// When one is wrong, or nothing was named.
    pub fn of(arguments: &SealArgs) -> Result<Self, CliError> {
        let asked = arguments.ask.iter().map(|name| variable(name));
        let files = arguments.local.iter().map(|words| local(words));
        let sources = Self {
            set: arguments.set.clone(),
            env_files: arguments.env_file.clone(),
            files: files.collect::<Result<_, _>>()?,
            asked: asked.collect::<Result<_, _>>()?,
        };
        let inputs = sources.paths().filter(|path| is_input(path)).count();
        if inputs + usize::from(!sources.asked.is_empty()) > 1 && inputs > 0 {
            return Err(CliError::undone(
                "standard input can be one source, and it was named as several",
            )
            .next("put the others into files, or ask for them in a command of their own"));
        }
        if sources.paths().next().is_none() && sources.asked.is_empty() {
            return Err(CliError::undone("nothing was named that could be sealed").next(
                "name a file, or use --env-file, --file or --ask: workstead seal --help has examples",
            ));
        }
        Ok(sources)
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = self.files.iter().map(|(_, local)| local);
        let all = self.set.iter().chain(&self.env_files).chain(files);
        all.map(PathBuf::as_path)
    }

    /// Refuses plaintext that Git would take into a commit.
    ///
    /// # Errors
    /// When one of the files is such.
    pub fn refuse_exposed(&self) -> Result<(), CliError> {
        let mut paths = self.paths().filter(|path| !is_input(path));
        paths.try_for_each(|path| {
            let instead = "move it out of the work tree, or say --allow-plaintext";
            refuse_exposed(path, instead)
        })
    }

    /// Reads the set in plaintext; an empty one, if none was named.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read_set(&self) -> Result<Draft, CliError> {
        let Some(path) = &self.set else {
            return Ok(Draft::default());
        };
        Draft::read(&read(path)?).map_err(|error| {
            let wrong = CliError::no(format!("{} is no set", path.display())).because(error);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".env") || name.starts_with(".env") {
                return wrong.next("a file of lines NAME=value is sealed by --env-file");
            }
            wrong.next("docs/tasks/seal-variables.md shows how a set is written")
        })
    }

    /// Reads all other files, and puts them and what was asked for beside the set.
    ///
    /// # Errors
    /// When one can't be read, or a key comes from two of them.
    pub fn gather(
        &self,
        set: Draft,
        answers: Vec<(VariableName, SecretText)>,
    ) -> Result<Gathered, CliError> {
        let mut gathered = Gathered::of(set, self.set.as_deref());
        for path in &self.env_files {
            let origin = path.display().to_string();
            let wrong = |problem: &dyn std::fmt::Display| {
                CliError::no(format!("{origin} can't be read as a .env file")).seen(problem)
            };
            let bytes = read(path)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| wrong(&"it is no UTF-8 text"))?;
            let variables = dotenv::read(text).map_err(|error| wrong(&error))?;
            for (name, value) in variables {
                gathered.add_variable(name, value, &origin)?;
            }
        }
        for (name, value) in answers {
            gathered.add_variable(name, value, "--ask")?;
        }
        for (path, local) in &self.files {
            let content = SecretBytes::new(std::mem::take(&mut *read(local)?));
            let file = File {
                mode: DEFAULT_MODE,
                content,
            };
            gathered.add_file(path.clone(), file, &format!("--file {path}=…"))?;
        }
        Ok(gathered)
    }
}

/// All that shall be sealed, and where each part of it is from.
pub struct Gathered {
    /// What was gathered.
    pub draft: Draft,
    variables: BTreeMap<VariableName, String>,
    files: BTreeMap<FilePath, String>,
}

impl Gathered {
    fn of(draft: Draft, from: Option<&Path>) -> Self {
        let origin = from.map(|path| path.display().to_string());
        let origin = origin.unwrap_or_default();
        let variables = draft.env.keys();
        let files = draft.files.keys();
        Self {
            variables: variables
                .map(|name| (name.clone(), origin.clone()))
                .collect(),
            files: files.map(|path| (path.clone(), origin.clone())).collect(),
            draft,
        }
    }

    fn add_variable(
        &mut self,
        name: VariableName,
        value: SecretText,
        origin: &str,
    ) -> Result<(), CliError> {
        if let Some(first) = self.variables.insert(name.clone(), origin.to_owned()) {
            return Err(doubled(name.as_str(), &first, origin));
        }
        self.draft.env.insert(name, value);
        Ok(())
    }

    fn add_file(&mut self, path: FilePath, file: File, origin: &str) -> Result<(), CliError> {
        if let Some(first) = self.files.insert(path.clone(), origin.to_owned()) {
            return Err(doubled(path.as_str(), &first, origin));
        }
        self.draft.files.insert(path, file);
        Ok(())
    }
}

fn doubled(key: &str, first: &str, second: &str) -> CliError {
    CliError::no(format!(
        "{key} is there twice: from {first} and from {second}"
    ))
    .next("leave it out of one of them")
}

fn variable(text: &str) -> Result<VariableName, CliError> {
    VariableName::parse(text).map_err(|problem| {
        CliError::undone(format!("the word behind --ask is no name: {problem}")).next(
            "name the variable only: its value is asked for, so that no history of a shell has it",
        )
    })
}

fn local(words: &str) -> Result<(FilePath, PathBuf), CliError> {
    let wrong = |problem: &str| {
        CliError::undone(format!("the words behind --file are wrong: {problem}"))
            .next("write --file '~/.netrc=local-file': in quotes, or the shell puts the path of your own home there")
    };
    let (path, local) = words
        .split_once('=')
        .filter(|(_, local)| !local.is_empty())
        .ok_or_else(|| wrong("they are no PATH=LOCAL"))?;
    let path = FilePath::parse(path).map_err(wrong)?;
    Ok((path, PathBuf::from(local)))
}

fn is_input(path: &Path) -> bool {
    path == Path::new(STANDARD_INPUT)
}

/// Reads what is secret: a file, a pipe or standard input.
///
/// # Errors
/// When it can't be read, or is longer than anything that is sealed.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let shown = path.display();
    let failed = |error| CliError::undone(format!("failed to read {shown}")).because(error);
    let content = if is_input(path) {
        read_all(io::stdin().lock(), 0)
    } else {
        LocalFile::open(path).and_then(|file| {
            let length = file.metadata()?.len();
            read_all(file, length)
        })
    };
    let content = content.map_err(failed)?;
    if content.len() as u64 > LONGEST {
        return Err(CliError::no(format!(
            "{shown} is larger than a sealed text may be, 1 MiB: seal parts of it, or keep it elsewhere"
        )));
    }
    Ok(content)
}

fn read_all(from: impl Read, length: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // Large enough at once: what a growing one leaves behind is not wiped.
    let capacity = usize::try_from(length.min(LONGEST)).unwrap_or(0) + 2;
    let mut content = Zeroizing::new(Vec::with_capacity(capacity));
    from.take(LONGEST + 1).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_wrong_are_refused_and_never_repeated() {
        for words in ["TOKEN=canary", "canary!", "", "WORKSTEAD_CANARY"] {
            let error = variable(words).unwrap_err();
            assert!(!error.cause.contains("canary"), "{}", error.cause);
        }
        for words in [
            "canary",
            "=canary",
            "a=",
            "/home/canary/.netrc=x",
            "../canary=x",
        ] {
            let error = local(words).unwrap_err();
            assert!(!error.cause.contains("canary"), "{}", error.cause);
        }
        let (path, file) = local("~/.netrc=a=b").unwrap();
        assert_eq!((path.as_str(), file), ("~/.netrc", PathBuf::from("a=b")));
    }

    #[test]
    fn a_key_that_comes_from_two_places_is_refused_and_both_are_named() {
        let set = Draft::read(b"env: {A: '1'}\nfiles: {f: {content: x}}")
            .ok()
            .unwrap();
        let mut gathered = Gathered::of(set, Some(Path::new("vars.yaml")));
        let name = |text| VariableName::parse(text).unwrap();
        let value = || SecretText::new("canary".to_owned());
        let add = gathered.add_variable(name("B"), value(), ".env");
        assert!(add.is_ok());
        for (key, first) in [("A", "vars.yaml"), ("B", ".env")] {
            let error = gathered.add_variable(name(key), value(), "--ask");
            let cause = error.unwrap_err().cause;
            let expected = format!("{key} is there twice: from {first} and from --ask");
            assert_eq!(cause, expected);
        }
        let file = File {
            mode: DEFAULT_MODE,
            content: SecretBytes::new(Vec::new()),
        };
        let path = FilePath::parse("f").unwrap();
        let error = gathered.add_file(path, file, "--file f=…").unwrap_err();
        assert_eq!(
            error.cause,
            "f is there twice: from vars.yaml and from --file f=…"
        );
    }
}
