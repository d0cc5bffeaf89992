//! Files that are written anew under another name, and put in their place when they are whole.

use crate::sys::{Disk, File, Lock, Open};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that is to take the place of `path`: empty, and locked, for all daemons of a spool have one name for it. None:
/// another one is at it.
pub fn begin(disk: &dyn Disk, path: &Path) -> io::Result<Option<(Arc<dyn File>, PathBuf)>> {
    let fresh = path.with_extension("new");
    let file = disk.open(&fresh, Open::Create(0o600))?;
    if !file.try_lock(Lock::Exclusive)? {
        return Ok(None);
    }
    match disk.stat(&fresh) {
        Ok(stat) if stat.file == file.stat()?.file => {}
        // The other one was faster, and has put it in its place.
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    file.set_len(0)?;
    Ok(Some((file, fresh)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sim::SimDisk;
    use std::io::IoSlice;

    #[test]
    fn nobody_else_writes_to_it() {
        let disk = SimDisk::default();
        disk.make_dir(Path::new("/d"), 0o700).unwrap();
        let path = Path::new("/d/log");
        let (file, fresh) = begin(&disk, path).unwrap().unwrap();
        assert_eq!(fresh, Path::new("/d/log.new"));
        file.write_at(&[IoSlice::new(b"whole")], 0).unwrap();
        assert!(begin(&disk, path).unwrap().is_none());
        assert_eq!(file.stat().unwrap().size, 5);
        disk.rename(&fresh, path).unwrap();
        assert!(begin(&disk, path).unwrap().is_some(), "the next one");
        assert_eq!(disk.stat(path).unwrap().size, 5);
        // What a crash left there begins anew.
        let left = disk.open(&fresh, Open::Create(0o600)).unwrap();
        left.write_at(&[IoSlice::new(b"left")], 0).unwrap();
        assert_eq!(begin(&disk, path).unwrap().unwrap().0.stat().unwrap().size, 0);
    }
}
