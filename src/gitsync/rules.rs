//! What a GitSync lets in: which files are read, which objects may stand in them.

use std::collections::BTreeSet;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::{Deserialize, Serialize};

use crate::api::GitSync;
use crate::api::gitsync::{GitSyncSpec, OwnersRule, SyncedKind};
use crate::model::owners::deepest_rule;
use crate::model::sync::{Code, SourceError};
use crate::yaml;

/// Files and folders whose names begin with a dot belong to tools. `!.name` in `spec.ignore` brings one back.
const HIDDEN: &str = ".*";

/// What one tree may cost. Whoever exceeds one is told its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files that are read.
    pub files: usize,
    /// Bytes of all files that are read.
    pub total_bytes: u64,
    /// Entries that are looked at, those that are ignored included.
    pub entries: usize,
    /// How deep folders may be nested.
    pub depth: usize,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self {
            file_bytes: 1024 * 1024,
            files: 50_000,
            total_bytes: 16 * 1024 * 1024,
            entries: 500_000,
            depth: 32,
        }
    }
}

/// Which files are read.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TreeRules {
    /// The folder, from the root of the repository; empty for all of it.
    pub path: String,
    /// Patterns in gitignore syntax.
    pub ignore: String,
    /// What it may cost.
    pub limits: TreeLimits,
}

impl TreeRules {
    /// Takes `spec.path` and `spec.ignore`.
    ///
    /// # Errors
    /// When the path leaves the repository or can't be one, or a pattern can't be read.
    pub fn new(path: &str, ignore: &str, limits: TreeLimits) -> Result<Self, SourceError> {
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        if path.starts_with('/') || parts.contains(&"..") {
            return Err(SourceError::new(
                Code::InvalidConfig,
                format!(
                    "spec.path '{path}' leaves the repository: write it relative to the root, without '..'"
                ),
            ));
        }
        // No tree that is read has such names, and libgit2 takes no NUL.
        if path.contains(char::is_control) {
            return Err(SourceError::new(
                Code::InvalidConfig,
                format!("spec.path {path:?} holds a control character: take it out"),
            ));
        }
        let rules = Self {
            path: parts.join("/"),
            ignore: ignore.to_owned(),
            limits,
        };
        rules.filter().map(|_| rules)
    }

    /// The patterns, ready for use.
    ///
    /// # Errors
    /// When a pattern can't be read.
    pub fn filter(&self) -> Result<Filter, SourceError> {
        let wrong = |error: &ignore::Error| {
            SourceError::new(
                Code::InvalidConfig,
                format!("spec.ignore can't be read: {error}"),
            )
        };
        let mut builder = GitignoreBuilder::new("");
        for line in std::iter::once(HIDDEN).chain(self.ignore.lines()) {
            builder
                .add_line(None, line)
                .map_err(|error| wrong(&error))?;
        }
        builder.build().map(Filter).map_err(|error| wrong(&error))
    }
}

/// Says which files are left out.
#[derive(Debug)]
pub struct Filter(Gitignore);

impl Filter {
    /// Whether a file or folder is left out; its parents were asked before.
    pub fn ignores(&self, path: &str, is_folder: bool) -> bool {
        self.0.matched(path, is_folder).is_ignore()
    }
}

/// Which namespaces may be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Any.
    Any,
    /// These.
    Only(BTreeSet<String>),
}

/// Which objects may stand in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRules {
    /// The namespace of objects that name none.
    pub default_namespace: String,
    /// Kinds that may be written.
    pub kinds: BTreeSet<SyncedKind>,
    /// Namespaces that may be written to. Whether another namespace accepts this GitSync, only the cluster can tell.
    pub namespaces: Namespaces,
    /// The GitSync lives in the controller's own namespace: it may write kinds of the whole cluster, and GitSyncs.
    pub is_administrative: bool,
    /// Who may be named as owner under which path; empty for anybody.
    pub owners: Vec<OwnersRule>,
    /// Whether what the API server takes and no controller can run is an error too. For people who check their files; a
    /// GitSync applies it, and the object's own status says what is wrong.
    pub must_run: bool,
    /// What a file may cost.
    pub yaml: yaml::Limits,
}

impl ObjectRules {
    /// Of a GitSync; `controller_namespace` is that of the installation.
    pub fn of(sync: &GitSync, controller_namespace: &str) -> Self {
        let namespace = sync.metadata.namespace.clone().unwrap_or_default();
        let is_administrative = namespace == controller_namespace;
        Self::new(&sync.spec, namespace, is_administrative)
    }

    fn new(spec: &GitSyncSpec, namespace: String, is_administrative: bool) -> Self {
        let kinds = match &spec.allowed_kinds {
            Some(kinds) => kinds.iter().copied().collect(),
            None => BTreeSet::from([SyncedKind::Workspace, SyncedKind::WorkspaceVariables]),
        };
        let namespaces = match &spec.allowed_namespaces {
            Some(names) => names.iter().cloned().collect(),
            None => BTreeSet::from([namespace.clone()]),
        };
        Self {
            default_namespace: namespace,
            kinds,
            namespaces: Namespaces::Only(namespaces),
            is_administrative,
            owners: spec.owners.clone(),
            must_run: false,
            yaml: yaml::Limits::default(),
        }
    }

