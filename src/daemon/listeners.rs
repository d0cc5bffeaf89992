//! Sockets that listen: bound by configuration, kept over a reload, shown in the ready line.

use super::limits::Client;
use crate::config::schema::Network;
use crate::config::{Config, Endpoint, Protocol, Tls};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What is served at a listener.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// A mail protocol.
    Mail(Protocol),
    /// pillarboxctl.
    Control,
}

impl Service {
    /// In logs and figures.
    pub fn name(self) -> &'static str {
        match self {
            Service::Mail(protocol) => protocol.name(),
            Service::Control => "control",
        }
    }

    /// What a client hears that can't be served now: its protocol's way of saying "later" (RFC 5321 §3.8, RFC 3206 §4).
    pub fn farewell(self) -> &'static [u8] {
        match self {
            Service::Mail(Protocol::Smtp | Protocol::Submission | Protocol::Lmtp) => b"421 4.7.0 too many connections\r\n",
            Service::Mail(Protocol::Pop3) => b"-ERR [SYS/TEMP] too many connections\r\n",
            Service::Mail(Protocol::Imap) => b"* BYE [UNAVAILABLE] too many connections\r\n",
            Service::Mail(Protocol::Http | Protocol::Metrics) => {
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            }
            Service::Control => b"{\"ok\":false,\"error\":\"too many connections\"}\r\n",
        }
    }
}

/// What is to be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// As configured.
    pub endpoint: Endpoint,
    /// What is served.
    pub service: Service,
    /// How.
    pub tls: Tls,
    /// Who alone may connect, as a proxy; none: everybody, for himself.
    proxies: Vec<Network>,
    /// Another address of the same listener is enough: `[::]` on a host without IPv6.
    optional: bool,
}

impl Plan {
    /// Is it for proxies?
    pub fn is_proxied(&self) -> bool {
        !self.proxies.is_empty()
    }

    /// May this one connect?
    pub fn takes(&self, stream: &Stream) -> bool {
        match stream {
            Stream::Tcp(_, from) if self.is_proxied() => self.proxies.iter().any(|proxy| proxy.contains(from.ip())),
            _ => true,
        }
    }
}

/// All listeners of a configuration, in its order, the control socket last.
pub fn plan(config: &Config) -> Vec<Plan> {
    let mut plans = Vec::new();
    for listen in &config.listen {
        for endpoint in &listen.at {
            let wildcard = matches!(endpoint, Endpoint::Tcp(SocketAddr::V6(address)) if address.ip().is_unspecified());
            plans.push(Plan {
                endpoint: endpoint.clone(),
                service: Service::Mail(listen.protocol),
                tls: listen.tls,
                proxies: listen.proxy.clone(),
                optional: wildcard && listen.at.len() > 1,
            });
        }
    }
    let control = Endpoint::Unix(config.control.clone());
    plans.push(Plan { endpoint: control, service: Service::Control, tls: Tls::None, proxies: Vec::new(), optional: false });
    plans
}

/// A socket that listens. Dropped it is closed, and the path of a Unix socket is taken away.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Port 0 is filled in.
    shown: Endpoint,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// With its file, as (device, inode).
    Unix(UnixListener, PathBuf, (u64, u64)),
}

/// An accepted connection. It blocks.
#[derive(Debug)]
pub enum Stream {
    /// From the network.
    Tcp(TcpStream, SocketAddr),
    /// From this host, and the uid of who is there.
    Unix(UnixStream, u32),
}

impl Stream {
    /// With whom it is counted.
    pub fn client(&self) -> Client {
        match self {
            Stream::Tcp(_, address) => Client::of(address.ip()),
            Stream::Unix(_, 0) => Client::Trusted,
            Stream::Unix(_, uid) => Client::User(*uid),
        }
    }

    /// For the log.
    pub fn peer(&self) -> String {
        match self {
            Stream::Tcp(_, address) => address.ip().to_string(),
            Stream::Unix(_, uid) => format!("uid:{uid}"),
        }
    }

    /// Says a line without waiting, and closes.
    pub fn dismiss(self, line: &[u8]) {
        let _ = match self {
            Stream::Tcp(mut stream, _) => stream.set_nonblocking(true).and_then(|()| stream.write(line)),
            Stream::Unix(mut stream, _) => stream.set_nonblocking(true).and_then(|()| stream.write(line)),
        };
    }
}

