//! A message, all checks, and the field that tells of them.

use super::zone::Zone;
use super::*;

fn checked(zone: &Zone, ip: &str, helo: &str, sender: &str, header: &str) -> Verdicts {
    let sender = ReversePath(Some(sender).filter(|sender| !sender.is_empty()).map(|sender| sender.parse().unwrap()));
    let mut checking = Checking::new(Arrival { ip: ip.parse().unwrap(), helo: helo.to_owned(), sender }, header.as_bytes());
    checking.body(b"Hi\n");
    checking.finish(zone, 1_700_000_000, 0)
}

const ZONE: &str = "a.test TXT v=spf1 ip4:192.0.2.1 -all\n\
                    mx.a.test TXT v=spf1 a -all\n\
                    mx.a.test A 192.0.2.1\n\
                    _dmarc.a.test TXT v=DMARC1; p=reject\n\
                    slow.test TIMEOUT\n";

#[test]
fn a_field_tells_all() {
    let zone = Zone::new(ZONE);
    let good = checked(&zone, "192.0.2.1", "mx.a.test", "u@a.test", "From: u@a.test\n");
    assert_eq!(
        good.field("us.test"),
        "Authentication-Results: us.test;\n\
         \tspf=pass\n\t smtp.mailfrom=a.test;\n\
         \tspf=pass\n\t smtp.helo=mx.a.test;\n\
         \tdkim=none;\n\
         \tdmarc=pass\n\t header.from=a.test\n\t policy.dmarc=reject\n"
    );
    assert_eq!(good.refused_by(), None);
    assert_eq!(good.summary(), "spf=pass helo=pass dkim=none dmarc=pass author=a.test policy=reject");
    let bad = checked(&zone, "192.0.2.2", "x\"; y", "u@a.test", "DKIM-Signature: x\nFrom: u@a.test\n");
    assert_eq!(
        bad.field("us.test"),
        "Authentication-Results: us.test;\n\
         \tspf=fail\n\t smtp.mailfrom=a.test;\n\
         \tspf=none\n\t smtp.helo=\"x\\\"; y\";\n\
         \tdkim=neutral reason=\"not a list of tags\";\n\
         \tdmarc=fail\n\t header.from=a.test\n\t policy.dmarc=reject\n"
    );
    assert_eq!(bad.refused_by(), Some("a.test"));
}

#[test]
fn a_null_sender_is_the_client() {
    let zone = Zone::new(ZONE);
    let bounce = checked(&zone, "192.0.2.1", "mx.a.test", "", "From: mailer-daemon@a.test\n");
    assert_eq!((bounce.sender.is_none(), bounce.dmarc.result), (true, DmarcResult::Pass));
    // A sender without a domain is none that the client's name could speak for.
    let literal = checked(&zone, "192.0.2.1", "mx.a.test", "u@[192.0.2.1]", "From: mailer-daemon@a.test\n");
    assert_eq!((literal.sender.is_none(), literal.dmarc.result), (true, DmarcResult::Fail));
}

#[test]
fn what_dns_does_not_tell_is_not_refused() {
    let mut zone = Zone::new(ZONE);
    zone.add("_dmarc.slow.test TXT v=DMARC1; p=reject");
    let verdicts = checked(&zone, "192.0.2.1", "x", "u@slow.test", "From: u@slow.test\n");
    assert_eq!(verdicts.dmarc.result, DmarcResult::TempError);
    assert_eq!(verdicts.refused_by(), None);
    let field = verdicts.field("us.test");
    assert!(field.contains("\tspf=temperror reason=\"slow.test: no answer\"\n\t smtp.mailfrom=slow.test;\n"), "{field}");
    let nobody = checked(&zone, "192.0.2.1", "x", "u@a.test", "From: u@a.test\nFrom: v@b.test\n");
    assert!(nobody.field("us.test").ends_with("\tdmarc=permerror reason=\"several From fields\"\n"));
}
