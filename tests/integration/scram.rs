//! SCRAM-SHA-256 (RFC 7677) with other clients: GNU SASL's, and one in Python that can also do wrong.

use crate::common::{Daemon, PASSWORD, Setup, run, tool};
use std::fs;
use std::process::{Command, Stdio};

crate::tests![gsasl_logs_in, python_logs_in_everywhere, offered_only_when_all_can_have_it, who_is_unknown_cannot_be_told];

/// Does GNU SASL log in? With TLS it binds to it (tls-exporter, RFC 9266).
fn gsasl(daemon: &Daemon, protocol: &str, mechanism: &str, password: &str) -> bool {
    let at = daemon.at(if protocol == "smtp" { "submission" } else { protocol });
    let unlimited = tool("gsasl");
    let mut gsasl = Command::new("timeout");
    gsasl.envs(unlimited.get_envs().filter_map(|(name, value)| Some((name, value?))));
    gsasl.arg("60").arg(unlimited.get_program());
    gsasl.args([&format!("--{protocol}"), &format!("--connect={at}"), "--mechanism", mechanism]);
    let encrypted = mechanism.ends_with("-PLUS");
    gsasl.args(if encrypted { ["--starttls", "--x509-ca-file="] } else { ["--no-starttls", "--no-cb"] });
    gsasl.args(["--authentication-id=alice", "--authorization-id=", &format!("--password={password}")]);
    gsasl.stdin(Stdio::null());
    let output = gsasl.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output.status.success() || {
        crate::runner::note(said);
        false
    }
}

fn gsasl_logs_in() {
    let daemon = Setup::default().start();
    // By SMTP it waits for ever when it is to begin TLS.
    let ways = [("imap", "SCRAM-SHA-256"), ("imap", "SCRAM-SHA-256-PLUS"), ("smtp", "SCRAM-SHA-256")];
    for (number, (protocol, mechanism)) in ways.into_iter().enumerate() {
        assert!(gsasl(&daemon, protocol, mechanism, PASSWORD), "{protocol} {mechanism}");
        assert_eq!(daemon.log().matches("auth ok user=alice").count(), number + 1);
    }
    assert!(!gsasl(&daemon, "imap", "SCRAM-SHA-256", "wrong"));
    assert!(daemon.log().contains("auth failed user=alice peer=127.0.0.1 service=imap"));
}

/// Logs in by SCRAM; what is printed is how it ended. Arguments: protocol, port, tls or not, the first flag of the GS2 header,
/// name, password.
const CLIENT: &str = r#"
import base64, hashlib, hmac, socket, ssl, sys
protocol, port, tls, flag, name, password = sys.argv[1:]
sock = socket.create_connection(('127.0.0.1', int(port)), 60)
data = b''
if tls == 'tls':
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = context.wrap_socket(sock)
    # RFC 5929: of a certificate signed with SHA-256.
    if flag.startswith('p='):
        data = hashlib.sha256(sock.getpeercert(True)).digest()
if flag == 'p=tls-server-end-point-of-another':
    flag, data = 'p=tls-server-end-point', hashlib.sha256(b'another').digest()
file = sock.makefile('rb')
def line():
    return file.readline().decode().rstrip('\r\n')
def send(text):
    sock.sendall(text.encode() + b'\r\n')
line()
mechanism = 'SCRAM-SHA-256' + ('-PLUS' if flag.startswith('p=') else '')
if protocol == 'smtp':
    send('EHLO client.test')
    while line()[3] != ' ':
        pass
send({'imap': 'a AUTHENTICATE ', 'smtp': 'AUTH ', 'pop3': 'AUTH '}[protocol] + mechanism)
def challenge():
    answer = line()
    for prefix in ('+ ', '334 '):
        if answer.startswith(prefix):
            return base64.b64decode(answer[len(prefix):]).decode()
    print(answer)
    sys.exit()
def respond(text):
    send(base64.b64encode(text.encode()).decode())
assert challenge() == ''
header, bare = flag + ',,', 'n=' + name + ',r=fyko+d2lbbFgONRv9qkxdawL'
respond(header + bare)
first = challenge()
fields = dict(field.split('=', 1) for field in first.split(','))
assert fields['r'].startswith('fyko+d2lbbFgONRv9qkxdawL') and len(fields['r']) > 40
if password == 'salt?':
    print(fields['s'], fields['i'])
    sys.exit()
salted = hashlib.pbkdf2_hmac('sha256', password.encode(), base64.b64decode(fields['s']), int(fields['i']))
sign = lambda key, text: hmac.new(key, text, 'sha256').digest()
client = sign(salted, b'Client Key')
without = 'c=' + base64.b64encode(header.encode() + data).decode() + ',r=' + fields['r']
whole = (bare + ',' + first + ',' + without).encode()
signature = sign(hashlib.sha256(client).digest(), whole)
proof = bytes(a ^ b for a, b in zip(client, signature))
respond(without + ',p=' + base64.b64encode(proof).decode())
assert challenge() == 'v=' + base64.b64encode(sign(sign(salted, b'Server Key'), whole)).decode()
respond('')
print(line())
"#;

