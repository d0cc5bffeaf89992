//! Guessing passwords and names.

use crate::common::{PASSWORD, Pop3, Setup, Smtp};
use std::time::{Duration, Instant};

crate::tests![guessing_becomes_slower, unknown_users_take_as_long, the_throttle_is_shared_by_all_protocols];

/// How long a login attempt by POP3 on a fresh connection takes, and if it went well.
fn attempt(daemon: &crate::common::Daemon, name: &str, password: &str) -> (Duration, bool) {
    let mut pop3 = Pop3::connect(daemon.at("pop3")).unwrap();
    pop3.ok(&format!("USER {name}")).unwrap();
    let begun = Instant::now();
    let reply = pop3.command(&format!("PASS {password}")).unwrap();
    assert!(reply.starts_with("+OK") || reply.starts_with("-ERR [AUTH]") || reply.starts_with("-ERR [SYS/TEMP]"), "{reply}");
    (begun.elapsed(), reply.starts_with("+OK"))
}

fn guessing_becomes_slower() {
    let daemon = Setup::default().start();
    let (first, _) = attempt(&daemon, "alice", "guess");
    let mut last = first;
    for _ in 0..6 {
        last = attempt(&daemon, "alice", "guess").0;
    }
    assert!(last >= first + Duration::from_millis(300), "first {first:?}, last {last:?}");
    // Its owner gets in all the same, if later.
    assert!(attempt(&daemon, "alice", PASSWORD).1);
}

fn unknown_users_take_as_long() {
    // Each pair on a daemon of its own, so that no delay of earlier guesses counts.
    let mut times = [Vec::new(), Vec::new()];
    // The least of many counts: whatever else this machine does only makes them longer.
    let least = |times: &[Duration]| times.iter().min().copied().unwrap_or_default().as_secs_f64();
    let mut ratio = 0.0;
    for _ in 0..12 {
        let daemon = Setup::default().start();
        times[0].push(attempt(&daemon, "alice", "guess").0);
        drop(daemon);
        let daemon = Setup::default().start();
        times[1].push(attempt(&daemon, "nobody", "guess").0);
        ratio = least(&times[1]) / least(&times[0]);
        if times[0].len() >= 3 && (0.4..2.5).contains(&ratio) {
            return;
        }
    }
    panic!("unknown/known {ratio}: {times:?}");
}

fn the_throttle_is_shared_by_all_protocols() {
    let daemon = Setup::default().start();
    let mut first = Duration::ZERO;
    for round in 0..6 {
        let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
        let begun = Instant::now();
        let reply = smtp.log_in("bob", "guess").unwrap();
        assert!(reply.starts_with("535") || reply.starts_with("454"), "{reply}");
        if round == 0 {
            first = begun.elapsed();
        }
    }
    let (time, _) = attempt(&daemon, "bob", "guess");
    assert!(time >= first + Duration::from_millis(300), "first {first:?}, then by POP3 {time:?}");
}