/// Binds one address. None: this host has no such addresses, and the plan can do without.
pub fn bind(plan: &Plan) -> io::Result<Option<Listener>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", plan.endpoint));
    match &plan.endpoint {
        Endpoint::Tcp(address) => match bind_tcp(*address) {
            Ok(listener) => {
                let shown = Endpoint::Tcp(listener.local_addr().map_err(named)?);
                Ok(Some(Listener { socket: Socket::Tcp(listener), shown }))
            }
            Err(error @ (Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)) if plan.optional => {
                log::info!("not-listening address={address} error=\"{error}\"");
                Ok(None)
            }
            Err(error) => Err(named(error.into())),
        },
        Endpoint::Unix(path) => {
            let (listener, file) = bind_unix(path).map_err(named)?;
            Ok(Some(Listener { socket: Socket::Unix(listener, path.clone(), file), shown: plan.endpoint.clone() }))
        }
    }
}

/// The standard library knows neither the backlog nor v6-only.
fn bind_tcp(address: SocketAddr) -> nix::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    // Its connections inherit it: replies are sent at once.
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

/// A socket that nobody listens on any more is taken away first. Everybody may connect: credentials decide what they may do.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    if fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there"));
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    socket::listen(&listener, Backlog::new(BACKLOG)?)?;
    listener.set_nonblocking(true)?;
    let file = identity(path)?;
    Ok((listener, file))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl Listener {
    /// One that another process has bound for this plan.
    pub fn adopt(plan: &Plan, socket: OwnedFd) -> io::Result<Listener> {
        match &plan.endpoint {
            Endpoint::Tcp(_) => {
                let listener = TcpListener::from(socket);
                let shown = Endpoint::Tcp(listener.local_addr()?);
                Ok(Listener { socket: Socket::Tcp(listener), shown })
            }
            Endpoint::Unix(path) => {
                let file = identity(path)?;
                let socket = Socket::Unix(UnixListener::from(socket), path.clone(), file);
                Ok(Listener { socket, shown: plan.endpoint.clone() })
            }
        }
    }

    /// The socket alone, for another process to adopt. The path of a Unix socket stays.
    pub fn give(self) -> io::Result<OwnedFd> {
        let socket = match &self.socket {
            Socket::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Socket::Unix(listener, ..) => listener.as_fd().try_clone_to_owned(),
        };
        if socket.is_ok() {
            // This one stays open, in a process that has little left to do.
            std::mem::forget(self);
        }
        socket
    }

    /// Where it really is: a port 0 is filled in.
    pub fn shown(&self) -> &Endpoint {
        &self.shown
    }

    /// The next connection that waits. What Linux accepts blocks, even if the listener does not.
    pub fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                Ok(Stream::Tcp(stream, address))
            }
            Socket::Unix(listener, ..) => {
                let (stream, _) = listener.accept()?;
                let uid = socket::getsockopt(&stream, sockopt::PeerCredentials)?.uid();
                Ok(Stream::Unix(stream, uid))
            }
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_raw_fd(),
            Socket::Unix(listener, ..) => listener.as_raw_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, path, file) = &self.socket {
            // Somebody else's socket may be there by now.
            if identity(path).is_ok_and(|there| there == *file) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(text: &str) -> Plan {
        let endpoint = match text.strip_prefix("unix:") {
            Some(path) => Endpoint::Unix(path.into()),
            None => Endpoint::Tcp(text.parse().unwrap()),
        };
        Plan { endpoint, service: Service::Control, tls: Tls::None, proxies: Vec::new(), optional: false }
    }

    #[test]
    fn both_wildcards_share_a_port() {
        let first = bind(&plan_of("0.0.0.0:0")).unwrap().unwrap();
        let Endpoint::Tcp(address) = first.shown().clone() else { panic!() };
        assert_ne!(address.port(), 0);
        let _client = TcpStream::connect(("127.0.0.1", address.port())).unwrap();
        let mut arrivals = std::iter::repeat_with(|| first.accept());
        let Some(Stream::Tcp(accepted, _)) = arrivals.find_map(Result::ok) else { panic!() };
        assert!(accepted.nodelay().unwrap());
        match bind(&plan_of(&format!("[::]:{}", address.port()))) {
            Ok(second) => assert!(second.is_some()),
            Err(error) => assert!(!error.to_string().contains("in use"), "{error}"),
        }
        let error = bind(&plan_of(&address.to_string())).unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot listen on 0.0.0.0:{}:", address.port())), "{error}");
    }

    #[test]
    fn stale_sockets_go_and_living_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let plan = plan_of(&format!("unix:{}", path.display()));
        let first = bind(&plan).unwrap().unwrap();
        assert!(bind(&plan).is_err());
        let _client = UnixStream::connect(&path).unwrap();
        assert!(matches!(first.accept(), Ok(Stream::Unix(..))));
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(bind(&plan).is_err());
        assert!(path.exists());
    }
}
