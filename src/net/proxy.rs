//! The header by which a proxy tells who is at its other end: the PROXY protocol, versions 1 and 2
//! (haproxy's doc/proxy-protocol.txt). Pure: told the bytes so far, it tells how many more surely belong to the header, so
//! that no byte behind it is read, which may be the first of a TLS handshake.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses.
const FIXED: usize = 16;

/// Bytes of the shortest header, `PROXY UNKNOWN` with its CRLF.
const SHORTEST: usize = 15;

/// Bytes of the longest of version 1 (§2.1).
const LONGEST_LINE: usize = 107;

/// Bytes behind the fixed part of version 2: addresses, and what else a proxy wants to tell.
const MOST_BEHIND: usize = 4096;

/// How far a header has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// So many bytes more, at least one.
    More(usize),
    /// It is whole. The client's address; none: who connected speaks for itself (LOCAL), or it does not say.
    Whole(Option<SocketAddr>),
    /// That is none.
    Malformed,
}

/// Reads what has come of a header.
pub fn read(bytes: &[u8]) -> Header {
    if bytes.len() < SHORTEST {
        return Header::More(SHORTEST - bytes.len());
    }
    if bytes.starts_with(SIGNATURE) { binary(bytes) } else { line(bytes) }
}

/// ```abnf
/// header = "PROXY " ( ( "TCP4" / "TCP6" ) SP source SP destination SP port SP port / "UNKNOWN" *OCTET ) CRLF   ; §2.1
/// ```
fn line(bytes: &[u8]) -> Header {
    let begins = bytes.starts_with(b"PROXY ");
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        let more = if bytes.last() == Some(&b'\r') { 1 } else { 2 };
        let goes_on = begins && !bytes.contains(&b'\n') && bytes.len() + more <= LONGEST_LINE;
        return if goes_on { Header::More(more) } else { Header::Malformed };
    };
    let line = line.strip_prefix(b"PROXY ").filter(|line| !line.contains(&b'\n'));
    line.and_then(|line| source(std::str::from_utf8(line).ok()?)).map_or(Header::Malformed, Header::Whole)
}

