//! NOTIFY (RFC 5465): of which events in which mailboxes a session is to be told. Pure.

use super::cursor::{Bad, Cursor, Parsed};
use super::fetch::{self, Item};
use super::filter::{Filter, filter};

/// Groups of one command.
const MOST: usize = 1000;

/// What a client wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// How the mailboxes stand now is told at once.
    pub status: bool,
    /// Mailboxes, and the events in them.
    pub groups: Vec<(Filter, Events)>,
}

/// Which events (RFC 5465 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// MessageNew and MessageExpunge, which go together.
    pub messages: bool,
    /// What is fetched of new messages.
    pub fetch: Vec<Item>,
    /// FlagChange
    pub flags: bool,
    /// MailboxName
    pub names: bool,
    /// SubscriptionChange
    pub subscriptions: bool,
    /// MailboxMetadataChange
    pub notes: bool,
    /// ServerMetadataChange
    pub server_notes: bool,
    /// One that we know nothing of.
    pub unknown: bool,
}

impl Events {
    /// These and others. (What is fetched is told of one mailbox only.)
    pub fn with(self, other: &Events) -> Events {
        Events {
            messages: self.messages || other.messages,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
            notes: self.notes || other.notes,
            server_notes: self.server_notes || other.server_notes,
            ..self
        }
    }
}

/// The events that can be asked for, by their names.
pub const EVENTS: [&str; 7] = [
    "MessageNew",
    "MessageExpunge",
    "FlagChange",
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
];

/// ```abnf
/// notify        = "NOTIFY" SP (notify-set / "NONE")                             ; RFC 5465 §8
/// notify-set    = "SET" [SP "STATUS"] SP event-group *(SP event-group)
/// ```
/// None: no event at all.
pub fn notify(cursor: &mut Cursor<'_>) -> Parsed<Option<Notify>> {
    if cursor.eat_word("NONE") {
        return Ok(None);
    }
    if !cursor.eat_word("SET ") {
        return Err(Bad("SET or NONE is missing"));
    }
    let status = cursor.eat_word("STATUS ");
    let mut groups = vec![group(cursor)?];
    while cursor.eat(b' ') {
        groups.push(group(cursor)?);
    }
    let selected = groups.iter().filter(|(filter, _)| matches!(filter, Filter::Selected { .. })).count();
    match () {
        () if selected > 1 => Err(Bad("there is one selected mailbox")),
        () if groups.len() > MOST => Err(Bad("too many groups")),
        () => Ok(Some(Notify { status, groups })),
    }
}

/// `event-group = "(" filter-mailboxes SP events ")"`
fn group(cursor: &mut Cursor<'_>) -> Parsed<(Filter, Events)> {
    cursor.expect(b'(', "a group is missing")?;
    let filter = filter(cursor)?;
    if matches!(filter, Filter::SubtreeOne(_)) {
        return Err(Bad("no such mailboxes"));
    }
    cursor.space()?;
    let events = events(cursor)?;
    cursor.expect(b')', "a group does not end")?;
    check(&filter, &events)?;
    Ok((filter, events))
}

/// ```abnf
/// events        = ("(" event *(SP event) ")") / "NONE"
/// event         = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / "MessageExpunge" / "FlagChange" / …
/// ```
/// The RFC's examples lack the parentheses; so may commands.
fn events(cursor: &mut Cursor<'_>) -> Parsed<Events> {
    let mut seen = Seen::default();
    if cursor.eat_word("NONE") {
        return Ok(seen.events);
    }
    let listed = cursor.eat(b'(');
    seen.event(cursor)?;
    while cursor.eat(b' ') {
        seen.event(cursor)?;
    }
    if listed {
        cursor.expect(b')', "a list does not end")?;
    }
    // RFC 5465 §5
    match () {
        () if seen.new != seen.expunge => Err(Bad("MessageNew and MessageExpunge go together")),
        () if seen.change && !seen.new => Err(Bad("changes go with MessageNew and MessageExpunge")),
        () => Ok(Events { messages: seen.new, ..seen.events }),
    }
}

