//! The numbers in the text format of Prometheus, which others read too. Pure.

use crate::ctld::Status;
use crate::delivery::Counts;
use crate::sys::counters;
use std::fmt::Write as _;

/// The media type, with the version of the format.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of them, each with a line that says what it is.
pub(super) fn text(status: &Status, queue: Counts, is_well: bool) -> String {
    let mut out = String::new();
    let mut add = |name: &str, kind: &str, meaning: &str, samples: &[(String, u64)]| {
        let _ = write!(out, "# HELP pillarbox_{name} {meaning}\n# TYPE pillarbox_{name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(out, "pillarbox_{name}{labels} {value}");
        }
    };
    let one = |value: u64| [(String::new(), value)];
    let count = |value: usize| one(value as u64);
    add("build_info", "gauge", "The version of the program.", &[(format!("{{version=\"{}\"}}", status.version), 1)]);
    add("healthy", "gauge", "1 while mail can be taken and sent on, as /health tells.", &one(u64::from(is_well)));
    add("uptime_seconds", "gauge", "Time since the start.", &one(status.uptime));
    add("resident_memory_bytes", "gauge", "Memory in use.", &one(status.memory));
    add("threads", "gauge", "Threads.", &one(status.threads));
    let sessions: Vec<_> =
        status.sessions.iter().map(|(service, count)| (format!("{{service=\"{service}\"}}"), *count as u64)).collect();
    add("sessions", "gauge", "Sessions now.", &sessions);
    add("sessions_accepted_total", "counter", "Sessions since the start.", &one(status.accepted));
    add("sessions_refused_total", "counter", "Connections turned away for a limit.", &one(status.refused));
    add("bugs_total", "counter", "Sessions that ended by a bug.", &one(status.bugs));
    for (name, meaning, value) in counters::all() {
        add(&format!("{name}_total"), "counter", meaning.trim(), &one(value));
    }
    add("queue_messages", "gauge", "Messages that wait.", &count(queue.messages));
    add("queue_bytes", "gauge", "Their bytes.", &one(queue.bytes));
    add("queue_recipients", "gauge", "Recipients that wait.", &count(queue.recipients));
    add("queue_held", "gauge", "Those of them that wait for an operator.", &count(queue.held));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_a_meaning_a_type_and_numbers() {
        let status = Status {
            version: "1.2",
            hostname: "mail.here.test".into(),
            pid: 7,
            uptime: 60,
            memory: 4096,
            threads: 3,
            sessions: [("imap", 2), ("smtp", 0)].into(),
            accepted: 5,
            refused: 1,
            bugs: 0,
            counters: [].into(),
        };
        let text = text(&status, Counts { messages: 4, bytes: 100, recipients: 6, held: 1 }, false);
        for line in [
            "pillarbox_build_info{version=\"1.2\"} 1",
            "pillarbox_healthy 0",
            "pillarbox_sessions{service=\"imap\"} 2",
            "pillarbox_sessions{service=\"smtp\"} 0",
            "# TYPE pillarbox_sessions_accepted_total counter",
            "pillarbox_sessions_accepted_total 5",
            "# HELP pillarbox_messages_refused_total Messages refused after they came.",
            "pillarbox_queue_messages 4",
            "pillarbox_queue_held 1",
        ] {
            assert!(text.lines().any(|own| own == line), "no {line:?} in {text}");
        }
        assert!(!text.contains("here.test"));
        let mut family = "";
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["#", "HELP", name, _, ..] => family = name,
                ["#", "TYPE", name, "counter"] => assert!(*name == family && name.ends_with("_total"), "{line}"),
                ["#", "TYPE", name, "gauge"] => assert!(*name == family && !name.ends_with("_total"), "{line}"),
                [name, value] => {
                    assert_eq!(name.split('{').next().unwrap(), family);
                    value.parse::<u64>().unwrap();
                }
                _ => panic!("{line}"),
            }
        }
    }
}
