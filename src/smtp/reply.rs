//! Replies (RFC 5321 §4.2) with enhanced status codes (RFC 2034, RFC 3463, RFC 5248): what a server says.

use std::borrow::Cow;

/// A reply: code, enhanced code, text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// Empty: none, as in greetings and for 354 (RFC 2034 §4).
    enhanced: &'static str,
    /// Lines are parted by LF.
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply that is always the same.
    pub const fn fixed(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
        Reply { code, enhanced, text: Cow::Borrowed(text) }
    }

    /// A reply with a text of its own; LF parts its lines.
    pub fn new(code: u16, enhanced: &'static str, text: String) -> Reply {
        Reply { code, enhanced, text: Cow::Owned(text) }
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Without code.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Did the client do something wrong?
    pub fn is_fault(&self) -> bool {
        self.code >= 500
    }

    /// Appends it in wire form, every line with its code. Whatever is not printable ASCII goes out as `?`.
    ///
    /// ```abnf
    /// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
    /// ```
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let digit = |place: u16| b'0' + (self.code / place % 10) as u8;
            out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            if !self.enhanced.is_empty() {
                out.extend_from_slice(self.enhanced.as_bytes());
                out.push(b' ');
            }
            out.extend(line.bytes().map(|byte| if matches!(byte, b' '..=b'~') { byte } else { b'?' }));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Done.
pub const OK: Reply = Reply::fixed(250, "2.0.0", "Ok");
/// The sender was taken down.
pub const SENDER_OK: Reply = Reply::fixed(250, "2.1.0", "Ok");
/// The recipient was taken down.
pub const RECIPIENT_OK: Reply = Reply::fixed(250, "2.1.5", "Ok");
/// VRFY tells nothing (RFC 5321 §3.5.3).
pub const NOT_VERIFIED: Reply = Reply::fixed(252, "2.5.0", "Not verified here; send mail and see");
/// Goodbye.
pub const BYE: Reply = Reply::fixed(221, "2.0.0", "Goodbye");
/// The handshake may begin.
pub const START_TLS: Reply = Reply::fixed(220, "2.0.0", "Begin TLS");
/// Logged in.
pub const LOGGED_IN: Reply = Reply::fixed(235, "2.7.0", "Welcome");
/// The message may be sent.
pub const GO_AHEAD: Reply = Reply::fixed(354, "", "Send the message, end it with a dot on a line of its own");

/// The server stops, or wants its thread back.
pub const STOPPING: Reply = Reply::fixed(421, "4.3.2", "Closing down, come back later");
/// Nothing came for too long.
pub const TIMED_OUT: Reply = Reply::fixed(421, "4.4.2", "Waited too long");
/// `limits.errors` is reached.
pub const TOO_MANY_ERRORS: Reply = Reply::fixed(421, "4.7.0", "Too many errors");
/// A session that does nothing.
pub const TOO_IDLE: Reply = Reply::fixed(421, "4.7.0", "Too many commands without a message");
/// HTTP, and the like.
pub const WRONG_PROTOCOL: Reply = Reply::fixed(421, "4.7.0", "This is a mail server");
/// Something broke here.
pub const LOCAL_ERROR: Reply = Reply::fixed(451, "4.3.0", "Local error, try again later");
/// `submission.per_hour` or `per_day` is reached.
pub const SENT_TOO_MUCH: Reply = Reply::fixed(450, "4.7.1", "Too many recipients for now, try again later");
/// No room on the disk.
pub const NO_ROOM: Reply = Reply::fixed(452, "4.3.1", "No room at present, try again later");
/// Nothing is left of the recipient's `limits.quota`.
pub const OVER_QUOTA: Reply = Reply::fixed(452, "4.2.2", "The mailbox is full, try again later");
/// `limits.recipients` is reached; the rest may come in another transaction (RFC 5321 §4.5.3.1.10).
pub const TOO_MANY_RECIPIENTS: Reply = Reply::fixed(452, "4.5.3", "Too many recipients, send the rest later");
/// The password can't be checked now.
pub const LOGIN_LATER: Reply = Reply::fixed(454, "4.7.0", "Can't check this now, try again later");
/// TLS can't be had (RFC 3207 §4).
pub const NO_TLS: Reply = Reply::fixed(454, "4.7.0", "TLS is not available");

/// Not a line.
pub const UNREADABLE: Reply = Reply::fixed(500, "5.5.2", "Commands are printable ASCII and end in CRLF");
/// A line over its bound.
pub const LINE_TOO_LONG: Reply = Reply::fixed(500, "5.5.2", "Line too long");
/// The same within AUTH (RFC 4954 §6).
pub const RESPONSE_TOO_LONG: Reply = Reply::fixed(500, "5.5.6", "Line too long");
/// No such verb.
pub const UNKNOWN: Reply = Reply::fixed(500, "5.5.2", "Unknown command");
/// Something is missing or too much.
pub const BAD_ARGUMENTS: Reply = Reply::fixed(501, "5.5.4", "Can't read the command's arguments");
/// Not a reverse-path.
pub const BAD_SENDER: Reply = Reply::fixed(501, "5.1.7", "Not a sender address: MAIL FROM:<user@domain>");
/// Not a forward-path.
pub const BAD_RECIPIENT: Reply = Reply::fixed(501, "5.1.3", "Not a recipient address: RCPT TO:<user@domain>");
/// Not base64, or not what the mechanism sends.
pub const BAD_RESPONSE: Reply = Reply::fixed(501, "5.5.2", "Can't decode this response");
/// The client sent `*` (RFC 4954 §4).
pub const CANCELLED: Reply = Reply::fixed(501, "5.7.0", "Cancelled");
/// A verb of the standard that is not served here.
pub const NOT_IMPLEMENTED: Reply = Reply::fixed(502, "5.5.1", "Not available here");
/// Before the greeting.
pub const GREET_FIRST: Reply = Reply::fixed(503, "5.5.1", "Say hello first");
/// Outside a transaction.
pub const MAIL_FIRST: Reply = Reply::fixed(503, "5.5.1", "Not now; MAIL comes first");
/// No recipient was accepted.
pub const RCPT_FIRST: Reply = Reply::fixed(503, "5.5.1", "No valid recipients");
/// Between the chunks of a message.
pub const IN_CHUNKS: Reply = Reply::fixed(503, "5.5.1", "The message has begun: BDAT or RSET");
/// Within a transaction.
pub const IN_TRANSACTION: Reply = Reply::fixed(503, "5.5.1", "Not within a transaction");
/// AUTH twice.
pub const LOGGED_IN_ALREADY: Reply = Reply::fixed(503, "5.5.1", "Already logged in");
/// STARTTLS twice.
pub const TLS_ALREADY: Reply = Reply::fixed(503, "5.5.1", "TLS is already in use");
/// Commands behind STARTTLS or DATA, where the standard wants the client to wait (RFC 2920 §3.1, RFC 3207 §4.2).
pub const PIPELINED: Reply = Reply::fixed(503, "5.5.0", "Wait for the reply before you go on");
/// AUTH with something else.
pub const NO_MECHANISM: Reply = Reply::fixed(504, "5.5.4", "No such mechanism");
/// Submission without login.
pub const LOG_IN_FIRST: Reply = Reply::fixed(530, "5.7.0", "Log in first");
/// Submission without TLS.
pub const TLS_FIRST: Reply = Reply::fixed(530, "5.7.0", "Say STARTTLS first");
/// Wrong name or password.
pub const WRONG_CREDENTIALS: Reply = Reply::fixed(535, "5.7.8", "Wrong name or password");
/// REQUIRETLS where others can listen (RFC 8689 §2).
pub const SECRET_IN_PLAIN: Reply = Reply::fixed(530, "5.7.10", "REQUIRETLS is for encrypted sessions, say STARTTLS first");
/// No passwords in the clear (RFC 4954 §6).
pub const ENCRYPT_FIRST: Reply = Reply::fixed(538, "5.7.11", "Passwords are taken only under TLS");
/// Nobody of that name.
pub const NO_USER: Reply = Reply::fixed(550, "5.1.1", "No such user here");
/// A bare CR or LF, or a NUL, in a message.
pub const MALFORMED_MESSAGE: Reply = Reply::fixed(550, "5.6.0", "Lines end in CRLF and nothing else; no NUL");
/// Over SIZE.
pub const TOO_BIG: Reply = Reply::fixed(552, "5.3.4", "Message too big");
/// The header over its bound.
pub const HEADER_TOO_BIG: Reply = Reply::fixed(552, "5.3.4", "Header too big");
/// The client did not wait for the greeting.
pub const EARLY: Reply = Reply::fixed(554, "5.5.0", "You spoke before the greeting");
/// It goes round in circles.
pub const LOOP: Reply = Reply::fixed(554, "5.4.6", "This message has been here before");
/// A sender beyond ASCII without SMTPUTF8 (RFC 6531 §3.5).
pub const SENDER_NEEDS_UTF8: Reply = Reply::fixed(550, "5.6.7", "This sender address needs SMTPUTF8");
/// The same of a recipient.
pub const RECIPIENT_NEEDS_UTF8: Reply = Reply::fixed(553, "5.6.7", "This recipient address needs SMTPUTF8");
/// Somebody else's, or nobody's here (RFC 6409 §6.1).
pub const NOT_YOUR_SENDER: Reply = Reply::fixed(550, "5.7.1", "This sender address is not yours");
/// We don't relay for you.
pub const NO_RELAY: Reply = Reply::fixed(554, "5.7.1", "Relaying denied");
/// A parameter that was not offered (RFC 5321 §4.1.1.11).
pub const UNKNOWN_PARAMETER: Reply = Reply::fixed(555, "5.5.4", "Unknown parameter");

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_has_the_code() {
        assert_eq!(written(&OK), "250 2.0.0 Ok\r\n");
        assert_eq!(written(&GO_AHEAD), "354 Send the message, end it with a dot on a line of its own\r\n");
        assert_eq!(written(&Reply::new(250, "", "a\nb\nc".into())), "250-a\r\n250-b\r\n250 c\r\n");
        assert_eq!(written(&Reply::new(214, "2.0.0", "a\nb".into())), "214-2.0.0 a\r\n214 2.0.0 b\r\n");
        assert_eq!(written(&Reply::new(550, "", "a\r\t\u{e4}".into())), "550 a????\r\n");
    }
}
