//! Where things are.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long Git may say nothing, its progress included. A server that works on its answer tells of that, too.
const GIT_SILENCE: Duration = Duration::from_secs(60);

/// Paths of a container, below a folder that is `/` except in a trial outside of one; the ports, and how long a Git
/// server is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// What stands for `/`.
    pub root: PathBuf,
    /// For controller and proxy.
    pub supervisor_port: u16,
    /// For the kubelet.
    pub ready_port: u16,
    /// How long Git may say nothing.
    pub git_silence: Duration,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            supervisor_port: workstead_link::SUPERVISOR_PORT,
            ready_port: workstead_link::READY_PORT,
            git_silence: GIT_SILENCE,
        }
    }
}

impl Places {
    /// A path of the container, as this process reaches it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The folder of all projects.
    pub fn projects(&self) -> PathBuf {
        self.at(workstead_link::PROJECTS_PATH)
    }

    /// The folder of one Secret with Git credentials.
    pub fn credential(&self, secret: &str) -> PathBuf {
        self.at(workstead_link::CREDENTIALS_PATH).join(secret)
    }

    /// A path that a plan names: below `base` unless it is absolute.
    pub fn named(&self, base: &Path, path: &str) -> PathBuf {
        if path.starts_with('/') {
            self.at(path)
        } else {
            base.join(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_path_stays_below_the_root_and_a_relative_one_below_its_base() {
        let places = Places {
            root: PathBuf::from("/tmp/x"),
            ..Places::default()
        };
        assert_eq!(places.projects(), Path::new("/tmp/x/projects"));
        let base = places.projects();
        assert_eq!(places.named(&base, "a/b"), Path::new("/tmp/x/projects/a/b"));
        assert_eq!(places.named(&base, "/srv"), Path::new("/tmp/x/srv"));
        assert_eq!(Places::default().at("/srv"), Path::new("/srv"));
    }
}
