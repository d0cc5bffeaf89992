//! A daemon that root starts and that gives its rights up: what its two processes are to each other, and what it still can do.

mod hijacked;

use crate::common::{Daemon, PASSWORD, Setup, Smtp, is_root, letter, wait_for};
use crate::runner::{Test, skip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use pillarbox::net::Connection;
use pillarbox::net::tls::ClientTls;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// An account that every system has.
const USER: &str = "nobody";

pub fn tests() -> Vec<Test> {
    own::tests().into_iter().chain(hijacked::tests()).collect()
}

mod own {
    use super::*;
    crate::tests![
        it_is_two_processes,
        its_process_number_is_out_of_the_daemons_reach,
        users_passwords_are_the_monitors_secret,
        either_end_ends_the_other,
        a_failed_start_is_told_by_its_status,
        signals_are_passed_on,
        a_reload_reaches_what_only_root_can,
        a_bad_configuration_leaves_the_old,
        programs_run_as_who_is_named,
    ];
}

/// A daemon that runs as [`USER`].
fn setup() -> Setup {
    if !is_root() {
        skip("only root can start a daemon that runs as another account");
    }
    Setup { user: Some(USER.to_owned()), ..Setup::default() }
}

fn uid() -> u32 {
    User::from_name(USER).unwrap().unwrap().uid.as_raw()
}

/// The process that serves, of the monitor that a test has started.
fn served_by(daemon: &Daemon) -> i32 {
    children(daemon.pid())[0]
}

/// In the order in which they came to be.
fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// A line of what the system tells of a process.
fn status(pid: i32, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

fn is_alive(pid: i32) -> bool {
    status(pid, "State").is_some_and(|state| !state.starts_with('Z'))
}

fn it_is_two_processes() {
    let mut daemon = setup().start();
    let (monitor, served) = (daemon.pid(), served_by(&daemon));
    assert_eq!(fs::read_to_string(daemon.path("pid")).unwrap(), format!("{monitor}\n"));
    assert_eq!(status(monitor, "Uid").unwrap(), "0\t0\t0\t0");
    assert_eq!(status(served, "Uid").unwrap(), vec![uid().to_string(); 4].join("\t"));
    assert_eq!(status(monitor, "Threads").unwrap(), "1");
    assert_eq!(daemon.send(&["alice@here.test"], &letter("one", "text"))[..3], *"250");
    assert_eq!(daemon.mail("alice").len(), 1);
    assert_eq!(fs::metadata(daemon.mailbox("alice")).unwrap().uid(), uid());
    assert_eq!(children(monitor), [served], "who answers ends with the answer");
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!is_alive(served) && !daemon.path("pid").exists());
    daemon.start();
    assert_eq!(daemon.mail("alice").len(), 1);
}

/// Else `stop` as root ends whom it wants.
fn its_process_number_is_out_of_the_daemons_reach() {
    let mut daemon = setup().prepare();
    let [run, file] = ["run", "run/pid"].map(|name| daemon.path(name));
    daemon.replace_config(|text| text.replace(&format!("{:?}", daemon.path("pid")), &format!("{file:?}")));
    daemon.start();
    for path in [&run, &file] {
        let meta = fs::metadata(path).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o022), (0, 0), "{}", path.display());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", daemon.pid()));
    assert!(!daemon.log().contains("pid-file-exposed"));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!file.exists());
    std::os::unix::fs::chown(&run, Some(uid()), None).unwrap();
    daemon.start();
    daemon.wait_for_log(10, "event=pid-file-exposed");
}

fn users_passwords_are_the_monitors_secret() {
    let daemon = setup().start();
    let meta = fs::metadata(daemon.path("users")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o600));
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", "wrong").unwrap().starts_with("535"));
    assert!(Smtp::hello(daemon.at("submission")).unwrap().log_in("Alice", PASSWORD).unwrap().starts_with("235"));
    assert!(daemon.send(&["nobody-here@here.test"], b"x\r\n").starts_with("550"));
    let added = crate::common::pillarboxctl(&daemon.config(), &["user", "add", "carol"], b"other\n");
    assert!(added.status.success(), "{added:?}");
    assert!(daemon.send(&["carol@here.test"], &letter("to carol", "text")).starts_with("250"));
    assert!(Smtp::hello(daemon.at("submission")).unwrap().log_in("carol", "other").unwrap().starts_with("235"));
}

