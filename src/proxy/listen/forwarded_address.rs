//! The PROXY protocol (versions 1 and 2): a balancer's word on who is behind it. Only those that must speak it are asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// How a header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How one of version 1 does.
const WORD: &[u8] = b"PROXY ";
/// Longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// Longest header of version 2 behind its first 16 bytes.
const LONGEST: usize = 4096;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The balancer said nothing, or not enough.
    #[error("failed to read the header of the PROXY protocol")]
    Read(#[from] std::io::Error),
    /// It said something else.
    #[error("what came is no header of the PROXY protocol")]
    Grammar,
}

/// Reads the header and not a byte more. None, when the balancer speaks for itself.
///
/// # Errors
/// When there is none, or it is wrong.
pub async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<IpAddr>, HeaderError> {
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        return read_binary(stream).await;
    }
    if !begin.starts_with(WORD) {
        return Err(HeaderError::Grammar);
    }
    let mut line = begin.to_vec();
    // What follows belongs to the client.
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(HeaderError::Grammar);
        }
        line.push(stream.read_u8().await?);
    }
    text(&line).ok_or(HeaderError::Grammar)
}

/// `PROXY TCP4 source destination port port`, or `PROXY UNKNOWN` and whatever.
fn text(line: &[u8]) -> Option<Option<IpAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        [
            "PROXY",
            family,
            source,
            destination,
            source_port,
            destination_port,
        ] => {
            let source: IpAddr = source.parse().ok()?;
            let destination: IpAddr = destination.parse().ok()?;
            let is_four = *family == "TCP4";
            let fits = (is_four || *family == "TCP6")
                && source.is_ipv4() == is_four
                && destination.is_ipv4() == is_four;
            let _: (u16, u16) = (source_port.parse().ok()?, destination_port.parse().ok()?);
            fits.then_some(Some(source.to_canonical()))
        }
        _ => None,
    }
}

async fn read_binary<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<IpAddr>, HeaderError> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = usize::from(stream.read_u16().await?);
    if length > LONGEST {
        return Err(HeaderError::Grammar);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    match command {
        // Its own health check.
        0x20 => Ok(None),
        0x21 => binary(family, &body).ok_or(HeaderError::Grammar),
        _ => Err(HeaderError::Grammar),
    }
}

/// The source comes first, then the destination and the ports; more may follow.
fn binary(family: u8, body: &[u8]) -> Option<Option<IpAddr>> {
    match family {
        0x11 if body.len() >= 12 => {
            let source: [u8; 4] = body.get(..4)?.try_into().ok()?;
            Some(Some(Ipv4Addr::from(source).into()))
        }
        0x21 if body.len() >= 36 => {
            let source: [u8; 16] = body.get(..16)?.try_into().ok()?;
            Some(Some(IpAddr::from(Ipv6Addr::from(source)).to_canonical()))
        }
        // Not by TCP, or nobody knows.
        0x00 => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    async fn heard(bytes: &[u8]) -> Result<(Option<String>, usize), ()> {
        let mut rest = bytes;
        let read = read(&mut rest).await.map_err(|_| ())?;
        Ok((read.map(|address| address.to_string()), rest.len()))
    }

    fn binary_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body, b"rest"].concat()
    }

    #[rstest]
    #[case("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\nrest", Some("192.0.2.7"))]
    #[case(
        "PROXY TCP6 2001:db8::7 fd00::1 56324 443\r\nrest",
        Some("2001:db8::7")
    )]
    #[case("PROXY UNKNOWN\r\nrest", None)]
    #[case("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nrest", None)]
    #[tokio::test]
    async fn a_balancers_word_is_read_and_nothing_behind_it(
        #[case] header: &str,
        #[case] source: Option<&str>,
    ) {
        let expected = Ok((source.map(str::to_owned), 4));
        assert_eq!(heard(header.as_bytes()).await, expected);
    }

    #[rstest]
    #[case("GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
    #[case("PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n")]
    #[case("PROXY TCP4 2001:db8::7 fd00::1 56324 443\r\n")]
    #[case("PROXY TCP4 192.0.2.7 10.0.0.1 56324 70000\r\n")]
    #[case("PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n")]
    #[case("PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n")]
    #[case("PROXY TCP4 192.0.2.7")]
    #[case("")]
    #[tokio::test]
    async fn what_is_no_header_ends_the_connection(#[case] header: &str) {
        assert_eq!(heard(header.as_bytes()).await, Err(()));
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(heard(endless.as_bytes()).await, Err(()));
    }

    #[tokio::test]
    async fn the_binary_form_is_read_too() {
        let four = [&[192, 0, 2, 7][..], &[10, 0, 0, 1], &[0; 4]].concat();
        let source = |text: &str| Ok((Some(text.to_owned()), 4));
        assert_eq!(
            heard(&binary_header(0x21, 0x11, &four)).await,
            source("192.0.2.7")
        );
        let more = [&four[..], &[4, 0, 1, 0]].concat();
        assert_eq!(
            heard(&binary_header(0x21, 0x11, &more)).await,
            source("192.0.2.7")
        );
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets();
        let six = [&address[..], &[0; 20]].concat();
        assert_eq!(
            heard(&binary_header(0x21, 0x21, &six)).await,
            source("2001:db8::7")
        );
        assert_eq!(heard(&binary_header(0x20, 0, &[])).await, Ok((None, 4)));
        assert_eq!(
            heard(&binary_header(0x21, 0x11, &four[..11])).await,
            Err(())
        );
        assert_eq!(heard(&binary_header(0x22, 0x11, &four)).await, Err(()));
        assert_eq!(heard(&binary_header(0x11, 0x11, &four)).await, Err(()));
        assert_eq!(heard(&binary_header(0x21, 0x31, &four)).await, Err(()));
        assert_eq!(heard(&binary_header(0x21, 0x11, &[0; 5000])).await, Err(()));
    }
}
