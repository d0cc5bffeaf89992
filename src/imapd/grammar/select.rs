//! What SELECT and EXAMINE may have behind the name (RFC 7162 §3.1.8, §3.2.5). Pure.

use super::cursor::{Bad, Cursor, Parsed};
use super::set::Set;

/// How a mailbox is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// EXAMINE
    pub read_only: bool,
    /// `(CONDSTORE)` (RFC 7162 §3.1.8)
    pub condstore: bool,
    /// `(QRESYNC (…))` (RFC 7162 §3.2.5)
    pub resync: Option<Resync>,
}

/// What the client knows of a mailbox already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resync {
    /// UIDVALIDITY
    pub validity: u32,
    /// Up to which modseq.
    pub modseq: u64,
    /// Which UIDs; none: all.
    pub known: Option<Set>,
    /// Numbers, and the UIDs they had.
    pub pairs: Option<(Set, Set)>,
}

/// ```abnf
/// select-params  = SP "(" select-param *(SP select-param) ")"
/// select-param  /= "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"
/// seq-match-data = "(" known-sequence-set SP known-uid-set ")"            ; RFC 7162 §7
/// ```
pub(super) fn how(cursor: &mut Cursor<'_>, read_only: bool) -> Parsed<How> {
    let mut how = How { read_only, ..How::default() };
    if cursor.eat(b' ') {
        cursor.list(|cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "CONDSTORE" => how.condstore = true,
                "QRESYNC" => how.resync = Some(resync(cursor)?),
                _ => return Err(Bad("no such parameter")),
            }
            Ok(())
        })?;
    }
    Ok(how)
}

fn resync(cursor: &mut Cursor<'_>) -> Parsed<Resync> {
    cursor.space()?;
    cursor.expect(b'(', "a list is missing")?;
    let validity = cursor.nz_number()?;
    cursor.space()?;
    let modseq = cursor.number64()?;
    let (mut known, mut pairs) = (None, None);
    while cursor.eat(b' ') {
        if cursor.eat(b'(') {
            let numbers = Set::parse(cursor)?;
            cursor.space()?;
            pairs = Some((numbers, Set::parse(cursor)?));
            cursor.expect(b')', "a list does not end")?;
            break;
        }
        if known.is_some() {
            return Err(Bad("one set of UIDs is enough"));
        }
        known = Some(Set::parse(cursor)?);
    }
    cursor.expect(b')', "a list does not end")?;
    Ok(Resync { validity, modseq, known, pairs })
}
