//! The SPF record (RFC 7208 §4.5, §5, §6). Pure.

use super::SpfResult;
use super::macros::Spec;
use crate::config::schema::Network;
use std::net::IpAddr;

/// A record whose every term is well-formed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// In order: what a match comes to, and what must match.
    pub directives: Vec<(SpfResult, Mechanism)>,
    pub redirect: Option<Spec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(Spec),
    A(Option<Spec>, Lengths),
    Mx(Option<Spec>, Lengths),
    Ptr(Option<Spec>),
    Within(Network),
    Exists(Spec),
}

/// Leading bits that count, of IPv4 and IPv6 addresses.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub v4: u8,
    pub v6: u8,
}

/// What follows the version in a TXT record that is an SPF record.
///
/// ```abnf
/// record  = version terms *SP
/// version = "v=spf1"
/// ```
pub(super) fn terms(text: &[u8]) -> Option<&[u8]> {
    let (version, rest) = text.split_at_checked(6)?;
    (version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest, [] | [b' ', ..])).then_some(rest)
}

impl Record {
    /// ```abnf
    /// terms     = *( 1*SP ( directive / modifier ) )
    /// directive = [ qualifier ] mechanism
    /// qualifier = "+" / "-" / "?" / "~"
    /// ```
    /// An error is the term that is wrong.
    pub(super) fn parse(terms: &[u8]) -> Result<Record, String> {
        let mut record = Record::default();
        let mut has_explanation = false;
        for term in terms.split(|&byte| byte == b' ').filter(|term| !term.is_empty()) {
            let wrong = || format!("bad term {}", term.escape_ascii());
            let text = std::str::from_utf8(term).map_err(|_| wrong())?;
            let name_ends = text.find(|char: char| !(char.is_ascii_alphanumeric() || "-_.".contains(char))).unwrap_or(text.len());
            let (name, value) = text.split_at_checked(name_ends).ok_or_else(wrong)?;
            let Some(value) = value.strip_prefix('=') else {
                record.directives.push(directive(text).ok_or_else(wrong)?);
                continue;
            };
            if !name.starts_with(|char: char| char.is_ascii_alphabetic()) {
                return Err(wrong());
            }
            match name.to_ascii_lowercase().as_str() {
                "redirect" if record.redirect.is_none() => record.redirect = Some(Spec::domain(value).ok_or_else(wrong)?),
                // It is only known to be well-formed: nothing is refused for SPF alone here, so nothing is explained.
                "exp" if !has_explanation => has_explanation = Spec::domain(value).map(|_| true).ok_or_else(wrong)?,
                "redirect" | "exp" => return Err(wrong()),
                _ => _ = Spec::text(value).ok_or_else(wrong)?,
            }
        }
        Ok(record)
    }
}

fn directive(text: &str) -> Option<(SpfResult, Mechanism)> {
    let (result, text) = match text.as_bytes().first()? {
        b'+' => (SpfResult::Pass, text.get(1..)?),
        b'-' => (SpfResult::Fail, text.get(1..)?),
        b'~' => (SpfResult::SoftFail, text.get(1..)?),
        b'?' => (SpfResult::Neutral, text.get(1..)?),
        _ => (SpfResult::Pass, text),
    };
    let (name, rest) = text.split_at_checked(text.find([':', '/']).unwrap_or(text.len()))?;
    let value = rest.strip_prefix(':');
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(Spec::domain(value?)?),
        "exists" => Mechanism::Exists(Spec::domain(value?)?),
        "ptr" => Mechanism::Ptr(optional(rest)?),
        "a" => host(rest).map(|(spec, lengths)| Mechanism::A(spec, lengths))?,
        "mx" => host(rest).map(|(spec, lengths)| Mechanism::Mx(spec, lengths))?,
        "ip4" => Mechanism::Within(network(value?, 32).filter(|network| network.address.is_ipv4())?),
        "ip6" => Mechanism::Within(network(value?, 128).filter(|network| network.address.is_ipv6())?),
        _ => return None,
    };
    Some((result, mechanism))
}

