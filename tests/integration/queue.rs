//! What an operator does to the queue: hold, release, remove and flush, by message, by domain, by sender.

use crate::common::{Daemon, Setup, Sink, letter, wait_for};
use serde_json::Value;

crate::tests![holds_and_releases, removes_by_sender, flushes_what_is_meant, nothing_is_meant];

/// With a host for two domains, which is busy, and no second try within the hour.
fn server(sink: &Sink) -> Daemon {
    let route = |domain: &str| format!("[[route]]\ndomain = \"{domain}\"\nhost = \"{}\"\n", sink.address);
    let config = format!(
        "[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n[queue]\nretry = [\"1h\"]\n{}{}",
        route("one.test"),
        route("two.test")
    );
    Setup::default().config(&config).start()
}

fn busy() -> Sink {
    Sink::with(|line| line.starts_with("RCPT").then(|| "450 4.2.1 busy".to_owned()))
}

fn send(daemon: &Daemon, from: &str, to: &[&str]) {
    let reply = daemon.smtp().send(from, to, &letter("x", "x")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// Address and state of all that waits, once all was tried.
fn tried(daemon: &Daemon) -> Vec<(String, Value)> {
    wait_for("a try for all", 60, || {
        let queue = daemon.queue();
        let recipients = queue.iter().flat_map(|message| message["recipients"].as_array().unwrap());
        let all: Vec<(String, Value)> =
            recipients.map(|one| (one["address"].as_str().unwrap().to_owned(), one.clone())).collect();
        all.iter().all(|(_, one)| one["tries"] != 0).then_some(all)
    })
}

fn held(daemon: &Daemon) -> Vec<String> {
    tried(daemon).into_iter().filter(|(_, one)| one["held"] == true).map(|(address, _)| address).collect()
}

fn ctl(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.ctl(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn to(sink: &Sink) -> Vec<String> {
    let mut all: Vec<String> = sink.arrived().into_iter().flat_map(|arrived| arrived.to).collect();
    all.sort();
    all
}

fn holds_and_releases() {
    let sink = busy();
    let mut daemon = server(&sink);
    send(&daemon, "s@sender.test", &["a@one.test", "b@two.test"]);
    send(&daemon, "s@sender.test", &["c@two.test"]);
    tried(&daemon);
    assert_eq!(ctl(&daemon, &["queue", "hold", "TWO.test"]), "2 messages held\n");
    assert_eq!(held(&daemon), ["b@two.test", "c@two.test"]);
    // What is held stays so, over a kill too; the rest of the message goes.
    sink.change(|_| None);
    daemon.kill();
    daemon.start();
    ctl(&daemon, &["queue", "flush"]);
    wait_for("what is not held", 60, || (to(&sink) == ["<a@one.test>"]).then_some(()));
    assert_eq!(held(&daemon), ["b@two.test", "c@two.test"]);
    let id = daemon.queue()[1]["id"].as_str().unwrap().to_owned();
    assert_eq!(ctl(&daemon, &["queue", "release", &id]), "1 message released\n");
    wait_for("what was released", 60, || (to(&sink) == ["<a@one.test>", "<c@two.test>"]).then_some(()));
    assert_eq!(ctl(&daemon, &["queue", "release", "s@sender.test"]), "1 message released\n");
    wait_for("all of it", 60, || daemon.queue().is_empty().then_some(()));
    assert_eq!(to(&sink), ["<a@one.test>", "<b@two.test>", "<c@two.test>"]);
}

fn removes_by_sender() {
    let sink = busy();
    let daemon = server(&sink);
    for from in ["s@sender.test", "T@Sender.test", ""] {
        send(&daemon, from, &["a@one.test", "b@two.test"]);
    }
    assert_eq!(tried(&daemon).len(), 6);
    assert_eq!(ctl(&daemon, &["queue", "remove", "<t@sender.test>"]), "1 message removed\n");
    let left = |daemon: &Daemon| daemon.queue().iter().map(|one| one["sender"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(left(&daemon), ["s@sender.test", ""]);
    assert_eq!(ctl(&daemon, &["queue", "remove", "<>"]), "1 message removed\n");
    assert_eq!(left(&daemon), ["s@sender.test"]);
    assert_eq!(ctl(&daemon, &["queue", "remove", "one.test"]), "1 message removed\n");
    assert_eq!(tried(&daemon).into_iter().map(|(address, _)| address).collect::<Vec<_>>(), ["b@two.test"]);
    ctl(&daemon, &["queue", "remove", "two.test"]);
    assert_eq!(ctl(&daemon, &["queue", "list"]), "The queue is empty.\n");
    assert!(daemon.mail("alice").is_empty() && sink.arrived().is_empty());
}

fn flushes_what_is_meant() {
    let sink = busy();
    let daemon = server(&sink);
    send(&daemon, "s@sender.test", &["a@one.test"]);
    send(&daemon, "t@sender.test", &["b@two.test"]);
    send(&daemon, "t@sender.test", &["c@two.test"]);
    tried(&daemon);
    sink.change(|_| None);
    assert_eq!(ctl(&daemon, &["queue", "flush", "one.test"]), "1 message will be tried now\n");
    wait_for("that of one domain", 60, || (to(&sink) == ["<a@one.test>"]).then_some(()));
    assert_eq!(daemon.queue().len(), 2);
    assert_eq!(ctl(&daemon, &["queue", "flush", "t@sender.test"]), "2 messages will be tried now\n");
    wait_for("that of one sender", 60, || daemon.queue().is_empty().then_some(()));
}

fn nothing_is_meant() {
    let sink = busy();
    let daemon = server(&sink);
    send(&daemon, "s@sender.test", &["a@one.test"]);
    tried(&daemon);
    for (what, code) in [("three.test", 69), ("x@sender.test", 69), ("0123456789abcdef-1", 69), ("@", 64), ("a b", 64)] {
        for act in ["hold", "release", "remove"] {
            let output = daemon.ctl(&["queue", act, what]);
            assert_eq!(output.status.code(), Some(code), "{act} {what}: {output:?}");
        }
    }
    assert_eq!(held(&daemon), Vec::<String>::new());
    assert_eq!(daemon.queue().len(), 1);
}
