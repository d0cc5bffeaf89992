//! The SMTP server (RFC 5321): mail from other hosts, and from our users (RFC 6409); and, being so much the same, the LMTP
//! server (RFC 2033), which answers once for each recipient.
//!
//! `session` owns the connection: it reads lines, knows what is legal in which state, and writes all replies. What a
//! command does stands in a file for its family: `greet` (HELO, EHLO, STARTTLS), `login` (AUTH), `mail` (MAIL, RCPT),
//! `data`, `bdat`. Whether somebody may do it is asked of `policy`, which touches nothing; `screen` knows what strangers must
//! pass.

mod bdat;
mod data;
mod greet;
mod login;
mod mail;
mod policy;
mod screen;
mod session;
#[cfg(test)]
mod tests;

pub use screen::Screen;

use crate::auth::Gate;
use crate::config::{Config, Protocol};
use crate::delivery::{Post, Rates};
use crate::net::{Connection, tls::ServerTls};
use crate::sys::Clock;
use std::sync::Arc;

/// What all SMTP sessions share.
#[derive(Debug)]
pub struct Server {
    /// As it was when the session began.
    pub config: Arc<Config>,
    /// For deadlines and throttling.
    pub clock: Arc<dyn Clock>,
    /// For AUTH.
    pub gate: Arc<Gate>,
    /// Where messages go.
    pub post: Arc<Post>,
    /// What users have sent.
    pub rates: Arc<Rates>,
    /// What is known of strangers.
    pub screen: Arc<Screen>,
    /// For STARTTLS.
    pub tls: Option<Arc<ServerTls>>,
}

impl Server {
    /// One session, from banner to close. `session` is its name in the log. `protocol` is Smtp, Submission or Lmtp; `offer_tls`:
    /// STARTTLS may be used. Implicit TLS is already up when this is called.
    pub fn serve(&self, connection: Connection, session: &str, protocol: Protocol, offer_tls: bool) {
        session::Session::new(self, connection, session, protocol, offer_tls).run();
    }
}
