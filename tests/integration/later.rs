//! Mail that its sender wants to leave later (FUTURERELEASE, RFC 4865).

use crate::common::{Daemon, PASSWORD, Setup, Sink, Smtp, letter, wait_for};
use std::time::{Duration, Instant};

crate::tests![
    announced_where_users_hand_in_mail,
    it_leaves_then_and_not_before,
    it_can_be_taken_back,
    what_can_not_be_asked_for,
    its_age_counts_from_then,
];

/// A server that sends `away.test` to the sink and tries again soon.
fn server(sink: &Sink, more: &str) -> Daemon {
    let route = format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n[queue]\nretry = [\"1s\"]\n{more}\n", sink.address);
    Setup::default().config(&route).start()
}

fn logged_in(daemon: &Daemon) -> Smtp {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    smtp
}

/// Submits with these parameters of MAIL, to Bob and to another host.
fn submit(daemon: &Daemon, parameters: &str, subject: &str) {
    let mut smtp = logged_in(daemon);
    smtp.expect(&format!("MAIL FROM:<alice@here.test> {parameters}"), "250").unwrap();
    smtp.expect("RCPT TO:<bob@here.test>", "250").unwrap();
    smtp.expect("RCPT TO:<x@away.test>", "250").unwrap();
    smtp.expect("DATA", "354").unwrap();
    smtp.talk.send(&[letter(subject, "text").as_slice(), b".\r\n"].concat()).unwrap();
    let reply = smtp.reply().unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn utc(seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + seconds).unwrap();
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn announced_where_users_hand_in_mail() {
    let daemon = Setup::options(&["submission.longest_wait=2h"]).start();
    let before = utc(2 * 3600);
    let said = Smtp::connect(daemon.at("submission")).unwrap().command("EHLO client.test").unwrap();
    let words: Vec<&str> = said.lines().find_map(|line| line.strip_prefix("250-FUTURERELEASE ")).unwrap().split(' ').collect();
    assert!(words.len() == 2 && words[0] == "7200" && (before..=utc(2 * 3600)).contains(&words[1].to_owned()), "{said}");
    let said = Smtp::connect(daemon.at("smtp")).unwrap().command("EHLO client.test").unwrap();
    assert!(!said.contains("FUTURERELEASE"), "{said}");
    let reply = daemon.smtp().command("MAIL FROM:<a@b.test> HOLDFOR=5").unwrap();
    assert!(reply.starts_with("555 5.5.4"), "{reply}");
    let daemon = Setup::options(&["submission.longest_wait=0s"]).start();
    let said = Smtp::connect(daemon.at("submission")).unwrap().command("EHLO client.test").unwrap();
    assert!(!said.contains("FUTURERELEASE"), "{said}");
    let reply = logged_in(&daemon).command("MAIL FROM:<alice@here.test> HOLDFOR=5").unwrap();
    assert!(reply.starts_with("555 5.5.4"), "{reply}");
}

/// Neither a flush nor a kill makes it leave earlier.
fn it_leaves_then_and_not_before() {
    let sink = Sink::start();
    let mut daemon = server(&sink, "");
    let begun = Instant::now();
    submit(&daemon, "HOLDFOR=5", "after a while");
    submit(&daemon, &format!("HOLDUNTIL={}", utc(3600)), "in an hour");
    let queue = daemon.queue();
    assert_eq!(queue.len(), 2);
    for message in &queue {
        let release = message["release"].as_str().unwrap();
        assert!(
            message["recipients"].as_array().unwrap().iter().all(|one| one["due"] == release && one["tries"] == 0),
            "{message}"
        );
    }
    let listed = daemon.ctl(&["queue", "list"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).matches("\n    not before 20").count(), 2, "{listed:?}");
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    daemon.kill();
    daemon.start();
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    wait_for("one to leave", 60, || (sink.arrived().len() == 1).then_some(()));
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5), "it left after {took:?}");
    assert!(String::from_utf8_lossy(&sink.arrived()[0].message).contains("Subject: after a while"));
    daemon.wait_for_mail("bob", 1, 60);
    assert_eq!((daemon.queue().len(), daemon.mail("bob").len(), sink.arrived().len()), (1, 1, 1));
    // A time that is over is no reason to wait.
    submit(&daemon, &format!("HOLDUNTIL={}", utc(-5)), "long ago");
    wait_for("another to leave", 60, || (sink.arrived().len() == 2).then_some(()));
}

fn it_can_be_taken_back() {
    let sink = Sink::start();
    let daemon = server(&sink, "");
    submit(&daemon, "HOLDFOR=2", "a slip");
    let id = daemon.queue()[0]["id"].as_str().unwrap().to_owned();
    assert!(daemon.ctl(&["queue", "remove", &id]).status.success());
    submit(&daemon, "HOLDFOR=3", "better");
    wait_for("the better one", 60, || (sink.arrived().len() == 1).then_some(()));
    assert!(String::from_utf8_lossy(&sink.arrived()[0].message).contains("Subject: better"));
    assert_eq!(daemon.wait_for_mail("bob", 1, 60).len(), 1);
    assert!(daemon.queue().is_empty());
}

fn what_can_not_be_asked_for() {
    let daemon = Setup::options(&["submission.longest_wait=2h"]).start();
    let mut smtp = logged_in(&daemon);
    let (soon, late) = (format!("HOLDUNTIL={}", utc(60)), format!("HOLDUNTIL={}", utc(3 * 3600)));
    let both = format!("HOLDFOR=5 {soon}");
    for parameters in ["HOLDFOR=0", "HOLDFOR=7201", "HOLDFOR=x", "HOLDFOR", "HOLDFOR=5 HOLDFOR=5", &late, &both, "HOLDUNTIL=noon"]
    {
        let reply = smtp.command(&format!("MAIL FROM:<alice@here.test> {parameters}")).unwrap();
        assert!(reply.starts_with("501 5.5.4"), "{parameters}: {reply}");
    }
    for parameters in ["HOLDFOR=7200", &soon] {
        smtp.expect(&format!("MAIL FROM:<alice@here.test> {parameters}"), "250").unwrap();
        smtp.expect("RSET", "250").unwrap();
    }
}

/// It waits for longer than mail is kept, and is tried for as long as any after that.
fn its_age_counts_from_then() {
    let sink = Sink::with(|line| line.starts_with("RCPT").then(|| "450 4.2.1 later".to_owned()));
    let daemon = server(&sink, "lifetime = \"4s\"\nwarn = \"0s\"");
    submit(&daemon, "HOLDFOR=5 ENVID=late", "in vain");
    let report = String::from_utf8_lossy(&daemon.wait_for_mail("alice", 1, 60)[0]).into_owned();
    let tries = sink.seen().iter().filter(|line| line.starts_with("RCPT")).count();
    assert!(tries >= 5, "{tries} tries");
    for part in ["\r\nArrival-Date: ", "\r\nFuture-Release-Request: for;5\r\n", "\r\nStatus: 4.4.7\r\n"] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
}
