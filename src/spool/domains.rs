//! The domains that a message still goes to: all that a start must know of most messages, so that it need not read them.
//! Mail for other hosts has no copies here that would have to be looked for.

use super::text::Mark;
use crate::mail::Envelope;

/// No list is longer; a message that goes to more is read.
const LONGEST: usize = 512;

/// The domains of who waits, each once, parted by commas. None if there are too many, or if for one of them the address
/// does not tell where the message goes.
pub(super) fn of(envelope: &Envelope, waiting: &[Mark]) -> Option<String> {
    let mut domains: Vec<String> = Vec::with_capacity(1);
    for mark in waiting {
        let recipient = envelope.recipients.get(usize::try_from(mark.index).ok()?).filter(|one| one.is_routed())?;
        let domain = recipient.address.domain().key();
        if domains.contains(&domain) {
            continue;
        }
        if domains.len() * 2 > LONGEST {
            return None;
        }
        domains.push(domain);
    }
    let length = domains.iter().map(|domain| domain.len() + 1).sum::<usize>();
    (1..=LONGEST + 1).contains(&length).then(|| domains.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Act, Filing, Place, Recipient};
    use crate::spool::segment::tests::envelope;
    use crate::sys::Time;

    fn to(addresses: &[String]) -> Envelope {
        let recipients = addresses.iter().map(|address| Recipient::from(address.parse::<crate::mail::Address>().unwrap()));
        Envelope { recipients: recipients.collect(), ..envelope(1) }
    }

    fn waiting(indices: impl IntoIterator<Item = u32>) -> Vec<Mark> {
        indices.into_iter().map(|index| Mark::fresh(index, Time(0))).collect()
    }

    #[test]
    fn each_domain_of_who_waits_is_told_once() {
        let mut envelope = to(&["a@X.test", "b@y.test", "c@x.TEST", "d@[IPv6:::1]", "e@done.test"].map(str::to_owned));
        assert_eq!(of(&envelope, &waiting(0..4)).as_deref(), Some("x.test,y.test,[ipv6:::1]"));
        assert_eq!(of(&envelope, &waiting([])), None);
        let place = Place { user: "a".into(), folder: "INBOX".into(), act: Act::File(Filing::default()) };
        envelope.recipients[1].place = Some(Box::new(place));
        assert_eq!(of(&envelope, &waiting(0..4)), None);
        assert_eq!(of(&envelope, &waiting([0])).as_deref(), Some("x.test"));
    }

    #[test]
    fn many_domains_are_not_told() {
        let many: Vec<String> = (0..5000).map(|number| format!("x@d{number}.test")).collect();
        assert_eq!(of(&to(&many), &waiting(0..5000)), None);
        assert!(of(&to(&many[..9]), &waiting(0..9)).is_some());
        let long = to(&[format!("x@{}.test", ["a".repeat(60).as_str(); 3].join("."))].map(|one| one));
        assert!(of(&long, &waiting([0])).is_some());
    }
}
