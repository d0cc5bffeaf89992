//! What operators may ask of the supervisor, from sessions of the control socket.

use super::limits::Limits;
use super::listeners::Service;
use super::logger;
use crate::config::{Config, Protocol};
use crate::ctld::{Status, Supervisor};
use crate::sys::counters;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::LevelFilter;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A reload is over long before that.
const PATIENCE: Duration = Duration::from_secs(60);

/// Read the configuration again, and say how that went.
#[derive(Debug)]
pub struct Ask {
    /// Has room for the answer.
    pub answer: Sender<Result<(), String>>,
}

/// See the module.
#[derive(Debug)]
pub struct Desk {
    asks: Sender<Ask>,
    waker: Arc<mio::Waker>,
    limits: Arc<Limits>,
    hostname: String,
    started: Instant,
}

impl Desk {
    /// The desk, and where the supervisor finds what was asked.
    pub fn new(config: &Config, limits: Arc<Limits>, waker: Arc<mio::Waker>) -> (Desk, Receiver<Ask>) {
        let (asks, asked) = bounded(16);
        (Desk { asks, waker, limits, hostname: config.hostname.clone(), started: Instant::now() }, asked)
    }
}

impl Supervisor for Desk {
    fn reload(&self) -> Result<(), String> {
        let (answer, heard) = bounded(1);
        self.asks.try_send(Ask { answer }).map_err(|_| "the daemon is busy with other reloads".to_owned())?;
        self.waker.wake().map_err(|error| error.to_string())?;
        heard.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("the daemon does not answer; see its log".to_owned()))
    }

    fn status(&self) -> Status {
        let services = Protocol::ALL.map(Service::Mail);
        let count = |service: Service| (service.name(), self.limits.of_service(service));
        Status {
            version: env!("CARGO_PKG_VERSION"),
            hostname: self.hostname.clone(),
            pid: std::process::id(),
            memory: of_process("VmRSS").saturating_mul(1024),
            threads: of_process("Threads"),
            uptime: self.started.elapsed().as_secs(),
            sessions: services.into_iter().chain([Service::Control]).map(count).collect(),
            accepted: self.limits.accepted.load(Ordering::Relaxed),
            refused: self.limits.refused.load(Ordering::Relaxed),
            bugs: self.limits.panics.load(Ordering::Relaxed),
            counters: counters::all().map(|(name, _, value)| (name, value)).collect(),
        }
    }

    fn log_levels(&self) -> BTreeMap<String, String> {
        logger::levels()
    }

    fn set_log_level(&self, level: LevelFilter, module: Option<&str>) -> Result<(), String> {
        logger::change_level(level, module)
    }
}

/// A figure of proc(5)'s self/status: what it says there, without its unit. Zero where it can't be read.
fn of_process(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
