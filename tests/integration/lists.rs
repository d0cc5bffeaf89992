//! Mailing lists through the daemon and its tools: from a request by mail to members on other hosts.

use crate::common::{Daemon, Setup, Sink, letter, top, wait_for};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

crate::tests![the_tour, members_far_away, what_the_tool_says, killed_between_steps, a_broken_file_is_told];

fn ctl(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.ctl(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every line of the manual page's tour, in one shell, as it stands there.
fn the_tour() {
    let page = fs::read_to_string(top().join("man/pillarbox-lists.7")).unwrap();
    let examples = page.split(".Sh EXAMPLES").nth(1).unwrap().split(".Sh ").next().unwrap();
    let blocks = examples.split(".Bd -literal -offset indent\n").skip(1).map(|block| block.split(".Ed").next().unwrap());
    let script: String = blocks.collect::<String>().replace("\\e", "\\");
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
