//! `pillarboxctl import` and `export`: mail of other systems, there and back again, byte for byte.

use crate::common::{Daemon, Imap, PASSWORD, Setup, pillarboxctl, wait_for, with_input};
use pillarbox::mailbox::utf7;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

crate::tests![
    there_and_back,
    maildirs_of_others,
    mbox_files_of_others,
    an_import_is_interrupted,
    what_can_not_be_kept,
    from_a_server_with_a_certificate,
    memory_is_bounded,
];

fn append(imap: &mut Imap, folder: &str, marks: &str, date: &str, message: &[u8]) {
    let name = utf7::encode(folder);
    let head = format!("APPEND \"{name}\" ({marks}) \"{date}\" {{{}+}}\r\n", message.len());
    let tag = imap.begin(&[head.as_bytes(), message].concat()).unwrap();
    let lines = imap.finish(&tag).unwrap();
    assert!(lines.last().unwrap().starts_with(&format!("{tag} OK")), "{lines:?}");
}

/// All files below a directory, each by its path.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut todo) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => todo.push(entry.path()),
                false => drop(found.insert(entry.path().strip_prefix(dir).unwrap().to_owned(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    found
}

/// Runs the tool; what it says on success.
fn ctl(daemon: &Daemon, words: &[&str]) -> String {
    said(pillarboxctl(&daemon.config(), words, format!("{PASSWORD}\n").as_bytes()))
}

fn said(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// All mail of a user as mbox files: contents, flags, keywords, dates, order and names of folders stand in them.
fn everything(daemon: &Daemon, user: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("mbox");
    ctl(daemon, &["export", user, place.to_str().unwrap(), "--mbox"]);
    files(&place)
}

const ODD: &[&[u8]] = &[
    b"Subject: plain\r\n\r\nHello.\r\n",
    b"Subject: quoted\r\n\r\nFrom here\r\n>From there\r\n\r\nFrom a@b Thu Jan  2 03:04:05 2020\r\n\r\n>>From z\r\n",
    b"Subject: blanks at the end\r\n\r\nx\r\n\r\n\r\n",
    b"Subject: empty body\r\n\r\n",
    b"\r\nno header\r\n",
    b"this is no header at all\r\n\r\nStatus: RO\r\n",
    b"Subject: CRs\r\n\r\na\rb\r\nc\r\r\n\r\r\nd\r\n",
    b"Subject: 8 bits \xff\xfe\r\n\r\n\x80\x81\xc3\xa4\r\n",
    b"Subject: twice\r\n\r\ntwice\r\n",
    b"Subject: twice\r\n\r\ntwice\r\n",
];

fn there_and_back() {
    let users = ["alice", "bob", "carol", "dave", "eve"];
    let daemon = Setup::default().users(&users).start();
    let mut imap = daemon.imap("alice");
    let folders =
        ["INBOX", "Work", "Work/Plans v1.2", "Entw\u{fc}rfe & Ideen", "\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}", "~a\\b"];
    let marks = ["", "\\Seen", "\\Answered \\Flagged", "\\Draft \\Deleted $Later", "\\Seen $Forwarded Junk", "Work $Label1"];
    for (number, folder) in folders.iter().enumerate() {
        if number > 0 {
            imap.ok(&format!("CREATE \"{}\"", utf7::encode(folder).replace('\\', "\\\\"))).unwrap();
        }
        let quoted = folder.replace('\\', "\\\\");
        for (at, message) in ODD.iter().enumerate() {
            let date = format!("{:02}-Feb-{} 23:59:{:02} +0530", 1 + at * 2, 2024 - (at + number) % 20, at);
            append(&mut imap, &quoted, marks[(at + number) % marks.len()], &date, message);
        }
    }
    imap.ok("CREATE Empty").unwrap();
    imap.ok("LOGOUT").unwrap();
    let original = everything(&daemon, "alice");
    // And those for drafts and the like, that every user gets.
    assert!(original.len() > folders.len(), "{:?}", original.keys());
    let all = format!("{} folders\n", original.len());
    let count = folders.len() * ODD.len();

    let place = |name: &str| daemon.path(name).to_str().unwrap().to_owned();
    let (maildir, mbox) = (place("Maildir"), place("files"));
    assert!(ctl(&daemon, &["export", "alice", &maildir]).starts_with(&format!("{count} messages (")));
    assert!(ctl(&daemon, &["export", "alice", &mbox, "--mbox"]).ends_with(&format!("exported, {all}")));
    let url = format!("imap://alice@{}/", daemon.at("imap"));
    for (user, from) in [("bob", maildir.as_str()), ("carol", mbox.as_str()), ("dave", url.as_str())] {
        let first = ctl(&daemon, &["import", user, from]);
        assert!(
            first.starts_with(&format!("{count} messages (")) && first.ends_with(&format!("0 there already, {all}")),
            "{first}"
        );
        assert_eq!(everything(&daemon, user), original, "by {from}");
        assert_eq!(daemon.mail(user), daemon.mail("alice"));
        // Again: nothing is doubled, and of what is equal in the source as many are there.
        let second = ctl(&daemon, &["import", user, from]);
        assert_eq!(second, format!("0 messages (0) imported, {count} there already, {all}"));
        assert_eq!(everything(&daemon, user), original, "by {from}, twice");
    }
    // What wire form is was not asked of ourselves only.
    let bodies = daemon.mail("alice");
    assert_eq!(bodies, ODD.iter().map(|message| message.to_vec()).collect::<Vec<_>>());

    // Below another folder, with JSON; and nothing is written where something is.
    let told = ctl(&daemon, &["import", "eve", &maildir, "Old", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((told["imported"].as_u64(), told["folders"].as_u64()), (Some(count as u64), Some(original.len() as u64)));
    let moved = everything(&daemon, "eve");
    assert_eq!(moved[Path::new("Old/Work.mbox")], original[Path::new("Work.mbox")]);
    assert_eq!(moved[Path::new("Old.mbox")], original[Path::new("INBOX.mbox")]);
    assert_eq!(daemon.ctl(&["export", "alice", &maildir]).status.code(), Some(73));
}

fn maildirs_of_others() {
    let daemon = Setup::default().start();
    let root = daemon.path("old");
    let put = |path: &str, text: &str, second: u64| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second)).unwrap();
    };
    // Delivered then, copied later without its times.
    put("cur/1577934245.M1P1.host,S=9:2,RSa", "A: 1\n\n1\n", 1_700_000_000);
    put("cur/1577934246.M1P1.host:2,PTb", "A: 2\n\n2\n", 1_577_934_246);
    put("new/1577934247.M1P1.host", "A: 3\n\n3\n", 1_577_934_247);
    put("new/1577934248.M1P1.host", "A: no body", 1_577_934_248);
    put("tmp/1577934249.M1P1.host", "A: 4\n\nnot whole", 1_577_934_248);
    put("dovecot-keywords", "0 $Work\n2 other\n", 0);
    put("dovecot-uidlist", "3 V1\n", 0);
    fs::create_dir_all(root.join(".Sent.2020&AOQ-/cur")).unwrap();
    // As Dovecot's LAYOUT=fs has it.
    put("Plain/Inner/cur/1577934249.x:2,F", "A: 5\n\n5\n", 1_577_934_249);
    assert!(ctl(&daemon, &["import", "alice", root.to_str().unwrap()]).contains("0 there already, 3 folders"));
    assert!(ctl(&daemon, &["import", "alice", root.to_str().unwrap()]).contains("(0) imported, 5 there already, 3 folders"));
    let all = everything(&daemon, "alice");
    let names: Vec<&str> = all.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["INBOX.mbox", "Plain/Inner.mbox", "Sent/2020\u{e4}.mbox"]);
    let from = "From MAILER-DAEMON Thu Jan  2 03:04:0";
    let expected = format!(
        "{from}5 2020\nA: 1\nStatus: RO\nX-Status: A\nX-Keywords: $Work\n\n1\n\n\
         {from}6 2020\nA: 2\nStatus: O\nX-Status: D\nX-Keywords: $Forwarded\n\n2\n\n\
         {from}7 2020\nA: 3\nStatus: O\n\n3\n\n\
         {from}8 2020\nA: no body\nStatus: O\n\n\n"
    );
    assert_eq!(String::from_utf8_lossy(&all[Path::new("INBOX.mbox")]), expected);
}

fn mbox_files_of_others() {
    let daemon = Setup::default().start();
    let root = daemon.path("old");
    fs::create_dir_all(root.join("Work.sbd")).unwrap();
    let from = "From a@b.test Thu Jan  2 03:04:05 2020\n";
    fs::write(root.join("Work"), format!("{from}A: 1\nStatus: RO\nX-Status: F\nX-Keywords: x, y\nContent-Length: 2\n\n1\n\n"))
        .unwrap();
    fs::write(root.join("Work.msf"), "// an index\n").unwrap();
    fs::write(root.join(".hidden"), "x").unwrap();
    fs::write(root.join("Work.sbd/Inner"), format!("{from}A: 2\n\n>From 2\n")).unwrap();
    fs::write(root.join("Empty"), "").unwrap();
    ctl(&daemon, &["import", "alice", root.to_str().unwrap()]);
    let all = everything(&daemon, "alice");
    let names: Vec<&str> = all.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["Empty.mbox", "INBOX.mbox", "Work/Inner.mbox", "Work.mbox"]);
    let from = "From MAILER-DAEMON Thu Jan  2 03:04:05 2020\n";
    let expected = format!("{from}A: 1\nStatus: RO\nX-Status: F\nX-Keywords: x y\n\n1\n\n");
    assert_eq!(String::from_utf8_lossy(&all[Path::new("Work.mbox")]), expected);
    assert_eq!(String::from_utf8_lossy(&all[Path::new("Work/Inner.mbox")]), format!("{from}A: 2\nStatus: O\n\n>From 2\n\n"));
    fs::write(root.join("x"), "no mailbox\n").unwrap();
    for (path, code) in [(root.join("x"), 65), (root.join("none"), 66)] {
        assert_eq!(daemon.ctl(&["import", "alice", path.to_str().unwrap()]).status.code(), Some(code), "{path:?}");
    }
    assert_eq!(daemon.ctl(&["import", "nobody", root.to_str().unwrap()]).status.code(), Some(67));
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let message = |n| format!("From a@b.test Thu Jan  2 03:04:05 2020\nSubject: {n}\n\n{n}\n\n");
    numbers.map(message).collect::<String>().into_bytes()
}

