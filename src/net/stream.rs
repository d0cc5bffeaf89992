//! One kind of stream for plain TCP, Unix sockets and TLS, blocking and under a [`Pace`].

use super::deadline::{Pace, will_do};
use super::tls::Session;
use super::{NetError, Peer};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, sockopt};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket, and what its connection and the registry tell each other about it.
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    /// Somebody wants this session to end.
    leave: AtomicBool,
    /// A message is being read and may arrive whole.
    busy: AtomicBool,
}

impl Link {
    /// Asks the session to end: its next read sees the end of input. Writing goes on working.
    ///
    /// Busy and leave are each stored before the other is loaded, in one order for all, so either we see that the session
    /// is busy and it sees the flag when it is done, or we shut its reading side.
    pub(super) fn tell_to_leave(&self) {
        self.leave.store(true, Ordering::SeqCst);
        if !self.busy.load(Ordering::SeqCst) {
            self.shutdown(Shutdown::Read);
        }
    }

    /// Ends the connection in both directions.
    pub(super) fn cut(&self) {
        self.leave.store(true, Ordering::SeqCst);
        self.shutdown(Shutdown::Both);
    }

    /// Was [`Link::tell_to_leave`] called?
    pub(super) fn told_to_leave(&self) -> bool {
        self.leave.load(Ordering::SeqCst)
    }

