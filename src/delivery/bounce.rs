//! Reports to senders: multipart/report (RFC 6522) with a text for people, a delivery status for programs (RFC 3464), and
//! what is given back of the message they are about. Pure.
//!
//! Of addresses beyond ASCII a report is in UTF-8 where it may be. Else all of it is 7-bit: these addresses are then told by
//! the numbers of their characters, which loses nothing (RFC 6533 §3, §4.4), and what people read is encoded.

use super::enclosure::Enclosure;
use super::outcome::Trouble;
use crate::mail::encode::quoted_printable;
use crate::mail::{Address, Recipient, date, dsn};
use crate::sys::Time;
use std::fmt::Write;

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
    /// It is in a mailbox here.
    Delivered,
    /// A host has it that sends no such reports (RFC 3461 §5.2.2).
    Relayed,
    /// It goes to another one, since it can't be delivered to this one.
    Diverted,
    /// It is on its way to several for whom the address stands (RFC 3461 §5.2.7.3).
    Expanded,
}

/// One recipient.
#[derive(Debug)]
pub(super) struct Case<'a> {
    /// As the sender gave it.
    pub(super) recipient: &'a Recipient,
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
    /// It may hold eight-bit text.
    pub(super) eight_bit: bool,
    /// Now (RFC 5322 §3.3).
    pub(super) date: String,
    /// When the message was taken.
    pub(super) arrival: String,
    /// When its sender wanted it to leave (RFC 4865 §5.1.2).
    pub(super) release: Option<String>,
    /// Whom it is about; at least one.
    pub(super) cases: &'a [Case<'a>],
    /// What the sender calls the transaction (RFC 3461 §4.4).
    pub(super) envelope_id: Option<String>,
    /// Of the message.
    pub(super) enclosed: &'a Enclosure,
}

/// The report, with LF line ends.
pub(super) fn build(notice: &Notice<'_>) -> Vec<u8> {
    let Enclosure { media, encoding, text: enclosed } = notice.enclosed;
    let (text, status) = (explanation(notice), status(notice));
    let (charset, text_encoding, text) = match text.is_ascii() {
        true => ("us-ascii", "7bit", text.into_bytes()),
        false if notice.eight_bit => ("utf-8", "8bit", text.into_bytes()),
        false => ("utf-8", "quoted-printable", quoted_printable(text.as_bytes())),
    };
    let (status_media, status_encoding) = match status.is_ascii() {
        true => ("message/delivery-status", "7bit"),
        // RFC 6533 §4.1.
        false => ("message/global-delivery-status", "8bit"),
    };
    // Our words hold no line that begins with two dashes; what is enclosed may hold any.
    let mut boundary = format!("report-{}", notice.id);
    while [enclosed, &text, status.as_bytes()].iter().any(|part| memchr::memmem::find(part, boundary.as_bytes()).is_some()) {
        boundary.push('_');
    }
    let out = format!(
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
         Content-Type: text/plain; charset={charset}\n\
         Content-Transfer-Encoding: {text_encoding}\n\
         \n",
        host = notice.hostname,
        to = notice.sender.to_ascii().as_ref().unwrap_or(notice.sender),
        subject = subject(notice.kind),
        date = notice.date,
        id = notice.id,
    );
    let status = format!(
        "\n--{boundary}\n\
         Content-Type: {status_media}\n\
         Content-Transfer-Encoding: {status_encoding}\n\
         \n\
         {status}\n\
         --{boundary}\n\
         Content-Type: {media}\n\
         Content-Transfer-Encoding: {encoding}\n\
         \n"
    );
    let end = format!("\n--{boundary}--\n");
    [out.as_bytes(), &text, status.as_bytes(), enclosed, end.as_bytes()].concat()
}

fn subject(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed { .. } => "Your message could not be delivered",
        Kind::Delayed { .. } => "Your message is delayed",
        Kind::Delivered => "Your message was delivered",
        Kind::Diverted => "Your message goes to another address",
        Kind::Relayed | Kind::Expanded => "Your message was passed on",
    }
}

