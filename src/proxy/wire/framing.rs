//! Where a body ends. Chunks are checked as they pass and go on byte for byte.

use memchr::memchr;

use super::Violation;
use super::fields;
use super::grammar::all;
use super::kind;

/// Longest line of a chunk's size: sixteen digits and the line end.
const SIZE_LINE: usize = 18;
/// Longest trailers altogether.
const TRAILERS: usize = 8 * 1024;

/// How a body is delimited, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are still to come; none, it is over.
    Length(u64),
    /// In chunks.
    Chunked(Chunk),
    /// Until the connection ends. Responses only.
    UntilEnd,
}

/// What comes next of a body in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The line with a size.
    Size,
    /// So many bytes of data.
    Data(u64),
    /// The line end after data.
    DataEnd,
    /// A trailer, or the empty line that ends all; with how many bytes of trailers there were.
    Trailer(usize),
    /// Nothing: it is over.
    Over,
}

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// So many bytes.
    pub length: usize,
    /// Whether they are data, and not framing.
    pub is_data: bool,
}

impl Framing {
    /// No body.
    pub const NONE: Self = Self::Length(0);
    /// Chunks, before the first.
    pub const CHUNKED: Self = Self::Chunked(Chunk::Size);

    /// Whether the body is over.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Over))
    }

    /// How many of the bytes belong to the body and are in order. The rest is not part of it, or not whole yet.
    ///
    /// # Errors
    /// When the framing is wrong. What was in order before it is lost with it.
    pub fn check(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut checked = 0;
        while let Some(piece) = self.next(bytes.get(checked..).unwrap_or_default())? {
            checked += piece.length;
        }
        Ok(checked)
    }

    /// Takes the next piece. None when the body is over or more bytes are needed.
    ///
    /// # Errors
    /// When the framing is wrong.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<Piece>, Violation> {
        let data = |length| Piece {
            length,
            is_data: true,
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        match self {
            Self::UntilEnd => Ok(Some(data(bytes.len()))),
            Self::Length(0) => Ok(None),
            Self::Length(left) => Ok(Some(data(take(left, bytes.len())))),
            Self::Chunked(chunk) => chunk.next(bytes),
        }
    }
}

/// Takes off what is there of what is left.
fn take(left: &mut u64, there: usize) -> usize {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(there);
    *left -= taken as u64;
    taken
}

impl Chunk {
    fn next(&mut self, bytes: &[u8]) -> Result<Option<Piece>, Violation> {
        if let Self::Data(left) = self {
            let length = take(left, bytes.len());
            if *left == 0 {
                *self = Self::DataEnd;
            }
            return Ok(Some(Piece {
                length,
                is_data: true,
            }));
        }
        let length = match *self {
            Self::Size => self.size(bytes)?,
            Self::DataEnd => self.data_end(bytes)?,
            Self::Trailer(so_far) => self.trailer(bytes, so_far)?,
            Self::Data(_) | Self::Over => None,
        };
        Ok(length.map(|length| Piece {
            length,
            is_data: false,
        }))
    }

    fn size(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        let seen = bytes.get(..SIZE_LINE.min(bytes.len())).unwrap_or_default();
        let Some((line, length)) = line(seen)? else {
            return if seen.contains(&b';') {
                Err(Violation::ChunkExtension)
            } else if seen.len() == SIZE_LINE {
                Err(Violation::ChunkSize)
            } else {
                Ok(None)
            };
        };
        if line.contains(&b';') {
            return Err(Violation::ChunkExtension);
        }
        // Without the check a sign would be read as one.
        if line.is_empty() || !line.iter().all(u8::is_ascii_hexdigit) {
            return Err(Violation::ChunkSize);
        }
        let digit = |so_far: u64, byte: &u8| {
            let value = char::from(*byte).to_digit(16).unwrap_or_default();
            so_far << 4 | u64::from(value)
        };
        *self = match line.iter().fold(0, digit) {
            0 => Self::Trailer(0),
            size => Self::Data(size),
        };
        Ok(Some(length))
    }

    fn data_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        match bytes {
            [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                *self = Self::Size;
                Ok(Some(2))
            }
            _ => Err(Violation::ChunkEnd),
        }
    }

    fn trailer(&mut self, bytes: &[u8], so_far: usize) -> Result<Option<usize>, Violation> {
        let Some((line, length)) = line(bytes)? else {
            return if so_far + bytes.len() > TRAILERS {
                Err(Violation::TrailerLength)
            } else {
                Ok(None)
            };
        };
        if line.is_empty() {
            *self = Self::Over;
            return Ok(Some(length));
        }
        let (name, value) = fields::split(line)?;
        if !all(value, super::grammar::is_value) {
            return Err(Violation::FieldValue);
        }
        if !kind::may_trail(name) {
            return Err(Violation::TrailerName);
        }
        if so_far + length > TRAILERS {
            return Err(Violation::TrailerLength);
        }
        *self = Self::Trailer(so_far + length);
        Ok(Some(length))
    }
}

