//! The alias file and the file of virtual addresses, as they are now: who changes one need not tell us. One that can't be read
//! or understood changes nothing for the names that were known before; of all other names nobody can say that they are nobody's.

use super::chosen::Chosen;
use crate::config::Config;
use crate::lists::Files;
use crate::mail::alias::{self, Entry, Table, Wrong};
use crate::sys::disk::{Disk, Stat, stat_of};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A file that is longer is none of these.
const MOST_BYTES: u64 = 64 << 20;

/// Both files, the mailing lists, and what users chose. Made anew when the configuration is read: then what was known before does not count.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) lists: Files,
    /// Where mail of users goes who chose that (see `forwarding`).
    pub(super) forwarded: Chosen,
    /// What users want answered while they are away (see `vacation`).
    pub(super) away: Chosen,
    pub(super) aliases: Watched,
    pub(super) addresses: Watched,
}

impl Tables {
    pub(super) fn new(config: &Config, disk: Arc<dyn Disk>) -> Tables {
        Tables {
            lists: Files::new(disk, config.lists_dir()),
            forwarded: Chosen::new(config.spool.join("forward")),
            away: Chosen::new(config.spool.join("vacation").join("wishes")),
            aliases: Watched::new(config.aliases.clone(), alias::parse),
            addresses: Watched::new(config.virtual_addresses.clone(), alias::parse_virtual),
        }
    }

    /// Why names that neither file has can't be taken for unknown, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.aliases.trouble().or_else(|| self.addresses.trouble())
    }
}

/// One of the files.
#[derive(Debug)]
pub(super) struct Watched {
    /// None: there are no such names.
    path: Option<PathBuf>,
    parse: fn(&str) -> Table,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the file that was read last.
    stamp: Option<Stat>,
    table: Arc<Table>,
    /// It was understood once.
    was_good: bool,
    trouble: Option<String>,
}

impl Watched {
    fn new(path: Option<PathBuf>, parse: fn(&str) -> Table) -> Watched {
        Watched { path, parse, state: Mutex::default() }
    }

    /// What it is called in words.
    pub(super) fn name(&self) -> String {
        self.path.as_deref().map_or_else(String::new, |path| path.display().to_string())
    }

    /// What a key stands for, by its line and its targets. An error: it is there, and can't be told.
    pub(super) fn look_up(&self, key: &str) -> io::Result<Option<Entry>> {
        let Some(path) = &self.path else { return Ok(None) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refresh(path, self.parse);
        match state.table.entries.get(key) {
            Some(Entry { line, targets: None }) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: line {line} is not understood", path.display())))
            }
            found => Ok(found.cloned()),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }
}

impl State {
    fn refresh(&mut self, path: &Path, parse: fn(&str) -> Table) {
        let stamp = fs::metadata(path).map(|meta| stat_of(&meta));
        let read = match stamp {
            Ok(stamp) if self.stamp.as_ref() == Some(&stamp) => return,
            Ok(_) => read(path),
            Err(error) => Err(error),
        };
        let trouble = match read {
            Ok((text, meta)) => {
                self.stamp = Some(stat_of(&meta));
                self.take(path, parse(&text))
            }
            // It need not be there. But one that was may be on its way from an editor, and come again.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.was_good => None,
            Err(error) => {
                self.stamp = None;
                Some(format!("{}: {error}", path.display()))
            }
        };
        if let Some(trouble) = trouble.as_ref().filter(|trouble| self.trouble.as_ref() != Some(trouble)) {
            log::error!("event=aliases-not-read reason=\"{}\" kept={}", trouble.replace('"', "'"), self.table.entries.len());
        }
        self.trouble = trouble;
    }

    fn take(&mut self, path: &Path, table: Table) -> Option<String> {
        let wrong = table.wrong.first().map(|wrong| format!("{}: {wrong}", path.display()));
        if wrong.is_none() {
            log::info!("event=aliases-read file={} names={}", path.display(), table.entries.len());
        }
        // At the start what is understood is better than nothing.
        if wrong.is_none() || !self.was_good {
            self.table = Arc::new(table);
            self.was_good = wrong.is_none();
        }
        wrong
    }
}

/// Reads a file that tells where mail goes. Others must not be able to write to it.
fn read(path: &Path) -> io::Result<(String, Metadata)> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    if !meta.is_file() || meta.size() > MOST_BYTES {
        return wrong("not a plain file, or too long");
    }
    if meta.mode() & 0o022 != 0 {
        return wrong("others can write to it");
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), meta))
}

/// Does a name in an alias file stand for this line? None does if there is no such file.
pub fn has_line(path: &Path, text: &str) -> io::Result<bool> {
    match read(path) {
        Ok((content, _)) => Ok(alias::parse(&content).has_line(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What an alias file, or one of virtual addresses, says, and what is wrong with it and with what it includes.
pub fn check(path: &Path, parse: fn(&str) -> Table) -> io::Result<Table> {
    let mut table = parse(&read(path)?.0);
    let wrong = table.includes().filter_map(|(line, path)| {
        let read = read_included(path).map_err(|error| error.to_string());
        let read = read.and_then(|text| alias::parse_list(&text).map_err(|wrong| format!("{path}: {wrong}")));
        read.err().map(|what| Wrong { line, what })
    });
    let wrong: Vec<Wrong> = wrong.collect();
    table.wrong.extend(wrong);
    table.wrong.sort_by_key(|wrong| wrong.line);
    Ok(table)
}

/// Reads a list that an alias includes.
pub(super) fn read_included(path: &str) -> io::Result<String> {
    read(Path::new(path)).map(|(text, _)| text).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn changes_are_seen_and_a_broken_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aliases");
        let watched = Watched::new(Some(path.clone()), alias::parse);
        let told = |name: &str| {
            let found = watched.look_up(name).map_err(|error| error.kind())?;
            Ok::<_, io::ErrorKind>(found.and_then(|entry| entry.targets).map(|targets| targets[0].1.to_string()))
        };
        let put = |text: &str| {
            fs::write(dir.path().join("new"), text).unwrap();
            fs::set_permissions(dir.path().join("new"), fs::Permissions::from_mode(0o644)).unwrap();
            fs::rename(dir.path().join("new"), &path).unwrap();
        };
        assert_eq!((told("root"), watched.trouble()), (Ok(None), None));
        // Half of it is better than nothing.
        put("root: alice\nno colon\nbad: \"x\n");
        assert_eq!((told("root"), told("bad")), (Ok(Some("alice".into())), Err(io::ErrorKind::InvalidData)));
        assert!(watched.trouble().is_some_and(|trouble| trouble.ends_with("line 2: a colon is missing after the name")));
        put("root: bob\n");
        assert_eq!((told("root"), told("bad"), watched.trouble()), (Ok(Some("bob".into())), Ok(None), None));
        put("root: carol\nno colon\n");
        assert_eq!((told("root"), watched.trouble().is_some()), (Ok(Some("bob".into())), true));
        fs::remove_file(&path).unwrap();
        assert_eq!((told("root"), watched.trouble().is_some()), (Ok(Some("bob".into())), true));
        put("root: dora\n");
        assert_eq!((told("root"), watched.trouble()), (Ok(Some("dora".into())), None));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!((told("root"), watched.trouble().is_some()), (Ok(Some("dora".into())), true));
    }
}
