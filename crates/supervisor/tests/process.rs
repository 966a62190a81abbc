//! The real binary, as a process: what the kernel and a kubelet see of it.
// A test fails by panicking, and so do its helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_workstead-supervisor");

/// The supervisor with a command; what it and the command print is kept.
fn supervisor(command: &[&str]) -> Command {
    let mut supervisor = Command::new(SUPERVISOR);
    // Many run at once here: none may have the port that a container has to itself.
    supervisor.args(["--ready-port", "0"]);
    if !command.is_empty() {
        supervisor.arg("--").args(command);
    }
    supervisor
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    supervisor
}

fn run(command: &[&str]) -> (Option<i32>, String) {
    let output = supervisor(command).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // Which port it took is said only to who left the choice to it, as these tests do.
    let lines = errors.split_inclusive('\n');
    let errors = lines.filter(|line| !line.contains("listens on port"));
    (output.status.code(), errors.collect())
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(i32::try_from(raw).unwrap()).unwrap()
}

/// The next line that the command prints.
fn line(child: &mut Child) -> String {
    let mut line = String::new();
    // Unbuffered: a reader that is dropped must not have swallowed the lines after it.
    let stdout = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(char::from(byte[0]));
    }
    line
}

/// The exit code, within ten seconds.
fn ends(child: &mut Child) -> Option<i32> {
    for _ in 0..1000 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it still runs after ten seconds");
}