/// What was read of a list of events.
#[derive(Default)]
struct Seen {
    new: bool,
    expunge: bool,
    /// FlagChange or AnnotationChange.
    change: bool,
    events: Events,
}

impl Seen {
    fn event(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        match cursor.atom()?.to_ascii_uppercase().as_str() {
            "MESSAGENEW" => {
                self.new = true;
                if cursor.rest().starts_with(b" (") {
                    cursor.space()?;
                    self.events.fetch = fetch::items(cursor)?;
                }
            }
            "MESSAGEEXPUNGE" => self.expunge = true,
            "FLAGCHANGE" => (self.change, self.events.flags) = (true, true),
            "ANNOTATIONCHANGE" => (self.change, self.events.unknown) = (true, true),
            "MAILBOXNAME" => self.events.names = true,
            "SUBSCRIPTIONCHANGE" => self.events.subscriptions = true,
            "MAILBOXMETADATACHANGE" => self.events.notes = true,
            "SERVERMETADATACHANGE" => self.events.server_notes = true,
            _ => self.events.unknown = true,
        }
        Ok(())
    }
}

/// RFC 5465 §6.1, §8
fn check(filter: &Filter, events: &Events) -> Parsed<()> {
    match filter {
        Filter::Selected { .. } if events.names || events.subscriptions || events.notes || events.server_notes => {
            Err(Bad("of the selected mailbox only messages can be told"))
        }
        Filter::Selected { .. } => Ok(()),
        _ if !events.fetch.is_empty() => Err(Bad("only of the selected mailbox something can be fetched")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed<Option<Notify>> {
        let mut cursor = Cursor::new(text.as_bytes());
        let notify = notify(&mut cursor)?;
        cursor.end()?;
        Ok(notify)
    }

    fn groups(text: &str) -> Vec<(Filter, Events)> {
        read(text).unwrap().unwrap().groups
    }

    #[test]
    fn what_the_rfc_shows() {
        assert_eq!(read("none"), Ok(None));
        // With and without parentheses around the events.
        let bare = "set status (selected MessageNew (uid) MessageExpunge) (subtree Lists MessageNew MessageExpunge)";
        let whole = "SET STATUS (SELECTED (MessageNew (UID) MessageExpunge)) (subtree (Lists) (messagenew messageexpunge))";
        assert_eq!(read(bare), read(whole));
        let messages = Events { messages: true, ..Events::default() };
        let expected = vec![
            (Filter::Selected { delayed: false }, Events { fetch: vec![Item::Uid], ..messages.clone() }),
            (Filter::Subtree(vec![b"Lists".to_vec()]), messages),
        ];
        assert_eq!(read(bare), Ok(Some(Notify { status: true, groups: expected })));
        let names = Events { names: true, subscriptions: true, ..Events::default() };
        assert_eq!(groups("SET (mailboxes (a \"b c\") (MailboxName SubscriptionChange))")[0].1, names);
        assert_eq!(groups("SET (selected-delayed NONE)"), [(Filter::Selected { delayed: true }, Events::default())]);
        assert!(groups("SET (personal (AclChange MailboxName))")[0].1.unknown);
    }

    #[test]
    fn what_does_not_go_together() {
        for bad in [
            "SET",
            "SET ()",
            "SET (personal)",
            "SET (personal ())",
            "SET (everybody NONE)",
            "SET (personal MessageNew)",
            "SET (personal (MessageExpunge))",
            "SET (personal (FlagChange))",
            "SET (personal (AnnotationChange))",
            "SET (personal (MessageNew (UID) MessageExpunge))",
            "SET (selected (MailboxName))",
            "SET (selected (ServerMetadataChange))",
            "SET (selected NONE) (selected-delayed NONE)",
            "SET (subtree () NONE)",
            "SET (subtree NONE)",
            "SET (personal (MailboxName)",
            "NONE NONE",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
