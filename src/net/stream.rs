//! One kind of stream for plain TCP, Unix sockets and TLS, compressed or not, blocking and under a [`Pace`].

use super::deadline::{Pace, will_do};
use super::deflate::Deflate;
use super::tls::Session;
use super::{NetError, Peer};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, sendmsg, sockopt};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are tried without waiting.
const SHORT: usize = 4096;

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

    /// Reads what is there, without waiting.
    fn read_at_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.fd().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
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
        let (fd, flags) = (self.fd().as_raw_fd(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        match parts {
            [part] => Ok(send(fd, part, flags)?),
            _ => Ok(sendmsg::<()>(fd, parts, &[], flags, None)?),
        }
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
        // A reply has room in the kernel: most sessions never wait for it, and need no time-out for that.
        let mut may_wait = parts.iter().map(|part| part.len()).sum::<usize>() > SHORT;
        loop {
            if !may_wait {
                may_wait = true;
                match self.link.write_at_once(parts) {
                    Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                    other => return other,
                }
            }
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
            let read = match self.link.read_at_once(buffer) {
                // Where the processors are busy the peer, if it is here, goes on meanwhile: to let it costs less than to
                // sleep and be woken.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::yield_now();
                    self.link.read(buffer)
                }
                other => other,
            };
            match read {
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
struct Lower {
    wire: Wire,
    tls: Option<Box<Session>>,
}

/// The same, compressed or not: first compressed, then encrypted (RFC 4978 §3).
#[derive(Debug)]
pub(super) struct Stream {
    lower: Lower,
    deflate: Option<Box<Deflate>>,
}

impl Lower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(&mut self.wire, buffer),
            None => self.wire.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.wire, bytes),
            None => self.wire.write_all(bytes),
        }
    }

    /// Can something be read without waiting? Takes in what the socket has.
    fn has_arrived(&mut self) -> bool {
        let Some(tls) = &mut self.tls else {
            return has_bytes(&self.wire.link);
        };
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

impl Stream {
    /// `socket` sends without delay (`TCP_NODELAY`).
    pub(super) fn from_tcp(socket: TcpStream, peer: SocketAddr) -> (Stream, Peer) {
        let peer = Peer::Tcp(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        (Stream::over(Socket::Tcp(socket)), peer)
    }

    pub(super) fn from_unix(socket: UnixStream) -> io::Result<(Stream, Peer)> {
        socket.set_nonblocking(false)?;
        let who = getsockopt(&socket, sockopt::PeerCredentials)?;
        Ok((Stream::over(Socket::Unix(socket)), Peer::Unix { uid: who.uid(), pid: who.pid() }))
    }

    fn over(socket: Socket) -> Stream {
        let link = Arc::new(Link { socket, leave: AtomicBool::new(false), busy: AtomicBool::new(false) });
        let wire = Wire { link, pace: Pace::new(), set: (None, None), ended: false };
        Stream { lower: Lower { wire, tls: None }, deflate: None }
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.lower.wire.link
    }

    pub(super) fn pace(&mut self) -> &mut Pace {
        &mut self.lower.wire.pace
    }

    pub(super) fn tls(&self) -> Option<&Session> {
        self.lower.tls.as_deref()
    }

    /// Encrypts from now on; `handshake` makes the session.
    pub(super) fn secure(&mut self, handshake: impl FnOnce(&mut Wire) -> io::Result<Session>) -> Result<(), NetError> {
        if self.lower.tls.is_some() {
            return Err(NetError::Io(io::Error::new(ErrorKind::InvalidInput, "TLS is already up")));
        }
        self.lower.tls = Some(Box::new(handshake(&mut self.lower.wire)?));
        Ok(())
    }

    /// Compresses both directions from now on; `arrived` was read from below already.
    pub(super) fn compress(&mut self, arrived: &[u8]) -> Result<(), NetError> {
        self.deflate = Some(Box::new(Deflate::new(arrived)?));
        Ok(())
    }

    /// Could it stop compressing now?
    pub(super) fn can_decompress(&self) -> bool {
        self.deflate.as_ref().is_none_or(|deflate| deflate.behind().is_some())
    }

    /// Compresses no longer. Gives what has arrived behind the last compressed byte, if it did.
    pub(super) fn decompress(&mut self) -> Option<Vec<u8>> {
        self.deflate.take().map(|deflate| deflate.behind().unwrap_or_default().to_vec())
    }

    /// Does it compress?
    pub(super) fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    /// Bytes that can be read without looking at the socket.
    pub(super) fn has_input(&self) -> bool {
        match &self.deflate {
            Some(deflate) => deflate.has_plain(),
            None => self.tls().is_some_and(Session::has_plaintext),
        }
    }

    /// Reads at least one byte; `Closed` at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        let Stream { lower, deflate } = self;
        let read = match deflate {
            None => lower.read(buffer)?,
            Some(deflate) => unpack(deflate, lower, buffer)?,
        };
        if read == 0 { Err(NetError::Closed) } else { Ok(read) }
    }

    /// Writes all of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        let Stream { lower, deflate } = self;
        match deflate {
            None => lower.write(bytes)?,
            Some(deflate) => deflate.pack(bytes, |block| lower.write(block))?,
        }
        Ok(())
    }

    /// Before a wait: gives back memory that is not needed for it, after a moment in which nothing arrives.
    pub(super) fn rest_after(&mut self, moment: Duration) {
        let Some(deflate) = self.deflate.as_mut().filter(|deflate| deflate.can_rest()) else { return };
        let timeout = PollTimeout::try_from(moment).unwrap_or(PollTimeout::ZERO);
        let mut wire = [PollFd::new(self.lower.wire.link.fd(), PollFlags::POLLIN)];
        if self.lower.tls.as_ref().is_none_or(|tls| !tls.has_plaintext()) && matches!(poll(&mut wire, timeout), Ok(0)) {
            deflate.rest();
        }
    }

    /// How many bytes lie in the socket.
    #[cfg(test)]
    pub(super) fn arrived_for_test(&self) -> usize {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.lower.wire.link.fd().as_raw_fd(), &mut vec![0; 1 << 20], flags).unwrap_or(0)
    }

    /// To be waited for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.lower.wire.link.fd()
    }

    /// Has the peer closed its side? Looks, never waits.
    pub(super) fn has_ended(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        !matches!(recv(self.lower.wire.link.fd().as_raw_fd(), &mut [0], flags), Err(Errno::EAGAIN) | Ok(1..))
    }

    /// Has something arrived? Takes in what the socket has, never waits.
    pub(super) fn has_arrived(&mut self) -> bool {
        let Stream { lower, deflate } = self;
        let Some(deflate) = deflate else { return lower.has_arrived() };
        // Packed bytes may come to nothing yet.
        while !deflate.has_plain() && !deflate.is_over() && lower.has_arrived() {
            if !matches!(take_in(deflate, lower), Ok(read) if read > 0) {
                break;
            }
        }
        deflate.has_plain()
    }
}

/// Reads what was compressed; 0 at the end.
fn unpack(deflate: &mut Deflate, lower: &mut Lower, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let read = deflate.read(buffer)?;
        if read > 0 || deflate.is_over() || take_in(deflate, lower)? == 0 {
            return Ok(read);
        }
    }
}

/// Not a part of who calls it: its block would lie on the stack of every session that waits.
#[inline(never)]
fn take_in(deflate: &mut Deflate, lower: &mut Lower) -> io::Result<usize> {
    deflate.take_in(|block| lower.read(block))
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
        let Lower { wire, tls } = &mut self.lower;
        if let Some(tls) = tls {
            wire.pace.set_deadline(Some(Duration::ZERO));
            tls.say_goodbye(wire);
        }
        let mut sink = [0; 4096];
        for _ in 0..64 {
            if wire.ended {
                break;
            }
            match recv(wire.link.fd().as_raw_fd(), &mut sink, MsgFlags::MSG_DONTWAIT) {
                Ok(read) if read > 0 => {}
                _ => break,
            }
        }
    }
}
