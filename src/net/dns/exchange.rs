//! One question to one server: UDP, then TCP if the answer does not fit (RFC 7766).

use super::message::{self, Answer, Fault};
use domain::base::Rtype;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Asks, over all waiting no longer than `within`. An error says in a word or two what is wrong.
pub(super) fn ask(server: SocketAddr, name: &str, kind: Rtype, within: Duration) -> Result<Answer, String> {
    let until = Instant::now() + within;
    let fault = match try_once(server, name, kind, true, until)? {
        Err(Fault::NoEdns) => try_once(server, name, kind, false, until)?,
        other => other,
    };
    fault.map_err(|fault| match fault {
        Fault::Lame(reason) => reason,
        Fault::NoEdns => "FORMERR".to_owned(),
        Fault::Truncated | Fault::Foreign => "broken answer".to_owned(),
    })
}

/// Over UDP, over TCP if that is too small. The outer error: no answer at all.
fn try_once(server: SocketAddr, name: &str, kind: Rtype, edns: bool, until: Instant) -> Result<Result<Answer, Fault>, String> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| error.to_string())?;
    let id = u16::from_ne_bytes(id);
    let query = message::query(id, name, kind, edns)?;
    let read = |bytes: &[u8]| message::answer(bytes, id, name, kind);
    match over_udp(server, &query, until, read).map_err(why)? {
        Err(Fault::Truncated) => over_tcp(server, &query, until).map(|bytes| read(&bytes)).map_err(why),
        other => Ok(other),
    }
}

fn why(error: io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer".to_owned(),
        ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        _ => error.to_string(),
    }
}

/// From a new socket, so from a port that nobody can guess. What does not belong to the question is not listened to.
fn over_udp<T>(
    server: SocketAddr,
    query: &[u8],
    until: Instant,
    read: impl Fn(&[u8]) -> Result<T, Fault>,
) -> io::Result<Result<T, Fault>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(query)?;
    // Longer than we announce: some servers don't listen to that.
    let mut buffer = [0; 4096];
    loop {
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.recv(&mut buffer) {
            Ok(size) => match read(buffer.get(..size).unwrap_or_default()) {
                Err(Fault::Foreign) => {}
                other => return Ok(other),
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn over_tcp(server: SocketAddr, query: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect_timeout(&server, left(until)?)?;
    let size = u16::try_from(query.len()).map_err(|_| ErrorKind::InvalidInput)?;
    socket.set_write_timeout(Some(left(until)?))?;
    socket.write_all(&[&size.to_be_bytes(), query].concat())?;
    let mut size = [0; 2];
    read_exact(&mut socket, &mut size, until)?;
    let mut answer = vec![0; u16::from_be_bytes(size).into()];
    read_exact(&mut socket, &mut answer, until)?;
    Ok(answer)
}

fn read_exact(socket: &mut TcpStream, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(size) => buffer = buffer.get_mut(size..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time that is left.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
