//! Aliases, virtual addresses and details, from the file to the mailbox, through the daemon and its tools.

use crate::common::{Daemon, Setup, Sink, examples, letter, run, wait_for};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

crate::tests![
    names_stand_for_others,
    changes_are_picked_up_and_mistakes_kept_out,
    virtual_addresses_and_a_catch_all,
    a_detail_is_a_folder,
    what_senders_hear,
    ten_thousand_are_one_letter,
    what_is_sent_on_comes_back_to_who_sent_it,
    the_examples_of_the_page,
];

fn write(path: &Path, text: &str) {
    // As an editor does it.
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(new, path).unwrap();
}

fn subjects(daemon: &Daemon, user: &str) -> Vec<String> {
    let field = |message: &Vec<u8>| {
        let text = String::from_utf8_lossy(message).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned()
    };
    daemon.mail(user).iter().map(field).collect()
}

fn route(daemon: &Daemon, address: &str) -> String {
    let output = daemon.ctl(&["route", address]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn names_stand_for_others() {
    let sink = Sink::start();
    let config = format!("[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n", sink.address);
    let mut daemon = Setup::default().config(&config).users(&["alice", "bob", "carol"]).prepare();
    let (list, filed) = (daemon.path("members"), daemon.path("filed"));
    write(&list, "# who else\ncarol, \"x y\"@far.test\n");
    write(
        &daemon.path("aliases"),
        &format!(
            "# aliases\nTeam: alice,\n  bob, :include:{}\nroot: alice\nloop: pool\npool: loop, bob\nround: square\nsquare: round\n\
             \"two words\": carol\nfiled: {}\nthrown: /dev/null\nalice: alice, bob\n",
            list.display(),
            filed.display()
        ),
    );
    daemon.start();
    for (to, subject) in [("team", "to the team"), ("ROOT", "to root"), ("pool", "in a circle"), ("\"two words\"", "quoted")] {
        assert!(daemon.send(&[&format!("{to}@here.test")], &letter(subject, "text")).starts_with("250"), "{to}");
    }
    assert!(daemon.send(&["team@here.test", "bob@here.test"], &letter("twice", "text")).starts_with("250"));
    // An alias of a user's own name does not lead back to itself.
    wait_for("the mail", 30, || {
        let got = ["alice", "bob", "carol"].map(|user| subjects(&daemon, user));
        let right = [
            vec!["to the team", "to root", "twice"],
            vec!["to the team", "to root", "in a circle", "twice"],
            vec!["to the team", "quoted", "twice"],
        ];
        (got == right.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>())).then_some(())
    });
    wait_for("the mail that goes on", 30, || (sink.arrived().len() == 2).then_some(()));
    assert!(
        sink.arrived().iter().all(|arrived| arrived.to.len() == 1 && arrived.to[0].starts_with("<\"x y\"@far.test>")),
        "{:?}",
        sink.arrived().len()
    );
    let unknown = daemon.smtp().send("sender@sender.test", &["nobody-here@here.test"], &letter("x", "x")).unwrap();
    assert!(unknown.starts_with("550"), "{unknown}");
    // What leads nowhere but in a circle comes back, and what is thrown away does not.
    assert!(daemon.send(&["round@here.test"], &letter("nowhere", "x")).starts_with("250"));
    assert!(daemon.send(&["thrown@here.test"], &letter("away", "x")).starts_with("250"));
    daemon.wait_for_log(30, "5.4.6 The message goes in a circle.");
    wait_for("an empty queue", 30, || {
        (!daemon.queue().iter().any(|message| message.to_string().contains("@here.test"))).then_some(())
    });
    let told = route(&daemon, "team@here.test");
    for line in ["team: ", "  alice: ", "mailbox of alice", "mailbox of bob", "mailbox of carol", "\"x y\"@far.test: to the host"]
    {
        assert!(told.contains(line), "{line}: {told}");
    }
}

fn changes_are_picked_up_and_mistakes_kept_out() {
    let mut daemon = Setup::default().prepare();
    daemon.start();
    let send = |daemon: &Daemon, to: &str| daemon.smtp().send("sender@sender.test", &[to], &letter(to, "text")).unwrap();
    assert!(send(&daemon, "sales@here.test").starts_with("550"));
    write(&daemon.path("aliases"), "sales: bob\n");
    wait_for("the new file", 30, || send(&daemon, "sales@here.test").starts_with("250").then_some(()));
    let check = |daemon: &Daemon| {
        let output = daemon.ctl(&["aliases", "check"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(&daemon).0, Some(0), "{:?}", check(&daemon));
    // A file that is half written: what was known stays, and nobody is unknown.
    write(&daemon.path("aliases"), "sales alice\nsupport: \"bob\n");
    wait_for("the mistake to be seen", 30, || send(&daemon, "support@here.test").starts_with('4').then_some(()));
    assert!(send(&daemon, "sales@here.test").starts_with("250"));
    let (code, said) = check(&daemon);
    assert_eq!(code, Some(65));
    assert!(said.contains("aliases: line 1: a colon is missing after the name") && said.contains("line 2: "), "{said}");
    // Who else could write to it could have anybody's mail.
    write(&daemon.path("aliases"), "support: bob\n");
    wait_for("the mended file", 30, || send(&daemon, "support@here.test").starts_with("250").then_some(()));
    assert!(send(&daemon, "sales@here.test").starts_with("550"));
    fs::set_permissions(daemon.path("aliases"), fs::Permissions::from_mode(0o666)).unwrap();
    wait_for("it to be refused", 30, || {
        assert!(send(&daemon, "support@here.test").starts_with("250"));
        daemon.log().contains("others can write to it").then_some(())
    });
}

fn virtual_addresses_and_a_catch_all() {
    let mut daemon = Setup { domains: vec!["here.test".into(), "shop.test".into()], ..Setup::default() }.prepare();
    write(&daemon.path("aliases"), "sales: alice\n");
    write(&daemon.path("virtual"), "info@shop.test  bob, sales\n@shop.test alice\n");
    daemon.start();
    for to in ["INFO@shop.test", "whoever@shop.test", "bob@shop.test"] {
        assert!(daemon.send(&[to], &letter(to, "text")).starts_with("250"), "{to}");
    }
    assert!(daemon.smtp().send("sender@sender.test", &["info@here.test"], &letter("x", "x")).unwrap().starts_with("550"));
    wait_for("the mail", 30, || {
        let (alice, bob) = (subjects(&daemon, "alice"), subjects(&daemon, "bob"));
        (alice == ["INFO@shop.test", "whoever@shop.test"] && bob == ["INFO@shop.test", "bob@shop.test"]).then_some(())
    });
    assert!(route(&daemon, "info@shop.test").contains("mailbox of bob"));
}

fn a_detail_is_a_folder() {
    let mut daemon = Setup::options(&["detail=\"folder\""]).prepare();
    daemon.start();
    let mut imap = daemon.imap("alice");
    imap.ok("CREATE Lists").unwrap();
    for to in ["alice+lists@here.test", "alice+unknown@here.test", "alice@here.test"] {
        assert!(daemon.send(&[to], &letter(to, "text")).starts_with("250"), "{to}");
    }
    let count = |imap: &mut crate::common::Imap, folder: &str| {
        let lines = imap.ok(&format!("STATUS {folder} (MESSAGES)")).unwrap();
        lines[0].trim_end_matches(')').rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    wait_for("the mail", 30, || (count(&mut imap, "INBOX") == 2 && count(&mut imap, "Lists") == 1).then_some(()));
}

/// RFC 3461 §5.2.7.3: it went to several; nobody says more of them.
fn what_senders_hear() {
    let mut daemon = Setup::default().users(&["alice", "bob", "carol"]).prepare();
    write(&daemon.path("aliases"), "team: alice, bob\n");
    daemon.start();
    let mut smtp = daemon.smtp();
    smtp.expect("MAIL FROM:<carol@here.test> RET=HDRS ENVID=one", "250").unwrap();
    smtp.expect("RCPT TO:<team@here.test> NOTIFY=SUCCESS,FAILURE", "250").unwrap();
    smtp.expect("DATA", "354").unwrap();
    smtp.talk.send(b"Subject: x\r\n\r\nx\r\n.\r\n").unwrap();
    assert!(smtp.reply().unwrap().starts_with("250"));
    let report = daemon.wait_for_mail("carol", 1, 30).remove(0);
    let report = String::from_utf8(report).unwrap();
    for line in ["Action: expanded", "Final-Recipient: rfc822; team@here.test", "Original-Envelope-Id: one"] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(!report.contains("alice"), "who is on it is nobody's business: {report}");
}

/// All of them or none, whenever the daemon is killed.
fn ten_thousand_are_one_letter() {
    let sink = Sink::start();
    let config =
        format!("[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n", sink.address);
    let mut daemon = Setup::default().config(&config).prepare();
    let members: String = (0..10_000).map(|number| format!("m{number}@far.test\n")).collect();
    write(&daemon.path("members"), &members);
    write(&daemon.path("aliases"), &format!("all: :include:{}\n", daemon.path("members").display()));
    daemon.pin_ports();
    daemon.start();
    assert!(daemon.send(&["all@here.test"], &letter("to all", "text")).starts_with("250"));
    for _ in 0..3 {
        daemon.kill();
        daemon.start();
    }
    let arrived = wait_for("all of them", 120, || {
        let mut arrived: Vec<String> = sink.arrived().into_iter().flat_map(|arrived| arrived.to).collect();
        arrived.sort();
        arrived.dedup();
        (arrived.len() == 10_000).then_some(arrived)
    });
    assert!(arrived.iter().all(|argument| argument.contains("@far.test>")));
}

/// By the Sender Rewriting Scheme.
fn what_is_sent_on_comes_back_to_who_sent_it() {
    let sink = Sink::start();
    let route = |domain: &str| format!("[[route]]\ndomain = \"{domain}\"\nhost = \"{}\"\n", sink.address);
    let mut daemon = Setup::default().config(&(route("far.test") + &route("origin.test"))).prepare();
    write(&daemon.path("aliases"), "friend: friend@far.test\n");
    daemon.pin_ports();
    daemon.start();
    let send = |daemon: &Daemon, from: &str, to: &str| daemon.smtp().send(from, &[to], &letter(from, "text")).unwrap();
    assert!(send(&daemon, "a@origin.test", "friend@here.test").starts_with("250"));
    let (from, to) =
        wait_for("the mail that goes on", 30, || sink.arrived().first().map(|one| (one.from.clone(), one.to.clone())));
    let rewritten = from.trim_start_matches('<').split('>').next().unwrap();
    assert!(rewritten.starts_with("SRS0=") && rewritten.ends_with("=origin.test=a@here.test"), "{from}");
    assert!(to[0].starts_with("<friend@far.test>"), "{to:?}");
    // The key is the same for as long as the spool is.
    daemon.kill();
    daemon.start();
    assert!(send(&daemon, "", rewritten).starts_with("250"));
    // What went on before the kill may go on once more.
    let returned = || sink.arrived().into_iter().find(|one| one.from.starts_with("<>"));
    let returned = wait_for("what comes back", 30, returned);
    assert!(returned.to[0].starts_with("<a@origin.test>"), "{:?}", returned.to);
    // Nobody else can have mail sent to others by such an address.
    assert!(send(&daemon, "", &rewritten.replace("=a@", "=b@")).starts_with("550"));
    assert!(send(&daemon, "", "SRS0=aaaaaa=AA=origin.test=a@here.test").starts_with("550"));
}

/// What aliases(5) shows is understood as it says, and newaliases(1) tells so.
fn the_examples_of_the_page() {
    let blocks = examples("aliases.5");
    let [aliases, addresses] = blocks.as_slice() else { panic!("{blocks:?}") };
    let mut daemon = Setup::default().prepare();
    write(&daemon.path("aliases"), &format!("{aliases}sales: bob\n"));
    write(&daemon.path("virtual"), addresses);
    daemon.start();
    for (address, ends) in [
        ("PostMaster@here.test", vec!["mailbox of alice"]),
        ("Team@here.test", vec!["mailbox of alice", "mailbox of bob", "carol@example.org: by DNS"]),
        ("info@example.org", vec!["mailbox of alice", "mailbox of bob"]),
        ("anybody@shop.example", vec!["mailbox of bob"]),
    ] {
        let told = route(&daemon, address);
        let count = told.matches("mailbox of").count() + told.matches(": by DNS").count();
        assert!(count == ends.len() && ends.iter().all(|end| told.contains(end)), "{address}: {told}");
    }
    let newaliases = daemon.path("newaliases");
    symlink(env!("CARGO_BIN_EXE_pillarboxctl"), &newaliases).unwrap();
    let said = run(Command::new(&newaliases).args(["-v", "-C"]).arg(daemon.config())).stdout;
    for line in ["aliases: 4 aliases, longest 29 bytes", "virtual: 2 addresses, longest 12 bytes"] {
        assert!(String::from_utf8_lossy(&said).contains(line), "{}", String::from_utf8_lossy(&said));
    }
    write(&daemon.path("aliases"), "postmaster: root\nteam alice\n");
    let output = Command::new(&newaliases).arg("-C").arg(daemon.config()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(65) && said.contains("aliases: line 2: a colon is missing"), "{said}");
}
