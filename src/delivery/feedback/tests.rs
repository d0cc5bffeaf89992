//! Files of days: what crashes leave of them, and how much they hold.

use super::*;
use crate::trust::aggregate::Published;
use std::fs;
use std::path::Path;

fn row(domain: &str, number: u32) -> Row {
    let text = |text: &str| text.to_owned();
    Row {
        domain: text(domain),
        policy: Published { adkim: text("r"), aspf: text("r"), p: text("none"), sp: text("none"), pct: 100, fo: text("0") },
        ip: std::net::Ipv4Addr::from(number).into(),
        disposition: text("none"),
        dkim: false,
        spf: false,
        reasons: Vec::new(),
        from: text(domain),
        sender: String::new(),
        signatures: Vec::new(),
        by_spf: [text("x \"\\\n"), text("helo"), text("none")],
    }
}

fn add(counting: &mut Counting, row: &Row, times: u32) {
    let key = serde_json::to_string(row).unwrap();
    (0..times).for_each(|_| counting.add(&organization(row), &key).unwrap());
}

/// Domain, last byte of the address, and count, of all that is unsent.
fn unsent(path: &Path) -> Vec<(String, u64)> {
    let past = Past::open(path).unwrap();
    let all =
        past.unsent.into_iter().flat_map(|(domain, rows)| rows.into_iter().map(move |(row, count)| (domain.clone(), row, count)));
    all.map(|(domain, row, count)| (format!("{domain} {}", row.ip), count)).collect()
}

#[test]
fn what_is_counted_is_kept_over_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmarc/host/7");
    let mut counting = Counting::open(path.clone(), organization);
    add(&mut counting, &row("a.test", 1), 3);
    add(&mut counting, &row("b.test", 1), 1);
    add(&mut counting, &row("a.test", 2), 4);
    let expected =
        [("a.test 0.0.0.2", 4), ("a.test 0.0.0.1", 3), ("b.test 0.0.0.1", 1)].map(|(what, count)| (what.to_owned(), count));
    // No drop does anything: what is there is what a kill leaves.
    assert_eq!(unsent(&path), expected);
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("1 {\"domain\":\"a.te");
    fs::write(&path, &text).unwrap();
    let mut again = Counting::open(path.clone(), organization);
    assert_eq!(unsent(&path), expected);
    add(&mut again, &row("b.test", 1), 1);
    assert_eq!(unsent(&path)[2].1, 2);
    // Repetitions make no file of any size.
    add(&mut again, &row("b.test", 1), 4000);
    assert_eq!(unsent(&path)[2].1, 4002);
    assert!(fs::metadata(&path).unwrap().len() < 300 << 10);
    fs::write(&path, text.replace("dmarc 1", "dmarc 2")).unwrap();
    assert_eq!(unsent(&path), []);
}

#[test]
fn a_flood_has_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("7");
    let mut counting = Counting::open(path.clone(), organization);
    // One organization, many names; the last has room, and so has what is known.
    for number in 0..5000 {
        add(&mut counting, &row(&format!("d{number}.flood.test"), 1), 1);
    }
    let dropped = counting.uncounted;
    assert!((1000..4000).contains(&dropped), "{dropped}");
    add(&mut counting, &row("d1.flood.test", 1), 1);
    add(&mut counting, &row("a.test", 1), 1);
    assert_eq!(counting.uncounted, dropped);
    assert!(fs::metadata(&path).unwrap().len() < 2 << 20);
    for number in 0..40_000 {
        let row = row(&format!("f{number}.test"), 1);
        let _ = counting.count(&organization(&row), &serde_json::to_string(&row).unwrap(), 1);
    }
    assert!(counting.uncounted > dropped + 10_000, "{}", counting.uncounted);
}

#[test]
fn a_start_knows_what_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("7");
    let mut counting = Counting::open(path.clone(), organization);
    ["a.test", "b.test", "c.test", "d.test"].iter().for_each(|domain| add(&mut counting, &row(domain, 1), 1));
    let ids: Vec<crate::spool::SpoolId> = (1..4).map(|number| format!("0123456789abcdef-{number}").parse().unwrap()).collect();
    let domains = |path: &Path| Past::open(path).unwrap().unsent.into_keys().collect::<Vec<_>>().join(" ");
    let mut past = Past::open(&path).unwrap();
    past.sending("a.test", ids[0]).unwrap();
    past.sent("a.test").unwrap();
    past.sending("b.test", ids[1]).unwrap();
    past.sending("c.test", ids[2]).unwrap();
    // Nobody sends them a second time who does not know what became of the first.
    assert_eq!(domains(&path), "d.test");
    kept::settle(&path, |id| id == ids[1]).unwrap();
    assert_eq!(domains(&path), "c.test d.test");
    // It is told then: the letter may be delivered and gone at the next start.
    kept::settle(&path, |_| false).unwrap();
    assert_eq!(domains(&path), "c.test d.test");
    // Half a note is none.
    fs::write(&path, fs::read_to_string(&path).unwrap() + "sent d.te").unwrap();
    assert_eq!(domains(&path), "c.test d.test");
    Past::open(&path).unwrap().sent("d.test").unwrap();
    assert_eq!(domains(&path), "c.test");
}

#[test]
fn each_domain_has_its_time_in_the_hour() {
    let times: BTreeSet<u64> = (0..100).map(|number| offset("mail.here.test", &format!("d{number}.test"))).collect();
    assert!(times.len() > 50 && times.iter().all(|time| *time < SPREAD));
    assert_ne!(offset("a.test", "x.test"), offset("b.test", "x.test"));
}
