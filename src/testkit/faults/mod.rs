//! Faults between a kube client and the real API server, by a script; and a record of what went through.
//!
//! ```ignore
//! let faults = Faults::new();
//! let client = faults.client(plane.config());
//! faults.once(When::write(2), Fault::Answer(409));
//! // … run a pass …
//! let mark = faults.mark();
//! // … run a second pass …
//! assert_eq!(lines(&faults.writes_since(mark)), "");
//! ```
//!
//! A program of its own is put behind a [`FaultProxy`], which follows the same script.

mod layer;
mod proxy;
mod record;
mod script;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Response};
use hyper::body::Bytes;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::{mpsc, watch as signal};

pub use layer::FaultyService;
pub use proxy::FaultProxy;
pub use record::{Call, lines};
pub use script::{Cut, EventFault, Fault, When};
use script::{EventRule, Rule};
use watch::{Command, FaultyBody};

/// Commands that a watch may have waiting: a test gives one at a time.
const WAITING_COMMANDS: usize = 8;

/// A script of faults and the record of calls, shared by all clients that were made from it.
#[derive(Clone)]
pub struct Faults(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    crashed: signal::Sender<bool>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    event_rule: Option<EventRule>,
    calls: Vec<Call>,
    counted: usize,
    writes: usize,
    watches: Vec<(String, mpsc::Sender<Command>)>,
    /// What befalls every call since a crash.
    gone: Option<Fault>,
    remember: bool,
    reads: HashMap<String, Bytes>,
}

