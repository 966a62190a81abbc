//! The head of a response of an upstream.

use http::Method;
use memchr::memchr;

use super::fields::{Lines, Span};
use super::grammar::{all, decimal, is_token, is_value, members};
use super::kind::{Kind, response_kind};
use super::request::{CONNECTION_NAMES, body_framing, is_end_to_end};
use super::{Framing, Violation};

/// The head of a response that passed every rule. Made once for a connection and used for each response.
#[derive(Default)]
pub struct ResponseHead {
    lines: Lines,
    status: u16,
    reason: Span,
    is_1_1: bool,
    close: bool,
    length: Option<u64>,
    is_chunked: bool,
}

impl ResponseHead {
    /// Reads a whole head, its empty line included.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn read(&mut self, head: &[u8]) -> Result<(), Violation> {
        let end = memchr(b'\n', head).ok_or(Violation::BareLf)?;
        let line = head.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        self.first_line(line.ok_or(Violation::BareLf)?)?;
        self.lines.read(head, end + 1, response_kind)?;
        let (length, is_chunked) = body_framing(&self.lines)?;
        if is_chunked && !self.is_1_1 {
            return Err(Violation::CodingIn10);
        }
        (self.length, self.is_chunked) = (length, is_chunked);
        self.connection_words()
    }

    fn first_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        let (version, rest) = line.split_at_checked(9).ok_or(Violation::StatusLine)?;
        self.is_1_1 = match version {
            b"HTTP/1.1 " => true,
            b"HTTP/1.0 " => false,
            _ => return Err(Violation::Version),
        };
        let (code, reason) = rest.split_at_checked(3).ok_or(Violation::StatusLine)?;
        self.status = decimal(code)
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| *code >= 100)
            .ok_or(Violation::StatusLine)?;
        // Some leave out the blank before a reason that is none.
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] => reason,
            _ => return Err(Violation::StatusLine),
        };
        if !all(reason, is_value) {
            return Err(Violation::StatusLine);
        }
        self.reason = Span::new(line.len() - reason.len(), line.len());
        Ok(())
    }

    fn connection_words(&mut self) -> Result<(), Violation> {
        self.close = !self.is_1_1;
        let mut others: Vec<Vec<u8>> = Vec::new();
        for word in self.lines.of_kind(Kind::Connection).flat_map(members) {
            if word.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if all(word, is_token) && !is_end_to_end(word) {
                if others.len() == CONNECTION_NAMES {
                    return Err(Violation::ConnectionNames);
                }
                others.push(word.to_owned());
            }
        }
        for name in others {
            self.lines.take_for_hop(&name);
        }
        Ok(())
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The words after it.
    pub fn reason(&self) -> &[u8] {
        self.reason.of(self.lines.bytes())
    }

    /// The header lines.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Whether more responses follow this one to the same request.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Whether the connection may serve another request.
    pub fn keeps_alive(&self) -> bool {
        !self.close
    }

    /// For how long the upstream says that it keeps the connection, in seconds.
    pub fn keep_alive_seconds(&self) -> Option<u64> {
        let mut words = self.lines.of_kind(Kind::KeepAlive).flat_map(members);
        words.find_map(|word| decimal(word.strip_prefix(b"timeout=")?))
    }

    /// Whether a body may follow at all, and headers may say how long it is.
    pub fn may_have_body(&self) -> bool {
        !(100..200).contains(&self.status) && self.status != 204
    }

    /// Where the body ends, in answer to a request of this method.
    pub fn framing(&self, method: &Method) -> Framing {
        if !self.may_have_body() || self.status == 304 || method == Method::HEAD {
            return Framing::NONE;
        }
        match self.length {
            _ if self.is_chunked => Framing::CHUNKED,
            Some(length) => Framing::Length(length),
            None => Framing::UntilEnd,
        }
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// Gives back memory that one large head took.
    pub fn rest(&mut self) {
        self.lines.rest();
    }
}

#[cfg(test)]
mod tests;
