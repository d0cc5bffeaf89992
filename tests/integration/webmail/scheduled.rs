//! Messages that wait because their writer wants them to leave later, and how they are taken back or sent at once.

use super::browser::{Browser, Page};
use super::compose::mail;
use crate::common::{Daemon, PASSWORD, Setup, Sink, Smtp, letter, wait_for};

crate::tests![
    what_waits_is_taken_back,
    a_message_leaves_no_sooner_and_no_later_than_may_be,
    what_waits_is_listed_for_its_writer_only,
    what_waits_is_sent_at_once,
    without_a_copy_the_draft_is_made_of_what_waits,
    a_draft_keeps_how_it_is_to_be_sent,
];

/// The name of the message that the page after sending offers to take back.
fn recall(page: &Page) -> String {
    page.shows("The message waits to be sent.");
    page.attribute(&["type=\"hidden\"", "name=\"id\""], "value").unwrap()
}

/// A time by the host's clock, as a form has it.
fn later(span: &str) -> String {
    let said = std::process::Command::new("date").args(["-d", span, "+%Y-%m-%dT%H:%M"]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

fn send(alice: &mut Browser, fields: &[(&str, &str)]) -> String {
    let form = alice.get("/compose");
    recall(&alice.write(&form, "send", &[&[("text", "hot words")], fields].concat(), &[("f", "x/y", b"file")]))
}

fn what_waits_is_taken_back() {
    let daemon = Setup::default().start();
    let (mut alice, mut bob) = (Browser::of(&daemon, "alice"), Browser::of(&daemon, "bob"));
    alice.act("/settings", &[("do", "profile"), ("recall", "1")]).shows("checked");
    let id = send(&mut alice, &[("to", "bob"), ("subject", "too soon")]);
    assert_eq!((mail(&daemon, "bob").len(), daemon.queue().len()), (0, 1));
    alice.get("/m/Sent").shows("too soon");
    // Nobody else takes it back.
    bob.act("/scheduled", &[("do", "recall"), ("id", &id)]).shows("It was too late");
    bob.act("/scheduled", &[("do", "now"), ("id", &id)]).shows("It was too late");
    bob.get("/m/Drafts").lacks("too soon");
    assert_eq!(alice.post("/scheduled", &[("do", "recall"), ("id", &id)]).status, 403);
    assert_eq!(daemon.queue().len(), 1);
    let draft = alice.act("/scheduled", &[("do", "recall"), ("id", &id)]);
    draft.shows("hot words");
    assert_eq!(draft.fields().iter().filter(|(name, _)| name == "keep").count(), 1);
    assert!(daemon.queue().is_empty() && mail(&daemon, "bob").is_empty());
    alice.get("/m/Sent").lacks("too soon");
    alice.get("/m/Drafts").shows("too soon");
    // What has left stays sent.
    let id = send(&mut alice, &[("to", "bob"), ("subject", "gone")]);
    assert!(daemon.ctl(&["queue", "remove", &id]).status.success());
    alice.act("/scheduled", &[("do", "recall"), ("id", &id)]).shows("It was too late");
    alice.get("/m/Sent").shows("gone");
    alice.get("/m/Drafts").lacks("gone");
    // What operators hold is theirs.
    let id = send(&mut alice, &[("to", "bob"), ("subject", "held")]);
    assert!(daemon.ctl(&["queue", "hold", &id]).status.success());
    alice.act("/scheduled", &[("do", "now"), ("id", &id)]).shows("It was too late");
    assert!(daemon.queue()[0]["recipients"][0]["held"] == true && mail(&daemon, "bob").is_empty());
}

fn a_message_leaves_no_sooner_and_no_later_than_may_be() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    for (at, told) in [
        ("2020-01-01T09:00", "The time to send it is over."),
        ("2199-01-01T09:00", "A message can wait for 30 days at most."),
        ("soon", "The time to send it can"),
    ] {
        let form = alice.get("/compose");
        let page = alice.write(&form, "send", &[("to", "bob"), ("text", "kept"), ("at", at)], &[]);
        page.shows("It was not sent.").shows(told).shows("kept").shows(&format!("value=\"{at}\""));
    }
    assert!(mail(&daemon, "bob").is_empty() && daemon.queue().is_empty());
    let id = send(&mut alice, &[("to", "bob"), ("at", &later("+2 hours"))]);
    assert_eq!((mail(&daemon, "bob").len(), daemon.queue().len()), (0, 1));
    alice.act("/scheduled", &[("do", "recall"), ("id", &id)]);
    assert!(daemon.queue().is_empty());
}

/// By whatever way it was handed in, and after a restart.
fn what_waits_is_listed_for_its_writer_only() {
    let mut daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    alice.get("/scheduled").shows("Nothing waits to be sent.").lacks("to be sent\"");
    send(&mut alice, &[("to", "bob"), ("subject", "on <monday>"), ("at", &later("+3 days"))]);
    hand_in(&daemon, "HOLDFOR=7200", &["bob@here.test"], "by a program");
    daemon.kill();
    daemon.start();
    let mut alice = Browser::of(&daemon, "alice");
    let page = wait_for("both", 30, || {
        let page = alice.get("/scheduled");
        (page.text().matches("bob@here.test").count() == 2).then_some(page)
    });
    page.shows("on &lt;monday&gt;");
    let text = page.text();
    assert!(text.find("by a program") < text.find("on &lt;monday&gt;"), "the one that leaves first is on top");
    alice.get("/m/INBOX").shows("<span>Scheduled</span><span class=\"count\" title=\"to be sent\">2</span>");
    let mut bob = Browser::of(&daemon, "bob");
    bob.get("/scheduled").shows("Nothing waits to be sent.");
    bob.get("/m/INBOX").lacks("Scheduled");
}

/// Hands a message in as a mail program does, which files no copy.
fn hand_in(daemon: &Daemon, parameters: &str, to: &[&str], subject: &str) {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    smtp.expect(&format!("MAIL FROM:<alice@here.test> {parameters}"), "250").unwrap();
    for to in to {
        smtp.expect(&format!("RCPT TO:<{to}>"), "250").unwrap();
    }
    smtp.expect("DATA", "354").unwrap();
    let reply =
        smtp.talk.send(&[letter(subject, ".. hot words\r\nFrom here").as_slice(), b".\r\n"].concat()).and_then(|()| smtp.reply());
    assert!(reply.as_ref().unwrap().starts_with("250"), "{reply:?}");
}

/// Here and elsewhere; and it stays so, though the daemon is killed before the other host takes it.
fn what_waits_is_sent_at_once() {
    let sink = Sink::with(|line| line.starts_with("RCPT").then(|| "450 4.2.1 full for now".to_owned()));
    let route = format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n[queue]\nretry = [\"1s\"]\n", sink.address);
    let mut daemon = Setup::default().config(&route).start();
    let mut alice = Browser::of(&daemon, "alice");
    let id = send(&mut alice, &[("subject", "now"), ("to", "bob, x@away.test"), ("at", &later("+5 days"))]);
    assert_eq!((mail(&daemon, "bob").len(), sink.arrived().len()), (0, 0));
    alice.act("/scheduled", &[("do", "now"), ("id", &id)]).shows("It is being sent.").lacks("away.test");
    assert!(daemon.wait_for_mail("bob", 1, 30)[0].windows(9).any(|part| part == b"hot words"));
    // It is not to be taken back any more.
    alice.act("/scheduled", &[("do", "recall"), ("id", &id)]).shows("It was too late");
    let reason = || daemon.queue()[0]["recipients"][0]["reason"].as_str().unwrap().to_owned();
    wait_for("a try", 30, || reason().contains("full for now").then_some(()));
    daemon.kill();
    sink.change(|_| None);
    daemon.start();
    wait_for("the other", 30, || (sink.arrived().len() == 1).then_some(()));
    assert_eq!((mail(&daemon, "bob").len(), sink.arrived().len()), (1, 1));
}

fn without_a_copy_the_draft_is_made_of_what_waits() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    hand_in(&daemon, "HOLDFOR=7200", &["bob@here.test", "carol@away.test"], "only one");
    let id = daemon.queue()[0]["id"].as_str().unwrap().to_owned();
    let draft = alice.act("/scheduled", &[("do", "recall"), ("id", &id)]);
    draft.shows(". hot words\nFrom here").shows("value=\"only one\"");
    assert!(daemon.queue().is_empty());
    let fields = draft.fields();
    let value = |name: &str| fields.iter().find(|(own, _)| own == name).unwrap().1.clone();
    // Its header names nobody.
    assert_eq!((value("to"), value("bcc")), (String::new(), "bob@here.test, carol@away.test".to_owned()));
    let drafts = alice.get("/m/Drafts").messages();
    let source = alice.get(&format!("/m/Drafts/{}/source", drafts[0])).text();
    assert!(drafts.len() == 1 && !source.contains("Received"), "{source}");
}