/// The part that a person reads.
fn explanation(notice: &Notice<'_>) -> String {
    let mut text = format!("This is the mail system of {}.\n\n", notice.hostname);
    text.push_str(match notice.kind {
        Kind::Failed { expired: false } => {
            "Your message could not be delivered to the addresses below. Nothing\n\
             more will be tried; "
        }
        Kind::Failed { expired: true } => {
            "Your message could not be delivered to the addresses below, although\n\
             it was tried for as long as is customary. Nothing more will be tried;\n"
        }
        Kind::Delayed { .. } => {
            "Your message has not yet been delivered to the addresses below. You need\n\
             not send it again: this host keeps trying.\n"
        }
        Kind::Delivered => "Your message is in the mailboxes of the addresses below.\n",
        Kind::Relayed => {
            "Your message was passed on to the hosts of the addresses below. These\n\
             don't report deliveries, so you will only hear of it again if it fails.\n"
        }
        Kind::Diverted => {
            "Your message could not be delivered to the addresses below, and was sent on\n\
             to another one that is set for such cases. You need not send it again; you\n\
             will only hear of it if that fails, too.\n"
        }
        Kind::Expanded => {
            "Your message was passed on to all for whom the addresses below stand.\n\
             You will only hear of it again if it fails.\n"
        }
    });
    if let Kind::Failed { .. } = notice.kind {
        let whole = notice.enclosed.is_whole();
        text.push_str(if whole { "it follows" } else { "its header follows" });
        text.push_str(" at the end of this report.\n");
    }
    // Writing to a String does not fail.
    if let Kind::Delayed { until } = notice.kind {
        let _ = writeln!(text, "It will give up, and tell you so, on {}.", date::rfc5322(until));
    }
    for case in notice.cases {
        let _ = write!(text, "\n<{}>\n", case.recipient.address);
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
    let mut text = String::new();
    if let Some(id) = &notice.envelope_id {
        let _ = writeln!(text, "Original-Envelope-Id: {id}");
    }
    let _ = write!(text, "Reporting-MTA: dns; {}\nArrival-Date: {}\n", notice.hostname, notice.arrival);
    if let Some(release) = &notice.release {
        let _ = writeln!(text, "Future-Release-Request: {release}");
    }
    for case in notice.cases {
        let trouble = case.trouble;
        let (action, status) = match notice.kind {
            Kind::Delayed { .. } | Kind::Diverted => ("delayed", trouble.status.clone()),
            // Given up for age (RFC 3463 §3.5: X.4.7), whatever the last reason was.
            Kind::Failed { .. } if trouble.status.starts_with('4') => ("failed", "4.4.7".to_owned()),
            Kind::Failed { .. } => ("failed", trouble.status.clone()),
            Kind::Delivered => ("delivered", trouble.status.clone()),
            Kind::Relayed => ("relayed", trouble.status.clone()),
            Kind::Expanded => ("expanded", trouble.status.clone()),
        };
        text.push('\n');
        if let Some(original) = &case.recipient.dsn.original {
            let _ = writeln!(text, "Original-Recipient: {}", original.told(notice.eight_bit));
        }
        let address = dsn::told(&case.recipient.address, notice.eight_bit);
        let _ = write!(text, "Final-Recipient: {address}\nAction: {action}\nStatus: {status}\n");
        if let Some(relay) = &trouble.relay {
            let _ = writeln!(text, "Remote-MTA: dns; {}", relay.host);
        }
        let _ = match &trouble.reply {
            Some(reply) if trouble.relay.is_some() => writeln!(text, "Diagnostic-Code: smtp; {reply}"),
            // Only a program speaks without being a host.
            Some(reply) => writeln!(text, "Diagnostic-Code: x-unix; {reply}"),
            None if matches!(notice.kind, Kind::Delivered | Kind::Expanded) => Ok(()),
            None => writeln!(text, "Diagnostic-Code: x-pillarbox; {trouble}"),
        };
        let _ = writeln!(text, "Last-Attempt-Date: {}", notice.date);
        if let Kind::Delayed { until } = notice.kind {
            let _ = writeln!(text, "Will-Retry-Until: {}", date::rfc5322(until));
        }
    }
    text
}

#[cfg(test)]
mod tests;
