//! Integration tests: against a real kube-apiserver, real Git servers, and the house itself.

mod chart;
mod kit;
