//! The daemon's answers, for people and (as JSON) for programs.

use super::{Failure, call, print_json, say};
use crate::sys::exit;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, BufWriter};
use std::path::Path;

/// `pillarboxctl status`.
pub fn status(status: &Value) -> Result<(), Failure> {
    let mut rows = vec![
        ("version", text(&status["version"]).to_owned()),
        ("host", text(&status["hostname"]).to_owned()),
        ("process", number(&status["pid"]).to_string()),
        ("running for", span(number(&status["uptime"]))),
        ("memory", format!("{}, {}", size(number(&status["memory"])), counted(number(&status["threads"]), "thread"))),
        ("sessions", sessions(&status["sessions"])),
        ("accepted", number(&status["accepted"]).to_string()),
        ("turned away", number(&status["refused"]).to_string()),
        ("logins", counters(status, &["logins_ok", "logins_failed", "logins_refused"])),
        ("messages", counters(status, &["messages_received", "messages_refused"])),
        (
            "recipients",
            counters(status, &["recipients_delivered", "recipients_relayed", "recipients_deferred", "recipients_failed"]),
        ),
        ("reports", counters(status, &["reports_sent"])),
        ("queue", queue_in_words(&status["queue"])),
    ];
    if number(&status["bugs"]) > 0 {
        rows.push(("bugs", format!("{} (see the log)", number(&status["bugs"]))));
    }
    say(&rows.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect::<String>())
}

/// `3 ok, 1 failed`
fn counters(status: &Value, names: &[&str]) -> String {
    let word =
        |name: &str| format!("{} {}", number(&status["counters"][name]), name.split_once('_').map_or(name, |(_, word)| word));
    names.iter().map(|name| word(name)).collect::<Vec<_>>().join(", ")
}

/// `pillarboxctl log`.
pub fn log_levels(levels: &Value) -> Result<(), Failure> {
    let named = |module: &str| if module.is_empty() { "all".to_owned() } else { clean(module) };
    let levels = levels.as_object().into_iter().flatten();
    say(&levels.map(|(module, level)| format!("{:<16} {}\n", named(module), text(level))).collect::<String>())
}

fn sessions(sessions: &Value) -> String {
    let services = sessions.as_object().into_iter().flatten();
    let words: Vec<String> = services.map(|(name, count)| format!("{name} {}", number(count))).collect();
    words.join(", ")
}

fn queue_in_words(queue: &Value) -> String {
    let messages = number(&queue["messages"]);
    if messages == 0 {
        return "empty".to_owned();
    }
    let held = match number(&queue["held"]) {
        0 => String::new(),
        held => format!(", {held} of them held"),
    };
    let recipients = counted(number(&queue["recipients"]), "recipient");
    format!("{}, {}, {recipients}{held}", counted(messages, "message"), size(number(&queue["bytes"])))
}

/// A list of the queue, written while it is read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum List {
    /// `pillarboxctl queue list`.
    Plain,
    /// The same for programs: JSON, a message on each line.
    Json,
    /// In the form that sendmail's `mailq` made usual, for programs that read it.
    Mailq,
}

impl List {
    /// Asks for the messages and writes those that are wanted. A reader that goes away early, as `head` does, is no error.
    pub fn print(self, control: &Path, wanted: impl Fn(&Value) -> bool) -> Result<(), Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        match self.write(control, wanted, &mut out) {
            Err(Failure { code: exit::OK, .. }) => Ok(()),
            other => other,
        }
    }

    fn write(self, control: &Path, wanted: impl Fn(&Value) -> bool, out: &mut impl io::Write) -> Result<(), Failure> {
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(exit::OK, ""),
            _ => error.into(),
        };
        let mut count = 0;
        call::ask_for_each(control, "queue list", |message| {
            if !wanted(message) {
                return Ok(());
            }
            let before = match (self, count) {
                (List::Plain, 0) => PLAIN_HEAD,
                (List::Json, 0) => "[\n",
                (List::Json, _) => ",\n",
                (List::Mailq, 0) => MAILQ_HEAD,
                (List::Plain | List::Mailq, _) => "",
            };
            let text = match self {
                List::Plain => plain(message),
                List::Json => message.to_string(),
                List::Mailq => request(message),
            };
            count += 1;
            write!(out, "{before}{text}").map_err(gone)
        })?;
        let end = match (self, count) {
            (List::Plain, 0) => "The queue is empty.\n".to_owned(),
            (List::Plain, _) => format!("{}\n", counted(count, "message")),
            (List::Json, 0) => "[]\n".to_owned(),
            (List::Json, _) => "\n]\n".to_owned(),
            (List::Mailq, 0) => "Mail queue is empty\n".to_owned(),
            (List::Mailq, _) => format!("\t\tTotal requests: {count}\n"),
        };
        out.write_all(end.as_bytes()).and_then(|()| out.flush()).map_err(gone)
    }
}

