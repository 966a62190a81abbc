//! How a role logs: arguments that all of them share.

use clap::{Args, ValueEnum};

use crate::telemetry::{LogFormat, LogSettings};

/// How to log.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,workstead=debug
    #[arg(
        long,
        env = "WORKSTEAD_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    log: String,
    /// How log lines look
    #[arg(
        long,
        env = "WORKSTEAD_LOG_FORMAT",
        hide_env_values = true,
        value_enum,
        default_value = "text"
    )]
    log_format: LogFormatArg,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// For machines
    Json,
}

impl LogArgs {
    /// As telemetry knows it.
    pub fn settings(&self) -> LogSettings {
        LogSettings {
            format: match self.log_format {
                LogFormatArg::Text => LogFormat::Text,
                LogFormatArg::Json => LogFormat::Json,
            },
            filter: self.log.clone(),
        }
    }
}
