//! Commands at a terminal of their own, at which a test types as a person does.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::seal::{CANARY, Desk, PLACE, discreet, env};
use super::vars::{mk_desk, read};
use super::vars_edit::{command, is_gone};
use super::{Ran, binary};

/// So many times in 20 ms it is asked for what a command takes a while for: half a minute.
const PATIENCE: usize = 1500;

/// A terminal, and the command that has it.
struct Terminal {
    /// What a person holds: keys go in, the screen comes out.
    person: File,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
    /// How much of the screen was waited for already.
    seen: usize,
}

impl Terminal {
    /// Runs a command as the first of its session: Ctrl-C reaches whoever has the terminal.
    fn run(command: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let person = openpt(flags).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let line = ioctl_tiocgptpeer(&person, flags).unwrap();
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]);
        session.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        session
            .current_dir(command.get_current_dir().unwrap())
            .stdin(line.try_clone().unwrap())
            .stdout(line.try_clone().unwrap())
            .stderr(line);
        let child = session.spawn().unwrap();
        // What remains open here would keep the screen from ending.
        drop(session);
        let person = File::from(person);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut output, shown) = (person.try_clone().unwrap(), Arc::clone(&screen));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that everybody has left ends with an error.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                shown.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self {
            person,
            child,
            screen,
            reader,
            seen: 0,
        }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Asks until there is an answer.
    #[track_caller]
    fn wait<T>(&mut self, what: &str, mut ask: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..PATIENCE {
            if let Some(answer) = ask(self) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // It may have ended by itself.
        drop(self.child.kill());
        panic!("waited in vain for {what}; the screen:\n{}", self.screen());
    }

    /// Waits until the screen shows a text that was not waited for already.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        self.seen = self.wait(text, |it| {
            let found = it.screen()[it.seen..].find(text)?;
            Some(it.seen + found + text.len())
        });
    }

    /// Whether keys are shown.
    fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.person).unwrap().local_modes;
        modes.contains(LocalModes::ECHO)
    }

    /// Waits until keys are not shown.
    #[track_caller]
    fn until_silent(&mut self) {
        self.wait("keys that are not shown", |it| (!it.echoes()).then_some(()));
    }

    fn press(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }

    /// How the command ended, and all that the screen has shown; the canary is not in it.
    fn ended(mut self) -> Ran {
        let status = self.wait("the end", |it| it.child.try_wait().unwrap());
        self.reader.join().unwrap();
        let screen = String::from_utf8(self.screen.lock().unwrap().clone()).unwrap();
        discreet(Ran {
            code: status.code().expect("it ended by itself"),
            out: String::new(),
            err: screen,
        })
    }
}

/// Breaks the set when it is edited for the first time, and mends it when it is edited again.
const TWICE: &str = "if grep -q BROKEN \"$1\"; then sed -i 's/BROKEN: .*/TOKEN: mended/' \"$1\"
else sed -i 's/TOKEN: .*/BROKEN: [x]/' \"$1\"; fi";

#[test]
fn who_wrote_what_can_not_be_sealed_edits_on_where_they_were() {
    let desk = mk_desk();
    let mut terminal = Terminal::run(&command(&desk, TWICE, &[]));
    terminal.shows("(BROKEN)");
    terminal.shows("Edit it again? What you wrote is lost otherwise. [Y/n] ");
    terminal.press("\n");
    terminal.shows("sealed again with serial 4");
    terminal.ended().ended(0);
    assert!(read(&desk, "shown").contains("BROKEN: [x]"));
    is_gone(&desk);
    let set = desk.opened(&read(&desk, "api.yaml"));
    assert_eq!(env(&set, "TOKEN"), "mended");
}

#[test]
fn who_does_not_edit_again_has_the_set_as_it_was_and_no_plain_text() {
    for (keys, code) in [("n\n", 1), ("\u{4}", 1), ("\u{3}", 2)] {
        let desk = mk_desk();
        let before = read(&desk, "api.yaml");
        let mut terminal = Terminal::run(&command(&desk, TWICE, &[]));
        terminal.shows("[Y/n] ");
        terminal.press(keys);
        terminal.ended().ended(code);
        assert_eq!(read(&desk, "api.yaml"), before);
        is_gone(&desk);
    }
}

#[test]
fn ctrl_c_belongs_to_the_editor_while_it_is_open() {
    let desk = mk_desk();
    let script = "trap 'sed -i \"s/TOKEN: .*/TOKEN: trapped/\" \"$1\"; exit 0' INT
echo it is open; while :; do sleep 0.1; done";
    let mut terminal = Terminal::run(&command(&desk, script, &[]));
    terminal.shows("it is open");
    terminal.press("\u{3}");
    terminal.shows("sealed again with serial 4");
    terminal.ended().ended(0);
    is_gone(&desk);
    let set = desk.opened(&read(&desk, "api.yaml"));
    assert_eq!(env(&set, "TOKEN"), "trapped");
}

/// A seal that asks, and would write `api.yaml`.
fn asking(desk: &Desk, questions: &[&str]) -> Terminal {
    let mut seal = binary();
    seal.current_dir(desk.folder.path())
        .args(["seal", "--recipient", &desk.recipient(), "-o", "api.yaml"])
        .args(questions)
        .args(PLACE);
    Terminal::run(&seal)
}

#[test]
fn values_that_are_asked_for_are_not_shown_while_they_are_typed() {
    let desk = Desk::new();
    let mut terminal = asking(&desk, &["--ask", "TOKEN", "--ask", "OTHER"]);
    assert!(terminal.echoes());
    for (name, value) in [("TOKEN", CANARY), ("OTHER", "second")] {
        terminal.shows(&format!("{name} (not shown): "));
        terminal.until_silent();
        terminal.press(&format!("{value}\n"));
    }
    let person = terminal.person.try_clone().unwrap();
    terminal.ended().ended(0);
    let modes = tcgetattr(&person).unwrap().local_modes;
    assert!(modes.contains(LocalModes::ECHO), "keys are shown again");
    let set = desk.opened(&read(&desk, "api.yaml"));
    assert_eq!((env(&set, "TOKEN"), env(&set, "OTHER")), (CANARY, "second"));
}

#[test]
fn ctrl_c_instead_of_a_value_writes_nothing_and_keys_are_shown_again() {
    let desk = Desk::new();
    let mut terminal = asking(&desk, &["--ask", "TOKEN"]);
    terminal.shows("TOKEN (not shown): ");
    terminal.until_silent();
    terminal.press(&format!("{CANARY}\u{3}"));
    let person = terminal.person.try_clone().unwrap();
    terminal
        .ended()
        .complained(2, &["there is no value for TOKEN"]);
    let modes = tcgetattr(&person).unwrap().local_modes;
    assert!(modes.contains(LocalModes::ECHO), "keys are shown again");
    assert!(!desk.path("api.yaml").exists());
}
