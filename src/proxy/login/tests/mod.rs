//! The login as browsers see it, step by step.

mod flow;
mod link;
mod sign_out;

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use http::{Method, StatusCode, header};
use jiff::Timestamp;

use crate::model::clock::Clock;
use crate::model::names::DnsSubdomain;
use crate::proxy::door::{Answer, Client, Request};
use crate::proxy::host::{RequestHost, Scheme, Site};
use crate::proxy::login::outside::{Directory, EffectError, Effects, LogRecord, Place, Use};
use crate::proxy::login::{Login, Means, Parts, Rates};
use crate::proxy::session::revocation::{self, Entry};
use crate::proxy::session::tests::{Counting, Lines, at, mk_keys};
use crate::proxy::session::{Epochs, Look, Sessions};

/// The workspace of the tests.
pub const UID: &str = "11111111-1111-4111-8111-111111111111";

/// What replicas share: entries, used links, workspaces.
pub struct Shared {
    pub uid: Mutex<String>,
    data: Mutex<BTreeMap<String, String>>,
    used: Mutex<HashSet<String>>,
    pub is_fresh: Mutex<bool>,
    pub now: Mutex<Timestamp>,
    /// Whether writes fail.
    pub is_down: Mutex<bool>,
}

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }
}

impl Directory for Shared {
    fn workspace(&self, host: &RequestHost) -> Option<Place> {
        let name = host.name.split('.').next()?;
        let known = ["api", "3000-api"].contains(&name);
        known.then(|| Place {
            uid: self.uid.lock().unwrap().clone(),
            owner: "alice@example.com".to_owned(),
            groups: vec!["team-a".to_owned()],
        })
    }

    fn names_group(&self, group: &str) -> bool {
        group == "team-a"
    }

    fn is_fresh(&self) -> bool {
        *self.is_fresh.lock().unwrap()
    }

    fn epochs(&self) -> Arc<Epochs> {
        Arc::new(Epochs::parse(&self.data.lock().unwrap()))
    }
}

impl Effects for Shared {
    fn use_link<'a>(
        &'a self,
        digest: &'a str,
        _until: Timestamp,
    ) -> BoxFuture<'a, Result<Use, EffectError>> {
        Box::pin(async move {
            let new = self.used.lock().unwrap().insert(digest.to_owned());
            Ok(if new { Use::First } else { Use::Again })
        })
    }

    fn revoke<'a>(&'a self, entries: &'a [Entry]) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(async move {
            if *self.is_down.lock().unwrap() {
                return Err(EffectError::Revocations("down".to_owned()));
            }
            let mut data = self.data.lock().unwrap();
            for entry in entries {
                *data = revocation::with(&data, entry, self.now()).unwrap();
            }
            Ok(())
        })
    }
}

/// An installation of one replica, or of two that share what replicas share.
pub struct World {
    pub shared: Arc<Shared>,
    pub site: Site,
    pub sessions: Arc<Sessions>,
    pub login: Login,
    client: Client,
}

impl World {
    /// The one of this machine.
    pub fn local() -> Self {
        let shared = Arc::new(Shared {
            uid: Mutex::new(UID.to_owned()),
            data: Mutex::default(),
            used: Mutex::default(),
            is_fresh: Mutex::new(true),
            now: Mutex::new(at(0)),
            is_down: Mutex::new(false),
        });
        Self::replica(shared, 120)
    }

    /// One more replica of it.
    pub fn replica(shared: Arc<Shared>, per_minute: u32) -> Self {
        let rates = Rates {
            per_address: per_minute,
            per_user: per_minute,
        };
        Self::with_rates(shared, rates)
    }

    /// One where addresses and people get so many logins.
    pub fn with_rates(shared: Arc<Shared>, rates: Rates) -> Self {
        let name = |text: &str| DnsSubdomain::new(text).unwrap();
        let (domain, auth_host) = (name("ws.localhost"), name("auth.ws.localhost"));
        let site = Site::new(&domain, &auth_host, Scheme::Http, Some(8000)).unwrap();
        let sessions = Arc::new(Sessions::new(mk_keys(), site.auth_host()));
        let login = Login::new(Parts {
            site: site.clone(),
            sessions: Arc::clone(&sessions),
            means: Means::Link,
            directory: shared.clone(),
            effects: shared.clone(),
            record: Arc::new(LogRecord),
            clock: shared.clone(),
            entropy: Arc::new(Counting::default()),
            rates,
        });
        Self {
            shared,
            site,
            sessions,
            login,
            client: Client {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                is_tls: false,
                is_insecure_local: true,
                version: "1.1",
            },
        }
    }

    pub fn pass(&self, seconds: i64) {
        let mut now = self.shared.now.lock().unwrap();
        *now += jiff::SignedDuration::from_secs(seconds);
    }

