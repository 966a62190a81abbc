//! Editors.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use workstead_link::{Cause, Editor, Libc, Needs, Plan, Request, StepKind, StepState};

use crate::world::{PATIENCE, World, free_port, now, steps};

fn editor(port: u16, script: &str) -> Editor {
    Editor {
        name: "code".to_owned(),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        port,
        ready_path: "/healthz".to_owned(),
        folder: "/opt/workstead-editor".to_owned(),
        ..Editor::default()
    }
}

fn world(editor: Editor) -> World {
    let world = World::new(Plan {
        editor: Some(editor),
        ..Plan::default()
    });
    world.write("opt/workstead-editor/bin/start", "");
    // The command is below the root of the container, which a folder stands for.
    std::fs::create_dir_all(world.at("bin")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", world.at("bin/sh")).unwrap();
    world
}

/// What answers in the editor's place: nobody until it is opened, then only the one path.
fn answering(port: u16, is_open: &Arc<AtomicBool>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let is_open = Arc::clone(is_open);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 512];
            let count = stream.read(&mut request).unwrap();
            let is_good = request[..count].starts_with(b"GET /healthz HTTP/1.1\r\n");
            let status = if is_good && is_open.load(Ordering::SeqCst) {
                "200 OK"
            } else {
                "503 No"
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
}

#[test]
fn the_workspace_is_ready_once_the_editor_answers() {
    let (port, is_open) = (free_port(), Arc::new(AtomicBool::new(false)));
    answering(port, &is_open);
    let world = world(editor(port, "pwd; echo $WORKSTEAD_FOLDER; exec sleep 1000"));
    let supervisor = world.start(&[]);
    supervisor.says("[code] ");
    assert_eq!(world.ready(), "HTTP/1.1 503 Service Unavailable");
    let report = world.ask(Request::Inspect).remove(0);
    assert!(!report.settled);
    is_open.store(true, Ordering::SeqCst);
    let step = steps(&world.settled(), StepKind::Editor).remove(0);
    assert_eq!(
        (step.state, step.subject.as_deref()),
        (StepState::Done, Some("code"))
    );
    assert_eq!(world.ready(), "HTTP/1.1 200 OK");
    let folder = world.at("projects");
    assert_eq!(
        supervisor
            .log()
            .matches(&format!("[code] {}\n", folder.display()))
            .count(),
        2
    );
}

#[test]
fn an_editor_that_dies_is_started_again_and_is_not_ready_meanwhile() {
    let (port, is_open) = (free_port(), Arc::new(AtomicBool::new(true)));
    answering(port, &is_open);
    let world = world(editor(port, "echo begun; echo $$ >pid; exec sleep 1000"));
    let supervisor = world.start(&[]);
    world.settled();
    let pid = std::fs::read_to_string(world.at("projects/pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    is_open.store(false, Ordering::SeqCst);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let begun = now();
    while world.ready() != "HTTP/1.1 503 Service Unavailable" {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
    is_open.store(true, Ordering::SeqCst);
    world.settled();
    assert_eq!(world.ready(), "HTTP/1.1 200 OK");
    assert_eq!(supervisor.log().matches("[code] begun").count(), 2);
}

#[test]
fn an_editor_that_keeps_dying_fails_with_its_last_words_and_is_still_tried() {
    let world = world(editor(free_port(), "echo broken >&2; exit 3"));
    let mut supervisor = world.start(&[]);
    let reports = world.ask(Request::Watch);
    let states: Vec<_> = reports
        .iter()
        .map(|r| steps(r, StepKind::Editor).remove(0).state)
        .collect();
    assert!(states.contains(&StepState::Retrying), "{states:?}");
    let step = steps(reports.last().unwrap(), StepKind::Editor).remove(0);
    let failure = step.failure.unwrap();
    assert_eq!(
        (step.state, failure.cause),
        (StepState::Failed, Cause::EditorNotReady)
    );
    assert_eq!(
        (failure.exit_code, failure.tail),
        (Some(3), vec!["broken".to_owned()])
    );
    let lives = |log: String| log.matches("[code] broken").count();
    let before = lives(supervisor.log());
    let begun = now();
    while lives(supervisor.log()) <= before {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
    let step = steps(&world.ask(Request::Inspect).remove(0), StepKind::Editor).remove(0);
    assert_eq!(step.state, StepState::Failed);
    assert!(supervisor.is_alive());
}

#[test]
fn an_image_that_lacks_what_the_editor_needs_is_told_in_milliseconds() {
    for needs in [
        Needs {
            architectures: vec!["none".to_owned()],
            libc: None,
        },
        // The folder that stands for the container has no loader.
        Needs {
            architectures: Vec::new(),
            libc: Some(Libc::Glibc {
                min: Some("2.28".to_owned()),
            }),
        },
    ] {
        let world = world(Editor {
            needs,
            ..editor(free_port(), "echo started; sleep 1000")
        });
        let supervisor = world.start(&[]);
        let step = steps(&world.settled(), StepKind::Editor).remove(0);
        let failure = step.failure.unwrap();
        assert_eq!(failure.cause, Cause::EditorIncompatible);
        assert!(failure.next_step.contains("choose an image"), "{failure:?}");
        assert!(step.took_ms.unwrap() < 500, "{:?}", step.took_ms);
        assert!(!supervisor.log().contains("started"));
        assert_eq!(world.ready(), "HTTP/1.1 503 Service Unavailable");
    }
}

#[test]
fn a_failed_clone_and_a_failed_command_do_not_keep_the_editor_closed() {
    let (port, is_open) = (free_port(), Arc::new(AtomicBool::new(true)));
    answering(port, &is_open);
    let mut world = world(editor(port, "exec sleep 1000"));
    world.plan.projects = vec![workstead_link::Project {
        name: "api".to_owned(),
        url: "ftp://x".to_owned(),
        folder: "api".to_owned(),
        ..workstead_link::Project::default()
    }];
    world.plan.post_start = vec![workstead_link::Command {
        name: "bad".to_owned(),
        run: "exit 1".to_owned(),
        ..workstead_link::Command::default()
    }];
    let _supervisor = world.start(&[]);
    let report = world.settled();
    let states: Vec<_> = report
        .steps
        .iter()
        .map(|step| (step.kind, step.state))
        .collect();
    assert_eq!(
        states[2..],
        [
            (StepKind::Clone, StepState::Failed),
            (StepKind::PostStart, StepState::Failed),
            (StepKind::Editor, StepState::Done)
        ]
    );
    assert_eq!(world.ready(), "HTTP/1.1 200 OK");
}
