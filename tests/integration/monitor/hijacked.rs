//! What a daemon can ask of its monitor that somebody else has taken over: these tests take hold of its end of their socket, and
//! speak in its place.
#![allow(unsafe_code)]

use super::{children, served_by, setup, status};
use crate::common::{Daemon, PASSWORD, Random, letter, wait_for};
use crate::runner::{note, skip};
use nix::libc;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use pillarbox::config::Program;
use pillarbox::host::asuser::Roots;
use pillarbox::host::monitor::Monitor;
use pillarbox::host::monitor::wire::{Answer, Question};
use pillarbox::host::{Account, Host, Job, Line, LineOf};
use pillarbox::sys::unix::{packet, process_handle};
use pillarbox::sys::{Open, RealDisk};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

crate::tests![
    it_can_ask_and_not_command,
    garbage_is_refused_and_harms_nobody,
    a_thousand_questions_at_once,
    it_listens_where_it_is_told
];

/// The daemon's own end of the socket to its monitor.
fn socket_of(daemon: &Daemon) -> OwnedFd {
    let served = served_by(daemon);
    let process = process_handle(served).unwrap();
    let numbers = fs::read_dir(format!("/proc/{served}/fd")).unwrap();
    let numbers = numbers.filter_map(|entry| entry.unwrap().file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    let taken = numbers.filter_map(|number| {
        // SAFETY: the call takes three numbers and gives a descriptor that is nobody else's, or -1.
        let found = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
        (found >= 0).then(|| unsafe { OwnedFd::from_raw_fd(found as i32) })
    });
    let mut taken = taken.filter(|socket| getsockopt(socket, sockopt::SockType).is_ok_and(|kind| kind == SockType::SeqPacket));
    taken.next().unwrap_or_else(|| skip("another process's sockets can't be had here"))
}

fn hijack(daemon: &Daemon) -> Monitor {
    Monitor::new(Arc::new(RealDisk), socket_of(daemon)).unwrap()
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn it_can_ask_and_not_command() {
    let daemon = setup().start();
    let monitor = hijack(&daemon);
    assert!(monitor.verify("alice", PASSWORD.as_bytes()).unwrap().is_some());
    assert!(monitor.verify("alice", b"wrong").unwrap().is_none() && monitor.account("mallory").unwrap().is_none());
    let denied = Some(ErrorKind::PermissionDenied);

    // It says that somebody is a user of the system. The monitor knows better.
    for name in ["alice", "root", "mallory", "../etc", ""] {
        let account = Account { name: name.into(), uid: 0, gid: 0, home: Some("/root".into()) };
        for path in ["/etc/shadow", "/var/mail/root", daemon.mailbox("alice").to_str().unwrap(), "", "../../etc/shadow"] {
            for how in [Open::Read, Open::Create(0o600)] {
                assert_eq!(kind(monitor.open_mailbox(&account, Path::new("/"), Path::new(path), how)), denied, "{name} {path}");
            }
            assert_eq!(kind(monitor.make_folders(&account, Path::new("/"), Path::new(path))), denied, "{name} {path}");
        }
        assert_eq!(kind(monitor.forward_of(&account)), denied, "{name}");
        assert_eq!(kind(monitor.vacation_of(&account)), denied, "{name}");
    }
    // Whatever it takes for a place of dotlocks.
    let (own, folders) = (daemon.mailbox(""), daemon.spool().join("folders"));
    let names = ["/etc/shadow", "/etc/.lock-x", "/tmp/x", "../.lock-x", "", "alice", "alice/.lock-x", ".", "x.lock/.."];
    let beside = ["x.lock", "alice/Sent.mbox", "../state/alice/user", "../journal/.lock-x", "alice/../.lock-x", "a/b/.lock/x"];
    let places = names.map(|name| own.join(name)).into_iter().chain(beside.map(|name| folders.join(name)));
    for place in places {
        let dir = place.parent().unwrap();
        let monitor = hijack(&daemon).closing(Some(Roots { mail: dir.to_owned(), folders: dir.to_owned() }));
        for how in [Open::Read, Open::Write, Open::Create(0o600), Open::CreateNew(0o600)] {
            assert_eq!(kind(monitor.open_dotlock(&place, how)), denied, "{} {how:?}", place.display());
        }
    }

    // A program that stands nowhere in the configuration.
    let mark = tempfile::tempdir().unwrap();
    let words = ["/bin/sh", "-c", &format!("touch {}/mark", mark.path().display())].map(str::to_owned).to_vec();
    for user in [None, Some("root".to_owned()), Some("nobody".to_owned())] {
        let program = Program { words: words.clone(), user };
        let job = Job { environment: &[], input: tempfile::tempfile().unwrap() };
        assert_eq!(kind(monitor.run_program(&program, job, &mut || false)), denied);
    }

    // A line that stands in no file.
    let alice = Account { name: "alice".into(), uid: 0, gid: 0, home: Some("/root".into()) };
    for of in [LineOf::Aliases, LineOf::Forward(alice)] {
        for text in [format!("|touch {}/mark", mark.path().display()), "/etc/shadow".into(), "/etc/passwd".into(), String::new()]
        {
            let line = Line { of: of.clone(), number: 1, text };
            let job = Job { environment: &[], input: tempfile::tempfile().unwrap() };
            assert_eq!(kind(monitor.run_line(&line, job, &mut || false)), denied, "{line:?}");
            assert_eq!(kind(monitor.open_line(&line)), denied, "{line:?}");
        }
    }
    assert!(!mark.path().join("mark").exists());
    daemon.wait_for_log(30, "monitor-refused reason=");
}

fn it_listens_where_it_is_told() {
    let daemon = setup().config("[[route]]\ndomain = \"p.test\"\nprogram = [\"/bin/sh\", \"-c\", \"env; false\"]\n").start();
    let monitor = hijack(&daemon);
    for address in ["127.0.0.1:1023", "unix:/run/evil.sock", "0.0.0.0:25", "", "x"] {
        assert_eq!(kind(monitor.bind(address)), Some(ErrorKind::PermissionDenied), "{address}");
    }
    assert!(monitor.bind("127.0.0.1:0").unwrap().is_some());
    // One that stands there runs, but not with what a shell or a library obeys.
    let program = Program { words: ["/bin/sh", "-c", "env; false"].map(str::to_owned).to_vec(), user: None };
    let run = |name, value: &str| {
        let environment = [(name, value.to_owned())];
        let job = Job { environment: &environment, input: tempfile::tempfile().unwrap() };
        monitor.run_program(&program, job, &mut || false)
    };
    for (name, value) in [("LD_PRELOAD", "/tmp/x.so"), ("PATH", "/tmp"), ("ENV", "x"), ("SENDER", "$(id)"), ("SENDER", "a\nb")] {
        assert_eq!(kind(run(name, value)), Some(ErrorKind::PermissionDenied), "{name}");
    }
    let (end, said) = run("SENDER", "a@b.test").unwrap();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(end, pillarbox::host::program::End::Exit(1));
    assert!(said.contains("SENDER=a@b.test\n") && said.contains("USER=nobody\n"), "{said}");
}

fn garbage_is_refused_and_harms_nobody() {
    let mut daemon = setup().start();
    let socket = socket_of(&daemon);
    let mut random = Random(0x5eed_cafe);
    let file = tempfile::tempfile().unwrap();
    let descriptors = open_descriptors(daemon.pid());
    let mut answers = Vec::new();
    for round in 0..5000 {
        let mut bytes: Vec<u8> = match round % 3 {
            0 => (0..1 + random.below(200)).map(|_| random.next() as u8).collect(),
            // Almost right.
            1 => Question::Verify("alice".into(), b"x".to_vec()).encode(),
            _ => Question::OpenMailbox("alice".into(), "/var/mail/alice".into(), Open::Write).encode(),
        };
        let at = random.below(bytes.len());
        bytes[at] ^= random.next() as u8;
        if round % 500 == 0 {
            bytes.resize(70_000, b'x');
        }
        let (ours, theirs) = packet::pair().unwrap();
        let brought: Vec<BorrowedFd<'_>> =
            (0..random.below(5)).map(|_| if random.below(2) == 0 { file.as_fd() } else { theirs.as_fd() }).collect();
        packet::send(socket.as_fd(), &bytes, &brought, true).unwrap();
        // So many wait at a time that nothing else gets through.
        answers.push(ours);
        if answers.len() > 100 {
            answers.clear();
        }
    }
    drop(answers);
    assert!(daemon.is_running());
    assert_eq!(daemon.send(&["alice@here.test"], &letter("one", "text"))[..3], *"250");
    assert_eq!(daemon.mail("alice").len(), 1);
    let complaints = daemon.log().matches("monitor-refused").count();
    assert!((1..20).contains(&complaints), "{complaints} lines in the log");
    wait_for("nothing to be left", 60, || {
        (children(daemon.pid()).len() == 1 && open_descriptors(daemon.pid()) <= descriptors).then_some(())
    });
    assert_eq!(daemon.stop().code(), Some(0));
}

fn open_descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn a_thousand_questions_at_once() {
    let daemon = setup().start();
    let (socket, monitor) = (socket_of(&daemon), daemon.pid());
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let most = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(children(monitor).len());
                thread::sleep(Duration::from_millis(1));
            }
            most
        });
        let mut waiting = Vec::new();
        let ask = |number: usize| {
            let question = match number % 4 {
                0 => Question::Verify("alice".into(), if number.is_multiple_of(8) { PASSWORD.into() } else { b"wrong".to_vec() }),
                1 => Question::MakeFolders("alice".into(), "/etc".into()),
                2 => Question::Forward("alice".into()),
                _ => Question::Account("alice".into()),
            };
            let (ours, theirs) = packet::pair().unwrap();
            packet::send(socket.as_fd(), &question.encode(), &[theirs.as_fd()], true).unwrap();
            ours
        };
        waiting.extend((0..1000).map(ask));
        for (number, ours) in waiting.into_iter().enumerate() {
            let answer = wait_for("an answer", 60, || packet::receive(ours.as_fd(), 100_000).ok());
            let answer = Answer::parse(&answer.unwrap().0).unwrap();
            let right = matches!(
                (number % 8, &answer),
                (0 | 3 | 7, Answer::Account(Some(_))) | (4, Answer::Account(None)) | (1 | 2 | 5 | 6, Answer::Failed(_))
            );
            assert!(right, "{number}: {answer:?}");
        }
        over.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    });
    // The daemon, one that checks passwords, and sixteen for all else.
    assert!((3..=18).contains(&most), "{most} children");
    let memory = status(monitor, "VmRSS").unwrap();
    note(format!("{most} children at most; {:.1?}; the monitor has {memory}", begun.elapsed()));
    let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 32 << 10, "{memory}");
}