const PLAIN_HEAD: &str = "ID                        ARRIVED             SIZE  SENDER\n";

fn plain(message: &Value) -> String {
    let (id, arrived) = (text(&message["id"]), minute(&message["time"]));
    let mut out = format!("{id:<24}  {arrived}  {:>6}  {}\n", size(number(&message["size"])), sender(message));
    if message["release"].is_string() {
        let _ = writeln!(out, "    not before {}", minute(&message["release"]));
    }
    for recipient in message["recipients"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "    to {}: {}", clean(text(&recipient["address"])), state(recipient));
    }
    out
}

const MAILQ_HEAD: &str = "--------Q-ID-------- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n";

fn request(message: &Value) -> String {
    let mut out = String::new();
    let held = message["recipients"].as_array().into_iter().flatten().any(|recipient| recipient["held"] == true);
    let mark = if held { '!' } else { ' ' };
    let time = local(&message["time"], "%a %b %e %H:%M");
    let id = format!("{}{mark}", text(&message["id"]));
    let _ = writeln!(out, "{id:<20} {:>8} {time} <{}>", number(&message["size"]), clean(text(&message["sender"])));
    for recipient in message["recipients"].as_array().into_iter().flatten() {
        let reason = clean(text(&recipient["reason"]));
        if !reason.is_empty() {
            let _ = writeln!(out, "{:>20} ({reason})", "");
        }
        let _ = writeln!(out, "{:>46} <{}>", "", clean(text(&recipient["address"])));
    }
    out
}

/// `pillarboxctl queue hold`, and the like; what was busy fails it.
pub fn acted(result: &Value, done: &str) -> Result<(), Failure> {
    say(&format!("{} {done}\n", counted(number(&result["messages"]), "message")))?;
    match number(&result["busy"]) {
        0 => Ok(()),
        busy => {
            let what = format!("{} being delivered at this moment: try again", counted(busy, "message"));
            Err(Failure::new(exit::TEMPFAIL, what))
        }
    }
}

/// `pillarboxctl queue show`.
pub fn message(message: &Value) -> Result<(), Failure> {
    let mut out = String::new();
    let _ = writeln!(out, "id       {}", text(&message["id"]));
    let _ = writeln!(out, "arrived  {}", minute(&message["time"]));
    let _ = writeln!(out, "size     {}", size(number(&message["size"])));
    let _ = writeln!(out, "sender   {}", sender(message));
    if message["release"].is_string() {
        let _ = writeln!(out, "leaves   {}", minute(&message["release"]));
    }
    if let Some(user) = message["user"].as_str() {
        let _ = writeln!(out, "user     {}", clean(user));
    }
    for recipient in message["recipients"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "to       {}: {}", clean(text(&recipient["address"])), state(recipient));
    }
    out.push('\n');
    for line in text(&message["header"]).lines() {
        let _ = writeln!(out, "{}", clean(line));
    }
    say(&out)
}

/// `pillarboxctl queue flush`.
pub fn flushed(result: &Value) -> Result<(), Failure> {
    say(&format!("{} will be tried now\n", counted(number(&result["messages"]), "message")))
}

/// `pillarboxctl adopt`.
pub fn adopted(result: &Value) -> Result<(), Failure> {
    say(&format!("{} taken over\n", counted(number(&result["messages"]), "message")))
}

/// `pillarboxctl mailbox list`: a name in each line, after its id and use; a subscription to nothing is no folder.
pub fn folders(folders: &Value) -> Result<(), Failure> {
    let mut out = String::new();
    for folder in folders.as_array().into_iter().flatten().filter(|folder| text(&folder["kind"]) != "none") {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let _ = writeln!(out, "{:16} {:7} {}", word(&folder["id"]), word(&folder["use"]), clean(text(&folder["name"])));
    }
    say(&out)
}

/// `pillarboxctl user list`.
pub fn names(names: &Value) -> Result<(), Failure> {
    let names = names.as_array().into_iter().flatten();
    say(&names.map(|name| format!("{}\n", clean(text(name)))).collect::<String>())
}

/// `pillarboxctl mailbox check`: a line for each finding; they fail it.
pub fn findings(found: &Value, json: bool) -> Result<(), Failure> {
    let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = String::new();
    for finding in found {
        let place = finding["offset"].as_u64().map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let _ = writeln!(out, "{place}: {} ({})", clean(text(&finding["what"])), clean(text(&finding["then"])));
    }
    if json {
        print_json(&found)?
    } else {
        say(&out)?
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::new(1, "")) }
}

