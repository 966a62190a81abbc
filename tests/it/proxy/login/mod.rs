//! The login against a real provider, one that lies, and the real API server.

mod cluster;
mod http;
mod liar;
mod provider;
mod sign_in;
mod site;
