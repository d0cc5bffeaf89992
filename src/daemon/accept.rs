//! The accept loop: one poll over all listeners, the signals, and a waker. It only accepts; sessions run elsewhere.
//!
//! mio tells of a listener only when something new arrives there, so a listener stays on the list of those that are ready
//! until `accept` says that nothing waits. When descriptors run out all listeners rest for a moment and are then tried again.

use super::limits::{Client, Full, Limits, Ticket};
use super::listeners::{self, Listener, Plan, Service, Stream};
use crate::config::{Tls, schema};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Accepted from one listener before the others get their turn.
const AT_ONCE: usize = 64;
/// How long to rest when the system is out of descriptors or memory.
const REST: Duration = Duration::from_millis(100);
/// The same complaint is logged no more often.
const COMPLAIN: Duration = Duration::from_secs(10);

const WAKER: Token = Token(0);
const STOP: Token = Token(1);
const RELOAD: Token = Token(2);
const FIRST_LISTENER: usize = 3;

/// A connection that was let in.
#[derive(Debug)]
pub struct Arrival {
    /// The connection.
    pub stream: Stream,
    /// What it gets.
    pub service: Service,
    /// How.
    pub tls: Tls,
    /// A proxy, that will tell who is there.
    pub proxied: bool,
    /// Its right to be there.
    pub ticket: Ticket,
}

/// What happened besides arrivals.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// SIGTERM or SIGINT.
    pub stop: bool,
    /// SIGHUP.
    pub reload: bool,
}

/// A listener that is polled.
#[derive(Debug)]
struct Door {
    token: Token,
    plan: Plan,
    listener: Listener,
}

/// The loop.
#[derive(Debug)]
pub struct Acceptor {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    stop: UnixStream,
    reload: UnixStream,
    doors: Vec<Door>,
    next_token: usize,
    /// Listeners where something may wait.
    ready: BTreeSet<Token>,
    resting_until: Option<Instant>,
    complained: Option<Instant>,
    limits: Arc<Limits>,
}

