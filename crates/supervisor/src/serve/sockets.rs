//! TCP ports on which something listens: asked of the kernel over netlink, which takes as long for ten thousand
//! connections as for none; read from /proc where that is not allowed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// Of the kernel's interface, which never changes: types, flags, sizes and places in messages.
mod kernel {
    pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
    pub const REQUEST_AND_DUMP: u16 = 0x301;
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const HEADER: usize = 16;
    pub const REQUEST: usize = HEADER + 56;
    pub const TCP: u8 = 6;
    pub const LISTEN: u32 = 1 << 10;
    /// In the message after the header: family, state, timer and retransmits come first.
    pub const SOURCE_PORT: usize = HEADER + 4;
    pub const FAMILIES: [u8; 2] = [2, 10];
}

/// The same as /proc writes it.
const LISTEN_STATE: &str = "0A";

/// How long the kernel may take. It answers at once or never.
const PATIENCE: Duration = Duration::from_secs(1);

/// All of them, ascending.
pub fn listening() -> Vec<u16> {
    let ports = dump().unwrap_or_else(|_| read_proc());
    ports.into_iter().collect()
}

fn dump() -> io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for family in kernel::FAMILIES {
        match dump_family(family, &mut ports) {
            // A kernel without the newer family has no sockets of it.
            Err(error) if family != 2 && error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(ports)
}

fn dump_family(family: u8, ports: &mut BTreeSet<u16>) -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    sendto(
        &socket,
        &request(family),
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let (count, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let messages = buffer.get(..count).unwrap_or_default();
        if count == 0 || read_messages(messages, ports)? {
            return Ok(());
        }
    }
}

fn request(family: u8) -> Vec<u8> {
    let length = u32::try_from(kernel::REQUEST).unwrap_or_default();
    let mut message = Vec::with_capacity(kernel::REQUEST);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kernel::SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&kernel::REQUEST_AND_DUMP.to_ne_bytes());
    // Sequence and sender: there is one question on this socket.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[family, kernel::TCP, 0, 0]);
    message.extend_from_slice(&kernel::LISTEN.to_ne_bytes());
    message.resize(kernel::REQUEST, 0);
    message
}

/// Reads what came in one piece; true when it was the last.
fn read_messages(mut rest: &[u8], ports: &mut BTreeSet<u16>) -> io::Result<bool> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    while !rest.is_empty() {
        let header = rest
            .first_chunk::<{ kernel::HEADER }>()
            .ok_or_else(broken)?;
        let [l0, l1, l2, l3, t0, t1, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).map_err(|_| broken())?;
        let message = rest
            .get(..length)
            .filter(|m| m.len() >= kernel::HEADER)
            .ok_or_else(broken)?;
        match u16::from_ne_bytes([t0, t1]) {
            kernel::DONE => return Ok(true),
            kernel::ERROR => {
                let code = message
                    .get(kernel::HEADER..)
                    .and_then(|m| m.first_chunk::<4>());
                let code = i32::from_ne_bytes(*code.ok_or_else(broken)?);
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            _ => {
                let port = message
                    .get(kernel::SOURCE_PORT..)
                    .and_then(|m| m.first_chunk::<2>());
                ports.insert(u16::from_be_bytes(*port.ok_or_else(broken)?));
            }
        }
        // Messages begin at multiples of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn read_proc() -> BTreeSet<u16> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|table| parse_proc(&table).collect::<Vec<_>>())
        .collect()
}

fn parse_proc(table: &str) -> impl Iterator<Item = u16> {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, state) = (words.next()?, words.nth(1)?);
        let port = local.rsplit_once(':')?.1;
        (state == LISTEN_STATE).then(|| u16::from_str_radix(port, 16).ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn both_ways_see_a_listener_come_and_go_in_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                eprintln!("skipped: this machine has no {address}");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            assert!(dump().unwrap().contains(&port));
            assert!(read_proc().contains(&port));
            drop(listener);
            assert!(!dump().unwrap().contains(&port));
            assert!(!read_proc().contains(&port));
        }
    }

    #[test]
    fn a_table_is_read_for_listeners_alone() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:0BB8 00000000:0000 0A 0\n\
                     1: 0100007F:0BB9 0100007F:1F90 01 0\n\
                     garbage\n";
        assert_eq!(parse_proc(table).collect::<Vec<_>>(), [3000]);
    }

    #[test]
    fn messages_that_are_cut_off_are_an_error_and_no_panic() {
        let mut whole = request(2);
        whole[4..6].copy_from_slice(&kernel::SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        for length in 1..whole.len() {
            let mut ports = BTreeSet::new();
            assert!(
                read_messages(&whole[..length], &mut ports).is_err(),
                "{length}"
            );
        }
        let mut refused = vec![0; 20];
        refused[0] = 20;
        refused[4] = 2;
        refused[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        let error = read_messages(&refused, &mut BTreeSet::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
