//! The examples of the standards, messages signed here, and what can be wrong with a signature.

use super::*;
use crate::trust::zone::Zone;
use std::fmt::Write;

/// RFC 8463 §A.3.
const EXAMPLE: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
";

/// RFC 6376 §A.2, with the blanks that it was signed with (errata).
const OLD_EXAMPLE: &str = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
";

const EXAMPLE_KEYS: &str = "brisbane._domainkey.football.example.com TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
test._domainkey.football.example.com TXT v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
brisbane._domainkey.example.com TXT v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB
";

/// Made for these tests with `openssl genrsa 2048` and `openssl genpkey -algorithm ed25519`.
const RSA: &[u8] = include_bytes!("../../../tests/trust/rsa.pem");
const RSA_PKCS1: &[u8] = include_bytes!("../../../tests/trust/rsa-pkcs1.pem");
const ED25519: &[u8] = include_bytes!("../../../tests/trust/ed25519.pem");

const NOW: u64 = 1_700_000_000;

fn verify_at(message: &str, zone: &Zone, now: u64) -> Vec<Verdict> {
    let (head, body) = message.split_once("\n\n").map_or((message, ""), |(head, body)| (head, body));
    let mut verifier = Verifier::new(format!("{head}\n").as_bytes());
    body.as_bytes().chunks(7).for_each(|piece| verifier.body(piece));
    verifier.finish(zone, now)
}

fn verify(message: &str, zone: &Zone) -> Vec<String> {
    let told = |verdict: Verdict| format!("{} {}", verdict.result.name(), verdict.reason).trim().to_owned();
    verify_at(message, zone, NOW).into_iter().map(told).collect()
}

/// A message with a signature of `s1` at example.org on top.
fn signed(key: &SigningKey, header: &str, body: &str) -> String {
    let mut hash = Body::default();
    hash.push(body.as_bytes());
    let field = sign(key, "example.org", "s1", header.as_bytes(), &hash.finish(), NOW).unwrap();
    format!("{field}{header}\n{body}")
}

fn zone_of(key: &SigningKey) -> Zone {
    Zone::new(&format!("s1._domainkey.example.org TXT {}", key.record()))
}

#[test]
fn the_examples_of_the_standards() {
    let zone = Zone::new(EXAMPLE_KEYS);
    assert_eq!(verify(EXAMPLE, &zone), ["pass", "pass"]);
    assert_eq!(verify(OLD_EXAMPLE, &zone), ["pass"]);
    let signer = verify_at(EXAMPLE, &zone, NOW)[1].signer.clone().unwrap();
    assert_eq!((signer.domain.as_str(), signer.selector.as_str()), ("football.example.com", "test"));
    assert_eq!((signer.algorithm.name(), signer.start.as_str()), ("rsa-sha256", "F45dVWDf"));
    for (from, to, result) in [
        ("hungry", "angry", "fail body changed"),
        ("dinner", "lunch", "fail bad signature"),
        ("To: Suzie Q <suzie@", "To: Suzie <suzie@", "fail bad signature"),
        ("game.  Are", "game. Are", "pass"),
        ("Subject: Is dinner", "subject:   Is\n\tdinner", "pass"),
        ("From: Joe", "From: eve@x.test\nFrom: Joe", "fail bad signature"),
        // Message-ID is named once: what is added above is not what was signed.
        ("Message-ID: <", "Message-ID: <1@x>\nMessage-ID: <", "pass"),
    ] {
        assert_eq!(verify(&EXAMPLE.replace(from, to), &zone), [result; 2], "{from}");
    }
    // Nothing is lost by what follows, if it is nothing.
    assert_eq!(verify(&format!("{EXAMPLE}\n\n\n"), &zone), ["pass", "pass"]);
    assert_eq!(verify("From: a@b.test\n\nHi\n", &zone), [""; 0]);
}

