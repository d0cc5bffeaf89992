//! Tables of the daemon's that are kept over a restart: a text file of a line for each entry, below a first line that says what
//! it is, and in which version. Such a file is replaced as a whole: half of one is never there.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The lines of a file that begins with `head`; nothing if it is not there. One that is of another version, or can't be read, is
/// as good as none, and the log says so.
pub fn load(path: &Path, head: &str) -> String {
    let lines = |text: &str| text.strip_prefix(head)?.strip_prefix('\n').map(str::to_owned);
    let read = fs::read_to_string(path);
    let read = read.and_then(|text| lines(&text).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "another version")));
    read.unwrap_or_else(|error| {
        if error.kind() != ErrorKind::NotFound {
            log::warn!("event=table-unread file={} reason=\"{error}\"", path.display());
        }
        String::new()
    })
}

/// Puts a file of this first line and these lines in the place of the one before, in one act, and makes it durable.
pub fn save(path: &Path, head: &str, lines: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut new = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    write!(new, "{head}\n{lines}")?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table/host");
        assert_eq!(load(&path, "a 1"), "");
        for lines in ["one\ntwo\n", "one\n", ""] {
            save(&path, "a 1", lines).unwrap();
            assert_eq!((load(&path, "a 1").as_str(), load(&path, "a 2").as_str(), load(&path, "a").as_str()), (lines, "", ""));
        }
        assert_eq!(fs::read_dir(dir.path().join("table")).unwrap().count(), 1);
        fs::write(&path, b"a 1\n\xff\n").unwrap();
        assert_eq!(load(&path, "a 1"), "");
        assert!(save(&path.join("below"), "a 1", "").is_err());
    }
}
