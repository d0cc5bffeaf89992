//! The redo file of a step: `<state>/<base>.redo`. What the window of the mailbox held before, and what it holds after.
//!
//! ```text
//! pillarbox-redo 1 open 00000000000000008192 00000000000000000311 5ac31f09 1b2c3d4e
//! …the messages that move, as they were, from offset 4096 on…
//! window 512 9216
//! data 4096 77aa0011
//! old bytes 46726f6d…        (the bytes in hexadecimal)
//! old nuls 3000
//! old data 0 4096            (offset and length in the messages above)
//! new …
//! message 0 1024 93a4c0e51b26f77893a4c0e51b26f778 1
//! ```
//!
//! With a line `cut` the file ends where the window begins when the step is over.
//!
//! The head has the state, offset, length and crc32c of the description, and its own crc32c; `data` has the length and the
//! crc32c of the messages. `open`: the step was begun, and each byte of the window may be the old or the new one. `void`: it
//! is over. Anything else was never depended on.

use crate::mailbox::secret::Key;
use crate::sys::File;
use std::fmt::Write;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;

/// Where the messages begin.
const DATA: u64 = 4096;
const VERSION: &str = "pillarbox-redo 1";
const FAMILY: &str = "pillarbox-redo ";
/// Bytes of the head.
const HEAD: usize = 82;
/// Bytes that are copied or compared at a time.
pub const PIECE: usize = 256 << 10;

/// A part of what the window held, or holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These.
    Bytes(Vec<u8>),
    /// So many NULs.
    Nuls(u64),
    /// Of the messages, from an offset, so many.
    Data(u64, u64),
}

impl Part {
    pub fn len(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Nuls(length) | Part::Data(_, length) => *length,
        }
    }
}

/// A message that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Among the messages of the redo file.
    pub from: u64,
    pub length: u64,
    pub key: Key,
    /// So many messages of this content were in the whole mailbox.
    pub copies: u64,
}

/// What a redo file tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redo {
    pub window: Range<u64>,
    pub old: Vec<Part>,
    pub new: Vec<Part>,
    pub messages: Vec<Saved>,
    /// The window is cut off.
    pub cut: bool,
}

/// A redo file as it was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The step may be half done.
    Open(Redo),
    /// Nothing hangs on it.
    Void,
}

fn head(state: &str, at: u64, text: &[u8]) -> String {
    let line = format!("{VERSION} {state} {at:020} {:020} {:08x}", text.len(), crc32c::crc32c(text));
    format!("{line} {:08x}\n", crc32c::crc32c(line.as_bytes()))
}

/// Does it begin as one of a later version does? (All begin so: name, version, state, and a checksum at the end of the line.)
fn is_of_another_version(text: &str) -> bool {
    let line = text.split('\n').next().and_then(|line| line.rsplit_once(' '));
    line.is_some_and(|(words, check)| {
        let number = words.strip_prefix(FAMILY).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        let is_sound = u32::from_str_radix(check, 16) == Ok(crc32c::crc32c(words.as_bytes()));
        is_sound && number.is_some() && !words.starts_with(&format!("{VERSION} "))
    })
}

impl Redo {
    /// Writes it, the messages from `mailbox`, and makes it durable but for its name. The file is a new one, or void: what is
    /// in it is written over, since to give its room back and take it again costs as much as to move the messages.
    pub fn write(&self, file: &dyn File, mailbox: &dyn File, places: impl Iterator<Item = Range<u64>>) -> io::Result<()> {
        let (mut at, mut check) = (DATA, 0);
        let mut piece = vec![0; PIECE];
        for place in places {
            let mut from = place.start;
            while from < place.end {
                let most = usize::try_from(place.end - from).unwrap_or(PIECE).min(PIECE);
                let room = piece.get_mut(..most).unwrap_or_default();
                mailbox.read_exact_at(room, from)?;
                check = crc32c::crc32c_append(check, room);
                file.write_at(&[IoSlice::new(room)], at)?;
                (from, at) = (from + most as u64, at + most as u64);
            }
        }
        let text = self.print(at - DATA, check);
        file.write_at(&[IoSlice::new(text.as_bytes())], at)?;
        file.write_at(&[IoSlice::new(head("open", at, text.as_bytes()).as_bytes())], 0)?;
        file.sync()
    }

    /// From now on nothing hangs on this redo file.
    pub fn make_void(file: &dyn File) -> io::Result<()> {
        file.write_at(&[IoSlice::new(head("void", 0, b"").as_bytes())], 0)?;
        file.sync()
    }

