//! `pillarboxctl aliases check`, and newaliases: nothing has to be made of the alias file, so it is only looked through.

use super::{Failure, load, say};
use crate::delivery::check_aliases;
use crate::mail::alias::{self, Entry, Table};
use crate::sys::exit;
use getopts::Options;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// newaliases. Options of sendmail's mean nothing, but for the configuration file.
pub fn newaliases(words: &[OsString]) -> Result<(), Failure> {
    let mut options = Options::new();
    options.optopt("C", "", "", "FILE");
    for flag in ["v", "i", "o", "d", "n"] {
        options.optflagopt(flag, "", "", "");
    }
    let matches = options.parse(words).map_err(|error| Failure::new(exit::USAGE, error))?;
    check(matches.opt_str("C").map(PathBuf::from).as_deref())
}

/// A line for each file, and one for each thing that is wrong, which fails it.
pub fn check(file: Option<&Path>) -> Result<(), Failure> {
    let config = load(file)?;
    type Parse = fn(&str) -> Table;
    let files = [
        (&config.aliases, alias::parse as Parse, "aliases"),
        (&config.virtual_addresses, alias::parse_virtual as Parse, "addresses"),
    ];
    let mut wrong = 0;
    for (path, parse, what) in files {
        let Some(path) = path else { continue };
        let name = path.display();
        let table = match check_aliases(path, parse) {
            // It need not be there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                say(&format!("{name}: there is no such file\n"))?;
                continue;
            }
            checked => checked,
        };
        let table = table.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Failure::new(exit::DATAERR, format!("{name}: {error}")),
            _ => Failure::new(exit::NOINPUT, format!("{name}: {error}")),
        })?;
        for one in &table.wrong {
            let _ = writeln!(io::stderr(), "{name}: {one}");
        }
        wrong += table.wrong.len();
        let lengths: Vec<usize> = table.entries.values().map(length).collect();
        let (longest, total) = (lengths.iter().max().unwrap_or(&0), lengths.iter().sum::<usize>());
        say(&format!("{name}: {} {what}, longest {longest} bytes, {total} bytes total\n", lengths.len()))?;
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::new(exit::DATAERR, "1 line is wrong; its name has to wait, with all that are unknown")),
        wrong => Err(Failure::new(
            exit::DATAERR,
            format!("{wrong} lines are wrong; their names have to wait, with all that are unknown"),
        )),
    }
}

/// Bytes of what a name stands for.
fn length(entry: &Entry) -> usize {
    let targets = entry.targets.as_deref().unwrap_or_default();
    targets.iter().map(|(_, target)| target.to_string().len() + 2).sum::<usize>().saturating_sub(2)
}