    /// For a look at a folder without a cluster: every kind, every namespace, every owner.
    pub fn anything(default_namespace: &str) -> Self {
        Self {
            default_namespace: default_namespace.to_owned(),
            kinds: SyncedKind::IN_ORDER.into_iter().collect(),
            namespaces: Namespaces::Any,
            is_administrative: true,
            owners: Vec::new(),
            must_run: false,
            yaml: yaml::Limits::default(),
        }
    }

    /// Why this kind may not be written, if it may not.
    pub(super) fn refuses_kind(&self, kind: SyncedKind) -> Option<String> {
        let name = kind.name();
        if !self.kinds.contains(&kind) {
            let allowed: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
            return Some(format!(
                "this GitSync writes {}: add {name} to spec.allowedKinds, or take the document out",
                allowed.join(", ")
            ));
        }
        let everywhere = !kind.is_namespaced() || kind == SyncedKind::GitSync;
        (everywhere && !self.is_administrative).then(|| {
            format!("{name} is written only by a GitSync in the controller's own namespace")
        })
    }

    /// Why this namespace may not be written to, if it may not.
    pub(super) fn refuses_namespace(&self, namespace: &str) -> Option<String> {
        match &self.namespaces {
            Namespaces::Any => None,
            Namespaces::Only(names) if names.contains(namespace) => None,
            Namespaces::Only(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Some(format!(
                    "this GitSync writes to namespace {}: add {namespace} to spec.allowedNamespaces, or write another namespace",
                    names.join(", ")
                ))
            }
        }
    }

    /// Why this owner may not be named in that file, if they may not. The deepest rule that fits holds.
    pub(super) fn refuses_owner(&self, file: &str, owner: &str) -> Option<String> {
        if self.owners.is_empty() {
            return None;
        }
        match deepest_rule(&self.owners, file) {
            None => Some(
                "no rule of spec.owners covers this file, and there are some: add one for its folder"
                    .to_owned(),
            ),
            Some(rule) if rule.owners.iter().any(|name| name == owner) => None,
            Some(rule) => Some(format!(
                "files under '{}' may name {}, not {owner}: see spec.owners",
                rule.path,
                rule.owners.join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "")]
    #[case(".", "")]
    #[case("./a//b/", "a/b")]
    fn a_path_is_taken_relative_to_the_root(#[case] written: &str, #[case] expected: &str) {
        let rules = TreeRules::new(written, "", TreeLimits::default()).unwrap();
        assert_eq!(rules.path, expected);
    }

    #[rstest]
    #[case("/a")]
    #[case("../a")]
    #[case("a/../../b")]
    fn a_path_that_leaves_the_repository_is_refused(#[case] path: &str) {
        let error = TreeRules::new(path, "", TreeLimits::default()).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
    }

    #[rstest]
    #[case("a\0b")]
    #[case("a/b\n")]
    fn a_path_with_a_control_character_is_refused(#[case] path: &str) {
        let error = TreeRules::new(path, "", TreeLimits::default()).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
    }

    #[test]
    fn patterns_are_read_as_git_reads_them() {
        let rules = TreeRules::new(
            "",
            "docs/\n*.gen.yaml\n!keep.gen.yaml\n/top.yaml\n!.hidden.yaml",
            TreeLimits::default(),
        );
        let filter = rules.unwrap().filter().unwrap();
        for (path, is_folder, ignored) in [
            ("docs", true, true),
            ("docs", false, false),
            ("a/b.gen.yaml", false, true),
            ("a/keep.gen.yaml", false, false),
            ("top.yaml", false, true),
            ("a/top.yaml", false, false),
            (".github", true, true),
            ("a/.secret.yaml", false, true),
            ("a/.hidden.yaml", false, false),
        ] {
            assert_eq!(filter.ignores(path, is_folder), ignored, "{path}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused() {
        let error = TreeRules::new("", "[z-a]", TreeLimits::default()).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
    }

    #[test]
    fn the_deepest_rule_about_owners_holds() {
        let rule = |path: &str, owners: &[&str]| OwnersRule {
            path: path.into(),
            owners: owners.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut rules = ObjectRules::anything("default");
        assert_eq!(rules.refuses_owner("x.yaml", "anybody"), None);
        rules.owners = vec![rule("teams", &["lead"]), rule("teams/a/", &["alice"])];
        assert_eq!(rules.refuses_owner("teams/a/x.yaml", "alice"), None);
        assert!(rules.refuses_owner("teams/a/x.yaml", "lead").is_some());
        assert_eq!(rules.refuses_owner("teams/b/x.yaml", "lead"), None);
        assert!(rules.refuses_owner("teams/ab/x.yaml", "alice").is_some());
        assert!(rules.refuses_owner("x.yaml", "lead").is_some());
    }
}
