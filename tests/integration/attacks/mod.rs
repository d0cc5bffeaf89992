//! What others do to the daemon, done to it: the rows of ATTACKS.md that concern SMTP, POP3, IMAP, the spool and
//! local delivery and need more than a dialogue.

pub mod afar;
mod composing;
mod content;
mod control;
mod gone;
mod guessing;
mod imap;
mod lists;
pub mod load;
mod mailboxes;
mod readers;
mod sessions;
mod smuggling;

use crate::runner::Test;

pub fn tests() -> Vec<Test> {
    [
        afar::tests(),
        composing::tests(),
        content::tests(),
        control::tests(),
        gone::tests(),
        guessing::tests(),
        imap::tests(),
        lists::tests(),
        load::tests(),
        mailboxes::tests(),
        readers::tests(),
        sessions::tests(),
        smuggling::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