fn source(line: &str) -> Option<Option<SocketAddr>> {
    let words: Vec<&str> = line.split(' ').collect();
    let (from, _, ports): (IpAddr, IpAddr, &[&str]) = match words.as_slice() {
        ["UNKNOWN", ..] => return Some(None),
        ["TCP4", from, to, ports @ ..] => (from.parse::<Ipv4Addr>().ok()?.into(), to.parse::<Ipv4Addr>().ok()?.into(), ports),
        ["TCP6", from, to, ports @ ..] => (from.parse::<Ipv6Addr>().ok()?.into(), to.parse::<Ipv6Addr>().ok()?.into(), ports),
        _ => return None,
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match ports {
        [source, destination] => number(destination).and(number(source)).map(|port| Some(SocketAddr::new(from, port))),
        _ => None,
    }
}

/// §2.2: the signature; version and command; family and protocol; how many bytes follow; addresses and ports; the rest,
/// which is passed over.
fn binary(bytes: &[u8]) -> Header {
    let Some((&[version, family, high, low], behind)) = bytes.get(SIGNATURE.len()..).and_then(|rest| rest.split_first_chunk())
    else {
        return Header::More(FIXED - bytes.len());
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version >> 4 != 2 || length > MOST_BEHIND {
        return Header::Malformed;
    }
    if behind.len() < length {
        return Header::More(length - behind.len());
    }
    match (version & 15, family) {
        (0, _) => Header::Whole(None),
        // Over TCP, and of unknown or Unix sockets.
        (1, 0x11) => address(behind, 8, |ip: [u8; 4]| ip.into()),
        (1, 0x21) => address(behind, 32, |ip: [u8; 16]| ip.into()),
        (1, 0x00 | 0x31) => Header::Whole(None),
        _ => Header::Malformed,
    }
}

/// The source address comes first, its port behind both addresses, which have so many bytes.
fn address<const N: usize>(bytes: &[u8], both: usize, ip: impl Fn([u8; N]) -> IpAddr) -> Header {
    let port = bytes.get(both..).and_then(|rest| rest.first_chunk::<4>());
    match (bytes.first_chunk::<N>(), port) {
        (Some(source), Some([high, low, ..])) => {
            Header::Whole(Some(SocketAddr::new(ip(*source), u16::from_be_bytes([*high, *low]))))
        }
        _ => Header::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header at the front of `bytes`, fed as it asks for more, and how many bytes that took.
    fn fed(bytes: &[u8]) -> (Header, usize) {
        let mut taken = 0;
        loop {
            match read(&bytes[..taken]) {
                Header::More(more) if taken + more <= bytes.len() => {
                    assert!(more > 0);
                    taken += more;
                }
                header => return (header, taken),
            }
        }
    }

    fn v2(version: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let length = u16::try_from(behind.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version, family], &length, behind].concat()
    }

    fn from(address: &str) -> Header {
        Header::Whole(Some(address.parse().unwrap()))
    }

    #[test]
    fn lines_of_version_1() {
        for (line, header) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n", from("192.0.2.7:56324")),
            ("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", from("[2001:db8::7]:1")),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 65535\r\n", from("[::ffff:192.0.2.7]:1")),
            ("PROXY UNKNOWN\r\n", Header::Whole(None)),
            ("PROXY UNKNOWN ffff:f...f:ffff what ever\r\n", Header::Whole(None)),
        ] {
            // Not one byte of what follows.
            assert_eq!(fed(format!("{line}\r\nEHLO x\r\n").as_bytes()), (header, line.len()), "{line}");
        }
        for line in [
            "EHLO client.test\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 25 9\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 70000 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 25\r\n",
            "PROXY TCP4 2001:db8::7 198.51.100.1 1 25\r\n",
            "PROXY TCP4 192.0.2.7 mail.example 1 25\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 1 25\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 25\r\n",
            "PROXY TCP4 192.0.2.7\n198.51.100.1 1 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 25\n\r\n",
            "proxy unknown x\r\n",
        ] {
            assert_eq!(fed(line.as_bytes()).0, Header::Malformed, "{line:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        let (header, taken) = fed(endless.as_bytes());
        assert!(header == Header::Malformed && taken <= LONGEST_LINE, "{taken}");
    }

    #[test]
    fn binary_headers_of_version_2() {
        let (four, six) =
            ([192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 0, 25], [&[0x20, 1, 0xd, 0xb8][..], &[7; 28], &[1, 2, 3, 4]].concat());
        let more = [&four[..], b"\x03\0\x04abcd"].concat();
        for (bytes, header) in [
            (v2(0x21, 0x11, &four), from("192.0.2.7:56324")),
            (v2(0x21, 0x11, &more), from("192.0.2.7:56324")),
            (v2(0x21, 0x21, &six), from("[2001:db8:707:707:707:707:707:707]:258")),
            (v2(0x20, 0x11, &four), Header::Whole(None)),
            (v2(0x20, 0, b""), Header::Whole(None)),
            (v2(0x21, 0, b"???"), Header::Whole(None)),
            (v2(0x21, 0x31, &[0; 216]), Header::Whole(None)),
        ] {
            assert_eq!(fed(&[&bytes[..], b"EHLO x\r\n"].concat()), (header, bytes.len()), "{bytes:?}");
        }
        for bytes in [
            v2(0x11, 0x11, &four),
            v2(0x22, 0x11, &four),
            v2(0x21, 0x12, &four),
            v2(0x21, 0x11, &four[..11]),
            v2(0x21, 0x21, &four),
            v2(0x21, 0x41, &four),
            v2(0x21, 0x11, &[0; 5000]),
        ] {
            assert_eq!(fed(&bytes).0, Header::Malformed, "{bytes:?}");
        }
    }

    #[test]
    fn a_header_that_breaks_off_is_waited_for() {
        let whole = v2(0x21, 0x11, &[1; 12]);
        for end in 0..whole.len() {
            assert!(matches!(fed(&whole[..end]).0, Header::More(_)), "{end}");
        }
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n";
        for end in 0..line.len() {
            assert!(matches!(fed(&line[..end]).0, Header::More(_)), "{end}");
        }
    }
}
