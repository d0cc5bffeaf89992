//! What a domain says of its hosts by MTA-STS (RFC 8461 §3). Pure.

use std::fmt;
use std::time::Duration;

/// The longest time a policy may hold: a year and a quarter of a day (RFC 8461 §3.2).
const LONGEST: u64 = 31_557_600;

/// For how long ours holds: a week (RFC 8461 §3.2 wants weeks or more, and who breaks a certificate wants less).
const OWN_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is done about a host that does not keep to the policy.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It gets no mail.
    Enforce,
    /// It gets mail; that is logged.
    Testing,
    /// There is no policy any more.
    None,
}

impl Mode {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Mode> {
        [Mode::Enforce, Mode::Testing, Mode::None].into_iter().find(|mode| mode.name() == name)
    }
}

/// A domain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it is for.
    pub mode: Mode,
    /// Names of hosts, in lower case; `*.` stands for one label.
    pub mx: Vec<String>,
    /// For how long it holds.
    pub max_age: Duration,
}

impl Policy {
    /// ```abnf
    /// sts-policy-record = sts-policy-field *WSP *((LF / CRLF) sts-policy-field *WSP) [LF / CRLF]
    /// sts-policy-field  = name ":" *WSP value                  ; version, mode, max_age, mx, others are ignored
    /// ```
    /// Of a field that may stand once the first counts. An error says what is wrong.
    pub fn parse(text: &[u8]) -> Result<Policy, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "not UTF-8")?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().map(|line| line.trim_end_matches([' ', '\t'])).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or("a line that is no field")?;
            let value = value.trim_start_matches([' ', '\t']);
            match name {
                "version" => _ = version.get_or_insert(value),
                "mode" => _ = mode.get_or_insert(value),
                "max_age" => _ = max_age.get_or_insert(value),
                "mx" => mx.push(pattern(value).ok_or("a name that is none")?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err("another version");
        }
        let mode = mode.and_then(Mode::named).ok_or("no mode")?;
        let max_age = max_age.and_then(seconds).ok_or("no max_age")?;
        if mx.is_empty() && mode != Mode::None {
            return Err("no mx");
        }
        Ok(Policy { mode, mx, max_age })
    }

    /// That of a domain whose mail this host takes, with a certificate that is valid for its name.
    pub fn own(hostname: &str) -> Policy {
        Policy { mode: Mode::Enforce, mx: vec![hostname.to_ascii_lowercase()], max_age: OWN_AGE }
    }

    /// Is this one of the domain's hosts (RFC 8461 §4.1)?
    pub fn allows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(rest) => host.split_once('.').is_some_and(|(first, others)| !first.is_empty() && others == rest),
            None => host == *pattern,
        })
    }
}

impl fmt::Display for Policy {
    /// As it is fetched.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "version: STSv1\r\nmode: {}\r\n", self.mode.name())?;
        self.mx.iter().try_for_each(|mx| write!(out, "mx: {mx}\r\n"))?;
        write!(out, "max_age: {}\r\n", self.max_age.as_secs())
    }
}

/// ```abnf
/// sts-policy-mx-value = ["*."] Domain
/// ```
fn pattern(text: &str) -> Option<String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    (name.len() <= 253 && name.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
}

/// ```abnf
/// sts-policy-max-age-value = 1*10(DIGIT)
/// ```
fn seconds(text: &str) -> Option<Duration> {
    let is_number = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse::<u64>().ok().filter(|_| is_number)?;
    Some(Duration::from_secs(seconds.min(LONGEST)))
}

