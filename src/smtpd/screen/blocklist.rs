//! DNS blocklists (RFC 5782): zones in which a listed address has an A record.

use super::Screened;
use crate::net::dns::{DnsError, Resolver, under};
use crate::smtp::reply::Reply;
use std::net::{IpAddr, Ipv4Addr};

/// Bytes of a list's own words that are passed on.
const MOST_WORDS: usize = 200;

/// Does the zone list this address? A zone that can't be asked lists nobody.
pub(super) fn ask(resolver: &Resolver, zone: &str, address: IpAddr) -> Option<Screened> {
    let name = under(address, zone);
    if !is_listed(resolver, zone, &name) {
        return None;
    }
    // No list has this address (RFC 5782 §5): one that does answers everything, since it was given up or its name was sold.
    if is_listed(resolver, zone, &under(Ipv4Addr::LOCALHOST.into(), zone)) {
        log::warn!("event=blocklist-broken zone={zone} reason=\"it lists 127.0.0.1\"");
        return None;
    }
    let words = resolver.txt(&name).ok().and_then(|texts| texts.into_iter().next()).unwrap_or_default();
    let words: String =
        words.iter().take(MOST_WORDS).map(|&byte| if matches!(byte, b' '..=b'~') { byte as char } else { '?' }).collect();
    let colon = if words.is_empty() { "" } else { ": " };
    let text = format!("{} is listed by {zone}{colon}{words}", address.to_canonical());
    Some(Screened { reply: Reply::new(554, "5.7.1", text), rule: format!("screen.blocklists {zone}") })
}

fn is_listed(resolver: &Resolver, zone: &str, name: &str) -> bool {
    match resolver.a(name) {
        Ok(answers) => {
            let refused = answers.iter().find(|answer| is_refusal(**answer));
            if let Some(refused) = refused {
                log::warn!("event=blocklist-refuses zone={zone} answer={refused} reason=\"it does not serve this resolver\"");
            }
            refused.is_none() && answers.iter().any(Ipv4Addr::is_loopback)
        }
        Err(DnsError::NoName | DnsError::NoData) => false,
        Err(DnsError::Temporary(why)) => {
            log::info!("event=blocklist-silent zone={zone} reason=\"{why}\"");
            false
        }
    }
}

/// 127.255.255.0/24 is how lists say that they do not answer the one who asks.
fn is_refusal(answer: Ipv4Addr) -> bool {
    answer.octets()[..3] == [127, 255, 255]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_as_the_standard_has_them() {
        let of = |address: &str| under(address.parse().unwrap(), "bl.test");
        assert_eq!(of("192.0.2.99"), "99.2.0.192.bl.test");
        assert_eq!(of("::ffff:192.0.2.99"), "99.2.0.192.bl.test");
        assert_eq!(of("2001:db8:1:2:3:4:567:89ab"), "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.test");
    }

    #[test]
    fn an_error_is_no_listing() {
        assert!(is_refusal(Ipv4Addr::new(127, 255, 255, 254)) && !is_refusal(Ipv4Addr::new(127, 0, 0, 2)));
    }
}
