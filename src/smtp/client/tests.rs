//! The client against servers that play a script, most of them badly.

use super::*;
use crate::mail::{Address, Body, Envelope, MailDsn, Origin, Recipient, ReversePath};
use crate::net::tls::ServerTls;
use crate::spool::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Plays one script for each connection, in order, and returns what the client said. Lines of a script: `S text` is said,
/// `C prefix` is awaited, `BODY` reads up to the final dot, `TLS` shakes hands, `JUNK` says what is no TLS, `DROP` closes at
/// once; at the end it closes.
fn server(scripts: &[&str]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let scripts: Vec<String> = scripts.iter().map(|script| script.to_string()).collect();
    let play = move || scripts.iter().map(|script| play(listener.accept().unwrap().0, script)).collect();
    (address, thread::spawn(play))
}

fn play(stream: TcpStream, script: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut heard = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream.try_clone().unwrap();
    for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
        match step.split_once(' ').unwrap_or((step, "")) {
            ("S", text) => {
                let line = text.replace("\\x00", "\0").replace("\\r", "\r").replace("\\n", "\n") + "\r\n";
                let _ = writer.write_all(line.as_bytes());
            }
            ("C", prefix) => {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                assert!(line.starts_with(prefix) && (line.ends_with("\r\n") || prefix.is_empty()), "{line:?} for {prefix:?}");
                heard.push_str(&line);
            }
            ("BODY", _) => {
                while !heard.ends_with("\r\n.\r\n") {
                    assert_ne!(reader.read_line(&mut heard).unwrap(), 0, "{heard:?}");
                }
            }
            ("TLS", _) => return heard + &play_tls(stream, script.split_once("\nTLS\n").unwrap().1),
            ("JUNK", _) => writer.write_all(&[0; 64]).unwrap(),
            ("DROP", _) => return heard,
            _ => panic!("{step}"),
        }
    }
    // Waits for the client to close, as QUIT or not.
    let _ = reader.read_to_string(&mut heard);
    heard
}

/// The rest of a script, over TLS.
fn play_tls(stream: TcpStream, script: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let tls = ServerTls::self_signed(dir.path(), "mx.example").unwrap();
    let mut connection = Connection::from_tcp(stream).unwrap();
    connection.set_timeout(Duration::from_secs(5));
    connection.accept_tls(&tls).unwrap();
    let (mut heard, mut line) = (String::new(), Vec::new());
    for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
        match step.split_once(' ').unwrap() {
            ("S", text) => connection.put(format!("{text}\r\n").as_bytes()).unwrap(),
            (_, prefix) => {
                assert_eq!(connection.read_line(1000, &mut line).unwrap(), Line::Whole);
                assert!(line.starts_with(prefix.as_bytes()), "{line:?} for {prefix}");
                heard.push_str(&String::from_utf8_lossy(&line));
            }
        }
    }
    connection.flush().unwrap();
    heard
}

fn open_at(address: SocketAddr, tls: bool) -> Result<Client, Failure> {
    let any = ClientTls::opportunistic();
    open_as(address, if tls { Secrecy::May(&any) } else { Secrecy::None }, None)
}

fn open_as(address: SocketAddr, secrecy: Secrecy<'_>, login: Option<&Credentials>) -> Result<Client, Failure> {
    open_to(address, false, secrecy, login)
}

fn open_to(address: SocketAddr, lmtp: bool, secrecy: Secrecy<'_>, login: Option<&Credentials>) -> Result<Client, Failure> {
    let address = Endpoint::Tcp(address);
    let target = Target { address, lmtp, host: "mx.example", hostname: "me.example", secrecy, login, patience: DATA_END };
    Client::open(&target, &Registry::default())
}

/// In short: `+` taken, the code of a refusal, `L` later, `B` broken, `8` eight bit, `U` UTF-8, `S` too big.
fn short(answers: &[Answer]) -> String {
    let one = |answer: &Answer| match answer {
        Answer::Taken(_) => "+".to_owned(),
        Answer::Refused(reply) => reply.code.to_string(),
        Answer::Later => "L".to_owned(),
        Answer::Broken(_) => "B".to_owned(),
        Answer::EightBit(_) => "8".to_owned(),
        Answer::NeedsUtf8(_) => "U".to_owned(),
        Answer::TooBig(_) => "S".to_owned(),
    };
    answers.iter().map(one).collect::<Vec<_>>().join(" ")
}

