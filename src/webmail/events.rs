//! What happens, told when it happens: one stream of Server-Sent Events (HTML Living Standard §9.2) with the numbers of each
//! folder. A stream is a session that waits, as one in IDLE: it costs a thread whose stack and buffers were given back.

use super::reference::folder_path;
use super::site::{Context, of_folders};
use super::visit::{Visit, Visits};
use crate::httpd::{Body, Out, Response, Status};
use crate::mailbox::{Bell, FolderError, FoldersLookout, Kind, Lookout, MailboxError, MailboxId, Standing, Store};
use crate::sys::Clock;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// So often something is said, so that who has gone is noticed, and a visit that is over.
const PULSE: Duration = Duration::from_secs(25);
/// What could not be looked at is looked at again after this.
const SOON: Duration = Duration::from_millis(250);
/// Folders that one stream watches.
const MOST_WATCHED: usize = 500;

/// One stream.
struct Stream {
    store: Arc<Store>,
    visits: Arc<Visits>,
    clock: Arc<dyn Clock>,
    visit: Arc<Visit>,
    bell: Arc<Bell>,
    names: FoldersLookout,
    watched: BTreeMap<MailboxId, Watched>,
}

/// A folder, and how the browser knows it.
struct Watched {
    path: String,
    lookout: Lookout,
    known: Option<Standing>,
}

/// Begins one: it tells how all stands, and then what changes.
pub(super) fn stream(context: &Context<'_>) -> Result<Response, Status> {
    let server = context.server;
    let bell = Bell::new().map_err(|_| Status::SERVICE_UNAVAILABLE)?;
    let mut stream = Stream {
        store: server.store.clone(),
        visits: server.visits.clone(),
        clock: server.clock.clone(),
        visit: context.visit.clone(),
        names: context.folders()?.lookout(&bell),
        bell,
        watched: BTreeMap::new(),
    };
    // Where that fails now the browser can be told so.
    stream.watch().map_err(of_folders)?;
    let body = Body::Stream(None, Box::new(move |out| stream.run(out)));
    Ok(Response::new(Status::OK, body).with("Content-Type", "text/event-stream").with("Cache-Control", "no-store"))
}

impl Stream {
    /// To the end of the visit, or of the connection.
    fn run(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        out.write_all(b"retry: 3000\n\n")?;
        let mut said = self.clock.elapsed();
        loop {
            self.bell.quiet();
            let now = self.clock.elapsed();
            if !self.visits.has(&self.visit, now) {
                return Ok(());
            }
            let (mut text, is_whole) = self.news();
            if text.is_empty() && now.saturating_sub(said) >= PULSE {
                text.push_str(":\n\n");
            }
            if !text.is_empty() {
                out.write_all(text.as_bytes())?;
                said = now;
            }
            drop(text);
            if out.wait(self.bell.fd(), if is_whole { PULSE } else { SOON })? {
                return Ok(());
            }
        }
    }

    /// What changed, as events; false: something could not be looked at.
    fn news(&mut self) -> (String, bool) {
        let (mut text, mut is_whole) = (String::new(), true);
        if self.names.has_news() {
            match self.watch() {
                Ok(true) => text.push_str("event: folders\ndata: {}\n\n"),
                Ok(false) => {}
                Err(_) => {
                    self.names.keep_news();
                    is_whole = false;
                }
            }
        }
        self.watched.retain(|_, watched| {
            if !watched.lookout.has_news() {
                return true;
            }
            match watched.lookout.look() {
                Ok(standing) if watched.known != Some(standing) => {
                    watched.known = Some(standing);
                    let Standing { next, messages, unseen, .. } = standing;
                    let data = json!({ "path": watched.path, "unseen": unseen, "messages": messages, "next": next });
                    text.push_str(&format!("event: folder\ndata: {data}\n\n"));
                }
                Ok(_) => {}
                // The list of names will tell.
                Err(MailboxError::Gone | MailboxError::Nonexistent) => return false,
                Err(_) => {
                    watched.lookout.keep_news();
                    is_whole = false;
                }
            }
            true
        });
        (text, is_whole)
    }

    /// Watches all folders there are now. True: they are others than before.
    fn watch(&mut self) -> Result<bool, FolderError> {
        let mut before = std::mem::take(&mut self.watched);
        let (mut is_new, is_first) = (false, before.is_empty());
        let listed = match self.names.look() {
            Ok(listed) => listed,
            Err(error) => {
                self.watched = before;
                return Err(error);
            }
        };
        let folders = listed.into_iter().filter_map(|listed| match listed.kind {
            Kind::Mailbox(id) => Some((id, listed.name)),
            Kind::Noselect | Kind::Nonexistent => None,
        });
        for (id, name) in folders.take(MOST_WATCHED) {
            let path = folder_path(&name);
            let watched = match before.remove(&id) {
                Some(watched) if watched.path == path => watched,
                _ => {
                    is_new = true;
                    // One that can't be opened now is seen with the next change of names.
                    let Ok(mailbox) = self.store.open(self.visit.account(), &name) else { continue };
                    Watched { path, lookout: mailbox.lookout(&self.bell), known: None }
                }
            };
            self.watched.insert(id, watched);
        }
        Ok((is_new || !before.is_empty()) && !is_first)
    }
}
