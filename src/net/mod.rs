//! A conversation with a peer, plain or encrypted: lines in, replies out, everything under a deadline.
#![allow(missing_docs, clippy::todo)]

pub mod dns;
pub mod registry;
pub mod tls;

pub use registry::Registry;

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// A process of this host, by its credentials.
    Unix {
        uid: u32,
        pid: i32,
    },
}

/// Why nothing more could be read or written.
#[derive(Debug)]
pub enum NetError {
    /// The peer closed, or we were told to leave (see [`Connection::told_to_leave`]).
    Closed,
    /// The deadline passed.
    Timeout,
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

/// A connection with buffers. One type for servers and clients, for plain and TLS.
#[derive(Debug)]
pub struct Connection {}

/// What a session needs to know of its encryption.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// `TLSv1.3`
    pub version: String,
    /// `TLS_AES_256_GCM_SHA384`
    pub cipher: String,
    /// The name the client asked for.
    pub sni: Option<String>,
}

impl Connection {
    pub fn from_tcp(_stream: TcpStream) -> io::Result<Connection> {
        todo!()
    }
    pub fn from_unix(_stream: UnixStream) -> io::Result<Connection> {
        todo!()
    }
    /// Connects within the time. `source`: bind to this address first.
    pub fn connect(_to: SocketAddr, _within: Duration) -> Result<Connection, NetError> {
        todo!()
    }
    pub fn peer(&self) -> &Peer {
        todo!()
    }
    pub fn tls(&self) -> Option<&TlsInfo> {
        todo!()
    }
    /// How long a single read or write may block from now on.
    pub fn set_timeout(&mut self, _timeout: Duration) {
        todo!()
    }
    /// When all that follows must be over, whatever trickles in; None: never. Checked at each read and write.
    pub fn set_deadline(&mut self, _within: Option<Duration>) {
        todo!()
    }
    /// Bytes that already arrived and were not read: pipelined commands. Looks at the TLS layer's buffers too, not at the socket.
    pub fn has_input(&self) -> bool {
        todo!()
    }
    /// Has the peer already sent something we have not read? Looks at the socket as well, without waiting (early talkers, plaintext before TLS).
    pub fn input_pending(&mut self) -> bool {
        todo!()
    }
    /// Reads one line ended by CRLF (and nothing else), at most `limit` bytes with its CRLF, into `line` (cleared first).
    pub fn read_line(&mut self, _limit: usize, _line: &mut Vec<u8>) -> Result<Line, NetError> {
        todo!()
    }
    /// Reads a dot-stuffed message up to CRLF.CRLF, unstuffs it and writes it to `sink` with LF line ends.
    pub fn read_dots(&mut self, _limit: u64, _sink: &mut dyn Write) -> Result<Dots, NetError> {
        todo!()
    }
    /// Queues output; written when the buffer is full or at [`Connection::flush`].
    pub fn put(&mut self, _bytes: &[u8]) -> Result<(), NetError> {
        todo!()
    }
    pub fn flush(&mut self) -> Result<(), NetError> {
        todo!()
    }
    /// Server side of the handshake. Unread plaintext is dropped; true if there was any.
    pub fn accept_tls(&mut self, _tls: &tls::ServerTls) -> Result<bool, NetError> {
        todo!()
    }
    /// Client side. Unread plaintext is dropped.
    pub fn start_tls(&mut self, _tls: &tls::ClientTls, _name: &str) -> Result<(), NetError> {
        todo!()
    }
    /// The server is stopping or this session is no longer wanted: end it with a farewell. True after the registry shut the reading side.
    pub fn told_to_leave(&self) -> bool {
        todo!()
    }
    /// Registers with the registry; taken out when the connection is dropped.
    pub fn register(&mut self, _registry: &Registry) {
        todo!()
    }
    /// Gives back buffers before a long wait.
    pub fn shrink(&mut self) {
        todo!()
    }
}

/// A writer that dot-stuffs: LF lines in (already unquoted), CRLF lines on the wire; `finish` sends the final dot line.
#[derive(Debug)]
pub struct DotWriter<'a> {
    _connection: &'a mut Connection,
}

impl Connection {
    /// Begins a multi-line message.
    pub fn dot_writer(&mut self) -> DotWriter<'_> {
        todo!()
    }
}

impl DotWriter<'_> {
    pub fn finish(self) -> Result<(), NetError> {
        todo!()
    }
}

impl Write for DotWriter<'_> {
    /// Takes wire-form lines (CRLF); only leading dots are doubled, a missing last CRLF is added by `finish`.
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        todo!()
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetError::Closed => out.write_str("connection closed"),
            NetError::Timeout => out.write_str("timed out"),
            NetError::Io(error) => error.fmt(out),
        }
    }
}
