//! One try for a program that takes mail: it is run once for each recipient, with the message as a mailbox would have it. Commands
//! of alias and `.forward` files (`lines`) run the same way.

use super::bounce::Kind;
use super::outcome::{self, Trouble, Verdict};
use super::table::Task;
use super::{Office, list, local, runner};
use crate::config::Program;
use crate::host::Job;
use crate::host::line::harmless;
use crate::host::program::End;
use crate::mail::Address;
use crate::mail::mboxrd::{FromWire, ToWire};
use crate::mailbox::mbox_prefix;
use crate::smtp::client::{Enhanced, clean};
use crate::spool::{Entry, Message};
use crate::sys::exit;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Bytes of what the program said that are told.
const MOST_TOLD: usize = 600;

/// Runs it for all recipients of a task.
pub(super) fn run(office: &Arc<Office>, program: &Program, task: &Task) {
    let words = format!("{:?}", program.words);
    let mut circle: Option<Vec<String>> = None;
    serve(office, task, |entry, index, address| {
        if circle.is_none() {
            match local::head(&entry.message) {
                Ok(head) => circle = Some(local::delivered_to(&head)),
                Err(error) => return Verdict::own_trouble(&error),
            }
        }
        if circle.iter().flatten().any(|been| *been == address.to_string().to_ascii_lowercase()) {
            let reason = "The message has been with this program before: it goes in a circle.";
            return Verdict::Failed(Trouble::own("5.4.6", reason));
        }
        let (prefix, from) = mbox_prefix(entry.envelope.sender(index), address, entry.time);
        let prefix = prefix.get(from..).unwrap_or_default();
        attempt(office, entry, index, (address, prefix), &words, |input, environment, is_over| {
            office.host.run_program(program, Job { environment, input }, is_over)
        })
    });
}

/// One recipient of a task after the other. That one has its copy is written down at once: after a crash it is not repeated.
pub(super) fn serve(office: &Arc<Office>, task: &Task, mut give: impl FnMut(&Entry, u32, &Address) -> Verdict) {
    let entry = match office.journal.read(task.id) {
        Ok(entry) => entry,
        Err(error) => return runner::unreadable(office, task, &error),
    };
    // Without room for its outcome it may not run: it would run again.
    if let Err(error) = office.journal.reserve(task.id) {
        return runner::unreadable(office, task, &error);
    }
    let mut others = Vec::new();
    for &index in &task.recipients {
        let Some(address) = super::address(&entry, index) else { continue };
        if office.is_stopping() {
            office.table().wait(task.id, &[index], office.clock.elapsed());
            continue;
        }
        match give(&entry, index, address) {
            verdict @ Verdict::Delivered { .. } => outcome::conclude(office, &entry, false, vec![(index, verdict)]),
            other => others.push((index, other)),
        }
    }
    outcome::conclude(office, &entry, false, others);
}

/// Gives a message to something that runs: it is told of the envelope in its environment, and gets as long as is configured.
/// `prefix`: what stands before the message. `what`: its name for the log.
pub(super) fn attempt(
    office: &Office,
    entry: &Entry,
    index: u32,
    (address, prefix): (&Address, &[u8]),
    what: &str,
    run: impl FnOnce(File, &[(&str, String)], &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)>,
) -> Verdict {
    let config = office.config();
    let dir = config.spool.join("tmp");
    let file = std::fs::create_dir_all(&dir).and_then(|()| tempfile::tempfile_in(&dir));
    let input = match file.and_then(|file| write(file, prefix, &list::own_copy(office, entry, index)?.message)) {
        Ok(input) => input,
        Err(error) => return Verdict::own_trouble(&error),
    };
    let sender = entry.envelope.sender(index).to_string();
    let facts = [
        ("SENDER", sender),
        ("RECIPIENT", address.to_string()),
        ("LOCAL", address.local().to_owned()),
        ("DOMAIN", address.domain().to_string()),
    ];
    let environment = facts.map(|(name, value)| (name, harmless(&value)));
    let begun = Instant::now();
    let mut stopping = None;
    let mut is_over = || {
        if office.is_stopping() {
            let since: &mut Instant = stopping.get_or_insert_with(Instant::now);
            return since.elapsed() >= config.timeouts.stop;
        }
        begun.elapsed() >= config.timeouts.program
    };
    office.programs.fetch_add(1, Ordering::SeqCst);
    let ran = run(input, &environment, &mut is_over);
    office.programs.fetch_sub(1, Ordering::SeqCst);
    let seconds = begun.elapsed().as_secs_f32();
    match ran {
        Ok((end, said)) => {
            log::info!("msg={} event=ran to=<{address}> program={what} end={end:?} seconds={seconds:.1}", entry.id);
            verdict(end, &said)
        }
        Err(error) => {
            log::error!("msg={} event=not-run to=<{address}> program={what} reason=\"{error}\"", entry.id);
            let reason = "This host is not set up to run the program that takes this mail.";
            Verdict::Deferred(Trouble::own("4.3.5", reason))
        }
    }
}

