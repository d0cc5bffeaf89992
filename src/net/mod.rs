//! A conversation with a peer, plain or encrypted: lines in, replies out, everything under a deadline.
//!
//! [`Connection`] is what servers and clients use. Under it lie `stream` (TCP, Unix sockets and TLS as one), `deflate`,
//! `deadline`, `buffer`, and two codecs that know nothing of sockets: `lines` and `dot`. [`proxy`] reads who is behind a proxy,
//! [`registry`] knows who is connected, [`dns`] finds where to connect to, [`https`] fetches a text.

mod buffer;
mod chunk;
mod deadline;
mod deflate;
pub mod dns;
mod dot;
pub mod https;
mod lines;
pub mod proxy;
mod public;
pub mod registry;
mod stream;
#[cfg(test)]
mod tests;
pub mod tls;

pub use chunk::Unwire;
pub use dot::{DotWriter, read_dots};
pub use lines::is_of_http;
pub use public::is_public;
pub use registry::Registry;

use buffer::Input;
use dot::Unstuff;
use lines::LineScan;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use registry::Seat;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};
use stream::Stream;

/// Bytes of the read buffer between commands; a message of common size fits as well.
const SMALL: usize = 6 * 1024;

/// Bytes of the read buffer while a big message comes in, and of the write buffer before it is written on its own account.
const BLOCK: usize = 64 * 1024;

/// After a wait this long more of it is likely.
const MOMENT: Duration = Duration::from_secs(1);
/// A peer that goes on at once does so within this.
const AT_ONCE: Duration = Duration::from_micros(60);
/// So many more often than it does must a peer not, before it is no longer expected to.
const QUICK: u8 = 8;
/// On a single one, who looks keeps the client from going on.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

/// Bytes of a line after which its sender is not listened to any more.
const ENDLESS: u64 = 1024 * 1024;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Another host, or this one over TCP; an IPv4 address is never written as an IPv6 one.
    Tcp(SocketAddr),
    /// A process of this host, by its credentials.
    Unix {
        /// Its effective user when it connected.
        uid: u32,
        /// Its process when it connected.
        pid: i32,
    },
}

impl Peer {
    /// A process of this host? What is sent to it nobody else can read.
    pub fn is_here(&self) -> bool {
        match self {
            Peer::Tcp(address) => address.ip().is_loopback(),
            Peer::Unix { .. } => true,
        }
    }
}

impl fmt::Display for Peer {
    /// As in all log lines: the address, or the user.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.ip().fmt(out),
            Peer::Unix { uid, .. } => write!(out, "uid:{uid}"),
        }
    }
}

/// Why nothing more could be read or written.
#[derive(Debug)]
pub enum NetError {
    /// The peer closed or reset the connection, or we were told to leave (see [`Connection::told_to_leave`]).
    Closed,
    /// The time-out or the deadline passed.
    Timeout,
    /// Anything else: a network that is down, a TLS error.
    Io(io::Error),
}

/// One line of input, without its CRLF.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The line is in the buffer given.
    Whole,
    /// Longer than allowed; all of it has been read and dropped.
    TooLong,
    /// It held a bare CR, a bare LF or a NUL; all of it has been read.
    Malformed,
}

/// How a message ended (RFC 5321 §4.1.1.4).
#[derive(Debug)]
pub enum Dots {
    /// All of it went to the sink.
    Whole,
    /// More bytes (in wire form) than allowed; all was read, nothing more written after the limit.
    TooBig,
    /// A bare CR, a bare LF or a NUL; all was read.
    Malformed,
    /// The sink failed; all was read.
    Sink(io::Error),
}

/// What is known of the other end.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FarEnd {
    /// Nothing in particular.
    Open,
    /// It will send nothing more; whether it still reads is not known.
    Closed,
    /// It reads nothing more.
    Gone,
}

/// A connection with buffers. One type for servers and clients, for plain and TLS. Dropping it closes it; output that was
/// not flushed is not sent.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: Peer,
    input: Input,
    output: Vec<u8>,
    seat: Option<Seat>,
    /// How far the peer is trusted to go on at once ([`Connection::expect_more`]).
    quick: u8,
}

/// What a session needs to know of its encryption.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// `TLSv1.3`
    pub version: String,
    /// `TLS_AES_256_GCM_SHA384`
    pub cipher: String,
    /// The name the client asked for.
    pub sni: Option<String>,
    /// On the server's side: what a login can be bound to, by type (RFC 5056).
    pub bindings: Vec<(&'static str, Vec<u8>)>,
}

impl Connection {
    /// Takes over a connected socket, which blocks, and sends small packets at once.
    pub fn from_tcp(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        Ok(Connection::accepted(stream, peer))
    }

