//! The proxy: its parts over real sockets, against a real API server, real first processes and a real identity provider.

mod login;
mod path;
mod replicas;
mod supervisors;
mod watches;
