//! Reading and writing that ends at a moment, however slowly the other side goes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::clock::Clock;

/// A connection with a moment at which all is over.
pub struct Deadline {
    /// The connection.
    pub stream: TcpStream,
    clock: Clock,
    until: Duration,
}

impl Deadline {
    /// Gives it so much time from now on.
    pub fn new(stream: TcpStream, clock: Clock, time: Duration) -> Self {
        let until = clock.elapsed() + time;
        Self {
            stream,
            clock,
            until,
        }
    }

    /// Gives it so much time from now on.
    pub fn extend(&mut self, time: Duration) {
        self.until = self.clock.elapsed() + time;
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_sub(self.clock.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

impl Read for Deadline {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Deadline {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
