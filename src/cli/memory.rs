//! What keeps secrets that are in memory from being written to a disk.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From now on this process leaves no core, and no other one of its user looks into it. A limit of zero is not enough: where
/// cores go to a program, the kernel does not ask for it.
pub fn keep_from_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let done = setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    // It goes on: an administrator who sees this knows better than we do why the kernel refuses.
    if let Err(error) = done {
        tracing::warn!(%error, "failed to switch core dumps off: after a crash, secrets may be on a disk");
    }
}