fn either_end_ends_the_other() {
    let mut daemon = setup().start();
    let served = served_by(&daemon);
    let mut idle = daemon.imap("alice");
    daemon.kill();
    wait_for("the daemon's end", 30, || (!is_alive(served)).then_some(()));
    assert!(daemon.log().contains("stopping") && daemon.log().contains("stopped"));
    assert!(idle.command("NOOP").is_err());

    daemon.start();
    kill(Pid::from_raw(served_by(&daemon)), Signal::SIGKILL).unwrap();
    assert_eq!(daemon.wait_for_end().code(), Some(128 + 9));
    assert!(daemon.log().contains("daemon-died signal=9"));
    assert!(!daemon.path("pid").exists());
    daemon.start();
    assert_eq!(daemon.send(&["alice@here.test"], &letter("one", "text"))[..3], *"250");
}

fn a_failed_start_is_told_by_its_status() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = format!("[[listen]]\naddress = \"{}\"\nprotocol = \"smtp\"\n", taken.local_addr().unwrap());
    let daemon = setup().config(&listener).prepare();
    let output = daemon.command().output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"), "{output:?}");
    assert!(!daemon.path("pid").exists());
    // Without -d the launcher ends with it, too, when nothing is left of the others.
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
    let output = command.arg("-f").arg(daemon.config()).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    drop(taken);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
    // Its output is read to the end: nobody holds it open.
    let output = command.arg("-f").arg(daemon.config()).args(["-o", "log.to=syslog"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let monitor: i32 = fs::read_to_string(daemon.path("pid")).unwrap().trim().parse().unwrap();
    assert_eq!(status(monitor, "Uid").unwrap(), "0\t0\t0\t0");
    kill(Pid::from_raw(monitor), Signal::SIGTERM).unwrap();
    wait_for("its end", 30, || (!is_alive(monitor) && !daemon.path("pid").exists()).then_some(()));
}

fn signals_are_passed_on() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut daemon = setup().start();
        let mut smtp = daemon.smtp();
        daemon.signal(signal);
        assert!(smtp.reply().unwrap().starts_with("421"));
        assert_eq!(daemon.wait_for_end().code(), Some(0));
        assert_eq!(daemon.log().matches(" stopping ").count(), 1);
    }
}

