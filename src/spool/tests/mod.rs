//! The journal as a whole, on a disk of memory.

mod adoption;
mod basics;
mod crash;
mod groups;
mod measure;
mod moves;
mod threads;

use super::segment::tests::envelope;
use super::*;
use crate::sys::clock::manual::ManualClock;
use crate::sys::sim::SimDisk;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

pub const DIR: &str = "/j/host";

pub fn options(segment_size: u64) -> Options {
    Options { dir: PathBuf::from(DIR), segment_size, min_free: 0 }
}

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Time::from_seconds(1_800_000_000)))
}

pub fn try_open(disk: &SimDisk, segment_size: u64) -> Result<Arc<Journal>, SpoolError> {
    Journal::open(Arc::new(disk.clone()), clock(), options(segment_size))
}

pub fn open(disk: &SimDisk) -> Arc<Journal> {
    try_open(disk, 64 << 10).unwrap()
}

/// Commits a message for so many recipients.
pub fn put(journal: &Arc<Journal>, recipients: usize, text: &[u8]) -> Result<Entry, SpoolError> {
    put_with(journal, recipients, text, Vec::new())
}

pub fn put_with(journal: &Arc<Journal>, recipients: usize, text: &[u8], settles: Vec<Outcome>) -> Result<Entry, SpoolError> {
    let mut draft = journal.begin(envelope(recipients))?;
    draft.write_all(text)?;
    draft.commit(settles)
}

pub fn outcome(id: SpoolId, recipients: &[u32], status: Status) -> Outcome {
    Outcome { id, recipients: recipients.to_vec(), status, time: Time::from_seconds(1_800_000_100), text: "so be it".to_owned() }
}

pub fn delivered(id: SpoolId, recipients: &[u32]) -> Vec<Outcome> {
    vec![outcome(id, recipients, Status::Delivered)]
}

/// A message of that length, unlike any other.
pub fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = format!("Subject: {seed}\n\nFrom {seed}\n>From x\n").into_bytes();
    let line = format!("{seed} {} From x\n", "abcdefgh".repeat(60 + seed as usize % 7));
    bytes.extend_from_slice(line.repeat(length / line.len() + 1).as_bytes());
    bytes.truncate(length.max(40));
    bytes
}

pub fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut quoter = crate::mail::mboxrd::Quoter::default();
    quoter.push(text, &mut out);
    quoter.finish(&mut out);
    out
}

pub fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = vec![0; message.len() as usize];
    assert_eq!(message.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// Of each message, who waits for it and what it says.
pub type Waits = BTreeMap<SpoolId, (Vec<u32>, Vec<u8>)>;

/// Who waits for which message, after all messages were read.
pub fn waiting(journal: &Journal) -> Waits {
    let all = journal.unsettled();
    let all = all.iter().map(|unsettled| {
        let entry = journal.read(unsettled.id).unwrap();
        assert_eq!((entry.id, entry.time, entry.message.len()), (unsettled.id, unsettled.time, unsettled.size));
        let indices: Vec<u32> = unsettled.waiting.iter().map(|waiting| waiting.index).collect();
        assert!(entry.envelope.recipients.len() > *indices.last().unwrap() as usize);
        (unsettled.id, (indices, bytes(&entry.message)))
    });
    all.collect()
}

/// Housekeeping as in some minutes.
pub fn housekeep(journal: &Journal) {
    (0..130).for_each(|_| journal.housekeep());
}

pub fn names(disk: &SimDisk) -> Vec<String> {
    use crate::sys::Disk;
    let mut names: Vec<String> = disk.list(DIR.as_ref()).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}
