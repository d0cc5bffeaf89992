//! Which hosts are asked for a domain, in which order, and which are left alone.

use crate::common::{Daemon, NameServer, PASSWORD, Setup, Sink, Smtp, fixed_port, letter, wait_for};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

crate::tests![
    a_dead_host_is_not_asked_by_every_message,
    a_living_host_stands_in_for_a_dead_one,
    hosts_of_one_preference_share_the_mail,
    none_is_asked_that_is_not_better_than_we,
    both_families_are_asked,
    so_many_at_a_time,
    limits_of_the_host_are_kept,
];

/// A daemon that asks `dns`, and finds SMTP at `port`.
fn daemon(dns: &NameServer, port: u16, more: &[&str]) -> Daemon {
    let mut options = vec![format!("dns.servers=[\"{}\"]", dns.address), format!("queue.smtp_port={port}")];
    options.extend(more.iter().map(|option| (*option).to_owned()));
    Setup { options, ..Setup::default() }.start()
}

fn submit(daemon: &Daemon, to: &[String]) {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    for to in to {
        let reply = smtp.send("alice@here.test", &[to], &letter(to, "text")).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
}

/// Recipients that wait after a try, with the reason.
fn deferred(daemon: &Daemon) -> Vec<String> {
    let queue = daemon.queue();
    let recipients = queue.iter().filter_map(|message| message["recipients"].as_array()).flatten();
    recipients.filter(|one| one["tries"] != 0).map(|one| one["reason"].as_str().unwrap().to_owned()).collect()
}

fn local(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], port))
}

/// A host that takes connections and never says a word.
fn mute(address: SocketAddr) -> Arc<Mutex<Vec<TcpStream>>> {
    let listener = TcpListener::bind(address).unwrap();
    let connections: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let ours = connections.clone();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| ours.lock().unwrap().push(stream)));
    connections
}

/// Twenty domains have one host, which is dead.
fn a_dead_host_is_not_asked_by_every_message() {
    let domains: Vec<String> = (0..20).map(|number| format!("d{number}.test")).collect();
    let records: Vec<String> = domains.iter().map(|domain| format!("--mx-host={domain},dead.test,10")).collect();
    let mut records: Vec<&str> = records.iter().map(String::as_str).collect();
    records.push("--host-record=dead.test,127.0.0.9");
    let dns = NameServer::start(&records);
    let port = fixed_port();
    let calls = mute(local(9, port));
    let daemon = daemon(&dns, port, &["queue.workers=1", "timeouts.remote=\"1s\"", "queue.retry=[\"1h\"]"]);
    let to: Vec<String> = domains.iter().map(|domain| format!("x@{domain}")).collect();
    submit(&daemon, &to);
    let reasons = wait_for("a try for all", 60, || Some(deferred(&daemon)).filter(|reasons| reasons.len() == 20));
    assert!(reasons.iter().all(|reason| reason.contains("The host dead.test did not answer in time")), "{reasons:?}");
    assert_eq!(calls.lock().unwrap().len(), 1, "calls for the first message only");
    // Somebody who is there, at the same address and another port, is not taken for it.
    assert!(daemon.ctl(&["queue", "flush", "d7.test"]).status.success());
    wait_for("a second call", 60, || (calls.lock().unwrap().len() == 2).then_some(()));
}

fn a_living_host_stands_in_for_a_dead_one() {
    let dns = NameServer::start(&[
        "--mx-host=a.test,dead.test,5",
        "--mx-host=a.test,alive.test,10",
        "--mx-host=b.test,dead.test,5",
        "--mx-host=b.test,alive.test,10",
        "--host-record=dead.test,127.0.0.9",
        "--host-record=alive.test,127.0.0.8",
    ]);
    let port = fixed_port();
    let calls = mute(local(9, port));
    // One message for each connection: each has to find its way.
    let policy = |line: &str| line.starts_with("EHLO").then(|| "250-sink.test\r\n250 LIMITS MAILMAX=1".to_owned());
    let sink = Sink::at(local(8, port), policy);
    let daemon = daemon(&dns, port, &["queue.workers=1", "timeouts.remote=\"1s\""]);
    let to: Vec<String> = (0..10).map(|number| format!("x{number}@{}.test", if number % 2 == 0 { "a" } else { "b" })).collect();
    submit(&daemon, &to);
    wait_for("all of them", 60, || (sink.arrived().len() == 10).then_some(()));
    assert_eq!(calls.lock().unwrap().len(), 1);
}

