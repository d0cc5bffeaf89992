//! COPY and MOVE (RFC 9051 §6.4.7, §6.4.8), with COPYUID (RFC 4315).

use super::answer::{Answer, Done};
use super::grammar::{Set, show_uids};
use super::session::Session;
use crate::delivery::Filed;
use crate::mailbox::Uid;

impl Session<'_> {
    /// COPY and MOVE, by number or by UID: all of it or nothing.
    pub(super) fn copy(&mut self, set: &Set, uid: bool, to: &[u8], moves: bool) -> Done {
        let (messages, (target, account)) = match self.messages(set, uid).and_then(|messages| Ok((messages, self.folder(to)?))) {
            Ok(found) => found,
            Err(answer) => return Ok(answer),
        };
        let Some(selected) = self.selected.as_deref() else { return Ok(Answer::bad("no mailbox is selected")) };
        if moves && selected.read_only {
            return Ok(Answer::no("CANNOT", "the mailbox was opened to look at it only"));
        }
        if !uid && messages.iter().any(|message| message.summary.is_none()) {
            return Ok(Answer::no("EXPUNGEISSUED", "some of these messages are gone"));
        }
        let uids: Vec<Uid> = messages.iter().filter(|message| message.summary.is_some()).map(|message| message.uid).collect();
        let post = &self.server.post;
        let filed = if moves {
            post.move_to(&account, &selected.view, &uids, &target)
        } else {
            post.copy(&account, &selected.view, &uids, &target)
        };
        let filed = match filed {
            Ok(filed) => filed,
            Err(error) => return error.into(),
        };
        if filed.uids.is_empty() {
            return Ok(Answer::ok("there was nothing to do"));
        }
        self.note_own_mail(to, &filed.uids);
        let code = copied(&filed);
        if moves {
            // The pairs are told before the source's messages go (RFC 6851 §4.3).
            self.tell(format_args!("OK [{code}] they are there"))?;
            self.tell_removed()?;
            return Ok(self.with_modseq(Answer::ok("moved")));
        }
        Ok(Answer::ok("copied").with(code))
    }
}

/// `COPYUID`: pairs, in one order.
fn copied(filed: &Filed) -> String {
    let each = |uids: &[Uid]| if uids.is_sorted() { show_uids(uids) } else { list(uids) };
    format!("COPYUID {} {} {}", filed.validity, each(&filed.sources), each(&filed.uids))
}

fn list(uids: &[Uid]) -> String {
    uids.iter().map(|uid| uid.0.to_string()).collect::<Vec<_>>().join(",")
}
