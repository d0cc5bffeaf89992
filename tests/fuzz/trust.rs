//! The parsers of the trust room: records and fields that strangers write.

use pillarbox::mail::{ReversePath, header};
use pillarbox::net::dns::DnsError;
use pillarbox::trust::aggregate::destination::destinations;
use pillarbox::trust::arc::{ArcResult, Seal, Verifier};
use pillarbox::trust::dkim::{Body, DkimResult, Keyring, SigningKey};
use pillarbox::trust::spf::{Client, SpfResult};
use pillarbox::trust::{Arrival, Checking, Dns, results};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Answers all questions for TXT records with the same ones, others with an address. Counts them.
struct Same<'a> {
    texts: Vec<&'a [u8]>,
    asked: Cell<usize>,
}

impl<'a> Same<'a> {
    fn new(texts: Vec<&'a [u8]>) -> Same<'a> {
        Same { texts, asked: Cell::new(0) }
    }

    fn count(&self, name: &str) {
        self.asked.set(self.asked.get() + 1);
        assert!(name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
    }
}

impl Dns for Same<'_> {
    fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        self.count(name);
        Ok(self.texts.iter().map(|text| text.to_vec()).collect())
    }

    fn addresses(&self, name: &str, v6: bool) -> Result<Vec<IpAddr>, DnsError> {
        self.count(name);
        match (v6, name.len() % 3) {
            (_, 0) => Err(DnsError::NoName),
            (true, _) => Ok(vec![Ipv6Addr::LOCALHOST.into()]),
            (false, _) => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
        }
    }

    fn exchangers(&self, name: &str) -> Result<Vec<String>, DnsError> {
        self.count(name);
        Ok(vec![name.to_owned(), "mx.test".into()])
    }

    fn names(&self, _: IpAddr) -> Result<Vec<String>, DnsError> {
        self.asked.set(self.asked.get() + 1);
        Ok(vec!["mx.test".into(), "unknown.test".into()])
    }
}

/// A local part, and then records that all names have: whatever they say, there is an answer after a bounded number of questions.
pub fn spf(input: &[u8]) {
    let mut lines = input.split(|&byte| byte == b'\n');
    let local = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let dns = Same::new(lines.collect());
    for ip in ["192.0.2.1", "::1"] {
        dns.asked.set(0);
        let client = Client { ip: ip.parse().unwrap(), helo: &local };
        let verdict = client.check_sender(&dns, &local, "a.test");
        // A record, ten terms with a record or two hosts each, the client's names and their addresses.
        assert!(dns.asked.get() <= 1 + 10 * 3 + 3);
        let is_error = matches!(verdict.result, SpfResult::TempError | SpfResult::PermError);
        assert_eq!(is_error, !verdict.reason.is_empty());
        client.check_helo(&dns);
    }
}

