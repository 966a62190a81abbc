//! What to type next: this program as it was called, towards the same cluster and namespace.

use std::ffi::OsStr;
use std::path::Path;

use crate::cli::args::ClusterArgs;

/// How the program is called when kubectl runs it as a plugin.
const PLUGIN: &str = "kubectl-workstead";

/// The program as people type it.
pub fn program() -> &'static str {
    typed_as(std::env::args_os().next().as_deref())
}

/// The program as people type it, by the name under which it was started.
pub fn typed_as(started: Option<&OsStr>) -> &'static str {
    let stem = started.and_then(|started| Path::new(started).file_stem());
    if stem.is_some_and(|stem| stem == PLUGIN) {
        "kubectl workstead"
    } else {
        "workstead"
    }
}

impl ClusterArgs {
    /// A command that goes where this one went: `why alice-api` becomes `workstead why alice-api -n team-a`.
    pub fn again(&self, words: &str) -> String {
        format!("{} {words}{}", program(), self.flags())
    }

    fn flags(&self) -> String {
        let kubeconfig = self
            .kubeconfig
            .as_ref()
            .map(|path| path.display().to_string());
        [
            ("-n", &self.namespace),
            ("--context", &self.context),
            ("--kubeconfig", &kubeconfig),
        ]
        .iter()
        .filter_map(|(flag, value)| Some(format!(" {flag} {}", quoted(value.as_deref()?))))
        .collect()
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_type_next_goes_where_this_one_went() {
        let typed = ClusterArgs {
            namespace: Some("team-a".to_owned()),
            context: Some("the lab's".to_owned()),
            kubeconfig: Some("/home/a/k".into()),
        };
        assert_eq!(
            typed.flags(),
            r" -n team-a --context 'the lab'\''s' --kubeconfig /home/a/k"
        );
    }

    #[test]
    fn a_plugin_is_typed_as_one() {
        let typed = |path: &str| typed_as(Some(OsStr::new(path)));
        assert_eq!(
            typed("/usr/local/bin/kubectl-workstead"),
            "kubectl workstead"
        );
        assert_eq!(typed("./workstead"), "workstead");
        assert_eq!(typed_as(None), "workstead");
    }
}
