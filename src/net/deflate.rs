//! Raw deflate (RFC 1951) in both directions, as IMAP's COMPRESS wants it (RFC 4978): between the lines and TLS.
//!
//! What is written is flushed to a byte boundary each time, so that the peer sees all of it at once. After such a flush a
//! new compressor can go on where an old one stopped (it only refers to what it has seen itself), so its memory, a quarter
//! of a megabyte, is given back before a long wait. The decompressor's 43 KiB stay: the peer may refer to what it sent.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a block: of packed input, of plain input, and of packed output.
const BLOCK: usize = 8 * 1024;

/// So many compressors, 4 MiB, may lie around unused.
const TRIM_AFTER: usize = 16;

/// The state of a compressed connection.
#[derive(Debug)]
pub(super) struct Deflate {
    packer: Option<Box<Compress>>,
    unpacker: Decompress,
    /// What came from below and was not unpacked yet.
    packed: Pending,
    /// What was unpacked and not read yet. Empty only if `packed` yields nothing more.
    plain: Pending,
    /// The peer has ended its stream.
    ended: bool,
    /// The last packed bytes.
    tail: [u8; 4],
}

/// Bytes of which the front is used up.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    used: usize,
}

impl Pending {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.used >= self.bytes.len()
    }
}

/// Not a part of who calls it: what it makes is 64 KiB, which would lie on the stack of every session first.
#[inline(never)]
fn packer() -> Box<Compress> {
    // The fastest level: it makes a quarter of what IMAP says, and others hardly do better.
    Box::new(Compress::new(Compression::fast(), false))
}

impl Deflate {
    /// Begins with what has arrived already behind the command that asked for it.
    pub(super) fn new(arrived: &[u8]) -> io::Result<Deflate> {
        let mut deflate = Deflate {
            packer: None,
            unpacker: Decompress::new(false),
            packed: Pending::default(),
            plain: Pending::default(),
            ended: false,
            tail: [0; 4],
        };
        deflate.push(arrived)?;
        Ok(deflate)
    }

    /// Packs all of it, and gives what comes out to `write`, block by block.
    pub(super) fn pack(&mut self, mut bytes: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let packer = self.packer.get_or_insert_with(packer);
        let mut out = Vec::with_capacity(BLOCK);
        loop {
            let before = packer.total_in();
            packer.compress_vec(bytes, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
            let taken = usize::try_from(packer.total_in() - before).unwrap_or(usize::MAX);
            bytes = bytes.get(taken..).unwrap_or_default();
            // With room left nothing is held back any more.
            let done = bytes.is_empty() && out.len() < out.capacity();
            write(&out)?;
            if done {
                return Ok(());
            }
            out.clear();
        }
    }

    /// Is there something to be read?
    pub(super) fn has_plain(&self) -> bool {
        !self.plain.is_empty()
    }

    /// Has the peer ended its stream, and everything been read?
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.plain.is_empty()
    }

    /// Gives unpacked bytes, as many as there are; 0: more packed ones are needed first.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let plain = self.plain.rest();
        let count = plain.len().min(buffer.len());
        buffer.get_mut(..count).unwrap_or_default().copy_from_slice(plain.get(..count).unwrap_or_default());
        self.plain.used += count;
        if self.plain.is_empty() {
            self.unpack()?;
        }
        Ok(count)
    }

    /// Takes packed bytes from below, all that `read` gives at once; 0: it has come to its end. Only for when
    /// [`Deflate::read`] has given all.
    pub(super) fn take_in(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let mut block = [0; BLOCK];
        let count = read(&mut block)?;
        self.push(block.get(..count).unwrap_or_default())?;
        Ok(count)
    }

    fn push(&mut self, packed: &[u8]) -> io::Result<()> {
        self.packed.bytes.drain(..self.packed.used.min(self.packed.bytes.len()));
        self.packed.used = 0;
        self.packed.bytes.extend_from_slice(packed);
        self.tail = [&self.tail[..], packed].concat().last_chunk().copied().unwrap_or_default();
        self.unpack()
    }

    /// Unpacks one block, when all of the last one was read. A few bytes can stand for thousands: no more are made at a time.
    fn unpack(&mut self) -> io::Result<()> {
        self.plain.bytes.resize(BLOCK, 0);
        let mut made = 0;
        while made < BLOCK && !self.ended {
            let (taken, given) = (self.unpacker.total_in(), self.unpacker.total_out());
            let room = self.plain.bytes.get_mut(made..).unwrap_or_default();
            let status = self.unpacker.decompress(self.packed.rest(), room, FlushDecompress::None);
            let status = status.map_err(|_| io::Error::new(ErrorKind::InvalidData, "corrupt deflate data"))?;
            let (taken, given) = (self.unpacker.total_in() - taken, self.unpacker.total_out() - given);
            self.packed.used += taken as usize;
            made += given as usize;
            self.ended = status == Status::StreamEnd;
            if (taken, given) == (0, 0) {
                break;
            }
        }
        self.plain.bytes.truncate(made);
        self.plain.used = 0;
        Ok(())
    }

    /// If all was read, and the peer's last packed byte is known: what came behind it. That is so if it has ended its stream,
    /// or if nothing came after a flush.
    pub(super) fn behind(&self) -> Option<&[u8]> {
        let flushed = self.ended || self.packed.is_empty() && self.tail == [0, 0, 0xff, 0xff];
        (flushed && self.plain.is_empty()).then(|| self.packed.rest())
    }

    /// Is there memory that [`Deflate::rest`] would give back?
    pub(super) fn can_rest(&self) -> bool {
        self.packer.is_some()
    }

    /// Gives back what a long wait does not need. The C allocator would keep it: every now and then it is told not to.
    pub(super) fn rest(&mut self) {
        static RESTS: AtomicUsize = AtomicUsize::new(1);
        // Making one went deep.
        crate::sys::unix::give_back_stack();
        if self.packer.take().is_some() && RESTS.fetch_add(1, Ordering::Relaxed).is_multiple_of(TRIM_AFTER) {
            crate::sys::unix::trim_memory();
        }
        for pending in [&mut self.packed, &mut self.plain] {
            if pending.is_empty() {
                *pending = Pending::default();
            }
        }
    }
}
