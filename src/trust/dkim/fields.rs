//! The fields of a message, to be chosen from by signatures. Pure.

use super::canon::{self, Canon};
use crate::mail::header;
use std::collections::HashMap;

/// A header, and where its fields are.
#[derive(Debug)]
pub(super) struct Header<'a> {
    bytes: &'a [u8],
    fields: Vec<header::Field>,
    /// Numbers of the fields of each name in lower case, from the top down.
    named: HashMap<Vec<u8>, Vec<usize>>,
}

impl<'a> Header<'a> {
    /// `bytes` is all before the empty line.
    pub(super) fn new(bytes: &'a [u8]) -> Header<'a> {
        let fields: Vec<header::Field> = header::fields(bytes).collect();
        let mut named: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (number, field) in fields.iter().enumerate().filter(|(_, field)| !field.name.is_empty()) {
            let name = bytes.get(field.name.clone()).unwrap_or_default().to_ascii_lowercase();
            named.entry(name).or_default().push(number);
        }
        Header { bytes, fields, named }
    }

    /// Numbers of the fields of a name in lower case, from the top down.
    pub(super) fn named(&self, name: &str) -> &[usize] {
        self.named.get(name.as_bytes()).map_or(&[], Vec::as_slice)
    }

    /// The number of the last field.
    pub(super) fn last(&self) -> Option<usize> {
        self.fields.len().checked_sub(1)
    }

    /// The value of a field.
    pub(super) fn value(&self, number: usize) -> &'a [u8] {
        self.fields.get(number).and_then(|field| self.bytes.get(field.value.clone())).unwrap_or_default()
    }

    /// A field, and where in it the colon is.
    pub(super) fn field(&self, number: usize) -> Option<(&'a [u8], usize)> {
        let field = self.fields.get(number)?;
        Some((self.bytes.get(field.whole.clone())?, (field.value.start - field.whole.start).checked_sub(1)?))
    }

    /// The fields that a list of names stands for: of each name the last one first, those above it if it is named again (RFC
    /// 6376 §5.4.2). `but` is never chosen.
    pub(super) fn choose(&self, names: &[String], but: Option<usize>) -> Vec<usize> {
        // Each field is looked at once: a stranger chooses how many there are, and how many names.
        let mut left: HashMap<&str, &[usize]> = HashMap::new();
        let mut next = |name| {
            let left = left.entry(name).or_insert_with(|| self.named(name));
            loop {
                let (number, above) = left.split_last()?;
                *left = above;
                if Some(*number) != but {
                    return Some(*number);
                }
            }
        };
        names.iter().filter_map(|name| next(name.as_str())).collect()
    }

    /// Appends a field in its canonical form, without its line end.
    pub(super) fn put(&self, number: usize, canon: Canon, out: &mut Vec<u8>) {
        if let Some((field, colon)) = self.field(number) {
            canon::field(canon, field, colon, out);
        }
    }
}
