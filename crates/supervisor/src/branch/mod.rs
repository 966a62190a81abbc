//! The process in which the workspace lives: it clones, runs the commands and the editor, and the user's own command.
//!
//! It takes no signals. Those come to the first process, which sends their numbers over a socket; on its other way go the
//! results of the steps.

mod clone;
mod editor;
mod environment;
mod files;
mod git_error;
mod home;
mod needs;
mod post_start;
mod reporter;

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::signal::{SIGINT, SIGQUIT, SIGTERM};
use workstead_link::{Network, Plan, StepKind};

use crate::arguments::Command;
use crate::clock::Clock;
use crate::launch::{self, Error};
use crate::outcome;
use crate::places::Places;
use crate::process::{Family, GRACE, thread};
use crate::steps::{first, planned};
use environment::Environment;
use reporter::Reporter;

/// How many projects are cloned at once.
const CLONES: usize = 4;

/// What every step needs.
struct Context {
    plan: Plan,
    places: Places,
    clock: Clock,
    environment: Environment,
    family: Family,
    reporter: Reporter,
}

impl Context {
    /// Where the work is done: in the first project, or beside where it would be.
    fn work_folder(&self) -> PathBuf {
        let projects = self.places.projects();
        match self.plan.projects.first() {
            Some(project) => {
                let folder = projects.join(&project.folder);
                project
                    .subdirectory
                    .as_ref()
                    .map_or(folder.clone(), |part| folder.join(part))
            }
            None => projects,
        }
    }
}

/// What the branch waits for.
enum Event {
    /// The first process got a signal.
    Signal(i32),
    /// The first process is gone.
    Alone,
    /// The projects are there, or never will be.
    Cloned,
    /// The user's command has ended.
    Ended(io::Result<ExitStatus>),
}

/// What the first process hands over.
pub struct Inheritance {
    /// The user's command.
    pub command: Option<Command>,
    /// What else there is to do, or why it can't be read; none when nobody asked for anything.
    pub plan: Option<Result<Plan, String>>,
    /// Where things are.
    pub places: Places,
    /// Counts since the first process started.
    pub clock: Clock,
    /// To the first process.
    pub socket: UnixStream,
}

/// Lives until the user's command ends, or until asked to end; gives the exit code.
///
/// # Errors
/// When the command can't be started.
pub fn run(mine: Inheritance) -> Result<u8, Error> {
    let (sender, events) = channel();
    let orders = mine.socket.try_clone().map_err(Error::Branch)?;
    let signals = sender.clone();
    thread("orders", move || read_orders(orders, &signals)).map_err(Error::Branch)?;
    let family = Family::default();
    let (mut environment, command) = (None, mine.command);
    match mine.plan {
        None => send(&sender, Event::Cloned),
        Some(plan) => {
            let (plan, flaw) = match plan {
                Ok(plan) => (plan, None),
                Err(flaw) => (Plan::default(), Some(flaw)),
            };
            let made = Environment::of(&plan, &mine.places).map_err(Error::Branch)?;
            environment = Some(made.clone());
            let context = Arc::new(Context {
                reporter: Reporter::new(&plan, mine.clock, mine.socket),
                plan,
                places: mine.places,
                clock: mine.clock,
                environment: made,
                family: family.clone(),
            });
            let cloned = sender.clone();
            thread("steps", move || {
                take_steps(&context, flaw.as_deref(), &cloned)
            })
            .map_err(Error::Branch)?;
        }
    }
    let code = attend(
        command.as_ref(),
        environment.as_ref(),
        &family,
        &sender,
        &events,
    );
    family.end();
    family.join(GRACE);
    code
}

