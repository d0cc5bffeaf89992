//! Takes single settings out of a parsed document, and notes everything that is not as it should be.

use super::report::{Mark, Report, Source};
use super::schema::KEYS;
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub type Value<'i> = Spanned<DeValue<'i>>;

/// What is wrong, and with which bytes.
pub struct Wrong {
    /// The bytes.
    pub span: Range<usize>,
    /// In words.
    pub what: String,
}

/// A table of a document: the whole, `[limits]`, one `[[listen]]`.
pub struct Section<'a, 'i> {
    source: &'a Source<'a>,
    table: &'a DeTable<'i>,
    /// With a dot at the end; empty for the whole document.
    prefix: &'static str,
    /// Of the table in the document.
    span: Range<usize>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// The whole document.
    pub fn whole(source: &'a Source<'a>, table: &'a DeTable<'i>) -> Self {
        Section { source, table, prefix: "", span: 0..0 }
    }

    /// The value of a key, if it is given.
    pub fn get(&self, key: &str) -> Option<&'a Value<'i>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Puts the value of a key, if it is given and right, where it belongs.
    pub fn set<T>(&self, key: &str, to: &mut T, report: &mut Report, read: impl FnOnce(&Value<'_>) -> Result<T, Wrong>) {
        match self.get(key).map(read) {
            Some(Ok(value)) => *to = value,
            Some(Err(wrong)) => report.add(self.source, wrong.span, &wrong.what),
            None => {}
        }
    }

    /// Like [`Section::set`], for a key that must be given.
    pub fn must<T>(&self, key: &str, report: &mut Report, read: impl FnOnce(&Value<'_>) -> Result<T, Wrong>) -> Option<T> {
        let mut value = None;
        if self.get(key).is_none() {
            self.complain(self.span.clone(), &format!("`{key}` is missing here"), report);
        }
        self.set(key, &mut value, report, |given| read(given).map(Some));
        value
    }

    /// Its place in the document.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Keeps a place of this section's document.
    pub fn mark(&self, span: Range<usize>) -> Mark {
        self.source.mark(span)
    }

    /// Notes a problem with bytes of this section's document.
    pub fn complain(&self, span: Range<usize>, what: &str, report: &mut Report) {
        report.add(self.source, span, what);
    }

    /// The table of a key. `prefix` is the key with a dot at the end.
    pub fn table(&self, prefix: &'static str, report: &mut Report) -> Option<Section<'a, 'i>> {
        let value = self.get(prefix.trim_end_matches('.'))?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { source: self.source, table, prefix, span: value.span() }),
            other => {
                self.complain(value.span(), &expected("a table", other), report);
                None
            }
        }
    }

    /// The tables of a key that may be given several times (`[[listen]]`); None if it is not given at all.
    pub fn tables(&self, prefix: &'static str, report: &mut Report) -> Option<Vec<Section<'a, 'i>>> {
        let value = self.get(prefix.trim_end_matches('.'))?;
        let DeValue::Array(array) = value.get_ref() else {
            let hint = format!("write [[{}]]", prefix.trim_end_matches('.'));
            self.complain(value.span(), &format!("{}; {hint}", expected("a list of tables", value.get_ref())), report);
            return None;
        };
        let mut found = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::Table(table) => found.push(Section { source: self.source, table, prefix, span: item.span() }),
                other => self.complain(item.span(), &expected("a table", other), report),
            }
        }
        Some(found)
    }

    /// Notes every key that does not exist.
    pub fn refuse_unknown(&self, report: &mut Report) {
        for (key, _) in self.table.iter() {
            let name = key.get_ref();
            if siblings(self.prefix).any(|known| known == name) {
                continue;
            }
            let near = siblings(self.prefix).map(|known| (distance(known, name), known)).min();
            let hint = match near {
                Some((steps, known)) if steps <= 2 => format!("; did you mean `{known}`?"),
                _ => String::new(),
            };
            self.complain(key.span(), &format!("unknown key `{}{name}`{hint}", self.prefix), report);
        }
    }
}

/// The keys that may stand in a table.
fn siblings(prefix: &'static str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| key.strip_prefix(prefix)).filter_map(|rest| rest.split('.').next())
}

/// Letters to change, add or take away to get from one word to the other (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

fn expected(what: &str, found: &DeValue<'_>) -> String {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("expected {what}, found {found}")
}

/// An error about a value.
pub fn wrong(value: &Value<'_>, what: impl Into<String>) -> Wrong {
    Wrong { span: value.span(), what: what.into() }
}

/// A string that `parse` makes something of.
pub fn text<T>(value: &Value<'_>, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Wrong> {
    match value.get_ref() {
        DeValue::String(text) if text.contains(|c: char| c.is_control()) => {
            Err(wrong(value, "control characters can't stand here"))
        }
        DeValue::String(text) => parse(text).map_err(|what| wrong(value, what)),
        other => Err(wrong(value, expected("a string", other))),
    }
}

/// A string or a whole number, for sizes.
pub fn text_or_number<T>(value: &Value<'_>, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Wrong> {
    match value.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => parse(number.as_str()).map_err(|what| wrong(value, what)),
        _ => text(value, parse),
    }
}

/// A whole number within bounds.
pub fn number(value: &Value<'_>, within: RangeInclusive<i64>) -> Result<i64, Wrong> {
    match value.get_ref() {
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if within.contains(&number) => Ok(number),
            _ => Err(wrong(value, format!("expected a number from {} to {}", within.start(), within.end()))),
        },
        other => Err(wrong(value, expected("a whole number", other))),
    }
}

/// A list; each item is read by `item`.
pub fn list<T>(value: &Value<'_>, item: impl FnMut(&Value<'_>) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    match value.get_ref() {
        DeValue::Array(array) => array.iter().map(item).collect(),
        other => Err(wrong(value, expected("a list", other))),
    }
}

/// A list, or a single item alone.
pub fn one_or_list<T>(value: &Value<'_>, mut item: impl FnMut(&Value<'_>) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    match value.get_ref() {
        DeValue::Array(_) => list(value, item),
        _ => Ok(vec![item(value)?]),
    }
}

/// One word of several.
pub fn choice<T: Copy>(value: &Value<'_>, words: &[(&str, T)]) -> Result<T, Wrong> {
    text(value, |given| match words.iter().find(|(word, _)| *word == given) {
        Some((_, meaning)) => Ok(*meaning),
        None => {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            Err(format!("`{given}` is not one of {}", words.join(", ")))
        }
    })
}