    /// Is it open, as far as its head tells?
    pub fn may_be_open(file: &dyn File) -> io::Result<bool> {
        Ok(Redo::read_head(file)?.is_some())
    }

    /// Offset, length and checksum of the description.
    fn read_head(file: &dyn File) -> io::Result<Option<(u64, u64, u32)>> {
        let mut bytes = [0; HEAD];
        let read = file.read_at(&mut bytes, 0)?;
        let text = bytes.get(..read).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        // It may hold mail that is nowhere else, and tell where in a way that this program does not know.
        if is_of_another_version(text) {
            return Err(io::Error::new(ErrorKind::InvalidData, "a redo file of another version"));
        }
        let parse = || {
            let (line, check) = text.strip_suffix('\n')?.rsplit_once(' ')?;
            if u32::from_str_radix(check, 16).ok()? != crc32c::crc32c(line.as_bytes()) {
                return None;
            }
            let mut words = line.strip_prefix(VERSION)?.strip_prefix(" open ")?.split(' ');
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, u32::from_str_radix(words.next()?, 16).ok()?))
        };
        Ok(parse())
    }

    /// Reads it.
    pub fn read(file: &dyn File) -> io::Result<Found> {
        let Some((at, length, check)) = Redo::read_head(file)? else { return Ok(Found::Void) };
        let size = file.stat()?.size;
        if at < DATA || at.checked_add(length).is_none_or(|end| end > size) {
            return Ok(Found::Void);
        }
        let mut text = vec![0; usize::try_from(length).map_err(|_| ErrorKind::FileTooLarge)?];
        file.read_exact_at(&mut text, at)?;
        let text = String::from_utf8(text).ok().filter(|text| crc32c::crc32c(text.as_bytes()) == check);
        let Some((redo, data, check)) = text.and_then(|text| Redo::parse(&text)) else { return Ok(Found::Void) };
        if data != at - DATA || !redo.holds_together(data) {
            return Ok(Found::Void);
        }
        let (mut from, mut found, mut piece) = (DATA, 0, vec![0; PIECE]);
        while from < at {
            let most = usize::try_from(at - from).unwrap_or(PIECE).min(PIECE);
            let room = piece.get_mut(..most).unwrap_or_default();
            file.read_exact_at(room, from)?;
            found = crc32c::crc32c_append(found, room);
            from += most as u64;
        }
        Ok(if found == check { Found::Open(redo) } else { Found::Void })
    }

    fn holds_together(&self, data: u64) -> bool {
        let length = |parts: &[Part]| parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.len()));
        let inside = |from: u64, length: u64| from.checked_add(length).is_some_and(|end| end <= data);
        let parts = self.old.iter().chain(&self.new);
        let all = parts.into_iter().all(|part| !matches!(part, Part::Data(from, length) if !inside(*from, *length)));
        let window = self.window.end.checked_sub(self.window.start);
        all && window.is_some()
            && length(&self.old) == window
            && length(&self.new) == window
            && self.messages.iter().all(|message| inside(message.from, message.length))
    }

    fn print(&self, data: u64, check: u32) -> String {
        let mut text = format!("window {} {}\ndata {data} {check:08x}\n", self.window.start, self.window.end);
        text.push_str(if self.cut { "cut\n" } else { "" });
        for (name, parts) in [("old", &self.old), ("new", &self.new)] {
            for part in parts {
                let _ = match part {
                    Part::Nuls(length) => writeln!(text, "{name} nuls {length}"),
                    Part::Data(from, length) => writeln!(text, "{name} data {from} {length}"),
                    Part::Bytes(bytes) => {
                        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
                            let _ = write!(hex, "{byte:02x}");
                            hex
                        });
                        writeln!(text, "{name} bytes {hex}")
                    }
                };
            }
        }
        for Saved { from, length, key, copies } in &self.messages {
            let _ = writeln!(text, "message {from} {length} {key} {copies}");
        }
        text
    }

    /// The redo, and length and checksum of its messages.
    fn parse(text: &str) -> Option<(Redo, u64, u32)> {
        let (mut redo, mut data) = (Redo::default(), None);
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match *words.as_slice() {
                ["window", from, to] => redo.window = from.parse().ok()?..to.parse().ok()?,
                ["data", length, check] => data = Some((length.parse().ok()?, u32::from_str_radix(check, 16).ok()?)),
                ["cut"] => redo.cut = true,
                ["message", from, length, key, copies] => redo.messages.push(Saved {
                    from: from.parse().ok()?,
                    length: length.parse().ok()?,
                    key: key.parse().ok()?,
                    copies: copies.parse().ok()?,
                }),
                [name @ ("old" | "new"), ref rest @ ..] => {
                    let part = match *rest {
                        ["nuls", length] => Part::Nuls(length.parse().ok()?),
                        ["data", from, length] => Part::Data(from.parse().ok()?, length.parse().ok()?),
                        ["bytes", hex] => Part::Bytes(crate::mailbox::state::hex(hex)?),
                        _ => return None,
                    };
                    if name == "old" { &mut redo.old } else { &mut redo.new }.push(part);
                }
                _ => return None,
            }
        }
        let (length, check) = data?;
        Some((redo, length, check))
    }
}

