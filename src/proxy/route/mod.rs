//! Which host leads to which pod.
//!
//! Watches ([`watches`]) fill an index ([`index`]) with what is kept of each object ([`facts`]). It checks what leads to
//! whom, names whatever it refuses ([`refusal`], [`address`]), and publishes immutable routes ([`table`]). How old all of
//! this is, says [`freshness`]. Before a pod is dialled, its first process proves that it is the pod of that workspace
//! ([`supervisors`]).

pub mod address;
pub mod asked;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod freshness;
pub mod index;
pub mod metrics;
pub mod refusal;
pub mod report;
pub mod seen;
pub mod supervisors;
pub mod table;
pub mod texts;
pub mod watches;

pub use address::Denied;
pub use freshness::{Freshness, Stage};
pub use index::Index;
pub use supervisors::{Proof, Supervisors};
pub use table::{Backend, Pod, Route, Routes, Table};
