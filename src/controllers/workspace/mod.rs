//! The Workspace controller.
mod census;
mod children;
mod latest;
mod watches;
