//! `pillarboxctl dns`: what it shows is put into a name server, and found right; and what is wrong there is found.

use crate::common::{Daemon, NameServer, Setup, Talk, pillarboxctl, tool};
use std::process::Output;

crate::tests![what_is_shown_can_be_published, what_is_wrong_is_found, the_policy_of_our_domains_is_given_out];

/// A daemon with the configuration of a host as it should be, at rest; it has made its certificate.
fn host() -> Daemon {
    let mut daemon = Setup::default().start();
    daemon.stop();
    let output = pillarboxctl(&daemon.config(), &["dkim", "make", "here.test", "e", "--ed25519"], b"");
    assert!(output.status.success(), "{output:?}");
    tool("openssl");
    let output = pillarboxctl(&daemon.config(), &["dkim", "make", "here.test", "r"], b"");
    assert!(output.status.success(), "{output:?}");
    daemon
}

fn configure(daemon: &Daemon, servers: &str) {
    let listen = |port: u16, protocol: &str, tls: &str| {
        format!("[[listen]]\naddress = \"0.0.0.0:{port}\"\nprotocol = \"{protocol}\"\ntls = \"{tls}\"\n")
    };
    let key =
        |name: &str| format!("[[dkim]]\ndomain = \"here.test\"\nselector = \"{name}\"\nkey = \"dkim/here.test.{name}.pem\"\n");
    let text = [
        "hostname = \"mail.here.test\"\ndomains = [\"here.test\"]\nusers = [\"users\"]\nuser = \"\"\n".to_owned(),
        format!("spool = {:?}\n[tls]\ncertificate = \"spool/tls/cert.pem\"\nkey = \"spool/tls/key.pem\"\n", daemon.spool()),
        listen(25, "smtp", "starttls") + &listen(443, "http", "implicit") + &listen(993, "imap", "implicit"),
        listen(143, "imap", "starttls") + &listen(465, "submission", "implicit"),
        format!("[dns]\nservers = [\"{servers}\"]\n"),
        key("r") + &key("e"),
    ];
    std::fs::write(daemon.config(), text.concat()).unwrap();
}

/// A line of a zone, as dnsmasq wants it.
fn option(line: &str) -> String {
    let (owner, rest) = line.split_once(". IN ").unwrap();
    let (kind, data) = rest.split_once(' ').unwrap();
    let words: Vec<&str> = data.trim_end_matches('.').split(' ').collect();
    match (kind, words.as_slice()) {
        ("MX", [preference, host]) => format!("--mx-host={owner},{host},{preference}"),
        ("SRV", ["0", weight, port, host]) => format!("--srv-host={owner},{host},{port},0,{weight}"),
        ("TLSA", ["3", "1", "1", digest]) => format!("--dns-rr={owner},52,030101{digest}"),
        ("CNAME", [host]) => format!("--cname={owner},{host}"),
        ("TXT", _) => {
            let strings = data.trim_start_matches("( ").trim_end_matches(" )").trim_matches('"').replace("\" \"", ",");
            format!("--txt-record={owner},{strings}")
        }
        other => panic!("{other:?}"),
    }
}

/// What is to be published, as options.
fn shown(daemon: &Daemon) -> Vec<String> {
    configure(daemon, "127.0.0.1:9");
    let output = pillarboxctl(&daemon.config(), &["dns"], b"");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with(';')).map(option).collect()
}

/// What is found where that is published, and where this host is.
fn check(daemon: &Daemon, published: &[String], more: &[&str]) -> (Option<i32>, String) {
    let mut options = vec!["--host-record=mail.here.test,192.0.2.1", "--host-record=other.test,192.0.2.2"];
    options.extend(published.iter().map(String::as_str));
    let names = NameServer::start(&[&options, more].concat());
    configure(daemon, &names.address.to_string());
    told(pillarboxctl(&daemon.config(), &["dns", "--check"], b""))
}

