//! How an index lies on the disk. `<spool>/index/u/<base>.idx` is a head of [`HEAD`] bytes, then one record of [`RECORD`] bytes
//! for each message in UID order, first those that are shown, then those that are being removed, and last the facts of the state
//! log that are not about single messages, as the log has them: so the log need not be read either, unless it has grown. Numbers
//! are little-endian. The head tells which file it is about, and in which state that was; all bytes are under a crc32c.

use crate::mailbox::factlog::{self, Extent};
use crate::mailbox::flags::{Flags, Marks};
use crate::mailbox::fresh;
use crate::mailbox::inbox::Stamp;
use crate::mailbox::refresh::Loaded;
use crate::mailbox::secret::Key;
use crate::mailbox::state::Sum;
use crate::mailbox::table::Row;
use crate::sys::{Disk, File, Time};
use std::io::{self, IoSlice};
use std::path::Path;

const MAGIC: &[u8; 8] = b"PBXIDX\x04\n";
/// Bytes of the head.
const HEAD: usize = 256;
/// Where the head says that it is stale: any byte but zero. It is not under the checksum.
pub const STALE: u64 = HEAD as u64 - 5;
/// Bytes of a record.
const RECORD: usize = 99;
/// Records that are read or written at a time.
const BATCH: usize = 1024;

/// Bytes in the order of an index.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Takes numbers from the front of some bytes; zero behind the end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.0 = rest;
                *bytes
            }
            None => [0; N],
        }
    }

    #[inline]
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    #[inline]
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// What an index says before its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub validity: u32,
    pub top: u32,
    pub rows: u32,
    pub doomed: u32,
    pub stamp: Stamp,
    pub last: Option<(u64, Key)>,
    pub buried: bool,
    pub internal: bool,
    pub modseq: u64,
    /// The state log that this goes with.
    log: Extent,
    /// Bytes of its facts, and their checksum.
    facts: u32,
    facts_check: u32,
    /// Of all records.
    check: u32,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD);
        let (offset, key) = self.last.unwrap_or_default();
        let bits = u8::from(self.last.is_some()) | u8::from(self.buried) << 1 | u8::from(self.internal) << 2;
        Writer(&mut out)
            .put(MAGIC)
            .put(&self.validity.to_le_bytes())
            .put(&self.top.to_le_bytes())
            .put(&self.rows.to_le_bytes())
            .put(&self.doomed.to_le_bytes())
            .put(&self.stamp.file.0.to_le_bytes())
            .put(&self.stamp.file.1.to_le_bytes())
            .put(&self.stamp.size.to_le_bytes())
            .put(&self.stamp.mtime.to_le_bytes())
            .put(&self.stamp.ctime.to_le_bytes())
            .put(&offset.to_le_bytes())
            .put(&key.0)
            .put(&self.modseq.to_le_bytes())
            .put(&self.log.file.0.to_le_bytes())
            .put(&self.log.file.1.to_le_bytes())
            .put(&self.log.size.to_le_bytes())
            .put(&self.log.ctime.to_le_bytes())
            .put(&self.log.least.to_le_bytes())
            .put(&self.facts.to_le_bytes())
            .put(&self.facts_check.to_le_bytes())
            .put(&self.check.to_le_bytes())
            .put(&[bits]);
        out.resize(HEAD - 5, 0);
        let check = crc32c::crc32c(&out);
        out.push(0);
        out.extend_from_slice(&check.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Head> {
        let (body, check) = bytes.split_last_chunk::<4>()?;
        let (stale, body) = body.split_last()?;
        if bytes.len() != HEAD || crc32c::crc32c(body) != u32::from_le_bytes(*check) {
            return None;
        }
        let mut from = Reader(body.strip_prefix(MAGIC)?);
        let (validity, top, rows, doomed) = (from.u32(), from.u32(), from.u32(), from.u32());
        let file = (from.u64(), from.u64());
        let (size, mtime, ctime) = (from.u64(), i128::from_le_bytes(from.take()), i128::from_le_bytes(from.take()));
        let last = (from.u64(), Key(from.take()));
        let modseq = from.u64();
        let log = Extent {
            file: (from.u64(), from.u64()),
            size: from.u64(),
            ctime: i128::from_le_bytes(from.take()),
            least: from.u64(),
        };
        let (facts, facts_check, check, [bits]) = (from.u32(), from.u32(), from.u32(), from.take());
        let last = (bits & 1 == 1).then_some(last);
        let stamp = Stamp { file, size, mtime, ctime };
        let stamp = if *stale == 0 { stamp } else { Stamp::default() };
        let (buried, internal) = (bits & 2 > 0, bits & 4 > 0);
        Some(Head { validity, top, rows, doomed, stamp, last, buried, internal, modseq, log, facts, facts_check, check })
    }

    fn read(file: &dyn File) -> io::Result<Option<Head>> {
        let mut bytes = vec![0; HEAD];
        let read = file.read_at(&mut bytes, 0)?;
        let Some(head) = Head::decode(bytes.get(..read).unwrap_or_default()) else { return Ok(None) };
        let size = head.facts_at() + u64::from(head.facts);
        Ok((file.stat()?.size == size).then_some(head))
    }

    fn facts_at(&self) -> u64 {
        HEAD as u64 + (u64::from(self.rows) + u64::from(self.doomed)) * RECORD as u64
    }
}

