//! Mailing lists: circles, members that are no people, forged tokens, a kill while a post goes to ten thousand.

use crate::common::{Daemon, Setup, Smtp, letter, wait_for};
use std::fs;
use std::thread;
use std::time::Duration;

crate::tests![
    lists_of_two_hosts_in_a_circle,
    members_that_are_no_people,
    members_that_answer,
    forged_tokens,
    names_that_are_taken,
    killed_while_a_post_goes_to_ten_thousand,
];

fn ctl(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.ctl(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A list to which everybody may post.
fn open_list(daemon: &Daemon, name: &str, owner: &str, members: &str) {
    ctl(daemon, &["list", "create", name, owner]);
    let dir = daemon.spool().join("lists").join(name);
    let settings = fs::read_to_string(dir.join("settings")).unwrap();
    fs::write(dir.join("settings"), settings.replace("posting = members", "posting = open")).unwrap();
    fs::write(dir.join("members"), members).unwrap();
}

fn post(daemon: &Daemon, from: &str, to: &str, text: &str) {
    let message = format!("From: {from}\r\n{text}\r\n");
    assert!(daemon.smtp().send(from, &[to], message.as_bytes()).unwrap().starts_with("250"), "{to}");
}

fn idle(daemon: &Daemon) {
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
}

/// The text of a user's last message.
fn last(daemon: &Daemon, user: &str) -> String {
    daemon.mail(user).pop().map(|mail| String::from_utf8_lossy(&mail).into_owned()).unwrap_or_default()
}

/// Each list is a member of the other, and each has a member who is a person: everybody gets one copy of a post.
fn lists_of_two_hosts_in_a_circle() {
    let config = |domain: &str, to: &Daemon| format!("[[route]]\ndomain = \"{domain}\"\nhost = \"{}\"\n", to.at("smtp"));
    let mut other =
        Setup { hostname: "mail.other.test".into(), domains: vec!["other.test".into()], ..Setup::default() }.prepare();
    other.pin_ports();
    other.start();
    let ours = Setup::default().config(&config("other.test", &other)).start();
    assert!(other.stop().success());
    fs::write(other.config(), other.config_text(&config("here.test", &ours))).unwrap();
    other.start();
    open_list(&ours, "one", "bob@here.test", "two@other.test\nalice@here.test\n");
    open_list(&other, "two", "bob@other.test", "one@here.test\nalice@other.test\n");
    post(&ours, "eve@else.test", "one@here.test", "Subject: round\r\n\r\nx");
    other.wait_for_mail("alice", 1, 60);
    wait_for("the end", 60, || (ours.log().contains("dropped: it has been at this list before")).then_some(()));
    idle(&ours);
    idle(&other);
    for daemon in [&ours, &other] {
        assert_eq!((daemon.mail("alice").len(), daemon.mail("bob").len()), (1, 0));
    }
}

/// A file that was edited may name anything: the list itself, its other addresses, another list's.
fn members_that_are_no_people() {
    let daemon = Setup::default().start();
    open_list(&daemon, "other", "bob@here.test", "alice@here.test\n");
    let words =
        ["", "-subscribe", "-unsubscribe", "-request", "-help", "-bounces+x=y.test+aaaaaaaaaa", "-probe+a", "-confirm+s-1-a"];
    let all = words.map(|word| format!("team{word}@here.test\nother{word}@here.test\n")).concat();
    open_list(&daemon, "team", "bob@here.test", &(all + "alice@here.test\nnobody-here@here.test\n"));
    post(&daemon, "eve@else.test", "team@here.test", "Subject: subscribe\r\n\r\nsubscribe");
    idle(&daemon);
    let subjects: Vec<String> = daemon.mail("alice").iter().map(|mail| String::from_utf8_lossy(mail).into_owned()).collect();
    assert_eq!(subjects.len(), 2, "of each list one: {subjects:?}");
    assert_eq!(daemon.mail("bob").len(), 0);
    // Only who is nobody came back.
    assert!(ctl(&daemon, &["list", "show", "team"]).contains("mail for nobody-here@here.test came back on 1 day\n"));
    assert_eq!(ctl(&daemon, &["list", "members", "other"]), "alice@here.test\n");
    // Nor is a list subscribed in its own name.
    for from in ["team@here.test", "other@here.test", "team-help@here.test"] {
        post(&daemon, from, "team-subscribe@here.test", "Subject: me\r\n\r\nx");
    }
    idle(&daemon);
    assert_eq!(daemon.mail("alice").len(), 2);
}

/// Who is away answers no list, and what a program answers reaches neither the members nor anybody's count.
fn members_that_answer() {
    let daemon = Setup::default().start();
    open_list(&daemon, "team", "bob@here.test", "alice@here.test\n");
    let away = crate::common::pillarboxctl(&daemon.config(), &["vacation", "set", "alice"], b"I am away.\n");
    assert!(away.status.success());
    post(&daemon, "bob@here.test", "team@here.test", "To: alice@here.test\r\nSubject: hello\r\n\r\nx");
    idle(&daemon);
    assert_eq!((daemon.mail("alice").len(), daemon.mail("bob").len()), (1, 0));
    let sender = last(&daemon, "alice").split("Return-Path: <").nth(1).unwrap().split('>').next().unwrap().to_owned();
    for to in [sender.as_str(), "team@here.test", "team-request@here.test", "team-subscribe@here.test"] {
        post(&daemon, "alice@here.test", to, "Subject: Re: hello\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.");
        // An older one, that says nothing of itself.
        post(&daemon, "alice@here.test", &sender, "Subject: I am away\r\n\r\nYour mail will be read.");
    }
    idle(&daemon);
    assert_eq!((daemon.mail("alice").len(), daemon.mail("bob").len()), (1, 0));
    assert!(!ctl(&daemon, &["list", "show", "team"]).contains("came back"));
}

/// Only the whole token, for the list, the wish and the address that it was made for.
fn forged_tokens() {
    let daemon = Setup::default().start();
    for name in ["one", "two"] {
        ctl(&daemon, &["list", "create", name, "bob@here.test"]);
    }
    post(&daemon, "alice@here.test", "one-subscribe@here.test", "Subject: me\r\n\r\nx");
    let text = last(&daemon, "alice");
    let real = text.split("Reply-To: <").nth(1).unwrap().split('>').next().unwrap().to_owned();
    let (before, hash) = real.split_once('@').unwrap().0.rsplit_once('-').unwrap();
    let changed = |at: usize| {
        let mut hash = hash.as_bytes().to_vec();
        hash[at] = if hash[at] == b'a' { b'b' } else { b'a' };
        format!("{before}-{}@here.test", String::from_utf8(hash).unwrap())
    };
    let mut forged: Vec<String> = (0..hash.len()).map(changed).collect();
    forged.extend([
        real.replacen("one", "two", 1),
        real.replacen("+s-", "+u-", 1),
        format!("{before}-@here.test"),
        format!("{before}-{}@here.test", &hash[1..]),
        "one-confirm+s-99999999999999999999-aaaaaaaaaaaaaaaa@here.test".to_owned(),
        "one-moderate+b.c-aaaaaaaaaaaa@here.test".to_owned(),
        "one-probe+aaaaaaaaaaaaaaaa@here.test".to_owned(),
    ]);
    for to in &forged {
        post(&daemon, "alice@here.test", to, "Subject: Confirm: subscribe alice@here.test\r\n\r\napprove");
    }
    // Another's, for oneself.
    post(&daemon, "eve@else.test", &real, "Subject: Confirm: subscribe eve@else.test\r\n\r\nx");
    idle(&daemon);
    for name in ["one", "two"] {
        assert_eq!(ctl(&daemon, &["list", "members", name]), "", "{name}");
    }
    assert_eq!((daemon.mail("alice").len(), daemon.mail("bob").len()), (1, 0));
    post(&daemon, "alice@here.test", &real, "Subject: yes\r\n\r\nx");
    assert_eq!(ctl(&daemon, &["list", "members", "one"]), "alice@here.test\n");
    // A post that waits is decided on by its own token only, and that of one list is none of another's.
    for name in ["one", "two"] {
        post(&daemon, "eve@else.test", &format!("{name}@here.test"), &format!("Subject: for {name}\r\n\r\nx"));
    }
    let token = last(&daemon, "bob").split("Reply-To: <two-moderate+").nth(1).unwrap().split('@').next().unwrap().to_owned();
    post(&daemon, "bob@here.test", &format!("one-moderate+{token}@here.test"), "Subject: approve\r\n\r\nx");
    for name in ["one", "two"] {
        assert_eq!(ctl(&daemon, &["list", "held", name]).lines().count(), 1, "{name}");
    }
}

/// No list takes somebody's mail: neither by its name, nor by those that come with it.
fn names_that_are_taken() {
    let mut daemon = Setup::default().users(&["alice", "bob", "staff-owner"]).prepare();
    fs::write(daemon.path("aliases"), "owner-crew: alice\nclub-help: bob\n").unwrap();
    daemon.start();
    for name in ["alice", "postmaster", "staff", "crew", "club"] {
        let output = daemon.ctl(&["list", "create", name, "bob@here.test"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(73) && said.contains("is an address here already"), "{name}: {output:?}");
    }
    for to in ["staff-owner", "owner-crew", "club-help"] {
        assert!(daemon.send(&[&format!("{to}@here.test")], &letter(to, "text")).starts_with("250"));
    }
    assert_eq!([daemon.mail("staff-owner").len(), daemon.mail("alice").len(), daemon.mail("bob").len()], [1, 1, 1]);
}

/// What was taken goes to all of them, in one record; what was not, to nobody.
fn killed_while_a_post_goes_to_ten_thousand() {
    let config = "[[route]]\ndomain = \"far.test\"\nhost = \"127.0.0.1:9\"\n[queue]\nretry = [\"1h\"]\nwarn = \"0s\"\n";
    let mut daemon = Setup::default().config(config).prepare();
    daemon.pin_ports();
    daemon.start();
    let members: String = (0..10_000).map(|number| format!("m{number}@far.test\n")).collect();
    open_list(&daemon, "all", "bob@here.test", &(members + "alice@here.test\n"));
    let mut taken = 0;
    for (round, wait) in (1..).zip([30, 120, 250, 400]) {
        let to = daemon.at("smtp");
        let sending = thread::spawn(move || {
            let mut smtp = Smtp::hello(to).ok()?;
            smtp.send("eve@else.test", &["all@here.test"], &letter(&format!("round {round}"), "text")).ok()
        });
        thread::sleep(Duration::from_millis(wait));
        daemon.kill();
        taken += u64::from(sending.join().unwrap().is_some_and(|reply| reply.starts_with("250")));
        daemon.start();
        wait_for("one record of each post, and one copy", 60, || {
            let status: serde_json::Value = serde_json::from_str(&ctl(&daemon, &["status", "--json"])).unwrap();
            let [messages, recipients] = ["messages", "recipients"].map(|what| status["queue"][what].as_u64().unwrap());
            let is_right = recipients == 10_000 * messages && messages == daemon.mail("alice").len() as u64;
            (is_right && (taken..=round).contains(&messages)).then_some(())
        });
    }
    assert!(daemon.send(&["all@here.test"], &letter("the last", "text")).starts_with("250"));
    wait_for("the last", 60, || (daemon.mail("alice").len() as u64 > taken).then_some(()));
}