/// The first line without its end, and how long it is with it.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Violation> {
    let Some(end) = memchr(b'\n', bytes) else {
        return Ok(None);
    };
    match bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")) {
        Some(line) => Ok(Some((line, end + 1))),
        None => Err(Violation::BareLf),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// All of it, as it would come in pieces: what was checked, whether it was over.
    fn run(bytes: &[u8], piece: usize) -> Result<(usize, bool), Violation> {
        let mut framing = Framing::CHUNKED;
        let (mut checked, mut there) = (0, 0);
        while there < bytes.len() {
            there = bytes.len().min(there + piece);
            checked += framing.check(&bytes[checked..there])?;
        }
        Ok((checked, framing.is_over()))
    }

    #[rstest]
    #[case(b"0\r\n\r\n", Ok((5, true)))]
    #[case(b"5\r\nhello\r\n0\r\n\r\nGET ", Ok((15, true)))]
    #[case(b"00A\r\n0123456789\r\n0\r\nGrpc-Status: 0\r\n\r\n", Ok((38, true)))]
    #[case(b"5\r\nhel", Ok((6, false)))]
    #[case(b"5\nhello\r\n0\r\n\r\n", Err(Violation::BareLf))]
    #[case(b"5\r\nhello\n0\r\n\r\n", Err(Violation::ChunkEnd))]
    #[case(b"5\r\nhello!\r\n0\r\n\r\n", Err(Violation::ChunkEnd))]
    #[case(b"5\r\nhello\r0\r\n\r\n", Err(Violation::ChunkEnd))]
    #[case(b"5;a=b\r\nhello\r\n0\r\n\r\n", Err(Violation::ChunkExtension))]
    #[case(b"5;a\nGET / HTTP/1.1", Err(Violation::BareLf))]
    #[case(b"5;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Err(Violation::ChunkExtension))]
    #[case(b"+5\r\nhello\r\n0\r\n\r\n", Err(Violation::ChunkSize))]
    #[case(b"0x5\r\nhello\r\n0\r\n\r\n", Err(Violation::ChunkSize))]
    #[case(b" 5\r\nhello\r\n0\r\n\r\n", Err(Violation::ChunkSize))]
    #[case(b"5 \r\nhello\r\n0\r\n\r\n", Err(Violation::ChunkSize))]
    #[case(b"\r\nhello", Err(Violation::ChunkSize))]
    #[case(b"10000000000000005\r\nhello\r\n", Err(Violation::ChunkSize))]
    #[case(b"fffffffffffffffff", Ok((0, false)))]
    #[case(b"ffffffffffffffffff", Err(Violation::ChunkSize))]
    #[case(b"0\r\nContent-Length: 5\r\n\r\n", Err(Violation::TrailerName))]
    #[case(b"0\r\nX-Workstead-User: a\r\n\r\n", Err(Violation::TrailerName))]
    #[case(b"0\r\nX_Forwarded_For: a\r\n\r\n", Err(Violation::TrailerName))]
    #[case(b"0\r\nSet-Cookie: a=b\r\n\r\n", Err(Violation::TrailerName))]
    #[case(b"0\r\nA: b\n\r\n", Err(Violation::BareLf))]
    #[case(b"0\r\nA: b\0\r\n\r\n", Err(Violation::FieldValue))]
    #[case(b"0\r\nA : b\r\n\r\n", Err(Violation::FieldName))]
    #[case(b"0\r\n A: b\r\n\r\n", Err(Violation::Folded))]
    fn a_body_in_chunks_is_exactly_that_however_it_comes(
        #[case] bytes: &[u8],
        #[case] expected: Result<(usize, bool), Violation>,
    ) {
        for piece in [1, 2, 3, 7, bytes.len()] {
            let got = run(bytes, piece);
            // What is cut off may be wrong in an earlier way, but never in order.
            if piece == bytes.len() || expected.is_ok() {
                assert_eq!(got, expected, "in pieces of {piece}");
            } else {
                assert!(got.is_err(), "in pieces of {piece}: {got:?}");
            }
        }
    }

    #[test]
    fn a_body_of_a_length_ends_there() {
        let mut framing = Framing::Length(5);
        assert_eq!(framing.check(b"abc"), Ok(3));
        assert!(!framing.is_over());
        assert_eq!(framing.check(b"defg"), Ok(2));
        assert!(framing.is_over());
        assert_eq!(framing.check(b"g"), Ok(0));
        assert_eq!(Framing::UntilEnd.check(b"abc"), Ok(3));
    }

    #[test]
    fn trailers_have_a_limit() {
        let mut many = b"0\r\n".to_vec();
        many.extend(b"a: b\r\n".repeat(TRAILERS / 6 + 1));
        assert_eq!(run(&many, 100), Err(Violation::TrailerLength));
        let mut long = b"0\r\na: ".to_vec();
        long.extend(b"b".repeat(TRAILERS));
        assert_eq!(run(&long, 100), Err(Violation::TrailerLength));
    }

    proptest! {
        #[test]
        fn what_was_put_in_chunks_is_found_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
            rest in proptest::collection::vec(any::<u8>(), 0..8),
            piece in 1..40usize,
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            let length = bytes.len();
            bytes.extend(rest);
            prop_assert_eq!(run(&bytes, piece), Ok((length, true)));
            let (mut framing, mut at) = (Framing::CHUNKED, 0);
            let mut data: Vec<u8> = Vec::new();
            while let Some(piece) = framing.next(&bytes[at..]).unwrap() {
                if piece.is_data {
                    data.extend(&bytes[at..at + piece.length]);
                }
                at += piece.length;
            }
            prop_assert_eq!(data, chunks.concat());
        }

        #[test]
        fn how_bytes_are_cut_changes_nothing(
            bytes in "[0-9a-f;\r\n :+A]{0,40}",
            piece in 1..10usize,
        ) {
            let whole = run(bytes.as_bytes(), bytes.len().max(1));
            let cut = run(bytes.as_bytes(), piece);
            prop_assert_eq!(whole.is_ok(), cut.is_ok(), "{:?} {:?}", whole, cut);
            if whole.is_ok() {
                prop_assert_eq!(whole, cut);
            }
        }
    }
}
