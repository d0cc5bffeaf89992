//! The POP3 server (RFC 1939).
#![allow(missing_docs, clippy::todo)]
use crate::auth::Gate;
use crate::config::Config;
use crate::mailbox::Store;
use crate::net::{Connection, tls::ServerTls};
use crate::sys::Clock;
use std::sync::Arc;

/// What all POP3 sessions share.
#[derive(Debug)]
pub struct Server {
    pub config: Arc<Config>,
    pub clock: Arc<dyn Clock>,
    pub gate: Arc<Gate>,
    pub store: Arc<Store>,
    pub tls: Option<Arc<ServerTls>>,
}

impl Server {
    pub fn serve(&self, _connection: Connection, _session: &str, _offer_tls: bool) {
        todo!()
    }
}
