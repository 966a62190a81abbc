//! Logs: text for people, JSON for machines, chosen once at start.

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// Which events are logged, in the syntax of tracing's filters: `info,workstead=debug`.
    pub filter: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("failed to read the log filter '{0}': write for example info,workstead=debug")]
    ParseFilter(String, #[source] ParseError),
    /// Somebody else set up logs before.
    #[error("failed to install the log subscriber")]
    Install(#[source] TryInitError),
}

/// Sets logs up for the whole process. They go to standard error: standard output belongs to results. Colours are left
/// out where it is no terminal, and where NO_COLOR asks for it, as in everything else that is written there.
///
/// # Errors
/// When the filter does not parse, or when logs were set up before.
pub fn init(settings: &LogSettings) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|error| LogError::ParseFilter(settings.filter.clone(), error))?;
    let colours = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    let installed = match settings.format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init(),
    };
    installed.map_err(LogError::Install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_filter_is_named_in_the_error() {
        let settings = LogSettings {
            filter: "workstead=loudly".to_owned(),
            ..LogSettings::default()
        };
        let error = init(&settings).unwrap_err().to_string();
        assert!(error.contains("workstead=loudly"), "{error}");
    }
}
