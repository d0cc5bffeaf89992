//! What a message that is written begins with: nothing, a draft, or what it answers or forwards.

use super::choice;
use super::list::value;
use super::manner::Manner;
use super::message::{Asked, without_tags};
use super::outgoing::{addresses, mailbox};
use super::reference::{Reference, escaped};
use super::site::Context;
use crate::httpd::Status;
use crate::mail::structure::Part;
use crate::mail::{Address, Domain, words};
use crate::mailbox::FolderName;
use percent_encoding::percent_decode_str;

/// Message-IDs that References keeps: the first and the last ones.
const MOST_REFERENCES: usize = 20;
/// Texts of a message that are quoted.
const MOST_TEXTS: usize = 20;

/// What stands above the text of a message that is forwarded.
pub(super) const FORWARDED: &str = "---------- Forwarded message ----------";

/// The form as it is shown.
#[derive(Debug, Default)]
pub(super) struct Prefill {
    pub from: String,
    pub to: String,
    pub cc: String,
    pub bcc: String,
    pub subject: String,
    pub text: String,
    pub files: Vec<Kept>,
    /// How it is to be sent.
    pub manner: Manner,
    /// It was formatted, and will not be any more.
    pub loses_form: bool,
}

impl Prefill {
    /// Below what is written; above what is answered, where it would be missed otherwise.
    pub(super) fn sign(&mut self, signature: &str) {
        match (signature.is_empty(), self.text.is_empty()) {
            (true, _) => {}
            (false, true) => self.text = format!("\n\n-- \n{signature}\n"),
            (false, false) => self.text.insert_str(0, &format!("\n\n{signature}")),
        }
    }
}

/// A part of a message in a folder that becomes a file of this one.
#[derive(Debug)]
pub(super) struct Kept {
    pub source: Source,
    pub name: String,
    pub size: u64,
}

/// Where it is: `FOLDER/VALIDITY-UID/1.2`; without a number, the whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub folder: FolderName,
    pub message: Reference,
    pub part: Option<String>,
}

impl Source {
    pub(super) fn parse(text: &str) -> Option<Source> {
        let mut pieces = text.split('/');
        let folder = percent_decode_str(pieces.next()?).decode_utf8().ok()?;
        let (folder, message) = (FolderName::parse(&folder).ok()?, pieces.next()?.parse().ok()?);
        Some(Source { folder, message, part: pieces.next().map(str::to_owned) })
    }

    pub(super) fn find<'a>(&'a self, context: &Context<'_>) -> Result<Asked<'a>, Status> {
        Asked::find(context, &self.folder, &self.message.to_string())
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", escaped(self.folder.as_str()), self.message)?;
        self.part.as_ref().map_or(Ok(()), |part| write!(out, "/{part}"))
    }
}

/// The addresses under which a user may write: his name in each of our domains where it is his, and what he was given.
pub(super) fn own_addresses(context: &Context<'_>) -> Vec<Address> {
    let (config, post, user) = (&context.server.config, &context.server.post, &context.account().name);
    let granted =
        config.senders.iter().filter(|sender| sender.user.eq_ignore_ascii_case(user)).flat_map(|sender| &sender.addresses);
    let granted = granted.filter(|address| address.contains('@')).filter_map(|address| address.parse::<Address>().ok());
    let own = config.domains.iter().filter_map(|domain| Address::new(user, Domain::parse(domain).ok()?).ok());
    let is_own = |address: &Address| {
        post.owner(address, user).is_ok_and(|owner| owner.is_some_and(|owner| owner.eq_ignore_ascii_case(user)))
    };
    let mut found: Vec<Address> = Vec::new();
    for address in own.filter(is_own).chain(granted) {
        if found.iter().all(|known| known.key() != address.key()) {
            found.push(address);
        }
    }
    found
}

/// The domain of names without one.
pub(super) fn domain<'a>(context: &'a Context<'_>) -> &'a str {
    context.server.config.domains.first().unwrap_or(&context.server.config.hostname)
}

