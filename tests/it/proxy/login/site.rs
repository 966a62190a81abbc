//! An installation with a provider, as far as logins go: one workspace, one replica, browsers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use http::{Method, StatusCode, header};
use jiff::Timestamp;
use workstead::controllers::clock::SystemClock;
use workstead::model::clock::Clock;
use workstead::model::keyring::KeyRing;
use workstead::model::names::DnsSubdomain;
use workstead::proxy::config::{ClientSecret, Issuer, Oidc};
use workstead::proxy::door::{Answer, Client, Fields, Request};
use workstead::proxy::host::{RequestHost, Scheme, Site};
use workstead::proxy::login::oidc::Provider;
use workstead::proxy::login::outside::{Directory, EffectError, Effects, LogRecord, Place, Use};
use workstead::proxy::login::{Login, Means, Parts, Rates};
use workstead::proxy::session::entropy::SystemEntropy;
use workstead::proxy::session::revocation::{Entry, with};
use workstead::proxy::session::{Epochs, Keys, Look, Sessions, SignedIn};
use zeroize::Zeroizing;

pub const HOST: &str = "api.ws.example.com";
pub const AUTH: &str = "login.example.net";
pub const CALLBACK: &str = "https://login.example.net/.workstead-proxy/oidc/callback";

/// What is known and written, in memory.
#[derive(Default)]
pub struct Memory {
    pub data: Mutex<BTreeMap<String, String>>,
    /// By how much the clock is ahead, in seconds.
    pub ahead: Mutex<i64>,
}

impl Clock for Memory {
    fn now(&self) -> Timestamp {
        SystemClock.now() + jiff::SignedDuration::from_secs(*self.ahead.lock().unwrap())
    }
}

impl Directory for Memory {
    fn workspace(&self, host: &RequestHost) -> Option<Place> {
        (host.name == HOST).then(|| Place {
            uid: "uid".to_owned(),
            owner: "alice@example.com".to_owned(),
            groups: vec!["team-b".to_owned(), "team-c".to_owned()],
        })
    }

    fn names_group(&self, group: &str) -> bool {
        group == "team-b"
    }

    fn is_fresh(&self) -> bool {
        true
    }

    fn epochs(&self) -> Arc<Epochs> {
        Arc::new(Epochs::parse(&self.data.lock().unwrap()))
    }
}

impl Effects for Memory {
    fn use_link<'a>(
        &'a self,
        _digest: &'a str,
        _until: Timestamp,
    ) -> BoxFuture<'a, Result<Use, EffectError>> {
        Box::pin(async { Ok(Use::Again) })
    }

    fn revoke<'a>(&'a self, entries: &'a [Entry]) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(async move {
            let mut data = self.data.lock().unwrap();
            for entry in entries {
                *data = with(&data, entry, self.now()).unwrap();
            }
            Ok(())
        })
    }
}

/// The installation.
pub struct World {
    pub memory: Arc<Memory>,
    pub site: Site,
    pub sessions: Sessions,
    pub login: Login,
    pub provider: Arc<Provider>,
}

pub fn mk_oidc(issuer: &str, secret: Option<&str>) -> Oidc {
    Oidc {
        issuer: Issuer::new(issuer).unwrap(),
        client_id: "workstead".to_owned(),
        client_secret: secret.and_then(|text| ClientSecret::new(Zeroizing::new(text.to_owned()))),
        scopes: ["openid", "email", "profile", "groups"]
            .map(str::to_owned)
            .to_vec(),
        identity_claim: "email".to_owned(),
        groups_claim: "groups".to_owned(),
        assume_s256: false,
        authorities: None,
    }
}

impl World {
    pub fn new(oidc: Oidc) -> Self {
        let memory = Arc::new(Memory::default());
        let name = |text: &str| DnsSubdomain::new(text).unwrap();
        let site = Site::new(&name("ws.example.com"), &name(AUTH), Scheme::Https, None).unwrap();
        let now = memory.now();
        let keys = Keys::new(&KeyRing::generate(now, &SystemEntropy)).unwrap();
        let keys = Arc::new(keys);
        let provider = Arc::new(Provider::new(oidc, None, memory.clone()).unwrap());
        let login = Login::new(Parts {
            site: site.clone(),
            sessions: Arc::new(Sessions::new(Arc::clone(&keys), AUTH)),
            means: Means::Provider(Arc::clone(&provider)),
            directory: memory.clone(),
            effects: memory.clone(),
            record: Arc::new(LogRecord),
            clock: memory.clone(),
            entropy: Arc::new(SystemEntropy),
            rates: Rates {
                per_address: 1000,
                per_user: 1000,
            },
        });
        Self {
            memory,
            site,
            sessions: Sessions::new(keys, AUTH),
            login,
            provider,
        }
    }

