//! The control socket, for pillarboxctl.

use crate::delivery::Delivery;
use crate::net::Connection;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// The one who runs the daemon.
pub trait Supervisor: Send + Sync + Debug {
    /// Reads the configuration again; an error says what is wrong with it.
    fn reload(&self) -> Result<(), String>;
    /// How the daemon is.
    fn status(&self) -> Status;
}

/// How the daemon is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Of the program.
    pub version: &'static str,
    /// What this host calls itself.
    pub hostname: String,
    /// Process number.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime: u64,
    /// Sessions now, by service.
    pub sessions: BTreeMap<&'static str, usize>,
    /// Sessions since the start.
    pub accepted: u64,
    /// Connections turned away since the start, for a limit.
    pub refused: u64,
    /// Sessions that ended by a bug since the start.
    pub bugs: u64,
}

/// What all control sessions share.
#[derive(Debug)]
pub struct Server {
    /// The queue.
    pub delivery: Arc<Delivery>,
    /// Reload, status.
    pub supervisor: Arc<dyn Supervisor>,
}

impl Server {
    /// One session: a request, an answer.
    pub fn serve(&self, _connection: Connection, _session: &str) {}
}
