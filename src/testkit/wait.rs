//! Waiting with a deadline: a test that waits for ever tells nobody what it waited for.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for something that should happen at once: long, since the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer, and panics with `what` when [`PATIENCE`] is over.
///
/// # Panics
/// When no answer came in time: this is a failed test.
pub async fn eventually<T, F, Fut>(what: &str, ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    match within(PATIENCE, ask).await {
        Some(answer) => answer,
        None => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Asks again and again until there is an answer or the time is over.
pub async fn within<T, F, Fut>(limit: Duration, mut ask: F) -> Option<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(10);
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
