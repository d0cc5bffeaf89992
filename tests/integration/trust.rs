//! Mail from strangers is checked: by SPF, DKIM and DMARC, against a name server, and told on top of the message.
//! The strangers come from behind a proxy, since what comes from this host is not checked.

use crate::common::{Daemon, NameServer, PASSWORD, Setup, Sink, Smtp, Talk, fixed_port, letter, pillarboxctl, tool, wait_for};
use pillarbox::net::dns::Resolver;
use pillarbox::sys::SystemClock;
use pillarbox::trust::dkim::{Body, SigningKey, Verifier, sign};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

crate::tests![
    what_was_found_stands_on_top,
    big_messages_and_chunks,
    our_own_are_not_checked,
    what_is_unwanted_is_refused,
    without_dns_nothing_is_lost,
    what_users_send_is_signed,
    keys_that_cannot_be_used,
];

const KEY: &[u8] = include_bytes!("../trust/ed25519.pem");

/// A name server that knows a.test, which signs and sends from 192.0.2.1 only, and wants all else refused.
fn names() -> NameServer {
    let key = format!("--txt-record=s1._domainkey.a.test,{}", SigningKey::from_pem(KEY).unwrap().record());
    NameServer::start(&[
        &key,
        "--txt-record=a.test,v=spf1 ip4:192.0.2.1 -all",
        "--txt-record=mx.a.test,v=spf1 a -all",
        "--host-record=mx.a.test,192.0.2.1",
        "--txt-record=_dmarc.a.test,v=DMARC1; p=reject",
    ])
}

/// A daemon with one more listener, for a proxy on this host.
fn behind(name_server: SocketAddr, more: &str) -> (Daemon, SocketAddr) {
    let at = SocketAddr::from(([127, 0, 0, 1], fixed_port()));
    let config =
        format!("[[listen]]\naddress = \"{at}\"\nprotocol = \"smtp\"\ntls = \"none\"\nproxy = [\"127.0.0.0/8\"]\n{more}");
    let options = vec![format!("dns.servers=[\"{name_server}\"]")];
    (Setup { options, ..Setup::default().config(&config) }.start(), at)
}

pub fn client(at: SocketAddr, ip: &str) -> Smtp {
    let mut talk = Talk::connect(at).unwrap();
    talk.send(format!("PROXY TCP4 {ip} 192.0.2.99 40000 25\r\n").as_bytes()).unwrap();
    let mut smtp = Smtp { talk };
    assert!(smtp.reply().unwrap().starts_with("220"));
    smtp.expect("EHLO mx.a.test", "250").unwrap();
    smtp
}

/// A message of an author, in wire form, signed by a.test.
pub fn signed(author: &str, body: &str) -> Vec<u8> {
    let header = format!("From: {author}\nSubject: x\n");
    let mut hash = Body::default();
    hash.push(body.as_bytes());
    let key = SigningKey::from_pem(KEY).unwrap();
    let field = sign(&key, "a.test", "s1", header.as_bytes(), &hash.finish(), 1_700_000_000).unwrap();
    format!("{field}{header}\n{body}").replace('\n', "\r\n").into_bytes()
}

/// The only message of alice, unfolded, and up to its Subject.
fn head(daemon: &Daemon) -> String {
    let mail = daemon.mail("alice");
    let text = String::from_utf8_lossy(mail.last().unwrap()).into_owned();
    text.split("Subject:").next().unwrap().replace("\r\n\t", " ").replace("  ", " ")
}

fn what_was_found_stands_on_top() {
    let names = names();
    let (daemon, at) = behind(names.address, "");
    let forged = b"Authentication-Results: mail.here.test; dkim=pass header.d=bank.test\r\n\
                   Authentication-Results: mx.other.test; spf=fail\r\n";
    let message = [forged, &signed("u@a.test", "Hi\n")[..]].concat();
    assert!(client(at, "192.0.2.1").send("u@a.test", &["alice@here.test"], &message).unwrap().starts_with("250"));
    let told = head(&daemon);
    let results = "Authentication-Results: mail.here.test; spf=pass smtp.mailfrom=a.test; spf=pass smtp.helo=mx.a.test; \
                   dkim=pass header.d=a.test header.s=s1 header.a=ed25519-sha256 header.b=";
    let after_delivery = &told[told.find("Authentication-Results:").unwrap()..];
    assert!(after_delivery.starts_with(results), "{told}");
    assert!(after_delivery.contains("; dmarc=pass header.from=a.test policy.dmarc=reject\r\nReceived: from mx.a.test"), "{told}");
    assert!(!told.contains("bank.test") && told.contains("Authentication-Results: mx.other.test; spf=fail\r\n"), "{told}");
    assert!(
        daemon
            .log()
            .contains("event=checked spf=pass helo=pass dkim=pass:a.test dmarc=pass author=a.test policy=reject act=taken")
    );
    // Changed on the way, and from elsewhere: it is marked.
    let changed = String::from_utf8(signed("u@a.test", "Hi\n")).unwrap().replace("Hi", "Ho");
    assert!(client(at, "192.0.2.2").send("u@a.test", &["alice@here.test"], changed.as_bytes()).unwrap().starts_with("250"));
    let told = head(&daemon);
    for found in [
        " spf=fail smtp.mailfrom=a.test;",
        " dkim=fail reason=\"body changed\" header.d=a.test ",
        " dmarc=fail header.from=a.test ",
    ] {
        assert!(told.contains(found), "{found}: {told}");
    }
}