const TEXT: &str = "Subject: x\n\n.dot\n>From me\n";

fn post(client: &mut Client, text: &[u8], recipients: usize) -> String {
    let mut envelope = Envelope {
        reverse_path: ReversePath(Some("alice@me.example".parse().unwrap())),
        recipients: (0..recipients).map(|n| Recipient::from(format!("r{n}@there.example").parse::<Address>().unwrap())).collect(),
        body: Body::SevenBit,
        utf8: false,
        dsn: MailDsn::default(),
        require_tls: false,
        release: None,
        origin: Origin::Network,
    };
    envelope.dsn.take("RET", Some("HDRS")).unwrap();
    envelope.dsn.take("ENVID", Some("a+2B")).unwrap();
    envelope.recipients[0].dsn.take("NOTIFY", Some("NEVER")).unwrap();
    let named: Vec<&Recipient> = envelope.recipients.iter().collect();
    let parcel = Parcel {
        envelope: &envelope,
        recipients: &named,
        size: 1000,
        eight_bit: !text.is_ascii(),
        utf8: false,
        require_tls: false,
        message: &Message::Memory(Arc::new(text.to_vec())),
    };
    short(&client.send(&parcel))
}

/// Opens and sends to two recipients; what became of them, whether the line is usable, and what the server heard.
fn talk(script: &str) -> (String, bool, String) {
    let (address, server) = server(&[script]);
    let (answers, usable) = match open_at(address, false) {
        Ok(mut client) => {
            let answers = post(&mut client, TEXT.as_bytes(), 2);
            let usable = client.is_usable();
            client.quit();
            (answers, usable)
        }
        Err(failure) => (failure.to_string(), false),
    };
    (answers, usable, server.join().unwrap().remove(0))
}

const PLAIN: &str = "S 220 mx.example\nC EHLO me.example\nS 250 mx.example\n";
const PIPED: &str = "S 220 mx.example\nC EHLO me.example\nS 250-mx.example\nS 250 PIPELINING\n";

#[test]
fn all_is_well() {
    let body = "Subject: x\r\n\r\n..dot\r\nFrom me\r\n.\r\n";
    let (answers, usable, heard) = talk(&format!(
        "{PLAIN}C MAIL FROM:<alice@me.example>\nS 250 ok\nC RCPT TO:<r0@there.example>\nS 250 ok\nC RCPT TO:<r1\nS 251 ok\n\
         C DATA\nS 354 go\nBODY\nS 250 2.0.0 taken\nC QUIT\nS 221 bye"
    ));
    assert_eq!((answers.as_str(), usable), ("+ +", true));
    assert!(heard.ends_with(&format!("DATA\r\n{body}QUIT\r\n")), "{heard}");
    // Everything at once, before a single reply.
    let (answers, usable, heard) = talk(
        "S 220 mx\nC EHLO\nS 250-mx\nS 250-SIZE\nS 250-8BITMIME\nS 250 PIPELINING\n\
         C MAIL FROM:<alice@me.example> SIZE=1000\nC RCPT\nC RCPT\nC DATA\nS 250 a\nS 550 b\nS 250 c\nS 354 go\nBODY\nS 250 ok\nC QUIT\nS 221 bye",
    );
    assert_eq!((answers.as_str(), usable), ("550 +", true));
    assert!(heard.contains(body), "{heard}");
}

/// What each reply of a transaction leads to, without and with pipelining.
#[test]
fn refusals() {
    for (replies, answers) in [
        ("450 550 550 503", "450 450"),
        ("550 550 550 503", "550 550"),
        ("550 250 250 354", "550 550"),
        ("250 550 450 503", "550 450"),
        ("250 552 452 503", "552 452"),
        ("250 250 452 354 250", "+ L"),
        ("250 250 552 354 250", "+ L"),
        ("250 250 552-5.2.2 354 250", "+ 552"),
        ("250 250 250 451", "451 451"),
        ("250 250 550 554", "554 550"),
        ("250 250 250 354 552", "552 552"),
        ("250 450 250 354 451", "450 451"),
    ] {
        for piped in [false, true] {
            let mut script = if piped { PIPED } else { PLAIN }.to_owned();
            let mut replies = replies.split(' ').map(|reply| reply.replace('-', " "));
            if piped {
                script += "C MAIL\nC RCPT\nC RCPT\nC DATA\n";
            }
            let (mut accepted, mut mail_ok) = (false, true);
            for command in ["MAIL", "RCPT", "RCPT", "DATA"] {
                let Some(reply) = replies.next() else { break };
                if !piped && (!mail_ok || command == "DATA" && !accepted) {
                    break;
                }
                if !piped {
                    script += &format!("C {command}\n");
                }
                script += &format!("S {reply} text\n");
                mail_ok &= command != "MAIL" || reply == "250";
                accepted |= command == "RCPT" && reply == "250" && mail_ok;
                if reply == "354" {
                    script += if accepted { "BODY\n" } else { "C .\nS 554 no message\n" };
                }
            }
            for reply in replies.filter(|_| accepted) {
                script += &format!("S {reply} text\n");
            }
            script += "C QUIT\nS 221 bye\n";
            let (found, usable, _) = talk(&script);
            assert_eq!((found.as_str(), usable), (answers, true), "{script}");
        }
    }
}

