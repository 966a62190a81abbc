//! A role runs until a signal ends it.

use std::future::Future;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use crate::cli::error::CliError;

/// Runs a role until it ends by itself or a signal ends it; it is told, and waited for.
///
/// # Errors
/// What the role failed with.
pub async fn until_ended<E, F>(
    role: impl FnOnce(CancellationToken) -> F,
) -> Result<ExitCode, CliError>
where
    E: std::error::Error,
    F: Future<Output = Result<(), E>>,
{
    let shutdown = CancellationToken::new();
    let mut running = std::pin::pin!(role(shutdown.clone()));
    tokio::select! {
        ended = running.as_mut() => ended?,
        signal = ended_by_signal() => {
            tracing::info!(signal = signal?, "shutting down");
            shutdown.cancel();
            running.await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ended_by_signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
