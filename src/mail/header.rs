//! Header fields as ranges of bytes, for LF and CRLF alike. Never an error: what is not a field is told as such.
use std::ops::Range;

/// One field, or one line that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Of the name; empty if the line is not a field.
    pub name: Range<usize>,
    /// From after the colon to the last line end, folded lines included.
    pub value: Range<usize>,
    /// All of it, from the name's first byte to after its last line end.
    pub whole: Range<usize>,
}

/// The fields from the start of a message up to the empty line (or the end). In order.
pub fn fields(_message: &[u8]) -> impl Iterator<Item = Field> {
    todo!();
    #[allow(unreachable_code)]
    std::iter::empty()
}

/// Where the header ends: the offset of the empty line's first byte, or the length if there is none.
pub fn end(_message: &[u8]) -> usize {
    todo!()
}

/// A value on one line, without its outer white space.
pub fn unfold(_value: &[u8]) -> Vec<u8> {
    todo!()
}

/// The fields by which mailboxes keep state (`Status`, `X-Status`, `X-Keywords`, `X-UID`, `X-IMAP`, `X-IMAPbase`, `X-Pillarbox`,
/// `X-UIDL`, `Content-Length`, `Lines`): stripped when mail is delivered, not shown to clients.
pub fn is_state(_name: &[u8]) -> bool {
    todo!()
}
