//! The IMAP server: IMAP4rev1 (RFC 3501), IMAP4rev2 (RFC 9051) and extensions.
//!
//! * `grammar`: bytes of a command in, a typed command out. Pure.
//! * `input`: reads a whole command, literals included, and nothing that is too long.
//! * `session`: the loop, and which verb is legal when. Handlers write untagged data; the loop alone writes the tagged line,
//!   before it what changed in the mailbox meanwhile (`update`) and elsewhere (`notify`), and decides to close.
//! * `login`, `folders`, `select`, `fetch`, `search`, `store`, `copy`, `append` (APPEND and REPLACE; `catenate`: parts that URLs
//!   name), `idle`, `notify`, `metadata`: a family of verbs each.
//! * `scope`: which folders a command is about. `pulse`: is the client still there?
//! * `answer`: what a command comes to, and how errors of the rooms below are told.

mod answer;
mod append;
mod catenate;
mod copy;
mod fetch;
mod folders;
pub mod grammar;
mod idle;
mod input;
mod login;
mod metadata;
mod notify;
mod pulse;
mod quota;
mod scope;
mod search;
mod section;
mod select;
mod session;
mod store;
mod update;

pub use login::CAPABILITIES;

use crate::auth::Gate;
use crate::config::Config;
use crate::delivery::Post;
use crate::mailbox::Store;
use crate::net::{Connection, tls::ServerTls};
use crate::sys::Clock;
use std::sync::Arc;

/// What all IMAP sessions share.
#[derive(Clone, Debug)]
pub struct Server {
    /// Host name, limits, time-outs, and whether passwords may go in the clear.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who may log in.
    pub gate: Arc<Gate>,
    /// Where the mail is.
    pub store: Arc<Store>,
    /// Puts mail there.
    pub post: Arc<Post>,
    /// For STARTTLS; none: not offered.
    pub tls: Option<Arc<ServerTls>>,
}

impl Server {
    /// Speaks with one client, from the greeting to the end. `session` is its name in the log; `offer_tls`: STARTTLS may be
    /// used on this listener. On a listener with implicit TLS the handshake is already done.
    pub fn serve(&self, connection: Connection, session: &str, offer_tls: bool) {
        session::Session::new(self, connection, session, offer_tls).run();
    }
}
