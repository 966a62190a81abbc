//! Addresses of pods that this machine has meanwhile: no packet leaves it.

use std::net::Ipv4Addr;
use std::process::{Command, Output};

/// It goes by itself then, should this process be killed.
const SECONDS: &str = "1800";
/// Others that run these tests at the same time have their own.
const TRIES: usize = 20;

/// One in the range of RFC 2544, which is for benchmarks. Dropping it takes it away.
pub struct PodAddress(pub Ipv4Addr);

impl PodAddress {
    /// None where this user may not have one.
    pub fn add() -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        for _ in 0..TRIES {
            let [high, low] = rand::random::<[u8; 2]>();
            let address = Ipv4Addr::new(198, 18, high, low.clamp(1, 254));
            let output = change(
                "add",
                address,
                &["valid_lft", SECONDS, "preferred_lft", SECONDS],
            );
            if output.status.success() {
                return Some(Self(address));
            }
            let text = String::from_utf8_lossy(&output.stderr);
            let is_taken = text.contains("File exists") || text.contains("already assigned");
            if !is_taken && !is_root {
                eprintln!("skipped: only root may give this machine an address ({text})");
                return None;
            }
            assert!(
                is_taken,
                "failed to give this machine the address {address}: {text}"
            );
        }
        panic!("every address is taken");
    }
}

impl Drop for PodAddress {
    fn drop(&mut self) {
        change("del", self.0, &[]);
    }
}

fn change(verb: &str, address: Ipv4Addr, more: &[&str]) -> Output {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("ip")
    } else {
        let mut command = Command::new("sudo");
        command.args(["-n", "ip"]);
        command
    };
    command
        .args(["address", verb, &format!("{address}/32"), "dev", "lo"])
        .args(more)
        .output()
        .unwrap()
}
