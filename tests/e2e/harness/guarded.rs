//! A Git server that asks who is there: HTTP and HTTPS for a user with a password, ssh for a key. It has many names, so
//! that each test case has a host of its own.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::Cluster;

/// Who may come in.
pub(crate) const USER: &str = "kim";

/// What is in the one file of its one repository.
pub(crate) const TEXT: &str = "from the guarded server";

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Http,
    Https,
    Ssh,
}

/// The server, in a namespace of a test, and the keys to it.
pub(crate) struct Guarded {
    namespace: String,
    /// The right password.
    pub(crate) password: String,
    /// The authority that signed its certificate.
    pub(crate) authority: String,
    /// The right private key.
    pub(crate) identity: String,
    host_key: String,
}

impl Guarded {
    /// Starts it under names of the namespace.
    pub(crate) fn start(
        cluster: &Cluster,
        namespace: &str,
        names: &[&str],
        password: &str,
    ) -> Self {
        let (authority, certificate) = certificate(namespace, names);
        let (host_key, identity) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let keys = json!({
            "users": format!("{USER}:{password}\n"),
            "tls.pem": certificate,
            "host_key": host_key.serialize_pem(),
            "authorized_keys": format!("{} {USER}\n", ssh_line(&identity)),
        });
        let image = cluster.kubectl(&[
            "get",
            "deployment/git-server",
            "-n",
            "workstead-git",
            "-o",
            "jsonpath={.spec.template.spec.containers[0].image}",
        ]);
        let mut objects = vec![
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "server-keys", "namespace": namespace}, "stringData": keys}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "server-seed", "namespace": namespace}, "data": {"README": TEXT}}),
            pod(namespace, &image),
        ];
        objects.extend(names.iter().map(|name| {
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": {"app": "guarded"}, "ports": [
                    {"name": "http", "port": 80, "targetPort": 8080},
                    {"name": "https", "port": 443, "targetPort": 8443},
                    {"name": "ssh", "port": 22, "targetPort": 2222},
                ]},
            })
        }));
        cluster.apply_all(objects);
        let wait = ["wait", "pod/guarded", "-n", namespace];
        cluster.kubectl(&[&wait[..], &["--for=condition=Ready", "--timeout=90s"]].concat());
        Self {
            namespace: namespace.to_owned(),
            password: password.to_owned(),
            authority,
            identity: identity.serialize_pem(),
            host_key: ssh_line(&host_key),
        }
    }

    /// One of its hosts.
    pub(crate) fn host(&self, name: &str) -> String {
        format!("{name}.{}.svc", self.namespace)
    }

    /// Its repository, by one of its names.
    pub(crate) fn url(&self, name: &str, way: Way) -> String {
        let host = self.host(name);
        match way {
            Way::Http => format!("http://{host}/demo.git"),
            Way::Https => format!("https://{host}/demo.git"),
            Way::Ssh => format!("ssh://git@{host}/srv/git/demo.git"),
        }
    }

    /// A line of known_hosts for one of its names.
    pub(crate) fn known_hosts(&self, name: &str) -> String {
        format!("{} {}\n", self.host(name), self.host_key)
    }

    /// Everything that lets a workspace in by one of the names.
    pub(crate) fn right(&self, name: &str) -> Value {
        json!({
            "username": USER, "password": self.password, "ca.crt": self.authority,
            "identity": self.identity, "known_hosts": self.known_hosts(name),
        })
    }

    /// A Secret with Git credentials for one of the names, perhaps of an owner.
    pub(crate) fn secret(
        &self,
        secret: &str,
        name: &str,
        owner: Option<&str>,
        data: Value,
    ) -> Value {
        let mut annotations = json!({"workstead.dev/hosts": self.host(name)});
        if let Some(owner) = owner {
            annotations["workstead.dev/owner"] = owner.into();
        }
        json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": data,
            "metadata": {
                "name": secret, "namespace": self.namespace, "annotations": annotations,
                "labels": {"workstead.dev/use": "git-credentials"},
            },
        })
    }
}

/// A private key that opens nothing.
pub(crate) fn stray_key() -> String {
    KeyPair::generate().unwrap().serialize_pem()
}

/// The certificate of an authority, and one with its key that the authority signed for the names.
fn certificate(namespace: &str, names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("{name}.{namespace}.svc"))
        .collect();
    let key = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(names).unwrap();
    let signed = signed.signed_by(&key, &issuer).unwrap().pem();
    (authority, format!("{signed}{}", key.serialize_pem()))
}

/// A public key as ssh writes it: its kind, its curve and its point, each with its length in front.
fn ssh_line(key: &KeyPair) -> String {
    const KIND: &str = "ecdsa-sha2-nistp256";
    let mut blob = Vec::new();
    for part in [KIND.as_bytes(), b"nistp256", key.public_key_raw()] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    format!("{KIND} {}", BASE64_STANDARD.encode(blob))
}

fn pod(namespace: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "guarded", "namespace": namespace, "labels": {"app": "guarded"}},
        "spec": {
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 10001, "runAsGroup": 0, "fsGroup": 0,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "git", "image": image, "imagePullPolicy": "IfNotPresent",
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "keys", "mountPath": "/run/git-server", "readOnly": true},
                    {"name": "seed", "mountPath": "/seed/demo", "readOnly": true},
                    {"name": "repositories", "mountPath": "/srv/git"},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }],
            "volumes": [
                {"name": "keys", "secret": {"secretName": "server-keys", "defaultMode": 0o440}},
                {"name": "seed", "configMap": {"name": "server-seed"}},
                {"name": "repositories", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    })
}
