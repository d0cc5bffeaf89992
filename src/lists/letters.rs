//! What a list writes itself. All of it says that a program wrote it, so that no other program answers (RFC 3834 §3), and goes out
//! under the null sender, so that nothing comes back.

use super::{Identity, Settings};
use crate::mail::Address;
use std::fmt::Write;

/// A message that goes with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// `message/rfc822`, or `text/rfc822-headers` for a header alone.
    pub media: &'static str,
    /// With LF line ends.
    pub text: Vec<u8>,
    /// It may go only where REQUIRETLS lets it (RFC 8689).
    pub is_secret: bool,
}

/// A letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Whom it is for.
    pub to: Address,
    /// Where an answer goes, if not to `NAME-request`.
    pub reply_to: Option<String>,
    /// One line.
    pub subject: String,
    /// Lines.
    pub body: String,
    /// The post it is about.
    pub attached: Option<Attached>,
}

impl Text {
    /// One without more.
    pub fn new(to: &Address, subject: String, body: String) -> Text {
        Text { to: to.clone(), reply_to: None, subject, body, attached: None }
    }

    /// With LF line ends. `id`: of the letter; `date`: now (RFC 5322 §3.3).
    pub fn write(&self, list: &Identity, id: &str, date: &str) -> Vec<u8> {
        let to = self.to.to_ascii().unwrap_or_else(|| self.to.clone());
        let domain = list.domain.to_ascii();
        let mut head = format!("From: {} list <{}>\nTo: <{to}>\n", list.name, list.other("request"));
        let _ = self.reply_to.iter().try_for_each(|address| writeln!(head, "Reply-To: <{address}>"));
        let _ = write!(
            head,
            "Subject: {}\nDate: {date}\nMessage-ID: <{id}@{domain}>\nAuto-Submitted: auto-replied\nPrecedence: bulk\n\
             X-Loop: {}\nMIME-Version: 1.0\n",
            self.subject,
            list.address(),
        );
        let media = |text: &[u8]| if text.is_ascii() { ("us-ascii", "7bit") } else { ("utf-8", "8bit") };
        let (charset, encoding) = media(self.body.as_bytes());
        let text = format!("Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n{}", self.body);
        let Some(Attached { media: kind, text: attached, .. }) = &self.attached else { return (head + &text).into_bytes() };
        let mut boundary = format!("post-{id}");
        while memchr::memmem::find(attached, boundary.as_bytes()).is_some() {
            boundary.push('_');
        }
        let (_, inner) = media(attached);
        let _ = write!(
            head,
            "Content-Type: multipart/mixed; boundary=\"{boundary}\"\n\n--{boundary}\n{text}\n--{boundary}\n\
             Content-Type: {kind}\nContent-Transfer-Encoding: {inner}\n\n"
        );
        [head.as_bytes(), attached, format!("\n--{boundary}--\n").as_bytes()].concat()
    }
}

/// What there is, for who asks.
pub fn help(to: &Address, list: &Identity, settings: &Settings) -> Text {
    let about = if settings.description.is_empty() { String::new() } else { format!("{}\n\n", settings.description) };
    let subscribe = match settings.is_closed {
        true => "To become a member, write to the owner: this list is closed.".to_owned(),
        false => format!("To become a member, write to\n    {}", list.other("subscribe")),
    };
    let body = format!(
        "This is the mailing list {address}.\n\n{about}{subscribe}\n\nTo be none any more, write to\n    {}\n\n\
         What goes to all members, goes to\n    {address}\n\nThe owner reads\n    {}\n",
        list.other("unsubscribe"),
        list.other("owner"),
        address = list.address(),
    );
    Text::new(to, format!("How to use the list {}", list.name), body)
}

impl Identity {
    /// Somebody wished that for this address; only who reads its mail can say yes. `mark`: of the address to say it to.
    pub fn ask(&self, to: &Address, is_subscription: bool, mark: &str, days: i64) -> Text {
        let (wish, verb) = if is_subscription { ("become a member of", "subscribe") } else { ("leave", "unsubscribe") };
        let body = format!(
            "Somebody, perhaps you, wished that\n    {to}\nwould {wish} the mailing list\n    {}\n\n\
             If that is what you want, answer this message as it is, within {days} days.\n\
             If not, do nothing: nothing will happen.\n",
            self.address()
        );
        let mut text = Text::new(to, format!("Confirm: {verb} {}", to.to_ascii().as_ref().unwrap_or(to)), body);
        text.reply_to = Some(self.other(&format!("confirm+{mark}")));
        text
    }

    /// It was wished, and is so already.
    pub fn already(&self, to: &Address, is_member: bool) -> Text {
        let state = if is_member { "is a member already" } else { "is not a member" };
        let body = format!(
            "Somebody, perhaps you, wished for a change, but there is nothing to do:\n    {to}\n{state} of the mailing list\n    {}\n",
            self.address()
        );
        Text::new(to, format!("About the list {}", self.name), body)
    }

