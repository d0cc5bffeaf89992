//! Webmail: mail in a browser, on pages that are whole without JavaScript. `app.js` is what they can't do by themselves.
//!
//! One more protocol session over [`crate::httpd`]: it reads and changes mailboxes as IMAP does and hands in letters as submission
//! does, never through a socket to itself. `site` is the table of pages and what every answer carries; `visit` knows who is logged
//! in; `frame` is what all pages have around them. Then one file for each page or family of pages: `login`, `list`, `message`,
//! with `pane`, `files` and `leave`, `conversation`, `print`, `part`, `compose` with `prefill`, `manner`, `history` and `sending`, `scheduled`,
//! `folders`, `settings` with `profile`, `sessions`, `events` (what happens, as it happens), `autoconfig` (for mail programs),
//! `unsubscribe` (for members of mailing lists). What they need is pure: `choice` (which part of a message is shown), `clean` (HTML that strangers wrote), `outgoing` (a
//! message as it is written), `upload` (a form with files), `query` (what is searched for), `selection` (which messages are meant), `proof` (who stands behind a message),
//! `sender` (who pretends to be another), `text` (plain text as it is shown), `reference`.
//!
//! A message is named by its folder, the folder's UIDVALIDITY and its UID: so no link or button, however old, is about another
//! message. What changes something is a POST with the visit's form token, and its cookie never comes from another site.

mod assets;
mod autoconfig;
mod choice;
mod clean;
mod compose;
mod conversation;
mod events;
mod files;
mod folders;
mod frame;
mod history;
mod leave;
mod list;
mod login;
mod manner;
mod message;
mod outgoing;
mod pane;
mod part;
mod prefill;
mod print;
mod profile;
mod proof;
mod query;
mod reference;
mod scheduled;
mod selection;
mod sender;
mod sending;
mod sessions;
mod settings;
mod site;
mod text;
mod unsubscribe;
mod upload;
mod visit;

pub use visit::Visits;

use crate::auth::Gate;
use crate::config::Config;
use crate::delivery::{Delivery, Post, Rates};
use crate::httpd::{self, Terms};
use crate::mailbox::Store;
use crate::net::Connection;
use crate::sys::Clock;
use std::sync::Arc;

/// What all webmail sessions share.
#[derive(Debug)]
pub struct Server {
    /// Host name, domains, limits, time-outs.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who may log in.
    pub gate: Arc<Gate>,
    /// Where mailboxes are.
    pub store: Arc<Store>,
    /// Where letters go.
    pub post: Arc<Post>,
    /// What waits, and replies of who is away.
    pub delivery: Arc<Delivery>,
    /// What users have sent.
    pub rates: Arc<Rates>,
    /// Who is logged in.
    pub visits: Arc<Visits>,
}

impl Server {
    /// Speaks with one browser. `session` is its name in the log.
    pub fn serve(&self, connection: Connection, session: &str) {
        let terms = Terms { idle: self.config.timeouts.command, data: self.config.timeouts.data };
        httpd::serve(connection, session, terms, &*self.clock, &site::Desk { server: self, session });
    }
}
