//! To whom reports go (RFC 7489 §6.2, §7.1): where the domain wants them, if who is there wants them, too.

use crate::mail::{Address, Domain};
use crate::trust::dmarc::{Record, organization, texts};
use crate::trust::dns::Hasty;
use crate::trust::tags::Tags;
use crate::trust::{Dns, PATIENCE};
use std::collections::HashSet;
use std::time::Instant;

/// Destinations of one domain; two must be (§6.2).
const MOST: usize = 5;

/// Bytes of a name in DNS.
const LONGEST_NAME: usize = 253;

/// Characters of what is told of one that is not used.
const LONGEST: usize = 250;

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Whose mailbox.
    pub address: Address,
    /// Bytes that it takes.
    pub most: Option<u64>,
}

/// All places that a domain wants its reports at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// To be used.
    pub to: Vec<Destination>,
    /// Not to be used, and why.
    pub ignored: Vec<(String, String)>,
}

/// Where reports for a domain go that has a record at its own name. Asks DNS, for a bounded time. An error is temporary.
pub fn destinations(dns: &dyn Dns, domain: &str) -> Result<Destinations, String> {
    let dns = &Hasty::new(dns, Instant::now() + PATIENCE);
    let mut found = Destinations::default();
    let records = texts(dns, &format!("_dmarc.{domain}"))?;
    // Of several none counts (§6.6.3).
    let record = if let [one] = records.as_slice() { Record::parse(one) } else { None };
    let wanted = record.and_then(|record| record.reports).unwrap_or_default();
    for (number, uri) in uris(&wanted).enumerate() {
        let why = match parse(uri) {
            Ok(_) if number >= MOST => Err("there are too many".to_owned()),
            Ok(destination) => confirmed(dns, domain, destination)?,
            Err(why) => Err(why.to_owned()),
        };
        match why {
            Ok(more) => found.to.extend(more),
            Err(why) => found.ignored.push((uri.chars().take(LONGEST).collect(), why)),
        }
    }
    let mut seen = HashSet::new();
    found.to.retain(|one| seen.insert(one.address.key()));
    found.to.truncate(MOST);
    Ok(found)
}

fn uris(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim_ascii).filter(|uri| !uri.is_empty())
}

/// ```abnf
/// dmarc-uri = URI [ "!" 1*DIGIT [ "k" / "m" / "g" / "t" ] ]   ; RFC 7489 §6.4
/// mailtoURI = "mailto:" [ to ] [ hfields ]                    ; RFC 6068 §2
/// ```
fn parse(uri: &str) -> Result<Destination, &'static str> {
    let (uri, most) = match uri.split_once('!') {
        Some((uri, size)) => (uri, Some(size_of(size).ok_or("its size is none")?)),
        None => (uri, None),
    };
    let to = match uri.split_once(':') {
        Some((scheme, to)) if scheme.eq_ignore_ascii_case("mailto") => to.split('?').next().unwrap_or_default(),
        _ => return Err("it is no mailto"),
    };
    let to = percent_encoding::percent_decode_str(to).decode_utf8().map_err(|_| "it is no address")?;
    let address: Address = to.parse().map_err(|_| "it is no address")?;
    match address.domain() {
        Domain::Name(_) if address.is_ascii() => Ok(Destination { address, most }),
        _ => Err("it is no address that all hosts can send to"),
    }
}

/// Powers of two (§6.3).
fn size_of(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (at, last) if last.is_ascii_alphabetic() => (text.get(..at)?, last.to_ascii_lowercase()),
        _ => (text, 'b'),
    };
    let shift = match unit {
        'b' if number.len() == text.len() => 0,
        'k' => 10,
        'm' => 20,
        'g' => 30,
        't' => 40,
        _ => return None,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Does who is there want reports of that domain (§7.1)? If it names other places of its own, it wants them there. An error of the
/// outer kind is temporary; one of the inner kind says why not.
fn confirmed(dns: &dyn Dns, domain: &str, wanted: Destination) -> Result<Result<Vec<Destination>, String>, String> {
    let host = wanted.address.domain().key();
    if organization(&host) == organization(domain) {
        return Ok(Ok(vec![wanted]));
    }
    let name = format!("{domain}._report._dmarc.{host}");
    if name.len() > LONGEST_NAME {
        return Ok(Err(format!("{host} is too long to be asked")));
    }
    let found = texts(dns, &name)?;
    if found.is_empty() {
        return Ok(Err(format!("{host} does not say that it wants them")));
    }
    let others = found.iter().filter_map(|text| rua(text)).next();
    let Some(others) = others else { return Ok(Ok(vec![wanted])) };
    let others: Vec<_> = uris(&others).take(MOST).map(parse).collect();
    let is_own = |other: &Result<Destination, &str>| other.as_ref().is_ok_and(|other| other.address.domain().key() == host);
    if others.is_empty() || !others.iter().all(is_own) {
        return Ok(Err(format!("{host} wants them somewhere else")));
    }
    Ok(Ok(others.into_iter().flatten().collect()))
}

fn rua(text: &[u8]) -> Option<String> {
    Tags::parse(text)?.text("rua").map(str::to_owned)
}
