//! What needs more than a kubeconfig: the node itself, or leave to disturb everybody on the cluster.

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

const TOOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/cluster/cluster");
/// Where containerd mounts image volumes.
const IMAGE_VOLUMES: &str = "/run/containerd/io.containerd.grpc.v1.cri/image-volumes";
/// One user, whose password nobody here sends.
const USERS: &str = "somebody:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
/// Starts a registry unless it runs, and waits until it listens. Arguments: program, port, configuration, users.
/// A configuration comes as an argument: on the way to root the environment is dropped.
const START_REGISTRY: &str = r#"
listens() { ss -Hltn "sport = :$2" | grep -q .; }
! listens "$@" || exit 0
printf '%s' "$4" >/tmp/registry-users
printf '%s' "$3" >"/tmp/registry-$2.yml"
setsid "$1" serve "/tmp/registry-$2.yml" >"/tmp/registry-$2.log" 2>&1 &
for _ in $(seq 100); do ! listens "$@" || exit 0; sleep 0.1; done
cat "/tmp/registry-$2.log" >&2
exit 1
"#;

/// Says what this run leaves out, where it is seen: the output of tests that pass is swallowed.
pub(crate) fn skipped(what: &str) {
    // Nobody may listen.
    drop(writeln!(std::io::stderr(), "skipped: {what}"));
}

/// Whether the controller may be stopped, killed or uninstalled, for all who use the cluster. If not, says what is
/// left out.
pub(crate) fn may_disrupt(what: &str) -> bool {
    let may = std::env::var("E2E_MAY_DISRUPT").is_ok_and(|value| value == "1");
    if !may {
        skipped(&format!(
            "{what}: that disturbs everybody on the cluster; E2E_MAY_DISRUPT=1 allows it"
        ));
    }
    may
}

/// The node of a cluster of our own.
pub(crate) struct OwnNode {
    cluster: String,
}

impl OwnNode {
    /// The node under test, if it is ours.
    pub(crate) fn here() -> Option<Self> {
        let cluster = std::env::var("E2E_CLUSTER").ok()?;
        Some(Self { cluster })
    }

    /// Runs a command inside the node.
    pub(crate) fn exec(&self, command: &[&str]) -> Output {
        tool(&[&["exec", &self.cluster], command].concat())
    }

    /// Starts a command inside the node; what it prints is kept.
    pub(crate) fn start(&self, command: &[&str]) -> Child {
        Command::new(TOOL)
            .args([&["exec", &self.cluster], command].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Makes images, puts them on the node, and gives their names by digest.
    fn put_images(&self, names: &[&str]) -> Vec<String> {
        let made = succeeded(tool(&[&["images", "--pinned"], names].concat()));
        let (names, archives): (Vec<&str>, Vec<&str>) = made
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .unzip();
        succeeded(tool(&[&["load", &self.cluster], &archives[..]].concat()));
        names.into_iter().map(str::to_owned).collect()
    }

    /// Puts an image on the node that no runtime can make a workspace of, and gives its name.
    pub(crate) fn put_unmountable_image(&self) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/unmountable-image");
        let status = Command::new(script)
            .arg(&self.cluster)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "the image was not put on the node");
        "localhost/workstead-unmountable:dev".to_owned()
    }

    /// Has the container runtime refuse every image volume from now on: it can make no place for one.
    pub(crate) fn refuse_image_volumes(&self) {
        let script =
            format!("mkdir -p {IMAGE_VOLUMES} && mount -t tmpfs -o ro none {IMAGE_VOLUMES}");
        succeeded(self.exec(&["sh", "-c", &script]));
    }

    /// Has it mount them again.
    pub(crate) fn accept_image_volumes(&self) {
        succeeded(self.exec(&["umount", IMAGE_VOLUMES]));
    }

    /// Starts two registries, for pulls that fail: `localhost:5000` has no images, `localhost:5001` asks who you are.
    ///
    /// The node has a network of its own, and what runs in it ends with it.
    pub(crate) fn start_registries(&self) {
        let unpacked = succeeded(tool(&["fetch", "docker-registry"]));
        let program = format!("{}/usr/bin/docker-registry", unpacked.trim());
        let users = "auth: {htpasswd: {realm: test, path: /tmp/registry-users}}\n";
        for (port, access) in [("5000", ""), ("5001", users)] {
            let config = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: /tmp/registry-{port}}}}}\nhttp: {{addr: 'localhost:{port}'}}\n{access}"
            );
            let command = [
                "sh",
                "-c",
                START_REGISTRY,
                "sh",
                &program,
                port,
                &config,
                USERS,
            ];
            succeeded(self.exec(&command));
        }
    }
}

/// The images of VS Code and of the terminal, by digest; none where nobody says which they are.
pub(crate) fn editor_images() -> Option<[String; 2]> {
    static IMAGES: LazyLock<Option<[String; 2]>> = LazyLock::new(|| {
        let named = ["E2E_VSCODE_IMAGE", "E2E_TERMINAL_IMAGE"].map(std::env::var);
        if let [Ok(vscode), Ok(terminal)] = named {
            return Some([vscode, terminal]);
        }
        let images = OwnNode::here()?.put_images(&["editor-vscode", "editor-terminal"]);
        images.try_into().ok()
    });
    IMAGES.clone()
}

fn tool(arguments: &[&str]) -> Output {
    Command::new(TOOL).args(arguments).output().unwrap()
}

fn succeeded(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}