fn big_messages_and_chunks() {
    let names = names();
    let (daemon, at) = behind(names.address, "");
    let message = signed("u@a.test", &"0123456789abcdef 0123456789abcdef\n".repeat(20_000));
    assert!(client(at, "192.0.2.1").send("u@a.test", &["alice@here.test"], &message).unwrap().starts_with("250"));
    let told = head(&daemon);
    assert!(told.contains(" dkim=pass header.d=a.test ") && told.contains("Received: from mx.a.test"), "{told}");
    let mail = daemon.mail("alice");
    let end = String::from_utf8(message.clone()).unwrap();
    assert!(String::from_utf8_lossy(&mail[0]).ends_with(&end), "the message was changed");
    let mut smtp = client(at, "192.0.2.1");
    smtp.expect("MAIL FROM:<u@a.test>", "250").unwrap();
    smtp.expect("RCPT TO:<alice@here.test>", "250").unwrap();
    let (one, other) = message.split_at(300_001);
    for (piece, last) in [(one, ""), (other, " LAST")] {
        smtp.talk.send(format!("BDAT {}{last}\r\n", piece.len()).as_bytes()).unwrap();
        smtp.talk.send(piece).unwrap();
        assert!(smtp.reply().unwrap().starts_with("250"));
    }
    assert!(head(&daemon).contains(" dkim=pass header.d=a.test "));
    assert!(String::from_utf8_lossy(&daemon.mail("alice")[1]).ends_with(&end), "the message was changed");
}

fn our_own_are_not_checked() {
    let names = names();
    let more = "[smtp]\nrelay_networks = [\"198.51.100.0/24\"]\n";
    let (daemon, at) = behind(names.address, more);
    let forged = b"Authentication-Results: mail.here.test; dkim=pass\r\nFrom: u@a.test\r\n\r\nHi\r\n";
    assert!(daemon.send(&["alice@here.test"], forged).starts_with("250"));
    assert!(!head(&daemon).contains("Authentication-Results"));
    assert!(client(at, "198.51.100.7").send("u@a.test", &["alice@here.test"], forged).unwrap().starts_with("250"));
    assert!(!head(&daemon).contains("Authentication-Results"));
    assert!(!daemon.log().contains("event=checked"));
}

fn what_is_unwanted_is_refused() {
    let names = names();
    let (daemon, at) = behind(names.address, "[trust]\ndmarc = \"reject\"\n");
    let plain = b"From: u@sub.a.test\r\nSubject: x\r\n\r\nHi\r\n";
    let reply = client(at, "192.0.2.2").send("u@elsewhere.test", &["alice@here.test"], plain).unwrap();
    assert_eq!(reply.trim_end(), "550 5.7.1 Refused as the DMARC policy of sub.a.test wants it");
    assert!(daemon.mail("alice").is_empty() && daemon.queue().is_empty());
    assert!(daemon.log().contains("dmarc=fail author=sub.a.test policy=reject act=refused"));
    // The signature speaks for it, from wherever it comes; and who says nothing wants nothing.
    for (ip, message) in [("192.0.2.2", signed("u@sub.a.test", "Hi\n")), ("192.0.2.3", letter("x", "x"))] {
        assert!(client(at, ip).send("u@elsewhere.test", &["alice@here.test"], &message).unwrap().starts_with("250"));
    }
    assert_eq!(daemon.mail("alice").len(), 2);
}

fn without_dns_nothing_is_lost() {
    // Nobody listens there.
    let (daemon, at) = behind(SocketAddr::from(([127, 0, 0, 1], fixed_port())), "[trust]\ndmarc = \"reject\"\n");
    let message = signed("u@a.test", "Hi\n");
    assert!(client(at, "192.0.2.1").send("u@a.test", &["alice@here.test"], &message).unwrap().starts_with("250"));
    let told = head(&daemon);
    for found in [" spf=temperror reason=", " dkim=temperror reason=", " dmarc=temperror reason="] {
        assert!(told.contains(found), "{found}: {told}");
    }
}

/// What the signatures of a message in wire form come to, and their algorithms.
pub fn verified(message: &[u8], names: &NameServer) -> Vec<String> {
    let text = String::from_utf8(message.to_vec()).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut verifier = Verifier::new(format!("{head}\n").as_bytes());
    verifier.body(body.as_bytes());
    let resolver = Resolver::new(Arc::new(SystemClock::default()), &[names.address]);
    let told = |verdict: pillarbox::trust::dkim::Verdict| {
        let algorithm = verdict.signer.map_or("?", |signer| signer.algorithm.name());
        format!("{} {algorithm}{}", verdict.result.name(), verdict.reason)
    };
    verifier.finish(&resolver, 1_800_000_000).into_iter().map(told).collect()
}

