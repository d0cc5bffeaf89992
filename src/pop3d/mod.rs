//! The POP3 server (RFC 1939, with CAPA, response codes, STLS, SASL PLAIN and UTF8).
//!
//! `command` reads a line, `reply` writes one; both are pure, as are `marks` (what is deleted) and `top` (where TOP stops).
//! `session` is the loop: it alone reads and writes. It hands each line to the table of its phase, `authorization` or
//! `transaction`, gets an `outcome` and carries it out. The third phase, update, is the end of `transaction`: a session that
//! does not say QUIT never gets there and deletes nothing.
//!
//! No APOP: it would need passwords stored in clear. No LANG: the server speaks one language. UTF8 changes nothing:
//! 8-bit headers are sent as they are, whether the client has said it or not, as POP3 servers have always done. RFC 6856 §2.1
//! would have them refused or altered without it; old clients could not get mail then that they show well enough.

mod authorization;
mod command;
mod marks;
mod outcome;
mod reply;
mod session;
#[cfg(test)]
mod tests;
mod top;
mod transaction;

use crate::auth::Gate;
use crate::config::Config;
use crate::mailbox::Store;
use crate::net::{Connection, tls::ServerTls};
use crate::sys::Clock;
use std::sync::Arc;

/// What all POP3 sessions share.
#[derive(Clone, Debug)]
pub struct Server {
    /// Host name, limits, time-outs, and whether passwords may go in the clear.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who may log in.
    pub gate: Arc<Gate>,
    /// Where the maildrops are.
    pub store: Arc<Store>,
    /// For STLS; none: not offered.
    pub tls: Option<Arc<ServerTls>>,
}

impl Server {
    /// Speaks with one client, from the greeting to the end. `session` is its name in the log; `offer_tls`: STLS may be
    /// used on this listener. On a listener with implicit TLS the handshake is already done.
    pub fn serve(&self, connection: Connection, session: &str, offer_tls: bool) {
        session::serve(self, connection, session, offer_tls);
    }
}
