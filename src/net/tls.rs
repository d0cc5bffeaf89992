//! TLS, and every rustls type of the program.
#![allow(missing_docs, clippy::todo)]
use std::io;
use std::path::Path;

/// The server's side: certificate and key.
#[derive(Debug, Clone)]
pub struct ServerTls {}

impl ServerTls {
    /// Loads certificate and key (PEM).
    pub fn load(_certificate: &Path, _key: &Path) -> io::Result<ServerTls> {
        todo!()
    }
    /// Loads the self-signed pair in `dir`, making it first if it is not there (key 0600).
    pub fn self_signed(_dir: &Path, _hostname: &str) -> io::Result<ServerTls> {
        todo!()
    }
}

/// The client's side.
#[derive(Debug, Clone)]
pub struct ClientTls {}

impl ClientTls {
    /// Encrypts, checks nobody's certificate: opportunistic (RFC 7435).
    pub fn opportunistic() -> ClientTls {
        todo!()
    }
}
