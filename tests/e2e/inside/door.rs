//! Who asks the first process of a workspace, and gets nothing.

use serde_json::{Value, json};

use super::Room;
use crate::harness::{Cluster, INSTALLATION, OwnNode, debian_image};

const PORT: u16 = 60003;

/// Asks $1 with a certificate of $2 and its key in $3, if any. The answer is printed.
const ASK: &str = r#"
printf '{"request":"Inspect"}\n' |
  timeout 20 openssl s_client -quiet -connect "$1" ${2:+-cert "$2" -key "$3"} 2>/dev/null || true
"#;

/// A certificate that says of itself what the controller's says.
const FORGE: &str = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=controller -addext subjectAltName=URI:workstead://controller -addext extendedKeyUsage=clientAuth -keyout /projects/forged.key -out /projects/forged.crt 2>/dev/null";

#[tokio::test]
#[ignore = "needs the node"]
async fn without_the_right_certificate_nobody_gets_an_answer_not_even_from_inside() {
    let cluster = Cluster::connect().await;
    let room = Room::new(&cluster, "door").await;
    let image = debian_image();
    let more = || json!({"postStart": [{"name": "hello", "run": "true"}]});
    cluster.apply_all(vec![
        room.workspace("asked", &image, more()),
        room.workspace("neighbour", &image, more()),
    ]);
    room.until_ready("asked").await;
    room.until_ready("neighbour").await;
    let pod = cluster.pods(&room.namespace, "asked").await.remove(0);
    let address = pod.status.unwrap().pod_ip.unwrap();
    let address = if address.contains(':') {
        format!("[{address}]")
    } else {
        address
    };
    let ask = |from: &str, address: &str, certificate: &str, key: &str| {
        let target = format!("{address}:{PORT}");
        let command = ["sh", "-c", ASK, "sh", &target, certificate, key];
        room.run(from, &command, "").success()
    };
    let own = "/run/workstead/supervisor/tls";
    for (from, address) in [("asked", "127.0.0.1"), ("neighbour", address.as_str())] {
        room.exec(from, FORGE);
        let asked = |certificate: &str, key: &str| ask(from, address, certificate, key);
        assert_eq!(asked("", ""), "", "{from}, without a certificate");
        let forged = asked("/projects/forged.crt", "/projects/forged.key");
        assert_eq!(forged, "", "{from}, with a certificate of its own making");
        // Every user of the workspace can read the key of its first process.
        let servers = asked(&format!("{own}.crt"), &format!("{own}.key"));
        assert_eq!(servers, "", "{from}, with the key of a first process");
        let plain = format!(
            "printf '{{\"request\":\"Inspect\"}}\\n' | timeout 20 busybox nc {address} {PORT} | grep -ac steps || true"
        );
        assert_eq!(room.exec(from, &plain).trim(), "0", "{from}, without TLS");
    }
    // The kubelet's question is anybody's to ask, and tells nothing.
    let ready = "curl --silent --write-out '%{http_code}' http://127.0.0.1:60004/";
    assert_eq!(room.exec("asked", &format!("{ready}ready")), "200");
    assert!(!room.exec("asked", ready).contains("200"));

    // It is the certificate that decides, and not the place: who has the proxy's gets an answer from there, too.
    let secret = "secret/workstead-proxy-client";
    let secret = cluster.kubectl(&["get", secret, "-n", INSTALLATION, "-o", "json"]);
    let secret: Value = serde_json::from_str(&secret).unwrap();
    let mut places = vec![("asked", "127.0.0.1")];
    // Elsewhere a network policy may keep neighbours apart.
    if OwnNode::here().is_some() {
        places.push(("neighbour", address.as_str()));
    }
    for (from, address) in places {
        for key in ["tls.crt", "tls.key"] {
            let text = secret["data"][key].as_str().unwrap();
            let store = format!("base64 -d >/projects/proxy-{key}");
            room.run(from, &["sh", "-c", &store], text).success();
        }
        let (certificate, key) = ("/projects/proxy-tls.crt", "/projects/proxy-tls.key");
        let answer = ask(from, address, certificate, key);
        let report: Value = serde_json::from_str(answer.lines().next().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        assert!(report["steps"].is_array(), "{report}");
    }
    room.leave(&[]).await;
}