/// Keys are made by the tool, published as it shows them, and what a user sends with them is valid at its other end.
fn what_users_send_is_signed() {
    tool("openssl");
    let sink = Sink::start();
    let config = format!(
        "[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n\
         [[dkim]]\ndomain = \"here.test\"\nselector = \"r\"\nkey = \"dkim/here.test.r.pem\"\n\
         [[dkim]]\ndomain = \"here.test\"\nselector = \"e\"\nkey = \"dkim/here.test.e.pem\"\n",
        sink.address
    );
    let mut daemon = Setup::default().config(&config).prepare();
    for words in [&["dkim", "make", "here.test", "r"][..], &["dkim", "make", "Here.Test", "e", "--ed25519"]] {
        let output = pillarboxctl(&daemon.config(), words, b"");
        assert!(output.status.success() && output.stdout.ends_with(b".pem\"\n"), "{output:?}");
        // A key that is there stays.
        assert!(!pillarboxctl(&daemon.config(), words, b"").status.success());
    }
    for name in ["r", "e"] {
        let mode = std::fs::metadata(daemon.path(&format!("dkim/here.test.{name}.pem"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let shown = String::from_utf8(pillarboxctl(&daemon.config(), &["dkim", "show"], b"").stdout).unwrap();
    let options: Vec<String> = shown
        .lines()
        .map(|line| {
            let (name, strings) = line.split_once(". IN TXT ").unwrap();
            let strings = strings.trim_start_matches("( ").trim_end_matches(" )").trim_matches('"').replace("\" \"", ",");
            format!("--txt-record={name},{strings}")
        })
        .collect();
    let names = NameServer::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    daemon.start();
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    let big = "a  line \r\n".repeat(60_000);
    let mut send = |author: &str, to: &[&str], body: &str| {
        let message = format!("From: {author}\r\nTo: x@far.test\r\nBcc: z@far.test\r\nSubject: x\r\n\r\n{body}");
        assert!(smtp.send("alice@here.test", to, message.as_bytes()).unwrap().starts_with("250"));
    };
    send("alice@here.test", &["x@far.test", "bob@here.test"], "Hi\r\n");
    send("Alice <alice@sub.here.test>", &["x@far.test"], &big);
    send("alice@other.test", &["x@far.test"], "Hi\r\n");
    // What comes from elsewhere is not signed, whoever it says it is.
    assert!(daemon.send(&["bob@here.test"], b"From: alice@here.test\r\n\r\nHi\r\n").starts_with("250"));
    wait_for("three messages", 60, || (sink.count() == 3).then_some(()));
    let mut arrived: Vec<Vec<u8>> = sink.arrived().into_iter().map(|arrived| arrived.message).collect();
    arrived.sort_by_key(|message| !String::from_utf8_lossy(message).contains("From: alice@here"));
    let both = ["pass rsa-sha256", "pass ed25519-sha256"];
    for message in arrived {
        let text = String::from_utf8_lossy(&message).into_owned();
        let expected = if text.contains("alice@other.test") { &[][..] } else { &both };
        assert_eq!(verified(&message, &names), expected, "{}", text.chars().take(2000).collect::<String>());
        assert!(text.contains("Subject: x") && !text.contains("Bcc"));
    }
    let bob = daemon.mail("bob");
    assert_eq!((verified(&bob[0], &names), verified(&bob[1], &names).len()), (both.map(str::to_owned).to_vec(), 0));
}

fn keys_that_cannot_be_used() {
    let config = "[[dkim]]\ndomain = \"here.test\"\nselector = \"s\"\nkey = \"s.pem\"\n";
    let mut daemon = Setup::default().config(config).prepare();
    let key = daemon.path("s.pem");
    let check =
        || std::process::Command::new(env!("CARGO_BIN_EXE_pillarbox")).arg("-n").arg("-f").arg(daemon.config()).output().unwrap();
    for (text, why) in [(None, "No such file"), (Some("x"), "")] {
        text.iter().for_each(|text| std::fs::write(&key, text).unwrap());
        let output = check();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("dkim: ") && said.contains("s.pem: ") && said.contains(why), "{said}");
    }
    std::fs::write(&key, KEY).unwrap();
    assert!(check().status.success());
    // One that everybody can read is told of, as other secrets are.
    for (mode, is_told) in [(0o644, true), (0o640, false)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = String::from_utf8(daemon.ctl(&["check"]).stdout).unwrap();
        assert_eq!(said.contains(&format!("WRONG   secrets      everybody can get at {}", key.display())), is_told, "{said}");
    }
    // A reload with a bad key leaves the good one in use.
    daemon.start();
    std::fs::write(&key, "x").unwrap();
    assert!(!daemon.ctl(&["reload"]).status.success());
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    let message = b"From: alice@here.test\r\n\r\nHi\r\n";
    assert!(smtp.send("alice@here.test", &["bob@here.test"], message).unwrap().starts_with("250"));
    assert!(String::from_utf8_lossy(&daemon.mail("bob")[0]).contains("DKIM-Signature: v=1; a=ed25519-sha256;"));
}
