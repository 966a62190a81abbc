//! Somebody who is signed in on one host.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use workstead::model::keyring::KeyRing;
use workstead::proxy::session::claims::{Login, TICKET_LIFE, TicketClaims};
use workstead::proxy::session::{Keys, Sessions};

use crate::program::workstead;

// The same person as in the tests on the node; not all that it can do is done here.
#[allow(dead_code)]
#[path = "../../../tests/e2e/harness/person.rs"]
mod person;

pub(crate) use person::{Page, Person};

/// The session of one.
#[derive(Clone)]
pub(crate) struct Visitor {
    /// Scheme, host and port.
    pub(crate) origin: String,
    /// The host alone.
    pub(crate) host: String,
    /// What stands behind `Cookie:`.
    pub(crate) cookie: String,
}

impl Visitor {
    /// Host and port, as `Host:` names them.
    pub(crate) fn authority(&self) -> &str {
        self.origin.split_once("://").unwrap().1
    }

    /// The session that a person has at an origin.
    pub(crate) fn of(person: &Person, origin: &str) -> Self {
        let authority = origin.split_once("://").unwrap().1;
        let host = authority.split(':').next().unwrap();
        let cookies = person.cookies_of(host);
        let cookies: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Self {
            origin: origin.to_owned(),
            host: host.to_owned(),
            cookie: cookies.join("; "),
        }
    }
}

/// A link that signs the owner of a workspace in; none where it has no address yet.
pub(crate) fn link(kubeconfig: &Path, arguments: &[&str]) -> Option<String> {
    let output = workstead()
        .arg("open")
        .args(arguments)
        .args(["--print", "--kubeconfig"])
        .arg(kubeconfig)
        .output()
        .unwrap();
    let link = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| link.trim().to_owned())
}

/// Follows a link as a browser does; gives the last page, and the session on its host.
pub(crate) fn follow(link: &str) -> (Page, Visitor) {
    let mut person = Person::default();
    let page = person.visit(link);
    let visitor = Visitor::of(&person, origin_of(&page.url));
    (page, visitor)
}

/// Scheme, host and port of an address.
pub(crate) fn origin_of(url: &str) -> &str {
    let (scheme, rest) = url.split_once("://").unwrap();
    let authority = rest.split('/').next().unwrap();
    &url[..scheme.len() + 3 + authority.len()]
}

/// A session on a host of the listener by TLS, as the ticket of a login opens it. Where people sign in at a provider no
/// link does; who has the key ring may make what the provider's word would.
pub(crate) fn session(
    ring: &[u8],
    origin: &str,
    auth_host: &str,
    uid: &str,
    user: &str,
) -> Visitor {
    let authority = origin.split_once("://").unwrap().1;
    let host = authority.split(':').next().unwrap();
    let keys = Keys::new(&KeyRing::parse(ring).unwrap()).unwrap();
    let now = Timestamp::now();
    let at = now.as_second();
    let ticket = TicketClaims {
        iss: auth_host.to_owned(),
        aud: host.to_owned(),
        ws_uid: uid.to_owned(),
        nonce: String::new(),
        path: "/".to_owned(),
        who: Login {
            sub: user.to_owned(),
            sid: format!("bench-{}", rand::random::<u64>()),
            op_sid: None,
            op_sub: None,
            auth_time: at,
            grp_at: at,
        },
        grp: Vec::new(),
        iat: at,
        exp: at + TICKET_LIFE,
    };
    let sessions = Sessions::new(Arc::new(keys), auth_host);
    let line = sessions.open(ticket, now).unwrap();
    let line = line.to_str().unwrap();
    Visitor {
        origin: origin.to_owned(),
        host: host.to_owned(),
        cookie: line.split(';').next().unwrap().to_owned(),
    }
}