fn python(daemon: &Daemon, listener: &str, flag: &str, name: &str, password: &str) -> String {
    let protocol = match listener {
        "submission" | "submissions" => "smtp",
        other => other.trim_end_matches('s'),
    };
    let tls = if listener.ends_with('s') { "tls" } else { "plain" };
    let port = daemon.at(listener).port().to_string();
    let output = run(tool("python3").arg("-c").arg(CLIENT).args([protocol, &port, tls, flag, name, password]));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn python_logs_in_everywhere() {
    for (listener, ok, wrong, bad) in [
        ("imap", "a OK", "a NO [AUTHENTICATIONFAILED]", "a BAD"),
        ("submission", "235 ", "535 5.7.8", "501 "),
        ("pop3", "+OK", "-ERR [AUTH]", "-ERR"),
    ] {
        // Of its own, so that wrong passwords do not make others wait.
        let daemon = Setup::default().start();
        let encrypted = format!("{listener}s");
        let is = |listener: &str, flag: &str, password: &str, expected: &str| {
            let answer = python(&daemon, listener, flag, "alice", password);
            assert!(answer.starts_with(expected), "{listener} {flag} {password}: {answer}");
        };
        is(listener, "n", PASSWORD, ok);
        // What the server can't, the client may believe that it can't.
        is(listener, "y", PASSWORD, ok);
        is(&encrypted, "n", PASSWORD, ok);
        is(&encrypted, "p=tls-server-end-point", PASSWORD, ok);
        is(listener, "n", "wrong", wrong);
        is(&encrypted, "p=tls-server-end-point-of-another", PASSWORD, wrong);
        // Somebody hid our -PLUS from it, or it is not encrypted, or by what we do not have.
        is(&encrypted, "y", PASSWORD, wrong);
        is(listener, "p=tls-server-end-point", PASSWORD, wrong);
        is(&encrypted, "p=tls-unique", PASSWORD, wrong);
        is(listener, "x", PASSWORD, bad);
    }
}

/// A users file from before has no such keys: who has such a line logs in by other ways, and clients are not misled.
fn offered_only_when_all_can_have_it() {
    let daemon = Setup::default().start();
    assert!(daemon.smtp().command("EHLO x").is_ok());
    let capabilities = |daemon: &Daemon| {
        let mut imap = crate::common::Imap::connect(daemon.at("imap")).unwrap();
        imap.ok("CAPABILITY").unwrap().remove(0)
    };
    assert!(capabilities(&daemon).contains("AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN"));
    let path = daemon.path("users");
    let text = fs::read_to_string(&path).unwrap();
    let old: String = text
        .lines()
        .map(|line| match line.split_once(",$scram") {
            Some((before, after)) if line.starts_with("bob:") => format!("{before}{}\n", &after[after.find(':').unwrap()..]),
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(old.len() < text.len());
    fs::write(&path, &old).unwrap();
    assert!(!capabilities(&daemon).contains("SCRAM"));
    daemon.imap("bob").ok("NOOP").unwrap();
    assert!(python(&daemon, "imap", "n", "alice", PASSWORD).starts_with("a OK"));
    assert!(python(&daemon, "imap", "n", "bob", PASSWORD).starts_with("a NO [AUTHENTICATIONFAILED]"));
    // A new password comes with new keys.
    let output = crate::common::pillarboxctl(&daemon.config(), &["user", "passwd", "bob"], b"new one\n");
    assert!(output.status.success(), "{output:?}");
    assert!(capabilities(&daemon).contains("AUTH=SCRAM-SHA-256"));
    assert!(python(&daemon, "imap", "n", "bob", "new one").starts_with("a OK"));
}

/// An unknown name has a salt as if it were known, the same at each start, in any case.
fn who_is_unknown_cannot_be_told() {
    let mut daemon = Setup::default().start();
    let salt = |daemon: &Daemon, name: &str| python(daemon, "imap", "n", name, "salt?");
    let (known, unknown) = (salt(&daemon, "alice"), salt(&daemon, "nobody"));
    assert_eq!((known.len(), known.rsplit(' ').next()), (unknown.len(), unknown.rsplit(' ').next()));
    assert_ne!(known, unknown);
    assert_ne!(salt(&daemon, "another"), unknown);
    daemon.stop();
    daemon.start();
    assert_eq!(salt(&daemon, "NoBody"), unknown);
    assert_eq!(salt(&daemon, "ALICE"), known);
    assert!(python(&daemon, "imap", "n", "nobody", PASSWORD).starts_with("a NO [AUTHENTICATIONFAILED]"));
}
