//! What other programs do to an mbox file, with a parser of their own.

use super::model::Random;
use super::*;
use crate::mailbox::{Flags, Keywords, Marks};

const MAILBOX: &str = "/w/mail/alice";

/// One message of a file, with its `From ` line and the empty line at its end.
pub struct Piece(pub String);

/// Splits a file at its `From ` lines.
pub fn split(bytes: &[u8]) -> Vec<Piece> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut blank = true;
    for line in text.split_inclusive('\n') {
        match pieces.last_mut() {
            Some(piece) if !(blank && line.starts_with("From ")) => piece.0.push_str(line),
            _ => pieces.push(Piece(line.to_owned())),
        }
        blank = line == "\n";
    }
    pieces
}

impl Piece {
    /// `From ` line and header without the empty line; the rest with it.
    fn parts(&self) -> (&str, &str) {
        let end = self.0.find("\n\n").map_or(self.0.len(), |end| end + 1);
        self.0.split_at(end)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.parts().0.lines().filter_map(|line| line.split_once(':')).find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// The number in its subject; none if it is dead.
    pub fn number(&self) -> Option<u64> {
        self.field("Subject")?.trim().strip_prefix("message ")?.parse().ok()
    }

    /// Delivered by us.
    pub fn is_ours(&self) -> bool {
        self.field("X-Pillarbox").is_some()
    }

    /// Delivered by us, under this UID.
    pub fn carries(&self, uid: Option<u32>) -> bool {
        self.is_ours() && uid.is_some() && self.field("X-UID").and_then(|text| text.trim().parse().ok()) == uid
    }

    pub fn flags(&self) -> Flags {
        let (status, x_status) = (self.field("Status").unwrap_or(""), self.field("X-Status").unwrap_or(""));
        let letters = [
            (status, 'R', Flags::SEEN),
            (status, 'O', Flags::OLD),
            (x_status, 'A', Flags::ANSWERED),
            (x_status, 'F', Flags::FLAGGED),
            (x_status, 'D', Flags::DELETED),
            (x_status, 'T', Flags::DRAFT),
        ];
        letters.iter().filter(|(value, letter, _)| value.contains(*letter)).fold(Flags::NONE, |all, (_, _, flag)| all | *flag)
    }

    pub fn marks(&self, names: &Keywords) -> Marks {
        let words = self.field("X-Keywords").unwrap_or("").split_whitespace();
        Marks { flags: self.flags(), keywords: words.filter_map(|word| names.bit(word)).fold(0, |all, bit| all | bit) }
    }

    /// Every letter has its place, as we write it.
    pub fn is_padded(&self) -> bool {
        let flags = self.flags();
        let [status, x_status] = padded(flags);
        self.field("Status") == Some(&status) && self.field("X-Status") == Some(&x_status)
    }
}

fn padded(flags: Flags) -> [String; 2] {
    let show = |flag, letter| if flags.has(flag) { letter } else { ' ' };
    let x_status = [(Flags::ANSWERED, 'A'), (Flags::FLAGGED, 'F'), (Flags::DRAFT, 'T'), (Flags::DELETED, 'D')];
    let x_status: String = x_status.iter().map(|(flag, letter)| show(*flag, *letter)).collect();
    [format!(" {}{}", show(Flags::SEEN, 'R'), show(Flags::OLD, 'O')), format!(" {x_status}")]
}

fn bare(flags: Flags) -> [String; 2] {
    padded(flags).map(|value| format!(" {}", value.replace(' ', "")))
}

/// As mutt writes a mailbox: padded state goes, its own stands at the header's end; it knows neither D nor T.
pub fn rewritten(pieces: &[Piece], doomed: &[u64], random: &mut Random) -> Vec<u8> {
    let (keep_dead, base_lost) = (random.one_in(2), random.one_in(2));
    let mut out = String::new();
    for piece in pieces {
        let Some(n) = piece.number() else {
            if keep_dead {
                out.push_str(&piece.0);
            }
            continue;
        };
        if doomed.contains(&n) {
            continue;
        }
        let (header, rest) = piece.parts();
        let state = ["Status:", "X-Status:", "Content-Length:", "Lines:"];
        let gone =
            |line: &&str| !state.iter().any(|name| line.starts_with(name)) && (!base_lost || !line.starts_with("X-IMAPbase:"));
        let kept: String = header.split_inclusive('\n').filter(gone).collect();
        let mut flags = piece.flags();
        if random.one_in(3) {
            flags = flags ^ Flags(random.below(64) as u8);
        }
        let [status, x_status] = bare(flags & !(Flags::DRAFT | Flags::DELETED));
        out.push_str(&kept);
        if status.len() > 1 {
            out.push_str(&format!("Status:{status}\n"));
        }
        if x_status.len() > 1 {
            out.push_str(&format!("X-Status:{x_status}\n"));
        }
        out.push_str(&format!("Content-Length: {}\nLines: {}\n", rest.len() - 2, rest.lines().count()));
        out.push_str(rest);
    }
    out.into_bytes()
}

/// As a server of another kind changes flags and keywords in the room that X-Keywords keeps.
pub fn flagged(pieces: &[Piece], keep_places: bool, random: &mut Random) -> Vec<u8> {
    let mut out = String::new();
    for piece in pieces {
        let (header, rest) = piece.parts();
        if piece.number().is_none() || !piece.is_ours() || random.one_in(2) {
            out.push_str(&piece.0);
            continue;
        }
        let flags = piece.flags() ^ Flags(random.below(64) as u8);
        let [status, x_status] = if keep_places { padded(flags) } else { bare(flags) };
        let mut keywords: Vec<&str> = piece.field("X-Keywords").unwrap_or("").split_whitespace().collect();
        if random.one_in(3) {
            keywords.pop();
        }
        let fields = ["Status:", "X-Status:", "X-Keywords:"];
        let kept: String =
            header.split_inclusive('\n').filter(|line| !fields.iter().any(|name| line.starts_with(name))).collect();
        let block = format!("Status:{status}\nX-Status:{x_status}\nX-Keywords: {}", keywords.join(" "));
        let room = header.len() - kept.len() - 1;
        if block.len() > room {
            out.push_str(&piece.0);
            continue;
        }
        out.push_str(&format!("{kept}{block:room$}\n{rest}"));
    }
    out.into_bytes()
}

/// A message in wire form as it lies on the disk, without what delivery put before it.
pub fn requoted(wire: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(wire).unwrap().replace("\r\n", "\n").replace("\nFrom ", "\n>From ");
    text.splitn(3, '\n').nth(2).unwrap_or_default().as_bytes().to_vec()
}

/// A message as it lies on the disk, in wire form.
pub fn unquoted(text: &str) -> Vec<u8> {
    text.replace("\n>From", "\nFrom").replace('\n', "\r\n").into_bytes()
}

/// Appends as procmail does.
pub fn append(disk: &SimDisk, text: &str) {
    let file = disk.open(Path::new(MAILBOX), Open::Create(0o600)).unwrap();
    let message = format!("From x@y Sat Nov  1 12:26:40 2025\n{text}\n");
    file.write_at(&[io::IoSlice::new(message.as_bytes())], file.stat().unwrap().size).unwrap();
}

/// Writes the same file anew.
pub fn overwrite(disk: &SimDisk, bytes: &[u8]) {
    let file = disk.open(Path::new(MAILBOX), Open::Create(0o600)).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(&[io::IoSlice::new(bytes)], 0).unwrap();
}

/// Puts another file in its place.
pub fn replace(disk: &SimDisk, bytes: &[u8]) {
    let fresh = Path::new("/w/mail/alice.fresh");
    let file = disk.open(fresh, Open::CreateNew(0o600)).unwrap();
    file.write_at(&[io::IoSlice::new(bytes)], 0).unwrap();
    disk.rename(fresh, Path::new(MAILBOX)).unwrap();
}
