//! The door to first processes: what controller and proxy both need to call the supervisor of a workspace.
//!
//! Mutual TLS 1.3. It knows us by a certificate of the installation's authority ([`identity`]), we know it by its key
//! alone ([`pin`]); one request, and what it answers ([`dial`]).

pub mod dial;
pub mod identity;
pub mod pin;
