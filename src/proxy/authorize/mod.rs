//! Who may do what, on every request.
//!
//! [`decide`] is a pure function of the route, who asks, and how old the picture of the cluster is; what it does not allow
//! is denied. [`origin`] tells the requests that a page of somebody else made from those that the user wanted. [`live`]
//! asks again for every long request when anything changes, and cuts what no longer passes.

pub mod decide;
pub mod live;
pub mod origin;

pub use decide::{Decision, Question, Viewer, decide};
pub use live::Registry;
