//! Mail of strangers that is sent on, by an alias and by a list, is sealed with what was found of it (ARC), and the next host
//! finds that whole.

use crate::common::{Daemon, NameServer, Setup, Sink, fixed_port, wait_for};
use crate::trust::{self, client};
use pillarbox::trust::dkim::SigningKey;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

crate::tests![through_two_hosts_and_a_list, what_needs_no_seal];

const AUTHOR: &[u8] = include_bytes!("../trust/ed25519.pem");
const HOSTS: &[u8] = include_bytes!("../trust/rsa.pem");

fn names() -> NameServer {
    let record = |pem: &[u8]| SigningKey::from_pem(pem).unwrap().record();
    // A string of TXT has 255 characters at most; dnsmasq puts commas between them.
    let rsa = record(HOSTS);
    let (one, other) = rsa.split_at(200);
    let host = |domain: &str| format!("--txt-record=r._domainkey.{domain},{one},{other}");
    NameServer::start(&[
        &format!("--txt-record=s1._domainkey.a.test,{}", record(AUTHOR)),
        &host("here.test"),
        &host("far.test"),
        "--txt-record=a.test,v=spf1 ip4:192.0.2.1 -all",
        "--txt-record=_dmarc.a.test,v=DMARC1; p=reject",
    ])
}

/// A host of a domain that has a key, and a listener for a proxy on this host. What is not its own goes to the sink.
fn host(domain: &str, names: &NameServer, sink: &Sink) -> (Daemon, SocketAddr) {
    let at = SocketAddr::from(([127, 0, 0, 1], fixed_port()));
    let routes: String = ["a.test", "far.test", "here.test", "end.test"]
        .iter()
        .filter(|other| **other != domain)
        .map(|other| format!("[[route]]\ndomain = \"{other}\"\nhost = \"{}\"\n", sink.address))
        .collect();
    let config = format!(
        "[[listen]]\naddress = \"{at}\"\nprotocol = \"smtp\"\ntls = \"none\"\nproxy = [\"127.0.0.0/8\"]\n{routes}\
         [[dkim]]\ndomain = \"{domain}\"\nselector = \"r\"\nkey = \"r.pem\"\n"
    );
    let setup = Setup {
        hostname: format!("mail.{domain}"),
        domains: vec![domain.to_owned()],
        options: vec![format!("dns.servers=[\"{}\"]", names.address)],
        ..Setup::default()
    };
    let mut daemon = setup.config(&config).prepare();
    fs::write(daemon.path("r.pem"), HOSTS).unwrap();
    fs::set_permissions(daemon.path("r.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(daemon.path("aliases"), "on: x@far.test\nend: x@end.test\nhome: alice\n").unwrap();
    daemon.start();
    (daemon, at)
}

/// The message that leads to this one at the sink.
fn at_sink(sink: &Sink, to: &str) -> Vec<u8> {
    let found = || sink.arrived().into_iter().find(|one| one.to == [format!("<{to}>")]).map(|one| one.message);
    wait_for(to, 60, found)
}

/// All of ARC and Authentication-Results of the last message of alice, unfolded.
fn told(daemon: &Daemon) -> String {
    let mail = daemon.mail("alice");
    let text = String::from_utf8_lossy(mail.last().unwrap()).into_owned();
    text.split("\r\n\r\n").next().unwrap().replace("\r\n\t", " ").replace("  ", " ")
}

fn through_two_hosts_and_a_list() {
    let (names, sink) = (names(), Sink::start());
    let (first, at_first) = host("here.test", &names, &sink);
    let (second, at_second) = host("far.test", &names, &sink);
    for words in [&["list", "create", "team", "bob@here.test"][..], &["list", "add", "team", "u@a.test", "alice@far.test"]] {
        let output = first.ctl(words);
        assert!(output.status.success(), "{output:?}");
    }
    let big = "0123456789abcdef 0123456789abcdef\n".repeat(20_000);
    let mut smtp = client(at_first, "192.0.2.1");
    assert!(smtp.send("u@a.test", &["on@here.test"], &trust::signed("u@a.test", &big)).unwrap().starts_with("250"));
    assert!(smtp.send("u@a.test", &["team@here.test"], &trust::signed("u@a.test", "Hi\n")).unwrap().starts_with("250"));
    // By the alias, then by one of the second host.
    let message = at_sink(&sink, "x@far.test");
    assert!(
        client(at_second, "192.0.2.7")
            .send("s@here.test", &["alice@far.test", "end@far.test"], &message)
            .unwrap()
            .starts_with("250")
    );
    let found = told(&second);
    for part in [
        " dkim=pass header.d=a.test ",
        " arc=pass smtp.remote-ip=192.0.2.7",
        "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=here.test;",
        "ARC-Authentication-Results: i=1; mail.here.test; spf=pass smtp.mailfrom=a.test; ",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    assert!(second.log().contains(" policy=reject arc=pass:here.test act=taken"), "{}", second.log());
    let message = at_sink(&sink, "x@end.test");
    assert!(client(at_first, "192.0.2.8").send("s@far.test", &["alice@here.test"], &message).unwrap().starts_with("250"));
    let found = told(&first);
    assert!(
        found.contains(" arc=pass smtp.remote-ip=192.0.2.8")
            && found.contains("ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=far.test;"),
        "{found}"
    );
    // By the list: signed by it, too.
    let message = at_sink(&sink, "alice@far.test");
    let mut smtp = client(at_second, "192.0.2.7");
    assert!(smtp.send("s@here.test", &["alice@far.test"], &message).unwrap().starts_with("250"));
    let found = told(&second);
    for part in [" dkim=pass header.d=here.test ", " dkim=pass header.d=a.test ", " arc=pass ", " dmarc=pass header.from=a.test "]
    {
        assert!(found.contains(part), "{part}: {found}");
    }
    // Who changes it on the way, and does not seal it, breaks it; what follows says so.
    let changed = String::from_utf8(message).unwrap().replace("\r\n\r\nHi", "\r\n\r\nHo").into_bytes();
    assert!(smtp.send("s@here.test", &["alice@far.test"], &changed).unwrap().starts_with("250"));
    assert!(told(&second).contains(" arc=fail reason=\"body changed\" "), "{}", told(&second));
    assert!(second.mail("alice").len() == 3);
}

fn what_needs_no_seal() {
    let (names, sink) = (names(), Sink::start());
    let (daemon, at) = host("here.test", &names, &sink);
    // It stays here.
    assert!(
        client(at, "192.0.2.1")
            .send("u@a.test", &["home@here.test"], &trust::signed("u@a.test", "Hi\n"))
            .unwrap()
            .starts_with("250")
    );
    assert!(!told(&daemon).contains("ARC-"), "{}", told(&daemon));
    // Nobody looked at it.
    assert!(daemon.send(&["end@here.test"], &trust::signed("u@a.test", "Hi\n")).starts_with("250"));
    let message = String::from_utf8(at_sink(&sink, "x@end.test")).unwrap();
    assert!(!message.contains("ARC-") && message.contains("Delivered-To: end@here.test"), "{message}");
    // What this host writes itself is signed: the answer of a list.
    let output = daemon.ctl(&["list", "create", "team", "bob@here.test"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        client(at, "192.0.2.1")
            .send("u@a.test", &["team-help@here.test"], &trust::signed("u@a.test", "Hi\n"))
            .unwrap()
            .starts_with("250")
    );
    let answer = String::from_utf8(at_sink(&sink, "u@a.test")).unwrap();
    assert!(answer.contains("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=here.test;"), "{answer}");
}