/// The source is a pipe, so it is known how far the tool has come when it is killed.
fn an_import_is_interrupted() {
    let daemon = Setup::default().start();
    let pipe = daemon.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
    command.arg("-f").arg(daemon.config()).args(["import", "alice"]).arg(&pipe);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut into = File::options().write(true).open(&pipe).unwrap();
    into.write_all(&numbered(0..600)).unwrap();
    wait_for("the first messages", 60, || (daemon.mail("alice").len() == 500).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(daemon.mail("alice").len(), 500, "what was not committed is not there");
    let whole = daemon.path("whole");
    fs::write(&whole, numbered(0..600)).unwrap();
    let said = ctl(&daemon, &["import", "alice", whole.to_str().unwrap()]);
    assert!(said.starts_with("100 messages (") && said.contains(" imported, 500 there already"), "{said}");
    let subjects: Vec<String> = daemon.mail("alice").iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    assert!(subjects.iter().enumerate().all(|(n, text)| *text == format!("Subject: {n}\r\n\r\n{n}\r\n")));
}

fn what_can_not_be_kept() {
    let daemon = Setup::default().start();
    let from = "From a@b.test Thu Jan  2 03:04:05 2020\n";
    let many = (0..70).map(|n| format!("k{n}")).collect::<Vec<_>>().join(" ");
    let path = daemon.path("source");
    let text = format!(
        "{from}Message-ID: <a>\n\na\n\n{from}Message-ID: <bad>\n\n\0\n\n{from}Message-ID: <c>\nX-Keywords: {many}\n\nc\n\n{from}Message-ID: <d>\n\nd\n"
    );
    fs::write(&path, text).unwrap();
    let output = daemon.ctl(&["import", "alice", path.to_str().unwrap()]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(65), "{err}");
    assert!(out.starts_with("3 messages ("), "{out}");
    assert!(err.contains("not imported: <bad> in INBOX: message has a NUL") && err.contains("1 message lost keywords"), "{err}");
    assert_eq!(daemon.mail("alice").len(), 3);
}

fn from_a_server_with_a_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&key).unwrap().pem();
    let own = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let made = params.signed_by(&own, &rcgen::Issuer::from_params(&authority, &key)).unwrap();
    let daemon = Setup::default().config("[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n").prepare();
    let mut daemon = daemon;
    for (name, text) in [("cert.pem", made.pem()), ("key.pem", own.serialize_pem()), ("ca.pem", root)] {
        fs::write(daemon.path(name), text).unwrap();
    }
    daemon.start();
    append(&mut daemon.imap("alice"), "INBOX", "\\Seen", "02-Jan-2020 03:04:05 +0000", ODD[0]);
    let import = |scheme: &str, listener: &str, authorities: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
        command.env("SSL_CERT_FILE", daemon.path(authorities)).env_remove("SSL_CERT_DIR").arg("-f").arg(daemon.config());
        command.args(["import", "bob", &format!("{scheme}://alice@localhost:{}", daemon.at(listener).port())]);
        with_input(command, format!("{PASSWORD}\n").as_bytes())
    };
    // Its own certificate is not that of an authority.
    let refused = import("imaps", "imaps", "cert.pem");
    assert!(!refused.status.success() && daemon.mail("bob").is_empty(), "{refused:?}");
    assert!(said(import("imaps", "imaps", "ca.pem")).starts_with("1 message ("));
    assert!(said(import("imap", "imap", "cert.pem")).starts_with("0 messages (0) imported, 1 there already"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
    command.arg("-f").arg(daemon.config()).args(["import", "bob", &format!("imap://alice@{}", daemon.at("imap"))]);
    let denied = with_input(command, b"wrong\n");
    assert!(!denied.status.success(), "{denied:?}");
}

/// The most memory that a process had, in MiB; none once it has ended.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib >> 10)
}

