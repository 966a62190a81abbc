//! Registries on the node itself, for pulls that fail: one that is empty, one that wants credentials.

use std::process::{Command, Stdio};

/// One user, whose password nobody here sends.
const USERS: &str = "somebody:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

/// Puts an image on the node that no runtime can make a workspace of, and gives its name.
pub(crate) fn unmountable_image() -> String {
    let cluster = std::env::var("E2E_CLUSTER")
        .expect("an image that is in no registry has to be put on the node, and it is not ours");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/unmountable-image");
    let status = Command::new(script)
        .arg(cluster)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the image was not put on the node");
    "localhost/workstead-unmountable:dev".to_owned()
}

/// Starts both, unless they run: `localhost:5000` has no images, `localhost:5001` asks who you are.
///
/// The node has a network of its own, and what runs in it ends with it.
pub(crate) fn start_registries() {
    let cluster = std::env::var("E2E_CLUSTER")
        .expect("pulls that fail need a registry on the node, and this cluster is not ours");
    for (port, access) in [
        (5000, ""),
        (
            5001,
            "auth: {htpasswd: {realm: test, path: /tmp/registry-users}}\n",
        ),
    ] {
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: /tmp/registry-{port}}}}}\nhttp: {{addr: 'localhost:{port}'}}\n{access}"
        );
        let script = format!(
            "printf '%s' '{USERS}' > /tmp/registry-users; \
             ss -Hltn 'sport = :{port}' | grep -q . && exit 0; \
             printf '%s' \"$CONFIG\" > /tmp/registry-{port}.yml; \
             setsid docker-registry serve /tmp/registry-{port}.yml >/tmp/registry-{port}.log 2>&1 &"
        );
        let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/cluster/cluster");
        let status = Command::new(tool)
            .args(["exec", &cluster, "sh", "-c", &script])
            .env("CONFIG", config)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(
            status.success(),
            "the registry on port {port} did not start"
        );
    }
}
