//! The control socket, for pillarboxctl. One request, one answer, then the connection is closed.
//!
//! A request is a line of words (its grammar stands at [`command::Command`]); the answer is a line of JSON:
//!
//! ```text
//! C: queue show 57a3b1c09d3e1f22-2a
//! S: {"ok":true,"result":{"id":"57a3b1c09d3e1f22-2a","time":"2026-11-21T09:18:51.251Z",…}}
//!
//! C: queue remove 57a3b1c09d3e1f22-2a
//! S: {"ok":false,"code":69,"error":"no such message waits"}
//! ```
//!
//! `import`, `export`, `vacation set` and `junk teach` go on after that: see `transfer`, `vacation`, `junk`. Lines end with CRLF. `code` is of sysexits.h; the tool ends with it. Who may ask is told by the kernel: root and the
//! account the daemon runs as may do everything; anybody else sees and removes only mail that was handed in under the name
//! of that account, and hears of the rest as if it did not exist.

pub mod command;
pub mod junk;
pub mod list;
mod mailbox;
mod queue;
mod session;
mod transfer;
mod vacation;

use crate::delivery::Delivery;
use crate::host::Host;
use crate::mailbox::Store;
use crate::net::Connection;
use log::LevelFilter;
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
    /// The least important level that is logged, of all modules (an empty name) and of some.
    fn log_levels(&self) -> BTreeMap<String, String>;
    /// Changes it until the configuration is read again. An error: there is no such module.
    fn set_log_level(&self, level: LevelFilter, module: Option<&str>) -> Result<(), String>;
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
    /// Bytes of memory in use.
    pub memory: u64,
    /// Threads.
    pub threads: u64,
    /// Sessions now, by service.
    pub sessions: BTreeMap<&'static str, usize>,
    /// Sessions since the start.
    pub accepted: u64,
    /// Connections turned away since the start, for a limit.
    pub refused: u64,
    /// Sessions that ended by a bug since the start.
    pub bugs: u64,
    /// What was done since the start: see [`crate::sys::counters`].
    pub counters: BTreeMap<&'static str, u64>,
}

/// What all control sessions share.
#[derive(Debug)]
pub struct Server {
    /// The queue.
    pub delivery: Arc<Delivery>,
    /// Mailboxes.
    pub store: Arc<Store>,
    /// Users.
    pub host: Arc<dyn Host>,
    /// Reload, status.
    pub supervisor: Arc<dyn Supervisor>,
}

impl Server {
    /// One session. `session` is its name in the log.
    pub fn serve(&self, connection: Connection, session: &str) {
        session::serve(self, connection, session);
    }
}