/// All steps, in order: network, files, projects; then commands and editor side by side.
fn take_steps(context: &Context, flaw: Option<&str>, cloned: &Sender<Event>) {
    let steps = planned(&context.plan);
    let at = |kind| first(&steps, kind);
    if !attach_network(context, at(StepKind::Network)) {
        // Nothing that the user wrote may run without the network that the class asks for.
        return;
    }
    let rest = files::check(context, at(StepKind::Files), flaw);
    clone_all(context, at(StepKind::Clone));
    if let Some(rest) = rest {
        files::finish(context, at(StepKind::Files), &rest);
    }
    send(cloned, Event::Cloned);
    thread::scope(|scope| {
        if let Some(editor) = &context.plan.editor {
            let index = at(StepKind::Editor);
            let work = move || editor::run(context, index, editor);
            if let Err(error) = thread::Builder::new()
                .name("editor".to_owned())
                .spawn_scoped(scope, work)
            {
                eprintln!("workstead-supervisor: failed to start a thread for the editor: {error}");
            }
        }
        for (index, command) in (at(StepKind::PostStart)..).zip(&context.plan.post_start) {
            if !context.family.is_ending() {
                post_start::run(context, index, command);
            }
        }
    });
}

/// The place for a network of the workspace's own; with the pod's there is nothing to do.
fn attach_network(context: &Context, index: usize) -> bool {
    context.reporter.begin(index);
    match context.plan.network {
        Network::None => {
            context.reporter.done(index, None);
            true
        }
        Network::Other => {
            context.reporter.failed(index, files::unknown_network());
            false
        }
    }
}

fn clone_all(context: &Context, first: usize) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            let Some(project) = context.plan.projects.get(n) else {
                return;
            };
            clone::run(context, first + n, project);
        }
    };
    thread::scope(|scope| {
        for _ in 1..context.plan.projects.len().min(CLONES) {
            // Without a further thread the others, or this one, do its work.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// Starts the user's command once the projects are there, hands signals on, and waits for the end.
fn attend(
    command: Option<&Command>,
    environment: Option<&Environment>,
    family: &Family,
    sender: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<u8, Error> {
    let mut child = None;
    // We hold a sender, so this does not end by itself.
    while let Ok(event) = events.recv() {
        match event {
            Event::Cloned if !family.is_ending() => {
                if let Some(command) = command {
                    child = Some(start(command, environment, sender)?);
                }
            }
            Event::Cloned => {}
            Event::Ended(status) => return Ok(ended(command, status)),
            Event::Alone => {
                if let Some(child) = child {
                    forward(child, Signal::KILL.as_raw());
                }
                return Ok(137);
            }
            Event::Signal(signal) => match (child, command, signal) {
                (Some(child), ..) => {
                    if signal == SIGTERM {
                        family.end();
                    }
                    forward(child, signal);
                }
                (None, None, SIGTERM | SIGINT | SIGQUIT) => return Ok(0),
                // It would have ended by this signal, had it been started.
                (None, Some(_), SIGTERM | SIGINT | SIGQUIT) => return Ok(128 + signal as u8),
                (None, ..) => {}
            },
        }
    }
    Ok(0)
}

fn start(
    command: &Command,
    environment: Option<&Environment>,
    sender: &Sender<Event>,
) -> Result<Pid, Error> {
    let (pid, mut child) = launch::start(command, |command| {
        if let Some(environment) = environment {
            environment.apply(command);
        }
    })?;
    let sender = sender.clone();
    thread("command", move || send(&sender, Event::Ended(child.wait()))).map_err(Error::Branch)?;
    Ok(pid)
}

fn ended(command: Option<&Command>, status: io::Result<ExitStatus>) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let Ok(status) = status else { return 125 };
    // An exit code of 137 alone does not say who was killed.
    if let (Some(command), Some(signal)) = (command, status.signal()) {
        eprintln!(
            "workstead-supervisor: '{}' was ended by signal {signal}",
            command.program.to_string_lossy()
        );
    }
    outcome::code_of(status)
}

fn forward(child: Pid, signal: i32) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        // The group may just have ended; then there is nobody left to tell.
        let _ = kill_process_group(child, signal);
    }
}

/// Each byte is the number of a signal.
fn read_orders(mut orders: UnixStream, events: &Sender<Event>) {
    let mut byte = [0];
    while let Ok(1) = orders.read(&mut byte) {
        let [signal] = byte;
        send(events, Event::Signal(signal.into()));
    }
    send(events, Event::Alone);
}

/// Whoever listens may have gone; then all is about to end.
fn send(events: &Sender<Event>, event: Event) {
    let _ = events.send(event);
}
