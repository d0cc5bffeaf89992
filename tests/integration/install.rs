//! What `make install` puts on a host: every file works where it lies, and `make uninstall` takes it away again.

use crate::common::{Daemon, Imap, PASSWORD, Pop3, Setup, Smtp, find_tool, run, tool, top};
use crate::runner::skip;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

crate::tests![
    what_is_installed_is_removed,
    configuration_is_not_overwritten,
    the_pages_are_clean,
    the_unit_is_clean,
    fail2ban_sees_who_guesses
];

/// `make`, with the programs that this test was built with, into a directory that stands for the root of a host.
fn make(target: &str, root: &Path) {
    if find_tool("make").is_none() {
        skip("no make here");
    }
    let built = Path::new(env!("CARGO_BIN_EXE_pillarbox")).parent().unwrap();
    let mut command = Command::new("make");
    command.current_dir(top()).args(["--silent", target, "CARGO=true"]);
    command.arg(format!("BUILT={}", built.display())).arg(format!("DESTDIR={}", root.display()));
    // This test itself may have been started by a make, with other things in mind.
    run(command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("DESTDIR").env_remove("PREFIX"));
}

/// All files below, from there.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => left.push(entry.path()),
                false => drop(found.insert(entry.path().strip_prefix(root).unwrap().to_owned())),
            }
        }
    }
    found
}

fn what_is_installed_is_removed() {
    let root = tempfile::tempdir().unwrap();
    make("install", root.path());
    let there = files(root.path());
    for name in [
        "usr/local/sbin/pillarbox",
        "usr/local/sbin/sendmail",
        "usr/local/lib/sendmail",
        "usr/local/bin/mailq",
        "usr/local/share/man/man8/pillarbox.8",
        "etc/init.d/pillarbox",
        "etc/systemd/system/pillarbox.service",
        "etc/fail2ban/filter.d/pillarbox.conf",
        "etc/pillarbox/pillarbox.conf",
        "etc/aliases",
    ] {
        assert!(there.contains(Path::new(name)), "{name} is not among {there:?}");
    }
    // The links lead to the tool, by the names under which it is something else.
    for name in ["sbin/sendmail", "lib/sendmail", "bin/mailq", "bin/newaliases"] {
        let link = root.path().join("usr/local").join(name);
        assert_eq!(fs::canonicalize(&link).unwrap(), fs::canonicalize(root.path().join("usr/local/sbin/pillarboxctl")).unwrap());
    }
    // Each page of the source, and nothing else.
    let pages = |dir: &Path| files(dir).iter().map(|page| page.file_name().unwrap().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(pages(&root.path().join("usr/local/share/man")), pages(&top().join("man")));
    // Nothing in it speaks of another place.
    let unit = fs::read_to_string(root.path().join("etc/systemd/system/pillarbox.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/sbin/pillarbox\n") && !unit.contains("/usr/sbin"), "{unit}");

    make("uninstall", root.path());
    let left: Vec<PathBuf> = files(root.path()).into_iter().collect();
    assert_eq!(left, [Path::new("etc/aliases"), Path::new("etc/pillarbox/pillarbox.conf")]);
}

fn configuration_is_not_overwritten() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc/pillarbox")).unwrap();
    let ours = ["etc/pillarbox/pillarbox.conf", "etc/aliases"].map(|name| root.path().join(name));
    ours.iter().for_each(|path| fs::write(path, "# as it was\n").unwrap());
    make("install", root.path());
    ours.iter().for_each(|path| assert_eq!(fs::read_to_string(path).unwrap(), "# as it was\n"));
    // What is installed where there is none can be used.
    let table = pillarbox::mail::alias::parse(&fs::read_to_string(top().join("etc/aliases")).unwrap());
    assert!(table.wrong.is_empty() && table.entries.contains_key("postmaster"), "{:?}", table.wrong);
}

