//! Header lines: where they are in the bytes of a head, and what each is to a proxy.

use memchr::memchr;

use super::Violation;
use super::grammar::{all, is_token, is_value, trimmed};
use super::kind::Kind;
use crate::proxy::door::Fields;

/// Most header lines of a head.
const COUNT: usize = 256;
/// As many as most heads have.
const USUAL: usize = 24;

/// A piece of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// From one byte to before another. Heads are far below 4 GiB.
    pub fn new(start: usize, end: usize) -> Self {
        let at = |place| u32::try_from(place).unwrap_or(u32::MAX);
        Self {
            start: at(start),
            end: at(end),
        }
    }

    /// The piece of these bytes.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Where it begins.
    pub fn start(self) -> usize {
        self.start as usize
    }
}

/// A header line.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    name: Span,
    value: Span,
    /// What it is to a proxy.
    pub kind: Kind,
}

impl Field {
    /// Where its value is.
    pub fn value_span(self) -> Span {
        self.value
    }
}

/// The bytes of a head, and its header lines. Made once for a connection and used for each head.
#[derive(Default)]
pub struct Lines {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl Lines {
    /// Takes a whole head: its first line ends before `first`, its empty line ends it.
    ///
    /// # Errors
    /// When a line is no header.
    pub fn read(
        &mut self,
        head: &[u8],
        first: usize,
        kind: fn(&[u8]) -> Kind,
    ) -> Result<(), Violation> {
        self.bytes.clear();
        self.bytes.extend_from_slice(head);
        self.fields.clear();
        self.fields.reserve(USUAL);
        let mut start = first;
        loop {
            let rest = head.get(start..).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else {
                // The scan found the empty line: there is no head without.
                return Err(Violation::BareLf);
            };
            let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
            let line = line.ok_or(Violation::BareLf)?;
            if line.is_empty() {
                return Ok(());
            }
            if self.fields.len() == COUNT {
                return Err(Violation::FieldCount);
            }
            let (name, value) = split(line)?;
            if !all(value, is_value) {
                return Err(Violation::FieldValue);
            }
            let blanks = value.len() - trimmed_start(value).len();
            let value_start = start + name.len() + 1 + blanks;
            self.fields.push(Field {
                name: Span::new(start, start + name.len()),
                value: Span::new(value_start, value_start + trimmed(value).len()),
                kind: kind(name),
            });
            start += end + 1;
        }
    }

    /// The bytes of the head.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The lines.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// A line's name, as it came.
    pub fn name(&self, field: Field) -> &[u8] {
        field.name.of(&self.bytes)
    }

    /// A line's value, as it came, without the blanks around it.
    pub fn value(&self, field: Field) -> &[u8] {
        field.value.of(&self.bytes)
    }

    /// Each value of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        let fields = self.fields.iter().filter(move |field| field.kind == kind);
        fields.map(|field| self.value(*field))
    }

    /// Writes a line as it came, with one blank after the colon.
    pub fn put(&self, out: &mut Vec<u8>, field: Field) {
        out.extend_from_slice(self.name(field));
        out.extend_from_slice(b": ");
        out.extend_from_slice(self.value(field));
        out.extend_from_slice(b"\r\n");
    }

    /// Takes every plain line of this name for the connection's own.
    pub fn take_for_hop(&mut self, name: &[u8]) {
        let Self { bytes, fields } = self;
        for field in fields.iter_mut() {
            if field.kind == Kind::Plain && field.name.of(bytes).eq_ignore_ascii_case(name) {
                field.kind = Kind::Hop;
            }
        }
    }

    /// Has nothing any more.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    /// Gives back memory that one large head took.
    pub fn rest(&mut self) {
        if self.bytes.capacity() > 8 * 1024 {
            *self = Self::default();
        }
    }
}

impl Fields for Lines {
    fn each<'a>(&'a self, name: &str, call: &mut dyn FnMut(&'a [u8])) {
        for field in &self.fields {
            if self.name(*field).eq_ignore_ascii_case(name.as_bytes()) {
                call(self.value(*field));
            }
        }
    }
}