/// An answer to the sender, or to all.
pub(super) fn reply(context: &Context<'_>, asked: &Asked<'_>, all: bool) -> Result<Prefill, Status> {
    let header = asked.header()?;
    let own = own_addresses(context);
    let is_own = |address: &Address| own.iter().any(|known| known.key() == address.key());
    let read = |name: &str| addresses(value(&header, name), domain(context)).good;
    let from = read("From");
    let replies = read("Reply-To");
    // An answer to oneself goes on to whom one wrote.
    let wrote_it = from.first().is_some_and(|(_, address)| is_own(address));
    let mut to = match (wrote_it, replies.is_empty()) {
        (true, true) => read("To"),
        (_, false) => replies,
        (false, true) => from.clone(),
    };
    if to.is_empty() {
        to.clone_from(&from);
    }
    let mut cc = Vec::new();
    if all {
        let named = read("To").into_iter().chain(read("Cc"));
        for (name, address) in named.filter(|(_, address)| !is_own(address)) {
            if to.iter().chain(&cc).all(|(_, known)| known.key() != address.key()) {
                cc.push((name, address));
            }
        }
    }
    let named: Vec<Address> = read("To").into_iter().chain(read("Cc")).map(|(_, address)| address).collect();
    let who = from.first().map_or_else(
        || "Somebody".to_owned(),
        |(name, address)| if name.is_empty() { address.to_string() } else { name.clone() },
    );
    let quoted: String = text_of(asked)?.0.trim_end().lines().map(|line| quote(line) + "\n").collect();
    let date = words::decode(value(&header, "Date"));
    let introduction = if date.trim().is_empty() { format!("{who} wrote:") } else { format!("On {}, {who} wrote:", date.trim()) };
    Ok(Prefill {
        from: own
            .iter()
            .find(|own| named.iter().any(|named| named.key() == own.key()))
            .map(ToString::to_string)
            .unwrap_or_default(),
        to: shown(&to),
        cc: shown(&cc),
        subject: prefixed("Re: ", &words::decode(value(&header, "Subject"))),
        text: format!("\n\n{introduction}\n{quoted}"),
        ..Prefill::default()
    })
}

/// A message passed on: in this one's text, or as a file.
pub(super) fn forward(asked: &Asked<'_>, source: &Source, whole: bool) -> Result<Prefill, Status> {
    let header = asked.header()?;
    let subject = words::decode(value(&header, "Subject"));
    let mut prefill = Prefill { subject: prefixed("Fwd: ", &subject), ..Prefill::default() };
    if whole {
        prefill.files.push(whole_message(asked, source, subject.trim()));
        return Ok(prefill);
    }
    let mut text = format!("\n\n{FORWARDED}\n");
    for name in ["From", "Date", "Subject", "To", "Cc"] {
        let line = words::decode(value(&header, name));
        if !line.trim().is_empty() {
            text.push_str(&format!("{name}: {}\n", line.trim()));
        }
    }
    text.push('\n');
    text.push_str(&text_of(asked)?.0);
    prefill.text = text;
    prefill.files = files(asked, source);
    Ok(prefill)
}

/// A draft as it was left.
pub(super) fn draft(asked: &Asked<'_>, source: &Source) -> Result<Prefill, Status> {
    let header = asked.header()?;
    let read = |name: &str| {
        let typed = value(&header, name);
        let known = addresses(typed, "");
        // What is half an address is shown as it was typed.
        if known.wrong.is_empty() && !known.good.is_empty() { shown(&known.good) } else { words::decode(typed).trim().to_owned() }
    };
    let from = addresses(value(&header, "From"), "").good;
    let (text, loses_form) = text_of(asked)?;
    Ok(Prefill {
        from: from.first().map(|(_, address)| address.to_string()).unwrap_or_default(),
        to: read("To"),
        cc: read("Cc"),
        bcc: read("Bcc"),
        subject: words::decode(value(&header, "Subject")).trim().to_owned(),
        text,
        files: files(asked, source),
        manner: Manner::of_header(&header),
        loses_form,
    })
}

/// In-Reply-To and References of an answer (RFC 5322 §3.6.4).
pub(super) fn answering(header: &[u8]) -> Vec<(&'static str, String)> {
    let ids = |name: &str| -> Vec<String> {
        let text = words::raw(&crate::mail::header::unfold(value(header, name)));
        let is_id = |id: &&str| {
            id.len() > 2
                && id.len() < 500
                && id.starts_with('<')
                && id.ends_with('>')
                && id.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
        };
        text.split_whitespace().filter(is_id).map(str::to_owned).collect()
    };
    let Some(own) = ids("Message-ID").into_iter().next() else { return Vec::new() };
    let mut references = ids("References");
    if references.is_empty() {
        references = ids("In-Reply-To").into_iter().take(1).collect();
    }
    references.retain(|id| *id != own);
    if references.len() > MOST_REFERENCES {
        references.drain(1..=references.len() - MOST_REFERENCES);
    }
    references.push(own.clone());
    vec![("In-Reply-To", own), ("References", references.join("\n "))]
}

