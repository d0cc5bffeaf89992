//! Counts sessions, so that nobody uses up what all share.

use super::listeners::Service;
use crate::config::schema;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The control socket has room of its own, so that an operator gets in when everything else is full.
const CONTROL_SESSIONS: usize = 32;

/// Whose sessions are counted together.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// An IPv4 address, or the first 64 bits of an IPv6 one.
    Network(IpAddr),
    /// A user of this host, over a Unix socket.
    User(u32),
    /// Loopback and root: not counted by client.
    Trusted,
}

impl Client {
    /// The network of an address: IPv4 /32, IPv6 /64.
    pub fn of(address: IpAddr) -> Client {
        match address.to_canonical() {
            own if own.is_loopback() => Client::Trusted,
            IpAddr::V4(address) => Client::Network(address.into()),
            IpAddr::V6(address) => Client::Network(IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes())),
        }
    }
}

/// Which limit was reached.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Full {
    /// Sessions in all.
    All,
    /// Of one service.
    Service,
    /// Of one client's network.
    Client,
}

impl Full {
    /// Its key in the configuration.
    pub fn limit(self) -> &'static str {
        match self {
            Full::All => "limits.sessions",
            Full::Service => "limits.per_service",
            Full::Client => "limits.per_network",
        }
    }
}

/// All sessions there are.
#[derive(Debug, Default)]
pub struct Limits {
    counts: Mutex<Counts>,
    /// Sessions accepted since the start.
    pub accepted: AtomicU64,
    /// Connections turned away since the start.
    pub refused: AtomicU64,
    /// Sessions that ended by a bug of ours.
    pub panics: AtomicU64,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Counts {
    /// Without those of the control socket.
    all: usize,
    services: HashMap<Service, usize>,
    clients: HashMap<Client, usize>,
}

/// The right to be one session; dropped at its end.
#[derive(Debug)]
pub struct Ticket {
    limits: Arc<Limits>,
    service: Service,
    client: Client,
    /// Told of the end while the daemon is stopping.
    waker: Arc<mio::Waker>,
}

impl Limits {
    /// Lets a session in, if there is room.
    pub fn admit(
        self: &Arc<Self>,
        limits: &schema::Limits,
        service: Service,
        client: Client,
        waker: &Arc<mio::Waker>,
    ) -> Result<Ticket, Full> {
        let mut counts = self.lock();
        let of_service = counts.services.get(&service).copied().unwrap_or(0);
        let of_client = counts.clients.get(&client).copied().unwrap_or(0);
        let full = match service {
            Service::Control => (of_service >= CONTROL_SESSIONS).then_some(Full::Service),
            Service::Mail(_) if counts.all >= limits.sessions => Some(Full::All),
            Service::Mail(_) if of_service >= limits.per_service => Some(Full::Service),
            Service::Mail(_) if client != Client::Trusted && of_client >= limits.per_network => Some(Full::Client),
            Service::Mail(_) => None,
        };
        if let Some(full) = full {
            self.count_refused();
            return Err(full);
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if service != Service::Control {
            counts.all += 1;
        }
        *counts.services.entry(service).or_default() += 1;
        *counts.clients.entry(client).or_default() += 1;
        Ok(Ticket { limits: self.clone(), service, client, waker: waker.clone() })
    }

    /// A connection is turned away.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Sessions of a service now.
    pub fn of_service(&self, service: Service) -> usize {
        self.lock().services.get(&service).copied().unwrap_or(0)
    }

    /// Sessions now, the control socket's too.
    pub fn sessions(&self) -> usize {
        self.lock().services.values().sum()
    }

    /// From now on the end of a session wakes the accept loop.
    pub fn tell_ends(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The client is another than who connected, as a proxy tells. An error: that one has as many sessions already as it may
    /// have.
    pub fn pass_to(&mut self, client: Client, limits: &schema::Limits) -> Result<(), Full> {
        let mut counts = self.limits.lock();
        leave(&mut counts.clients, &self.client);
        let of_client = counts.clients.entry(client).or_default();
        let full = client != Client::Trusted && *of_client >= limits.per_network;
        *of_client += 1;
        self.client = client;
        drop(counts);
        if full {
            self.limits.count_refused();
            return Err(Full::Client);
        }
        Ok(())
    }

    /// Its session ends by a panic.
    pub fn count_panic(&self) {
        self.limits.panics.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.limits.lock();
        if self.service != Service::Control {
            counts.all = counts.all.saturating_sub(1);
        }
        leave(&mut counts.services, &self.service);
        leave(&mut counts.clients, &self.client);
        drop(counts);
        if self.limits.stopping.load(Ordering::SeqCst) {
            let _ = self.waker.wake();
        }
    }
}

fn leave<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;

    #[test]
    fn each_limit_holds_and_room_comes_back() {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let bounds =
            schema::Limits { sessions: 4, per_service: 3, per_network: 2, recipients: 1, errors: 1, min_free: 0, quota: 0 };
        let limits = Arc::new(Limits::default());
        let (smtp, pop3) = (Service::Mail(Protocol::Smtp), Service::Mail(Protocol::Pop3));
        let admit = |service, address: &str| limits.admit(&bounds, service, Client::of(address.parse().unwrap()), &waker);
        let first = admit(smtp, "192.0.2.1").unwrap();
        let _second = admit(smtp, "::ffff:192.0.2.1").unwrap();
        assert_eq!(admit(smtp, "192.0.2.1").err(), Some(Full::Client));
        let _third = admit(smtp, "2001:db8::1").unwrap();
        assert_eq!(admit(smtp, "192.0.2.9").err(), Some(Full::Service));
        let _fourth = admit(pop3, "2001:db8::ffff:2").unwrap();
        assert_eq!(admit(pop3, "127.0.0.1").err(), Some(Full::All));
        assert!(admit(Service::Control, "127.0.0.1").is_ok());
        drop(first);
        assert_eq!(admit(pop3, "2001:db8::3").err(), Some(Full::Client));
        assert!(admit(pop3, "2001:db8:0:1::3").is_ok());
        assert_eq!(limits.of_service(smtp), 2);
        // Through a proxy: the one behind it counts.
        let mut passed = admit(pop3, "127.0.0.1").unwrap();
        assert_eq!(passed.pass_to(Client::of("2001:db8:0:1::4".parse().unwrap()), &bounds), Ok(()));
        assert_eq!(passed.pass_to(Client::of("2001:db8::4".parse().unwrap()), &bounds), Err(Full::Client));
        drop(passed);
        assert_eq!(limits.of_service(pop3), 1);
        assert_eq!(limits.refused.load(Ordering::Relaxed), 5);
    }
}
