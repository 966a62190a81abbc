//! The data path, byte for byte: a raw client, the proxy with a door that lets everything through, and a raw app that
//! keeps what it got.

mod bodies;
mod h2c;
mod http2;
mod kit;
mod requests;
mod responses;
mod streams;
mod tls;
