//! Requests that a page of somebody else made, with the cookies of a user who does not know of it.
//!
//! Every workspace is a sibling of every other one below the same domain, so `SameSite` keeps none of them out. What counts
//! is what browsers say of where a request comes from, in headers that no page can set: `Sec-Fetch-Site` and `Origin`, and
//! `Referer` where there is neither. Never `Sec-Fetch-Mode` alone, which says how and not who.

use http::Method;

use crate::api::access::{Cors, Visibility};
use crate::model::access::Port;
use crate::proxy::door::{Navigation, Request};
use crate::proxy::host::{Site, Target};
use crate::proxy::route::table::{Route, Routes};

/// Where a request goes, for this question.
pub struct Context<'a> {
    /// Our names.
    pub site: &'a Site,
    /// All workspaces.
    pub routes: &'a Routes,
    /// The workspace.
    pub route: &'a Route,
    /// The port that the host stands for.
    pub port: Option<u16>,
}

/// Why a request is refused: it was made by somebody else's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// A WebSocket.
    #[error("another origin opens a WebSocket with cookies of this one")]
    WebSocket,
    /// Something that changes something.
    #[error("another origin sends an unsafe request with cookies of this one")]
    Unsafe,
    /// A part of a page, or a frame.
    #[error("another origin embeds something of this one")]
    Embedded,
    /// A page that a service worker asks for: a window may show it, and a frame may not.
    #[error("another origin leads here, and a service worker hides whether into a frame")]
    Repeated,
    /// What the browser says contradicts itself.
    #[error("the headers that say where the request comes from contradict each other")]
    Contradiction,
}

impl Foreign {
    /// For counters and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::WebSocket => "foreign_websocket",
            Self::Unsafe => "foreign_unsafe",
            Self::Embedded => "foreign_embedded",
            Self::Repeated => "foreign_repeated",
            Self::Contradiction => "foreign_contradiction",
        }
    }
}

/// What becomes of a preflight, which carries no cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// The program answers it. Nothing says who asks.
    Forward,
    /// We refuse, without any `Access-Control` header.
    Refuse,
}

/// Who made a request, as far as the browser says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// A page of this very host, or the user alone.
    Own,
    /// A page that the port lists.
    Listed,
    /// Any other page.
    Other,
    /// No word of it.
    Unknown,
}

/// Looks at a request whose user is known by a cookie, to a port that is not everybody's. A bearer token is no such
/// request: no page sends one that it does not have.
///
/// # Errors
/// When somebody else's page made it.
pub fn check(request: &Request<'_>, context: &Context<'_>) -> Result<(), Foreign> {
    let site = request.only("sec-fetch-site");
    let origin = Seen::of(request, "origin");
    let own = own_origin(request, context);
    let named = match origin {
        Seen::None => From::Unknown,
        Seen::One(origin) if origin == own.as_bytes() => From::Own,
        Seen::One(origin) if is_listed(origin, context) => From::Listed,
        Seen::One(_) | Seen::Many => From::Other,
    };
    if request.is_websocket {
        // A browser always says who opens one. Who says nothing, or `null`, hides it.
        let may = matches!(named, From::Own | From::Listed) && agrees(site, named);
        return if may { Ok(()) } else { Err(Foreign::WebSocket) };
    }
    let from = match (site, named) {
        // `null` is what a page of this host sends that hides its address; the browser itself says that it is from here.
        (Some(b"same-origin"), From::Own | From::Unknown) => From::Own,
        (Some(b"same-origin"), From::Other) if origin == Seen::One(b"null") => From::Own,
        (Some(b"same-origin"), _) => return Err(Foreign::Contradiction),
        // Typed in, or a bookmark.
        (Some(b"none"), From::Own | From::Unknown) => From::Own,
        (Some(b"none"), _) => return Err(Foreign::Contradiction),
        (Some(_), From::Listed) => From::Listed,
        // The browser says that it is not from here, whatever the origin is called.
        (Some(_), From::Own) => return Err(Foreign::Contradiction),
        (Some(_), From::Unknown) => match referrer(request, &own, context) {
            From::Listed => From::Listed,
            _ => From::Other,
        },
        (Some(_), From::Other) | (None, From::Other) => From::Other,
        (None, From::Unknown) => referrer(request, &own, context),
        (None, named) => named,
    };
    let is_safe = matches!(*request.method, Method::GET | Method::HEAD);
    match from {
        From::Own | From::Listed => Ok(()),
        // Old browsers say nothing of what they get. For what changes something, no word is a foreign one.
        From::Unknown if is_safe => Ok(()),
        _ if !is_safe => Err(Foreign::Unsafe),
        _ => match request.navigation() {
            Some(Navigation::Window) => Ok(()),
            Some(Navigation::Repeated) => Err(Foreign::Repeated),
            Some(Navigation::Frame) | None => Err(Foreign::Embedded),
        },
    }
}

