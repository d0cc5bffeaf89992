//! What users may hand in once they have logged in: under which sender, and how much.

use crate::common::{Daemon, PASSWORD, Setup, Smtp, letter, tool, with_input};

crate::tests![senders_belong_to_logins, a_user_sends_so_much, any_sender_if_it_is_said];

fn logged_in(daemon: &Daemon, name: &str) -> Smtp {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in(name, PASSWORD).unwrap().starts_with("235"));
    smtp
}

fn senders_belong_to_logins() {
    let more = "[[sender]]\nuser = \"alice\"\naddresses = [\"sales@elsewhere.test\", \"shop.test\"]\n";
    let daemon = Setup::default().config(more).start();
    let mut smtp = logged_in(&daemon, "alice");
    let table = [
        ("alice@here.test", true),
        ("Alice+list@here.test", true),
        ("alice@mail.here.test", false),
        ("bob@here.test", false),
        ("nobody@here.test", false),
        ("alice@elsewhere.test", false),
        ("sales@elsewhere.test", true),
        ("x@shop.test", true),
        // She is the first user, and so the postmaster here.
        ("postmaster@here.test", true),
        ("", true),
    ];
    for (sender, may) in table {
        let reply = smtp.send(sender, &["bob@here.test"], &letter("x", "x")).unwrap();
        let expected = if may { "250 2.0.0" } else { "550 5.7.1 This sender address is not yours" };
        assert!(reply.starts_with(expected), "{sender}: {reply}");
    }
    assert_eq!(daemon.mail("bob").len(), 6);
    let reply = logged_in(&daemon, "bob").send("sales@elsewhere.test", &["bob@here.test"], &letter("x", "x")).unwrap();
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    // Other hosts are not asked for a password; programs here may name any sender.
    assert!(daemon.send(&["bob@here.test"], &letter("x", "x")).starts_with("250"));
    let mut sendmail = std::process::Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
    sendmail.arg("-f").arg(daemon.config()).args(["sendmail", "-f", "list-bounces@elsewhere.test", "bob@here.test"]);
    let output = with_input(sendmail, b"Subject: x\n\nx\n");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(daemon.mail("bob").len(), 8);
}

fn any_sender_if_it_is_said() {
    let daemon = Setup::options(&["submission.senders=any"]).start();
    let reply = logged_in(&daemon, "alice").send("bob@elsewhere.test", &["bob@here.test"], &letter("x", "x")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// The fourth recipient within an hour is refused, whichever session asks, with others' mail as before; a client as people
/// use it sends to those who were accepted.
fn a_user_sends_so_much() {
    let daemon = Setup::options(&["submission.per_hour=3"]).start();
    let mut smtp = logged_in(&daemon, "alice");
    assert!(smtp.send("alice@here.test", &["bob@here.test"], &letter("one", "x")).unwrap().starts_with("250"));
    let mut swaks = tool("swaks");
    swaks.args(["--server", &daemon.at("submission").to_string(), "--timeout", "30s", "--auth", "PLAIN", "--auth-user", "alice"]);
    swaks.args(["--auth-password", PASSWORD, "--from", "alice@here.test", "--to", "bob@here.test,alice@here.test,x@away.test"]);
    let output = swaks.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("450 4.7.1 Too many recipients for now") && said.contains("250 2.0.0"), "{said}");
    assert_eq!((daemon.mail("bob").len(), daemon.mail("alice").len()), (2, 1));
    let reply = smtp.send("alice@here.test", &["bob@here.test"], &letter("four", "x")).unwrap();
    assert!(reply.starts_with("450 4.7.1"), "{reply}");
    assert!(logged_in(&daemon, "bob").send("bob@here.test", &["bob@here.test"], &letter("x", "x")).unwrap().starts_with("250"));
    assert!(daemon.send(&["bob@here.test"], &letter("x", "x")).starts_with("250"));
}
