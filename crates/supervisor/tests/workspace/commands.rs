//! Commands after the start, signals, and ends.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use workstead_link::{Cause, Command, Plan, Request, StepKind, StepState};

use crate::world::{PATIENCE, World, now, steps};

fn command(name: &str, run: &str, timeout_seconds: u32) -> Command {
    Command {
        name: name.to_owned(),
        run: run.to_owned(),
        timeout_seconds,
        ..Command::default()
    }
}

fn world(post_start: Vec<Command>) -> World {
    World::new(Plan {
        post_start,
        ..Plan::default()
    })
}

fn number(path: &std::path::Path) -> Pid {
    let begun = now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.ends_with('\n') {
            return Pid::from_raw(text.trim().parse().unwrap()).unwrap();
        }
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs; one that nobody has collected yet does not.
fn runs(process: Pid) -> bool {
    let file = format!("/proc/{}/stat", process.as_raw_nonzero());
    let text = fs::read_to_string(file).unwrap_or_default();
    text.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn each_command_has_a_result_of_its_own_and_the_workspace_runs_on() {
    let world = world(vec![
        command("good", "echo fine", 0),
        command("bad", "echo one; echo two >&2; exit 7", 0),
        command("killed", "kill -KILL $$", 0),
        Command {
            working_dir: Some("nowhere".to_owned()),
            ..command("lost", "true", 0)
        },
        command("after", "echo still here", 0),
    ]);
    let mut supervisor = world.start(&[]);
    let found = steps(&world.settled(), StepKind::PostStart);
    let states: Vec<_> = found.iter().map(|step| step.state).collect();
    use StepState::{Done, Failed};
    assert_eq!(states, [Done, Failed, Failed, Failed, Done]);
    let failure = |n: usize| found[n].failure.clone().unwrap();
    assert!(
        found[1..4]
            .iter()
            .all(|s| s.failure.as_ref().unwrap().cause == Cause::PostStartFailed)
    );
    assert_eq!(
        (failure(1).exit_code, failure(1).tail),
        (Some(7), vec!["one".to_owned(), "two".to_owned()])
    );
    assert!(failure(2).message.contains("signal 9"), "{:?}", failure(2));
    assert!(
        failure(3).message.contains("no such folder"),
        "{:?}",
        failure(3)
    );
    for line in ["[good] fine", "[bad] two", "[after] still here"] {
        assert!(supervisor.log().contains(line), "{}", supervisor.log());
    }
    assert!(supervisor.is_alive());
    assert_eq!(world.ready(), "HTTP/1.1 200 OK");
}

#[test]
fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let script =
        "trap '' TERM; echo $$ >self; sleep 1000 & echo $! >child; echo waiting; wait; wait";
    let world = world(vec![command("hang", script, 1), command("next", "true", 0)]);
    let _supervisor = world.start(&[]);
    let found = steps(&world.settled(), StepKind::PostStart);
    let failure = found[0].failure.clone().unwrap();
    assert!(failure.message.contains("after 1 s"), "{failure:?}");
    assert_eq!(failure.tail, ["waiting"]);
    assert!(found[0].took_ms.unwrap() < 8_000, "{:?}", found[0]);
    assert_eq!(found[1].state, StepState::Done);
    for file in ["projects/self", "projects/child"] {
        assert!(!runs(number(&world.at(file))), "{file}");
    }
}

#[test]
fn a_flood_neither_stops_the_command_nor_fills_the_log() {
    let world = world(vec![
        command(
            "lines",
            "yes 0123456789 | head -c 55000000; echo last; exit 1",
            60,
        ),
        command("endless", "head -c 20000000 /dev/zero; exit 1", 60),
    ]);
    let supervisor = world.start(&[]);
    let found = steps(&world.settled(), StepKind::PostStart);
    let lines = found[0].failure.clone().unwrap();
    assert_eq!(lines.exit_code, Some(1));
    assert_eq!(
        (lines.tail.len(), lines.tail.last().map(String::as_str)),
        (20, Some("last"))
    );
    let endless = found[1].failure.clone().unwrap();
    assert!(
        endless.tail.iter().map(String::len).sum::<usize>() <= 2048,
        "{endless:?}"
    );
    assert!(
        supervisor.log().len() < 4_000_000,
        "{}",
        supervisor.log().len()
    );
    assert!(supervisor.log().contains("left out"));
}

#[test]
fn what_a_command_leaves_in_the_background_runs_on_and_does_not_hold_it_up() {
    let script = "(sleep 0.5; echo later; exec sleep 1000) & echo $! >child; echo done";
    let world = world(vec![command("server", script, 30)]);
    let supervisor = world.start(&[]);
    let found = steps(&world.settled(), StepKind::PostStart);
    assert_eq!(found[0].state, StepState::Done);
    let child = number(&world.at("projects/child"));
    supervisor.says("[server] later");
    assert!(runs(child));
    kill_process(child, Signal::KILL).unwrap();
}

#[test]
fn ten_thousand_orphans_are_collected() {
    let script = "i=0; while [ $i -lt 10000 ]; do ( : & ); i=$((i + 1)); done";
    let world = world(vec![command("orphans", script, 120)]);
    let supervisor = world.start(&[]);
    let found = steps(&world.settled(), StepKind::PostStart);
    assert_eq!(found[0].state, StepState::Done, "{:?}", found[0]);
    // None of them leaves anything behind in either process, however many there were.
    for process in [supervisor.id(), supervisor.branch()] {
        let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()));
        let status = status.unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kibibytes < 32 * 1024, "{status}");
    }
    let first = supervisor.id().as_raw_nonzero().get();
    let zombies = || {
        fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let mut words = text
                .rsplit_once(')')
                .map_or("", |(_, rest)| rest)
                .split_whitespace();
            words.next() == Some("Z") && words.next() == Some(&first.to_string())
        })
    };
    let begun = now();
    while zombies().count() > 0 {
        assert!(begun.elapsed() < PATIENCE, "{}", zombies().count());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_request_to_end_is_answered_while_a_command_runs() {
    let script =
        "trap 'echo bye; exit 0' TERM; echo $$ >self; echo ready; while :; do sleep 0.05; done";
    let world = world(vec![command("slow", script, 0)]);
    let mut supervisor = world.start(&[]);
    supervisor.says("[slow] ready");
    supervisor.signal(Signal::TERM);
    let (code, took) = supervisor.ends();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(!runs(number(&world.at("projects/self"))));
}

#[test]
fn a_command_that_does_not_listen_can_not_hold_the_end_up_for_long() {
    let script = "trap '' TERM; echo $$ >self; echo ready; while :; do sleep 0.05; done";
    let world = world(vec![command("deaf", script, 0)]);
    let mut supervisor = world.start(&[
        "sh",
        "-c",
        "trap 'exit 3' TERM; while :; do sleep 0.05; done",
    ]);
    supervisor.says("[deaf] ready");
    supervisor.signal(Signal::TERM);
    let (code, took) = supervisor.ends();
    assert_eq!(code, Some(3));
    assert!(took < Duration::from_secs(8), "{took:?}");
    let left = number(&world.at("projects/self"));
    let begun = now();
    while test_kill_process(left).is_ok() && runs(left) {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn when_the_branch_is_killed_the_first_process_ends_too_and_says_so() {
    let world = world(Vec::new());
    let mut supervisor = world.start(&["sleep", "3"]);
    world.settled();
    kill_process(supervisor.branch(), Signal::KILL).unwrap();
    assert_eq!(supervisor.ends().0, Some(137));
    assert!(
        supervisor.log().contains("was ended by signal 9"),
        "{}",
        supervisor.log()
    );
}

#[test]
fn a_signal_to_the_branch_itself_changes_nothing() {
    let world = world(Vec::new());
    let mut supervisor = world.start(&[]);
    world.settled();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1] {
        kill_process(supervisor.branch(), signal).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(supervisor.is_alive());
    assert_eq!(world.ask(Request::Inspect).len(), 1);
}

#[test]
fn a_plan_that_can_not_be_read_is_said_and_the_command_runs_all_the_same() {
    let world = world(Vec::new());
    let mut supervisor =
        world.start_with(Some("{\"projects\": 3}"), &["sh", "-c", "sleep 2; exit 4"]);
    let report = world.settled();
    let failure = steps(&report, StepKind::Files).remove(0).failure.unwrap();
    assert_eq!(failure.cause, Cause::FilesMissing);
    assert!(
        failure.message.contains("WORKSTEAD_PLAN can't be read"),
        "{failure:?}"
    );
    assert_eq!(supervisor.ends().0, Some(4));
}

#[test]
fn without_an_attached_network_nothing_of_the_users_runs() {
    let world = world(Vec::new());
    let plan =
        r#"{"network": {"kind": "Tunnel"}, "postStart": [{"name": "x", "run": "echo ran"}]}"#;
    let supervisor = world.start_with(Some(plan), &["sh", "-c", "echo ran"]);
    let begun = now();
    loop {
        let report = world.ask(Request::Inspect).remove(0);
        let step = steps(&report, StepKind::Network).remove(0);
        if step.state == StepState::Failed {
            assert_eq!(step.failure.unwrap().cause, Cause::NetworkNotReady);
            break;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(!supervisor.log().contains("ran"), "{}", supervisor.log());
    assert_eq!(world.ready(), "HTTP/1.1 503 Service Unavailable");
}

#[test]
fn missing_files_are_named_and_stop_nothing_else() {
    let mut plan = Plan {
        post_start: vec![command("go", "echo went", 0)],
        ..Plan::default()
    };
    plan.credentials = vec![workstead_link::Credential {
        name: "team".to_owned(),
        hosts: vec!["x".to_owned()],
    }];
    let world = World::new(plan);
    let supervisor = world.start(&[]);
    let report = world.settled();
    let failure = steps(&report, StepKind::Files).remove(0).failure.unwrap();
    assert!(failure.message.contains("the Secret team"), "{failure:?}");
    supervisor.says("[go] went");
}