impl Acceptor {
    /// Catches the signals; nothing is listened on yet.
    pub fn new(limits: Arc<Limits>) -> io::Result<Acceptor> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let stop = signal_pipe(&[SIGTERM, SIGINT])?;
        let reload = signal_pipe(&[SIGHUP])?;
        poll.registry().register(&mut SourceFd(&stop.as_raw_fd()), STOP, Interest::READABLE)?;
        poll.registry().register(&mut SourceFd(&reload.as_raw_fd()), RELOAD, Interest::READABLE)?;
        Ok(Acceptor {
            poll,
            events: Events::with_capacity(64),
            waker,
            stop,
            reload,
            doors: Vec::new(),
            next_token: FIRST_LISTENER,
            ready: BTreeSet::new(),
            resting_until: None,
            complained: None,
            limits,
        })
    }

    /// Ends [`Acceptor::turn`] from another thread.
    pub fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    /// From now on exactly these plans are served. A listener that is there already stays; one that has to be bound and can't
    /// be leaves all as it was.
    pub fn serve(&mut self, plans: &[Plan]) -> io::Result<()> {
        self.serve_bound(plans, listeners::bind)
    }

    /// The same; `bind` makes those that are new.
    pub fn serve_bound(&mut self, plans: &[Plan], bind: impl Fn(&Plan) -> io::Result<Option<Listener>>) -> io::Result<()> {
        let kept = self.keep(plans);
        let mut bound = Vec::new();
        for (plan, _) in plans.iter().zip(&kept).filter(|(_, kept)| kept.is_none()) {
            let listener = bind(plan)?;
            if let Some(listener) = &listener {
                let token = Token(self.next_token + bound.len());
                self.poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE)?;
            }
            bound.push(listener);
        }
        // Nothing can fail from here on. A listener that is dropped leaves the poll by itself.
        let mut old: Vec<Option<Door>> = self.doors.drain(..).map(Some).collect();
        let mut bound = bound.into_iter().enumerate();
        for (plan, kept) in plans.iter().zip(kept) {
            match kept {
                Some(at) => {
                    let door = old.get_mut(at).and_then(Option::take);
                    self.doors.extend(door.map(|door| Door { plan: plan.clone(), ..door }));
                }
                None => {
                    let Some((at, Some(listener))) = bound.next() else { continue };
                    self.doors.push(Door { token: Token(self.next_token + at), plan: plan.clone(), listener });
                }
            }
        }
        self.next_token += old.len() + plans.len();
        self.ready.retain(|token| self.doors.iter().any(|door| door.token == *token));
        Ok(())
    }

    /// For each plan the listener that is there already: first those at the very address, then those that got their port by
    /// chance.
    fn keep(&self, plans: &[Plan]) -> Vec<Option<usize>> {
        let mut kept: Vec<Option<usize>> = vec![None; plans.len()];
        let exact = |plan: &Plan, door: &Door| *door.listener.shown() == plan.endpoint;
        let alike = |plan: &Plan, door: &Door| door.plan == *plan;
        for fits in [&exact as &dyn Fn(&Plan, &Door) -> bool, &alike] {
            for (at, plan) in plans.iter().enumerate() {
                if kept[at].is_none() {
                    let mut doors = self.doors.iter().enumerate();
                    kept[at] = doors.find(|(n, door)| !kept.contains(&Some(*n)) && fits(plan, door)).map(|(n, _)| n);
                }
            }
        }
        kept
    }

    /// What is listened on, as in `smtp/starttls=127.0.0.1:25 … control/none=unix:/run/pillarbox/ctl.sock`.
    pub fn shown(&self) -> String {
        let show = |door: &Door| {
            let place = door.listener.shown().to_string().replace(char::is_whitespace, "?");
            format!("{}/{}={place}", door.plan.service.name(), door.plan.tls.name())
        };
        self.doors.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    /// Waits until something happens, at most so long, and gives all who arrived to `take`.
    pub fn turn(
        &mut self,
        bounds: &schema::Limits,
        at_most: Option<Duration>,
        mut take: impl FnMut(Arrival),
    ) -> io::Result<Turn> {
        let now = Instant::now();
        let timeout = match self.resting_until {
            Some(until) => Some(until.saturating_duration_since(now)),
            None if !self.ready.is_empty() => Some(Duration::ZERO),
            None => None,
        };
        match self.poll.poll(&mut self.events, timeout.into_iter().chain(at_most).min()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Turn::default()),
            done => done?,
        }
        let mut turn = Turn::default();
        for event in &self.events {
            match event.token() {
                WAKER => {}
                STOP => turn.stop = drain(&self.stop),
                RELOAD => turn.reload = drain(&self.reload),
                listener => drop(self.ready.insert(listener)),
            }
        }
        if self.resting_until.is_some_and(|until| Instant::now() < until) {
            return Ok(turn);
        }
        if self.resting_until.take().is_some() {
            self.ready.extend(self.doors.iter().map(|door| door.token));
        }
        for at in 0..self.doors.len() {
            if self.resting_until.is_none() && self.doors.get(at).is_some_and(|door| self.ready.contains(&door.token)) {
                self.accept_from(at, bounds, &mut take);
            }
        }
        Ok(turn)
    }

    /// Accepts from one listener until nothing waits there, or it is the others' turn.
    fn accept_from(&mut self, at: usize, bounds: &schema::Limits, take: &mut impl FnMut(Arrival)) {
        for _ in 0..AT_ONCE {
            let Some(door) = self.doors.get(at) else { return };
            let (service, tls, proxied, token) = (door.plan.service, door.plan.tls, door.plan.is_proxied(), door.token);
            match door.listener.accept() {
                Ok(stream) if !door.plan.takes(&stream) => self.refuse(&stream, service),
                Ok(stream) => {
                    // Who is behind a proxy is counted when that is known.
                    let client = if proxied { Client::Trusted } else { stream.client() };
                    match self.limits.admit(bounds, service, client, &self.waker) {
                        Ok(ticket) => take(Arrival { stream, service, tls, proxied, ticket }),
                        Err(full) => self.turn_away(stream, service, tls, full),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready.remove(&token);
                    return;
                }
                // The client went away before it was accepted.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    self.resting_until = Some(Instant::now() + REST);
                    if self.may_complain() {
                        log::error!("accept-failed service={} error=\"{error}\"", service.name());
                    }
                    return;
                }
            }
        }
    }

    fn turn_away(&mut self, stream: Stream, service: Service, tls: Tls, full: Full) {
        if self.may_complain() {
            log::warn!("turned-away service={} peer={} limit={}", service.name(), stream.peer(), full.limit());
        }
        // A client that waits for a TLS handshake would not understand a line of text.
        stream.dismiss(if tls == Tls::Implicit { b"" } else { service.farewell() });
    }

    /// Without a word: whoever is no proxy has no business there.
    fn refuse(&mut self, stream: &Stream, service: Service) {
        self.limits.count_refused();
        if self.may_complain() {
            log::warn!("turned-away service={} peer={} reason=no-proxy", service.name(), stream.peer());
        }
    }

    /// A flood of connections must not become a flood of log lines.
    fn may_complain(&mut self) -> bool {
        let now = Instant::now();
        if self.complained.is_some_and(|last| now.duration_since(last) < COMPLAIN) {
            return false;
        }
        self.complained = Some(now);
        true
    }
}