/// The id that the TXT records of a domain give its policy; `None`: it has none.
///
/// ```abnf
/// sts-text-record = "v=STSv1" 1*(*WSP ";" *WSP sts-field) [*WSP ";" *WSP]   ; RFC 8461 §3.1
/// sts-id          = "id=" 1*32(ALPHA / DIGIT)
/// ```
pub fn id(records: &[Vec<u8>]) -> Option<String> {
    let begins = |text: &&str| text.strip_prefix("v=STSv1").is_some_and(|rest| rest.trim_start().starts_with(';'));
    let mut ours = records.iter().filter_map(|record| std::str::from_utf8(record).ok()).filter(begins);
    let (record, None) = (ours.next()?, ours.next()) else { return None };
    let fields: Option<Vec<(&str, &str)>> =
        record.split(';').skip(1).map(str::trim).filter(|field| !field.is_empty()).map(|field| field.split_once('=')).collect();
    let id = fields?.into_iter().find(|(name, _)| *name == "id")?.1;
    let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let text = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n";
        let policy = Policy::parse(text).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, Duration::from_secs(604_800)));
        for host in ["mail.example.com", "MAIL.example.com", "a.example.net", "backupmx.example.com"] {
            assert!(policy.allows(host), "{host}");
        }
        for host in ["example.net", "a.b.example.net", ".example.net", "mail.example.com.evil.test", "xmail.example.com", ""] {
            assert!(!policy.allows(host), "{host}");
        }
    }

    #[test]
    fn ours_is_read_as_it_is_meant() {
        let own = Policy::own("Mail.Here.test");
        assert_eq!(Policy::parse(own.to_string().as_bytes()), Ok(own.clone()));
        assert!(own.allows("mail.here.test") && !own.allows("other.here.test"));
    }

    #[test]
    fn policies_are_read_as_far_as_they_are_understood() {
        let long = "version:STSv1\nfuture: x y: z\nmode:\ttesting  \nmode: none\nmx:A.test\nmax_age: 9999999999\nmax_age: x";
        let policy = Policy::parse(long.as_bytes()).unwrap();
        assert_eq!(policy, Policy { mode: Mode::Testing, mx: vec!["a.test".into()], max_age: Duration::from_secs(LONGEST) });
        assert_eq!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 0").unwrap().mx, [""; 0]);
        for (bad, why) in [
            (&b""[..], "another version"),
            (b"version: STSv2\nmode: none\nmax_age: 1", "another version"),
            (b"Version: STSv1\nmode: none\nmax_age: 1", "another version"),
            (b"version: STSv1\nmode: Enforce\nmx: a.test\nmax_age: 1", "no mode"),
            (b"version: STSv1\nmode: enforce\nmax_age: 1", "no mx"),
            (b"version: STSv1\nmode: enforce\nmx: a.test\n", "no max_age"),
            (b"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: +1", "no max_age"),
            (b"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 12345678901", "no max_age"),
            (b"version: STSv1\nmode: enforce\nmx: *\nmax_age: 1", "a name that is none"),
            (b"version: STSv1\nmode: enforce\nmx: a.*.test\nmax_age: 1", "a name that is none"),
            (b"version: STSv1\nmode: enforce\nmx: a. test\nmax_age: 1", "a name that is none"),
            (b"<html>\n<body>", "a line that is no field"),
            (b"version: STSv1\xff", "not UTF-8"),
        ] {
            assert_eq!(Policy::parse(bad), Err(why), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn ids() {
        let of = |records: &[&str]| id(&records.iter().map(|record| record.as_bytes().to_vec()).collect::<Vec<_>>());
        for good in ["v=STSv1; id=20160831085700Z;", "v=STSv1;id=20160831085700Z", "v=STSv1 ; x=y ; id=20160831085700Z ; id=2"] {
            assert_eq!(of(&["v=spf1 -all", good]).as_deref(), Some("20160831085700Z"), "{good}");
        }
        let long = format!("v=STSv1; id={}", "a".repeat(33));
        for bad in [
            "",
            "v=STSv1",
            "v=STSv1;",
            "v=STSv1; id=",
            "v=STSv1; id=a-b",
            "v=STSv1; id",
            "v=STSv12; id=1",
            "id=1; v=STSv1",
            &long,
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
        assert_eq!(of(&["v=STSv1; id=1", "v=STSv1; id=1"]), None, "one of two");
    }
}