#[test]
fn breaking_off_at_each_step() {
    let steps = ["C MAIL", "S 250 ok", "C RCPT", "S 550 ok", "C RCPT", "S 250 ok", "C DATA", "S 354 go", "BODY"];
    for cut in 0..=steps.len() {
        let script = format!("{PLAIN}{}\nDROP", steps[..cut].join("\n"));
        let expected = if cut < 4 { "B B" } else { "550 B" };
        let (found, usable, _) = talk(&script);
        assert_eq!((found.as_str(), usable), (expected, false), "{script}");
    }
    // 421 may stand for any reply (RFC 5321 §3.8).
    for cut in [1, 3, 5, 7, 9] {
        let script = format!("{PLAIN}{}\nS 421 4.3.2 stopping", steps[..cut].join("\n"));
        let expected = if cut < 4 { "B B" } else { "550 B" };
        let (found, usable, _) = talk(&script);
        assert_eq!((found.as_str(), usable), (expected, false), "{script}");
    }
}

#[test]
fn nonsense_at_each_step() {
    let steps = ["C MAIL", "S 250 ok", "C RCPT", "S 250 ok", "C RCPT", "S 250 ok", "C DATA", "S 354 go", "BODY"];
    for nonsense in
        ["garbage", "250-a\r\nS 550 b", "2500 x", "", "250 a\\x00b", "250 a\\nb", "350 what", "999 x", "HTTP/1.1 200 OK"]
    {
        for cut in [1, 3, 5, 7, 9] {
            if nonsense == "350 what" && cut == 7 {
                continue;
            }
            let script = format!("{PLAIN}{}\nS {nonsense} ", steps[..cut].join("\n"));
            let (answers, usable, _) = talk(&script);
            assert_eq!((answers.as_str(), usable), ("B B", false), "{script}");
        }
        let (failure, usable, _) = talk(&format!("S {nonsense} "));
        assert!(!usable && !failure.contains('+'), "{nonsense}: {failure}");
    }
}

#[test]
fn greetings() {
    let failure = |script: &str| match talk(script) {
        (failure, false, _) => failure,
        other => panic!("{script}: {other:?}"),
    };
    assert_eq!(failure("S 554 5.7.1 go away"), "refused at the greeting: 554 5.7.1 go away");
    assert_eq!(failure("S 421 busy"), "refused at the greeting: 421 busy");
    assert_eq!(failure("S 250 hello"), "unexpected reply at the greeting");
    assert_eq!(failure("DROP"), "connection closed at the greeting");
    assert_eq!(failure("S 220 ME.example. ESMTP"), "the host at the other end is this one");
    assert_eq!(failure("S 220 mx\nC EHLO\nS 451 later"), "refused to EHLO: 451 later");
    assert_eq!(failure("S 220 mx\nC EHLO\nS 500 what\nC HELO\nS 550 5.7.1 not you"), "refused to HELO: 550 5.7.1 not you");
    assert_eq!(failure(&format!("S 220 mx\nC EHLO\nS 250-{}", "x".repeat(5000))), "reply line too long to EHLO");
    assert_eq!(failure(&format!("S 220 mx\nC EHLO\n{}", "S 250-x\n".repeat(250))), "endless reply to EHLO");
    // A host that knows no EHLO is spoken to plainly.
    let script = "S 220 old.example\nC EHLO\nS 502 what\nC HELO me.example\nS 250 old\nC MAIL FROM:<alice@me.example>\r\nS 250 ok\n\
                  C RCPT\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\nS 354 go\nBODY\nS 250 ok\nC QUIT\nS 221 bye";
    let script = script.replace("\r\n", "\n");
    assert_eq!(talk(&script).0, "+ +");
}