    /// It has become a member.
    pub fn welcome(&self, to: &Address, settings: &Settings) -> Text {
        let Text { body, .. } = help(to, self, settings);
        Text::new(to, format!("Welcome to the list {}", self.name), format!("You are a member now, as\n    {to}\n\n{body}"))
    }

    /// It is none any more.
    pub fn goodbye(&self, to: &Address) -> Text {
        let body = format!("    {to}\nis no longer a member of the mailing list\n    {}\n", self.address());
        Text::new(to, format!("You have left the list {}", self.name), body)
    }

    /// Nobody becomes a member by mail.
    pub fn closed(&self, to: &Address) -> Text {
        let body = format!(
            "The mailing list {} is closed. To become a member, write to its owner:\n    {}\n",
            self.address(),
            self.other("owner")
        );
        Text::new(to, format!("About the list {}", self.name), body)
    }

    /// A post waits for a moderator. `mark`: of the address that takes the decision.
    pub fn waits(&self, to: &Address, author: &str, subject: &str, why: &str, mark: &str, post: Attached) -> Text {
        let address = self.other(&format!("moderate+{mark}"));
        let body = format!(
            "A post to the mailing list {} waits for you: {why}.\n\n    From: {author}\n    Subject: {subject}\n\n\
             Answer this message with the word `approve` in the first line, and it goes to all members;\n\
             with `reject`, and it comes back; with `discard`, and nobody hears of it. Or write to one of these:\n\n    \
             mailto:{address}?subject=approve\n    mailto:{address}?subject=reject\n    mailto:{address}?subject=discard\n\nWho answers first decides.\n",
            self.address()
        );
        Text {
            reply_to: Some(address),
            attached: Some(post),
            ..Text::new(to, format!("A post to {} waits for you", self.name), body)
        }
    }

    /// What a moderator asked can't be.
    pub fn not_judged(&self, to: &Address, why: &str) -> Text {
        Text::new(to, format!("About a post to {}", self.name), format!("{why}\n"))
    }

    /// Its post was not taken.
    pub fn rejected(&self, to: &Address, subject: &str) -> Text {
        let body = format!("The moderators of the mailing list {} did not take your post\n    {subject}\n", self.address());
        Text::new(to, format!("Your post to {} was not taken", self.name), body)
    }

    /// Nobody decided on its post.
    pub fn expired(&self, to: &Address, subject: &str, days: u32) -> Text {
        let body = format!(
            "Your post to the mailing list {}\n    {subject}\nwaited for a moderator for {days} days, and none decided. It went to nobody.\n",
            self.address()
        );
        Text::new(to, format!("Your post to {} was not taken", self.name), body)
    }

    /// Mail for a member came back; if this does, too, it is a member no more.
    pub fn probe(&self, to: &Address, days: u32, pause: i64) -> Text {
        let body = format!(
            "Mail of the mailing list\n    {}\nto\n    {to}\ncame back, on {days} days. You get no mail of the list for {pause} days.\n\n\
             This message is a probe: if it reaches you, there is nothing you have to do.\nIf it comes back too, you are no longer a member.\n",
            self.address()
        );
        Text::new(to, format!("Mail of the list {} did not reach you", self.name), body)
    }

    /// For the owner.
    pub fn removed(&self, to: &Address, member: &Address) -> Text {
        let body = format!(
            "    {member}\nis no longer a member of the mailing list\n    {}\nMail for it came back for days, and so did a probe.\n",
            self.address()
        );
        Text::new(to, format!("{}: a member was removed", self.name), body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Name;
    use crate::mail::Domain;
    use crate::mail::structure::Structure;

    fn list() -> Identity {
        Identity { name: Name::parse("staff").unwrap(), domain: Domain::parse("me.example").unwrap() }
    }

    #[test]
    fn a_letter_says_that_a_program_wrote_it() {
        let text = list().ask(&"bob@x.test".parse().unwrap(), true, "s-1-x", 3);
        let text = String::from_utf8(text.write(&list(), "id", "today")).unwrap();
        let head = "From: staff list <staff-request@me.example>\nTo: <bob@x.test>\nReply-To: <staff-confirm+s-1-x@me.example>\n\
                    Subject: Confirm: subscribe bob@x.test\nDate: today\nMessage-ID: <id@me.example>\n\
                    Auto-Submitted: auto-replied\nPrecedence: bulk\nX-Loop: staff@me.example\n";
        assert!(text.starts_with(head), "{text}");
    }

    #[test]
    fn a_post_goes_with_it_as_it_is() {
        let post = b"Subject: x\n\n--post-id\nbody\n".to_vec();
        let attached = Attached { media: "message/rfc822", text: post.clone(), is_secret: false };
        let text = list().waits(&"o@x.test".parse().unwrap(), "eve", "x", "why", "m", attached).write(&list(), "id", "today");
        let structure = Structure::of(&text);
        let part = structure.parts.iter().find(|part| part.is("message", "rfc822")).unwrap();
        let body = &text[usize::try_from(part.body.start).unwrap()..usize::try_from(part.body.end).unwrap()];
        assert_eq!(body, &post[..], "{}", String::from_utf8_lossy(&text));
    }
}
