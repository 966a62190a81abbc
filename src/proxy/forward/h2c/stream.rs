//! One request to a port that speaks HTTP/2, as the connection of HTTP/1 that the exchange writes to: what is written is
//! taken for a request, what is read is its response.

use std::io::{self, ErrorKind, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method};
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Ticket;
use super::head::{self, Asked, Delimited};
use crate::proxy::wire::fields::Scan;
use crate::proxy::wire::framing::Chunk;
use crate::proxy::wire::{Framing, RequestHead, trailers};

/// A request.
pub struct Stream {
    ticket: Ticket,
    asked: Asked,
    writing: Writing,
    /// What was written of a head.
    head: Vec<u8>,
    scan: Scan,
    send: Option<SendStream<Bytes>>,
    trailers: HeaderMap,
    reading: Reading,
    delimited: Delimited,
    /// What is to be read next, and how much of it was.
    input: Vec<u8>,
    taken: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Head,
    Body(Framing),
    Over,
}

enum Reading {
    /// Nothing was asked yet.
    Unasked,
    Head(Box<ResponseFuture>),
    Body(RecvStream),
    Trailers(RecvStream),
    Over,
    /// There is no response.
    Failed,
}

impl Stream {
    /// Before its head.
    pub fn new(ticket: Ticket) -> Self {
        Self {
            ticket,
            asked: Asked {
                method: Method::GET,
                is_1_1: true,
            },
            writing: Writing::Head,
            head: Vec::new(),
            scan: Scan::default(),
            send: None,
            trailers: HeaderMap::new(),
            reading: Reading::Unasked,
            delimited: Delimited::AsItIs,
            input: Vec::new(),
            taken: 0,
        }
    }

    /// Takes what is written up to the end of the head, and asks.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.head.extend_from_slice(bytes);
        let end = self.scan.end(&self.head).map_err(|_| unreadable())?;
        let Some(length) = end else {
            return Ok(bytes.len());
        };
        let rest = self.head.len() - length;
        self.head.truncate(length);
        let mut head = RequestHead::default();
        head.read(&self.head).map_err(|_| unreadable())?;
        self.head = Vec::new();
        self.reading = Reading::Failed;
        let request = head::request(&head).ok_or_else(unreadable)?;
        let framing = head.framing();
        let asked = self.ticket.ask(request, framing.is_over());
        let (response, send) = asked.map_err(broken)?;
        self.asked = Asked {
            method: head.method().clone(),
            is_1_1: head.is_1_1(),
        };
        (self.reading, self.send) = (Reading::Head(Box::new(response)), Some(send));
        self.wrote(framing);
        Ok(bytes.len() - rest)
    }

    fn wrote(&mut self, framing: Framing) {
        self.writing = if framing.is_over() {
            Writing::Over
        } else {
            Writing::Body(framing)
        };
    }

    fn poll_write_body(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        mut framing: Framing,
    ) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(unreadable()));
        };
        let mut bytes = bytes;
        if matches!(
            framing,
            Framing::Length(_) | Framing::Chunked(Chunk::Data(_))
        ) {
            send.reserve_capacity(bytes.len());
            while send.capacity() == 0 {
                match ready!(send.poll_capacity(cx)) {
                    Some(capacity) => capacity.map_err(broken)?,
                    None => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
                };
            }
            let count = send.capacity().min(bytes.len());
            bytes = bytes.get(..count).unwrap_or_default();
        }
        let was_trailer = matches!(framing, Framing::Chunked(Chunk::Trailer(_)));
        let piece = framing.next(bytes).map_err(|_| unreadable())?;
        let piece = piece.ok_or_else(unreadable)?;
        let taken = bytes.get(..piece.length).unwrap_or_default();
        if piece.is_data {
            let data = Bytes::copy_from_slice(taken);
            send.send_data(data, framing.is_over()).map_err(broken)?;
        } else if was_trailer {
            trailers::take(&mut self.trailers, taken);
            if framing.is_over() {
                let trailers = std::mem::take(&mut self.trailers);
                let sent = if trailers.is_empty() {
                    send.send_data(Bytes::new(), true)
                } else {
                    send.send_trailers(trailers)
                };
                sent.map_err(broken)?;
            }
        }
        self.wrote(framing);
        Poll::Ready(Ok(piece.length))
    }

    /// Brings more to read. Says whether anything may still come.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.taken = 0;
        self.input.clear();
        match &mut self.reading {
            Reading::Unasked => return Poll::Pending,
            Reading::Failed => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            Reading::Over => return Poll::Ready(Ok(false)),
            Reading::Head(response) => {
                if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
                    let interim = interim.map_err(broken)?;
                    head::put(&mut self.input, &interim, &self.asked, false);
                    return Poll::Ready(Ok(true));
                }
                let response = ready!(Pin::new(&mut **response).poll(cx)).map_err(broken)?;
                let (parts, body) = response.into_parts();
                let response = http::Response::from_parts(parts, ());
                let is_over = body.is_end_stream();
                self.delimited = head::put(&mut self.input, &response, &self.asked, is_over);
                self.reading = if is_over {
                    Reading::Over
                } else {
                    Reading::Body(body)
                };
            }
            Reading::Body(body) => match ready!(body.poll_data(cx)) {
                Some(data) => {
                    let data = data.map_err(broken)?;
                    // It is held here until it is read, and there is no more of it than one frame.
                    let _ = body.flow_control().release_capacity(data.len());
                    self.data_came(&data);
                }
                None => {
                    let reading = std::mem::replace(&mut self.reading, Reading::Failed);
                    if let Reading::Body(body) = reading {
                        self.reading = Reading::Trailers(body);
                    }
                }
            },
            Reading::Trailers(body) => {
                let came = ready!(body.poll_trailers(cx)).map_err(broken)?;
                self.reading = Reading::Over;
                if self.delimited == Delimited::Chunked {
                    let trailers = trailers::without_others(came.unwrap_or_default());
                    trailers::put(&mut self.input, &trailers);
                }
            }
        }
        Poll::Ready(Ok(true))
    }

    fn data_came(&mut self, data: &[u8]) {
        // A chunk of nothing would be the last.
        if data.is_empty() {
            return;
        }
        let is_chunked = self.delimited == Delimited::Chunked;
        if is_chunked {
            // Nothing can go wrong: the bytes go to memory.
            let _ = write!(self.input, "{:x}\r\n", data.len());
        }
        self.input.extend_from_slice(data);
        if is_chunked {
            self.input.extend_from_slice(b"\r\n");
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, error)
}

/// What was written is no request that HTTP/2 can say.
fn unreadable() -> io::Error {
    ErrorKind::InvalidData.into()
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let rest = this.input.get(this.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let count = rest.len().min(buffer.remaining());
                buffer.put_slice(rest.get(..count).unwrap_or_default());
                this.taken += count;
                return Poll::Ready(Ok(()));
            }
            let polled = this.poll_input(cx);
            if polled.is_pending() {
                // It may be long until something comes.
                this.input = Vec::new();
            }
            if !ready!(polled)? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match this.writing {
            Writing::Head => Poll::Ready(this.write_head(bytes)),
            Writing::Body(framing) => this.poll_write_body(cx, bytes, framing),
            Writing::Over => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
