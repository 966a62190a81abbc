//! Two replicas of the proxy, each a process of its own, before the same workspace: what one begins the other goes on with,
//! and what one does not know yet it does not let in.
//!
//! API server, controller-manager, controller, first process and replicas are real; each replica has a proxy with faults
//! between itself and the API server. The pod is played: its address is one of this machine, on the loopback interface,
//! which takes root or sudo without a password. No replica would dial 127.0.0.1.

mod addresses;
mod app;
mod browser;
mod cut_off;
mod key_ring;
mod lag;
mod login;
mod replica;
mod restart;
mod revocation;
mod world;