/// `[ ":" domain-spec ]`
fn optional(text: &str) -> Option<Option<Spec>> {
    if text.is_empty() { Some(None) } else { Some(Some(Spec::domain(text.strip_prefix(':')?)?)) }
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`
///
/// ```abnf
/// dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ]
/// ip4-cidr-length  = "/" ("0" / %x31-39 0*1DIGIT)   ; value range 0-32
/// ip6-cidr-length  = "/" ("0" / %x31-39 0*2DIGIT)   ; value range 0-128
/// ```
fn host(text: &str) -> Option<(Option<Spec>, Lengths)> {
    let (text, v6) = match split_length(text, "//") {
        Some((rest, digits)) => (rest, length(digits, 128)?),
        None => (text, 128),
    };
    let (text, v4) = match split_length(text, "/") {
        Some((rest, digits)) => (rest, length(digits, 32)?),
        None => (text, 32),
    };
    Some((optional(text)?, Lengths { v4, v6 }))
}

/// Digits behind such a mark at the end.
fn split_length<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let rest = text.trim_end_matches(|char: char| char.is_ascii_digit());
    let digits = text.get(rest.len()..).filter(|digits| !digits.is_empty())?;
    Some((rest.strip_suffix(mark)?, digits))
}

fn length(digits: &str, most: u8) -> Option<u8> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|length| is_plain && *length <= most)
}

/// `ip4-network [ ip4-cidr-length ]`, `ip6-network [ ip6-cidr-length ]`
fn network(text: &str, most: u8) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        Some((address, digits)) => (address, length(digits, most)?),
        None => (text, most),
    };
    Some(Network { address: address.parse::<IpAddr>().ok()?, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Record, String> {
        Record::parse(terms(text.as_bytes()).unwrap())
    }

    #[test]
    fn only_version_1_is_a_record() {
        for good in ["v=spf1", "V=SPF1 ", "v=spf1 -all"] {
            assert!(terms(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "v=spf", "v=spf10", "v=spf1-all", " v=spf1", "v=spf1\t-all", "spf2.0/pra"] {
            assert_eq!(terms(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn well_formed_terms() {
        for term in [
            "all",
            "-ALL",
            "?a",
            "~mx",
            "a:a.b",
            "A:a.b/0",
            "a/24",
            "a//0",
            "a/24//64",
            "a:%{d}/32//128",
            "mx:a.b//64",
            "ptr",
            "ptr:a.b",
            "ip4:192.0.2.0/24",
            "ip4:192.0.2.1",
            "IP6:2001:db8::/32",
            "ip6:::1",
            "exists:%{i}.a.b",
            "include:a.b",
            "redirect=a.b",
            "exp=a.b",
            "exp=%{d}.x",
            "unknown=%{c}-x",
            "a.b_c-1=",
            "default=pass",
        ] {
            let record = parse(&format!("v=spf1  {term} ")).unwrap_or_else(|error| panic!("{term}: {error}"));
            assert_eq!(record.directives.len() + usize::from(term.contains('=')), 1, "{term}");
        }
    }

    #[test]
    fn one_bad_term_spoils_the_record() {
        for term in [
            "all.",
            "all:a.b",
            "all/8",
            "--all",
            "foo",
            "foo:a.b",
            "include",
            "include:",
            "include:a",
            "include:a.b/24",
            "a:",
            "a/",
            "a/33",
            "a//129",
            "a/024",
            "a/ 24",
            "a///24",
            "a/24/24",
            "a/24//",
            "a:a.b:80",
            "a:a.1",
            "a:museum",
            "mx:%{x}",
            "ptr:",
            "ptr/24",
            "ptr0",
            "ip4",
            "ip4:",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4//32",
            "ip4:1.2.3.4:8080",
            "ip4:::1",
            "ip4:01.2.3.4",
            "ip6:",
            "ip6:1.2.3.4",
            "ip6:::1/129",
            "ip6:::1//64",
            "exists",
            "exists:",
            "exists:%{d}/24",
            "redirect=",
            "redirect=a",
            "redirect:a.b",
            "exp=",
            "=x",
            "1a=x",
            "-redirect=a.b",
            "x=%{q}",
            "x=%",
            "a\tmx",
            "redirect=a.b redirect=a.b",
            "exp=a.b exp=a.b",
            "\u{f6}",
        ] {
            assert!(parse(&format!("v=spf1 {term} -all")).is_err(), "{term}");
        }
    }
}
