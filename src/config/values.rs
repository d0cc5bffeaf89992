//! How single values are written: sizes, durations, names, networks, addresses. Functions from text; an error says what was expected.

use super::schema::{Endpoint, Network};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Digits and a unit: `30m` → (30, "m").
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit))
}

/// `1500ms`, `90s`, `30m`, `4h`, `5d`, `1w`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not a duration such as \"90s\", \"30m\", \"4h\" or \"5d\"");
    let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return Err(expected()),
    };
    match number.checked_mul(milliseconds) {
        // A hundred years: beyond that sums with the clock might overflow.
        Some(span) if span <= 3_153_600_000_000 => Ok(Duration::from_millis(span)),
        _ => Err(format!("`{text}` is too long")),
    }
}

/// Bytes: `65536`, `64K`, `50M`, `2G`, by powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is not a size such as 65536, \"64K\", \"50M\" or \"2G\"");
    let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(expected()),
    };
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes <= 1 << 50 => Ok(bytes),
        _ => Err(format!("`{text}` is too big")),
    }
}

/// An address, or a domain for all addresses there; in lower case, the domain with A-labels.
pub fn sender(text: &str) -> Result<String, String> {
    let (local, domain) = match text.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && !local.contains(char::is_whitespace) => (Some(local), domain),
        Some(_) => return Err(format!("`{text}` is not an address such as `user@example.org`, nor a domain")),
        None => (None, text),
    };
    let domain = domain_name(domain)?;
    Ok(local.map_or(domain.clone(), |local| format!("{local}@{domain}")).to_ascii_lowercase())
}

/// A host or domain name of the preferred syntax (RFC 1035 §2.3.1, RFC 1123 §2.1), without a final dot. One that is not in ASCII
/// comes out with A-labels (RFC 5890 §2.3.2.1).
pub fn domain_name(text: &str) -> Result<String, String> {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = if text.is_ascii() { Ok(text.to_owned()) } else { idna::domain_to_ascii_strict(text) };
    match name {
        Ok(name) if name.len() <= 253 && name.split('.').all(label_ok) && name.parse::<IpAddr>().is_err() => Ok(name),
        _ => Err(format!("`{text}` is not a host or domain name")),
    }
}

/// `https://mail.example.org`, with a port or a path or without; a slash at its end goes.
pub fn https(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
    let url = text.trim_end_matches('/');
    match url.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.bytes().all(is_plain) => Ok(url.to_owned()),
        _ => Err(format!("`{text}` is not a URL such as \"https://mail.example.org\"")),
    }
}

/// `192.0.2.0/24`, `2001:db8::/32`, or a single address.
pub fn network(text: &str) -> Result<Network, String> {
    let expected = || format!("`{text}` is not an address or a network such as \"192.0.2.0/24\"");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| expected())?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match bits.unwrap_or(most) {
        bits if bits <= most => Ok(Network { address, bits }),
        _ => Err(format!("`{text}`: there are {most} bits at most")),
    }
}

/// `host:port`, `192.0.2.1:25`, `[2001:db8::1]:25`; port 25 if none is given.
pub fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let expected = || format!("`{text}` is not a host such as \"mail.example.net:25\"");
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address.to_string(), 25));
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok((socket.ip().to_string(), nonzero(socket.port()).ok_or_else(expected)?));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().and_then(nonzero).ok_or_else(expected)?),
        None => (text, 25),
    };
    Ok((domain_name(host).map_err(|_| expected())?, port))
}

fn nonzero(port: u16) -> Option<u16> {
    (port != 0).then_some(port)
}

/// A name server: an address, with a port or without.
pub fn name_server(text: &str) -> Result<SocketAddr, String> {
    match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(address), _) => Ok(SocketAddr::new(address, 53)),
        (_, Ok(socket)) if socket.port() != 0 => Ok(socket),
        _ => Err(format!("`{text}` is not an address such as \"192.0.2.53\" or \"127.0.0.1:5353\"")),
    }
}

/// Where to listen: `0.0.0.0:25`, `[::]:25`, or `unix:PATH` (the path is not resolved yet).
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        // 108 bytes with the final NUL is all that a socket address has room for (unix(7)).
        return match path.len() {
            0 => Err("a path must follow `unix:`".into()),
            1..=107 => Ok(Endpoint::Unix(PathBuf::from(path))),
            _ => Err("the path of a socket has 107 bytes at most".into()),
        };
    }
    match text.parse() {
        Ok(socket) => Ok(Endpoint::Tcp(socket)),
        Err(_) => Err(format!("`{text}` is not an address with a port such as \"0.0.0.0:25\" or \"[::]:25\", nor \"unix:PATH\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("5d"), Ok(Duration::from_secs(432_000)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "5", "m", "-5m", "5 m", "5m3", "1.5h", "99999999999999999999d", "9999999w", "5M"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("50M"), Ok(50 << 20));
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("2G"), Ok(2 << 30));
        for bad in ["", "M", "50MB", "5k", "99999999T", "1.5M", "-1"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_and_addresses() {
        assert_eq!(network("192.0.2.0/24"), Ok(Network { address: "192.0.2.0".parse().unwrap(), bits: 24 }));
        assert_eq!(network("::1").map(|n| n.bits), Ok(128));
        for bad in ["192.0.2.0/33", "::/129", "x", "1.2.3.4/", "1.2.3/8", "/8"] {
            assert!(network(bad).is_err(), "{bad}");
        }
        assert_eq!(host_and_port("mx.example:2525"), Ok(("mx.example".into(), 2525)));
        assert_eq!(host_and_port("mx.example"), Ok(("mx.example".into(), 25)));
        assert_eq!(host_and_port("[::1]:26"), Ok(("::1".into(), 26)));
        for bad in ["", ":25", "a:0", "a:b", "a b:25", "a:99999", "[::1:25"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
        assert_eq!(endpoint("unix:/run/x"), Ok(Endpoint::Unix("/run/x".into())));
        assert!(endpoint("localhost:25").is_err());
        assert!(endpoint("unix:").is_err());
        assert!(endpoint(&format!("unix:/{}", "x".repeat(107))).is_err());
        assert_eq!(name_server("::1").map(|s| s.port()), Ok(53));
    }

    #[test]
    fn names() {
        for good in ["localhost", "mail.example.org", "a_b.example", "xn--bcher-kva.example"] {
            assert_eq!(domain_name(good).as_deref(), Ok(good));
        }
        assert_eq!(domain_name("bücher.example").as_deref(), Ok("xn--bcher-kva.example"));
        assert_eq!(sender("Jörg.X@Bücher.Example").as_deref(), Ok("jörg.x@xn--bcher-kva.example"));
        for bad in ["", ".", "a..b", "-a.b", "a-.b", "a b", "a.", "b\u{fc}_cher.example", "\u{a0}", "192.0.2.1"] {
            assert!(domain_name(bad).is_err(), "{bad}");
        }
    }
}