#[test]
fn what_we_sign_is_verified() {
    let header = "Received: from x\nFrom: a@example.org\nTo: b@x.test,\n\tc@x.test\nSubject: Hi  there \nSubject: two\n";
    for pem in [RSA, RSA_PKCS1, ED25519] {
        let key = SigningKey::from_pem(pem).unwrap();
        for body in ["", "\n\n", "Hi\n", "a  b \n\n c\n\n\n", "no line end"] {
            let message = signed(&key, header, body);
            assert!(message.lines().all(|line| line.len() <= 120), "{message}");
            assert_eq!(verify(&message, &zone_of(&key)), ["pass"], "{message}");
            // As a list or an attacker might change it.
            for (from, to) in [("Hi  there", "there"), ("To:", "Cc: e@x.test\nTo:"), ("From:", "From: e@x.test\nFrom:")] {
                assert_eq!(verify(&message.replace(from, to), &zone_of(&key)), ["fail bad signature"]);
            }
            assert_eq!(verify(&message.replace("from x", "from y"), &zone_of(&key)), ["pass"]);
        }
    }
    assert!(SigningKey::from_pem(b"x").is_err());
}

/// A signature with tags that we don't write ourselves.
fn custom(key: &SigningKey, tags: &str, body: &str) -> String {
    let header = "From:  a@example.org\nTo: b\n";
    let value =
        |bh: &str, b: &str| format!(" v=1; a={}; d=example.org; s=s1; h=from:to; {tags}; bh={bh}; b={b}", key.algorithm().name());
    let parsed = Signature::parse(value("aGk=", "aGk=").as_bytes()).unwrap();
    let mut hash = BodyHash::new(parsed.body, parsed.length);
    hash.push(body.as_bytes());
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let bh = encode(&hash.finish().digest);
    let unsigned = format!("{header}DKIM-Signature:{}\n", value(&bh, ""));
    let fields = Header::new(unsigned.as_bytes());
    let signature = key.sign(&parsed.signed(&fields, fields.last().unwrap())).unwrap();
    format!("DKIM-Signature:{}\n{header}\n{body}", value(&bh, &encode(&signature)))
}

#[test]
fn every_canonical_form() {
    let key = SigningKey::from_pem(ED25519).unwrap();
    let zone = zone_of(&key);
    for (form, header_changes, body_changes) in [
        ("simple/simple", false, false),
        ("simple", false, false),
        ("relaxed", true, false),
        ("simple/relaxed", false, true),
        ("relaxed/relaxed", true, true),
    ] {
        let message = custom(&key, &format!("c={form}"), "a  b\n\n");
        assert_eq!(verify(&message, &zone), ["pass"], "{form}");
        let expect = |may: bool, bad: &str| if may { "pass".to_owned() } else { bad.to_owned() };
        assert_eq!(
            verify(&message.replace("From:  a", "From: a"), &zone),
            [expect(header_changes, "fail bad signature")],
            "{form}"
        );
        assert_eq!(verify(&message.replace("a  b", "a b"), &zone), [expect(body_changes, "fail body changed")], "{form}");
    }
}

#[test]
fn lengths_and_times() {
    let key = SigningKey::from_pem(ED25519).unwrap();
    let zone = zone_of(&key);
    let message = custom(&key, "l=4", "ab\n");
    assert_eq!(verify(&message, &zone), ["pass"]);
    assert_eq!(verify(&format!("{message}more\n"), &zone), ["policy only part of the body is signed"]);
    assert_eq!(verify(&custom(&key, "l=0", "ab\n"), &zone), ["policy only part of the body is signed"]);
    assert_eq!(verify(&custom(&key, "l=5", "ab\n"), &zone), ["fail body shorter than signed"]);
    let message = custom(&key, &format!("t=1; x={NOW}"), "ab\n");
    assert_eq!(verify_at(&message, &zone, NOW)[0].result, DkimResult::Pass);
    assert_eq!(verify_at(&message, &zone, NOW + 1)[0].reason, "signature expired");
}

