//! The one YAML door: reads hostile text with spans and budgets, writes our own values.
