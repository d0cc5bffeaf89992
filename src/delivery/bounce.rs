//! Reports to senders: multipart/report (RFC 6522) with a text for people, a delivery status for programs (RFC 3464), and
//! the header of the message they are about. Pure; all of it is 7-bit.

use super::outcome::Trouble;
use crate::mail::mboxrd::ToWire;
use crate::mail::{Address, date};
use crate::sys::Time;
use std::fmt::Write;

/// Octets of a line that need no encoding (RFC 5322 §2.1.1).
const LONGEST_LINE: usize = 998;

/// What the report says.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is over.
    Failed {
        /// For age alone.
        expired: bool,
    },
    /// It takes long, and goes on.
    Delayed {
        /// Until then.
        until: Time,
    },
}

/// One recipient.
#[derive(Debug)]
pub(super) struct Case<'a> {
    /// As the sender gave it.
    pub(super) address: &'a Address,
    /// What happened.
    pub(super) trouble: &'a Trouble,
}

/// All that a report is made of.
#[derive(Debug)]
pub(super) struct Notice<'a> {
    /// What it says.
    pub(super) kind: Kind,
    /// Ours.
    pub(super) hostname: &'a str,
    /// Of the report.
    pub(super) id: &'a str,
    /// Whom it goes to.
    pub(super) sender: &'a Address,
    /// Now (RFC 5322 §3.3).
    pub(super) date: String,
    /// When the message was taken.
    pub(super) arrival: String,
    /// Whom it is about; at least one.
    pub(super) cases: &'a [Case<'a>],
    /// Of the message, in disk form.
    pub(super) header: &'a [u8],
}

/// The report, with LF line ends.
pub(super) fn build(notice: &Notice<'_>) -> Vec<u8> {
    let (header, encoding) = seven_bit(notice.header);
    let text = explanation(notice);
    let status = status(notice);
    // Our words hold no line that begins with two dashes; a header may hold any.
    let mut boundary = format!("report-{}", notice.id);
    while memchr::memmem::find(&header, boundary.as_bytes()).is_some() || text.contains(&boundary) || status.contains(&boundary) {
        boundary.push('_');
    }
    let mut out = format!(
        "From: Mail Delivery <MAILER-DAEMON@{host}>\n\
         To: <{to}>\n\
         Subject: {subject}\n\
         Date: {date}\n\
         Message-ID: <{id}@{host}>\n\
         Auto-Submitted: auto-replied\n\
         MIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{boundary}\"\n\
         \n\
         This is a delivery report in MIME format.\n\
         \n\
         --{boundary}\n\
         Content-Type: text/plain; charset=us-ascii\n\
         \n\
         {text}\n\
         --{boundary}\n\
         Content-Type: message/delivery-status\n\
         \n\
         {status}\n\
         --{boundary}\n\
         Content-Type: text/rfc822-headers\n\
         Content-Transfer-Encoding: {encoding}\n\
         \n",
        host = notice.hostname,
        to = notice.sender,
        subject = subject(notice.kind),
        date = notice.date,
        id = notice.id,
    )
    .into_bytes();
    out.extend_from_slice(&header);
    out.extend_from_slice(format!("\n--{boundary}--\n").as_bytes());
    out
}

fn subject(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed { .. } => "Your message could not be delivered",
        Kind::Delayed { .. } => "Your message is delayed",
    }
}

/// The part that a person reads.
fn explanation(notice: &Notice<'_>) -> String {
    let mut text = format!("This is the mail system of {}.\n\n", notice.hostname);
    text.push_str(match notice.kind {
        Kind::Failed { expired: false } => {
            "Your message could not be delivered to the addresses below. Nothing\n\
             more will be tried; its header follows at the end of this report.\n"
        }
        Kind::Failed { expired: true } => {
            "Your message could not be delivered to the addresses below, although\n\
             it was tried for as long as is customary. Nothing more will be tried;\n\
             its header follows at the end of this report.\n"
        }
        Kind::Delayed { .. } => {
            "Your message has not yet been delivered to the addresses below. You need\n\
             not send it again: this host keeps trying.\n"
        }
    });
    // Writing to a String does not fail.
    if let Kind::Delayed { until } = notice.kind {
        let _ = writeln!(text, "It will give up, and tell you so, on {}.", date::rfc5322(until));
    }
    for case in notice.cases {
        let _ = write!(text, "\n<{}>\n", case.address);
        paragraph(&mut text, &case.trouble.reason);
        if let Some(reply) = &case.trouble.reply {
            paragraph(&mut text, &format!("It said: {reply}"));
        }
    }
    text
}

