//! `workstead crds`: the definitions of all kinds.

use std::process::ExitCode;

use crate::api::crds;
use crate::cli::args::CrdsArgs;
use crate::cli::error::CliError;
use crate::cli::output::{DataFormat, Screen};

/// Prints all definitions: YAML documents, or one JSON list.
pub fn run(arguments: &CrdsArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    let definitions = crds::all();
    match arguments.output {
        DataFormat::Json => screen.data(
            DataFormat::Json,
            &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": definitions}),
        )?,
        DataFormat::Yaml => {
            for definition in &definitions {
                screen.print("---\n")?;
                screen.data(DataFormat::Yaml, definition)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
