//! From a letter to its outcomes: post, route, local delivery, the queue-runner, bounces.
#![allow(missing_docs, clippy::todo)]
use crate::config::Config;
use crate::host::{Account, Host};
use crate::mail::{Address, Envelope};
use crate::mailbox::Store;
use crate::net::dns::Resolver;
use crate::spool::{Journal, SpoolId, Unsettled};
use crate::sys::Clock;
use std::io::{self, Write};
use std::sync::Arc;

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A mailbox here.
    Local(Account),
    /// Another host, by MX of this domain (or a literal), a configured route or the smarthost.
    Remote(Hop),
    /// One of our domains, but nobody of that name.
    NoUser,
}

/// Where remote mail goes next; equal hops share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hop {
    /// By DNS: the domain's MX, or its addresses. In lower case.
    Domain(String),
    /// A fixed host and port.
    Host(String, u16),
    /// An address literal.
    Literal(std::net::IpAddr),
}

/// What the trace field says of a letter (RFC 5321 §4.4).
#[derive(Clone, Debug)]
pub struct Trace {
    /// `from` clause, ready to print: `helo (address)`; None for letters made by this daemon (no Received field is added then).
    pub from: Option<String>,
    /// `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPA`, `ESMTPSA` (RFC 3848), `LMTP`.
    pub with: &'static str,
    /// A comment such as `(TLS1.3 TLS_AES_256_GCM_SHA384)`.
    pub tls: Option<String>,
    /// A submission: a missing Date and Message-ID are added, Bcc is removed (RFC 6409 §8).
    pub submission: bool,
}

/// Why a letter was not taken.
#[derive(Debug)]
pub enum PostError {
    /// 452 4.3.1
    Full,
    /// 554 5.4.6: a hundred Received fields, or one of our Delivered-To.
    Loop,
    /// 552 5.3.4 header too big.
    HeaderTooBig,
    /// 451 4.3.0
    Io(String),
    /// Close without a reply: see SpoolError::Uncertain.
    Uncertain,
}

/// Where letters are handed in: one door for smtpd, sendmail, bounces.
#[derive(Debug)]
pub struct Post {}

/// A letter being written: LF line ends, header first. Dropped without `send` it leaves nothing.
#[derive(Debug)]
pub struct Letter {}

impl Post {
    pub fn route(&self, _address: &Address) -> io::Result<Route> {
        todo!()
    }
    pub fn has_room(&self) -> bool {
        todo!()
    }
    pub fn begin(&self, _envelope: Envelope, _trace: Trace) -> Result<Letter, PostError> {
        todo!()
    }
}

impl Write for Letter {
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        todo!()
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Letter {
    /// Commits, delivers what is local, wakes the queue-runner for the rest; then it is true to say 250.
    pub fn send(self) -> Result<SpoolId, PostError> {
        todo!()
    }
}

/// Everything that moves mail: the post, the queue-runner thread, the keeper thread (checkpoints, housekeeping).
#[derive(Debug)]
pub struct Delivery {}

impl Delivery {
    /// Recovers local copies, starts the threads.
    pub fn start(
        _config: Arc<Config>,
        _clock: Arc<dyn Clock>,
        _host: Arc<dyn Host>,
        _journal: Arc<Journal>,
        _unsettled: Vec<Unsettled>,
        _store: Arc<Store>,
        _resolver: Arc<Resolver>,
    ) -> Delivery {
        todo!()
    }
    pub fn post(&self) -> Arc<Post> {
        todo!()
    }
    /// New configuration for what begins from now on.
    pub fn reload(&self, _config: Arc<Config>) {
        todo!()
    }
    /// For pillarboxctl: what waits. Operators' acts: flush, hold, release, remove.
    pub fn queue(&self) -> Vec<Unsettled> {
        todo!()
    }
    /// No new tries; waits (bounded) for running ones, last checkpoint.
    pub fn stop(&self) {
        todo!()
    }
}