fn hosts_of_one_preference_share_the_mail() {
    let mut records = vec!["--mx-host=t.test,last.test,20".to_owned(), "--host-record=last.test,127.0.0.5".to_owned()];
    for number in 2..5 {
        records.push(format!("--mx-host=t.test,m{number}.test,10"));
        records.push(format!("--host-record=m{number}.test,127.0.0.{number}"));
    }
    let dns = NameServer::start(&records.iter().map(String::as_str).collect::<Vec<_>>());
    let port = fixed_port();
    let policy = |line: &str| line.starts_with("EHLO").then(|| "250-sink.test\r\n250 LIMITS MAILMAX=1".to_owned());
    let sinks: Vec<Sink> = (2..6).map(|number| Sink::at(local(number, port), policy)).collect();
    let daemon = daemon(&dns, port, &[]);
    submit(&daemon, &(0..60).map(|number| format!("x{number}@t.test")).collect::<Vec<_>>());
    let counts = || sinks.iter().map(|sink| sink.arrived().len()).collect::<Vec<_>>();
    wait_for("all of them", 60, || (counts().iter().sum::<usize>() == 60).then_some(()));
    let counts = counts();
    // That one of three gets none of 60 happens once in 12,000,000,000 runs.
    assert!(counts[..3].iter().all(|count| *count > 0) && counts[3] == 0, "{counts:?}");
}

/// We are among the hosts of a domain by name, or find ourselves at the other end (RFC 5321 §5.1).
fn none_is_asked_that_is_not_better_than_we() {
    let dns = NameServer::start(&[
        "--mx-host=backup.test,dead.test,5",
        "--mx-host=backup.test,mail.here.test,10",
        "--mx-host=backup.test,worse.test,20",
        "--mx-host=first.test,mail.here.test,10",
        "--mx-host=first.test,worse.test,20",
        "--mx-host=alias.test,other.test,10",
        "--mx-host=alias.test,worse.test,20",
        "--host-record=dead.test,127.0.0.9",
        "--host-record=worse.test,127.0.0.8",
        "--host-record=other.test,127.0.0.1",
    ]);
    let mut daemon = Setup::default().prepare();
    daemon.pin_ports();
    daemon.start();
    let port = daemon.at("smtp").port();
    let sink = Sink::at(local(8, port), |_| None);
    assert!(daemon.stop().success());
    let more = format!("[queue]\nsmtp_port = {port}\nretry = [\"1h\"]\n");
    let text = daemon.config_text(&more).replace("servers = [\"127.0.0.1:9\"]", &format!("servers = [\"{}\"]", dns.address));
    std::fs::write(daemon.config(), text).unwrap();
    daemon.start();
    submit(&daemon, &["x@backup.test", "x@first.test", "x@alias.test"].map(str::to_owned));
    let reports = daemon.wait_for_mail("alice", 2, 60);
    let reports: String = reports.iter().map(|report| String::from_utf8_lossy(report).into_owned()).collect();
    for address in ["x@first.test", "x@alias.test"] {
        let told = format!("\r\nFinal-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.4.6\r\n");
        assert!(reports.contains(&told), "{address}: {reports}");
    }
    // The better one is dead, and may come back.
    let reasons = wait_for("a try", 60, || Some(deferred(&daemon)).filter(|reasons| !reasons.is_empty()));
    assert!(reasons.len() == 1 && reasons[0].contains("dead.test could not be reached"), "{reasons:?}");
    assert!(sink.seen().is_empty(), "{:?}", sink.seen());
}

fn both_families_are_asked() {
    let dns = NameServer::start(&[
        "--host-record=six.test,::1",
        "--host-record=both.test,127.0.0.1,::1",
        "--host-record=four.test,127.0.0.1",
    ]);
    let port = fixed_port();
    let Ok(probe) = TcpListener::bind(("::1", port)) else { crate::runner::skip("no IPv6 here") };
    drop(probe);
    let four = Sink::at(local(1, port), |_| None);
    let daemon = daemon(&dns, port, &["queue.retry=[\"1h\"]"]);
    submit(&daemon, &["x@both.test", "x@four.test"].map(str::to_owned));
    wait_for("IPv4 in the place of IPv6", 60, || (four.arrived().len() == 2).then_some(()));
    // Known to be dead it is not asked; asked again it is there.
    let six = Sink::at(SocketAddr::new("::1".parse().unwrap(), port), |_| None);
    submit(&daemon, &["y@six.test".to_owned()]);
    wait_for("a deferral", 60, || (deferred(&daemon).len() == 1).then_some(()));
    assert!(six.seen().is_empty(), "{:?}", six.seen());
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    wait_for("IPv6 alone", 60, || (six.arrived().len() == 1).then_some(()));
    submit(&daemon, &["z@both.test".to_owned()]);
    wait_for("IPv6 first", 60, || (six.arrived().len() == 2).then_some(()));
    assert_eq!(four.arrived().len(), 2);
}

