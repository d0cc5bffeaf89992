//! The ways in which a host can fail, and what must come of each.

use super::server::{At, Dialect, How};

/// What becomes of a recipient.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// It has the message after the first try.
    Arrives,
    /// It waits, the queue names this as the reason, and the next try brings it.
    Waits(&'static str),
    /// The sender gets a report at once, with this status.
    Fails(&'static str),
}

/// A way to fail.
#[derive(Copy, Clone, Debug)]
pub struct Row {
    pub at: At,
    pub how: How,
    /// Of the first and of the second recipient.
    pub then: [Then; 2],
    pub dialects: &'static [Dialect],
}

use Then::{Arrives, Fails, Waits};

const ALL: &[Dialect] = &[Dialect::Plain, Dialect::Pipelining, Dialect::Chunking, Dialect::Lmtp];
/// Those that say DATA.
const DATA: &[Dialect] = &[Dialect::Plain, Dialect::Pipelining, Dialect::Lmtp];
const LMTP: &[Dialect] = &[Dialect::Lmtp];
const PIPED: &[Dialect] = &[Dialect::Pipelining];
/// Those in which a reply is awaited before the next command is said.
const PLAIN: &[Dialect] = &[Dialect::Plain];
const TLS: &[Dialect] = &[Dialect::Starttls];

const NOT_IN_TIME: Then = Waits("did not answer in time");
const BROKEN_OFF: Then = Waits("broke the connection off");
const NO_SMTP: Then = Waits("did not speak SMTP");
/// In a transaction.
const BROKE: Then = Waits("broke off");

const fn row(at: At, how: How, then: Then, dialects: &'static [Dialect]) -> Row {
    Row { at, how, then: [then, then], dialects }
}

/// Of several recipients this step concerns one.
const fn one(how: How, first: Then, second: Then) -> Row {
    Row { at: At::Rcpt, how, then: [first, second], dialects: ALL }
}

/// In LMTP each recipient hears of itself; the first one has it.
const fn each(how: How, second: Then) -> Row {
    Row { at: At::Each, how, then: [Arrives, second], dialects: LMTP }
}

pub const ROWS: &[Row] = &[
    row(At::Connect, How::Leave(""), Waits("could not be reached"), PLAIN),
    // Before there is a transaction: it concerns the host.
    row(At::Greeting, How::Stall(""), NOT_IN_TIME, PLAIN),
    row(At::Greeting, How::Leave(""), BROKEN_OFF, PLAIN),
    row(At::Greeting, How::Reset(""), BROKEN_OFF, PLAIN),
    row(At::Greeting, How::Leave("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy"), PLAIN),
    row(At::Greeting, How::Say("450 later\r\n"), Waits("450 later"), PLAIN),
    row(At::Greeting, How::Say("554 5.3.2 not you\r\n"), Waits("554 5.3.2 not you"), PLAIN),
    row(At::Greeting, How::Say("521 5.3.2 never any mail\r\n"), Fails("5.3.2"), PLAIN),
    row(At::Greeting, How::Say("250 ok\r\n"), NO_SMTP, PLAIN),
    row(At::Greeting, How::Say("220-one\r\n550 two\r\n"), NO_SMTP, PLAIN),
    row(At::Greeting, How::Leave("220-one\r\n"), BROKEN_OFF, PLAIN),
    row(At::Greeting, How::Stall("220-one\r\n"), NOT_IN_TIME, PLAIN),
    row(At::Greeting, How::Stall("220 one"), NOT_IN_TIME, PLAIN),
    row(At::Greeting, How::Say("SSH-2.0-OpenSSH_9.9\r\n"), NO_SMTP, PLAIN),
    row(At::Greeting, How::Say("\0\u{1b}[2J\u{7f}\r\n"), NO_SMTP, PLAIN),
    row(At::Greeting, How::Drip("220 sink.test ESMTP\r\n"), NOT_IN_TIME, PLAIN),
    row(At::Greeting, How::Flood("220-and another line\r\n"), NO_SMTP, PLAIN),
    row(At::Greeting, How::Flood("220 and no end of the line "), NO_SMTP, PLAIN),
    // Every reply in advance, and nobody reads what is sent.
    row(At::Greeting, How::Stall("220 x\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n250 taken\r\n"), NO_SMTP, PLAIN),
    row(At::Ehlo, How::Stall(""), NOT_IN_TIME, PLAIN),
    row(At::Ehlo, How::Leave(""), BROKEN_OFF, PLAIN),
    row(At::Ehlo, How::Reset(""), BROKEN_OFF, PLAIN),
    row(At::Ehlo, How::Leave("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy"), PLAIN),
    row(At::Ehlo, How::Say("451 4.7.1 later\r\n"), Waits("451 4.7.1 later"), PLAIN),
    row(At::Ehlo, How::Say("550 5.7.1 what?\r\n"), Arrives, PLAIN),
    row(At::Ehlo, How::Say("250-one\r\n251 two\r\n"), NO_SMTP, PLAIN),
    row(At::Ehlo, How::Say("354 go\r\n"), NO_SMTP, PLAIN),
    row(At::Ehlo, How::Say("250_sink.test\r\n"), NO_SMTP, PLAIN),
    row(At::Ehlo, How::Leave("250-one\r\n"), BROKEN_OFF, PLAIN),
    row(At::Ehlo, How::Drip("250 sink.test\r\n"), NOT_IN_TIME, PLAIN),
    row(At::Ehlo, How::Flood("250-X-ANOTHER\r\n"), NO_SMTP, PLAIN),
    row(At::Ehlo, How::Flood("250 X-LONG-"), NO_SMTP, PLAIN),
    row(At::Ehlo, How::Stall("250 sink.test\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 taken\r\n"), BROKE, PLAIN),
    // What does not know LHLO is no store, and HELO makes it none.
    row(At::Ehlo, How::Say("500 5.5.1 what?\r\n"), Waits("500 5.5.1 what?"), LMTP),
    row(At::Ehlo, How::Say("451 4.7.1 later\r\n"), Waits("451 4.7.1 later"), LMTP),
    row(At::Helo, How::Stall(""), NOT_IN_TIME, PLAIN),
    row(At::Helo, How::Leave(""), BROKEN_OFF, PLAIN),
    row(At::Helo, How::Say("451 4.7.1 later\r\n"), Waits("451 4.7.1 later"), PLAIN),
    row(At::Helo, How::Say("550 5.7.1 not you\r\n"), Fails("5.7.1"), PLAIN),
    // Whoever can't be talked to in secret is talked to in the open (RFC 7435).
    row(At::Starttls, How::Stall(""), NOT_IN_TIME, TLS),
    row(At::Starttls, How::Leave(""), BROKEN_OFF, TLS),
    row(At::Starttls, How::Reset(""), BROKEN_OFF, TLS),
    row(At::Starttls, How::Leave("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy"), TLS),
    row(At::Starttls, How::Say("454 4.7.0 no keys\r\n"), Arrives, TLS),
    row(At::Starttls, How::Say("502 5.5.1 what?\r\n"), Arrives, TLS),
    row(At::Starttls, How::Say("garbage\r\n"), NO_SMTP, TLS),
    // Replies in plaintext behind it, in the same packet (RFC 3207 §6).
    row(At::Starttls, How::Stall("220 go\r\n250-evil.test\r\n250 CHUNKING\r\n250 a\r\n250 b\r\n250 taken\r\n"), Arrives, TLS),
    row(At::Starttls, How::Say("220 go\r\n250-evil.test\r\n250 CHUNKING\r\n250 a\r\n250 b\r\n250 taken\r\n"), Arrives, TLS),
    row(At::Handshake, How::Stall(""), Arrives, TLS),
    row(At::Handshake, How::Leave(""), Arrives, TLS),
    row(At::Handshake, How::Reset(""), Arrives, TLS),
    row(At::Handshake, How::Stall("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"), Arrives, TLS),
    row(At::Handshake, How::Leave("\u{16}\u{3}\u{1}\0\u{4}what"), Arrives, TLS),
    row(At::Handshake, How::Drip("\u{16}\u{3}\u{3}\0\u{30}\0\0"), Arrives, TLS),
    // In a transaction: it concerns the message.
    row(At::Mail, How::Stall(""), BROKE, ALL),
    row(At::Mail, How::Leave(""), BROKE, ALL),
    row(At::Mail, How::Reset(""), BROKE, ALL),
    row(At::Mail, How::Leave("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy"), ALL),
    row(At::Mail, How::Say("451 4.3.0 later\r\n"), Waits("451 4.3.0 later"), ALL),
    row(At::Mail, How::Say("550 5.7.1 not from you\r\n"), Fails("5.7.1"), ALL),
    row(At::Mail, How::Say("552 no room\r\n"), Fails("5.0.0"), ALL),
    row(At::Mail, How::Say("354 go\r\n"), BROKE, ALL),
    row(At::Mail, How::Say("250-one\r\n550 two\r\n"), BROKE, ALL),
    row(At::Mail, How::Say("2\r\n"), BROKE, ALL),
    row(At::Mail, How::Drip("250 ok\r\n"), BROKE, ALL),
    row(At::Mail, How::Flood("250-ok\r\n"), BROKE, ALL),
    row(At::Mail, How::Stall("250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 taken\r\n"), BROKE, ALL),
    one(How::Stall(""), BROKE, BROKE),
    one(How::Leave(""), BROKE, BROKE),
    one(How::Reset(""), BROKE, BROKE),
    one(How::Leave("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy"), Waits("421 4.3.2 busy")),
    one(How::Say("450 4.2.1 later\r\n"), Arrives, Waits("450 4.2.1 later")),
    one(How::Say("452 4.2.2 full\r\n"), Arrives, Waits("452 4.2.2 full")),
    one(How::Say("550 5.1.1 nobody\r\n"), Arrives, Fails("5.1.1")),
    one(How::Say("551 elsewhere\r\n"), Arrives, Fails("5.0.0")),
    one(How::Leave("550-5.1.1 nobody\r\n250 ok\r\n"), BROKE, BROKE),
    one(How::Leave("354 go\r\n"), BROKE, BROKE),
    one(How::Leave("\u{1b}[2Jok\r\n"), BROKE, BROKE),
    one(How::Drip("250 ok\r\n"), BROKE, BROKE),
    one(How::Flood("250"), BROKE, BROKE),
    row(At::Data, How::Stall(""), BROKE, DATA),
    row(At::Data, How::Leave(""), BROKE, DATA),
    row(At::Data, How::Reset(""), BROKE, DATA),
    row(At::Data, How::Leave("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy"), DATA),
    row(At::Data, How::Say("451 4.3.0 later\r\n"), Waits("451 4.3.0 later"), DATA),
    row(At::Data, How::Say("554 5.6.0 no\r\n"), Fails("5.6.0"), DATA),
    row(At::Data, How::Say("250 ok, but not go on\r\n"), BROKE, DATA),
    row(At::Data, How::Say("354-go\r\n250 on\r\n"), BROKE, DATA),
    row(At::Data, How::Stall("354 go\r\n250 taken\r\n"), BROKE, DATA),
    row(At::Data, How::Stall("354 go\r\n451 4.3.0 later\r\n"), Waits("451 4.3.0 later"), DATA),
    row(At::Data, How::Stall("354 go\r\n552 5.3.4 too big\r\n"), Fails("5.3.4"), DATA),
    row(At::Data, How::Drip("354 go\r\n"), BROKE, DATA),
    // It has a part of the message, and whatever it says it has no more.
    row(At::Body, How::Stall(""), BROKE, PIPED),
    row(At::Body, How::Deaf, BROKE, PIPED),
    row(At::Body, How::Leave(""), BROKE, PIPED),
    row(At::Body, How::Reset(""), BROKE, PIPED),
    row(At::Body, How::Stall("250 taken\r\n"), BROKE, PIPED),
    row(At::Body, How::Stall("250 taken\r\n250 taken\r\n"), BROKE, LMTP),
    row(At::Body, How::Say("250 taken\r\n"), BROKE, PIPED),
    row(At::Body, How::Stall("451 4.3.0 later\r\n"), Waits("451 4.3.0 later"), PIPED),
    row(At::Body, How::Stall("552 5.3.4 too big\r\n"), Fails("5.3.4"), PIPED),
    row(At::Body, How::Stall("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy"), PIPED),
    // It may have the message, and does not say so.
    row(At::Dot, How::Stall(""), BROKE, ALL),
    row(At::Dot, How::Leave(""), BROKE, ALL),
    row(At::Dot, How::Reset(""), BROKE, ALL),
    row(At::Dot, How::Leave("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy"), ALL),
    row(At::Dot, How::Say("451 4.3.0 later\r\n"), Waits("451 4.3.0 later"), ALL),
    row(At::Dot, How::Say("554 5.6.0 not like this\r\n"), Fails("5.6.0"), ALL),
    row(At::Dot, How::Say("354 go\r\n"), BROKE, ALL),
    row(At::Dot, How::Say("250-taken\r\n550 or not\r\n"), BROKE, ALL),
    row(At::Dot, How::Leave("250-taken\r\n"), BROKE, ALL),
    row(At::Dot, How::Leave("250 tak"), BROKE, ALL),
    row(At::Dot, How::Say("taken\r\n"), BROKE, ALL),
    row(At::Dot, How::Drip("250 taken\r\n"), BROKE, ALL),
    row(At::Dot, How::Flood("250-taken\r\n"), BROKE, ALL),
    each(How::Stall(""), BROKE),
    each(How::Leave(""), BROKE),
    each(How::Reset(""), BROKE),
    each(How::Leave("421 4.3.2 busy\r\n"), Waits("421 4.3.2 busy")),
    each(How::Say("452 4.2.2 full\r\n"), Waits("452 4.2.2 full")),
    each(How::Say("552 5.2.2 full for good\r\n"), Fails("5.2.2")),
    each(How::Say("354 go\r\n"), BROKE),
    each(How::Say("250-taken\r\n550 or not\r\n"), BROKE),
    each(How::Leave("250 tak"), BROKE),
    each(How::Drip("250 taken\r\n"), BROKE),
    // It has the message, whatever it does now.
    row(At::Quit, How::Stall(""), Arrives, ALL),
    row(At::Quit, How::Leave(""), Arrives, ALL),
    row(At::Quit, How::Reset(""), Arrives, ALL),
    row(At::Quit, How::Leave("421 4.3.2 busy\r\n"), Arrives, ALL),
    row(At::Quit, How::Say("500 what?\r\n"), Arrives, ALL),
    row(At::Quit, How::Flood("221-bye\r\n"), Arrives, ALL),
];
