//! Requests by the thousand and bytes by the million, and what a program used for them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use workstead::testkit::wait::eventually;

use super::visitor::Visitor;
use crate::program::{Program, installed};

/// Requests of a measurement.
pub(crate) const REQUESTS: u32 = 50_000;
/// Transfers of a measurement.
pub(crate) const TRANSFERS: u32 = 10;

/// By which protocol requests come; as many are under way at a time by each.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    /// HTTP/1.1, 32 connections that are kept.
    H1,
    /// HTTP/2, 4 connections with 8 streams each.
    H2,
}

/// Which way the large file goes.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Down,
    Up,
}

/// What a program used for a request, in microseconds of a core.
pub(crate) fn requests(
    program: &Program,
    visitor: &Visitor,
    address: SocketAddr,
    protocol: Protocol,
) -> f64 {
    let mut command = Command::new(installed("h2load"));
    match protocol {
        Protocol::H1 => command.args(["--h1", "-c32"]),
        Protocol::H2 => command.args(["-c4", "-m8"]),
    };
    command
        .args(["-t1", "-n", &REQUESTS.to_string()])
        .args(["--connect-to", &address.to_string()])
        .args(["-H", &format!("Cookie: {}", visitor.cookie)])
        .arg(format!("{}/", visitor.origin));
    let begin = program.cpu();
    let output = command.output().unwrap();
    let used = program.cpu() - begin;
    let text = String::from_utf8_lossy(&output.stdout);
    let all = format!("status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx");
    assert!(text.contains(&all), "{text}");
    used * 1_000_000.0 / f64::from(REQUESTS)
}

/// What a program used for a transfer of the large file, in milliseconds of a core.
pub(crate) fn transfer(
    program: &Program,
    visitor: &Visitor,
    address: SocketAddr,
    way: Way,
    file: &Path,
) -> f64 {
    let mut command = Command::new(installed("curl"));
    command
        .args(["-sS", "--insecure", "--http1.1", "--max-time", "60"])
        .args(["--connect-to", &format!("::{address}")])
        .args(["-H", &format!("Cookie: {}", visitor.cookie)])
        .args(["-H", &format!("Origin: {}", visitor.origin)])
        .args(["-o", "/dev/null", "-w", "%{http_code} "]);
    let (path, status) = match way {
        Way::Down => ("large", "200 "),
        // It waits for nobody's word before it sends.
        Way::Up => {
            command.args(["-H", "Expect:", "-T"]).arg(file);
            ("upload", "204 ")
        }
    };
    // Numbers in brackets are curl's own way of saying "so many of them", over one connection.
    command.arg(format!("{}/{path}?[1-{TRANSFERS}]", visitor.origin));
    let begin = program.cpu();
    let output = command.output().unwrap();
    let used = program.cpu() - begin;
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, status.repeat(TRANSFERS as usize), "{output:?}");
    used * 1000.0 / f64::from(TRANSFERS)
}

/// What whoever is not signed in gets at an origin, from this address; 0 is no answer.
pub(crate) fn status(origin: &str, address: SocketAddr) -> u16 {
    let output = Command::new(installed("curl"))
        .args(["-s", "--insecure", "--max-time", "5"])
        .args(["--connect-to", &format!("::{address}")])
        .args(["-o", "/dev/null", "-w", "%{http_code}", origin])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or(0)
}

/// Waits until a visitor is let through at this address: a proxy that has just started may not know the pod yet.
pub(crate) async fn until_through(visitor: &Visitor, address: SocketAddr) {
    let what = format!("a way to {} by {address}", visitor.origin);
    eventually(&what, async || {
        let output = Command::new(installed("curl"))
            .args(["-s", "--insecure", "--max-time", "5"])
            .args(["--connect-to", &format!("::{address}")])
            .args(["-H", &format!("Cookie: {}", visitor.cookie)])
            .args(["-o", "/dev/null", "-w", "%{http_code}", &visitor.origin])
            .output()
            .unwrap();
        matches!(&*output.stdout, b"200" | b"204").then_some(())
    })
    .await;
}

/// The value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The middle of what one side is of the other, round by round: a machine that is busy for a while is so for both.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    median(&ratios)
}

pub(crate) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
