//! What the daemon takes on a small host.

use crate::common::{Imap, PASSWORD, Pop3, Setup, Smtp, letter};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

crate::tests![a_hundred_sessions_in_32_mib];

/// Bytes of memory of its own that a process has now: what its files hold is given back when it is wanted elsewhere.
fn own_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// They all come at once, log in, and then read, wait and send at the same time.
fn a_hundred_sessions_in_32_mib() {
    let users: Vec<String> = (0..35).map(|n| format!("user{n}")).collect();
    let daemon = Setup::default().users(&users.iter().map(String::as_str).collect::<Vec<_>>()).start();
    let body = "A line of text that says little.\n".repeat(300);
    for user in &users {
        assert!(daemon.send(&[&format!("{user}@here.test")], &letter("first", &body)).starts_with("250"));
    }
    let (most, over, pid) = (AtomicU64::new(0), AtomicBool::new(false), daemon.pid());
    let read = |pop3: &mut Pop3| {
        let count = pop3.count().unwrap();
        for number in 1..=count {
            pop3.lines(&format!("RETR {number}")).unwrap();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                most.fetch_max(own_memory(pid), Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let sessions: Vec<_> = (0..100)
            .map(|n| {
                let (daemon, user, body) = (&daemon, &users[n % users.len()], &body);
                scope.spawn(move || match n % 3 {
                    0 => {
                        let mut imap = Imap::log_in(daemon.at("imap"), user, PASSWORD).unwrap();
                        imap.ok("SELECT INBOX").unwrap();
                        imap.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[])").unwrap();
                    }
                    // A maildrop is one session's at a time.
                    1 => read(&mut loop {
                        match Pop3::log_in(daemon.at("pop3"), user, PASSWORD) {
                            Ok(pop3) => break pop3,
                            Err(_) => thread::sleep(Duration::from_millis(50)),
                        }
                    }),
                    _ => {
                        let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
                        assert!(smtp.log_in(user, PASSWORD).unwrap().starts_with("235"));
                        for _ in 0..5 {
                            let from = format!("{user}@here.test");
                            assert!(smtp.send(&from, &[&from], &letter("more", body)).unwrap().starts_with("250"));
                        }
                    }
                })
            })
            .collect();
        let failed = sessions.into_iter().filter_map(|session| session.join().err()).count();
        over.store(true, Ordering::SeqCst);
        assert_eq!(failed, 0);
    });
    let most = most.into_inner() >> 10;
    println!("     ({most} KiB at most)");
    assert!(most < 32 << 10, "{most} KiB");
}
