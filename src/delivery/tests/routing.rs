//! Addresses that stand for others.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A house with these aliases and virtual addresses, and homes for alice and bob in the same directory.
fn house(aliases: &str, addresses: &str, settings: &str) -> (TempDir, House) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text.replace("DIR", &dir.path().display().to_string())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    };
    let (aliases, addresses) = (put("aliases", aliases), put("virtual", addresses));
    for user in ["alice", "bob"] {
        fs::create_dir(dir.path().join(user)).unwrap();
    }
    let settings = format!("aliases = {aliases:?}\nvirtual = {addresses:?}\n{settings}");
    let house = House::at_home(dir.path(), &settings);
    (dir, house)
}

fn forward(dir: &TempDir, user: &str, text: &str) {
    let path = dir.path().join(user).join(".forward");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// The ends of an address, and who answers for them, in words.
fn ends(house: &House, address: &str) -> String {
    let office = house.delivery().post().office().clone();
    match office.expand(&address.parse().unwrap()) {
        Ok(walk) => {
            let told = walk.ends.iter().map(|(end, owner)| match owner {
                Some(owner) => format!("{end} [{owner}]"),
                None => end.to_string(),
            });
            told.collect::<Vec<_>>().join("; ")
        }
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn every_way_to_its_end() {
    let (dir, house) = house(
        "root: alice, bob@away.example\n\
         list: alice, Bob, :include:DIR/members\nowner-list: bob\n\
         outer: list, last@away.example\n\
         alice: alice, copy@away.example\n\
         one: other\nother: one\n\
         exact: \\alice, \\bob+x\n\
         prog: \"|cat > /dev/null\", /var/log/box\n\
         evil: :include:DIR/evil\n",
        "sales@shop.example root, bob\n@all.example bob\nbob@second.example bob@second.example, copy@away.example\n@second.example alice\n\
         cmd@shop.example |cat\n",
        "[[route]]\ndomain = \"routed.example\"\nhost = \"192.0.2.1:26\"\n",
    );
    fs::write(dir.path().join("members"), "# all\nlast@away.example\ncarol@me.example, alice\n").unwrap();
    fs::write(dir.path().join("evil"), "|id\n").unwrap();
    let away = |who: &str| format!("{who}@away.example: by DNS, to the mail exchangers of away.example");
    for (address, wanted) in [
        ("bob@me.example", "mailbox of bob".to_owned()),
        ("BOB+x@me.example", "mailbox of bob".to_owned()),
        ("root@me.example", format!("mailbox of alice; {}; {}", away("copy"), away("bob"))),
        ("root+cron@me.example", format!("mailbox of alice; {}; {}", away("copy"), away("bob"))),
        ("alice@me.example", format!("mailbox of alice; {}", away("copy"))),
        (
            "list@me.example",
            format!(
                "mailbox of alice [owner-list@me.example]; {} [owner-list@me.example]; mailbox of bob [owner-list@me.example]; {} [owner-list@me.example]",
                away("copy"),
                away("last")
            ) + "; carol@me.example: nobody of that name is here [owner-list@me.example]",
        ),
        ("one@me.example", String::new()),
        ("exact@me.example", "mailbox of alice; mailbox of bob".to_owned()),
        ("prog@me.example", "command: cat > /dev/null; file /var/log/box".to_owned()),
        ("sales@shop.example", format!("mailbox of alice; {}; {}; mailbox of bob", away("copy"), away("bob"))),
        ("other@shop.example", "other@shop.example: by DNS, to the mail exchangers of shop.example".to_owned()),
        ("any@all.example", "mailbox of bob".to_owned()),
        ("bob@second.example", format!("mailbox of bob; {}", away("copy"))),
        ("zoe@second.example", format!("mailbox of alice; {}", away("copy"))),
        ("postmaster@me.example", format!("mailbox of alice; {}; {}", away("copy"), away("bob"))),
        ("x@routed.example", "x@routed.example: to the host 192.0.2.1:26".to_owned()),
    ] {
        assert_eq!(ends(&house, address), wanted, "{address}");
    }
    for (address, wrong) in [
        ("evil@me.example", "`|id` may not stand here"),
        ("cmd@shop.example", "`|cat` may not stand here"),
        ("nobody@me.example", "nobody of that name is here"),
    ] {
        let told = ends(&house, address);
        assert!(told.contains(wrong), "{address}: {told}");
    }
}

#[test]
fn a_broken_file_bounces_nothing() {
    let (_dir, house) = house("good: alice, later\nbad: x y\nno colon\n", "", "");
    let route = |name: &str| {
        house.delivery().post().route(&format!("{name}@me.example").parse().unwrap()).map_err(|error| error.to_string())
    };
    assert!(matches!((route("good"), route("bob")), (Ok(Route::Expand), Ok(Route::Local(_)))));
    assert!(route("bad").is_err_and(|error| error.contains("line 2 is not understood")));
    // Perhaps a line that is wrong is this name's.
    assert!(route("nobody").is_err_and(|error| error.contains("line 2: a comma is missing")));
    house.post("bob@me.example", &["good@me.example"], TEXT).unwrap();
    assert!(house.mbox("alice").contains("hello"));
    assert_eq!((house.mbox("bob"), house.queue().len()), (String::new(), 1));
}

#[test]
fn forward_files_lead_on_and_bad_ones_do_not() {
    let (dir, house) = house("", "", "");
    forward(&dir, "alice", "\\alice, bob\n");
    forward(&dir, "bob", "alice@me.example\n\"|exec /usr/bin/procmail || exit 75\"\n");
    assert_eq!(ends(&house, "alice@me.example"), "mailbox of alice; command of bob: exec /usr/bin/procmail || exit 75");
    assert_eq!(
        ends(&house, "bob@me.example"),
        "mailbox of alice; mailbox of bob; command of bob: exec /usr/bin/procmail || exit 75"
    );
    for (text, mode) in [("a b\n", 0o644), (":include:/etc/passwd\n", 0o644), ("x@away.example\n", 0o666), ("# none\n", 0o600)] {
        forward(&dir, "bob", text);
        fs::set_permissions(dir.path().join("bob/.forward"), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(ends(&house, "bob@me.example"), "mailbox of bob", "{text}");
    }
    fs::rename(dir.path().join("bob"), dir.path().join("away")).unwrap();
    assert!(ends(&house, "bob@me.example").contains("can't be told now: home "));
    // It waits for the home, and nobody else for it.
    house.post("a@other.example", &["alice@me.example"], TEXT).unwrap();
    assert!(house.mbox("alice").contains("hello"));
    assert_eq!(house.queue().len(), 1);
    fs::rename(dir.path().join("away"), dir.path().join("bob")).unwrap();
    house.delivery().flush(&Which::All);
    house.wait("bob's copy", || house.mbox("bob").contains("hello"));
    house.wait("an empty queue", || house.queue().is_empty());
}

#[test]
fn who_it_stands_for_has_it_when_it_is_sent_once() {
    let (_dir, house) = house("all: alice, bob, both\nboth: bob, alice\n", "", "");
    house.post("a@other.example", &["all@me.example", "bob@me.example", "both@me.example"], TEXT).unwrap();
    for user in ["alice", "bob"] {
        assert_eq!(house.mbox(user).matches("hello").count(), 1, "{}", house.mbox(user));
    }
    assert!(
        house.mbox("alice").contains("Delivered-To: alice@me.example\nDelivered-To: all@me.example\nReceived: "),
        "{}",
        house.mbox("alice")
    );
    assert!(!house.mbox("bob").contains("all@"), "{}", house.mbox("bob"));
    house.store.checkpoint();
    assert_eq!(house.journal.unsettled(), []);
}

/// Of two recipients, neither copy tells of the other.
#[test]
fn hidden_recipients_stay_hidden() {
    let (_dir, house) = house("first: alice\nsecret: bob\n", "", "");
    house.post("a@other.example", &["first@me.example", "secret@me.example"], TEXT).unwrap();
    assert!(!house.mbox("alice").contains("secret") && !house.mbox("alice").contains("bob"), "{}", house.mbox("alice"));
    assert!(!house.mbox("bob").contains("first") && !house.mbox("bob").contains("alice"), "{}", house.mbox("bob"));
}

#[test]
fn what_goes_in_a_circle_comes_back() {
    let (_dir, house) = house("one: other\nother: one\nall: alice\n", "", "");
    house.post("bob@me.example", &["one@me.example"], TEXT).unwrap();
    assert!(house.mbox("bob").contains("Final-Recipient: rfc822; one@me.example\nAction: failed\nStatus: 5.4.6\n"));
    house.post("bob@me.example", &["all@me.example"], "Delivered-To: All@me.example\nSubject: x\n\nhi\n").unwrap();
    assert!(house.mbox("bob").contains("Final-Recipient: rfc822; all@me.example\nAction: failed\nStatus: 5.4.6\n"));
    assert_eq!(house.mbox("alice"), "");
    assert_eq!(house.queue(), []);
}

#[test]
fn failures_of_a_list_are_its_owners() {
    let (_dir, house) = house("list: alice, nobody\nowner-list: bob\nplain: nobody, alice\n", "", "");
    house.post("carol@other.example", &["list@me.example"], TEXT).unwrap();
    assert!(house.mbox("bob").contains("Final-Recipient: rfc822; nobody@me.example"), "{}", house.mbox("bob"));
    assert!(house.mbox("alice").contains("Return-Path: <owner-list@me.example>\n"), "{}", house.mbox("alice"));
    house.post("", &["list@me.example"], TEXT).unwrap();
    assert!(house.mbox("alice").contains("Return-Path: <>\n"), "a report stays one: {}", house.mbox("alice"));
    house.post("bob@me.example", &["plain@me.example"], TEXT).unwrap();
    assert_eq!(house.mbox("bob").matches("Final-Recipient: rfc822; nobody@me.example").count(), 2);
}

/// RFC 3461 §5.2.7.
#[test]
fn what_senders_hear_of_it() {
    let (_dir, house) = house("list: alice\nowner-list: alice\none: alice\nseveral: alice, x@away.example\n", "", "");
    for (to, action) in [("list", "delivered"), ("several", "expanded")] {
        house
            .post_asking(&["ENVID=id7"], &["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;orig@x"], &[&format!("{to}@me.example")], TEXT)
            .unwrap();
        house.store.checkpoint();
        let told = house.mbox("alice");
        let wanted = format!("Original-Recipient: rfc822; orig@x\nFinal-Recipient: rfc822; {to}@me.example\nAction: {action}\n");
        assert!(told.contains(&wanted) && told.contains("Original-Envelope-Id: id7\n"), "{told}");
        assert_eq!(told.matches("Action: ").count(), if to == "list" { 1 } else { 2 }, "{told}");
    }
    let waiting = house.queue().pop().unwrap();
    let entry = house.delivery().entry(waiting.id).unwrap();
    let dsn = &entry.envelope.recipients[waiting.waiting[0].index as usize].dsn;
    assert_eq!(dsn.to_string(), " NOTIFY=FAILURE ORCPT=rfc822;orig@x");
    assert_eq!(entry.envelope.dsn.to_string(), " ENVID=id7");
    house.post_asking(&[], &["NOTIFY=SUCCESS"], &["one@me.example"], TEXT).unwrap();
    house.store.checkpoint();
    let told = house.mbox("alice");
    assert!(told.contains("Final-Recipient: rfc822; alice@me.example\nAction: delivered\n"), "{told}");
}

#[test]
fn mail_for_a_detail_goes_to_its_folder() {
    let (_dir, house) = house("via: alice+lists\n", "", "detail = \"folder\"\n");
    let account = house.account("alice");
    let name = crate::mailbox::FolderName::parse("Lists").unwrap();
    house.store.folders(&account).unwrap().create(&name, None).unwrap();
    let to = ["alice+lists@me.example", "Alice+other@me.example", "via@me.example"];
    for to in to {
        house.post("a@other.example", &[to], TEXT).unwrap();
    }
    assert_eq!(house.store.open(&account, &name).unwrap().view().unwrap().count().unwrap(), 2);
    assert_eq!(house.mbox("alice").matches("hello").count(), 1);
    assert_eq!(house.queue(), []);
}

/// Commands need a real spool; they have their tests elsewhere.
#[test]
fn files_take_mail() {
    let (dir, house) = house("box: DIR/box\nnull: /dev/null\n", "", "[queue]\nretry = [\"1s\"]\nwarn = \"0s\"\n");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    house.post("a@other.example", &["box@me.example", "null@me.example"], TEXT).unwrap();
    house.wait("an empty queue", || house.queue().is_empty());
    let text = fs::read_to_string(dir.path().join("box")).unwrap();
    assert!(text.starts_with("From a@other.example ") && text.ends_with("\n\nhello\n\n"), "{text}");
    forward(&dir, "bob", &format!("{}\n", dir.path().join("none/box").display()));
    house.post("a@other.example", &["bob@me.example"], TEXT).unwrap();
    house.wait("a try", || house.queue().iter().any(|one| one.waiting[0].text.contains("No such file")));
    assert_eq!(house.mbox("bob"), "");
}

/// All of it is one act: whenever the machine stops, the list has it or its members, and each of them once.
#[test]
fn an_expansion_survives_a_stop_at_any_moment() {
    let run = |members: usize, stop: Option<u64>| {
        let route = "[[route]]\ndomain = \"away.example\"\nhost = \"127.0.0.1:9\"\n";
        let (dir, house) = house("list: :include:DIR/members, alice, bob\n", "", route);
        let text: String = (0..members).map(|number| format!("m{number}@away.example\n")).collect();
        fs::write(dir.path().join("members"), text).unwrap();
        let begun = house.disk.operations();
        stop.iter().for_each(|stop| house.disk.stop_at(begun + stop));
        let sent = house.post("a@other.example", &["list@me.example"], TEXT).is_ok();
        let operations = house.disk.operations() - begun;
        let (disk, config) = (house.disk.after_power_cut(stop.unwrap_or(0)), house.config.clone());
        drop(house);
        let house = House::open_at_home(dir.path(), disk, config);
        let waiting = || house.queue().iter().map(|one| one.waiting.len()).collect::<Vec<_>>();
        let copies = |user: &str| house.mbox(user).matches("hello").count();
        if sent || !house.journal.unsettled().is_empty() {
            house.wait("all copies", || waiting() == [members] && copies("alice") == 1 && copies("bob") == 1);
        } else {
            assert_eq!((waiting(), copies("alice"), copies("bob")), (vec![], 0, 0), "{stop:?}");
        }
        operations
    };
    let operations = run(20, None);
    for stop in 1..=operations {
        run(20, Some(stop));
    }
    for stop in [None, Some(operations / 2), Some(operations)] {
        run(10_000, stop);
    }
}

/// Who sent it, and to whom it goes, of what waits.
fn waiting(house: &House) -> Vec<(String, String)> {
    let told = |one: Unsettled| {
        let envelope = house.delivery().entry(one.id).unwrap().envelope;
        let to = envelope.recipient(one.waiting[0].index).unwrap();
        (envelope.reverse_path.to_string(), to.address.to_string())
    };
    house.queue().into_iter().map(told).collect()
}

const FAR: &str = "[[route]]\ndomain = \"away.example\"\nhost = \"127.0.0.1:9\"\n[[route]]\ndomain = \"other.example\"\nhost = \"127.0.0.1:9\"\n";

#[test]
fn what_is_sent_on_has_a_sender_of_ours() {
    let (_dir, house) = house("both: alice, both@away.example\nlist: list@away.example\nowner-list: alice\n", "", FAR);
    house.post("a@other.example", &["both@me.example"], TEXT).unwrap();
    assert!(house.mbox("alice").contains("Return-Path: <a@other.example>\n"), "{}", house.mbox("alice"));
    house.store.checkpoint();
    let (sender, to) = waiting(&house).remove(0);
    assert!(sender.starts_with("SRS0=") && sender.ends_with("=other.example=a@me.example"), "{sender}");
    assert_eq!(to, "both@away.example");
    // What comes back to it finds its way, and nothing that somebody made up does.
    house.post("", &[&sender], TEXT).unwrap();
    assert!(waiting(&house).contains(&(String::new(), "a@other.example".to_owned())), "{:?}", waiting(&house));
    assert!(ends(&house, &sender).starts_with("a@other.example: to the host"), "{}", ends(&house, &sender));
    let made_up = sender.replace("=a@", "=b@");
    assert!(matches!(house.delivery().post().route(&made_up.parse().unwrap()), Ok(Route::NoUser)), "{made_up}");
    // These need none: SPF knows our own senders, and a list has its own.
    for (from, to, wanted) in [("bob@me.example", "both", "bob@me.example"), ("a@other.example", "list", "owner-list@me.example")]
    {
        house.post(from, &[&format!("{to}@me.example")], TEXT).unwrap();
        let found = waiting(&house);
        assert!(found.contains(&(wanted.to_owned(), format!("{to}@away.example"))), "{wanted}: {found:?}");
    }
}

#[test]
fn senders_stay_if_that_is_wanted() {
    let (_dir, house) = house("on: on@away.example\n", "", &format!("srs = \"off\"\n{FAR}"));
    house.post("a@other.example", &["on@me.example"], TEXT).unwrap();
    assert_eq!(waiting(&house), [("a@other.example".to_owned(), "on@away.example".to_owned())]);
}

/// Whatever aliases lead to, in circles or not, is found once, and by the plainest search there is just the same.
#[test]
fn random_aliases_lead_where_a_plain_search_leads() {
    use proptest::collection::vec;
    use proptest::test_runner::{Config, TestRunner};
    use std::collections::BTreeSet;

    const NAMES: usize = 10;
    let (dir, house) = house("a0: bob\n", "", "");
    let office = house.office();
    let named = |target: usize| match target {
        name if name < NAMES => format!("a{name}"),
        10 => "Alice".to_owned(),
        11 => "\\bob".to_owned(),
        other => format!("x{other}@away.example"),
    };
    let key = |target: usize| match target {
        name if name < NAMES => format!("a{name}@me.example"),
        10 => "mailbox alice INBOX".to_owned(),
        11 => "mailbox bob INBOX".to_owned(),
        other => named(other),
    };
    let graphs = vec(vec(0..NAMES + 5, 0..5), 1..=NAMES);
    let result = TestRunner::new(Config::with_cases(200)).run(&graphs, |graph| {
        let line = |(name, targets): (usize, &Vec<usize>)| {
            let targets: Vec<String> = targets.iter().copied().map(named).collect();
            if targets.is_empty() { String::new() } else { format!("a{name}: {}\n", targets.join(", ")) }
        };
        let text: String = graph.iter().enumerate().map(line).collect();
        fs::write(dir.path().join("new"), format!("# of this case\n{text}")).unwrap();
        fs::set_permissions(dir.path().join("new"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(dir.path().join("new"), dir.path().join("aliases")).unwrap();
        let below = |target: &usize| graph.get(*target).filter(|targets| *target < NAMES && !targets.is_empty());
        for start in 0..NAMES {
            let (mut all, mut before) = (BTreeSet::from([start]), 0);
            while all.len() > before {
                before = all.len();
                let more: Vec<usize> = all.iter().filter_map(below).flatten().copied().collect();
                all.extend(more);
            }
            let expected: BTreeSet<String> =
                all.iter().filter(|target| below(target).is_none()).map(|target| key(*target)).collect();
            let ends = office.expand(&format!("a{start}@me.example").parse().unwrap()).unwrap().ends;
            let found: BTreeSet<String> = ends.iter().map(|(end, _)| end.key()).collect();
            assert_eq!(found.len(), ends.len(), "found twice: {text}");
            assert_eq!(found, expected, "from a{start}: {text}");
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