/// The head, the messages that are shown, and those that are being removed.
pub type Contents = (Head, Vec<Row>, Vec<Row>);

fn encode(row: &Row, out: &mut Vec<u8>) {
    Writer(out)
        .put(&row.uid.to_le_bytes())
        .put(&row.header.to_le_bytes())
        .put(&row.from.to_le_bytes())
        .put(&row.room.to_le_bytes())
        .put(&[row.blank, row.gap, u8::from(row.pending), row.marks.flags.0, row.filed.flags.0])
        .put(&row.offset.to_le_bytes())
        .put(&row.length.to_le_bytes())
        .put(&row.wire.to_le_bytes())
        .put(&row.key.0)
        .put(&row.marks.keywords.to_le_bytes())
        .put(&row.filed.keywords.to_le_bytes())
        .put(&row.modseq.to_le_bytes())
        .put(&row.date.0.to_le_bytes())
        .put(&row.saved.0.to_le_bytes())
        .put(&row.zone.to_le_bytes());
}

fn decode(record: &[u8; RECORD]) -> Row {
    let mut from = Reader(record);
    let (uid, header) = (from.u32(), from.u32());
    let [f0, f1, r0, r1, blank, gap, pending, flags, filed] = from.take();
    let (offset, length, wire) = (from.u64(), from.u64(), from.u64());
    let key = Key(from.take());
    let (keywords, filed_keywords, modseq) = (from.u64(), from.u64(), from.u64());
    Row {
        uid,
        header,
        from: u16::from_le_bytes([f0, f1]),
        room: u16::from_le_bytes([r0, r1]),
        blank,
        gap,
        pending: pending > 0,
        offset,
        length,
        wire,
        key,
        marks: Marks { flags: Flags(flags), keywords },
        filed: Marks { flags: Flags(filed), keywords: filed_keywords },
        modseq,
        date: Time(i64::from_le_bytes(from.take())),
        saved: Time(i64::from_le_bytes(from.take())),
        zone: i16::from_le_bytes(from.take()),
    }
}

/// Reads an index of this mailbox. None: there is none that can be used.
pub fn read(file: &dyn File, validity: u32) -> io::Result<Option<Contents>> {
    let Some(head) = Head::read(file)?.filter(|head| head.validity == validity) else { return Ok(None) };
    let count = head.rows as usize + head.doomed as usize;
    let end = head.facts_at();
    let (mut rows, mut check) = (crate::sys::unix::vec_to_fill(count), 0);
    let mut batch = vec![0; BATCH * RECORD];
    let mut at = HEAD as u64;
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(batch.len());
        let read = file.read_at(batch.get_mut(..most).unwrap_or_default(), at)?;
        let records = batch.get(..read - read % RECORD).filter(|records| !records.is_empty());
        let Some(records) = records else { return Ok(None) };
        check = crc32c::crc32c_append(check, records);
        let record = |bytes: &[u8]| bytes.first_chunk().map(decode).unwrap_or_default();
        rows.extend(records.chunks_exact(RECORD).map(record));
        at += records.len() as u64;
    }
    let doomed = rows.split_off(head.rows as usize);
    let ascending = rows.is_sorted_by(|one, other| one.uid < other.uid) && rows.last().is_none_or(|row| row.uid < head.top);
    Ok((check == head.check && ascending).then_some((head, rows, doomed)))
}

/// The facts of the state log that are not about single messages, if it is still as it was.
pub fn read_facts(file: &dyn File) -> io::Result<Option<(Extent, Sum)>> {
    let Some(head) = Head::read(file)? else { return Ok(None) };
    let mut facts = vec![0; head.facts as usize];
    file.read_exact_at(&mut facts, head.facts_at())?;
    let sum = factlog::sum_of::<Sum>(&facts).filter(|_| crc32c::crc32c(&facts) == head.facts_check);
    Ok(sum.map(|mut sum| {
        sum.shorten();
        (head.log, sum)
    }))
}