/// What the layer knows of a call under way.
struct Ticket {
    index: usize,
    path: String,
    key: String,
    is_watch: bool,
    is_read: bool,
    fault: Option<Fault>,
    /// Whether it is the last of a process.
    is_last: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl Faults {
    /// No faults yet: only the record.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            crashed: signal::Sender::new(false),
        }))
    }

    /// A client whose calls go through the script. It never tries again by itself: that would hide the faults.
    pub fn client(&self, mut config: Config) -> Client {
        config.default_retry = false;
        ClientBuilder::try_from(config)
            .expect("settings of the kit")
            .with_layer(self)
            .build()
    }

    /// The fault hits the next call that is picked, once.
    pub fn once(&self, when: When, fault: Fault) {
        self.times(1, when, fault);
    }

    /// The fault hits that many calls that are picked.
    pub fn times(&self, times: usize, when: When, fault: Fault) {
        self.add(when, fault, times, None);
    }

    /// The fault hits every call that is picked, until [`Faults::heal`].
    pub fn always(&self, when: When, fault: Fault) {
        self.add(when, fault, usize::MAX, None);
    }

    /// The process is as good as gone with this call: it fails in the given form, every later one is lost, and all
    /// watches break. A test then drops what it ran, calls [`Faults::heal`] and starts anew.
    pub fn crash(&self, when: When, cut: Cut) {
        self.add(when, cut.fault(), 1, Some(Fault::RequestLost));
    }

    /// The same for a process that a test then really kills: until then nothing answers it any more, so that it does
    /// not see its own end. In the form in which the reply is lost, [`Faults::wait_for_crash`] waits for the server.
    pub fn freeze(&self, when: When, cut: Cut) {
        self.add(when, cut.silence(), 1, Some(Fault::Hang));
    }

    /// Whether a crash came.
    pub fn has_crashed(&self) -> bool {
        *self.0.crashed.borrow()
    }

    /// Waits for the crash. Set a deadline.
    pub async fn wait_for_crash(&self) {
        let mut crashed = self.0.crashed.subscribe();
        // The sender lives in self.
        let _ = crashed.wait_for(|crashed| *crashed).await;
    }

    /// No more faults, and calls go through again. The record stays.
    pub fn heal(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.event_rule = None;
        state.gone = None;
        drop(state);
        self.0.crashed.send_replace(false);
    }

    /// Says what happens to each event of each watch: the path of the watch, and the event. The closure must not
    /// call this value.
    pub fn on_events(&self, rule: impl FnMut(&str, &Value) -> EventFault + Send + 'static) {
        self.state().event_rule = Some(Box::new(rule));
    }

    /// Ends all running watches of a resource (plural name), as the server does every few minutes.
    pub fn close_watches(&self, resource: &str) {
        self.command_watches(resource, Command::Close);
    }

    /// Lets the server say to all running watches of a resource that their version is too old (410).
    pub fn expire_watches(&self, resource: &str) {
        self.command_watches(resource, Command::Expire);
    }

    /// Breaks the connections of all running watches of a resource.
    pub fn break_watches(&self, resource: &str) {
        self.command_watches(resource, Command::Break);
    }

    /// From now on answers to reads are kept, for [`Fault::Stale`].
    pub fn remember_reads(&self) {
        self.state().remember = true;
    }

    /// Call numbers begin at 1 again.
    pub fn restart_count(&self) {
        let mut state = self.state();
        (state.counted, state.writes) = (0, 0);
    }

    /// How many calls were counted, watches not among them.
    pub fn count(&self) -> usize {
        self.state().counted
    }

    /// How many writes were counted.
    pub fn write_count(&self) -> usize {
        self.state().writes
    }

    /// A place in the record, for the `_since` views.
    pub fn mark(&self) -> usize {
        self.state().calls.len()
    }

    /// All calls, in their order.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The calls after a mark.
    pub fn calls_since(&self, mark: usize) -> Vec<Call> {
        self.calls().split_off(mark)
    }

    /// The writes, in their order; Events and Leases too.
    pub fn writes(&self) -> Vec<Call> {
        self.writes_since(0)
    }

    /// The writes after a mark.
    pub fn writes_since(&self, mark: usize) -> Vec<Call> {
        let mut calls = self.calls_since(mark);
        calls.retain(Call::is_write);
        calls
    }

    fn add(&self, when: When, fault: Fault, left: usize, then: Option<Fault>) {
        self.state().rules.push(Rule {
            when,
            fault,
            left,
            then,
        });
    }

    fn command_watches(&self, resource: &str, command: Command) {
        self.state().watches.retain(|(path, sender)| {
            let of_resource = path.split('/').any(|part| part == resource);
            if of_resource {
                // A full queue has a command that ends the watch as well.
                let _ = sender.try_send(command);
            }
            !of_resource && !sender.is_closed()
        });
    }

    /// Takes a call into the record and says what befalls it.
    fn begin(&self, request: &Request<Body>, body: String) -> Ticket {
        let mut state = self.state();
        let uri = request.uri();
        let mut call = Call {
            number: 0,
            write_number: 0,
            method: request.method().clone(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            body,
            status: None,
            fault: None,
        };
        let is_watch = call.is_watch();
        if !is_watch {
            state.counted += 1;
            call.number = state.counted;
        }
        if call.is_write() {
            state.writes += 1;
            call.write_number = state.writes;
        }
        let (fault, is_last) = fault_for(&mut state, &call);
        call.fault.clone_from(&fault);
        let ticket = Ticket {
            index: state.calls.len(),
            path: call.path.clone(),
            key: format!("{}?{}", call.path, call.query),
            is_watch,
            is_read: call.method == Method::GET && !is_watch,
            fault,
            is_last,
        };
        state.calls.push(call);
        if is_last && state.gone == Some(Fault::RequestLost) {
            for (_, sender) in state.watches.drain(..) {
                let _ = sender.try_send(Command::Break);
            }
        }
        ticket
    }

    /// The server has done with a call what it will: acted, or never seen it. Only now a crash is told, since whoever
    /// hears of it drops or kills the caller, and a request that is dropped on its way was not carried out.
    fn settled(&self, ticket: &Ticket) {
        if ticket.is_last {
            self.0.crashed.send_replace(true);
        }
    }

    fn answered(&self, ticket: &Ticket, response: Response<FaultyBody>) -> Response<FaultyBody> {
        if let Some(call) = self.state().calls.get_mut(ticket.index) {
            call.status = Some(response.status().as_u16());
        }
        response
    }

    fn register_watch(&self, path: &str) -> mpsc::Receiver<Command> {
        let (sender, receiver) = mpsc::channel(WAITING_COMMANDS);
        let mut state = self.state();
        if state.gone == Some(Fault::RequestLost) {
            let _ = sender.try_send(Command::Break);
        }
        state.watches.push((path.to_owned(), sender));
        receiver
    }

    fn judge_event(&self, path: &str, event: &Value) -> EventFault {
        match &mut self.state().event_rule {
            Some(rule) => rule(path, event),
            None => EventFault::Pass,
        }
    }

    fn remembers(&self) -> bool {
        self.state().remember
    }

    fn remember(&self, ticket: &Ticket, body: Bytes) {
        self.state().reads.insert(ticket.key.clone(), body);
    }

    fn remembered(&self, ticket: &Ticket) -> Option<Bytes> {
        self.state().reads.get(&ticket.key).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fault_for(state: &mut State, call: &Call) -> (Option<Fault>, bool) {
    if state.gone.is_some() {
        return (state.gone.clone(), false);
    }
    // A crash goes before whatever else would hit the same call.
    state.rules.sort_by_key(|rule| rule.then.is_none());
    let rule = state
        .rules
        .iter_mut()
        .find(|rule| rule.left > 0 && rule.when.picks(call));
    let Some(rule) = rule else {
        return (None, false);
    };
    rule.left -= 1;
    let fault = rule.fault.clone();
    state.gone.clone_from(&rule.then);
    (Some(fault), state.gone.is_some())
}