/// What its status means (sysexits.h). What a signal ended may be well the next time.
fn verdict(end: End, said: &[u8]) -> Verdict {
    let said = clean_lines(said);
    let own = |status: &str, reason: &str| {
        // A status that it names itself is its own word (RFC 3463), if it is of that class.
        let named = Enhanced::parse_prefix(&said).map(|(named, _)| named.to_string());
        let named = named.filter(|named| named.starts_with(status.get(..1).unwrap_or_default()));
        let trouble = Trouble::own(named.as_deref().unwrap_or(status), reason);
        if said.is_empty() { trouble } else { trouble.saying(&said) }
    };
    match end {
        End::Exit(0) => {
            let said = own("2.0.0", "The program took it.");
            Verdict::Delivered { said, report: Some(Kind::Delivered) }
        }
        End::Exit(code) if code == i32::from(exit::TEMPFAIL) => {
            Verdict::Deferred(own("4.3.0", "The program that takes this mail would not take it now.").because(&end_in_words(end)))
        }
        End::Exit(code) => {
            let status = match u8::try_from(code).unwrap_or(exit::FAILURE) {
                exit::DATAERR => "5.6.0",
                exit::NOUSER => "5.1.1",
                exit::NOPERM => "5.7.0",
                exit::CONFIG => "5.3.5",
                _ => "5.3.0",
            };
            Verdict::Failed(own(status, "The program that takes this mail refused it.").because(&end_in_words(end)))
        }
        End::Signal(_) => {
            Verdict::Deferred(own("4.3.0", "The program that takes this mail was ended.").because(&end_in_words(end)))
        }
        End::Late => {
            Verdict::Deferred(own("4.4.7", "The program that takes this mail took too long.").because(&end_in_words(end)))
        }
    }
}

fn end_in_words(end: End) -> String {
    match end {
        End::Exit(status) => format!("exit status {status}"),
        End::Signal(signal) => format!("signal {signal}"),
        End::Late => "its time was up".to_owned(),
    }
}

/// On one line, and bounded.
fn clean_lines(said: &[u8]) -> String {
    let lines: Vec<String> = said.split(|byte| *byte == b'\n').map(|line| clean(line).trim().to_owned()).collect();
    let mut text = lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    text.truncate(MOST_TOLD);
    text
}

/// The message with LF line ends.
fn write(mut file: File, prefix: &[u8], message: &Message) -> io::Result<File> {
    file.write_all(prefix)?;
    copy(message, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// The message as it was sent, with LF line ends.
pub(super) fn copy(message: &Message, to: &mut impl Write) -> io::Result<()> {
    let (mut to_wire, mut from_wire) = (ToWire::default(), FromWire::default());
    let (mut room, mut wire, mut text, mut offset) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while offset < message.len() {
        let piece = message.piece(offset, 32 * 1024, &mut room)?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        wire.clear();
        text.clear();
        to_wire.push(piece, &mut wire);
        from_wire.push(&wire, &mut text);
        to.write_all(&text)?;
        offset += piece.len() as u64;
    }
    wire.clear();
    text.clear();
    to_wire.finish(&mut wire);
    from_wire.push(&wire, &mut text);
    from_wire.finish(&mut text);
    to.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn ends_are_read_as_sysexits_has_them() {
        let told = |end: End, said: &str| match verdict(end, said.as_bytes()) {
            Verdict::Delivered { said, .. } => format!("+ {said}"),
            Verdict::Deferred(trouble) => format!("later {} {trouble}", trouble.status),
            Verdict::Failed(trouble) => format!("never {} {trouble}", trouble.status),
        };
        assert_eq!(told(End::Exit(0), ""), "+ 2.0.0 The program took it.");
        assert!(told(End::Exit(75), "").starts_with("later 4.3.0 "));
        assert!(told(End::Signal(9), "").contains("(signal 9)"));
        assert!(told(End::Late, "").starts_with("later 4.4.7 "));
        assert_eq!(told(End::Exit(67), "no\x1b such\n\n user\n"), "never 5.1.1 no  such user");
        assert_eq!(told(End::Exit(1), "5.7.1 spam"), "never 5.7.1 5.7.1 spam");
        assert_eq!(told(End::Exit(1), "4.7.1 spam"), "never 5.3.0 4.7.1 spam");
        assert!(told(End::Exit(77), &"x".repeat(5000)).len() < MOST_TOLD + 20);
    }

    #[test]
    fn nothing_of_the_envelope_means_anything_to_a_shell() {
        assert_eq!(harmless("\"a`id`$(b);c' d\"@x.test"), "_a_id___b__c__d_@x.test");
        assert_eq!(harmless("user+detail@b\u{fc}cher.test"), "user+detail@b\u{fc}cher.test");
    }

    #[test]
    fn the_message_has_plain_lines() {
        let disk = [&b"Subject: x\n\n>From me\n>>From you\n"[..], &b"y\n".repeat(50_000), b"\xff end\n"].concat();
        let message = Message::Memory(Arc::new(disk.clone()));
        let mut file = tempfile::tempfile().unwrap();
        copy(&message, &mut file).unwrap();
        file.rewind().unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        let plain = [&b"Subject: x\n\nFrom me\n>From you\n"[..], &b"y\n".repeat(50_000), b"\xff end\n"].concat();
        assert_eq!(text, plain);
    }
}