    /// Answers a request as the door would.
    pub async fn answer(&self, ask: &Ask) -> Answer {
        let (host, target) = split(&ask.address);
        let host = self.site.parse(host.as_bytes()).unwrap();
        let client = Client {
            is_insecure_local: ask.is_local,
            ..self.client.clone()
        };
        let request = Request {
            method: &ask.method,
            target,
            host: &host,
            fields: &ask.lines,
            is_websocket: false,
            body_length: None,
            body: ask.body.as_bytes(),
            client: &client,
        };
        if host.name == self.site.auth_host() {
            return self.login.auth_host(&request).await;
        }
        let place = self.shared.workspace(&host).unwrap();
        let epochs = self.shared.epochs();
        let look = self.sessions.look(
            &ask.lines,
            &host.name,
            &place.uid,
            &epochs,
            self.shared.now(),
        );
        let signed_in = match &look {
            Look::Valid(signed_in) => Some(Arc::clone(signed_in)),
            _ => None,
        };
        if Login::owns(request.path()) {
            return self
                .login
                .reserved(&request, &place, signed_in.as_deref())
                .await;
        }
        match signed_in {
            Some(signed_in) => {
                let mut answer = Answer::new(signed_in.subject().to_owned().into());
                *answer.status_mut() = StatusCode::OK;
                answer
            }
            None => self.login.begin(&request, &look),
        }
    }

    pub fn link(&self) -> String {
        let ring = self.sessions.keys().load();
        // Each link has a name of its own.
        let entropy = crate::proxy::session::entropy::SystemEntropy;
        crate::proxy::login::link::mint_link(
            &ring,
            &self.site,
            "api.ws.localhost",
            "alice@example.com",
            self.shared.now(),
            &entropy,
        )
        .unwrap()
    }
}

fn split(address: &str) -> (&str, &str) {
    let rest = address.strip_prefix("http://").unwrap();
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

/// A request of a test.
pub struct Ask {
    pub method: Method,
    pub address: String,
    pub lines: Lines,
    pub body: &'static str,
    pub is_local: bool,
}

impl Ask {
    pub fn navigate(address: &str) -> Self {
        let lines = Lines::default()
            .with("Sec-Fetch-Mode", "navigate")
            .with("Sec-Fetch-Dest", "document");
        Self::bare(address, lines)
    }

    pub fn bare(address: &str, lines: Lines) -> Self {
        Self {
            method: Method::GET,
            address: address.to_owned(),
            lines,
            body: "",
            is_local: true,
        }
    }

    pub fn press(address: &str, body: &'static str) -> Self {
        let mut ask = Self::navigate(address);
        ask.method = Method::POST;
        ask.body = body;
        ask.lines = ask
            .lines
            .with("Sec-Fetch-Site", "same-origin")
            .with("Sec-Fetch-User", "?1");
        ask
    }
}

/// A browser: keeps cookies by host, and goes where it is sent.
#[derive(Default)]
pub struct Browser {
    jar: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    /// One request, with the cookies of its host. What the answer sets is kept.
    pub async fn ask(&mut self, world: &World, mut ask: Ask) -> Answer {
        let host = split(&ask.address).0.split(':').next().unwrap().to_owned();
        let jar = self.jar.entry(host).or_default();
        if !jar.is_empty() {
            let pairs: Vec<String> = jar.iter().map(|(n, v)| format!("{n}={v}")).collect();
            ask.lines = ask.lines.with("Cookie", pairs.join("; "));
        }
        let answer = world.answer(&ask).await;
        for line in answer.headers().get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            assert!(line.contains("; Secure; HttpOnly; SameSite=Lax"), "{line}");
            assert!(!line.contains("Domain"), "{line}");
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if line.contains("Max-Age=0;") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// A page, over all redirects. Gives the addresses on the way and the last answer.
    pub async fn open(&mut self, world: &World, address: &str) -> (Vec<String>, Answer) {
        let mut way = vec![address.to_owned()];
        for _ in 0..10 {
            let answer = self.ask(world, Ask::navigate(&way[way.len() - 1])).await;
            if answer.status() != StatusCode::SEE_OTHER {
                return (way, answer);
            }
            way.push(location(&answer));
        }
        panic!("sent round and round: {way:#?}");
    }

    pub fn cookies(&self, host: &str) -> Vec<&str> {
        let jar = self.jar.get(host);
        jar.map_or(Vec::new(), |jar| jar.keys().map(String::as_str).collect())
    }

    pub fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        Some(self.jar.get(host)?.get(name)?.as_str())
    }
}

pub fn location(answer: &Answer) -> String {
    answer.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned()
}

pub fn body(answer: &Answer) -> &str {
    std::str::from_utf8(answer.body()).unwrap()
}
