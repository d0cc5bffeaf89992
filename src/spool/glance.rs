//! Looks at one message after the other: of each only the fields before it are read, and a segment is opened once for those that
//! lie in it side by side.

use super::journal::Journal;
use super::segment;
use super::writer::segment_path;
use super::{SpoolError, SpoolId};
use crate::mail::Envelope;
use crate::sys::{File, Open};
use std::io;
use std::sync::Arc;

/// For those who look through the queue. That a message is sound is not verified, only that it is the one that was asked for:
/// who passes it on reads all of it.
#[derive(Debug)]
pub struct Glance<'a> {
    journal: &'a Journal,
    /// The segment read last. Its number is given to no other.
    segment: Option<(u64, Arc<dyn File>)>,
}

impl Glance<'_> {
    /// The envelope of a message that is not settled yet.
    pub fn envelope(&mut self, id: SpoolId) -> Result<Arc<Envelope>, SpoolError> {
        let journal = self.journal;
        let (_, record, ()) = journal.find(id, |live, generation| {
            let file = self.open(live.segment)?;
            let mut header = vec![0; live.place.header as usize];
            file.read_exact_at(&mut header, live.place.offset)?;
            let record = segment::parse_header(&header, generation).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
            Ok((record, ()))
        })?;
        Ok(record.envelope)
    }

    fn open(&mut self, number: u64) -> io::Result<Arc<dyn File>> {
        if let Some((_, file)) = self.segment.as_ref().filter(|(open, _)| *open == number) {
            return Ok(file.clone());
        }
        let file = self.journal.disk.open(&segment_path(&self.journal.options.dir, number), Open::Read)?;
        self.segment = Some((number, file.clone()));
        Ok(file)
    }
}

impl Journal {
    /// To look at one message after the other.
    pub fn glance(&self) -> Glance<'_> {
        Glance { journal: self, segment: None }
    }
}
