//! What the checks and signatures cost: measurements, not tests. DNS is a table, as good as a cache.
//!
//!     cargo test --release --lib -- --ignored --exact --nocapture trust::measure::figures
//!
//! The bounds are those that the daemon must keep to; they are for a release build.

use super::dkim::{Body, SigningKey, arc, sign};
use super::zone::Zone;
use super::*;
use crate::sys::cost::{cost, report};
use std::fmt::Write;

const RSA: &[u8] = include_bytes!("../../tests/trust/rsa.pem");
const ED25519: &[u8] = include_bytes!("../../tests/trust/ed25519.pem");

fn check(zone: &Zone, header: &str, body: &str) -> Verdicts {
    let sender = ReversePath("u@a.test".parse().ok());
    let arrival = Arrival { ip: "192.0.2.1".parse().unwrap(), helo: "mx.a.test".into(), sender };
    let mut checking = Checking::new(arrival, header.as_bytes());
    checking.body(body.as_bytes());
    checking.finish(zone, 1_700_000_000, 0)
}

fn hash(body: &str) -> Vec<u8> {
    let mut hash = Body::default();
    hash.push(body.as_bytes());
    hash.finish()
}

#[test]
#[ignore = "measures; wants a release build"]
fn figures() {
    let body = "0123456789 abcdefghijklmnopqrstuvwxyz 0123456789 abcdefghijkl\n".repeat(60);
    let header = "Received: from x\nFrom: u@a.test\nTo: x@b.test\nSubject: hello\nDate: today\nMessage-ID: <1@a.test>\n";
    let (rsa, ed25519) = (SigningKey::from_pem(RSA).unwrap(), SigningKey::from_pem(ED25519).unwrap());
    let mut zone = Zone::new(
        "a.test TXT v=spf1 a mx ip4:192.0.2.0/24 -all\nmx.a.test TXT v=spf1 a -all\n_dmarc.a.test TXT v=DMARC1; p=reject",
    );
    zone.add("mx.a.test A 192.0.2.1");
    zone.add(&format!("s._domainkey.a.test TXT {}", rsa.record()));
    let signed = |key: &SigningKey| sign(key, "a.test", "s", header.as_bytes(), &hash(&body), 1_600_000_000).unwrap();
    let message = signed(&rsa) + header;
    assert!(check(&zone, &message, &body).summary().starts_with("spf=pass helo=pass dkim=pass:a.test dmarc=pass"));
    report("verify 4 KiB, RSA-2048: DKIM, SPF, DMARC", cost(2000, || drop(check(&zone, &message, &body).field("us.test"))), 0.3);
    report("sign 4 KiB, RSA-2048", cost(200, || drop(signed(&rsa))), 1.5);
    report("sign 4 KiB, Ed25519", cost(2000, || drop(signed(&ed25519))), 0.1);
    bombs(&zone, &rsa);
}

/// Mail of those who want to keep us busy: milliseconds, and a bounded number of questions.
fn bombs(zone: &Zone, rsa: &SigningKey) {
    let field = |selector: &str, names: &str, more: &str| {
        format!("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=a.test; s={selector}; h=from{names}; bh={more}; b=aGk=\n")
    };
    let empty = "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=";
    // A hundred signatures, each with a key and a body hash of its own.
    let hundred: String = (0..100).map(|number| field(&format!("s{number}"), "", empty)).collect();
    // Names without end, for fields without end.
    let names = ":a".repeat(12_000);
    let many: String = (0..8).map(|_| field("s", &names, empty)).collect::<String>() + &"A:x\n".repeat(15_000);
    let mut giants = Zone::new("");
    let modulus =
        [&[0x30, 0x82, 0x40, 0x0a, 0x02, 0x82, 0x40, 0x01, 0x00][..], &[0xff; 0x4000][..], &[0x02, 0x03, 1, 0, 1]].concat();
    let giant = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, modulus);
    giants.add(&format!("s._domainkey.a.test TXT v=DKIM1; p={giant}"));
    let mut tree = Zone::new("");
    for node in 0..111 {
        let children: String = (1..=10).map(|child| format!(" include:n{}.test", node * 10 + child)).collect();
        tree.add(&format!("{} TXT v=spf1{children} -all", if node == 0 { "a.test".into() } else { format!("n{node}.test") }));
    }
    // Fifty seals of one key.
    let mut chain = "From: u@a.test\n".to_owned();
    let mut ring = dkim::Keyring::default();
    ring.add("a.test", "s", SigningKey::from_pem(RSA).unwrap());
    for number in 0..50 {
        let seal = arc::Seal { results: "x; none", chain: (number > 0).then_some(arc::ArcResult::Pass), now: 1_600_000_000 };
        chain = ring.seal("a.test", chain.as_bytes(), &hash("x\n"), &seal).unwrap().unwrap() + &chain;
    }
    let mut dots = String::from("From: ");
    (0..2000).for_each(|number| _ = write!(dots, "(((\"a\"))) u{number}@a.test, "));
    let _ = rsa;
    for (what, zone, header, body) in [
        ("a hundred signatures", zone, hundred + "From: u@a.test\n", ""),
        ("names and fields without end", zone, many + "From: u@a.test\n", ""),
        ("a key of 131072 bits", &giants, field("s", "", empty) + "From: u@a.test\n", ""),
        ("a tree of SPF records", &tree, "From: u@a.test\n".into(), ""),
        ("fifty seals", zone, chain, "x\n"),
        ("two thousand authors", zone, dots + "\n", ""),
    ] {
        zone.asked.borrow_mut().clear();
        let verdicts = check(zone, &header, body);
        let asked = zone.asked.borrow().len();
        println!("{what}: {asked} questions, {}", verdicts.summary().chars().take(150).collect::<String>());
        // Two of SPF, each with ten terms at most; keys; two of DMARC.
        assert!(asked <= 2 * 11 + 8 + 10 + 2, "{what}");
        report(what, cost(20, || drop(check(zone, &header, body))), 50.0);
    }
}
