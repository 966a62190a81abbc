//! Controllers, one folder a kind: watch, dereference, validate, apply, observe, report.
