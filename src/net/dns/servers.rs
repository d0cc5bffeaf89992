//! Whom to ask: servers that are configured, or those of /etc/resolv.conf, which may change while we run.

use crate::config::schema::Trust;
use resolv_conf::ScopedIp;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How long to wait for answers.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For one server, at each try.
    pub one: Duration,
    /// How often all servers are tried.
    pub rounds: u32,
    /// For a whole lookup, whatever CNAMEs it follows.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { one: Duration::from_secs(5), rounds: 2, whole: Duration::from_secs(30) }
    }
}

/// The servers and their order.
#[derive(Debug)]
pub(super) struct Servers {
    file: Option<PathBuf>,
    patience: Option<Patience>,
    trust: Trust,
    known: Mutex<Known>,
    /// Who answered last; asked first.
    preferred: AtomicUsize,
}

#[derive(Debug)]
struct Known {
    servers: Vec<SocketAddr>,
    patience: Patience,
    /// The file says so of all of them.
    trusted: bool,
    /// The file's time of change, and when we looked.
    changed: Option<SystemTime>,
    looked: Option<Duration>,
}

impl Servers {
    /// These, or those of the file if there are none.
    pub(super) fn new(servers: &[SocketAddr]) -> Servers {
        Servers::from_file_or(servers, Path::new(RESOLV_CONF))
    }

    fn from_file_or(servers: &[SocketAddr], file: &Path) -> Servers {
        Servers {
            file: servers.is_empty().then(|| file.to_owned()),
            patience: None,
            trust: Trust::Local,
            known: Mutex::new(Known {
                servers: servers.to_vec(),
                patience: Patience::default(),
                trusted: false,
                changed: None,
                looked: None,
            }),
            preferred: AtomicUsize::new(0),
        }
    }

    pub(super) fn set_patience(&mut self, patience: Patience) {
        self.patience = Some(patience);
    }

    pub(super) fn set_trust(&mut self, trust: Trust) {
        self.trust = trust;
    }

    /// Is this one believed that it has validated an answer?
    pub(super) fn trusts(&self, server: SocketAddr) -> bool {
        match self.trust {
            Trust::Local => server.ip().is_loopback() || self.lock().trusted,
            Trust::Always => true,
            Trust::Never => false,
        }
    }

    /// How long to wait; `now` by the monotonic clock. Looks whether the file has changed.
    pub(super) fn patience(&self, now: Duration) -> Patience {
        let mut known = self.lock();
        if let Some(file) = &self.file {
            known.look(file, now);
        }
        self.patience.unwrap_or(known.patience)
    }

    /// All servers with their numbers, beginning with the one preferred.
    pub(super) fn in_order(&self) -> Vec<(usize, SocketAddr)> {
        let mut servers: Vec<_> = self.lock().servers.iter().copied().enumerate().collect();
        let first = self.preferred.load(Ordering::Relaxed);
        if first < servers.len() {
            servers.rotate_left(first);
        }
        servers
    }

    /// That one has answered.
    pub(super) fn prefer(&self, number: usize) {
        self.preferred.store(number, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn look(&mut self, file: &Path, now: Duration) {
        if self.looked.is_some_and(|looked| now.saturating_sub(looked) < LOOK) {
            return;
        }
        let first = self.looked.replace(now).is_none();
        let changed = std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
        if !first && changed == self.changed {
            return;
        }
        self.changed = changed;
        let (servers, patience, trusted) = parse(&std::fs::read(file).unwrap_or_default());
        if !first && servers != self.servers {
            log::info!("dns event=servers-changed file={}", file.display());
        }
        (self.servers, self.patience, self.trusted) = (servers, patience, trusted);
    }
}

/// What resolv.conf(5) says; lines it can't read count for nothing. No server at all means the one on this host.
fn parse(text: &[u8]) -> (Vec<SocketAddr>, Patience, bool) {
    let (config, _) = resolv_conf::Config::parse_with_errors(text);
    let mut servers: Vec<SocketAddr> = config.nameservers.iter().map(address).take(3).collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    let patience = Patience {
        one: Duration::from_secs(config.timeout.clamp(1, 30).into()),
        rounds: config.attempts.clamp(1, 5),
        ..Patience::default()
    };
    (servers, patience, config.trust_ad)
}

fn address(server: &ScopedIp) -> SocketAddr {
    match server {
        ScopedIp::V4(ip) => (*ip, 53).into(),
        ScopedIp::V6(ip, None) => (IpAddr::from(*ip), 53).into(),
        ScopedIp::V6(ip, Some(scope)) => {
            let index = scope.parse().ok().or_else(|| nix::net::if_::if_nametoindex(scope.as_str()).ok());
            SocketAddrV6::new(*ip, 53, 0, index.unwrap_or(0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("resolv.conf");
        std::fs::write(&file, "nameserver 192.0.2.1\nnonsense\nnameserver fe80::1%lo\noptions timeout:2 attempts:3\n").unwrap();
        let servers = Servers::from_file_or(&[], &file);
        let seconds = Duration::from_secs;
        let patience = servers.patience(seconds(0));
        assert_eq!((patience.one, patience.rounds), (seconds(2), 3));
        let list: Vec<String> = servers.in_order().iter().map(|(_, server)| server.to_string()).collect();
        assert_eq!(list, ["192.0.2.1:53", "[fe80::1%1]:53"]);
        assert!(!servers.trusts("192.0.2.1:53".parse().unwrap()) && servers.trusts("127.0.0.53:53".parse().unwrap()));
        servers.prefer(1);
        assert_eq!(servers.in_order()[0].0, 1);
        std::fs::remove_file(&file).unwrap();
        servers.patience(seconds(4));
        assert_eq!(servers.in_order().len(), 2);
        servers.patience(seconds(5));
        assert_eq!(servers.in_order(), [(0, "127.0.0.1:53".parse().unwrap())]);
        std::fs::write(&file, "nameserver 192.0.2.1\noptions trust-ad\n").unwrap();
        servers.patience(seconds(10));
        assert!(servers.trusts("192.0.2.1:53".parse().unwrap()));
    }

    #[test]
    fn configured_servers_stay() {
        let fixed = "127.0.0.1:5353".parse().unwrap();
        let servers = Servers::new(&[fixed]);
        assert_eq!(servers.patience(Duration::ZERO), Patience::default());
        assert_eq!(servers.in_order(), [(0, fixed)]);
    }
}