    /// From now on, or no longer, being told to leave waits.
    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(super) fn is_busy_for_test(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    fn shutdown(&self, how: Shutdown) {
        // Fails only if the peer is already gone.
        let _ = match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(how),
            Socket::Unix(socket) => socket.shutdown(how),
        };
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.socket {
            Socket::Tcp(socket) => (&mut &*socket).read(buffer),
            Socket::Unix(socket) => (&mut &*socket).read(buffer),
        }
    }

    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match (&self.socket, parts) {
            (Socket::Tcp(socket), [part]) => (&mut &*socket).write(part),
            (Socket::Tcp(socket), _) => (&mut &*socket).write_vectored(parts),
            (Socket::Unix(socket), [part]) => (&mut &*socket).write(part),
            (Socket::Unix(socket), _) => (&mut &*socket).write_vectored(parts),
        }
    }

    /// Writes what the kernel takes without waiting.
    fn write_at_once(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = parts.iter().find(|part| !part.is_empty()).map_or(&[] as &[u8], |part| part);
        Ok(send(self.fd().as_raw_fd(), first, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
    }

    fn set_timeout(&self, reading: bool, timeout: Duration) -> io::Result<()> {
        match (&self.socket, reading) {
            (Socket::Tcp(socket), true) => socket.set_read_timeout(Some(timeout)),
            (Socket::Tcp(socket), false) => socket.set_write_timeout(Some(timeout)),
            (Socket::Unix(socket), true) => socket.set_read_timeout(Some(timeout)),
            (Socket::Unix(socket), false) => socket.set_write_timeout(Some(timeout)),
        }
    }
}

/// A socket under a pace. Its errors are those of the socket; `TimedOut` when the time is up.
#[derive(Debug)]
pub(super) struct Wire {
    link: Arc<Link>,
    pace: Pace,
    /// What the kernel was told: for reading, for writing.
    set: (Option<Duration>, Option<Duration>),
    /// The peer has closed; nothing more will come.
    ended: bool,
}

impl Wire {
    /// Waits for the socket as long as allowed, telling the kernel when needed. `None`: no time left.
    fn arm(&mut self, reading: bool, begin: Instant) -> io::Result<Option<()>> {
        let Some(left) = self.pace.left(begin) else { return Ok(None) };
        let set = if reading { &mut self.set.0 } else { &mut self.set.1 };
        if !will_do(*set, left) {
            self.link.set_timeout(reading, left)?;
            *set = Some(left);
        }
        Ok(Some(()))
    }

    fn write_parts(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let begin = Instant::now();
        loop {
            // When time is up, last words still go out as far as that needs no waiting.
            let result = match self.arm(false, begin)? {
                Some(()) => self.link.write(parts),
                None => self.link.write_at_once(parts).map_err(late),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.set.1 = None,
                other => return other,
            }
        }
    }
}

fn late(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        loop {
            if self.link.told_to_leave() && !self.link.busy.load(Ordering::SeqCst) {
                return Ok(0);
            }
            if self.arm(true, begin)?.is_none() {
                return Err(ErrorKind::TimedOut.into());
            }
            match self.link.read(buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Woken by a time-out that was set for a shorter wait: the next round sets the right one, or gives up.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.set.0 = None,
                other => return other,
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_parts(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_parts(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A wire, encrypted or not.
#[derive(Debug)]
pub(super) struct Stream {
    wire: Wire,
    tls: Option<Box<Session>>,
}

impl Stream {
    pub(super) fn from_tcp(socket: TcpStream) -> io::Result<(Stream, Peer)> {
        socket.set_nodelay(true)?;
        let peer = socket.peer_addr()?;
        let peer = Peer::Tcp(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        Ok((Stream::over(Socket::Tcp(socket)), peer))
    }

    pub(super) fn from_unix(socket: UnixStream) -> io::Result<(Stream, Peer)> {
        socket.set_nonblocking(false)?;
        let who = getsockopt(&socket, sockopt::PeerCredentials)?;
        Ok((Stream::over(Socket::Unix(socket)), Peer::Unix { uid: who.uid(), pid: who.pid() }))
    }

    fn over(socket: Socket) -> Stream {
        let link = Arc::new(Link { socket, leave: AtomicBool::new(false), busy: AtomicBool::new(false) });
        Stream { wire: Wire { link, pace: Pace::new(), set: (None, None), ended: false }, tls: None }
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.wire.link
    }

    pub(super) fn pace(&mut self) -> &mut Pace {
        &mut self.wire.pace
    }

    pub(super) fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Encrypts from now on; `handshake` makes the session.
    pub(super) fn secure(&mut self, handshake: impl FnOnce(&mut Wire) -> io::Result<Session>) -> Result<(), NetError> {
        if self.tls.is_some() {
            return Err(NetError::Io(io::Error::new(ErrorKind::InvalidInput, "TLS is already up")));
        }
        self.tls = Some(Box::new(handshake(&mut self.wire)?));
        Ok(())
    }

    /// Reads at least one byte; `Closed` at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        let read = match &mut self.tls {
            Some(tls) => tls.read(&mut self.wire, buffer)?,
            None => self.wire.read(buffer)?,
        };
        if read == 0 { Err(NetError::Closed) } else { Ok(read) }
    }

    /// Writes all of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.wire, bytes)?,
            None => self.wire.write_all(bytes)?,
        }
        Ok(())
    }

    /// How many bytes lie in the socket.
    #[cfg(test)]
    pub(super) fn arrived_for_test(&self) -> usize {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.wire.link.fd().as_raw_fd(), &mut vec![0; 1 << 20], flags).unwrap_or(0)
    }

    /// To be waited for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wire.link.fd()
    }

    /// Has the peer closed its side? Looks, never waits.
    pub(super) fn has_ended(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        !matches!(recv(self.wire.link.fd().as_raw_fd(), &mut [0], flags), Err(Errno::EAGAIN) | Ok(1..))
    }

    /// Has something arrived? Takes in what the socket has, never waits.
    pub(super) fn has_arrived(&mut self) -> bool {
        match &mut self.tls {
            None => has_bytes(&self.wire.link),
            Some(tls) => {
                // A record that is not whole, or holds no data, is taken in and leaves nothing to read: a few in a row.
                for _ in 0..8 {
                    if tls.has_plaintext() || !has_bytes(&self.wire.link) {
                        break;
                    }
                    if !matches!(tls.take_in(&mut self.wire), Ok(read) if read > 0) {
                        break;
                    }
                }
                tls.has_plaintext()
            }
        }
    }
}

/// Are there bytes in the socket's own buffer?
fn has_bytes(link: &Link) -> bool {
    let mut byte = [0];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    matches!(recv(link.fd().as_raw_fd(), &mut byte, flags), Ok(read) if read > 0)
}

impl Drop for Stream {
    /// Says goodbye without waiting. Bytes that nobody read are taken out of the socket: with them the kernel would reset
    /// the connection, and the peer might never see our last reply.
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            self.wire.pace.set_deadline(Some(Duration::ZERO));
            tls.say_goodbye(&mut self.wire);
        }
        let mut sink = [0; 4096];
        for _ in 0..64 {
            if self.wire.ended {
                break;
            }
            match recv(self.wire.link.fd().as_raw_fd(), &mut sink, MsgFlags::MSG_DONTWAIT) {
                Ok(read) if read > 0 => {}
                _ => break,
            }
        }
    }
}
