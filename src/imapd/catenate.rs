//! Parts of messages that URLs name, for APPEND (RFC 4469 §3, RFC 5092).

use super::answer::Answer;
use super::append::{Composition, Refusal};
use super::grammar::url::{MessageUrl, Server};
use super::section::{Found, Source, cut, without_nul};
use super::session::Session;
use crate::mailbox::{FolderName, MailboxError, Uid, View};
use std::io::Write;

/// Where the usual IMAP server listens.
const PORT: u16 = 143;
/// Bytes of a URL that are told again.
const MOST_TOLD: usize = 1_000;

/// The mailbox that the last URL led into: the next will, too.
#[derive(Default)]
pub(super) struct LastView(Option<(FolderName, View)>);

impl Session<'_> {
    /// Adds what a URL names to the message at hand, byte for byte.
    pub(super) fn add_url(&mut self, composition: &mut Composition, url: &[u8]) -> Result<(), Refusal> {
        let found = MessageUrl::parse(url).map_err(|why| bad_url(url, why.0))?;
        if found.server.as_ref().is_some_and(|server| !self.is_ours(server)) {
            return Err(bad_url(url, "it names another server, or another's mail").into());
        }
        let name = FolderName::parse(&found.mailbox).map_err(|_| bad_url(url, "there is no such mailbox"))?;
        let LastView(last) = std::mem::take(&mut composition.last);
        let view = match last.filter(|(last, _)| *last == name) {
            Some((_, view)) => view,
            None => {
                let opened = self.server.store.open(&self.account()?, &name).and_then(|mailbox| mailbox.view());
                opened.map_err(|error| of_url(url, error))?
            }
        };
        if found.validity.is_some_and(|validity| validity != view.uid_validity()) {
            return Err(bad_url(url, "the mailbox has another UIDVALIDITY").into());
        }
        self.add_part(composition, &view, &found, url)?;
        composition.last = LastView(Some((name, view)));
        Ok(())
    }

    fn add_part(&self, composition: &mut Composition, view: &View, wanted: &MessageUrl, url: &[u8]) -> Result<(), Refusal> {
        let of_url = |error| of_url(url, error);
        let summary = view.message(Uid(wanted.uid)).map_err(of_url)?.ok_or_else(|| bad_url(url, "there is no such message"))?;
        let mut source = Source::new(view, &summary, None, None);
        source.rev2 = self.enabled.rev2;
        match source.find(&wanted.part, &wanted.text).map_err(of_url)? {
            Found::Nothing => return Err(bad_url(url, "the message has no such part").into()),
            Found::Made(made) => {
                let range = cut(0..made.len() as u64, wanted.partial);
                self.fits(composition, range.end - range.start)?;
                let bytes = made.get(range.start as usize..range.end as usize).unwrap_or_default();
                let _ = composition.batch.write_all(&without_nul(bytes));
            }
            Found::Range(range) => {
                let range = cut(range, wanted.partial);
                self.fits(composition, range.end - range.start)?;
                // As FETCH would send it. What is wrong with it all the same is told at the commit.
                source.each_piece(range, |piece| drop(composition.batch.write_all(&without_nul(piece)))).map_err(of_url)?;
            }
        }
        Ok(())
    }

    /// Is this who we are, and whose mail the session is about?
    fn is_ours(&self, server: &Server) -> bool {
        let own = self.login.as_ref().map(|login| login.account().name.as_str());
        server.host.eq_ignore_ascii_case(&self.server.config.hostname)
            && server.port.is_none_or(|port| port == PORT)
            && server.user.as_deref().is_none_or(|user| own == Some(user))
    }
}

/// BADURL, unless another try could help.
fn of_url(url: &[u8], error: MailboxError) -> Answer {
    match error {
        MailboxError::Nonexistent => bad_url(url, "there is no such mailbox"),
        MailboxError::Gone => bad_url(url, "there is no such message"),
        other => other.into(),
    }
}

/// `badurl-response-code = "BADURL" SP url-resp-text` (RFC 4469 §5): what no code can hold is left out.
fn bad_url(url: &[u8], why: &'static str) -> Answer {
    let shown = url.iter().filter(|byte| byte.is_ascii_graphic() && !matches!(byte, b']' | b'\\' | b'"'));
    let shown: String = shown.take(MOST_TOLD).map(|byte| char::from(*byte)).collect();
    Answer::no("", why).with(format!("BADURL {}", if shown.is_empty() { "-" } else { &shown }))
}
