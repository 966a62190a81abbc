//! websocket-memory: what an idle WebSocket holds.

use std::net::SocketAddr;
use std::time::Duration;

use tokio_rustls::TlsConnector;

use super::load::round;
use super::others::{HaProxy, Nginx};
use super::sockets::{self, Socket};
use super::visitor::Visitor;
use super::world::{APP, World, behind};
use crate::program::Program;
use crate::results::Figure;

/// WebSockets that a program has when it is looked at first: what it takes once is not theirs.
const FIRST: usize = 200;
/// Those that are counted.
const MORE: usize = 4000;
/// Until what passes has passed.
const REST: Duration = Duration::from_secs(3);

/// Each program is started anew for each kind: memory that one kind left would serve the other.
pub(crate) async fn websocket_memory() -> Figure {
    let world = World::start().await;
    let connector = sockets::connector(world.authority.certificate());
    let behind = behind("alice");
    let (mut plain, mut tls) = ([0.0; 3], [0.0; 3]);
    let proxy = world.proxy(1).await;
    let visitor = world.visitor("alice", APP).await;
    let by_tls = world.visitor_by_tls("alice", APP).await;
    plain[0] = held(&proxy.program, &visitor, proxy.plain, None).await;
    drop(proxy);
    let proxy = world.proxy(1).await;
    tls[0] = held(&proxy.program, &by_tls, proxy.tls, Some(&connector)).await;
    drop(proxy);
    let haproxy = HaProxy::start(&behind, &world.identity).await;
    plain[1] = held(&haproxy.program, &visitor, haproxy.plain, None).await;
    let haproxy = HaProxy::start(&behind, &world.identity).await;
    tls[1] = held(&haproxy.program, &by_tls, haproxy.tls, Some(&connector)).await;
    drop(haproxy);
    let nginx = Nginx::start(&behind, &world.identity).await;
    plain[2] = held(&nginx.program, &visitor, nginx.plain, None).await;
    let nginx = Nginx::start(&behind, &world.identity).await;
    tls[2] = held(&nginx.program, &by_tls, nginx.tls, Some(&connector)).await;
    let [plain, tls] = [plain, tls].map(|of| of.map(round));
    Figure {
        id: "websocket-memory",
        value: plain[0],
        unit: "KiB, plain",
        yardstick: Some(format!(
            "by TLS {} KiB; HAProxy {} and {} KiB, nginx {} and {} KiB",
            tls[0], plain[1], tls[1], plain[2], tls[2]
        )),
        ratio: Some(plain[0] / plain[1]),
        bar: "at most 8 KiB plain, 25 KiB by TLS",
        met: plain[0] <= 8.0 && tls[0] <= 25.0,
        rounds: 1,
    }
}

/// What each holds, in KiB.
async fn held(
    program: &Program,
    visitor: &Visitor,
    address: SocketAddr,
    tls: Option<&TlsConnector>,
) -> f64 {
    let mut open = opened(FIRST, visitor, address, tls).await;
    let first = program.resident();
    open.extend(opened(MORE, visitor, address, tls).await);
    let held = (program.resident() - first) / MORE as f64;
    // They were not idle because they were gone.
    for socket in open.iter_mut().step_by(MORE / 20) {
        socket.echo("still there").await;
    }
    held
}

async fn opened(
    count: usize,
    visitor: &Visitor,
    address: SocketAddr,
    tls: Option<&TlsConnector>,
) -> Vec<Socket> {
    let mut open = sockets::open(count, visitor, address, tls).await;
    // An editor's sockets have all said something.
    for socket in &mut open {
        socket.echo("hello").await;
    }
    tokio::time::sleep(REST).await;
    open
}
