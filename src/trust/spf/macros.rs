//! Text with macros (RFC 7208 §7), and what it comes to. Pure.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;

/// A domain-spec or macro-string, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Macro(Macro),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Macro {
    letter: Letter,
    /// Written as a capital: what it stands for is escaped as in a URL.
    escaped: bool,
    /// So many labels from the right; all.
    labels: usize,
    reversed: bool,
    /// Where it is split; empty: at dots.
    delimiters: String,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Letter {
    Sender,
    Local,
    SenderDomain,
    Domain,
    Address,
    Validated,
    Family,
    Helo,
    /// `c`, `r`, `t`: for explanations, which are not read here.
    Explaining,
}

/// What macros stand for.
#[derive(Copy, Clone, Debug)]
pub(super) struct Values<'a> {
    pub ip: IpAddr,
    pub helo: &'a str,
    /// The local part of the sender, and its domain.
    pub local: &'a str,
    pub origin: &'a str,
    /// The domain whose record is read.
    pub domain: &'a str,
}

impl Spec {
    /// ```abnf
    /// domain-spec  = macro-string domain-end
    /// domain-end   = ( "." toplabel [ "." ] ) / macro-expand
    /// toplabel     = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum )
    /// ```
    pub(super) fn domain(text: &str) -> Option<Spec> {
        let spec = Spec::text(text)?;
        let may_stand = spec.0.iter().all(|part| !matches!(part, Part::Macro(Macro { letter: Letter::Explaining, .. })));
        let ends_well = match spec.0.last()? {
            Part::Macro(_) => true,
            // These three are macros as well, of constant value.
            Part::Literal(_) if ["%%", "%_", "%-"].iter().any(|end| text.ends_with(end)) => true,
            Part::Literal(end) => {
                end.strip_suffix('.').unwrap_or(end).rsplit_once('.').is_some_and(|(_, last)| is_toplabel(last))
            }
        };
        (may_stand && ends_well).then_some(spec)
    }

    /// ```abnf
    /// macro-string  = *( macro-expand / macro-literal )
    /// macro-expand  = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
    /// macro-literal = %x21-24 / %x26-7E
    /// ```
    pub(super) fn text(text: &str) -> Option<Spec> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(char) = rest.chars().next() {
            rest = rest.get(char.len_utf8()..)?;
            if char != '%' {
                literal.push(Some(char).filter(char::is_ascii_graphic)?);
                continue;
            }
            let next = rest.chars().next()?;
            rest = rest.get(next.len_utf8()..)?;
            match next {
                '%' => literal.push('%'),
                '_' => literal.push(' '),
                '-' => literal.push_str("%20"),
                '{' => {
                    let (inner, after) = rest.split_once('}')?;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Macro(Macro::parse(inner)?));
                    rest = after;
                }
                _ => return None,
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Some(Spec(parts))
    }

    /// Does it need a name of the client's address that was checked?
    pub(super) fn needs_validated(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Macro(Macro { letter: Letter::Validated, .. })))
    }

    /// With all macros replaced. `validated` stands for `%{p}`.
    pub(super) fn expand(&self, values: &Values<'_>, validated: &str) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Macro(one) => one.expand(values, validated, &mut out),
            }
        }
        out
    }
}