fn told(output: Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

fn what_is_shown_can_be_published() {
    let daemon = host();
    let options = shown(&daemon);
    let starts = [
        "--txt-record=mail.here.test,v=spf1 a -all",
        "--dns-rr=_25._tcp.mail.here.test,52,030101",
        "--mx-host=here.test,mail.here.test,10",
        "--txt-record=here.test,v=spf1 mx -all",
        "--txt-record=_dmarc.here.test,v=DMARC1; p=quarantine; rua=mailto:postmaster@here.test",
        "--txt-record=_smtp._tls.here.test,v=TLSRPTv1; rua=mailto:postmaster@here.test",
        "--cname=mta-sts.here.test,mail.here.test",
        "--txt-record=_mta-sts.here.test,v=STSv1; id=",
        "--srv-host=_imaps._tcp.here.test,mail.here.test,993,0,1",
        "--srv-host=_imap._tcp.here.test,mail.here.test,143,0,1",
        "--srv-host=_submissions._tcp.here.test,mail.here.test,465,0,1",
        "--srv-host=_autodiscover._tcp.here.test,mail.here.test,443,0,1",
        "--cname=autoconfig.here.test,mail.here.test",
        "--cname=autodiscover.here.test,mail.here.test",
        "--txt-record=r._domainkey.here.test,v=DKIM1; k=rsa; p=",
        "--txt-record=e._domainkey.here.test,v=DKIM1; k=ed25519; p=",
    ];
    assert_eq!(options.len(), starts.len(), "{options:#?}");
    for (option, start) in options.iter().zip(starts) {
        assert!(option.starts_with(start), "{option} {start}");
    }
    let (code, text) = check(&daemon, &options, &[]);
    assert_eq!((code, text.matches("fine ").count()), (Some(0), starts.len() - 1), "{text}");
    assert!(text.contains("hint    TLSA") && text.contains("counts only in a zone that is signed"), "{text}");
    // Nobody answers.
    configure(&daemon, "127.0.0.1:9");
    let (code, text) = told(pillarboxctl(&daemon.config(), &["dns", "--check", "--json"], b""));
    assert!(code == Some(2) && text.contains("\"state\": \"unseen\""), "{text}");
    // Without a port for browsers, and a certificate that others know, there is less to publish; all mail by a smarthost.
    let plain = "hostname = \"mail.here.test\"\ndomains = [\"here.test\"]\nuser = \"\"\nspool = \"nowhere\"\n[queue]\nsmarthost = \"out.test:25\"\n";
    std::fs::write(daemon.config(), plain).unwrap();
    let (code, text) = told(pillarboxctl(&daemon.config(), &["dns"], b""));
    assert_eq!(code, Some(0), "{text}");
    for found in [
        "here.test. IN TXT \"v=spf1 mx a:out.test ~all\"",
        "p=none;",
        "; no MTA-STS: ",
        "; no TLSA record: ",
        "; DKIM: make a key",
    ] {
        assert!(text.contains(found), "{found}: {text}");
    }
    assert!(!text.contains("IN TLSA") && !text.contains("mta-sts.") && !text.contains("autoconfig."), "{text}");
}

fn what_is_wrong_is_found() {
    let daemon = host();
    let options = shown(&daemon);
    let without = |start: &str| -> Vec<String> {
        let kept: Vec<String> = options.iter().filter(|option| !option.starts_with(start)).cloned().collect();
        assert_eq!(kept.len(), options.len() - 1, "{start}");
        kept
    };
    let other_key = "--txt-record=e._domainkey.here.test,v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    for (start, more, expected) in [
        ("--mx-host", &[][..], "WRONG   dns          here.test has no MX record"),
        ("--mx-host", &["--mx-host=here.test,other.test,10"], "WRONG   dns          mail for here.test goes to other.test"),
        ("--txt-record=here.test", &[], "WRONG   SPF          here.test is not published"),
        (
            "--txt-record=here.test",
            &["--txt-record=here.test,v=spf1 ip4:192.0.2.2 ~all"],
            "WRONG   SPF          here.test says softfail of 192.0.2.1",
        ),
        (
            "--txt-record=here.test",
            &["--txt-record=here.test,v=spf1 nonsense"],
            "WRONG   SPF          here.test has a bad record: ",
        ),
        ("--txt-record=_dmarc", &[], "WRONG   DMARC        _dmarc.here.test is not published"),
        ("--txt-record=e._domainkey", &[], "WRONG   DKIM         e._domainkey.here.test is not published"),
        (
            "--txt-record=e._domainkey",
            &[other_key],
            "WRONG   DKIM         e._domainkey.here.test is not the key that signs: it is another key",
        ),
        (
            "--txt-record=e._domainkey",
            &["--txt-record=e._domainkey.here.test,v=DKIM1; p="],
            "is not the key that signs: the key is taken back",
        ),
        (
            "--txt-record=_mta-sts",
            &["--txt-record=_mta-sts.here.test,v=STSv1; id=1"],
            "WRONG   MTA-STS      _mta-sts.here.test has the id of another policy",
        ),
        (
            "--txt-record=_smtp._tls",
            &["--txt-record=_smtp._tls.here.test,v=TLSRPTv1"],
            "WRONG   TLS-RPT      _smtp._tls.here.test names nobody",
        ),
        (
            "--dns-rr",
            &["--dns-rr=_25._tcp.mail.here.test,52,030101ab"],
            "WRONG   TLSA         _25._tcp.mail.here.test is of another certificate",
        ),
        (
            "--srv-host=_imaps",
            &["--srv-host=_imaps._tcp.here.test,other.test,993"],
            "WRONG   SRV          _imaps._tcp.here.test leads to other.test:993",
        ),
        (
            "--cname=autoconfig",
            &["--cname=autoconfig.here.test,other.test"],
            "WRONG   autoconfig   autoconfig.here.test leads to another host",
        ),
    ] {
        let (code, text) = check(&daemon, &without(start), more);
        assert!(code == Some(1) && text.contains(expected), "{start} {more:?} {code:?}: {text}");
        assert!(text.contains(" -> "), "{text}");
    }
    // Not all need these.
    for start in ["--txt-record=_mta-sts", "--txt-record=_smtp._tls", "--dns-rr", "--srv-host=_imaps", "--cname=autoconfig"] {
        let (code, text) = check(&daemon, &without(start), &[]);
        assert!(code == Some(0) && text.contains("hint ") && text.contains(" is not published"), "{start}: {text}");
    }
}

fn the_policy_of_our_domains_is_given_out() {
    let daemon = Setup::default().start();
    let ask = |host: &str| {
        let mut talk = Talk::connect(daemon.at("http")).unwrap();
        talk.send(format!("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        String::from_utf8(talk.rest()).unwrap()
    };
    let policy = "\r\n\r\nversion: STSv1\r\nmode: enforce\r\nmx: mail.here.test\r\nmax_age: 604800\r\n";
    let told = ask("MTA-STS.here.test");
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("Content-Type: text/plain") && told.ends_with(policy), "{told}");
    for other in ["mta-sts.other.test", "mail.here.test", "here.test"] {
        assert!(ask(other).starts_with("HTTP/1.1 404"), "{other}");
    }
}
