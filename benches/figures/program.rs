//! Programs that are measured: started, looked at in /proc, ended.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One that runs. Dropping it ends it.
pub(crate) struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Program {
    /// Starts one. What it says goes into a file, what it writes nowhere.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Seconds of a core that it has used in all its threads, its own and the kernel's for it.
    pub(crate) fn cpu(&self) -> f64 {
        /// What Linux counts in, on every machine that it shows to programs.
        const TICKS: f64 = 100.0;
        let text = self.read("stat");
        // The name, in parentheses, may have spaces in it.
        let fields: Vec<&str> = text
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / TICKS
    }

    /// What it has in memory, in KiB.
    pub(crate) fn resident(&self) -> f64 {
        resident(&self.read("status"))
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).expect("it runs")
    }
}

/// What a process has in memory by its `status`, in KiB.
pub(crate) fn resident(status: &str) -> f64 {
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let size = line.and_then(|line| line.split_whitespace().nth(1));
    size.unwrap().parse().unwrap()
}

/// The controller of a control plane of our own.
pub(crate) fn controller(kubeconfig: &Path, namespace: &str, folder: &Path) -> Command {
    let mut command = workstead();
    command
        .args(["controller", "--namespace", namespace, "--kubeconfig"])
        .arg(kubeconfig)
        .args(["--health-address", "127.0.0.1:0"])
        .args(["--webhook-address", "127.0.0.1:0"])
        .env("WORKSTEAD_TOOLS_IMAGE", "workstead:bench")
        .env("WORKSTEAD_STATE_DIRECTORY", folder.join("state"));
    command
}

/// Our own program.
pub(crate) fn workstead() -> Command {
    Command::new(env!("CARGO_BIN_EXE_workstead"))
}

/// A program of the distribution, which a figure can't be measured without.
pub(crate) fn installed(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    // Where Debian keeps servers, which is not on everybody's path.
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    let found = folders
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is missing: apt-get install nginx haproxy nghttp2-client curl iproute2 (none of them has to run as a service)"
        )
    })
}
