//! Who asks, and what they get.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use workstead_link::{Plan, Request};

use crate::world::{Authority, Identity, PATIENCE, World, now};

/// What somebody gets who asks with this certificate.
fn gets(world: &World, identity: Option<&Identity>, question: &[u8]) -> Vec<u8> {
    let mut stream = world.connect(identity);
    let mut answer = Vec::new();
    // Either fails when the other side hangs up; what counts is what came.
    let _ = stream.write_all(question);
    let _ = stream.read_to_end(&mut answer);
    answer
}

const INSPECT: &[u8] = b"{\"request\":\"Inspect\"}\n";

#[test]
fn only_controller_and_proxy_get_an_answer() {
    let world = World::new(Plan::default());
    let _supervisor = world.start(&[]);
    for known in ["workstead://controller", "workstead://proxy"] {
        let identity = world.clients.sign(Some(known), &[]);
        let answer = gets(&world, Some(&identity), INSPECT);
        assert!(answer.ends_with(b"}\n"), "{known}");
    }
    assert!(gets(&world, None, INSPECT).is_empty());
    let strangers = [
        Authority::new().sign(Some("workstead://controller"), &[]),
        world.clients.sign(None, &["controller"]),
        world.clients.sign(Some("workstead://controller.evil"), &[]),
        world.clients.sign(Some("workstead://node"), &[]),
    ];
    for stranger in &strangers {
        assert!(gets(&world, Some(stranger), INSPECT).is_empty());
    }
    // Without TLS.
    let mut plain = world.plain();
    plain.write_all(INSPECT).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(
        !answer.windows(5).any(|part| part == b"steps"),
        "{answer:?}"
    );
}

#[test]
fn what_is_no_question_is_not_answered() {
    let world = World::new(Plan::default());
    let _supervisor = world.start(&[]);
    let controller = world.controller();
    let mut long = vec![b' '; 70_000];
    long.extend_from_slice(INSPECT);
    for question in [
        &b"{\"request\":\"Stop\"}\n"[..],
        b"hello\n",
        b"{}\n",
        b"\xff\n",
        &long,
    ] {
        assert!(gets(&world, Some(&controller), question).is_empty());
    }
    assert!(!gets(&world, Some(&controller), INSPECT).is_empty());
}

#[test]
fn the_silent_keep_nobody_out_for_long() {
    let world = World::new(Plan::default());
    let _supervisor = world.start(&[]);
    world.settled();
    let silent: Vec<_> = (0..40).map(|_| world.plain()).collect();
    let begun = now();
    for mut stream in silent {
        let mut rest = Vec::new();
        // Hung up on at once, or after the time for a request.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(world.ask(Request::Inspect).len(), 1);
    // The same of the kubelet's port.
    let silent: Vec<_> = (0..40)
        .map(|_| TcpStream::connect(("127.0.0.1", world.ready_port)).unwrap())
        .collect();
    sleep(Duration::from_secs(3));
    assert_eq!(world.ready(), "HTTP/1.1 200 OK");
    drop(silent);
}

#[test]
fn ports_that_are_opened_and_closed_and_programs_that_run_are_seen() {
    let mut world = World::new(Plan::default());
    world.plan.keep_alive = vec![
        "no-such-program".to_owned(),
        "workstead-long-name-of-a-build".to_owned(),
    ];
    let program = world.at("workstead-long-name-of-a-build");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let _supervisor = world.start(&[program.to_str().unwrap(), "1000"]);
    world.settled();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let report = || world.ask(Request::Inspect).remove(0);
    let begun = now();
    while report().idle.keep_alive != ["workstead-long-name-of-a-build"] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", report());
    }
    let open = report();
    assert!(open.ports.contains(&port), "{open:?}");
    assert!(
        !open.ports.contains(&world.supervisor_port) && !open.ports.contains(&world.ready_port)
    );
    drop(listener);
    let closed = report();
    assert!(!closed.ports.contains(&port), "{closed:?}");
    assert!(closed.uptime_ms >= open.uptime_ms && closed.version == 1);
}

