//! The bytes of HTTP/1: buffers, grammar, heads and framing. What is read here is read strictly and once: whatever two
//! readers could understand differently is an error, and what passed is sent on as it came.

pub mod buffer;
pub mod deadline;
pub mod fields;
pub mod framing;
pub mod grammar;
pub mod kind;
pub mod link;
pub mod request;
pub mod response;
pub mod trailers;
pub mod violation;

pub use buffer::{Blocks, Buffer};
pub use deadline::Deadline;
pub use framing::Framing;
pub use link::Link;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use violation::Violation;
