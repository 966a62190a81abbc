//! Ports that speak HTTP/2 in plain text, as gRPC does. Many requests pass by one connection at once; each looks to the
//! exchange like a connection of HTTP/1 of its own, so that one set of rules holds for all.
//!
//! - `connections`: which there are, and who drives them.
//! - `stream`: one request.
//! - `head`: heads from one version to the other.

pub mod connections;
mod head;
pub mod stream;
