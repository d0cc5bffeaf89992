//! Chains made here, and what can be wrong with one.

use super::super::{Body, Keyring};
use super::*;
use crate::trust::zone::Zone;

const RSA: &[u8] = include_bytes!("../../../../tests/trust/rsa.pem");
const ED25519: &[u8] = include_bytes!("../../../../tests/trust/ed25519.pem");
const HEADER: &str = "DKIM-Signature: v=1; x\nFrom: u@a.test\nTo: l@b.test\nSubject: x\n";
const BODY: &str = "Hi\n";

fn key(pem: &[u8]) -> SigningKey {
    SigningKey::from_pem(pem).unwrap()
}

fn zone() -> Zone {
    let record = |name: &str, pem| format!("s._domainkey.{name} TXT {}\n", key(pem).record());
    Zone::new(&(record("b.test", RSA) + &record("c.test", ED25519) + &record("d.test", RSA)))
}

fn keyring() -> Keyring {
    let mut ring = Keyring::default();
    [("b.test", RSA), ("c.test", ED25519), ("d.test", RSA)].iter().for_each(|(name, pem)| ring.add(name, "s", key(pem)));
    ring
}

fn verify(header: &str, body: &str, zone: &Zone) -> Option<Verdict> {
    let mut verifier = Verifier::new(header.as_bytes())?;
    body.as_bytes().chunks(2).for_each(|piece| verifier.body(piece));
    Some(verifier.finish(zone))
}

/// The header as it leaves the host of a domain, which has found that of the chain.
fn pass_on(domain: &str, header: &str, body: &str, chain: Option<ArcResult>) -> Option<String> {
    let mut hash = Body::default();
    hash.push(body.as_bytes());
    let seal = Seal { results: " mx.test; spf=pass\n\t smtp.mailfrom=a.test ", chain, now: 1_700_000_000 };
    let set = keyring().seal(domain, header.as_bytes(), &hash.finish(), &seal).unwrap()?;
    Some(set + header)
}

/// Through three hosts, each of which finds the chain before it whole.
fn three() -> String {
    ["b.test", "c.test", "d.test"].iter().fold(HEADER.to_owned(), |header, domain| {
        let chain = verify(&header, BODY, &zone()).map(|verdict| verdict.result);
        pass_on(domain, &header, BODY, chain).unwrap()
    })
}

#[test]
fn a_chain_grows_and_stays_whole() {
    let header = three();
    let pass = |sealer: &str| Some(Verdict { result: ArcResult::Pass, reason: String::new(), sealer: Some(sealer.into()) });
    assert_eq!(verify(&header, BODY, &zone()), pass("d.test"));
    assert_eq!(verify(HEADER, BODY, &zone()), None);
    let first = pass_on("b.test", HEADER, BODY, None).unwrap();
    assert!(first.starts_with("ARC-Seal: i=1; a=rsa-sha256; cv=none; d=b.test;\n\ts=s; t=1700000000; b=\n\t"), "{first}");
    assert!(first.contains("\nARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=b.test;\n"), "{first}");
    assert!(first.contains("\nARC-Authentication-Results: i=1; mx.test; spf=pass\n\t smtp.mailfrom=a.test\n"), "{first}");
    // Who has no key seals nothing.
    assert_eq!(pass_on("x.test", HEADER, BODY, None), None);
    // A list changes the body after that: the next set is over what it made of it.
    let second = pass_on("c.test", &first, "Hi\n-- \nlist\n", Some(ArcResult::Pass)).unwrap();
    assert_eq!(verify(&second, "Hi\n-- \nlist\n", &zone()), pass("c.test"));
    // Blanks may change on the way, and order, since fields are found by their numbers.
    let (set, rest) = first.split_at(first.find("DKIM-Signature").unwrap());
    let moved = format!("{rest}{}", set.replace("\n\t", " \n   "));
    assert_eq!(verify(&moved, BODY, &zone()), pass("b.test"));
}