#[test]
fn what_the_server_can_not_take_is_not_sent() {
    let script = "S 220 mx\nC EHLO\nS 250-mx\nS 250 SIZE 999\nC QUIT\nS 221 bye";
    assert_eq!(talk(script).0, "S S");
    let (address, heard) = server(&[
        &format!("{PLAIN}C QUIT\nS 221 bye"),
        "S 220 mx\nC EHLO\nS 250-mx\nS 250 8BITMIME\nC MAIL FROM:<alice@me.example> BODY=8BITMIME\nS 550 no\nC QUIT\nS 221 bye",
    ]);
    let signed = "Content-Type: multipart/signed; boundary=s\n\n--s\n\nä\n--s--\n";
    for expected in ["8", "550"] {
        let mut client = open_at(address, false).unwrap();
        assert_eq!(post(&mut client, signed.as_bytes(), 1), expected);
        client.quit();
    }
    heard.join().unwrap();
}

/// With its size as it is then, and not in one chunk with its envelope.
#[test]
fn eight_bit_mail_is_converted_for_a_server_that_takes_seven_bits() {
    let script = "S 220 mx\nC EHLO\nS 250-mx\nS 250-SIZE 2000\nS 250-CHUNKING\nS 250 PIPELINING\n\
                  C MAIL FROM:<alice@me.example> SIZE=147\nC RCPT\nC DATA\nS 250 a\nS 250 b\nS 354 c\nBODY\nS 250 d\n\
                  C MAIL FROM:<alice@me.example> SIZE=15\nC RCPT\nC DATA\nS 250 a\nS 250 b\nS 354 c\nBODY\nS 250 d\n\
                  C QUIT\nS 221 bye";
    let (address, heard) = server(&[script]);
    let mut client = open_at(address, false).unwrap();
    let text = "Content-Type: text/plain; charset=utf-8\nMIME-Version: 1.0\n\n.dot\n>From a long line of text, ü\n";
    assert_eq!(post(&mut client, text.as_bytes(), 1), "+");
    assert_eq!(post(&mut client, "Subject: ü\n\n".as_bytes(), 1), "+");
    client.quit();
    let heard = heard.join().unwrap().remove(0);
    let converted = "DATA\r\nContent-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n\
                     Content-Transfer-Encoding: quoted-printable\r\n\r\n..dot\r\nFrom a long line of text, =C3=BC\r\n.\r\n";
    assert!(heard.contains(converted), "{heard}");
    assert!(heard.contains("DATA\r\nSubject: ü\r\n\r\n.\r\n"), "{heard}");
}

#[test]
fn several_messages_on_one_connection() {
    let good = "C MAIL\nC RCPT\nC DATA\nS 250 a\nS 250 b\nS 354 go\nBODY\nS 250 ok\n";
    let bad = "C MAIL\nC RCPT\nC DATA\nS 250 a\nS 550 b\nS 503 c\n";
    let (address, heard) = server(&[&format!("{PIPED}{good}{good}{bad}C RSET\nS 250 ok\n{good}C MAIL\nC RCPT\nC DATA\nDROP")]);
    let mut client = open_at(address, false).unwrap();
    let answers: Vec<String> = (0..5).map(|_| post(&mut client, TEXT.as_bytes(), 1)).collect();
    assert_eq!(answers, ["+", "+", "550", "+", "B"]);
    assert!(client.was_stale() && !client.is_usable());
    assert_eq!(client.transactions(), 5);
    heard.join().unwrap();
}

#[test]
fn a_server_that_refuses_in_mid_message_is_heard() {
    let (address, heard) =
        server(&[&format!("{PLAIN}C MAIL\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\nS 354 go\nS 552 5.3.4 too big\nDROP")]);
    let mut client = open_at(address, false).unwrap();
    let answer = post(&mut client, &b"0123456789abcde\n".repeat(1 << 20), 1);
    // If the reset comes first, nothing can be heard; it is never taken for sent.
    assert!(matches!(answer.as_str(), "552" | "B"), "{answer}");
    assert!(!client.is_usable());
    heard.join().unwrap();
}