/// Those of a draft, as they stand.
pub(super) fn answered(header: &[u8]) -> Vec<(&'static str, String)> {
    let read = |name| -> Option<(&'static str, String)> {
        let text = words::raw(&crate::mail::header::unfold(value(header, name)));
        let ids: Vec<&str> = text.split_whitespace().filter(|id| id.is_ascii() && id.len() < 500).collect();
        (!ids.is_empty()).then(|| (name, ids.join("\n ")))
    };
    ["In-Reply-To", "References"].into_iter().filter_map(read).collect()
}

/// A file that is kept, as it was shown; none: it is gone.
pub(super) fn kept(context: &Context<'_>, source: &Source) -> Option<Kept> {
    let asked = source.find(context).ok()?;
    if source.part.is_some() {
        return files(&asked, source).into_iter().find(|file| file.source == *source);
    }
    let subject = words::decode(value(&asked.header().ok()?, "Subject"));
    Some(whole_message(&asked, source, subject.trim()))
}

fn whole_message(asked: &Asked<'_>, source: &Source, subject: &str) -> Kept {
    let size = asked.structure.parts.first().map_or(0, |root| root.body.end);
    let name = if subject.is_empty() { "message.eml".to_owned() } else { format!("{subject}.eml") };
    Kept { source: Source { part: None, ..source.clone() }, name, size }
}

/// The files of a message, to be kept.
fn files(asked: &Asked<'_>, source: &Source) -> Vec<Kept> {
    let choice = choice::choose(&asked.structure, false);
    let kept = |at: usize| {
        let part: &Part = asked.structure.parts.get(at)?;
        let number: Vec<String> = asked.structure.number(at).iter().map(u32::to_string).collect();
        let source = Source { part: Some(number.join(".")), ..source.clone() };
        Some(Kept { source, name: choice::file_name(part), size: part.body.end - part.body.start })
    };
    choice.files.into_iter().filter_map(kept).collect()
}

/// Its text, and whether formatting is lost in it.
fn text_of(asked: &Asked<'_>) -> Result<(String, bool), Status> {
    let choice = choice::choose(&asked.structure, false);
    let (mut text, mut loses) = (String::new(), choice.has_html);
    for &at in choice.texts.iter().take(MOST_TEXTS) {
        let Some(part) = asked.structure.parts.get(at) else { continue };
        let (words, _) = asked.text(part)?;
        if part.is("text", "html") {
            loses = true;
            text.push_str(&without_tags(&words));
        } else {
            text.push_str(&words);
        }
    }
    Ok((text.replace("\r\n", "\n"), loses))
}

fn quote(line: &str) -> String {
    if line.starts_with('>') { format!(">{line}") } else { format!("> {line}").trim_end().to_owned() }
}

fn prefixed(prefix: &str, subject: &str) -> String {
    let subject = subject.trim();
    let has = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(prefix.get(..3).unwrap_or_default()));
    if has { subject.to_owned() } else { format!("{prefix}{subject}") }
}

/// Addresses as a person reads and changes them: names in their own letters, quoted where a comma could end them.
pub(super) fn shown(list: &[(String, Address)]) -> String {
    let one = |(name, address): &(String, Address)| {
        let is_plain = |char: char| char.is_alphanumeric() || " '-_.".contains(char) && char != '.' || !char.is_ascii();
        let name = if name.chars().all(is_plain) {
            name.clone()
        } else {
            format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
        };
        mailbox(&name, address)
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_name_what_they_answer() {
        let of = |header: &str| answering(header.replace('\n', "\r\n").as_bytes());
        assert_eq!(of("Subject: x\n\n"), []);
        assert_eq!(of("Message-ID: <a@b>\n\n"), [("In-Reply-To", "<a@b>".to_owned()), ("References", "<a@b>".to_owned())]);
        let long: String = (0..50).map(|n| format!(" <{n}@b>\n")).collect();
        let [_, (_, references)] = &of(&format!("Message-ID: <own@b>\nReferences:{long}\n"))[..] else { panic!() };
        let ids: Vec<&str> = references.split_whitespace().collect();
        assert_eq!((ids.len(), ids[0], ids[20]), (MOST_REFERENCES + 1, "<0@b>", "<own@b>"));
        assert_eq!(of("Message-ID: <a@b> x\nIn-Reply-To: <q@b>\n <r@b>\n\n")[1].1, "<q@b>\n <a@b>");
    }

    #[test]
    fn subjects_and_quotes() {
        assert_eq!((prefixed("Re: ", "lunch"), prefixed("Re: ", "RE: lunch")), ("Re: lunch".into(), "RE: lunch".into()));
        assert_eq!(prefixed("Fwd: ", "Re: lunch"), "Fwd: Re: lunch");
        assert_eq!((quote("a"), quote("> a"), quote("")), ("> a".into(), ">> a".into(), ">".into()));
    }
}
