//! Alias files, in the form that sendmail gave them (aliases(5)), and `.forward` files, which are lists of the same targets
//! (forward(5)). Functions on text.
//!
//! ```abnf
//! aliases   = *( entry / comment / empty )
//! entry     = name *WSP ":" list LF *( WSP list LF )   ; a line that begins with a blank goes on with the one before
//! comment   = *WSP "#" *CHAR LF                         ; may stand within an entry
//! name      = word                                      ; compared in lower case
//! virtual   = *( pattern 1*WSP list LF *( WSP list LF ) / comment / empty )
//! pattern   = address / "@" domain
//! forward   = *( list LF / comment / empty )
//! list      = *WSP [ target ] *( *WSP "," *WSP [ target ] ) *WSP [ "#" *CHAR ]
//! target    = word
//! word      = *( <CHAR but blank, comma, "#", quote and backslash> / escaped / quoted )  ; "#" may stand within one
//! quoted    = DQUOTE *( <CHAR but quote and backslash> / escaped ) DQUOTE
//! escaped   = "\" CHAR
//! ```
//!
//! A target is `/path`, `|command`, `:include:/path`, an address, a name, or `\name`, which means the mailbox of that user. A
//! command may stand without quotes: it then goes up to the next comma. Quotes may follow its bar. What is wrong on one line is told
//! with its number and does not touch the others.

use super::{Address, Domain};
use std::collections::HashMap;
use std::fmt;

/// Where something leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A name here, an alias or a user.
    Name(String),
    /// The mailbox of a user, whatever aliases say.
    User(String),
    /// Any address.
    Address(Address),
    /// A file with more targets.
    Include(String),
    /// `/path` or `|command`: see [`Line`](crate::host::Line).
    Line(String),
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Name(name) => out.write_str(name),
            Target::User(name) => write!(out, "\\{name}"),
            Target::Address(address) => address.fmt(out),
            Target::Include(path) => write!(out, ":include:{path}"),
            Target::Line(text) => out.write_str(text),
        }
    }
}

/// A target and the number of its line, from 1.
pub type Numbered = (usize, Target);

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its number, from 1.
    pub line: usize,
    /// A sentence without its end.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.what)
    }
}

/// What one name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins.
    pub line: usize,
    /// None: they can't be told.
    pub targets: Option<Vec<Numbered>>,
}

/// A file as it was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// By name, or by [`Address::key`], in lower case.
    pub entries: HashMap<String, Entry>,
    /// What was not understood, by line.
    pub wrong: Vec<Wrong>,
}

impl Table {
    fn targets(&self) -> impl Iterator<Item = &Numbered> {
        self.entries.values().filter_map(|entry| entry.targets.as_ref()).flatten()
    }

    /// Files with more targets, and the lines that name them.
    pub fn includes(&self) -> impl Iterator<Item = (usize, &str)> {
        self.targets().filter_map(|(line, target)| match target {
            Target::Include(path) => Some((*line, path.as_str())),
            _ => None,
        })
    }

    /// Does a name stand for this line?
    pub fn has_line(&self, text: &str) -> bool {
        self.targets().any(|(_, target)| matches!(target, Target::Line(line) if line == text))
    }
}

/// Reads an alias file.
pub fn parse(text: &str) -> Table {
    table(text, |line| {
        let (name, rest) = word(line.trim_start())?;
        let rest = rest.trim_start().strip_prefix(':').ok_or("a colon is missing after the name")?;
        match name.as_str() {
            "" => Err("a name is missing before the colon".to_owned()),
            name if name.contains('@') => Err(format!("`{name}` is an address, and stands in the file of virtual addresses")),
            name => Ok((name.to_ascii_lowercase(), rest)),
        }
    })
}

/// Reads a file of virtual addresses. A catch-all has the key `@domain`.
pub fn parse_virtual(text: &str) -> Table {
    table(text, |line| {
        let (pattern, rest) = line.trim_start().split_once([' ', '\t']).ok_or("a target is missing after the address")?;
        let key = match pattern.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).map(|domain| format!("@{}", domain.key())),
            None => pattern.parse::<Address>().map(|address| address.key()),
        };
        Ok((key.map_err(|_| format!("`{pattern}` is neither an address nor `@` and a domain"))?, rest))
    })
}