/// Words in lines of common length, each indented.
fn paragraph(text: &mut String, words: &str) {
    const WIDTH: usize = 74;
    let mut column = 0;
    for word in words.split_ascii_whitespace() {
        if column > 0 && column + word.len() >= WIDTH {
            text.push('\n');
            column = 0;
        }
        text.push_str(if column == 0 { "    " } else { " " });
        text.push_str(word);
        column += word.len() + if column == 0 { 4 } else { 1 };
    }
    text.push('\n');
}

/// The part that programs read (RFC 3464 §2).
fn status(notice: &Notice<'_>) -> String {
    let mut text = format!("Reporting-MTA: dns; {}\nArrival-Date: {}\n", notice.hostname, notice.arrival);
    for case in notice.cases {
        let trouble = case.trouble;
        let (action, status) = match notice.kind {
            Kind::Delayed { .. } => ("delayed", trouble.status.clone()),
            // Given up for age (RFC 3463 §3.5: X.4.7), whatever the last reason was.
            Kind::Failed { .. } if trouble.status.starts_with('4') => ("failed", "4.4.7".to_owned()),
            Kind::Failed { .. } => ("failed", trouble.status.clone()),
        };
        let _ = write!(text, "\nFinal-Recipient: rfc822; {}\nAction: {action}\nStatus: {status}\n", case.address);
        if let Some(relay) = &trouble.relay {
            let _ = writeln!(text, "Remote-MTA: dns; {}", relay.host);
        }
        let _ = match &trouble.reply {
            Some(reply) => writeln!(text, "Diagnostic-Code: smtp; {reply}"),
            None => writeln!(text, "Diagnostic-Code: x-pillarbox; {trouble}"),
        };
        let _ = writeln!(text, "Last-Attempt-Date: {}", notice.date);
        if let Kind::Delayed { until } = notice.kind {
            let _ = writeln!(text, "Will-Retry-Until: {}", date::rfc5322(until));
        }
    }
    text
}

/// The header as it was on the wire, with LF; quoted-printable if it is not fit for 7-bit as it stands (RFC 6522 §4).
fn seven_bit(header: &[u8]) -> (Vec<u8>, &'static str) {
    let (mut to_wire, mut wire) = (ToWire::default(), Vec::with_capacity(header.len() + header.len() / 16));
    to_wire.push(header, &mut wire);
    to_wire.finish(&mut wire);
    let mut lines: Vec<u8> = Vec::with_capacity(wire.len());
    wire.split_inclusive(|byte| *byte == b'\n').for_each(|line| {
        lines.extend_from_slice(line.strip_suffix(b"\r\n").unwrap_or(line));
        lines.push(b'\n');
    });
    let plain = |byte: &u8| matches!(byte, b'\t' | b'\n' | b' '..=b'~');
    if lines.iter().all(plain) && lines.split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE) {
        return (lines, "7bit");
    }
    (quoted_printable(&lines), "quoted-printable")
}

/// RFC 2045 §6.7, for text with LF line ends.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    const WIDTH: usize = 76;
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let mut column = 0;
        for (at, &byte) in bare.iter().enumerate() {
            let at_end = at + 1 == bare.len();
            let plain = matches!(byte, b'!'..=b'~') && byte != b'=' || matches!(byte, b' ' | b'\t') && !at_end;
            let width = if plain { 1 } else { 3 };
            if column + width >= WIDTH {
                out.extend_from_slice(b"=\n");
                column = 0;
            }
            match plain {
                true => out.push(byte),
                false => out.extend_from_slice(format!("={byte:02X}").as_bytes()),
            }
            column += width;
        }
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests;