#[test]
fn tls_when_offered() {
    const OFFER: &str = "S 220 mx\nC EHLO\nS 250-mx\nS 250-SIZE 7\nS 250 STARTTLS\nC STARTTLS\n";
    let inside = "S 250-mx\nS 250 PIPELINING";
    // What is injected before the handshake is dropped, and so is what was offered in plaintext.
    let injected = r"S 220 go\r\n250-evil\r\n250 SIZE 99";
    let (address, heard) = server(&[&format!("{OFFER}{injected}\nTLS\nC EHLO me.example\n{inside}\n")]);
    let client = open_at(address, true).unwrap();
    assert!(client.cipher().unwrap().starts_with("TLSv1.3"));
    assert_eq!(client.extensions, Extensions { pipelining: true, ..Extensions::default() });
    drop(client);
    heard.join().unwrap();
    // A handshake that fails: once more, in plaintext.
    let (address, heard) =
        server(&[&format!("{OFFER}S 220 go\nJUNK\nDROP"), "S 220 mx\nC EHLO\nS 250-mx\nS 250 STARTTLS\nC QUIT\nS 221 bye"]);
    let client = open_at(address, true).unwrap();
    assert_eq!(client.cipher(), None);
    client.quit();
    heard.join().unwrap();
    // An offer that is not meant.
    let (address, heard) = server(&[&format!("{OFFER}S 454 not now\nC QUIT\nS 221 bye")]);
    let client = open_at(address, true).unwrap();
    assert_eq!((client.cipher(), client.extensions.size), (None, Some(7)));
    client.quit();
    heard.join().unwrap();
}

#[test]
fn no_secrecy_no_conversation() {
    const OFFER: &str = "S 220 mx\nC EHLO\nS 250-mx\nS 250 STARTTLS\nC STARTTLS\n";
    let any = ClientTls::opportunistic();
    let must = |script: &str| {
        let (address, heard) = server(&[script]);
        let opened = open_as(address, Secrecy::Must(&any), Some(&Credentials::parse("me\npw").unwrap()));
        let failed = opened.map(|client| client.cipher()).unwrap_err();
        (failed, heard.join().unwrap().remove(0))
    };
    for script in ["S 220 mx\nC EHLO\nS 250-mx\nS 250 AUTH PLAIN", &format!("{OFFER}S 454 4.7.0 not now")] {
        let (failed, heard) = must(script);
        assert!(matches!(failed, Failure::Plain) && !heard.contains("AUTH"), "{failed}: {heard}");
    }
    let (failed, heard) = must(&format!("{OFFER}S 220 go\nJUNK\nDROP"));
    assert!(matches!(failed, Failure::Tls(_)) && !heard.contains("AUTH"), "{failed}: {heard}");
    // A server that nobody vouches for.
    let dir = tempfile::tempdir().unwrap();
    ServerTls::self_signed(dir.path(), "mx.example").unwrap();
    let verifying = ClientTls::verifying(Some(&dir.path().join("cert.pem"))).unwrap();
    let (address, heard) = server(&[&format!("{OFFER}S 220 go\nDROP")]);
    assert!(matches!(open_as(address, Secrecy::Must(&verifying), None), Err(Failure::Tls(_))));
    heard.join().unwrap();
}

#[test]
fn logging_in() {
    let credentials = Credentials::parse("me\npa ss").unwrap();
    let said = |script: &str| {
        let (address, heard) = server(&[&format!("S 220 mx\nC EHLO\n{script}")]);
        let opened = open_as(address, Secrecy::None, Some(&credentials)).map(Client::quit).map_err(|failure| failure.to_string());
        (opened, heard.join().unwrap().remove(0))
    };
    let taken = "S 235 2.7.0 in\nC QUIT\nS 221 bye";
    let (opened, heard) = said(&format!("S 250-mx\nS 250 AUTH LOGIN PLAIN X\nC AUTH PLAIN AG1lAHBhIHNz\n{taken}"));
    assert_eq!(opened, Ok(()), "{heard}");
    let login = "S 334 VXNlcm5hbWU6\nC bWU=\nS 334 UGFzc3dvcmQ6\nC cGEgc3M=\n";
    assert_eq!(said(&format!("S 250-mx\nS 250 AUTH LOGIN\nC AUTH LOGIN\n{login}{taken}")).0, Ok(()));
    let refused = said("S 250-mx\nS 250 auth plain\nC AUTH PLAIN\nS 535 5.7.8 wrong").0.unwrap_err();
    assert_eq!(refused, "it does not take our login: 535 5.7.8 wrong");
    let odd = said("S 250-mx\nS 250 AUTH LOGIN\nC AUTH LOGIN\nS 235 2.7.0 in already").0.unwrap_err();
    assert!(odd.contains("does not take our login"), "{odd}");
    assert!(said("S 250-mx\nS 250 AUTH GSSAPI").0.unwrap_err().contains("neither"));
    // More than a command's length.
    let long = Credentials::parse(&format!("{}\n{}", "n".repeat(200), "p".repeat(200))).unwrap();
    let (address, heard) = server(&["S 220 mx\nC EHLO\nS 250-mx\nS 250 AUTH PLAIN\nC AUTH PLAIN\r\nS 334 \nC AG5ubm\nS 235 in"]);
    open_as(address, Secrecy::None, Some(&long)).unwrap();
    assert!(heard.join().unwrap()[0].ends_with("cHBw\r\n"));
}