#[test]
fn keys_that_are_wrong() {
    let key = SigningKey::from_pem(ED25519).unwrap();
    let record = key.record();
    let message = custom(&key, "i=@sub.example.org", "ab\n");
    let with = |record: &str| verify(&message, &Zone::new(&format!("s1._domainkey.example.org {record}")));
    for (record, expected) in [
        (format!("TXT {record}"), "pass"),
        (format!("TXT {record}; s=email:x; h=sha1:sha256; t=y; n=a b; g="), "pass"),
        (format!("TXT {}", record.replace("v=DKIM1; ", "")), "pass"),
        ("TIMEOUT".into(), "temperror no answer"),
        ("A 192.0.2.1".into(), "permerror no key"),
        ("TXT v=DKIM1; k=ed25519; p=".into(), "permerror key revoked"),
        ("TXT v=DKIM1; k=ed25519".into(), "permerror record without key"),
        ("TXT v=DKIM1; k=ed25519; p=*".into(), "permerror broken key"),
        ("TXT v=DKIM1; k=ed25519; p=aGk=".into(), "permerror broken key"),
        ("TXT v=DKIM1; k=rsa; p=aGk=".into(), "permerror broken key"),
        ("TXT v=DKIM1; k=odd; p=aGk=".into(), "permerror key of unknown kind"),
        ("TXT junk".into(), "permerror key is not a list of tags"),
        (format!("TXT {}", record.replace("DKIM1", "DKIM2")), "permerror key of another version"),
        (format!("TXT {record}; h=sha1"), "permerror key not for SHA-256"),
        (format!("TXT {record}; s=tlsrpt"), "permerror key not for mail"),
        (format!("TXT {record}; t=s"), "permerror key not for subdomains"),
        (format!("TXT {}", SigningKey::from_pem(RSA).unwrap().record()), "permerror key of another kind"),
        ("TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".into(), "fail bad signature"),
    ] {
        assert_eq!(with(&record), [expected], "{record}");
    }
    let two = Zone::new(&format!("s1._domainkey.example.org TXT junk\ns1._domainkey.example.org TXT {record}"));
    assert_eq!(verify(&message, &two), ["pass"]);
    // Of 1016 bits.
    let weak = Zone::new(
        &EXAMPLE_KEYS.replace("MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQ", "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQAAHlOQ"),
    );
    assert_eq!(verify(EXAMPLE, &weak), ["pass", "policy key too weak"]);
}

/// A hundred signatures cost eight lookups; a key or a header as large as may be is still read in no time.
#[test]
fn bombs_are_cheap() {
    let zone = Zone::new(EXAMPLE_KEYS);
    let signature = EXAMPLE.split("From: Joe").next().unwrap();
    let many = signature.repeat(50) + &EXAMPLE[signature.len()..];
    assert_eq!(verify(&many, &zone), ["pass"; 8]);
    assert_eq!(zone.asked.borrow().len(), 8);
    let mut names = String::new();
    let mut fields = String::new();
    for number in 0..4000 {
        let _ = write!(names, ":x{number}:from");
        let _ = writeln!(fields, "X{number}: {number}\nFrom: {number}");
    }
    let field = |number: usize| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=x{number}.test; s=s; h=from{names}; c=relaxed/relaxed; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=aGk=\n"
        )
    };
    let header: String = (0..100).map(field).collect::<String>() + &fields;
    let begun = std::time::Instant::now();
    let zone = Zone::new("");
    assert_eq!(verify(&header, &zone), ["permerror no key"; 8]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn keys_of_domains() {
    let mut ring = Keyring::default();
    for (domain, selector, pem) in [("a.test", "r", RSA), ("a.test", "e", ED25519), ("b.a.test", "e", ED25519)] {
        ring.add(domain, selector, SigningKey::from_pem(pem).unwrap());
    }
    for (author, domain) in [
        ("a.test", Some("a.test")),
        ("x.a.test", Some("a.test")),
        ("b.a.test", Some("b.a.test")),
        ("x.b.a.test", Some("b.a.test")),
        ("xa.test", None),
        ("test", None),
    ] {
        assert_eq!(ring.signs_for(author), domain, "{author}");
    }
    let header = "From: u@a.test\n";
    let fields = ring.sign("a.test", header.as_bytes(), &Body::default().finish(), NOW).unwrap();
    let record = |selector, pem| format!("{selector}._domainkey.a.test TXT {}\n", SigningKey::from_pem(pem).unwrap().record());
    let zone = Zone::new(&(record("r", RSA) + &record("e", ED25519)));
    assert_eq!(verify(&format!("{fields}{header}\n"), &zone), ["pass", "pass"]);
}
