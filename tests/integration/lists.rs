//! Mailing lists through the daemon and its tools: from a request by mail to members on other hosts.

use crate::common::{Daemon, NameServer, Setup, Sink, examples, letter, wait_for};
use crate::trust::verified;
use crate::webmail::browser::{Browser, Page};
use pillarbox::trust::dkim::SigningKey;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

crate::tests![
    the_tour,
    members_far_away,
    what_the_tool_says,
    killed_between_steps,
    a_broken_file_is_told,
    leaving_by_one_click,
    each_copy_is_signed
];

fn ctl(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.ctl(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every line of the manual page's tour, in one shell, as it stands there.
fn the_tour() {
    let script = examples("pillarbox-lists.7").concat();
    let daemon = Setup { domains: vec!["localhost".into()], ..Setup::default() }.start();
    symlink(daemon.path(""), daemon.path("var")).unwrap();
    let tool = format!("{} -f {}", env!("CARGO_BIN_EXE_pillarboxctl"), daemon.config().display());
    let output = Command::new("sh").args(["-eux", "-c", &script]).env("ctl", tool).current_dir(daemon.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for wanted in [
        "friends@localhost is there now\n1 member added\nalice@localhost\nbob@localhost\n",
        "List-Id: <friends.localhost>\nList-Post: <mailto:friends@localhost>\n",
        "friends@localhost: mailing list friends: posts wait for a moderator\n",
        "  bob@localhost  more\n",
        " Friends\n",
        "friends@localhost: 2 members, 0 posts held\n",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let mail = daemon.mail("alice").iter().map(|mail| String::from_utf8_lossy(mail).into_owned()).collect::<String>();
    assert!(mail.contains("Subject: hi\r\n") && mail.contains("Subject: more\r\n"), "{mail}");
    let mut imap = daemon.imap("alice");
    assert!(imap.ok("SELECT Friends").unwrap().iter().any(|line| line == "* 1 EXISTS"));
    let copy = imap.fetch(1, "BODY.PEEK[]").unwrap();
    assert!(String::from_utf8_lossy(&copy).contains("Subject: more\r\n"));
}

fn members_far_away() {
    let sink = Sink::start();
    let config = format!("[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n", sink.address);
    let daemon = Setup::default().config(&config).start();
    ctl(&daemon, &["list", "create", "team", "bob@here.test"]);
    ctl(&daemon, &["list", "add", "team", "x@far.test", "y@far.test", "alice@here.test"]);
    let text = "From: alice@here.test\r\nSubject: to all\r\n\r\n.dot\r\n";
    assert!(daemon.smtp().send("alice@here.test", &["team@here.test"], text.as_bytes()).unwrap().starts_with("250"));
    wait_for("both", 30, || (sink.count() == 2).then_some(()));
    let mut arrived = sink.arrived();
    arrived.sort_by_key(|one| one.to.clone());
    for (one, member) in arrived.iter().zip(["x", "y"]) {
        assert_eq!(one.to, [format!("<{member}@far.test>")]);
        let sender = format!("<team-bounces+{member}=far.test+");
        assert!(one.from.starts_with(&sender) && one.from.contains("@here.test>"), "{}", one.from);
        let text = String::from_utf8_lossy(&one.message).into_owned();
        assert!(
            text.contains("List-Unsubscribe: <mailto:team-unsubscribe@here.test>\r\n") && text.contains("\r\n\r\n.dot\r\n"),
            "{text}"
        );
    }
    // What comes back to the sender counts; a guess does not.
    let report = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: \
                  message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; x@far.test\r\nAction: failed\r\n\
                  Status: 5.1.1\r\n\r\n--b--\r\n";
    for to in
        [arrived[0].from[1..].split('>').next().unwrap().to_owned(), "team-bounces+y=far.test+aaaaaaaaaa@here.test".to_owned()]
    {
        assert!(daemon.smtp().send("", &[&to], report.as_bytes()).unwrap().starts_with("250"));
    }
    let shown = ctl(&daemon, &["list", "show", "team"]);
    assert!(shown.contains("mail for x@far.test came back on 1 day\n") && !shown.contains("y@far"), "{shown}");
}

fn what_the_tool_says() {
    let daemon = Setup::default().start();
    let fails = |words: &[&str], code: i32, what: &str| {
        let output = daemon.ctl(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(what), "{words:?}: {output:?}");
    };
    fails(&["list", "create", "alice", "bob@here.test"], 73, "alice@here.test is an address here already");
    fails(&["list", "create", "x-owner", "bob@here.test"], 64, "the name of a list has");
    fails(&["list", "show", "team"], 69, "there is no such list");
    assert_eq!(ctl(&daemon, &["list", "create", "Team", "bob@here.test"]), "team@here.test is there now\n");
    fails(&["list", "create", "team", "bob@here.test"], 73, "is a list already");
    fails(&["list", "add", "team", "team-help@here.test"], 73, "member of itself");
    fails(&["list", "approve", "team", "57a3b1c09d3e1f22-2a"], 69, "no such post waits");
    fails(&["list", "turn", "team"], 64, "is not a command");
    let output =
        crate::common::pillarboxctl(&daemon.config(), &["list", "add", "team", "-"], b"# us\na@x.test\n\nb@x.test\na@x.test\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 members added\n");
    assert_eq!(
        ctl(&daemon, &["list", "members", "team", "--json"]).split_whitespace().collect::<String>(),
        r#"["a@x.test","b@x.test"]"#
    );
    assert_eq!(ctl(&daemon, &["list", "remove", "team", "a@x.test", "c@x.test"]), "1 member removed\n");
    assert_eq!(ctl(&daemon, &["list", "list"]), "team\n");
    assert_eq!(
        ctl(&daemon, &["route", "team-owner@here.test"]),
        "team-owner: owners of the mailing list team\n  mailbox of bob\n"
    );
    ctl(&daemon, &["list", "delete", "team"]);
    assert_eq!(ctl(&daemon, &["list", "list"]), "");
    assert!(daemon.smtp().send("a@b.test", &["team@here.test"], b"x\r\n").unwrap().starts_with("550"));
}

/// What a killed daemon leaves is gone on with: a post that waits, a token that was sent out, and members.
fn killed_between_steps() {
    let mut daemon = Setup::default().start();
    ctl(&daemon, &["list", "create", "team", "bob@here.test"]);
    assert!(daemon.send(&["team@here.test"], &letter("from a stranger", "text")).starts_with("250"));
    let asked = b"From: alice@here.test\r\n\r\nsubscribe\r\n";
    assert!(daemon.smtp().send("alice@here.test", &["team-request@here.test"], asked).unwrap().starts_with("250"));
    daemon.kill();
    daemon.start();
    let address = |user: &str| {
        let mail = daemon.wait_for_mail(user, 1, 30);
        let text = String::from_utf8_lossy(&mail[0]).into_owned();
        let at = text.find("Reply-To: <").unwrap();
        text[at + 11..].split('>').next().unwrap().to_owned()
    };
    let answer = |user: &str, to: &str, text: &str| {
        let text = format!("From: {user}@here.test\r\nSubject: Re: yours\r\n\r\n{text}\r\n");
        assert!(daemon.smtp().send(&format!("{user}@here.test"), &[to], text.as_bytes()).unwrap().starts_with("250"));
    };
    answer("alice", &address("alice"), "");
    assert_eq!(ctl(&daemon, &["list", "members", "team"]), "alice@here.test\n");
    assert!(ctl(&daemon, &["list", "held", "team"]).ends_with("from a stranger\n"));
    answer("bob", &address("bob"), "approve");
    assert_eq!(ctl(&daemon, &["list", "held", "team"]), "");
    let mail = daemon.wait_for_mail("alice", 3, 30);
    assert!(String::from_utf8_lossy(&mail[2]).contains("Subject: from a stranger\r\n"));
}

fn a_broken_file_is_told() {
    let daemon = Setup::default().start();
    ctl(&daemon, &["list", "create", "team", "bob@here.test"]);
    let dir = daemon.spool().join("lists/team");
    fs::write(dir.join("members"), "alice@here.test\nbob at here\n").unwrap();
    assert!(ctl(&daemon, &["list", "show", "team"]).contains("members, line 2: `bob at here` is no address\n"));
    assert!(daemon.smtp().send("alice@here.test", &["team@here.test"], b"Subject: on\r\n\r\nx\r\n").unwrap().starts_with("250"));
    assert_eq!(daemon.mail("alice").len(), 1);
    let settings = fs::read_to_string(dir.join("settings")).unwrap();
    fs::write(dir.join("settings"), settings.replace("posting = members", "posting = all")).unwrap();
    let output = daemon.ctl(&["route", "team@here.test"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("team/settings: line 7: `posting` is open, members or moderated"), "{said}");
    assert!(daemon.smtp().send("alice@here.test", &["team@here.test"], b"x\r\n").unwrap().starts_with("45"));
}

/// RFC 8058: the link in each member's copy, wherever that goes, is that member's. A POST removes it at once, without a cookie;
/// nothing else does.
/// Each member's copy that leaves has a signature over that member's link (RFC 8058 §4); those that stay here have none of their own.
fn each_copy_is_signed() {
    let key = include_bytes!("../trust/ed25519.pem");
    let record = format!("--txt-record=s._domainkey.here.test,{}", SigningKey::from_pem(key).unwrap().record());
    let (names, sink) = (NameServer::start(&[&record]), Sink::start());
    let config = format!(
        "[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n[[dkim]]\ndomain = \"here.test\"\nselector = \"s\"\nkey = \"s.pem\"\n",
        sink.address
    );
    let mut daemon = Setup::default().config(&config).prepare();
    daemon.replace_config(|text| format!("webmail_url = \"https://mail.here.test/\"\n{text}"));
    fs::write(daemon.path("s.pem"), key).unwrap();
    daemon.start();
    ctl(&daemon, &["list", "create", "team", "alice@here.test"]);
    ctl(&daemon, &["list", "add", "team", "alice@here.test", "x@far.test", "y@far.test"]);
    for body in ["Hi\r\n.. \r\nFrom here\r\n\r\n".to_owned(), "0123456789abcdef 0123456789abcdef\r\n".repeat(20_000)] {
        let before = sink.count();
        let text = format!("From: alice@here.test\r\nSubject: x\r\n\r\n{body}");
        assert!(daemon.smtp().send("alice@here.test", &["team@here.test"], text.as_bytes()).unwrap().starts_with("250"));
        wait_for("both", 30, || (sink.count() == before + 2).then_some(()));
        for one in &sink.arrived()[before..] {
            let text = String::from_utf8_lossy(&one.message).into_owned();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let head = head.replace("\r\n\t", "").to_ascii_lowercase();
            assert_eq!(verified(&one.message, &names), ["pass ed25519-sha256", "pass ed25519-sha256"], "{head}");
            assert!(head.starts_with("dkim-signature: ") && head.contains(":list-unsubscribe:list-unsubscribe-post:"), "{head}");
            // What is another's is not believed.
            let other = text.replacen("&member=", "&member=z", 1);
            assert_eq!(verified(other.as_bytes(), &names), ["fail ed25519-sha256bad signature", "pass ed25519-sha256"]);
        }
    }
    let near = String::from_utf8(daemon.mail("alice").remove(0)).unwrap();
    assert!(near.contains("&member=alice%40here.test&") && near.matches("DKIM-Signature:").count() == 1, "{near}");
}

fn leaving_by_one_click() {
    let sink = Sink::start();
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let script = format!("cat > {}/got", open.path().display());
    let config = format!(
        "[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n\
         [[route]]\ndomain = \"run.test\"\nprogram = [\"/bin/sh\", \"-c\", {script:?}]\n",
        sink.address
    );
    let mut daemon = Setup::default().config(&config).prepare();
    daemon.replace_config(|text| format!("webmail_url = \"https://mail.here.test/\"\n{text}"));
    fs::write(daemon.path("aliases"), "second: bob\n").unwrap();
    daemon.start();
    ctl(&daemon, &["list", "create", "team", "bob@here.test"]);
    let others = ["alice@here.test", "second@here.test", "p@run.test"];
    ctl(&daemon, &[&["list", "add", "team", "x@far.test", "Y+z@far.test"], &others[..]].concat());
    let post = |subject: &str| {
        let text = format!("From: alice@here.test\r\nSubject: {subject}\r\n\r\n{}\r\n", "to all of you. ".repeat(5));
        assert!(daemon.smtp().send("alice@here.test", &["team@here.test"], text.as_bytes()).unwrap().starts_with("250"));
    };
    post("one");
    wait_for("both", 30, || (sink.count() == 2).then_some(()));
    let far = |to: &str| {
        let found = sink.arrived().into_iter().find(|one| one.to == [format!("<{to}>")]).unwrap();
        String::from_utf8(found.message).unwrap()
    };
    let near = |user: &str| String::from_utf8(daemon.mail(user).remove(0)).unwrap();
    let link = |text: &str| {
        let text = text.replace("\r\n", "\n");
        assert!(text.contains("\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n"), "{text}");
        let (_, rest) = text.split_once("\nList-Unsubscribe: <https://mail.here.test").unwrap_or_else(|| panic!("{text}"));
        let (link, rest) = rest.split_once('>').unwrap();
        assert!(rest.starts_with(",\n <mailto:team-unsubscribe@here.test>\n"), "{rest}");
        link.to_owned()
    };
    let (x, y, alice, bob) = (link(&far("x@far.test")), link(&far("Y+z@far.test")), link(&near("alice")), link(&near("bob")));
    assert!(bob.contains("&member=second%40here.test&"), "{bob}");
    let got =
        wait_for("the program", 30, || fs::read_to_string(open.path().join("got")).ok().filter(|got| got.contains("Subject")));
    assert!(link(&got).contains("&member=p%40run.test&"), "{got}");
    assert!(y.starts_with("/unsubscribe?list=team&member=Y%2Bz%40far.test&token=1-"), "{y}");
    let mut browser = Browser::new(&daemon);
    let members = || ctl(&daemon, &["list", "members", "team"]);
    // Whoever looks at it, leaves nothing.
    browser.get(&x).shows("x@far.test").shows("Leave the list");
    browser.send(&format!("HEAD {x} HTTP/1.1\r\n"), b"");
    let click = [("List-Unsubscribe", "One-Click")];
    let refused = |page: &Page, status: u16| assert_eq!(page.status, status, "{}", page.text());
    refused(&browser.post(&x, &[]), 422);
    refused(&browser.post(&x, &[("List-Unsubscribe", "yes")]), 422);
    let other = x.replace("x%40", "Y%2Bz%40");
    for (forged, status) in [
        (other.as_str(), 403),
        (&x[..x.len() - 1], 403),
        (&x.replace("token=1-", "token=2-"), 403),
        ("/unsubscribe?list=team", 403),
        (&x.replace("list=team", "list=staff"), 404),
        ("/unsubscribe", 404),
    ] {
        refused(&browser.post(forged, &click), status);
    }
    assert!(!browser.get(&other).text().contains("far.test"), "it tells of no member");
    browser.get("/unsubscribe?list=team").shows("team-unsubscribe@here.test");
    assert_eq!(members().lines().count(), 5);
    // A mail program's POST, in both forms (RFC 8058 §3.2), again and again.
    for _ in 0..2 {
        browser.post(&x, &click).shows("gets no more mail");
        browser.upload(&y, &click, &[]).shows("gets no more mail");
    }
    assert_eq!(members(), others.map(|other| format!("{other}\n")).concat());
    wait_for("the news", 30, || (sink.count() == 4).then_some(()));
    assert!(sink.arrived()[2..].iter().all(|one| String::from_utf8_lossy(&one.message).contains("Subject: You have left")));
    // The button.
    let page = browser.get(&alice);
    let field = |name: &str| page.attribute(&["input", "hidden"], name).unwrap();
    browser.post(&alice, &[(&field("name"), &field("value"))]).shows("alice@here.test");
    assert_eq!(members(), "second@here.test\np@run.test\n");
    // A list that is no more has no members to leave.
    ctl(&daemon, &["list", "delete", "team"]);
    refused(&browser.post(&bob, &click), 404);
    assert!(!daemon.log().contains("token="), "links are nobody's business");
}