/// Whether a request asks what a page of another origin may do, and what becomes of it; none, when it is no such request.
pub fn preflight(
    request: &Request<'_>,
    context: &Context<'_>,
    visibility: Option<Visibility>,
) -> Option<Preflight> {
    let asks = *request.method == Method::OPTIONS
        && Seen::of(request, "origin") != Seen::None
        && Seen::of(request, "access-control-request-method") != Seen::None;
    if !asks {
        return None;
    }
    if visibility == Some(Visibility::Public) {
        return Some(Preflight::Forward);
    }
    let Port::Declared(endpoint) = context.route.port(context.port) else {
        return Some(Preflight::Refuse);
    };
    let passes = visibility.is_some() && endpoint.cors == Some(Cors::Passthrough);
    let is_listed =
        matches!(Seen::of(request, "origin"), Seen::One(origin) if is_listed(origin, context));
    Some(if passes && is_listed {
        Preflight::Forward
    } else {
        Preflight::Refuse
    })
}

/// The values of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen<'a> {
    None,
    One(&'a [u8]),
    Many,
}

impl<'a> Seen<'a> {
    fn of(request: &Request<'a>, name: &str) -> Self {
        let mut seen = Self::None;
        request.fields.each(name, &mut |value| {
            seen = match seen {
                Self::None => Self::One(value),
                Self::One(_) | Self::Many => Self::Many,
            };
        });
        seen
    }
}

/// The origin of the host that the browser connected to, by the port that it says itself.
fn own_origin(request: &Request<'_>, context: &Context<'_>) -> String {
    let scheme = context.site.scheme();
    let port = request.host.port;
    let port = port.filter(|port| *port != scheme.default_port());
    let (scheme, name) = (scheme.as_str(), &request.host.name);
    match port {
        Some(port) => format!("{scheme}://{name}:{port}"),
        None => format!("{scheme}://{name}"),
    }
}

/// Whether what else the browser says fits.
fn agrees(site: Option<&[u8]>, named: From) -> bool {
    match (site, named) {
        (None, _) => true,
        (Some(site), From::Own) => site == b"same-origin",
        (Some(site), From::Listed) => site == b"same-site" || site == b"cross-site",
        (Some(_), From::Other | From::Unknown) => false,
    }
}

/// Who made it, by the page that it came from.
fn referrer(request: &Request<'_>, own: &str, context: &Context<'_>) -> From {
    match Seen::of(request, "referer") {
        Seen::None => From::Unknown,
        Seen::Many => From::Other,
        Seen::One(page) => {
            let origin = origin_of(page);
            if origin == own.as_bytes() {
                From::Own
            } else if is_listed(origin, context) {
                From::Listed
            } else {
                From::Other
            }
        }
    }
}

/// `scheme://host:port` of a URL.
fn origin_of(url: &[u8]) -> &[u8] {
    let Some(begin) = url.windows(3).position(|part| part == b"://") else {
        return b"";
    };
    let host = url.get(begin + 3..).unwrap_or_default();
    let length = host
        .iter()
        .position(|byte| b"/?#".contains(byte))
        .unwrap_or(host.len());
    url.get(..begin + 3 + length).unwrap_or_default()
}

/// Whether pages of an origin may use a port with cookies: the Workspace lists it, and it is not a host that somebody
/// else has by now.
fn is_listed(origin: &[u8], context: &Context<'_>) -> bool {
    let Port::Declared(endpoint) = context.route.port(context.port) else {
        return false;
    };
    let Ok(origin) = std::str::from_utf8(origin) else {
        return false;
    };
    let mut listed = endpoint.allowed_origins.iter();
    listed.any(|of| of == origin) && is_still_theirs(origin, context)
}

/// A host of ours is a name that goes from one to another: it counts while the workspace behind it belongs to the same
/// owner, and is not one that everybody may write into.
fn is_still_theirs(origin: &str, context: &Context<'_>) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let Ok(host) = context.site.parse(host.as_bytes()) else {
        return false;
    };
    match &host.target {
        Target::Auth => false,
        Target::Unknown => !is_below(&host.name, context.site.domain()),
        Target::Workspace { workspace, .. } => context
            .routes
            .find(workspace)
            .is_some_and(|route| route.owner() == context.route.owner()),
    }
}

fn is_below(name: &str, domain: &str) -> bool {
    name == domain
        || name
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
