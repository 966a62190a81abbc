//! The offline verdict is that of the server's strict dry run (I8).