#[test]
fn a_chain_that_was_touched_is_broken() {
    let (header, zone) = (three(), zone());
    let reason = |header: &str, body: &str| {
        let verdict = verify(header, body, &zone).unwrap();
        assert_eq!((verdict.result == ArcResult::Fail, verdict.reason.is_empty()), (true, false), "{header}");
        verdict.reason
    };
    assert_eq!(reason(&header, "Ho\n"), "body changed");
    for (from, to, expected) in [
        ("Subject: x", "Subject: y", "message: bad signature"),
        ("i=1; mx.test; spf=pass", "i=1; mx.test; spf=fail", "seal 3: bad signature"),
        ("i=2; mx.test; spf=pass", "i=2; mx.test; spf=fail", "seal 3: bad signature"),
        ("cv=none", "cv=pass", "seal 1: does not say what it found"),
        ("cv=none", "cv=fail", "seal 1: says that the chain is broken"),
        ("cv=pass; d=d.test", "cv=none; d=d.test", "seal 3: does not say what it found"),
        ("cv=pass; d=d.test", "h=from; cv=pass; d=d.test", "seal 3: has a list of fields"),
        ("ARC-Seal: i=3", "ARC-Seal: i=4", "a set is missing"),
        ("ARC-Seal: i=3", "ARC-Seal: i=2", "set 2 has a field twice"),
        ("ARC-Seal: i=3", "ARC-Seal: i=x", "a field without a number"),
        ("ARC-Seal: i=2", "X-Seal: i=2", "a set is missing"),
        ("ARC-Message-Signature: i=2", "X: i=2", "a field is missing"),
        ("ARC-Authentication-Results: i=1", "X: i=1", "a field is missing"),
        ("h=from:", "h=arc-seal:from:", "the message signature signs fields of ARC"),
        ("a=ed25519-sha256; cv", "a=rsa-sha1; cv", "seal 2: SHA-1"),
    ] {
        assert!(header.contains(from), "{from}");
        // The sets stand from the last to the first.
        assert_eq!(reason(&header.replacen(from, to, 1), BODY), expected, "{from} {to}");
    }
    // The first set alone, and the others without it.
    let sets: Vec<usize> = header.match_indices("ARC-Seal").map(|(at, _)| at).collect();
    assert_eq!(reason(&(header[..sets[2]].to_owned() + HEADER), BODY), "a set is missing");
    // A key that is gone, and DNS that does not answer, are failures as good as any (§5.2.1).
    for (gone, why) in [("s._domainkey.c.test x", "seal 2: no key"), ("s._domainkey.c.test TIMEOUT", "seal 2: no answer")] {
        let mut zone = Zone::new(gone);
        ["b.test", "d.test"].iter().for_each(|name| zone.add(&format!("s._domainkey.{name} TXT {}", key(RSA).record())));
        assert_eq!(verify(&header, BODY, &zone).unwrap().reason, why);
    }
}

#[test]
fn a_broken_chain_is_sealed_once_as_such() {
    let zone = zone();
    let broken = three().replacen("Subject: x", "Subject: y", 1);
    let sealed = pass_on("b.test", &broken, BODY, Some(ArcResult::Fail)).unwrap();
    assert!(sealed.starts_with("ARC-Seal: i=4; a=rsa-sha256; cv=fail; d=b.test;"), "{sealed}");
    let verdict = verify(&sealed, BODY, &zone).unwrap();
    assert_eq!((verdict.result, verdict.reason.as_str()), (ArcResult::Fail, "seal 4: says that the chain is broken"));
    assert_eq!(pass_on("c.test", &sealed, BODY, Some(ArcResult::Fail)), None);
    // One that nobody looked at is not vouched for.
    assert!(pass_on("b.test", &three(), BODY, None).unwrap().starts_with("ARC-Seal: i=4; a=rsa-sha256; cv=fail;"));
}

#[test]
fn long_chains_are_bounded() {
    let zone = zone();
    let mut header = HEADER.to_owned();
    for _ in 0..MOST_SETS {
        let chain = (header != HEADER).then_some(ArcResult::Pass);
        header = pass_on("c.test", &header, BODY, chain).unwrap();
    }
    assert_eq!(verify(&header, BODY, &zone).unwrap().result, ArcResult::Pass);
    assert_eq!(zone.asked.borrow().len(), 1);
    assert_eq!(pass_on("c.test", &header, BODY, Some(ArcResult::Pass)), None);
    let set = &header[..header[1..].find("ARC-Seal").unwrap() + 1];
    let more = set.replace("i=50", "i=51") + &header;
    assert_eq!(verify(&more, BODY, &zone).unwrap().reason, "too many sets");
    // Each has a key of its own.
    let mut number = 0;
    let many: String = header
        .split("s=s;")
        .map(|part| {
            number += 1;
            format!("{part}s=s{number};")
        })
        .collect();
    zone.asked.borrow_mut().clear();
    assert_eq!(verify(&many, BODY, &zone).unwrap().reason, "too many keys");
    assert!(zone.asked.borrow().is_empty());
}
