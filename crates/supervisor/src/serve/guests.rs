//! Who is connected, and no more than there are places.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::process;

/// A place that is given back, however the conversation ends.
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// One of so many; none, when all are taken.
    pub fn take(taken: &Arc<AtomicUsize>, places: usize) -> Option<Self> {
        let before = taken.fetch_add(1, Ordering::SeqCst);
        // Given back at once if it was one too many.
        let place = Self(Arc::clone(taken));
        (before < places).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Talks to each who connects, in a thread of its own, until the process ends. Who finds no place is hung up on.
pub fn serve(
    listener: &TcpListener,
    name: &str,
    places: usize,
    converse: impl Fn(TcpStream) + Send + Sync + 'static,
) {
    let converse = Arc::new(converse);
    let taken = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No descriptor may be free: a moment later one may be.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let Some(place) = Place::take(&taken, places) else {
            continue;
        };
        let converse = Arc::clone(&converse);
        // Without a thread for it the place is given back and the connection ends.
        let _ = process::thread(name, move || {
            converse(stream);
            drop(place);
        });
    }
}
