//! The Workspace controller.
mod census;