/// Reads a `.forward`, or a file that is included.
pub fn parse_list(text: &str) -> Result<Vec<Numbered>, Wrong> {
    let mut targets = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        list(line, number, &mut targets).map_err(|what| Wrong { line: number, what })?;
    }
    Ok(targets)
}

fn table(text: &str, key: impl Fn(&str) -> Result<(String, &str), String>) -> Table {
    let mut table = Table::default();
    // The key of the entry that goes on. None: its key was not understood.
    let mut open: Option<String> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let continued = line.starts_with([' ', '\t']) && (open.is_some() || !table.entries.is_empty() || !table.wrong.is_empty());
        let rest = match continued {
            true => trimmed,
            false => match key(line) {
                Ok((key, rest)) => {
                    let entry = Entry { line: number, targets: Some(Vec::new()) };
                    if let Some(before) = table.entries.insert(key.clone(), entry) {
                        // Which of them is meant can't be told.
                        table.wrong.push(Wrong { line: number, what: format!("`{key}` stands at line {} already", before.line) });
                        table.entries.insert(key.clone(), Entry { targets: None, ..before });
                    }
                    open = Some(key);
                    rest
                }
                Err(what) => {
                    table.wrong.push(Wrong { line: number, what });
                    open = None;
                    continue;
                }
            },
        };
        let Some(entry) = open.as_ref().and_then(|key| table.entries.get_mut(key)) else { continue };
        let mut new = Vec::new();
        match list(rest, number, &mut new) {
            Ok(()) => entry.targets.iter_mut().for_each(|targets| targets.append(&mut new)),
            Err(what) => {
                table.wrong.push(Wrong { line: number, what });
                entry.targets = None;
            }
        }
    }
    // A name that leads nowhere would swallow its mail.
    for (key, entry) in &mut table.entries {
        if entry.targets.as_ref().is_some_and(Vec::is_empty) {
            table.wrong.push(Wrong { line: entry.line, what: format!("`{key}` leads nowhere; /dev/null throws mail away") });
            entry.targets = None;
        }
    }
    table.wrong.sort_by_key(|wrong| wrong.line);
    table
}

/// The targets of one line.
fn list(line: &str, number: usize, targets: &mut Vec<Numbered>) -> Result<(), String> {
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
            continue;
        }
        let (text, after) = match rest.strip_prefix('|') {
            Some(command) if !command.trim_start().starts_with('"') => {
                let (text, after) = bare_command(rest);
                (text.to_owned(), after)
            }
            _ => word(rest)?,
        };
        targets.push((number, target(rest, &text)?));
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with([',', '#']) {
            return Err(format!("a comma is missing before `{rest}`"));
        }
    }
    Ok(())
}

/// Up to the next comma that is not quoted; words and quotes are the shell's.
fn bare_command(text: &str) -> (&str, &str) {
    let (mut quote, mut escaped) = (None, false);
    let end = text.find(|char| {
        match (char, quote) {
            _ if escaped => escaped = false,
            ('\\', quote) if quote != Some('\'') => escaped = true,
            (char, Some(open)) if char == open => quote = None,
            ('"' | '\'', None) => quote = Some(char),
            (',', None) => return true,
            _ => {}
        }
        false
    });
    let (command, rest) = text.split_at(end.unwrap_or(text.len()));
    (command.trim_end(), rest)
}

