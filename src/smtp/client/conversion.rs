//! 8-bit mail for a server that takes 7 bits only, and mail that no such server can be given.

use super::Failure;
use crate::mail::convert::{Census, Converter, Plan, Proof, Refusal};
use crate::mail::mboxrd::ToWire;
use crate::mail::structure::Scanner;
use crate::spool::Message;
use std::io;

/// Bytes read from the spool at a time.
const BLOCK: usize = 32 * 1024;

/// What makes a message 7-bit, tried out.
#[derive(Debug)]
pub(super) struct Conversion {
    pub(super) plan: Plan,
    /// Bytes that come of it, in wire form.
    pub(super) size: u64,
}

impl Conversion {
    /// Of this message, which is read three times for it.
    pub(super) fn of(message: &Message) -> Result<Result<Conversion, Refusal>, Failure> {
        let mut scanner = Scanner::new();
        pieces(message, |wire| {
            scanner.push(wire);
            Ok(())
        })?;
        let structure = scanner.finish();
        let mut census = Census::new(&structure);
        pieces(message, |wire| {
            census.push(wire);
            Ok(())
        })?;
        let plan = match census.plan() {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut converter, mut proof, mut out) = (Converter::new(&plan), Proof::default(), Vec::new());
        pieces(message, |wire| {
            out.clear();
            converter.push(wire, &mut out);
            proof.push(&out);
            Ok(())
        })?;
        Ok(proof.finish(&structure).map(|size| Conversion { plan, size }))
    }
}

/// Can it be made 7-bit, if it must? It is read three times.
pub fn is_convertible(message: &Message) -> io::Result<bool> {
    Conversion::of(message).map(|conversion| conversion.is_ok()).map_err(spool)
}

/// Does its header, or that of a part, need SMTPUTF8 (RFC 6531 §3.2)? It is read twice.
pub fn is_international(message: &Message) -> io::Result<bool> {
    let mut scanner = Scanner::new();
    pieces(message, |wire| {
        scanner.push(wire);
        Ok(())
    })
    .map_err(spool)?;
    let structure = scanner.finish();
    let mut census = Census::new(&structure);
    pieces(message, |wire| {
        census.push(wire);
        Ok(())
    })
    .map_err(spool)?;
    Ok(census.is_international())
}

/// Why it could not be read.
fn spool(failure: Failure) -> io::Error {
    match failure {
        Failure::Spool(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// Hands out a message in wire form, piece by piece.
pub(super) fn pieces(message: &Message, mut take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut to_wire = ToWire::default();
    let most = usize::try_from(message.len()).unwrap_or(BLOCK).min(BLOCK);
    let (mut room, mut wire, mut offset) = (Vec::new(), Vec::with_capacity(most + most / 16), 0);
    while offset < message.len() {
        let piece = message.piece(offset, BLOCK, &mut room).map_err(Failure::Spool)?;
        if piece.is_empty() {
            return Err(Failure::Spool(io::ErrorKind::UnexpectedEof.into()));
        }
        wire.clear();
        to_wire.push(piece, &mut wire);
        take(&wire)?;
        offset += piece.len() as u64;
    }
    wire.clear();
    to_wire.finish(&mut wire);
    take(&wire)
}