/// Name and value of a line; the value with the blanks around it.
pub fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Violation::Folded);
    }
    let colon = memchr(b':', line).ok_or(Violation::FieldColon)?;
    let (name, rest) = line.split_at(colon);
    if name.is_empty() || !all(name, is_token) {
        return Err(Violation::FieldName);
    }
    Ok((name, rest.get(1..).unwrap_or_default()))
}

fn trimmed_start(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    let blanks = value.iter().take_while(is_blank).count();
    value.get(blanks..).unwrap_or_default()
}

/// Finds the end of a head while it comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    line: usize,
    seen: usize,
}

impl Scan {
    /// How long the head is, once its empty line is there.
    ///
    /// # Errors
    /// When a line ends in LF alone, or the first is empty.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        while let Some(at) = memchr(b'\n', bytes.get(self.seen..).unwrap_or_default()) {
            let end = self.seen + at;
            let line = bytes.get(self.line..end).unwrap_or_default();
            if line.last() != Some(&b'\r') {
                return Err(Violation::BareLf);
            }
            let is_first = self.line == 0;
            (self.line, self.seen) = (end + 1, end + 1);
            if line.len() == 1 {
                return if is_first {
                    Err(Violation::EmptyFirstLine)
                } else {
                    Ok(Some(end + 1))
                };
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::proxy::wire::kind::request_kind;

    fn read(head: &str) -> Result<Vec<(String, String)>, Violation> {
        let mut scan = Scan::default();
        let end = scan.end(head.as_bytes())?.unwrap();
        let first = head.find('\n').unwrap() + 1;
        let mut lines = Lines::default();
        lines.read(&head.as_bytes()[..end], first, request_kind)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = lines.fields().iter();
        Ok(fields
            .map(|field| (text(lines.name(*field)), text(lines.value(*field))))
            .collect())
    }

    #[rstest]
    #[case("A:b", Ok(("A", "b")))]
    #[case("A: \t b c \t", Ok(("A", "b c")))]
    #[case("A:", Ok(("A", "")))]
    #[case("A: ä:b", Ok(("A", "ä:b")))]
    #[case("A : b", Err(Violation::FieldName))]
    #[case("A\t: b", Err(Violation::FieldName))]
    #[case(": b", Err(Violation::FieldName))]
    #[case("A b: c", Err(Violation::FieldName))]
    #[case("A", Err(Violation::FieldColon))]
    #[case(" A: b", Err(Violation::Folded))]
    #[case("\tA: b", Err(Violation::Folded))]
    #[case("A: b\0", Err(Violation::FieldValue))]
    #[case("A: b\rC: d", Err(Violation::FieldValue))]
    #[case("A: b\x7f", Err(Violation::FieldValue))]
    #[case("A: \x0bb", Err(Violation::FieldValue))]
    #[case("A: b\nC: d", Err(Violation::BareLf))]
    fn a_line_is_a_name_a_colon_and_a_value(
        #[case] line: &str,
        #[case] expected: Result<(&str, &str), Violation>,
    ) {
        let got = read(&format!("GET / HTTP/1.1\r\n{line}\r\n\r\n"));
        let expected = expected.map(|(name, value)| vec![(name.to_owned(), value.to_owned())]);
        assert_eq!(got, expected);
    }

    #[test]
    fn headers_have_a_number() {
        let head = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(read(&head(COUNT)).unwrap().len(), COUNT);
        assert_eq!(read(&head(COUNT + 1)), Err(Violation::FieldCount));
    }

    #[test]
    fn a_head_is_found_however_it_comes() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        for piece in 1..head.len() {
            let mut scan = Scan::default();
            let ends: Vec<_> = (1..=head.len())
                .filter(|there| there % piece == 0 || *there == head.len())
                .filter_map(|there| scan.end(&head[..there]).unwrap())
                .take(1)
                .collect();
            assert_eq!(ends, [24], "in pieces of {piece}");
        }
        assert_eq!(
            Scan::default().end(b"\r\nGET /"),
            Err(Violation::EmptyFirstLine)
        );
        assert_eq!(
            Scan::default().end(b"GET / HTTP/1.1\n"),
            Err(Violation::BareLf)
        );
        assert_eq!(Scan::default().end(b"\n"), Err(Violation::BareLf));
    }
}
