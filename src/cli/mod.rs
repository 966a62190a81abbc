//! What was typed becomes typed configuration; the only room that reads the environment.
