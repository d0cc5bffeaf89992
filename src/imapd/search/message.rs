//! One message that is looked into: its header first, the rest only if it must be.

use super::program::{Known, Program};
use super::text::Windows;
use crate::mail::structure::{Scanner, Structure};
use crate::mailbox::{MailboxError, Uid, View};
use std::io::{self, Read};
use std::ops::Range;

/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// A longer header ends here.
const LONGEST_HEADER: usize = 2 << 20;
/// A message of so many bytes is read once, and kept until it is done with.
const HELD: u64 = 4 << 20;

/// What is kept from one message to the next.
#[derive(Debug, Default)]
pub struct Buffers {
    bytes: Vec<u8>,
    piece: Vec<u8>,
}

/// A message of which the header is there.
#[derive(Debug)]
pub struct Message<'a> {
    view: &'a View,
    uid: Uid,
    size: u64,
    buffers: &'a mut Buffers,
    /// The buffer has all of it.
    held: bool,
    header: usize,
}

impl<'a> Message<'a> {
    /// Reads the header; and what follows it, if `whole` and if it is not too much.
    pub fn open(view: &'a View, uid: Uid, size: u64, whole: bool, buffers: &'a mut Buffers) -> Result<Message<'a>, MailboxError> {
        let mut message = Message { view, uid, size, buffers, held: whole && size <= HELD, header: 0 };
        message.read_header().map(|()| message)
    }

    fn read_header(&mut self) -> Result<(), MailboxError> {
        let mut stream = self.view.read(self.uid)?;
        let Buffers { bytes, piece } = &mut *self.buffers;
        bytes.clear();
        piece.resize(PIECE, 0);
        let mut end = None;
        while self.held || end.is_none() {
            let from = bytes.len().saturating_sub(3);
            let read = read_some(&mut *stream, piece)?;
            bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
            end = end.or_else(|| header_end(bytes, from));
            if read == 0 || (!self.held && bytes.len() > LONGEST_HEADER) {
                break;
            }
        }
        self.header = end.unwrap_or(bytes.len()).min(LONGEST_HEADER);
        Ok(())
    }

    /// The header with the empty line behind it.
    pub fn header(&self) -> &[u8] {
        self.buffers.bytes.get(..self.header).unwrap_or_default()
    }

    /// What it is made of.
    fn structure(&mut self) -> Result<Structure, MailboxError> {
        let mut scanner = Scanner::new().into_global();
        self.each_piece(0..self.size, |piece, _| {
            scanner.push(piece);
            true
        })?;
        Ok(scanner.finish())
    }

    /// Looks for what the program wants to know of the parts, until that decides. What it is made of may be known.
    pub fn search(
        &mut self,
        program: &Program,
        known: &mut Known,
        windows: &mut Windows,
        structure: Option<Structure>,
    ) -> Result<bool, MailboxError> {
        let structure = structure.map_or_else(|| self.structure(), Ok)?;
        for (index, part) in structure.parts.iter().enumerate() {
            if index > 0 && program.wants_part_headers(known) {
                let mut bytes = Vec::new();
                self.each_piece(part.header.start..part.header.end, |piece, _| {
                    bytes.extend_from_slice(piece);
                    bytes.len() < LONGEST_HEADER
                })?;
                program.see_part_header(&bytes, known);
            }
            if windows.begin(part) {
                let mut see = |key: &[u8]| {
                    program.see_text(key, known);
                    program.decide(known).is_none()
                };
                self.each_piece(part.body.start..part.body.end, |piece, is_last| windows.push(piece, is_last, &mut see))?;
            }
            if let Some(answer) = program.decide(known) {
                return Ok(answer);
            }
        }
        program.see_end(known);
        Ok(program.decide(known).unwrap_or(false))
    }

    /// Goes through a range as long as `take` tells to; it is told which piece is the last.
    fn each_piece(&mut self, range: Range<u64>, mut take: impl FnMut(&[u8], bool) -> bool) -> Result<(), MailboxError> {
        let Buffers { bytes, piece } = &mut *self.buffers;
        if self.held {
            let held = bytes.get(range.start as usize..range.end as usize).ok_or(MailboxError::Gone)?;
            take(held, true);
            return Ok(());
        }
        let mut left = range.end - range.start;
        let mut stream = self.view.read_part(self.uid, range)?;
        piece.resize(PIECE, 0);
        while left > 0 {
            let read = read_some(&mut *stream, piece)?;
            if read == 0 {
                return Err(MailboxError::Gone);
            }
            left = left.saturating_sub(read as u64);
            if !take(piece.get(..read).unwrap_or_default(), left == 0) {
                break;
            }
        }
        Ok(())
    }
}

fn read_some(stream: &mut dyn Read, piece: &mut [u8]) -> Result<usize, MailboxError> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read.map_err(MailboxError::of_reader),
        }
    }
}

/// Where the header ends, if it does, in bytes that were searched up to `from`.
fn header_end(bytes: &[u8], from: usize) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    memchr::memmem::find(bytes.get(from..)?, b"\r\n\r\n").map(|at| from + at + 4)
}