/// Waits until a process catches SIGTERM: before, a signal would just end it.
fn listens(process: u32) {
    let catches = || {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    for _ in 0..1000 {
        if catches().is_some_and(|mask| mask & (1 << 14) != 0) {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("process {process} does not listen to signals");
}

/// Parent and state of each process: fields 4 and 3 of its stat file.
fn processes() -> Vec<(u32, u32, char)> {
    let stat = |entry: fs::DirEntry| {
        let process: u32 = entry.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut words = text.rsplit_once(')')?.1.split_whitespace();
        let state = words.next()?.chars().next()?;
        Some((process, words.next()?.parse().ok()?, state))
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| stat(entry.unwrap()))
        .collect()
}

/// Whether this machine lets us make namespaces; a test that can't run says so.
fn unshare(options: &str) -> Option<Command> {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user"])
        .args(options.split(' '));
    let mut probe = Command::new("unshare");
    probe
        .args(["--user", "--map-root-user"])
        .args(options.split(' '))
        .arg("true");
    if probe.output().is_ok_and(|output| output.status.success()) {
        return Some(command);
    }
    eprintln!("skipped: this machine allows no user namespaces (unshare {options})");
    None
}

#[test]
fn the_exit_code_of_the_command_is_that_of_the_supervisor() {
    for code in [0, 1, 7, 255] {
        let (seen, errors) = run(&["sh", "-c", &format!("exit {code}")]);
        assert_eq!((seen, errors.as_str()), (Some(code), ""));
    }
}

#[test]
fn a_command_that_a_signal_ended_gives_128_and_the_signal_and_a_line_that_says_so() {
    for (signal, code) in [("KILL", 137), ("SEGV", 139), ("TERM", 143)] {
        let (seen, errors) = run(&["sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!(seen, Some(code), "{signal}");
        assert!(
            errors.contains(&format!("'sh' was ended by signal {}", code - 128)),
            "{errors}"
        );
    }
}

#[test]
fn a_program_that_is_missing_gives_127_and_names_it_and_the_path() {
    let output = supervisor(&["no-such-program"])
        .env("PATH", "/one:/two")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(127));
    assert!(
        errors.contains("failed to start 'no-such-program'"),
        "{errors}"
    );
    assert!(errors.contains("/one:/two"), "{errors}");
    let (code, errors) = run(&["/no/such/program"]);
    assert_eq!(code, Some(127));
    assert!(errors.contains("no such file in this image"), "{errors}");
}

#[test]
fn a_script_whose_interpreter_is_missing_gives_127_and_says_that_the_file_itself_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, errors) = run(&[script.to_str().unwrap()]);
    assert_eq!(code, Some(127));
    assert!(
        errors.contains("the interpreter of its first line"),
        "{errors}"
    );
}

#[test]
fn what_is_no_program_gives_126_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let (code, errors) = run(&[file.to_str().unwrap()]);
    assert_eq!(code, Some(126));
    assert!(errors.contains("executable bit"), "{errors}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, errors) = run(&[file.to_str().unwrap()]);
    assert_eq!(code, Some(126));
    assert!(
        errors.contains("no program that this machine can run"),
        "{errors}"
    );
    let (code, errors) = run(&[folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(126));
    assert!(errors.contains("it is a folder"), "{errors}");
}

#[test]
fn words_without_the_separator_are_refused_with_the_usage() {
    let output = Command::new(SUPERVISOR)
        .args(["sleep", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage:"));
}

#[test]
fn every_signal_that_a_container_gets_reaches_the_command() {
    let signals = [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
    ];
    for (name, signal) in signals {
        let script = format!(
            "trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.05; done"
        );
        let mut child = supervisor(&["sh", "-c", &script]).spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        kill_process(pid(child.id()), signal).unwrap();
        // The sleep in the shell's group gets the signal too; a shell that lives on has seen to its trap.
        assert_eq!(line(&mut child), format!("got {name}"));
        assert_eq!(ends(&mut child), Some(3), "{name}");
    }
}

#[test]
fn a_command_that_goes_on_after_a_signal_is_not_ended() {
    let script = "trap 'echo again' HUP; echo ready; while :; do sleep 0.05; done";
    let mut child = supervisor(&["sh", "-c", script]).spawn().unwrap();
    assert_eq!(line(&mut child), "ready");
    for _ in 0..3 {
        kill_process(pid(child.id()), Signal::HUP).unwrap();
        assert_eq!(line(&mut child), "again");
    }
    kill_process(pid(child.id()), Signal::TERM).unwrap();
    assert_eq!(ends(&mut child), Some(143));
}

#[test]
fn a_signal_reaches_the_children_of_the_command_too() {
    let mut child = supervisor(&["sh", "-c", "sleep 1000 & echo $!; wait"])
        .spawn()
        .unwrap();
    let grandchild: u32 = line(&mut child).parse().unwrap();
    kill_process(pid(child.id()), Signal::TERM).unwrap();
    assert_eq!(ends(&mut child), Some(143));
    for _ in 0..500 {
        if test_kill_process(pid(grandchild)).is_err() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    // Where nobody collects the dead of this machine it stays as a zombie.
    assert!(
        processes()
            .iter()
            .any(|(process, _, state)| *process == grandchild && *state == 'Z')
    );
}

#[test]
fn a_thousand_orphans_are_collected() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("parents");
    // The parent of the command is the branch, and its parent the supervisor. Each orphan goes on only when its parent is the supervisor, and then writes that down.
    let script = format!(
        "read -r _ _ _ first _ </proc/$PPID/stat
         i=0
         while [ $i -lt 1000 ]; do
           ( ( until read -r _ _ _ p _ </proc/self/stat; [ $p = $first ]; do sleep 0.01; done; echo $p >>{file} ) & )
           i=$((i + 1))
         done
         echo done; read -r _",
        file = seen.display()
    );
    let mut child = supervisor(&["sh", "-c", &script])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(line(&mut child), "done");
    let supervisor = child.id();
    let zombies = || {
        processes()
            .iter()
            .filter(|(_, parent, state)| *parent == supervisor && *state == 'Z')
            .count()
    };
    let parents = || {
        let file = BufReader::new(fs::File::open(&seen).unwrap());
        file.lines()
            .map(|line| line.unwrap().parse::<u32>().unwrap())
            .collect::<Vec<_>>()
    };
    for _ in 0..1000 {
        if parents().len() == 1000 && zombies() == 0 {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    assert_eq!((parents().len(), zombies()), (1000, 0));
    assert!(parents().into_iter().all(|parent| parent == supervisor));
    drop(child.stdin.take());
    assert_eq!(ends(&mut child), Some(1));
}

#[test]
fn without_a_command_it_stays_alive_and_answers_a_request_to_end_at_once() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut child = supervisor(&[]).spawn().unwrap();
        listens(child.id());
        kill_process(pid(child.id()), Signal::HUP).unwrap();
        kill_process(pid(child.id()), Signal::USR1).unwrap();
        sleep(Duration::from_millis(50));
        assert!(
            child.try_wait().unwrap().is_none(),
            "nobody asked it to end"
        );
        kill_process(pid(child.id()), signal).unwrap();
        assert_eq!(ends(&mut child), Some(0));
    }
}

/// The only child of a process.
fn only_child(parent: u32) -> u32 {
    for _ in 0..500 {
        if let Some((child, ..)) = processes().into_iter().find(|(_, p, _)| *p == parent) {
            return child;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("process {parent} has no child");
}

#[test]
fn as_first_process_it_ends_with_its_command_and_takes_every_other_process_along() {
    let Some(mut command) = unshare("--pid --fork") else {
        return;
    };
    let script = "setsid sleep 1000 & setsid sleep 1000 & echo ready; read -r _; exit 5";
    let mut child = command
        .args([SUPERVISOR, "--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(line(&mut child), "ready");
    let first = only_child(child.id());
    let inside = |all: &[(u32, u32, char)]| -> Vec<u32> {
        let mut found = vec![first];
        while let Some((process, ..)) = all
            .iter()
            .find(|(process, parent, _)| found.contains(parent) && !found.contains(process))
        {
            found.push(*process);
        }
        found
    };
    let others = inside(&processes());
    assert!(others.len() >= 4, "{others:?}");
    drop(child.stdin.take());
    assert_eq!(ends(&mut child), Some(5));
    let left: Vec<_> = processes()
        .into_iter()
        .filter(|(process, _, state)| others.contains(process) && *state != 'Z')
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn as_first_process_without_a_command_it_answers_a_request_to_end() {
    let Some(mut command) = unshare("--pid --fork") else {
        return;
    };
    let mut child = command.arg(SUPERVISOR).spawn().unwrap();
    let first = only_child(child.id());
    listens(first);
    kill_process(pid(first), Signal::TERM).unwrap();
    assert_eq!(ends(&mut child), Some(0));
}

#[test]
fn the_reason_of_a_failed_start_is_left_where_the_kubelet_looks() {
    let Some(mut command) = unshare("--mount") else {
        return;
    };
    let script = format!(
        "mount -t tmpfs tmpfs /dev && : >/dev/termination-log && : >/dev/errors
         {SUPERVISOR} -- no-such-program 2>/dev/errors; echo $?; cat /dev/termination-log"
    );
    let output = command.args(["sh", "-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("127\nworkstead-supervisor: failed to start 'no-such-program'"),
        "{text}"
    );
}