/// RFC 5321 §4.5.3.2: a client must have no less patience.
#[test]
fn nobody_is_given_less_time_than_the_standard_says() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    for (ours, theirs) in [(GREETING, 5), (MAIL, 5), (RCPT, 5), (DATA_BEGIN, 2), (DATA_BLOCK, 3), (DATA_END, 10)] {
        assert!(ours >= minutes(theirs), "{ours:?}");
    }
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(matches!(open_at(address, false), Err(Failure::Net("while connecting", _))));
}

/// With PIPELINING and CHUNKING the message goes with its envelope.
#[test]
fn a_small_message_goes_in_one_chunk() {
    let begin = "S 220 mx\nC EHLO\nS 250-mx\nS 250-CHUNKING\nS 250 PIPELINING\n";
    let message = "C MAIL\nC RCPT\nC RCPT\nC BDAT 29 LAST\nC Subject: x\nC\nC .dot\nC From me\n";
    for (replies, answers, usable) in [
        ("250 250 250 250", "+ +", true),
        ("250 550 250 250", "550 +", true),
        ("250 250 452 250", "+ L", true),
        ("250 250 250 552", "552 552", true),
        ("250 450 550 503", "450 550", true),
        ("550 503 503 503", "550 550", true),
        ("250 250 250 354", "B B", false),
        ("250 250 250 421", "B B", false),
        ("250 250 250", "B B", false),
        ("250 550", "550 B", false),
    ] {
        let said: String = replies.split(' ').map(|reply| format!("S {reply} text\n")).collect();
        let end = if usable { "C QUIT\nS 221 bye" } else { "DROP" };
        let (found, still_usable, heard) = talk(&format!("{begin}{message}{said}{end}"));
        assert_eq!((found.as_str(), still_usable), (answers, usable), "{replies}: {heard}");
        assert!(heard.contains("BDAT 29 LAST\r\nSubject: x\r\n\r\n.dot\r\nFrom me\r\n"), "{heard}");
    }
}

#[test]
fn after_a_chunk_in_vain_comes_rset() {
    let message = "C MAIL\nC RCPT\nC BDAT 29 LAST\nC Subject: x\nC\nC .dot\nC From me\n";
    let big = "C MAIL\nC RCPT\nC DATA\nS 250 a\nS 250 b\nS 354 c\nBODY\nS 250 d\n";
    let (address, server) = server(&[&format!(
        "S 220 mx\nC EHLO\nS 250-mx\nS 250-CHUNKING\nS 250 PIPELINING\n{message}S 250 a\nS 550 b\nS 503 c\n\
         C RSET\nS 250 ok\n{message}S 250 a\nS 250 b\nS 250 c\n{big}C QUIT\nS 221 bye"
    )]);
    let mut client = open_at(address, false).unwrap();
    assert_eq!(post(&mut client, TEXT.as_bytes(), 1), "550");
    assert_eq!(post(&mut client, TEXT.as_bytes(), 1), "+");
    // What is longer waits for the server's word.
    assert_eq!(post(&mut client, &b"a line of text\n".repeat(3000), 1), "+");
    client.quit();
    server.join().unwrap();
}