/// `pillarboxctl mailbox rebuild`: a line for each thing that was done, then what is wrong still, which fails it.
pub fn rebuilt(result: &Value) -> Result<(), Failure> {
    let done = result["done"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: String = done.iter().map(|sentence| format!("{}\n", clean(text(sentence)))).collect();
    say(if lines.is_empty() { "there was nothing to mend\n" } else { &lines })?;
    findings(&result["left"], false)
}

/// `pillarboxctl mailbox compact`.
pub fn compacted(result: &Value) -> Result<(), Failure> {
    say(&format!("{} moved, {} given back\n", size(number(&result["moved"])), size(number(&result["freed"]))))
}

/// Steps of a route that lie deeper are not indented further.
const MOST_DEPTH: usize = 40;

/// `pillarboxctl route`.
pub fn route(route: &Value) -> Result<(), Failure> {
    match text(&route["to"]) {
        "mailbox" => say(&format!("mailbox of {}\n", clean(text(&route["mailbox"])))),
        "domain" => say(&format!("by DNS, to the mail exchangers of {}\n", clean(text(&route["domain"])))),
        "host" => say(&format!("to the host {}\n", clean(text(&route["host"])))),
        "program" => say(&format!("to the program {}\n", clean(text(&route["program"])))),
        "others" => {
            let steps = route["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
            let indent = |step: &Value| usize::try_from(number(&step["depth"])).unwrap_or(0).min(MOST_DEPTH) * 2;
            let line = |step: &Value| format!("{:1$}{2}\n", "", indent(step), clean(text(&step["text"])));
            say(&steps.iter().map(line).collect::<String>())
        }
        _ => Err(Failure::new(exit::NOUSER, "nobody of that name is here")),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn sender(message: &Value) -> String {
    match text(&message["sender"]) {
        "" => "<> (a report)".to_owned(),
        sender => clean(sender),
    }
}

/// What a recipient waits for.
fn state(recipient: &Value) -> String {
    let reason = clean(text(&recipient["reason"]));
    let tail = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    match (recipient["held"] == true, number(&recipient["tries"])) {
        (true, _) => "held".to_owned(),
        (false, 0) => format!("not tried yet{tail}"),
        (false, tries) => format!("tried {}, next at {}{tail}", times(tries), minute(&recipient["due"])),
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

pub(super) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// In local time.
fn minute(time: &Value) -> String {
    local(time, "%Y-%m-%d %H:%M")
}

fn local(time: &Value, format: &str) -> String {
    let stamp: Result<Timestamp, _> = text(time).parse();
    stamp.map_or_else(|_| "?".to_owned(), |stamp| stamp.to_zoned(TimeZone::system()).strftime(format).to_string())
}

/// Four digits and a unit at most.
pub(super) fn size(bytes: u64) -> String {
    let mut shown = bytes;
    let mut tenths = None;
    let mut units = ["", "K", "M", "G", "T"].iter();
    let mut unit = units.next();
    while shown >= 1000 {
        tenths = Some(shown % 1024 * 10 / 1024);
        shown /= 1024;
        unit = units.next();
    }
    match tenths {
        Some(tenths) if shown < 10 => format!("{shown}.{tenths}{}", unit.unwrap_or(&"P")),
        _ => format!("{shown}{}", unit.unwrap_or(&"P")),
    }
}

/// `3d 4h`, `12m 5s`.
fn span(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}

/// A terminal obeys control characters; what peers and letters say must not command it.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_short() {
        for (bytes, shown) in
            [(0, "0"), (999, "999"), (1000, "0.9K"), (1024, "1.0K"), (1536, "1.5K"), (52_428_800, "50M"), (u64::MAX >> 10, "15P")]
        {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!(span(59), "59s");
        assert_eq!(span(3_725), "1h 2m");
        assert_eq!(span(90_000), "1d 1h");
        assert_eq!(counted(1, "message"), "1 message");
    }

    #[test]
    fn recipients_in_words() {
        let state = |value: Value| state(&value);
        assert_eq!(state(json!({"tries": 0, "held": false, "reason": ""})), "not tried yet");
        assert_eq!(state(json!({"tries": 3, "held": true})), "held");
        let due = "2026-11-21T09:18:51.251Z";
        let said = state(json!({"tries": 2, "due": due, "reason": "no\u{1b}[2J answer"}));
        assert!(said.starts_with("tried twice, next at 2026-11-2"), "{said}");
        assert!(said.ends_with("(no\u{fffd}[2J answer)"), "{said}");
    }
}