    pub async fn answer(&self, method: Method, address: &str, lines: &Lines, body: &str) -> Answer {
        let rest = address.strip_prefix("https://").unwrap();
        let (host, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let target = if target.is_empty() { "/" } else { target };
        let host = self.site.parse(host.as_bytes()).unwrap();
        let client = Client {
            address: IpAddr::from([192, 0, 2, 1]),
            is_tls: true,
            is_insecure_local: false,
            version: "2",
        };
        let request = Request {
            method: &method,
            target,
            host: &host,
            fields: lines,
            is_websocket: false,
            body_length: None,
            body: body.as_bytes(),
            client: &client,
        };
        if host.name == AUTH {
            return self.login.auth_host(&request).await;
        }
        let look = self.look(lines);
        let signed_in = match &look {
            Look::Valid(signed_in) => Some(Arc::clone(signed_in)),
            _ => None,
        };
        if Login::owns(request.path()) {
            let place = self.memory.workspace(&host).unwrap();
            return self
                .login
                .reserved(&request, &place, signed_in.as_deref())
                .await;
        }
        if signed_in.is_some() {
            return Answer::default();
        }
        self.login.begin(&request, &look)
    }

    fn look(&self, lines: &Lines) -> Look {
        let (epochs, now) = (self.memory.epochs(), self.memory.now());
        self.sessions.look(lines, HOST, "uid", &epochs, now)
    }
}

/// Header lines.
#[derive(Clone, Default)]
pub struct Lines(pub Vec<(&'static str, String)>);

impl Fields for Lines {
    fn each<'a>(&'a self, name: &str, call: &mut dyn FnMut(&'a [u8])) {
        for (field, value) in &self.0 {
            if *field == name {
                call(value.as_bytes());
            }
        }
    }
}

/// A browser, on our hosts.
#[derive(Default)]
pub struct Browser(BTreeMap<String, BTreeMap<String, String>>);

impl Browser {
    pub async fn navigate(&mut self, world: &World, address: &str) -> Answer {
        self.send(world, Method::GET, address, "").await
    }

    pub async fn press(&mut self, world: &World, address: &str, body: &str) -> Answer {
        self.send(world, Method::POST, address, body).await
    }

    async fn send(&mut self, world: &World, method: Method, address: &str, body: &str) -> Answer {
        let host = address.split('/').nth(2).unwrap().to_owned();
        let jar = self.0.entry(host).or_default();
        let pairs: Vec<String> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let lines = Lines(vec![
            ("sec-fetch-mode", "navigate".to_owned()),
            ("sec-fetch-dest", "document".to_owned()),
            ("sec-fetch-site", "same-origin".to_owned()),
            ("sec-fetch-user", "?1".to_owned()),
            ("cookie", pairs.join("; ")),
        ]);
        let answer = world.answer(method, address, &lines, body).await;
        for line in answer.headers().get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            assert!(line.len() <= 4096, "browsers would drop it");
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().to_owned();
            jar.insert(name.to_owned(), value.clone());
            if value.is_empty() {
                jar.remove(name);
            }
        }
        answer
    }

    /// Follows our own redirects; gives the first answer that is none, or the address elsewhere.
    pub async fn follow(&mut self, world: &World, address: &str) -> Result<Answer, String> {
        let mut address = address.to_owned();
        for _ in 0..10 {
            let answer = self.navigate(world, &address).await;
            if answer.status() != StatusCode::SEE_OTHER {
                return Ok(answer);
            }
            address = location(&answer);
            if !address.starts_with("https://") {
                return Err(address);
            }
        }
        panic!("sent round and round at {address}")
    }

    pub fn cookies(&self, host: &str) -> Vec<&str> {
        let jar = self.0.get(host);
        jar.map_or(Vec::new(), |jar| jar.keys().map(String::as_str).collect())
    }

    /// Who the workspace takes this browser for.
    pub fn signed_in(&self, world: &World) -> Option<Arc<SignedIn>> {
        let value = self.0.get(HOST)?.get("__Host-wsd")?;
        let lines = Lines(vec![("cookie", format!("__Host-wsd={value}"))]);
        match world.look(&lines) {
            Look::Valid(signed_in) => Some(signed_in),
            _ => None,
        }
    }
}

pub fn location(answer: &Answer) -> String {
    answer.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned()
}