#[test]
fn limits_are_kept() {
    let limited = |limits: &str| {
        let lines = ["mx", "250", limits].map(str::to_owned).to_vec();
        Extensions::of(&Reply { code: 250, enhanced: None, lines })
    };
    let found = limited("LIMITS RCPTMAX=20 mailmax=5 RCPTDOMAINMAX=1");
    assert_eq!((found.most_recipients, found.most_domains, found.most_transactions), (Some(20), Some(1), Some(5)));
    for odd in ["LIMITS", "LIMITS RCPTMAX MAILMAX=", "LIMITS RCPTMAX=0 MAILMAX=-1", "LIMITS RCPTMAX=99999999999 MAILMAX=x"] {
        assert_eq!((limited(odd).most_recipients, limited(odd).most_transactions), (None, None), "{odd}");
    }
    let recipients = ["a@one.test", "b@two.test", "c@ONE.test", "d@three.test", "e@b\u{fc}cher.test", "f@xn--bcher-kva.test"];
    let recipients = recipients.map(|address| Recipient::from(address.parse::<Address>().unwrap()));
    let named: Vec<&Recipient> = recipients.iter().collect();
    let together = |limits: &str| -> String {
        let may = limited(limits).of_one_transaction(&named);
        may.into_iter().map(|may| if may { '+' } else { '-' }).collect()
    };
    for (limits, expected) in [
        ("LIMITS", "++++++"),
        ("LIMITS RCPTMAX=3", "+++---"),
        ("LIMITS RCPTDOMAINMAX=1", "+-+---"),
        ("LIMITS RCPTDOMAINMAX=2 RCPTMAX=2", "++----"),
        ("LIMITS RCPTDOMAINMAX=2", "+++---"),
    ] {
        assert_eq!(together(limits), expected, "{limits}");
    }
    assert_eq!(limited("LIMITS RCPTDOMAINMAX=1").of_one_transaction(&named[4..]), [true, true], "the same domain");
    let one = "C MAIL\nC RCPT\nC DATA\nS 250 a\nS 250 b\nS 354 c\nBODY\nS 250 d\n";
    let script =
        format!("S 220 mx\nC EHLO\nS 250-mx\nS 250-LIMITS RCPTMAX=1 MAILMAX=2\nS 250 PIPELINING\n{one}{one}C QUIT\nS 221 bye");
    let (address, server) = server(&[&script]);
    let mut client = open_at(address, false).unwrap();
    assert_eq!(post(&mut client, TEXT.as_bytes(), 3), "+ L L");
    assert!(client.is_usable());
    assert_eq!(post(&mut client, TEXT.as_bytes(), 1), "+");
    assert!(!client.is_usable(), "a third transaction is not wanted");
    client.quit();
    assert!(server.join().unwrap().remove(0).ends_with("QUIT\r\n"));
}

/// RFC 2033: LHLO, no chunk, and an answer to the message for each recipient that was accepted.
#[test]
fn lmtp_answers_for_each() {
    let hello = "S 220 me.example LMTP\nC LHLO me.example\nS 250-store\nS 250-CHUNKING\nS 250 PIPELINING\n";
    let begin = format!("{hello}C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 a\nS 250 b\nS 550 c\nS 250 d\nS 354 go\nBODY\n");
    for (script, answers, usable) in [
        (format!("{begin}S 250 2.1.5 first\nS 452 4.2.2 full\nC QUIT\nS 221 bye"), "+ 550 452", true),
        (format!("{begin}S 250 2.1.5 first\nDROP"), "+ 550 B", false),
        (format!("{begin}S 250 2.1.5 first\nS 421 going"), "+ 550 B", false),
        (format!("{begin}DROP"), "B 550 B", false),
        (
            format!(
                "{hello}C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 a\nS 550 b\nS 550 c\nS 450 d\nS 503 no\nC QUIT\nS 221 bye"
            ),
            "550 550 450",
            true,
        ),
        (
            format!("{hello}C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 a\nS 550 b\nS 550 c\nS 450 d\nS 354 go"),
            "550 550 450",
            false,
        ),
    ] {
        let (address, server) = server(&[&script]);
        let mut client = open_to(address, true, Secrecy::None, None).unwrap();
        assert_eq!((post(&mut client, TEXT.as_bytes(), 3).as_str(), client.is_usable()), (answers, usable), "{script}");
        client.quit();
        server.join().unwrap();
    }
    // What does not know LHLO is no store: a message would be answered once.
    let (address, server) = server(&["S 220 mx.example ESMTP\nC LHLO\nS 500 what"]);
    assert!(open_to(address, true, Secrecy::None, None).unwrap_err().to_string().contains("to LHLO"));
    assert_eq!(server.join().unwrap()[0], "LHLO me.example\r\n");
}
