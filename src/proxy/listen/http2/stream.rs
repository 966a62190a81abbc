//! One request of HTTP/2 as the connection of HTTP/1 that the front serves: what is read of it is a request, what is
//! written to it is taken for its response.

use std::io::{self, ErrorKind, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{request, response};
use crate::proxy::wire::fields::Scan;
use crate::proxy::wire::framing::Chunk;
use crate::proxy::wire::{Framing, ResponseHead, trailers};

/// Longest head of a response: the front wrote it, and read it strictly before.
const LONGEST_HEAD: usize = 256 * 1024;

/// More than a frame takes: memory of a long head.
const LARGE: usize = 20 * 1024;

/// A request of HTTP/2.
pub struct Stream {
    method: Method,
    is_websocket: bool,
    is_chunked: bool,
    body: RecvStream,
    reading: Reading,
    /// What is to be read next, and how much of it was.
    input: Vec<u8>,
    taken: usize,
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    writing: Writing,
    /// What was written of a head.
    head: Vec<u8>,
    scan: Scan,
    trailers: HeaderMap,
    is_shut: bool,
    /// Its share of what heads of this connection may take.
    _room: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Body,
    Trailers,
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Head,
    Body(Framing),
    Over,
}

impl Stream {
    /// Of what was accepted, unless the heads of its connection take too much: then it is to come again.
    pub fn new(
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        heads: &Arc<Semaphore>,
    ) -> Option<Self> {
        let has_body = !request.body().is_end_stream();
        let written = request::write(&request, has_body);
        let kibibytes = u32::try_from(written.head.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(room) = heads.clone().try_acquire_many_owned(kibibytes) else {
            respond.send_reset(Reason::REFUSED_STREAM);
            return None;
        };
        let (parts, body) = request.into_parts();
        Some(Self {
            method: parts.method,
            is_websocket: written.is_websocket,
            is_chunked: written.is_chunked,
            body,
            reading: if has_body {
                Reading::Body
            } else {
                Reading::Over
            },
            input: written.head,
            taken: 0,
            respond,
            send: None,
            writing: Writing::Head,
            head: Vec::new(),
            scan: Scan::default(),
            trailers: HeaderMap::new(),
            is_shut: false,
            _room: room,
        })
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.taken = 0;
        self.input.clear();
        match self.reading {
            Reading::Body => match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => self.data_came(&data),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => self.reading = Reading::Trailers,
            },
            Reading::Trailers => {
                let trailers = ready!(self.body.poll_trailers(cx)).map_err(broken)?;
                self.body_ended(trailers.as_ref());
            }
            // The client sends nothing more; it may still leave.
            Reading::Over => {
                let reset = match &mut self.send {
                    Some(send) => ready!(send.poll_reset(cx)),
                    None => ready!(self.respond.poll_reset(cx)),
                };
                let _ = reset;
                return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn data_came(&mut self, data: &[u8]) {
        // It is held here until it is read, and there is no more of it than one frame.
        let _ = self.body.flow_control().release_capacity(data.len());
        if data.is_empty() {
            return;
        }
        if self.is_chunked {
            // Nothing can go wrong: the bytes go to memory.
            let _ = write!(self.input, "{:x}\r\n", data.len());
        }
        self.input.extend_from_slice(data);
        if self.is_chunked {
            self.input.extend_from_slice(b"\r\n");
        }
    }

    fn body_ended(&mut self, came: Option<&HeaderMap>) {
        self.reading = Reading::Over;
        if !self.is_chunked {
            return;
        }
        let none = HeaderMap::new();
        trailers::put(&mut self.input, came.unwrap_or(&none));
    }

    /// Takes what is written up to the end of the head, and sends that on.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.head.extend_from_slice(bytes);
        let end = self.scan.end(&self.head).map_err(|_| unreadable())?;
        let Some(length) = end else {
            return if self.head.len() > LONGEST_HEAD {
                Err(unreadable())
            } else {
                Ok(bytes.len())
            };
        };
        let rest = self.head.len() - length;
        self.head.truncate(length);
        let mut head = ResponseHead::default();
        head.read(&self.head).map_err(|_| unreadable())?;
        (self.head, self.scan) = (Vec::new(), Scan::default());
        self.head_came(&head)?;
        Ok(bytes.len() - rest)
    }

    fn head_came(&mut self, head: &ResponseHead) -> io::Result<()> {
        let response = response::head(head).ok_or_else(unreadable)?;
        if head.is_interim() {
            return self.respond.send_informational(response).map_err(broken);
        }
        let framing = match head.status() {
            101 => Framing::UntilEnd,
            _ => head.framing(&self.method),
        };
        let is_over = framing.is_over();
        let sent = self.respond.send_response(response, is_over);
        self.send = Some(sent.map_err(broken)?);
        self.writing = if is_over {
            Writing::Over
        } else {
            Writing::Body(framing)
        };
        Ok(())
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        mut framing: Framing,
    ) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else {
            return Poll::Ready(Err(unreadable()));
        };
        let is_data = match framing {
            Framing::Length(_) | Framing::UntilEnd => true,
            Framing::Chunked(chunk) => matches!(chunk, Chunk::Data(_)),
        };
        let mut bytes = bytes;
        if is_data {
            send.reserve_capacity(bytes.len());
            if send.capacity() == 0 {
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
        let is_over = framing.is_over();
        if piece.is_data {
            let data = Bytes::copy_from_slice(taken);
            send.send_data(data, is_over).map_err(broken)?;
        } else if was_trailer {
            trailers::take(&mut self.trailers, taken);
            if is_over {
                end(send, std::mem::take(&mut self.trailers))?;
            }
        }
        self.writing = if is_over {
            Writing::Over
        } else {
            Writing::Body(framing)
        };
        Poll::Ready(Ok(piece.length))
    }
}

/// Ends a body in chunks.
fn end(send: &mut SendStream<Bytes>, trailers: HeaderMap) -> io::Result<()> {
    if trailers.is_empty() {
        send.send_data(Bytes::new(), true).map_err(broken)
    } else {
        send.send_trailers(trailers).map_err(broken)
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, error)
}

/// What was written is no response. The front writes none such.
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
                if this.taken == this.input.len() && this.input.capacity() > LARGE {
                    (this.input, this.taken) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(()));
            }
            let has_ended = this.is_websocket && this.reading == Reading::Over;
            if this.is_shut || has_ended {
                return Poll::Ready(Ok(()));
            }
            let polled = this.poll_input(cx);
            if polled.is_pending() {
                // It may be long until something comes.
                this.input = Vec::new();
            }
            ready!(polled)?;
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
            Writing::Body(framing) => this.poll_body(cx, bytes, framing),
            Writing::Over => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Only a body that ends with its connection ends here. Any other that is not over broke off, and the client must
    /// see that.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::replace(&mut this.is_shut, true) {
            return Poll::Ready(Ok(()));
        }
        match (&mut this.send, this.writing) {
            (_, Writing::Over) => {}
            (Some(send), Writing::Body(Framing::UntilEnd)) => {
                // It fails where the client has reset the stream: then there is nobody to tell that it is over.
                let _ = send.send_data(Bytes::new(), true);
            }
            (Some(send), _) => send.send_reset(Reason::INTERNAL_ERROR),
            (None, _) => this.respond.send_reset(Reason::INTERNAL_ERROR),
        }
        this.writing = Writing::Over;
        Poll::Ready(Ok(()))
    }
}