/// Writes an index under another name, then renames it. False: another daemon is doing that.
pub fn write(disk: &dyn Disk, path: &Path, loaded: &Loaded, log: Extent, sum: &Sum, modseq: u64) -> io::Result<bool> {
    let table = &loaded.table;
    let facts = factlog::text_of::<Sum>(&sum.brief());
    let mut head = Head {
        validity: sum.validity,
        log,
        facts: u32::try_from(facts.len()).map_err(|_| io::ErrorKind::FileTooLarge)?,
        facts_check: crc32c::crc32c(facts.as_bytes()),
        top: table.top,
        rows: u32::try_from(table.rows.len()).map_err(|_| io::ErrorKind::FileTooLarge)?,
        doomed: u32::try_from(table.doomed.len()).map_err(|_| io::ErrorKind::FileTooLarge)?,
        stamp: loaded.stamp,
        last: table.last,
        buried: table.buried,
        internal: table.internal,
        modseq,
        check: 0,
    };
    let Some((file, name)) = fresh::begin(disk, path)? else { return Ok(false) };
    let (mut at, mut batch) = (HEAD as u64, Vec::with_capacity(BATCH * RECORD));
    for rows in [&table.rows, &table.doomed] {
        for some in rows.chunks(BATCH) {
            batch.clear();
            some.iter().for_each(|row| encode(row, &mut batch));
            head.check = crc32c::crc32c_append(head.check, &batch);
            file.write_at(&[IoSlice::new(&batch)], at)?;
            at += batch.len() as u64;
        }
    }
    file.write_at(&[IoSlice::new(facts.as_bytes())], at)?;
    file.write_at(&[IoSlice::new(&head.encode())], 0)?;
    disk.rename(&name, path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::table::Table;
    use crate::sys::Open;
    use crate::sys::sim::SimDisk;
    use proptest::prelude::*;

    fn some(count: u32) -> Loaded {
        let row = |uid: u32| Row {
            uid,
            header: uid * 3,
            from: 40,
            room: 256,
            blank: 1,
            pending: uid.is_multiple_of(2),
            offset: u64::from(uid) << 33,
            length: 7,
            gap: 2,
            wire: 6,
            key: Key([uid as u8; 16]),
            marks: Marks { flags: Flags(uid as u8 % 64), keywords: u64::MAX - u64::from(uid) },
            filed: Marks { flags: Flags(3), keywords: 1 },
            modseq: u64::MAX / 2,
            date: Time(-5),
            saved: Time(-6),
            zone: -90,
        };
        let stamp = Stamp { file: (1, 2), size: 77, mtime: i128::MAX, ctime: -1 };
        let table = Table {
            rows: (1..=count).map(row).collect(),
            top: count + 1,
            last: Some((3, Key([9; 16]))),
            doomed: vec![row(count + 5)],
            buried: true,
            internal: false,
        };
        Loaded { table, stamp, covered: 77, epoch: 1 }
    }

    fn extent() -> Extent {
        Extent { file: (5, 6), size: 7, ctime: 9, least: 8 }
    }

    fn sum() -> Sum {
        let mut sum = Sum::default();
        (sum.validity, sum.ceiling, sum.told, sum.partial) = (8, 5, 3, true);
        sum
    }

    fn facts_again(disk: &SimDisk) -> Option<(Extent, Sum)> {
        read_facts(&*disk.open(Path::new("/x/i"), Open::Read).unwrap()).unwrap()
    }

    fn read_again(disk: &SimDisk, validity: u32) -> Option<Contents> {
        read(&*disk.open(Path::new("/x/i"), Open::Read).unwrap(), validity).unwrap()
    }

    #[test]
    fn a_table_comes_back() {
        for count in [0, 1, 1023, 1024, 3000] {
            let disk = SimDisk::default();
            disk.make_dir(Path::new("/x"), 0o700).unwrap();
            let loaded = some(count);
            write(&disk, Path::new("/x/i"), &loaded, extent(), &sum(), 99).unwrap();
            let (head, rows, doomed) = read_again(&disk, 8).unwrap();
            assert_eq!((rows, doomed), (loaded.table.rows, loaded.table.doomed));
            assert_eq!((head.stamp, head.last, head.top, head.buried), (loaded.stamp, loaded.table.last, count + 1, true));
            assert!(read_again(&disk, 9).is_none());
            assert_eq!(facts_again(&disk), Some((extent(), sum())));
        }
    }

    proptest! {
        #[test]
        fn damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<prop::sample::Index>()) {
            let disk = SimDisk::default();
            disk.make_dir(Path::new("/x"), 0o700).unwrap();
            write(&disk, Path::new("/x/i"), &some(3), extent(), &sum(), 99).unwrap();
            let file = disk.open(Path::new("/x/i"), Open::Write).unwrap();
            let size = file.stat().unwrap().size;
            let at = at.index(size as usize) as u64;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_at(&[IoSlice::new(&[byte[0] ^ (1 << bit)])], at).unwrap();
            let facts_from = size - factlog::text_of::<Sum>(&sum().brief()).len() as u64;
            match (read_again(&disk, 8), facts_again(&disk)) {
                (None, None) => prop_assert!(at < HEAD as u64),
                (None, Some(_)) => prop_assert!((HEAD as u64..facts_from).contains(&at)),
                (Some(_), None) => prop_assert!(at >= facts_from),
                (Some((head, ..)), Some(_)) => prop_assert_eq!((at, head.stamp), (STALE, Stamp::default())),
            }
            file.write_at(&[IoSlice::new(&byte)], at).unwrap();
            prop_assert!(read_again(&disk, 8).is_some());
            file.set_len(cut.index(size as usize) as u64).unwrap();
            prop_assert!(read_again(&disk, 8).is_none() && facts_again(&disk).is_none());
        }
    }
}
