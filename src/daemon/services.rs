//! What a worker thread does with a connection: from the bare socket to the room of its protocol.

use super::accept::Arrival;
use super::limits::{Client, Full, Ticket};
use super::listeners::{Service, Stream};
use crate::auth::Gate;
use crate::config::{Config, Protocol, Tls};
use crate::ctld;
use crate::delivery::{Delivery, Rates};
use crate::host::Host;
use crate::mailbox::Store;
use crate::net::{Connection, Peer, Registry, tls::ServerTls};
use crate::sys::Clock;
use crate::{health, imapd, pop3d, smtpd, webmail};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A TLS handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// A proxy tells at once who is behind it.
const HEADER: Duration = Duration::from_secs(10);

/// What lives as long as the daemon.
#[derive(Clone, Debug)]
pub struct Foundation {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For passwords.
    pub gate: Arc<Gate>,
    /// Users.
    pub host: Arc<dyn Host>,
    /// Mailboxes.
    pub store: Arc<Store>,
    /// The queue, and the post.
    pub delivery: Arc<Delivery>,
    /// What users have sent.
    pub rates: Arc<Rates>,
    /// What is known of strangers.
    pub screen: Arc<smtpd::Screen>,
    /// Who is logged in by a browser.
    pub visits: Arc<webmail::Visits>,
    /// Who is connected.
    pub registry: Registry,
    /// What operators may ask of the supervisor.
    pub desk: Arc<dyn ctld::Supervisor>,
}

/// All servers of one configuration. A session keeps those it began with.
#[derive(Debug)]
pub struct Services {
    /// The configuration.
    pub config: Arc<Config>,
    tls: Arc<ServerTls>,
    web_tls: ServerTls,
    registry: Registry,
    smtp: smtpd::Server,
    pop3: pop3d::Server,
    imap: imapd::Server,
    web: webmail::Server,
    health: health::Server,
    control: ctld::Server,
}

impl Services {
    /// The servers of a configuration, with its certificate.
    pub fn new(base: &Foundation, config: Arc<Config>, tls: Arc<ServerTls>) -> Services {
        let (clock, gate) = (base.clock.clone(), base.gate.clone());
        Services {
            smtp: smtpd::Server {
                config: config.clone(),
                clock: clock.clone(),
                gate: gate.clone(),
                post: base.delivery.post(),
                rates: base.rates.clone(),
                screen: base.screen.clone(),
                tls: Some(tls.clone()),
            },
            pop3: pop3d::Server {
                config: config.clone(),
                clock: clock.clone(),
                gate: gate.clone(),
                store: base.store.clone(),
                tls: Some(tls.clone()),
            },
            imap: imapd::Server {
                config: config.clone(),
                clock: clock.clone(),
                gate: gate.clone(),
                store: base.store.clone(),
                post: base.delivery.post(),
                tls: Some(tls.clone()),
            },
            web: webmail::Server {
                config: config.clone(),
                clock: clock.clone(),
                gate,
                store: base.store.clone(),
                post: base.delivery.post(),
                delivery: base.delivery.clone(),
                rates: base.rates.clone(),
                visits: base.visits.clone(),
            },
            health: health::Server::new(config.clone(), clock, base.delivery.clone(), base.desk.clone()),
            control: ctld::Server {
                delivery: base.delivery.clone(),
                store: base.store.clone(),
                host: base.host.clone(),
                supervisor: base.desk.clone(),
            },
            registry: base.registry.clone(),
            web_tls: tls.for_web(),
            tls,
            config,
        }
    }
}

/// One session to be run.
#[derive(Debug)]
pub struct Job {
    arrival: Arrival,
    services: Arc<Services>,
    /// In the log.
    session: String,
}

impl Job {
    /// `number` names the session in the log.
    pub fn new(arrival: Arrival, services: Arc<Services>, number: u64) -> Job {
        Job { arrival, services, session: format!("{number:x}") }
    }

    /// No thread could be had for it.
    pub fn dismiss(self) {
        let farewell = if self.arrival.tls == Tls::Implicit { b"" } else { self.arrival.service.farewell() };
        self.arrival.stream.dismiss(farewell);
    }
}

/// Runs a session from its first byte to its last.
pub fn run(job: Job) {
    let Job { arrival: Arrival { stream, service, tls, proxied, ticket }, services, session } = job;
    let mut in_session = InSession { session: &session, service, ticket };
    let proxy = proxied.then(|| (stream.peer(), &mut in_session.ticket));
    if let Err(error) = serve(stream, service, tls, proxy, &services, &session) {
        log::info!("session={session} connect-failed service={} error=\"{error}\"", service.name());
    }
    drop(in_session);
}

/// `proxy`: its address, and the place that is to be its client's.
fn serve(
    stream: Stream,
    service: Service,
    tls: Tls,
    proxy: Option<(String, &mut Ticket)>,
    services: &Services,
    session: &str,
) -> io::Result<()> {
    let is_tcp = matches!(stream, Stream::Tcp(..));
    let mut connection = match stream {
        Stream::Tcp(stream, peer) => Connection::accepted(stream, peer),
        Stream::Unix(stream, _) => Connection::from_unix(stream)?,
    };
    connection.register(&services.registry);
    connection.set_timeout(services.config.timeouts.command);
    if let Some((proxy, ticket)) = proxy {
        connection.set_deadline(Some(HEADER));
        connection.read_proxy_header().map_err(|error| io::Error::other(format!("PROXY of {proxy}: {error}")))?;
        connection.set_deadline(None);
        log::debug!("session={session} proxied by={proxy} peer={}", connection.peer());
        if let Err(full) = pass_to_client(ticket, connection.peer(), services) {
            log::warn!("turned-away service={} peer={} limit={}", service.name(), connection.peer(), full.limit());
            let farewell = if tls == Tls::Implicit { b"" } else { service.farewell() };
            return connection.put(farewell).and_then(|()| connection.flush()).map_err(io::Error::from);
        }
    }
    if tls == Tls::Implicit {
        connection.set_deadline(Some(HANDSHAKE));
        let is_web = matches!(service, Service::Mail(Protocol::Http | Protocol::Metrics));
        let tls = if is_web { &services.web_tls } else { &*services.tls };
        connection.accept_tls(tls).map_err(|error| io::Error::other(format!("TLS: {error}")))?;
        connection.set_deadline(None);
    }
    let offer_tls = tls == Tls::Starttls && is_tcp;
    match service {
        Service::Mail(protocol @ (Protocol::Smtp | Protocol::Submission | Protocol::Lmtp)) => {
            services.smtp.serve(connection, session, protocol, offer_tls);
        }
        Service::Mail(Protocol::Pop3) => services.pop3.serve(connection, session, offer_tls),
        Service::Mail(Protocol::Imap) => services.imap.serve(connection, session, offer_tls),
        Service::Mail(Protocol::Http) => services.web.serve(connection, session),
        Service::Mail(Protocol::Metrics) => services.health.serve(connection, session),
        Service::Control => services.control.serve(connection, session),
    }
    Ok(())
}

fn pass_to_client(ticket: &mut Ticket, peer: &Peer, services: &Services) -> Result<(), Full> {
    match peer {
        Peer::Tcp(address) => ticket.pass_to(Client::of(address.ip()), &services.config.limits),
        Peer::Unix { .. } => Ok(()),
    }
}

/// Holds the session's place to its end, and tells of an end by panic.
struct InSession<'a> {
    session: &'a str,
    service: Service,
    ticket: Ticket,
}

impl Drop for InSession<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.ticket.count_panic();
            log::error!("session={} bug service={} (the panic is told above)", self.session, self.service.name());
        }
    }
}
