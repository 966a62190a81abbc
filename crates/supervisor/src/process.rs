//! Processes that the branch starts: each in a group of its own, each awaited, their output read whatever its amount.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::clock::Clock;
use crate::tail::{End, Redactor, Tail, each_line};

/// How much of a command's output goes to the log of the container in a minute.
const LOG_BYTES: usize = 1024 * 1024;

/// How long a process that was asked to end may take.
pub const GRACE: Duration = Duration::from_secs(5);

/// What is left to read of a process that has ended comes at once; a child of its own may hold its output open for ever.
const DRAIN: Duration = Duration::from_millis(300);

/// Stacks of our threads: they call nothing deep.
const STACK: usize = 256 * 1024;

/// Starts a thread.
///
/// # Errors
/// When there is no memory or process number for it.
pub fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
}

/// A lock whose holder panicked holds what it held before: nothing here is left half written.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All processes that run, so that they can be ended, and whether they are to end.
#[derive(Clone, Default)]
pub struct Family(Arc<Inner>);

#[derive(Default)]
struct Inner {
    groups: Mutex<BTreeSet<i32>>,
    changed: Condvar,
    ending: AtomicBool,
}

impl Family {
    /// Whether nothing new is to be started.
    pub fn is_ending(&self) -> bool {
        self.0.ending.load(Ordering::SeqCst)
    }

    /// Asks all to end. Nothing new starts from now on.
    pub fn end(&self) {
        let groups = lock(&self.0.groups);
        self.0.ending.store(true, Ordering::SeqCst);
        for &group in groups.iter() {
            signal(group, Signal::TERM);
        }
        self.0.changed.notify_all();
    }

    /// Waits until all have ended; after a while they are killed.
    pub fn join(&self, patience: Duration) {
        let groups = lock(&self.0.groups);
        let is_left = |groups: &mut BTreeSet<i32>| !groups.is_empty();
        let waited = self.0.changed.wait_timeout_while(groups, patience, is_left);
        let (groups, _) = waited.unwrap_or_else(PoisonError::into_inner);
        for &group in groups.iter() {
            signal(group, Signal::KILL);
        }
    }

    /// Waits; false when all is to end before that.
    pub fn pause(&self, duration: Duration) -> bool {
        let groups = lock(&self.0.groups);
        let goes_on = |_: &mut BTreeSet<i32>| !self.is_ending();
        drop(self.0.changed.wait_timeout_while(groups, duration, goes_on));
        !self.is_ending()
    }

    /// Starts a process in a group of its own.
    ///
    /// # Errors
    /// When the program can't be run, or all is to end.
    pub fn start(&self, mut command: Command) -> io::Result<Running> {
        // Held over the start: who ends all must see this one.
        let mut groups = lock(&self.0.groups);
        if self.is_ending() {
            return Err(io::Error::other("the workspace is about to end"));
        }
        let mut child = command.process_group(0).stdin(Stdio::null()).spawn()?;
        let group = i32::try_from(child.id()).map_err(io::Error::other)?;
        groups.insert(group);
        drop(groups);
        let (sender, ended) = sync_channel(1);
        let family = self.clone();
        thread("await", move || {
            let status = child.wait();
            lock(&family.0.groups).remove(&group);
            family.0.changed.notify_all();
            // Nobody may be left who asks.
            let _ = sender.send(status);
        })?;
        Ok(Running { group, ended })
    }
}

/// A process that was started.
pub struct Running {
    group: i32,
    ended: Receiver<io::Result<ExitStatus>>,
}

impl Running {
    /// How it ended, if it has within this time.
    pub fn wait(&self, patience: Duration) -> Option<ExitStatus> {
        match self.ended.recv_timeout(patience) {
            Ok(Ok(status)) => Some(status),
            Err(RecvTimeoutError::Timeout) => None,
            // It can't be awaited; it must not be awaited for ever.
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                Some(ExitStatus::from_raw(125 << 8))
            }
        }
    }

    /// Ends it and all of its group: with a request, then without.
    pub fn end(&self) {
        signal(self.group, Signal::TERM);
        if self.wait(GRACE).is_none() {
            signal(self.group, Signal::KILL);
            let _ = self.wait(GRACE);
        }
        // What did not end with the first of its group.
        signal(self.group, Signal::KILL);
    }
}

fn signal(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        // It may just have ended; then there is nobody left to tell.
        let _ = kill_process_group(group, signal);
    }
}

/// The output of a process while it is read.
pub struct Output {
    tail: Arc<Mutex<Tail>>,
    drained: Receiver<()>,
    heard: Arc<Mutex<u64>>,
}

impl Output {
    /// Takes over both outputs of a command that will be started; each line goes to the log with the name in front,
    /// unless there is no name.
    ///
    /// # Errors
    /// When there is no pipe or thread for it.
    pub fn of(
        command: &mut Command,
        name: Option<&str>,
        redactor: Redactor,
        clock: Clock,
    ) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let tail = Arc::new(Mutex::new(Tail::default()));
        let heard = Arc::new(Mutex::new(clock.millis()));
        let (sender, drained): (SyncSender<()>, _) = sync_channel(1);
        let (into, ear) = (Arc::clone(&tail), Arc::clone(&heard));
        let mut log = name.map(|name| Log::new(name, clock));
        thread("output", move || {
            each_line(BufReader::new(reader), &redactor, |line, end| {
                *lock(&ear) = clock.millis();
                // What is written over by the next line is progress, for people who look on.
                if end == End::Over {
                    return;
                }
                lock(&into).push(line);
                if let Some(log) = &mut log {
                    log.write(line);
                }
            });
            let _ = sender.send(());
        })?;
        Ok(Self {
            tail,
            drained,
            heard,
        })
    }

    /// When it last said something, on the clock.
    pub fn last_heard(&self) -> u64 {
        *lock(&self.heard)
    }

    /// The last lines, once the process has ended.
    pub fn tail(&self) -> Vec<String> {
        let _ = self.drained.recv_timeout(DRAIN);
        lock(&self.tail).lines()
    }
}

/// The log of the container: what floods it is cut, and it is said how much.
struct Log {
    prefix: String,
    clock: Clock,
    minute: u64,
    left: usize,
    dropped: usize,
}

impl Log {
    fn new(name: &str, clock: Clock) -> Self {
        Self {
            prefix: format!("[{name}] "),
            clock,
            minute: 0,
            left: LOG_BYTES,
            dropped: 0,
        }
    }

    fn write(&mut self, line: &str) {
        let minute = self.clock.millis() / 60_000;
        if minute != self.minute {
            self.say_dropped();
            (self.minute, self.left) = (minute, LOG_BYTES);
        }
        let bytes = self.prefix.len() + line.len() + 1;
        if bytes > self.left {
            if self.dropped == 0 {
                self.put("too much output: the rest of this minute is left out");
            }
            self.dropped += bytes;
            self.left = 0;
            return;
        }
        self.left -= bytes;
        self.put(line);
    }

    fn say_dropped(&mut self) {
        if self.dropped > 0 {
            let text = format!("{} bytes were left out", self.dropped);
            self.put(&text);
            self.dropped = 0;
        }
    }

    fn put(&self, line: &str) {
        // Nobody may read the log; the work goes on.
        let _ = writeln!(io::stdout().lock(), "{}{line}", self.prefix);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.say_dropped();
    }
}
