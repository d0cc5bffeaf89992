//! How a user wants to appear: a name for each of his addresses, and a signature; and whether
//! what he sends waits for a moment. They are annotations of the user's (METADATA,
//! RFC 5464), so that mail programs can have them, too.

use super::prefill::own_addresses;
use super::site::{Context, of_folders};
use crate::httpd::Status;
use crate::mail::{Address, words};
use crate::mailbox::NoteError;

/// A line for each address: it, a tab, the name.
const NAMES: &str = "/private/vendor/pillarbox/names";
/// The text below a message.
const SIGNATURE: &str = "/private/vendor/pillarbox/signature";
/// Messages wait for a moment before they leave.
const RECALL: &str = "/private/vendor/pillarbox/recall";

/// Characters of a name, and bytes of a signature.
const LONGEST_NAME: usize = 100;
const LONGEST_SIGNATURE: usize = 4 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Profile {
    names: Vec<(String, String)>,
    pub signature: String,
    /// What is sent can be taken back for a moment.
    pub recall: bool,
}

impl Profile {
    /// As it stands.
    pub(super) fn of(context: &Context<'_>) -> Result<Profile, Status> {
        let notes = context.folders()?.notes(None).map_err(of_folders)?;
        let text = |name: &str| notes.get(name).map(|note| words::raw(&note.value)).unwrap_or_default();
        let names = text(NAMES);
        let names = names.lines().filter_map(|line| line.split_once('\t'));
        let names = names.map(|(address, name)| (address.to_owned(), plain(name))).collect();
        Ok(Profile { names, signature: text(SIGNATURE), recall: notes.contains_key(RECALL) })
    }

    /// The name for an address; empty if it has none.
    pub(super) fn name(&self, address: &Address) -> &str {
        let own = self.names.iter().find(|(known, _)| known.parse::<Address>().is_ok_and(|known| known.key() == address.key()));
        own.map_or("", |(_, name)| name)
    }

    /// Sets it: names in the order of the user's own addresses.
    pub(super) fn set<'a>(
        context: &Context<'_>,
        names: impl Iterator<Item = &'a str>,
        signature: &str,
        recall: bool,
    ) -> Result<(), Status> {
        let own = own_addresses(context);
        let named = own.iter().zip(names).map(|(address, name)| (address, plain(name))).filter(|(_, name)| !name.is_empty());
        let lines: String = named.map(|(address, name)| format!("{address}\t{name}\n")).collect();
        let signature = signature.replace("\r\n", "\n").replace('\0', "");
        if signature.len() > LONGEST_SIGNATURE {
            return Err(Status::CONTENT_TOO_LARGE);
        }
        let value = |text: &str| Some(text.trim_end()).filter(|text| !text.is_empty()).map(|text| text.as_bytes().to_vec());
        let changes = vec![
            (NAMES.to_owned(), value(&lines)),
            (SIGNATURE.to_owned(), value(&signature)),
            (RECALL.to_owned(), value(if recall { "yes" } else { "" })),
        ];
        match context.folders()?.set_notes(None, changes) {
            Ok(_) => Ok(()),
            Err(NoteError::TooLong | NoteError::TooMany) => Err(Status::INSUFFICIENT_STORAGE),
            Err(NoteError::Folder(error)) => Err(of_folders(error)),
        }
    }
}

fn plain(name: &str) -> String {
    let name: String = name.chars().map(|char| if char.is_control() { ' ' } else { char }).take(LONGEST_NAME).collect();
    name.trim().to_owned()
}
