//! How people of the browser's scenes get in: by links, or at the identity provider of `up --oidc`, whichever the proxy under
//! test is set up for.

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::link_for;
use crate::harness::{Cluster, INSTALLATION};
use crate::inside::{Room, is_ready, status};

/// Below it are the auth host and the provider, always.
const LOCAL_DOMAIN: &str = "workstead.localhost";

/// The identity provider that `up --oidc` installs.
struct Provider {
    password: String,
    /// Who vouches for it, and for the proxy.
    authority: NamedTempFile,
}

/// The way in.
pub(super) struct Entrance<'a> {
    cluster: &'a Cluster,
    provider: Option<Provider>,
}

impl<'a> Entrance<'a> {
    /// That of the proxy as it is now.
    pub(super) fn find(cluster: &'a Cluster) -> Self {
        let provider = Provider::find(cluster);
        Self { cluster, provider }
    }

    /// Whether people sign in at a provider.
    pub(super) fn has_provider(&self) -> bool {
        self.provider.is_some()
    }

    /// Somebody with a first name. The provider has two people; links sign in whoever is named, and a person for each test
    /// is nobody else's session.
    pub(super) fn person(&self, room: &Room<'_>, name: &str) -> String {
        match self.provider {
            Some(_) => format!("{name}@example.com"),
            None => format!("{name}.{}@example.com", room.namespace),
        }
    }

    /// How somebody gets to a workspace.
    pub(super) fn way(&self, room: &Room<'_>, name: &str, url: &str, user: &str) -> Value {
        match &self.provider {
            Some(provider) => json!({"url": url, "email": user, "password": provider.password}),
            None => {
                json!({"url": url, "link": link_for(self.cluster, &room.namespace, name, user)})
            }
        }
    }

    /// What every scene is told, and this.
    pub(super) fn arguments(&self, url: &str, more: Value) -> Value {
        let domain = domain(url);
        let mut arguments = json!({
            "domains": [LOCAL_DOMAIN, domain],
            // A single label below a public suffix is a site of its own.
            "oneParent": domain == LOCAL_DOMAIN,
            "pictures": std::env::var("E2E_PICTURES").ok(),
            "authority": self.provider.as_ref().map(|provider| provider.authority.path()),
        });
        let more = more.as_object().unwrap().clone();
        arguments.as_object_mut().unwrap().extend(more);
        arguments
    }
}

impl Provider {
    fn find(cluster: &Cluster) -> Option<Self> {
        let get = |namespace: &str, what: &str, entry: &str| {
            let path = format!("jsonpath={{.data.{entry}}}");
            let command = [
                "get",
                "-n",
                namespace,
                what,
                "--ignore-not-found",
                "-o",
                &path,
            ];
            let found = cluster.kubectl(&command);
            (!found.is_empty()).then_some(found)
        };
        let authority = get(INSTALLATION, "configmap/workstead-oidc-ca", r"ca\.crt")?;
        let settings = get("workstead-id", "secret/provider", r"settings\.json")?;
        let settings = base64::engine::general_purpose::STANDARD
            .decode(settings)
            .unwrap();
        let settings: Value = serde_json::from_slice(&settings).unwrap();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority).unwrap();
        Some(Self {
            password: settings["password"].as_str().unwrap().to_owned(),
            authority: file,
        })
    }
}

/// Waits until a workspace has opened its editor, and gives its address.
pub(super) async fn until_open(room: &Room<'_>, name: &str) -> String {
    let open = |w: &_| is_ready(w) && crate::inside::has(w, "EditorReady", "True");
    let workspace = room.until(name, "to open its editor", open).await;
    format!("{}/", status(&workspace).url.as_deref().unwrap())
}

/// The address of a port, beside that of the workspace.
pub(super) fn port_of(url: &str, port: u16) -> String {
    url.replacen("://", &format!("://{port}-"), 1)
}

fn domain(url: &str) -> &str {
    let host = url.split("://").nth(1).unwrap().split([':', '/']).next();
    host.unwrap().split_once('.').unwrap().1
}
