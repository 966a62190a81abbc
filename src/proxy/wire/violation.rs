//! What is refused, each rule by its name: for counters, for logs and for whoever wonders about a 400.

/// A rule that bytes broke. The same for requests and for responses of upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A line that ends in LF alone.
    #[error("a line ends without CR")]
    BareLf,
    /// An empty line before the first.
    #[error("the first line is empty")]
    EmptyFirstLine,
    /// Not three parts with one blank between.
    #[error("the request line is not method, target and version")]
    RequestLine,
    /// Not a token, or longer than any.
    #[error("the method is no token")]
    Method,
    /// TRACE shows cookies to scripts.
    #[error("TRACE is not served")]
    Trace,
    /// A tunnel to anywhere.
    #[error("CONNECT is not served")]
    Connect,
    /// Neither 1.0 nor 1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// A control, a blank, a fragment or what is not ASCII.
    #[error("the target has a byte that must be percent-encoded")]
    TargetByte,
    /// Neither a path nor a URL.
    #[error("the target is neither a path nor an http URL")]
    TargetForm,
    /// The host in the target is another one.
    #[error("the host in the target differs from the header Host")]
    TargetHost,
    /// None at all.
    #[error("the header Host is missing")]
    HostMissing,
    /// Two of them.
    #[error("the header Host stands there twice")]
    HostTwice,
    /// Not a name.
    #[error("the header Host is no host name")]
    HostGrammar,
    /// The connection was opened for another host.
    #[error("this connection was opened for another host")]
    Misdirected,
    /// Not three parts.
    #[error("the status line is not version, code and reason")]
    StatusLine,
    /// A line that goes on in the next.
    #[error("a header is folded over several lines")]
    Folded,
    /// A line without a colon.
    #[error("a header line has no colon")]
    FieldColon,
    /// Not a token: blanks before the colon among them.
    #[error("a header's name is no token")]
    FieldName,
    /// A control byte: CR and NUL among them.
    #[error("a header's value has a control byte")]
    FieldValue,
    /// More than anybody needs.
    #[error("too many headers")]
    FieldCount,
    /// More than we read.
    #[error("the head is too long")]
    HeadLength,
    /// Nobody may tell which one counts.
    #[error("Content-Length and Transfer-Encoding stand there together")]
    LengthAndCoding,
    /// Two of them, equal or not.
    #[error("Content-Length stands there twice")]
    LengthTwice,
    /// Not digits alone.
    #[error("Content-Length is no number")]
    Length,
    /// Anything but `chunked`.
    #[error("Transfer-Encoding is not exactly 'chunked'")]
    Coding,
    /// Two of them.
    #[error("Transfer-Encoding stands there twice")]
    CodingTwice,
    /// HTTP/1.0 has none.
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingIn10,
    /// A list of headers to drop that names one which must arrive.
    #[error("Connection names a header that is not the connection's")]
    ConnectionNames,
    /// An upgrade with a body, or not by GET.
    #[error("an upgrade is a GET of HTTP/1.1 without a body")]
    Upgrade,
    /// Something else than `100-continue`.
    #[error("Expect is not '100-continue'")]
    Expect,
    /// Not hexadecimal digits and a line end.
    #[error("the size of a chunk is no number")]
    ChunkSize,
    /// Nobody uses them but smugglers.
    #[error("a chunk has an extension")]
    ChunkExtension,
    /// Data longer than its size said.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// A header that must not come after the body.
    #[error("a trailer has a name that only heads may have")]
    TrailerName,
    /// More than anybody needs.
    #[error("the trailers are too long")]
    TrailerLength,
    /// It came too slowly.
    #[error("the request did not come in time")]
    Slow,
    /// Longer than what we answer ourselves takes.
    #[error("the body is too long")]
    BodyLength,
}

impl Violation {
    /// The rule's name, as counters have it.
    pub fn rule(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::EmptyFirstLine => "empty_first_line",
            Self::RequestLine => "request_line",
            Self::Method => "method",
            Self::Trace => "trace",
            Self::Connect => "connect",
            Self::Version => "version",
            Self::TargetByte => "target_byte",
            Self::TargetForm => "target_form",
            Self::TargetHost => "target_host",
            Self::HostMissing => "host_missing",
            Self::HostTwice => "host_twice",
            Self::HostGrammar => "host_grammar",
            Self::Misdirected => "misdirected",
            Self::StatusLine => "status_line",
            Self::Folded => "folded",
            Self::FieldColon => "field_colon",
            Self::FieldName => "field_name",
            Self::FieldValue => "field_value",
            Self::FieldCount => "field_count",
            Self::HeadLength => "head_length",
            Self::LengthAndCoding => "length_and_coding",
            Self::LengthTwice => "length_twice",
            Self::Length => "length",
            Self::Coding => "coding",
            Self::CodingTwice => "coding_twice",
            Self::CodingIn10 => "coding_in_1_0",
            Self::ConnectionNames => "connection_names",
            Self::Upgrade => "upgrade",
            Self::Expect => "expect",
            Self::ChunkSize => "chunk_size",
            Self::ChunkExtension => "chunk_extension",
            Self::ChunkEnd => "chunk_end",
            Self::TrailerName => "trailer_name",
            Self::TrailerLength => "trailer_length",
            Self::Slow => "slow",
            Self::BodyLength => "body_length",
        }
    }

    /// What the client gets.
    pub fn status(self) -> u16 {
        match self {
            Self::Slow => 408,
            Self::BodyLength => 413,
            Self::Expect => 417,
            Self::Misdirected => 421,
            Self::HeadLength | Self::FieldCount => 431,
            Self::Version => 505,
            _ => 400,
        }
    }
}