/// Of messages of one MiB; set `PILLARBOX_CARRY_MESSAGES` for more of them.
fn memory_is_bounded() {
    let count = std::env::var("PILLARBOX_CARRY_MESSAGES").map_or(100, |count| count.parse().unwrap());
    let daemon = Setup::default().start();
    let source = daemon.path("big");
    let mut file = std::io::BufWriter::new(File::create(&source).unwrap());
    let body = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n".repeat(1 << 14);
    for number in 0..count {
        write!(file, "From a@b.test Thu Jan  2 03:04:05 2020\nSubject: {number}\n\n{body}\n").unwrap();
    }
    file.flush().unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
        command.arg("-f").arg(daemon.config()).args(words);
        let begun = std::time::Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut most = 0;
        let status = wait_for("the tool", 280, || {
            most = peak(child.id()).unwrap_or(0).max(most);
            child.try_wait().unwrap()
        });
        assert!(status.success());
        let server = peak(daemon.pid() as u32).unwrap();
        crate::runner::note(format!("{} of {count} MiB: {most} MiB, the daemon {server} MiB, {:?}", words[0], begun.elapsed()));
        assert!(most < 48 && server < 96, "{words:?}: {most} MiB, the daemon {server} MiB");
    };
    let (source, target) = (source.to_str().unwrap().to_owned(), daemon.path("out"));
    run(&["import", "alice", &source]);
    run(&["import", "alice", &source]);
    run(&["export", "alice", target.to_str().unwrap()]);
    assert_eq!(fs::read_dir(target.join("cur")).unwrap().count(), count);
}