/// Bytes of the messages of a redo file.
pub fn read_data(file: &dyn File, from: u64, buffer: &mut [u8]) -> io::Result<()> {
    file.read_exact_at(buffer, DATA + from)
}

/// Reads what the window held, or holds, in order.
#[derive(Debug)]
pub struct Image<'a> {
    file: &'a dyn File,
    parts: &'a [Part],
    /// So much of the first part is read.
    done: u64,
}

impl<'a> Image<'a> {
    pub fn new(file: &'a dyn File, parts: &'a [Part]) -> Image<'a> {
        Image { file, parts, done: 0 }
    }

    /// The next bytes; as many as the buffer holds.
    pub fn fill(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while let (Some((part, rest)), false) = (self.parts.split_first(), buffer.is_empty()) {
            let most = usize::try_from(part.len() - self.done).unwrap_or(usize::MAX).min(buffer.len());
            let (now, later) = std::mem::take(&mut buffer).split_at_mut(most);
            match part {
                Part::Nuls(_) => now.fill(0),
                Part::Data(from, _) => read_data(self.file, from + self.done, now)?,
                Part::Bytes(bytes) => {
                    let at = usize::try_from(self.done).unwrap_or(usize::MAX);
                    now.copy_from_slice(bytes.get(at..at + most).ok_or(ErrorKind::UnexpectedEof)?);
                }
            }
            (buffer, self.done) = (later, self.done + most as u64);
            if self.done == part.len() {
                (self.parts, self.done) = (rest, 0);
            }
        }
        if buffer.is_empty() { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sim::SimDisk;
    use crate::sys::{Disk, Open};
    use std::path::Path;

    fn redo() -> Redo {
        Redo {
            window: 10..34,
            old: vec![Part::Bytes(b"From x\n".into()), Part::Nuls(5), Part::Data(0, 12)],
            new: vec![Part::Data(0, 4), Part::Bytes(b"abcd".into()), Part::Data(8, 4), Part::Nuls(12)],
            messages: vec![Saved { from: 0, length: 12, key: Key([3; 16]), copies: 1 }],
            cut: true,
        }
    }

    #[test]
    fn it_comes_back_or_not_at_all() {
        let disk = SimDisk::default();
        disk.make_dir(Path::new("/d"), 0o700).unwrap();
        let open = |name: &str| disk.open(Path::new(name), Open::Create(0o600)).unwrap();
        let mailbox = open("/d/mailbox");
        mailbox.write_at(&[IoSlice::new(b"..........From x\n.....0123456789ab...")], 0).unwrap();
        let file = open("/d/redo");
        assert_eq!(Redo::read(&*file).unwrap(), Found::Void);
        redo().write(&*file, &*mailbox, std::iter::once(22..34)).unwrap();
        assert_eq!(Redo::read(&*file).unwrap(), Found::Open(redo()));
        let image = |parts: &[Part]| {
            let (mut image, mut bytes) = (Image::new(&*file, parts), Vec::new());
            for step in [5, 1, 11, 7] {
                let mut piece = vec![1; step];
                image.fill(&mut piece).unwrap();
                bytes.extend(piece);
            }
            assert!(image.fill(&mut [0]).is_err());
            bytes
        };
        assert_eq!(image(&redo().old), b"From x\n\0\0\0\0\x000123456789ab");
        assert_eq!(image(&redo().new), b"0123abcd89ab\0\0\0\0\0\0\0\0\0\0\0\0");
        // Any byte may be damaged.
        let size = file.stat().unwrap().size;
        for at in (0..HEAD as u64).chain(DATA..size) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_at(&[IoSlice::new(&[byte[0] ^ 1])], at).unwrap();
            assert_eq!(Redo::read(&*file).unwrap(), Found::Void, "{at}");
            file.write_at(&[IoSlice::new(&byte)], at).unwrap();
        }
        Redo::make_void(&*file).unwrap();
        assert_eq!(Redo::read(&*file).unwrap(), Found::Void);
    }
}