/// A socket that can be read after one of these signals came.
fn signal_pipe(signals: &[i32]) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// Empties it; was there anything?
fn drain(mut pipe: &UnixStream) -> bool {
    let mut buffer = [0; 64];
    let mut any = false;
    while pipe.read(&mut buffer).is_ok_and(|read| read > 0) {
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::from_text;
    use std::net::TcpStream;
    use std::path::Path;

    fn plans(dir: &Path, listeners: &[(&str, &str)]) -> Vec<Plan> {
        let table =
            |(address, protocol): &(&str, &str)| format!("[[listen]]\naddress = \"{address}\"\nprotocol = \"{protocol}\"\n");
        let text: String = listeners.iter().map(table).collect();
        listeners::plan(&from_text("test", &format!("user = \"\"\nspool = \".\"\n{text}"), dir, &[]).unwrap())
    }

    fn addresses(acceptor: &Acceptor) -> Vec<String> {
        acceptor.shown().split(' ').map(|word| word.split_once('=').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn listeners_stay_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut acceptor = Acceptor::new(Arc::default()).unwrap();
        let by_chance = plans(dir.path(), &[("127.0.0.1:0", "smtp"), ("127.0.0.1:0", "pop3"), ("127.0.0.1:0", "pop3")]);
        acceptor.serve(&by_chance).unwrap();
        let first = addresses(&acceptor);
        assert_eq!(first.len(), 5);
        acceptor.serve(&by_chance).unwrap();
        assert_eq!(addresses(&acceptor), first, "the same again");
        let named = [(first[2].as_str(), "pop3"), ("127.0.0.1:0", "smtp"), (first[1].as_str(), "smtp")];
        acceptor.serve(&plans(dir.path(), &named)).unwrap();
        assert_eq!(addresses(&acceptor)[..3], [first[2].clone(), first[0].clone(), first[1].clone()]);
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bad = plans(dir.path(), &[("127.0.0.1:0", "pop3"), (&taken.local_addr().unwrap().to_string(), "smtp")]);
        let before = addresses(&acceptor);
        assert!(acceptor.serve(&bad).is_err());
        assert_eq!(addresses(&acceptor), before, "a plan that fails changes nothing");
        acceptor.serve(&plans(dir.path(), &named[..1])).unwrap();
        assert!(TcpStream::connect(&first[1]).is_err(), "it is closed");
        acceptor.serve(&[]).unwrap();
        assert!(!dir.path().join("ctl.sock").exists());
    }

    #[test]
    fn arrivals_are_let_in_or_turned_away() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Arc::new(Limits::default());
        let mut acceptor = Acceptor::new(limits.clone()).unwrap();
        acceptor.serve(&plans(dir.path(), &[("127.0.0.1:0", "smtp")])).unwrap();
        let address = addresses(&acceptor).remove(0);
        let bounds =
            schema::Limits { sessions: 2, per_service: 2, per_network: 1, recipients: 1, errors: 1, min_free: 0, quota: 0 };
        let clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(&address).unwrap()).collect();
        let mut inside = Vec::new();
        while inside.len() < 2 || limits.refused.load(std::sync::atomic::Ordering::Relaxed) < 1 {
            acceptor.turn(&bounds, Some(Duration::from_secs(5)), |arrival| inside.push(arrival)).unwrap();
        }
        let mut heard = String::new();
        (&clients[2]).read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "421 4.7.0 too many connections\r\n");
        assert_eq!(limits.sessions(), 2);
        inside.clear();
        assert_eq!(limits.sessions(), 0);
    }
}
