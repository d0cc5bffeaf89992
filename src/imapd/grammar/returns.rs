//! What a search is to return (RFC 4731, RFC 5182, RFC 5267, RFC 9394). Pure.

use super::cursor::{Bad, Cursor, Parsed};
use super::fetch::{self, Item};
use std::fmt;
use std::ops::Range;

/// What is told of the result.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
    /// `SAVE` (RFC 5182)
    pub save: bool,
    /// `PARTIAL` (RFC 5267 §4.4)
    pub partial: Option<Partial>,
}

/// Some of a result, counted from one; from its end, if it is written with minus signs (RFC 9394 §3.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    first: u32,
    last: u32,
    from_end: bool,
}

impl Partial {
    /// Reads one.
    ///
    /// ```abnf
    /// partial-range = (nz-number ":" nz-number) / ("-" nz-number ":" "-" nz-number)     ; RFC 9394 §4
    /// ```
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Partial> {
        let from_end = cursor.eat(b'-');
        let first = cursor.nz_number()?;
        cursor.expect(b':', "a range is missing")?;
        if cursor.eat(b'-') != from_end {
            return Err(Bad("a range counts from one end"));
        }
        Ok(Partial { first, last: cursor.nz_number()?, from_end })
    }

    /// Which of so many.
    pub fn of(self, count: usize) -> Range<usize> {
        let (low, high) = (self.first.min(self.last) as usize - 1, self.first.max(self.last) as usize);
        let (low, high) = (low.min(count), high.min(count));
        if self.from_end { count - high..count - low } else { low..high }
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(out, "{sign}{}:{sign}{}", self.first, self.last)
    }
}

/// Reads `RETURN (…)`, and what is to be fetched of messages that come, if changes are to be told (`UPDATE`).
///
/// ```abnf
/// search-return-opts  = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"
/// search-return-opt   = "MIN" / "MAX" / "ALL" / "COUNT" / "SAVE" / "CONTEXT" / "PARTIAL" SP partial-range / modifier-update
/// modifier-update     = "UPDATE" ["(" fetch-att *(SP fetch-att) ")"]                   ; RFC 5465 §8
/// ```
/// An empty list is `(ALL)`. CONTEXT is a hint that is not needed.
pub fn returns(cursor: &mut Cursor<'_>) -> Parsed<(Option<Returns>, Option<Vec<Item>>)> {
    if !cursor.eat_word("RETURN ") {
        return Ok((None, None));
    }
    let (mut returns, mut update) = (Returns::default(), None);
    let options = cursor.list(|cursor| {
        match cursor.atom()?.to_ascii_uppercase().as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            "CONTEXT" => {}
            "UPDATE" => update = Some(fetched(cursor)?),
            "PARTIAL" if returns.partial.is_none() => {
                cursor.space()?;
                returns.partial = Some(Partial::parse(cursor)?);
            }
            _ => return Err(Bad("no such return option")),
        }
        Ok(())
    })?;
    returns.all |= options.is_empty();
    if returns.all && returns.partial.is_some() {
        return Err(Bad("ALL and PARTIAL can't go together"));
    }
    cursor.space()?;
    Ok((Some(returns), update))
}

/// With or without a space before it, as the RFC's grammar and its example have it.
fn fetched(cursor: &mut Cursor<'_>) -> Parsed<Vec<Item>> {
    if cursor.rest().starts_with(b" (") {
        cursor.space()?;
    }
    if cursor.peek() == Some(b'(') { fetch::items(cursor) } else { Ok(Vec::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(text: &str) -> Parsed<Partial> {
        Partial::parse(&mut Cursor::new(text.as_bytes()))
    }

    #[test]
    fn parts_of_a_result() {
        for (text, count, expected) in [
            ("1:3", 9, 0..3),
            ("3:1", 9, 0..3),
            ("8:20", 9, 7..9),
            ("10:20", 9, 9..9),
            ("-1:-3", 9, 6..9),
            ("-3:-2", 9, 6..8),
            ("-8:-20", 9, 0..2),
            ("-10:-20", 9, 0..0),
            ("1:4294967295", 0, 0..0),
        ] {
            assert_eq!(partial(text).unwrap().of(count), expected, "{text}");
            assert_eq!(partial(text).unwrap().to_string(), text);
        }
        for bad in ["", "1", "0:1", "1:0", "1:-1", "-1:1", "1:*", "--1:-2"] {
            assert!(partial(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options() {
        let read = |text: &str| returns(&mut Cursor::new(text.as_bytes()));
        assert_eq!(read("ALL"), Ok((None, None)));
        let all = Returns { all: true, ..Returns::default() };
        assert_eq!(read("RETURN () ALL"), Ok((Some(all), None)));
        assert_eq!(read("RETURN (UPDATE CONTEXT) ALL"), Ok((Some(Returns::default()), Some(vec![]))));
        assert_eq!(read("return (update (uid) all) x"), Ok((Some(all), Some(vec![Item::Uid]))));
        assert_eq!(read("RETURN (UPDATE(UID)) x"), Ok((Some(Returns::default()), Some(vec![Item::Uid]))));
        for bad in ["(PARTIAL) ", "(PARTIAL 1:2 ALL) ", "(PARTIAL 1:2 PARTIAL 3:4) ", "(UPDATE ()) ", "(X) ", "(MIN)"] {
            assert!(read(&format!("RETURN {bad}")).is_err(), "{bad}");
        }
    }
}
