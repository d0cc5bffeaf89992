//! mboxrd quoting (see DESIGN §5): every line that matches `^>*From ` gets one more `>` on disk, one less when read.

/// Adds quotes to a message that comes in pieces.
#[derive(Debug, Default)]
pub struct Quoter {}

impl Quoter {
    /// Takes the next piece (LF line ends), appends what is certain to `out`. A line's undecided beginning is kept until the next call.
    pub fn push(&mut self, _input: &[u8], _out: &mut Vec<u8>) {
        todo!()
    }
    /// Ends the message: what was kept goes out, and a missing last LF is added.
    pub fn finish(self, _out: &mut Vec<u8>) {
        todo!()
    }
}

/// Disk form to wire form, in pieces: takes one `>` from `^>+From ` lines, turns LF into CRLF.
#[derive(Debug, Default)]
pub struct ToWire {}

impl ToWire {
    /// Takes the next piece, appends what is certain to `out`.
    pub fn push(&mut self, _input: &[u8], _out: &mut Vec<u8>) {
        todo!()
    }
    /// Ends the message: what was kept goes out.
    pub fn finish(self, _out: &mut Vec<u8>) {
        todo!()
    }
}

/// Bytes in wire form of a whole message in disk form; the sum over pieces is the same.
pub fn wire_len(_disk: &[u8]) -> u64 {
    todo!()
}