/// A host that counts the transactions it has at a time, with others that count along, and ends none of them while it is held.
fn counting(held: &Arc<AtomicBool>, [own, all]: [&Arc<Gauge>; 2]) -> Sink {
    let (held, own, all) = (held.clone(), own.clone(), all.clone());
    Sink::with(move |line| {
        match line {
            "." => {
                while held.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
                own.leave();
                all.leave();
            }
            line if line.starts_with("MAIL") => {
                own.enter();
                all.enter();
            }
            _ => {}
        }
        None
    })
}

/// How many there are, and were at most.
#[derive(Default)]
struct Gauge(AtomicUsize, AtomicUsize);

impl Gauge {
    fn enter(&self) {
        let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

/// To one destination, and in all.
fn so_many_at_a_time() {
    let (held, all) = (Arc::new(AtomicBool::new(false)), Arc::<Gauge>::default());
    let own = [Arc::<Gauge>::default(), Arc::default()];
    let sinks = own.each_ref().map(|own| counting(&held, [own, &all]));
    let route = |(name, sink): (&str, &Sink)| format!("[[route]]\ndomain = \"{name}.test\"\nhost = \"{}\"\n", sink.address);
    let routes: String = ["one", "two"].into_iter().zip(&sinks).map(route).collect();
    let options = ["queue.workers=4", "queue.per_destination=3"].map(str::to_owned).to_vec();
    let daemon = Setup { options, ..Setup::default() }.config(&routes).start();
    // Both are known to answer: else they would be taken for mute while they are held.
    submit(&daemon, &["x@one.test", "x@two.test"].map(str::to_owned));
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    for (domains, most, gauge) in [(&["one"][..], 3, &own[0]), (&["one", "two"], 4, &all)] {
        let before: usize = sinks.iter().map(Sink::count).sum();
        held.store(true, Ordering::SeqCst);
        let to: Vec<String> = (0..20).map(|number| format!("x{number}@{}.test", domains[number % domains.len()])).collect();
        submit(&daemon, &to);
        wait_for("as many as may", 60, || (gauge.most() == most).then_some(()));
        held.store(false, Ordering::SeqCst);
        wait_for("all of them", 60, || (sinks.iter().map(Sink::count).sum::<usize>() == before + 20).then_some(()));
        wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
        assert_eq!(gauge.most(), most, "{domains:?}");
    }
    assert!(own.iter().all(|own| own.most() <= 3), "{:?}", own.each_ref().map(|own| own.most()));
}

/// RFC 9422: what a smarthost says it takes it is given, and no more at a time.
fn limits_of_the_host_are_kept() {
    let limits = "250-sink.test\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=2 RCPTMAX=3 RCPTDOMAINMAX=1";
    let sink = Sink::with(move |line| line.starts_with("EHLO").then(|| limits.to_owned()));
    let daemon = Setup::options(&[&format!("queue.smarthost=\"{}\"", sink.address)]).start();
    let to = ["a@one.test", "b@two.test", "c@one.test", "d@One.test", "e@one.test", "f@two.test"];
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    assert!(smtp.send("alice@here.test", &to, &letter("x", "text")).unwrap().starts_with("250"));
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    let mut arrived: Vec<Vec<String>> = sink.arrived().into_iter().map(|arrived| arrived.to).collect();
    arrived.iter().for_each(|to| assert!(to.len() <= 3, "{to:?}"));
    let domain = |to: &String| to.to_lowercase().split(['@', '>']).nth(1).unwrap().to_owned();
    assert!(arrived.iter().all(|to| to.iter().all(|one| domain(one) == domain(&to[0]))), "{arrived:?}");
    let mut all: Vec<String> = arrived.drain(..).flatten().collect();
    all.sort();
    assert_eq!(all, to.map(|to| format!("<{to}>")));
    let count = |verb: &str| sink.seen().iter().filter(|line| line.starts_with(verb)).count();
    wait_for("the last QUIT", 60, || (count("QUIT") == 2).then_some(()));
    assert_eq!((count("MAIL"), count("CONNECT")), (3, 2), "{:?}", sink.seen());
}
