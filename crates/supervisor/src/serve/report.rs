//! A report, as it is put together when somebody asks.

use std::io;

use workstead_link::{Idle, LINE_LIMIT, REPORT_VERSION, Report, Step};

use super::Board;
use super::{keep_alive, sockets};

/// How the workspace is now.
pub fn report(steps: &[Step], ports: Vec<u16>, board: &Board) -> Report {
    Report {
        version: REPORT_VERSION,
        uptime_ms: board.clock.millis(),
        steps: steps.to_vec(),
        ports,
        idle: Idle {
            keep_alive: keep_alive::running(&board.keep_alive),
        },
        settled: steps.iter().all(|step| step.state.is_settled()),
    }
}

/// The ports on which something listens, but for our own.
pub fn ports(own: &[u16]) -> Vec<u16> {
    let mut ports = sockets::listening();
    ports.retain(|port| !own.contains(port));
    ports
}

/// A report as a line that is not too long: where many steps failed, the evidence of the first ones is the shortest,
/// then the ports that are left out.
pub fn line(report: &Report) -> io::Result<Vec<u8>> {
    let mut report = report.clone();
    loop {
        let mut line = serde_json::to_vec(&report)?;
        line.push(b'\n');
        if line.len() <= LINE_LIMIT {
            return Ok(line);
        }
        if !shorten(&mut report) {
            return Err(io::Error::other("a report is too long"));
        }
    }
}

/// Halves what takes the most room.
fn shorten(report: &mut Report) -> bool {
    let failures = report
        .steps
        .iter_mut()
        .filter_map(|step| step.failure.as_mut());
    let longest =
        failures.max_by_key(|failure| failure.tail.iter().map(String::len).sum::<usize>());
    if let Some(failure) = longest
        && !failure.tail.is_empty()
    {
        // The last lines say the most.
        failure.tail.drain(..failure.tail.len().div_ceil(2));
        return true;
    }
    let rest = report.ports.len() / 2;
    let had = report.ports.len();
    report.ports.truncate(rest);
    if had > 0 {
        return true;
    }
    let failures = report
        .steps
        .iter_mut()
        .filter_map(|step| step.failure.as_mut());
    match failures.max_by_key(|failure| failure.message.len()) {
        Some(failure) if failure.message.len() > 64 => {
            let end = failure
                .message
                .floor_char_boundary(failure.message.len() / 2);
            failure.message.truncate(end);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use workstead_link::{StepFailure, StepState};

    #[test]
    fn a_report_with_many_failures_and_ports_still_fits_into_a_line() {
        let failed = Step {
            state: StepState::Failed,
            failure: Some(StepFailure {
                message: "m".repeat(3000),
                tail: vec!["\u{1}".repeat(100); 20],
                ..StepFailure::default()
            }),
            ..Step::default()
        };
        let report = Report {
            steps: vec![failed; 40],
            ports: (1..=60_000).collect(),
            ..Report::default()
        };
        let line = line(&report).unwrap();
        assert!(line.len() <= LINE_LIMIT && line.ends_with(b"}\n"));
        let read: Report = serde_json::from_slice(&line).unwrap();
        assert_eq!(read.steps.len(), 40);
    }
}