/// A certificate for our name, with its key, which only root may read.
fn certificate(dir: &Path) {
    let pair = rcgen::generate_simple_self_signed(vec!["mail.here.test".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), pair.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// Does the server there prove to have this certificate?
fn proves(address: SocketAddr, certificate: &Path) -> bool {
    let mut connection = Connection::connect(address, Duration::from_secs(30)).unwrap();
    connection.start_tls(&ClientTls::verifying(Some(certificate)).unwrap(), "mail.here.test").is_ok()
}

/// A port that only root can listen at.
fn low_port() -> u16 {
    let bound = (600..1024).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    bound.unwrap().local_addr().unwrap().port()
}

fn a_reload_reaches_what_only_root_can() {
    let (dir, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificate(dir.path());
    let tls = format!("[tls]\ncertificate = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"\n", dir.path().display());
    let daemon = setup().config(&tls).start();
    fs::set_permissions(daemon.config(), fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(dir.path().join("cert.pem"), old.path().join("cert.pem")).unwrap();
    let [old, new] = [&old, &dir].map(|dir| dir.path().join("cert.pem"));
    assert!(proves(daemon.at("imaps"), &old));

    certificate(dir.path());
    let port = low_port();
    let more = format!("[[listen]]\naddress = [\"127.0.0.1:{port}\", \"unix:lmtp.sock\"]\nprotocol = \"lmtp\"\n");
    let dkim = dir.path().join("dkim.pem");
    fs::write(&dkim, include_bytes!("../../trust/ed25519.pem")).unwrap();
    fs::set_permissions(&dkim, fs::Permissions::from_mode(0o600)).unwrap();
    let signed = format!("[[dkim]]\ndomain = \"here.test\"\nselector = \"s\"\nkey = {dkim:?}\n");
    fs::write(daemon.config(), daemon.config_text(&(tls.clone() + &more + &signed))).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log(30, "reloaded ");
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    assert!(smtp.send("alice@here.test", &["bob@here.test"], b"From: alice@here.test\r\n\r\nHi\r\n").unwrap().starts_with("250"));
    assert!(String::from_utf8_lossy(&daemon.mail("bob")[0]).contains("DKIM-Signature: v=1; a=ed25519-sha256;"));
    assert!(proves(daemon.at("imaps"), &new) && !proves(daemon.at("imaps"), &old));
    let mut lmtp = crate::common::Talk::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    assert!(lmtp.line().unwrap().starts_with("220 "));
    assert!(fs::symlink_metadata(daemon.path("lmtp.sock")).is_ok());

    // The same again, by the control socket: those that are there stay.
    let output = daemon.ctl(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    lmtp.send(b"LHLO x\r\n").unwrap();
    assert!(lmtp.line().unwrap().starts_with("250"), "the connection stays, too");
    fs::write(daemon.config(), daemon.config_text(&tls)).unwrap();
    assert!(daemon.ctl(&["reload"]).status.success());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

fn a_bad_configuration_leaves_the_old() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let tls = format!("[tls]\ncertificate = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"\n", dir.path().display());
    let daemon = setup().config(&tls).start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = format!("[[listen]]\naddress = \"{}\"\nprotocol = \"smtp\"\n", taken.local_addr().unwrap());
    let missing = "[tls]\ncertificate = \"cert.pem\"\nkey = \"/nowhere/key.pem\"\n";
    for (config, complaint) in [("nonsense = 1\n", "nonsense"), (&in_use, "cannot listen on"), (missing, "cert.pem")] {
        fs::write(daemon.config(), daemon.config_text(config)).unwrap();
        let output = daemon.ctl(&["reload"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(complaint), "{config}: {output:?}");
        assert!(proves(daemon.at("imaps"), &dir.path().join("cert.pem")));
    }
    // What stands in a key's place is no key.
    fs::write(daemon.config(), daemon.config_text(&tls)).unwrap();
    fs::write(dir.path().join("key.pem"), "nothing\n").unwrap();
    assert!(!daemon.ctl(&["reload"]).status.success());
    assert_eq!(daemon.send(&["alice@here.test"], &letter("one", "text"))[..3], *"250");
}

fn programs_run_as_who_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let route = |domain: &str, user: &str| {
        let script =
            format!("{{ id -un; id -G; echo $SENDER; cat; }} > {}/{domain}; cat /proc/self/status >&2", dir.path().display());
        format!("[[route]]\ndomain = \"{domain}\"\nprogram = [\"/bin/sh\", \"-c\", {script:?}]\n{user}")
    };
    let config =
        route("own.test", "") + &route("daemon.test", "user = \"daemon\"\n") + "[smtp]\nrelay_networks = [\"127.0.0.1\"]\n";
    let daemon = setup().config(&config).start();
    for (domain, user) in [("own.test", USER), ("daemon.test", "daemon")] {
        assert!(daemon.send(&[&format!("x@{domain}")], &letter("program", "text")).starts_with("250"));
        wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
        let text = fs::read_to_string(dir.path().join(domain)).unwrap();
        let gid = User::from_name(user).unwrap().unwrap().gid;
        assert!(text.starts_with(&format!("{user}\n{gid}\nsender@sender.test\n")) && text.ends_with("text\n"), "{text}");
    }
}