/// What a word means. `written`: with its quotes.
fn target(written: &str, text: &str) -> Result<Target, String> {
    let wrong = |what: &str| Err(format!("`{text}` {what}"));
    if text.contains(|char: char| char.is_control() && char != '\t') {
        return wrong("has a control character");
    }
    if text.starts_with(['/', '|']) {
        // An empty command would take the mail and do nothing with it.
        let names_nothing = text.get(1..).is_none_or(|rest| rest.trim().is_empty());
        return if names_nothing { wrong("names nothing") } else { Ok(Target::Line(text.to_owned())) };
    }
    if let Some(path) = text.get(..9).filter(|start| start.eq_ignore_ascii_case(":include:")).and_then(|_| text.get(9..)) {
        let path = path.trim_start();
        return if path.starts_with('/') { Ok(Target::Include(path.to_owned())) } else { wrong("names no absolute path") };
    }
    if written.starts_with('\\') || written.starts_with("\"\\") {
        // `\user@here` is an address like others.
        return match text.contains('@') {
            true => text.parse().map(Target::Address).or_else(|_| wrong("is no address")),
            false => name(text).map(|name| Target::User(name.to_ascii_lowercase())),
        };
    }
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    if bare.contains('@') {
        // A quoted local part loses its quotes as a word.
        let (local, domain) = bare.rsplit_once('@').unwrap_or_default();
        let parts = || Domain::parse(domain).and_then(|domain| Address::new(local, domain));
        return bare.parse().or_else(|_| parts()).map(Target::Address).or_else(|_| wrong("is no address"));
    }
    name(bare).map(|name| Target::Name(name.to_owned()))
}

fn name(text: &str) -> Result<&str, String> {
    let fits = !text.is_empty() && text.len() <= 64 && !text.starts_with([':', '<', '/']);
    if fits { Ok(text) } else { Err(format!("`{text}` is no name")) }
}

/// The first word, without its quotes, and what follows it.
fn word(text: &str) -> Result<(String, &str), String> {
    let (mut word, mut quoted, mut chars) = (String::new(), false, text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            // That of a command is the shell's, but for one before a quote or a backslash.
            '\\' => match chars.next() {
                Some((_, next)) if quoted && word.starts_with('|') && !matches!(next, '"' | '\\') => word.extend(['\\', next]),
                Some((_, next)) => word.push(next),
                None => return Err("it ends with a backslash".to_owned()),
            },
            ' ' | '\t' | ',' if !quoted => return Ok((word, text.get(at..).unwrap_or_default())),
            // Of an entry, not of `:include:`, which begins with one.
            ':' if !quoted && !word.is_empty() && !is_beyond_name(&word) => {
                return Ok((word, text.get(at..).unwrap_or_default()));
            }
            char => word.push(char),
        }
    }
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok((word, "")) }
}