fn a_draft_keeps_how_it_is_to_be_sent() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let (form, at) = (alice.get("/compose"), later("+2 hours"));
    let fields = [("to", "bob"), ("subject", "kept"), ("importance", "low"), ("report", "1"), ("at", at.as_str())];
    alice.write(&form, "save", &fields, &[]);
    let is_whole = |page: &Page| {
        page.shows("<option value=\"low\" selected>").shows(&format!("name=\"at\" value=\"{at}\""));
        page.shows("name=\"report\" value=\"1\" checked");
    };
    let open = |alice: &mut Browser| {
        let path = alice.get("/m/Drafts").link("kept");
        alice.get(&path)
    };
    let draft = open(&mut alice);
    is_whole(&draft);
    // Sent and taken back it is what it was, but nobody else reads of it.
    let form_fields = [("importance", "low"), ("report", "1"), ("at", at.as_str())];
    let id = recall(&alice.write(&draft, "send", &form_fields, &[]));
    let queued = String::from_utf8(daemon.ctl(&["queue", "show", &id]).stdout).unwrap();
    assert!(queued.contains("Importance: low") && !queued.to_lowercase().contains("pillarbox-draft"), "{queued}");
    is_whole(&alice.act("/scheduled", &[("do", "recall"), ("id", &id)]));
    // What is taken out of the form is out of the draft.
    let draft = open(&mut alice);
    alice.write(&draft, "save", &[("importance", ""), ("at", "")], &[]);
    let draft = open(&mut alice);
    draft.shows("name=\"report\" value=\"1\" checked").shows("name=\"at\" value=\"\"").shows("<option value=\"low\">low");
    // Nothing else gets into a header by it.
    let form = alice.get("/compose");
    alice.write(&form, "save", &[("to", "bob"), ("subject", "forged"), ("at", "x\r\nBcc: evil@evil.test report")], &[]);
    let path = alice.get("/m/Drafts").link("forged");
    let page = alice.get(&path);
    page.lacks("checked");
    assert!(page.fields().iter().all(|(name, value)| name != "bcc" || value.is_empty()));
}