fn the_pages_are_clean() {
    let pages: BTreeSet<PathBuf> = fs::read_dir(top().join("man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let output = tool("mandoc").arg("-Tlint").args(&pages).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // It looks for the pages in the system, where ours need not be installed, nor those of others.
    let counts = |line: &&str| match line.split_once("referenced manual not found: Xr ") {
        Some((_, rest)) => {
            let name = rest.split(" (").next().unwrap().replace(' ', ".");
            name.starts_with("pillarbox") && !pages.contains(&top().join("man").join(name))
        }
        None => !line.is_empty(),
    };
    let left: Vec<&str> = said.lines().filter(counts).collect();
    assert!(left.is_empty(), "{}", left.join("\n"));
}

fn the_unit_is_clean() {
    let mut verify = tool("systemd-analyze");
    let root = tempfile::tempdir().unwrap();
    make("install", root.path());
    // It wants the commands to be there, and knows its own units only.
    let unit = root.path().join("pillarbox.service");
    let text = fs::read_to_string(root.path().join("etc/systemd/system/pillarbox.service")).unwrap();
    fs::write(&unit, text.replace("/usr/local/sbin", &root.path().join("usr/local/sbin").display().to_string())).unwrap();
    let output = verify.args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("Failed to") && said.contains("manager") {
        skip(said);
    }
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("pillarbox")).collect();
    assert!(ours.is_empty(), "{}", ours.join("\n"));
}

/// Guesses once in every protocol.
fn guess(daemon: &Daemon, name: &str) {
    let mut pop3 = Pop3::connect(daemon.at("pop3")).unwrap();
    pop3.ok(&format!("USER {name}")).unwrap();
    pop3.ok("PASS guess").unwrap_err();
    let mut imap = Imap::connect(daemon.at("imap")).unwrap();
    imap.ok(&format!("LOGIN \"{name}\" guess")).unwrap_err();
    let reply = Smtp::hello(daemon.at("submission")).unwrap().log_in(name, "guess").unwrap();
    assert!(reply.starts_with("535"), "{reply}");
}

fn fail2ban_sees_who_guesses() {
    let unpacked = top().join("target/peers/root");
    let (program, modules) = (unpacked.join("usr/bin/fail2ban-regex"), unpacked.join("usr/lib/python3/dist-packages"));
    if !program.exists() {
        skip("fail2ban is not unpacked (tests/deps.sh)");
    }
    let dir = tempfile::tempdir().unwrap();
    make("install", dir.path());
    let etc = dir.path().join("etc/fail2ban");
    fs::copy(unpacked.join("etc/fail2ban/filter.d/common.conf"), etc.join("filter.d/common.conf")).unwrap();

    let (four, six) = (Setup::default().start(), Setup { address: Ipv6Addr::LOCALHOST.into(), ..Setup::default() }.start());
    guess(&four, "alice");
    guess(&six, "nobody");
    // Who seems to be somebody else, and who is one of us.
    let mut imap = Imap::connect(four.at("imap")).unwrap();
    imap.ok("LOGIN \"x peer=203.0.113.1 service=imap\" guess").unwrap_err();
    Imap::log_in(four.at("imap"), "alice", PASSWORD).unwrap();

    // As syslog writes them.
    let lines = four.log() + &six.log();
    let lines = lines.lines().filter_map(|line| line.splitn(3, ' ').nth(2));
    let log: String = lines.map(|line| format!("Nov 28 12:00:00 mail pillarbox[123]: {line}\n")).collect();
    let file = dir.path().join("mail.log");
    fs::write(&file, &log).unwrap();
    let mut regex = tool("python3");
    regex.arg(program).env("PYTHONPATH", modules).arg("-c").arg(&etc).args(["-o", "ip"]).arg(&file).arg("pillarbox");
    let output = run(&mut regex);
    let mut seen: Vec<IpAddr> = String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().unwrap()).collect();
    seen.sort();
    let expected: Vec<IpAddr> = ["127.0.0.1"; 4].iter().chain(&["::1"; 3]).map(|address| address.parse().unwrap()).collect();
    assert_eq!(seen, expected, "{log}");
}