#[test]
fn who_watches_sees_ports_come_and_go_while_a_step_runs() {
    let mut world = World::new(Plan::default());
    world.plan.post_start = vec![workstead_link::Command {
        name: "wait".to_owned(),
        run: "until [ -e go ]; do sleep 0.05; done".to_owned(),
        ..workstead_link::Command::default()
    }];
    let _supervisor = world.start(&[]);
    let reports = std::thread::scope(|scope| {
        let watching = scope.spawn(|| world.ask(Request::Watch));
        sleep(Duration::from_millis(700));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        sleep(Duration::from_millis(700));
        drop(listener);
        sleep(Duration::from_millis(700));
        world.write("projects/go", "");
        (port, watching.join().unwrap())
    });
    let (port, reports) = reports;
    let seen: Vec<_> = reports
        .iter()
        .map(|report| report.ports.contains(&port))
        .collect();
    let mut changes = seen.clone();
    changes.dedup();
    assert_eq!(changes, [false, true, false], "{seen:?}");
    assert!(reports.last().unwrap().settled);
}

#[test]
fn a_watcher_that_goes_leaves_its_place() {
    let mut world = World::new(Plan::default());
    world.plan.post_start = vec![workstead_link::Command {
        name: "wait".to_owned(),
        run: "sleep 1000".to_owned(),
        ..workstead_link::Command::default()
    }];
    let _supervisor = world.start(&[]);
    for _ in 0..40 {
        let mut stream = world.connect(Some(&world.controller()));
        stream.write_all(b"{\"request\":\"Watch\"}\n").unwrap();
        let mut byte = [0];
        // All places may be taken by watchers that went a moment ago.
        if stream.read_exact(&mut byte).is_err() {
            sleep(Duration::from_millis(300));
        }
    }
    sleep(Duration::from_millis(600));
    assert_eq!(world.ask(Request::Inspect).len(), 1);
}

const STAY: &[u8] = b"{\"request\":\"Stay\"}\n";

#[test]
fn who_stays_hears_one_report_and_then_the_end_of_the_process() {
    let world = World::new(Plan::default());
    let supervisor = world.start(&[]);
    let proxy = world.clients.sign(Some("workstead://proxy"), &[]);
    let mut stream = BufReader::new(world.connect(Some(&proxy)));
    stream.get_mut().write_all(STAY).unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("\"steps\""), "{line}");
    // Longer than any time that a request has.
    let silence = Some(Duration::from_secs(7));
    stream.get_ref().sock.set_read_timeout(silence).unwrap();
    let kind = stream.read_line(&mut String::new()).unwrap_err().kind();
    assert!(
        matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{kind:?}"
    );
    supervisor.signal(Signal::KILL);
    let begun = now();
    let end = stream.read_line(&mut String::new());
    assert!(
        !matches!(&end, Ok(count) if *count > 0) && begun.elapsed() < Duration::from_secs(5),
        "{end:?}"
    );
}

#[test]
fn those_who_stay_leave_places_for_the_others_and_their_own_when_they_go() {
    let world = World::new(Plan::default());
    let _supervisor = world.start(&[]);
    world.settled();
    let proxy = world.clients.sign(Some("workstead://proxy"), &[]);
    let stay = || {
        let mut stream = world.connect(Some(&proxy));
        let mut byte = [0];
        let said = stream
            .write_all(STAY)
            .and_then(|()| stream.read_exact(&mut byte));
        said.is_ok().then_some(stream)
    };
    let staying: Vec<_> = (0..40).filter_map(|_| stay()).collect();
    assert!((16..40).contains(&staying.len()), "{}", staying.len());
    assert_eq!(world.ask(Request::Inspect).len(), 1);
    drop(staying);
    let begun = now();
    while stay().is_none() {
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn with_the_files_of_an_old_template_the_command_runs_and_the_kubelet_is_answered() {
    let world = World::new(Plan::default());
    std::fs::remove_dir_all(world.at("run")).unwrap();
    let mut supervisor = world.start_with(None, &["sh", "-c", "sleep 2; exit 6"]);
    assert_eq!(world.ready(), "HTTP/1.1 200 OK");
    assert!(TcpStream::connect(("127.0.0.1", world.supervisor_port)).is_err());
    assert_eq!(supervisor.ends().0, Some(6));
    assert_eq!(supervisor.log(), "");
}

#[test]
fn renewed_files_are_used_without_a_restart() {
    let mut world = World::new(Plan::default());
    let _supervisor = world.start(&[]);
    world.settled();
    let old = world.controller();
    world.clients = Authority::new();
    world.write("run/workstead/supervisor/ca.crt", &world.clients.pem);
    assert!(gets(&world, Some(&old), INSPECT).is_empty());
    assert_eq!(world.ask(Request::Inspect).len(), 1);
}
