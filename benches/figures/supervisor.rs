//! The first process by itself: how fast it clones, and how large it is.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use jiff::Timestamp;
use tempfile::TempDir;
use workstead::controllers::supervisor::authority::{Authority, Client};
use workstead::inside::dial::{Target, call};
use workstead::testkit::git_server::{GitServer, Repository};
use workstead_link::{PLAN_VARIABLE, Plan, Project, Request, StepKind, StepState};

use crate::inside::{resident, tool};
use crate::results::{Figure, percentile};

/// Clones of each side.
const ROUNDS: usize = 12;
/// The repository: so many files of so many bytes, of which none can be compressed.
const FILES: (usize, usize) = (200, 512 * 1024);
const MIB: f64 = 1024.0 * 1024.0;

/// clone: the step of a start against Git itself, from the same server on this machine, in turns.
pub(crate) async fn clone() -> Figure {
    let server = GitServer::start();
    let repository = server.repository("large");
    fill(&repository);
    let program = program();
    let (mut ours, mut by_git) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (mut step, mut git) = (0.0, 0.0);
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                step = cloned_by_us(&program, repository.url()).await;
            } else {
                git = cloned_by_git(repository.url());
            }
        }
        // The first round warms the caches.
        if round > 0 {
            ours.push(step);
            by_git.push(git);
        }
    }
    let (value, yardstick) = (percentile(&ours, 0.5), percentile(&by_git, 0.5));
    let ratio = value / yardstick;
    Figure {
        id: "clone",
        value,
        unit: "ms, p50, 100 MiB",
        yardstick: Some(format!("git clone --depth 1 here: {yardstick} ms")),
        ratio: Some(ratio),
        bar: "at most 1.1 times",
        met: ratio <= 1.1,
        rounds: ours.len(),
    }
}

fn fill(repository: &Repository) {
    let mut change = repository.change();
    // xorshift: noise that is the same in every run.
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    for number in 0..FILES.0 {
        let noise = std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        });
        let content: Vec<u8> = noise.take(FILES.1 / 8).flatten().collect();
        change = change.file(&format!("folder-{}/{number}", number % 10), content);
    }
    change.commit();
    repository.git(&["gc", "-q"]);
}

/// The milliseconds that the step took by its own account, from the supervisor's start until it is settled.
async fn cloned_by_us(program: &Path, url: &str) -> f64 {
    let project = Project {
        name: "large".to_owned(),
        url: url.to_owned(),
        shallow: true,
        folder: "large".to_owned(),
        ..Project::default()
    };
    let plan = Plan {
        projects: vec![project],
        ..Plan::default()
    };
    let now = Timestamp::now();
    let (authority, _) = Authority::generate(now).unwrap();
    let us = authority.client(Client::Controller, now).unwrap().identity;
    let made = authority.supervisor(now).unwrap();
    let identity = [
        (
            workstead_link::TLS_CERTIFICATE,
            made.identity.certificate.as_bytes(),
        ),
        (workstead_link::TLS_KEY, made.identity.key.as_bytes()),
        (
            workstead_link::TLS_CLIENTS,
            authority.certificate().as_bytes(),
        ),
    ];
    let (_running, port) = Running::start(program, identity, &plan);
    let target = Target {
        address: (Ipv4Addr::LOCALHOST, port).into(),
        key: made.public_key,
    };
    let mut call = call(&us, target, Request::Watch).await.unwrap();
    let mut last = None;
    while let Some(report) = call.next().await.unwrap() {
        last = Some(report);
    }
    let steps = last.unwrap().steps;
    let step = steps
        .iter()
        .find(|step| step.kind == StepKind::Clone)
        .unwrap();
    assert_eq!(step.state, StepState::Done, "{step:?}");
    step.took_ms.unwrap() as f64
}

fn cloned_by_git(url: &str) -> f64 {
    let folder = TempDir::new().unwrap();
    let begin = Instant::now();
    let status = Command::new("git")
        .args(["clone", "-q", "--depth", "1", url])
        .arg(folder.path().join("large"))
        .status()
        .unwrap();
    assert!(status.success());
    begin.elapsed().as_secs_f64() * 1000.0
}

/// A supervisor that runs here, below a root of its own.
pub(crate) struct Running {
    child: Child,
    _root: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Running {
    /// Starts one with these files for its calls; gives its port too.
    pub(crate) fn start(program: &Path, identity: [(&str, &[u8]); 3], plan: &Plan) -> (Self, u16) {
        let root = TempDir::new().unwrap();
        let at = |path: &str| root.path().join(path.trim_start_matches('/'));
        for folder in ["opt/workstead/bin", "projects", "run/workstead/supervisor"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for (name, text) in identity {
            std::fs::write(at(workstead_link::SUPERVISOR_FILES_PATH).join(name), text).unwrap();
        }
        symlink("/usr/bin/git", at(workstead_link::GIT_PATH)).unwrap();
        let mut child = Command::new(program)
            .arg("--root")
            .arg(root.path())
            .args(["--ready-port", "0", "--supervisor-port", "0"])
            .env(PLAN_VARIABLE, serde_json::to_string(plan).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.as_mut().unwrap());
        let mut lines = said.lines().map(Result::unwrap);
        let line = lines.find(|line| line.ends_with("for the controller"));
        let line = line.expect("it says its port");
        let port: u16 = line.split(' ').find_map(|word| word.parse().ok()).unwrap();
        (Self { child, _root: root }, port)
    }
}

/// supervisor-size: the program, and what its two processes have in memory in a workspace that runs.
pub(crate) async fn size() -> Figure {
    let binary = std::fs::metadata(program()).unwrap().len() as f64 / MIB;
    let (first, branch) = resident().await;
    let round = |value: f64| (value * 10.0).round() / 10.0;
    let (resident, binary) = (round((first + branch) / 1024.0), round(binary));
    Figure {
        id: "supervisor-size",
        value: resident,
        unit: "MiB resident",
        yardstick: Some(format!(
            "first process {first} KiB, its branch {branch} KiB; the program has {binary} MiB"
        )),
        ratio: None,
        bar: "at most 6 MiB resident, 8 MiB of program",
        met: resident <= 6.0 && binary <= 8.0,
        rounds: 1,
    }
}

/// The program as it goes into the image of the tools.
pub(crate) fn program() -> PathBuf {
    tool(&["supervisor", "--profile", "release"]).trim().into()
}