/// Is this the beginning of a target in which a colon may stand?
fn is_beyond_name(word: &str) -> bool {
    word.starts_with([':', '/', '|']) || word.contains(['@', '['])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(targets: &[Numbered]) -> String {
        targets.iter().map(|(line, target)| format!("{line} {target}")).collect::<Vec<_>>().join(" ; ")
    }

    #[test]
    fn what_sendmail_understands() {
        let table = parse(
            "# comment\n\n\
             root: alice, bob@away.test\n\
             \t# within\n\
             \t\\carol,\n\
             \t,\"quoted\\, local\"\n\
             Abuse : \"|/bin/prog a, b \\\"c\\\" \\n\"\n\
             list: :include:/etc/list , /var/mail/list # kept\n\
             bare: |/bin/prog 'a, b' c, dora\n\
             bar: |\"/bin/prog a\"\n\
             \"a b\": \"x y\"@z.test, <eve@there.test>, \"\\frank\"\n",
        );
        assert_eq!(table.wrong, []);
        for (name, targets) in [
            ("root", "3 alice ; 3 bob@away.test ; 5 \\carol ; 6 quoted, local"),
            ("abuse", "7 |/bin/prog a, b \"c\" \\n"),
            ("list", "8 :include:/etc/list ; 8 /var/mail/list"),
            ("bare", "9 |/bin/prog 'a, b' c ; 9 dora"),
            ("bar", "10 |/bin/prog a"),
            ("a b", "11 \"x y\"@z.test ; 11 eve@there.test ; 11 \\frank"),
        ] {
            assert_eq!(told(table.entries[name].targets.as_deref().unwrap()), targets);
        }
        assert_eq!(table.entries.len(), 6);
    }

    #[test]
    fn what_is_wrong_is_told_and_touches_nothing_else() {
        let table = parse(
            "good: alice\nno colon here\n  goes on\nbad: a b\nopen: \"x\nempty:\nrel: :include:x\n\
             a@b.test: c\ntwice: a\nTwice: b\nslash: c\\\nend: bob\nnothing: |\nblank: \"| \"\n",
        );
        let lines: Vec<usize> = table.wrong.iter().map(|wrong| wrong.line).collect();
        assert_eq!(lines, [2, 4, 5, 6, 7, 8, 10, 11, 13, 14], "{:?}", table.wrong);
        let known = |name: &str| table.entries.get(name).map(|entry| entry.targets.is_some());
        for (name, wanted) in [("good", Some(true)), ("end", Some(true)), ("bad", Some(false)), ("twice", Some(false))] {
            assert_eq!(known(name), wanted, "{name}");
        }
        assert_eq!((known("empty"), known("no"), known("slash")), (Some(false), None, Some(false)));
        assert_eq!(table.wrong[1].to_string(), "line 4: a comma is missing before `b`");
    }

    #[test]
    fn virtual_addresses() {
        let table = parse_virtual("Sales@Shop.test alice, bob@away.test\n\tcarol\n@B\u{fc}cher.test\tbooks\n@\nx y\na@b.test\n");
        assert_eq!(table.wrong.iter().map(|wrong| wrong.line).collect::<Vec<_>>(), [4, 5, 6]);
        assert_eq!(told(table.entries["sales@shop.test"].targets.as_deref().unwrap()), "1 alice ; 1 bob@away.test ; 2 carol");
        assert_eq!(told(table.entries["@xn--bcher-kva.test"].targets.as_deref().unwrap()), "3 books");
    }

    #[test]
    fn forward_files_as_they_are() {
        for (text, wanted) in [
            ("\\alice, bob@away.test\n", "1 \\alice ; 1 bob@away.test"),
            ("# mine\n\nbob\n/home/a/box\n", "3 bob ; 4 /home/a/box"),
            ("\"|exec /usr/bin/procmail || exit 75\"\n", "1 |exec /usr/bin/procmail || exit 75"),
            (
                "\"|IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #alice\"\n",
                "1 |IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #alice",
            ),
            ("|/usr/bin/procmail", "1 |/usr/bin/procmail"),
            ("\\alice, \"|/usr/bin/vacation alice\"", "1 \\alice ; 1 |/usr/bin/vacation alice"),
            ("", ""),
        ] {
            assert_eq!(parse_list(text).map(|targets| told(&targets)), Ok(wanted.to_owned()), "{text}");
        }
        assert_eq!(parse_list("a\n\nb c\n").unwrap_err().line, 3);
    }

    proptest! {
        #[test]
        fn no_input_is_too_odd(text in "([a-z]{1,3}|[ \t\n:,\"'\\\\|/#@<>]|:include:|\\PC){0,60}") {
            for table in [parse(&text), parse_virtual(&text)] {
                for (key, entry) in &table.entries {
                    prop_assert_eq!(key.to_ascii_lowercase(), key.clone());
                    prop_assert!(entry.targets.as_ref().is_none_or(|targets| !targets.is_empty()));
                    prop_assert!(entry.targets.is_some() || !table.wrong.is_empty());
                }
            }
            let _ = parse_list(&text);
        }

        #[test]
        fn targets_come_back(names in proptest::collection::vec("[a-z][a-z.+-]{0,9}", 1..9), broken in proptest::collection::vec(any::<bool>(), 9)) {
            let mut text = "list:".to_owned();
            for (name, broken) in names.iter().zip(broken) {
                text += &format!("{}{name},", if broken { "\n\t" } else { " " });
            }
            let table = parse(&text);
            let found = table.entries["list"].targets.clone().unwrap();
            prop_assert_eq!(found.into_iter().map(|(_, target)| target.to_string()).collect::<Vec<_>>(), names);
        }
    }
}
