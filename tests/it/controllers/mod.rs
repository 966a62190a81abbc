//! The life of controller processes: who leads, who writes, what is ready.

mod class;
mod identities;
mod keyring;
mod lease;
mod life;
mod owners;
mod ready;
mod references;
mod rotation;
pub mod variables;

use workstead::controllers::ControllerConfig;
pub use workstead::testkit::process::{Process, TEST_LABEL};

/// A configuration that looks at one namespace, and at the classes that are labelled with its name.
pub fn mk_config(namespace: &str, identity: &str) -> ControllerConfig {
    let program = env!("CARGO_BIN_EXE_workstead");
    workstead::testkit::process::mk_config(namespace, identity, program)
}
