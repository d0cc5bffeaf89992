//! The SMTP server: mail from other hosts, and from our users.
#![allow(missing_docs, clippy::todo)]
use crate::auth::Gate;
use crate::config::{Config, Protocol};
use crate::delivery::Post;
use crate::net::{Connection, tls::ServerTls};
use crate::sys::Clock;
use std::sync::Arc;

/// What all SMTP sessions share.
#[derive(Debug)]
pub struct Server {
    pub config: Arc<Config>,
    pub clock: Arc<dyn Clock>,
    pub gate: Arc<Gate>,
    pub post: Arc<Post>,
    pub tls: Option<Arc<ServerTls>>,
}

impl Server {
    /// One session, from banner to close. `protocol` is Smtp or Submission; `offer_tls`: STARTTLS may be used. Implicit TLS is already up when this is called.
    pub fn serve(&self, _connection: Connection, _session: &str, _protocol: Protocol, _offer_tls: bool) {
        todo!()
    }
}