/// Two records that all names have, and a message: there is an answer after a bounded number of questions, and what is told of it
/// is one field, which claims to be ours.
pub fn checking(input: &[u8]) {
    let mut parts = input.splitn(3, |&byte| byte == b'\n');
    let texts = parts.by_ref().take(2).collect();
    let message = parts.next().unwrap_or_default();
    let (head, body) = message.split_at(header::end(message));
    let dns = Same::new(texts);
    let helo = String::from_utf8_lossy(head.get(..20).unwrap_or_default()).into_owned();
    let arrival = Arrival { ip: Ipv4Addr::LOCALHOST.into(), helo, sender: ReversePath("a@b.test".parse().ok()) };
    let mut checking = Checking::new(arrival, head);
    body.chunks(3).for_each(|piece| checking.body(piece));
    let verdicts = checking.finish(&dns, 1_700_000_000, 50);
    assert!(dns.asked.get() <= 2 * (1 + 10 * 3 + 3) + 8 + 2 + 11);
    assert!(verdicts.dkim.len() <= 8);
    assert!(verdicts.arc.as_ref().is_none_or(|arc| (arc.result == ArcResult::Pass) == arc.reason.is_empty()));
    assert!(verdicts.dkim.iter().all(|verdict| (verdict.result == DkimResult::Pass) == verdict.reason.is_empty()));
    let field = verdicts.field("us.test");
    let found: Vec<_> = header::fields(field.as_bytes()).collect();
    assert!(field.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')) && field.lines().all(|line| line.len() < 998));
    assert!(found.len() == 1 && results::is_ours(&field.as_bytes()[found[0].value.clone()], "us.test"));
    assert!(!verdicts.summary().contains('\n'));
}

/// Whose field it is.
pub fn authentication_results(input: &[u8]) {
    results::is_ours(input, "mail.test");
    let own = [b" mail.test ", input].concat();
    assert!(results::is_ours(&own, "MAIL.test"));
}

/// What is changed of a message after some have sealed it, how many do, and the message: a chain that was whole is whole with one set
/// more, and nothing mends one that was not.
pub fn arc(input: &[u8]) {
    const KEY: &[u8] = include_bytes!("../trust/ed25519.pem");
    let (change, rest) = input.split_at(input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len()));
    let (count, message) = rest.get(1..).unwrap_or_default().split_first().unwrap_or((&0, &[]));
    let (mut head, mut body) = (message[..header::end(message)].to_vec(), message[header::end(message)..].to_vec());
    if !head.is_empty() && !head.ends_with(b"\n") {
        head.push(b'\n');
    }
    let record = SigningKey::from_pem(KEY).unwrap().record();
    let verdict = |head: &[u8], body: &[u8]| {
        let dns = Same::new(vec![record.as_bytes()]);
        let verdict = Verifier::new(head).map(|mut verifier| {
            body.chunks(3).for_each(|piece| verifier.body(piece));
            verifier.finish(&dns)
        });
        assert!(dns.asked.get() <= 11);
        verdict.inspect(|verdict| assert_eq!(verdict.result == ArcResult::Pass, verdict.reason.is_empty()))
    };
    let mut keyring = Keyring::default();
    keyring.add("a.test", "s", SigningKey::from_pem(KEY).unwrap());
    for number in 0..=count % 4 {
        // Changed before the last of them.
        if number == count % 4 && !change.is_empty() {
            let all = [&head[..], &body].concat();
            let at =
                change.iter().fold(0_usize, |at, byte| at.wrapping_mul(7).wrapping_add(usize::from(*byte))) % (all.len() + 1);
            let (cut, end) = (head.len(), (at + change.len()).min(all.len()));
            let all = [&all[..at], change, &all[end..]].concat();
            (head, body) = (all[..cut.min(all.len())].to_vec(), all[cut.min(all.len())..].to_vec());
            head.retain(|byte| *byte != 0);
        }
        // As each host puts it there: what begins with the rest of a field would become part of the one that is put above it.
        head.splice(..0, *b"Received: by us.test\n");
        let before = verdict(&head, &body);
        let mut hash = Body::default();
        hash.push(&body);
        let seal = Seal { results: "us.test; none", chain: before.as_ref().map(|verdict| verdict.result), now: 1_700_000_000 };
        // What has an empty line in its header can't be sealed.
        let Ok(Some(set)) = keyring.seal("a.test", &head, &hash.finish(), &seal) else { break };
        let sealed = [set.as_bytes(), &head].concat();
        let after = verdict(&sealed, &body).unwrap();
        match before.map(|verdict| verdict.result) {
            None | Some(ArcResult::Pass) => {
                assert!(after.result == ArcResult::Pass || after.reason == "too many keys", "{}", after.reason);
            }
            Some(ArcResult::Fail) => assert_eq!(after.result, ArcResult::Fail),
        }
        head = sealed;
    }
}

/// Records that all names have: reports go to few, and only to those whom they name.
pub fn destinations_of_reports(input: &[u8]) {
    let dns = Same::new(input.split(|&byte| byte == b'\n').collect());
    let found = destinations(&dns, "a.test").unwrap();
    assert!(dns.asked.get() <= 1 + 5 && found.to.len() <= 5);
    for one in &found.to {
        assert!(one.address.is_ascii() && one.address.to_string().parse::<pillarbox::mail::Address>().is_ok());
    }
}