    /// The same where the listener has set `TCP_NODELAY`, which its connections inherit, and told who is there.
    pub fn accepted(stream: TcpStream, peer: SocketAddr) -> Connection {
        Connection::over(Stream::from_tcp(stream, peer))
    }

    /// Takes over a connected socket of this host and learns who is at the other end.
    pub fn from_unix(stream: UnixStream) -> io::Result<Connection> {
        Stream::from_unix(stream).map(Connection::over)
    }

    /// Connects within the time.
    pub fn connect(to: SocketAddr, within: Duration) -> Result<Connection, NetError> {
        if within.is_zero() {
            return Err(NetError::Timeout);
        }
        Ok(Connection::from_tcp(TcpStream::connect_timeout(&to, within)?)?)
    }

    /// Connects to a socket of this host within the time.
    pub fn connect_unix(to: &Path, within: Duration) -> Result<Connection, NetError> {
        let errno = |error: Errno| NetError::from(io::Error::from(error));
        let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(errno)?;
        // Who listens there may let us wait.
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(i64::try_from(within.as_millis()).unwrap_or(i64::MAX)))
            .map_err(errno)?;
        socket::connect(socket.as_raw_fd(), &UnixAddr::new(to).map_err(errno)?).map_err(errno)?;
        Ok(Connection::from_unix(UnixStream::from(socket))?)
    }

    fn over((stream, peer): (Stream, Peer)) -> Connection {
        Connection { stream, peer, input: Input::default(), output: Vec::new(), seat: None, quick: QUICK }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Reads the header of the PROXY protocol, before anything else is read, and takes a proxy's word for who the peer is. Where
    /// it names nobody, the peer is the proxy; so it is for a client of the proxy's own loopback, unless that is ours, too:
    /// whom we trust for being here is here.
    pub fn read_proxy_header(&mut self) -> Result<(), NetError> {
        let mut header = Vec::new();
        loop {
            match proxy::read(&header) {
                proxy::Header::More(more) => {
                    let at = header.len();
                    header.resize(at + more, 0);
                    let read = self.stream.read(header.get_mut(at..).unwrap_or_default())?;
                    header.truncate(at + read);
                }
                proxy::Header::Whole(Some(client)) => {
                    let client = Peer::Tcp(SocketAddr::new(client.ip().to_canonical(), client.port()));
                    if self.peer.is_here() || !client.is_here() {
                        self.peer = client;
                    }
                    return Ok(());
                }
                proxy::Header::Whole(None) => return Ok(()),
                proxy::Header::Malformed => return Err(NetError::Io(io::Error::new(ErrorKind::InvalidData, "not a header"))),
            }
        }
    }

    /// How this connection is encrypted; `None`: it is not.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.stream.tls().map(tls::Session::info)
    }

    /// How long a single read or write may block from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.stream.pace().set_timeout(timeout);
    }

    /// When all that follows must be over, whatever trickles in; None: never. Checked at each read and write. A farewell may
    /// still be written afterwards: what the kernel takes without waiting goes out.
    pub fn set_deadline(&mut self, within: Option<Duration>) {
        self.stream.pace().set_deadline(within);
    }

    /// Bytes that already arrived and were not read: pipelined commands. Looks at the buffers of TLS and deflate too, not at
    /// the socket.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty() || self.stream.has_input()
    }

    /// Has the peer already sent something we have not read? Looks at the socket as well, without waiting (early talkers, plaintext before TLS).
    pub fn input_pending(&mut self) -> bool {
        self.has_input() || self.stream.has_arrived()
    }

    /// Reads one line ended by CRLF (and nothing else), at most `limit` bytes with its CRLF, into `line` (cleared first).
    /// Queued output is flushed before any wait. An endless line is an error.
    pub fn read_line(&mut self, limit: usize, line: &mut Vec<u8>) -> Result<Line, NetError> {
        line.clear();
        if self.told_to_leave() {
            // The replies to what was done are owed all the same.
            self.flush()?;
            return Err(NetError::Closed);
        }
        let mut scan = LineScan::new(limit);
        loop {
            if self.input.is_empty() {
                self.fill(SMALL)?;
            }
            let (used, end) = scan.push(self.input.pending(), line);
            self.input.consume(used);
            if let Some(end) = end {
                return Ok(end);
            }
            if scan.seen() > ENDLESS.max(limit as u64) {
                return Err(NetError::Io(io::Error::new(ErrorKind::InvalidData, "endless line")));
            }
        }
    }

    /// Reads a dot-stuffed message up to CRLF.CRLF, unstuffs it and writes it to `sink` with LF line ends, one write for
    /// each block that arrives. `limit` is in bytes as SIZE counts them (RFC 1870 §3). Whatever is wrong with the message,
    /// it is read to its end; of several faults the first in this order is told: malformed, too big, sink. A session that
    /// is told to leave meanwhile still gets all of its message.
    pub fn read_dots(&mut self, limit: u64, sink: &mut dyn Write) -> Result<Dots, NetError> {
        self.stream.link().set_busy(true);
        let dots = self.read_dots_busily(limit, sink);
        self.stream.link().set_busy(false);
        self.input.shrink_to(SMALL);
        dots
    }

    fn read_dots_busily(&mut self, limit: u64, sink: &mut dyn Write) -> Result<Dots, NetError> {
        let mut unstuff = Unstuff::new();
        let mut failed = None;
        let mut size = SMALL;
        loop {
            if self.input.is_empty() && self.fill(size)? {
                size = BLOCK;
            }
            let block = self.input.pending();
            let step = unstuff.push(block);
            if !unstuff.is_malformed() && unstuff.size() <= limit && failed.is_none() {
                failed = sink.write_all(block.get(..step.kept).unwrap_or_default()).err();
            }
            self.input.consume(step.used);
            if step.end {
                break;
            }
        }
        Ok(unstuff.verdict(limit, failed))
    }

    /// Reads exactly so many bytes and gives them to `take`, block by block. A session that is told to leave meanwhile still
    /// gets all of them.
    pub fn read_bytes(&mut self, count: u64, mut take: impl FnMut(&[u8])) -> Result<(), NetError> {
        self.stream.link().set_busy(true);
        let result = self.read_bytes_busily(count, &mut take);
        self.stream.link().set_busy(false);
        self.input.shrink_to(SMALL);
        result
    }

    fn read_bytes_busily(&mut self, count: u64, take: &mut dyn FnMut(&[u8])) -> Result<(), NetError> {
        let mut left = count;
        while left > 0 {
            if self.input.is_empty() {
                self.fill(if left > SMALL as u64 { BLOCK } else { SMALL })?;
            }
            let pending = self.input.pending();
            let wanted = pending.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(pending.get(..wanted).unwrap_or_default());
            self.input.consume(wanted);
            left -= wanted as u64;
        }
        if self.input.is_empty() {
            // A client that writes what follows on its own is held back by its kernel until we acknowledge this.
            crate::sys::unix::acknowledge_now(self.stream.fd());
        }
        Ok(())
    }

    /// The peer will probably go on at once: looks for its input a moment before the thread sleeps. To fall asleep and be woken
    /// takes longer than a client on this host, or beside it, needs for its next command; one that is farther away has shown
    /// that soon, and is waited for asleep.
    pub fn expect_more(&mut self) -> Result<(), NetError> {
        if self.has_input() || self.quick == 0 || *PROCESSORS == 1 {
            return Ok(());
        }
        self.flush()?;
        let begun = Instant::now();
        while begun.elapsed() < AT_ONCE {
            if self.input_pending() {
                self.quick = QUICK.min(self.quick + 1);
                return Ok(());
            }
            std::hint::spin_loop();
        }
        self.quick -= 1;
        Ok(())
    }

    /// Waits until there is input or the other descriptor is readable, at most so long. Output is flushed first. True: input,
    /// or the end of it; false: the other, or the time is up.
    pub fn wait(&mut self, other: BorrowedFd<'_>, within: Duration) -> Result<bool, NetError> {
        self.flush()?;
        if self.has_input() || self.told_to_leave() {
            return Ok(true);
        }
        self.shrink();
        self.stream.rest_after(Duration::ZERO);
        // What was done before went deep, and this may last for hours.
        crate::sys::unix::give_back_stack();
        let until = Instant::now().checked_add(within);
        loop {
            let left = until.map_or(within, |until| until.saturating_duration_since(Instant::now()));
            // A little more than what is left, so that it is over then.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut both = [PollFd::new(self.stream.fd(), PollFlags::POLLIN), PollFd::new(other, PollFlags::POLLIN)];
            match poll(&mut both, timeout) {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(NetError::Io(error.into())),
                Ok(_) => {}
            }
            if both[0].any() == Some(true) {
                // Of TLS it may be a record without data, of deflate a block that is not whole.
                let bare = self.stream.tls().is_none() && !self.stream.is_compressed();
                if bare || self.input_pending() || self.stream.has_ended() {
                    return Ok(true);
                }
            } else if both[1].any() == Some(true) || left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn fill(&mut self, size: usize) -> Result<bool, NetError> {
        self.flush()?;
        // What a long reply needed is not kept through the wait.
        if self.output.capacity() > SMALL {
            self.output = Vec::new();
        }
        self.stream.rest_after(MOMENT);
        self.input.fill(&mut self.stream, size)
    }

    /// Queues output; written when the buffer is full, before any wait for input, or at [`Connection::flush`].
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        for piece in bytes.chunks(BLOCK) {
            self.output.extend_from_slice(piece);
            self.relieve()?;
        }
        Ok(())
    }

    /// Writes what is queued, all at once.
    pub fn flush(&mut self) -> Result<(), NetError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let result = self.stream.write(&self.output);
        // After an error nobody knows what has been written: none of it is sent again.
        self.output.clear();
        result
    }

    /// The queue, for who writes to it directly and calls [`Connection::relieve`] then.
    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Writes the queue if it is long. Last words are short: a deadline that is over ends this.
    fn relieve(&mut self) -> Result<(), NetError> {
        if self.output.len() < BLOCK {
            return Ok(());
        }
        if self.stream.pace().is_over() {
            self.output.clear();
            return Err(NetError::Timeout);
        }
        self.flush()
    }

    /// Begins a multi-line message.
    pub fn dot_writer(&mut self) -> DotWriter<'_> {
        DotWriter::new(self)
    }

    /// Server side of the handshake, under time-out and deadline. Queued output is flushed first. Unread plaintext is
    /// dropped; true if there was any.
    pub fn accept_tls(&mut self, tls: &tls::ServerTls) -> Result<bool, NetError> {
        self.flush()?;
        let dropped = self.input.clear();
        self.stream.secure(|wire| tls::Session::accept(tls, wire))?;
        // The handshake went deep; a session may last for days.
        crate::sys::unix::give_back_stack();
        Ok(dropped)
    }

    /// Compresses both directions from now on (RFC 4978). Queued output still goes out as it is; input that was not read is
    /// taken for compressed.
    pub fn compress(&mut self) -> Result<(), NetError> {
        self.flush()?;
        self.stream.compress(self.input.pending())?;
        self.input.clear();
        Ok(())
    }

    /// Can [`Connection::decompress`] be called? Not when input was not read yet, nor when it is not known where the peer's
    /// compressed bytes end.
    pub fn can_decompress(&self) -> bool {
        !self.is_compressed() || self.input.is_empty() && self.stream.can_decompress()
    }

    /// Compresses no longer, in either direction (RFC 8437 §4.1). Queued output still goes out compressed.
    pub fn decompress(&mut self) -> Result<(), NetError> {
        self.flush()?;
        if let Some(behind) = self.stream.decompress() {
            self.input.refill(behind);
        }
        Ok(())
    }

    /// Is it compressed?
    pub fn is_compressed(&self) -> bool {
        self.stream.is_compressed()
    }

    /// Client side, for the host of that name. Unread plaintext is dropped.
    pub fn start_tls(&mut self, tls: &tls::ClientTls, name: &str) -> Result<(), NetError> {
        self.flush()?;
        self.input.clear();
        self.stream.secure(|wire| tls::Session::connect(tls, name, wire))
    }

    /// What has become of the other end, as far as that is known without reading or waiting.
    pub fn far_end(&self) -> FarEnd {
        let asked = |flags| poll(&mut [PollFd::new(self.stream.fd(), flags)], PollTimeout::ZERO).is_ok_and(|count| count > 0);
        // Errors and the end of both directions are told without being asked for. The end of theirs is known whatever is still to
        // be read before it; nix has no name for it.
        match () {
            () if asked(PollFlags::empty()) => FarEnd::Gone,
            () if asked(PollFlags::from_bits_retain(libc::POLLRDHUP)) => FarEnd::Closed,
            () => FarEnd::Open,
        }
    }

    /// The server is stopping or this session is no longer wanted: end it with a farewell. True after the registry shut the reading side.
    pub fn told_to_leave(&self) -> bool {
        self.stream.link().told_to_leave()
    }

    /// Registers with the registry; taken out when the connection is dropped.
    pub fn register(&mut self, registry: &Registry) {
        self.seat = Some(registry.enter(self.stream.link().clone()));
    }

    /// Gives back buffers before a long wait.
    pub fn shrink(&mut self) {
        self.input.shrink_to(0);
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }
}

impl From<io::Error> for NetError {
    fn from(error: io::Error) -> NetError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => NetError::Timeout,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof => NetError::Closed,
            _ => NetError::Io(error),
        }
    }
}

impl From<NetError> for io::Error {
    fn from(error: NetError) -> io::Error {
        match error {
            NetError::Closed => ErrorKind::ConnectionAborted.into(),
            NetError::Timeout => ErrorKind::TimedOut.into(),
            NetError::Io(error) => error,
        }
    }
}

impl std::error::Error for NetError {}

impl fmt::Display for NetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetError::Closed => out.write_str("connection closed"),
            NetError::Timeout => out.write_str("timed out"),
            NetError::Io(error) => error.fmt(out),
        }
    }
}