impl Macro {
    /// What stands between the braces.
    ///
    /// ```abnf
    /// macro-letter = "s" / "l" / "o" / "d" / "i" / "p" / "h" / "c" / "r" / "t" / "v"
    /// transformers = *DIGIT [ "r" ]
    /// delimiter    = "." / "-" / "+" / "," / "/" / "_" / "="
    /// ```
    fn parse(text: &str) -> Option<Macro> {
        let first = text.chars().next()?;
        let letter = match first.to_ascii_lowercase() {
            's' => Letter::Sender,
            'l' => Letter::Local,
            'o' => Letter::SenderDomain,
            'd' => Letter::Domain,
            'i' => Letter::Address,
            'p' => Letter::Validated,
            'v' => Letter::Family,
            'h' => Letter::Helo,
            'c' | 'r' | 't' => Letter::Explaining,
            _ => return None,
        };
        let rest = text.get(1..)?;
        let digits = rest.len() - rest.trim_start_matches(|char: char| char.is_ascii_digit()).len();
        let (digits, rest) = rest.split_at_checked(digits)?;
        let labels = match digits {
            "" => usize::MAX,
            // More labels than a name can have are all of them.
            _ => digits.bytes().fold(0usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'))),
        };
        let (reversed, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let known = delimiters.chars().all(|char| ".-+,/_=".contains(char));
        (known && labels > 0).then(|| Macro {
            letter,
            escaped: first.is_ascii_uppercase(),
            labels,
            reversed,
            delimiters: delimiters.to_owned(),
        })
    }

    fn expand(&self, values: &Values<'_>, validated: &str, out: &mut String) {
        let value: Cow<'_, str> = match self.letter {
            Letter::Sender => format!("{}@{}", values.local, values.origin).into(),
            Letter::Local => values.local.into(),
            Letter::SenderDomain => values.origin.into(),
            Letter::Domain => values.domain.into(),
            Letter::Address => dotted(values.ip).into(),
            Letter::Validated => validated.into(),
            Letter::Family => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.into(),
            Letter::Helo => values.helo.into(),
            Letter::Explaining => "".into(),
        };
        let is_end = |char: char| if self.delimiters.is_empty() { char == '.' } else { self.delimiters.contains(char) };
        let mut labels: Vec<&str> = value.split(is_end).collect();
        if self.reversed {
            labels.reverse();
        }
        let chosen = labels.get(labels.len().saturating_sub(self.labels)..).unwrap_or_default().join(".");
        if self.escaped {
            escape(&chosen, out);
        } else {
            out.push_str(&chosen);
        }
    }
}

/// An address as labels: of IPv6 each half byte is one (RFC 7208 §7.3).
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let nibbles: Vec<String> = ip.octets().iter().map(|byte| format!("{:x}.{:x}", byte >> 4, byte & 15)).collect();
            nibbles.join(".")
        }
    }
}

/// Percent-encoding of all but unreserved characters (RFC 3986 §2.3).
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn is_toplabel(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let bytes = label.as_bytes();
    let edges = bytes.first().zip(bytes.last()).is_some_and(|(a, b)| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric());
    edges && bytes.iter().all(|&byte| inner(byte)) && !bytes.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, ip: &str) -> String {
        let values = Values {
            ip: ip.parse().unwrap(),
            helo: "mx.example.org",
            local: "strong-bad",
            origin: "email.example.com",
            domain: "email.example.com",
        };
        Spec::text(text).unwrap().expand(&values, "mx.example.org")
    }

    /// The examples of RFC 7208 §7.4.
    #[test]
    fn the_examples_of_the_standard() {
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
            ("%%%_%-%{h}/%{p1}", "% %20mx.example.org/org"),
            ("%{S}", "strong-bad%40email.example.com"),
        ] {
            assert_eq!(expand(text, "192.0.2.3"), expected, "{text}");
        }
        assert_eq!(
            expand("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01"),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
    }

    #[test]
    fn a_domain_ends_in_a_name_or_a_macro() {
        for good in
            ["a.b", "a.b.", "%{d}", "a.%{d}", "%{d}.c", "_x.a-1.x-y", "a.1-2", "a/b.c", "%{d}%%", "x.%{l999999999999999999999}"]
        {
            assert!(Spec::domain(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "a",
            "a.",
            ".",
            "a..",
            "a.1",
            "a.-b",
            "a.b-",
            "%",
            "%{",
            "%{d",
            "%{x}.a",
            "%{d0}.a",
            "%{d1r1}.a",
            "%{d*}.a",
            "%a.b",
            "a b.c",
            "a.\u{f6}",
            "%{c}.a",
            "%{d}a",
        ] {
            assert_eq!(Spec::domain(bad), None, "{bad}");
        }
    }
}
