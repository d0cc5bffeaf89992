//! The machine's file system below one directory, for places where users can write.
//!
//! Every directory on the way to a file is opened from the one above it, and none may be a symbolic link, so whatever a user
//! puts there, and whenever, nothing outside is reached. Paths are whole ones, as for the disk this is a part of.

use super::disk::{Disk, File, Open, RealFile, Stat};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Beneath {
    root: PathBuf,
}

impl Beneath {
    /// What is below this directory; it may not be there yet. The way to it is trusted.
    pub fn new(root: &Path) -> Beneath {
        Beneath { root: root.to_owned() }
    }

    /// The names from the root to this path.
    fn names<'a>(&self, path: &'a Path) -> io::Result<Vec<&'a OsStr>> {
        let outside = || io::Error::new(ErrorKind::PermissionDenied, "path leaves its directory");
        let rest = path.strip_prefix(&self.root).map_err(|_| outside())?;
        rest.components()
            .map(|part| match part {
                Component::Normal(name) => Ok(name),
                _ => Err(outside()),
            })
            .collect()
    }

    /// The directory that is reached by these names, opened so.
    fn walk(&self, names: &[&OsStr], last: OFlag) -> io::Result<OwnedFd> {
        let flags = |last| last | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let how = |left: usize| flags(if left == 0 { last } else { OFlag::O_PATH });
        let mut dir = nix::fcntl::open(&self.root, how(names.len()), Mode::empty())?;
        for (at, name) in names.iter().enumerate() {
            dir = openat(&dir, *name, how(names.len() - at - 1), Mode::empty())?;
        }
        Ok(dir)
    }

    /// The directory of this path, and its name there.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let names = self.names(path)?;
        let (name, above) = names.split_last().ok_or(ErrorKind::IsADirectory)?;
        Ok((self.walk(above, OFlag::O_PATH)?, name))
    }

    fn dir(&self, path: &Path) -> io::Result<OwnedFd> {
        self.walk(&self.names(path)?, OFlag::O_RDONLY)
    }
}

impl Disk for Beneath {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let (dir, name) = self.parent(path)?;
        let (flags, mode) = how.flags();
        let file = openat(&dir, name, flags, Mode::from_bits_truncate(mode))?;
        Ok(Arc::new(RealFile(fs::File::from(file))))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let (dir, name) = self.parent(path)?;
        Ok(stat_of(&fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(renameat(&from_dir, from, &to_dir, to)?)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(renameat2(&from_dir, from, &to_dir, to, RenameFlags::RENAME_NOREPLACE)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(linkat(&from_dir, from, &to_dir, to, AtFlags::empty())?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Those that are made get exactly these bits, and are durable.
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let names = self.names(path)?;
        let mut dir = match self.walk(&[], OFlag::O_RDONLY) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(mode & 0o777).create(&self.root)?;
                fs::set_permissions(&self.root, fs::Permissions::from_mode(mode))?;
                self.root.ancestors().skip(1).take(2).try_for_each(|above| fs::File::open(above)?.sync_all())?;
                self.walk(&[], OFlag::O_RDONLY)?
            }
            other => other?,
        };
        let bits = Mode::from_bits_truncate(mode);
        for name in names {
            let made = match mkdirat(&dir, name, bits & Mode::S_IRWXU) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(error) => return Err(error.into()),
            };
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let below = openat(&dir, name, flags, Mode::empty())?;
            if made {
                fchmod(&below, bits)?;
                fsync(&dir)?;
            }
            dir = below;
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(unlinkat(&dir, name, UnlinkatFlags::RemoveDir)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::from_fd(self.dir(path)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Ok(fsync(&self.dir(path)?)?)
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::fstatvfs(&self.dir(path)?)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    fn beneath(&self, dir: &Path) -> Arc<dyn Disk> {
        // Below a directory of ours nothing is trusted, not even the way to another one.
        let root = if self.names(dir).is_ok() { &self.root } else { dir };
        Arc::new(Beneath::new(root))
    }
}

fn stat_of(stat: &FileStat) -> Stat {
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Stat {
        file: (stat.st_dev, stat.st_ino),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
        ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
        links: stat.st_nlink,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::RealDisk;
    use std::io::IoSlice;
    use std::os::unix::fs::symlink;

    /// A directory with something outside, and what lies in it.
    fn world() -> (tempfile::TempDir, PathBuf, Arc<dyn Disk>) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/f"), b"theirs").unwrap();
        let disk = RealDisk.beneath(&root);
        disk.make_dir(&root.join("a/b"), 0o2770).unwrap();
        (dir, root, disk)
    }

    #[test]
    fn it_does_what_the_whole_disk_does() {
        let (_dir, root, disk) = world();
        assert_eq!(fs::metadata(root.join("a/b")).unwrap().permissions().mode() & 0o7777, 0o2770);
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o2770);
        let path = root.join("a/b/f");
        let file = disk.open(&path, Open::CreateNew(0o600)).unwrap();
        file.write_at(&[IoSlice::new(b"mail")], 0).unwrap();
        assert_eq!(disk.open(&path, Open::CreateNew(0o600)).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(disk.stat(&path).unwrap(), RealDisk.stat(&path).unwrap());
        disk.link(&path, &root.join("g")).unwrap();
        assert_eq!(disk.link(&path, &root.join("g")).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(file.stat().unwrap().links, 2);
        disk.rename(&root.join("g"), &root.join("a/h")).unwrap();
        disk.remove(&path).unwrap();
        assert_eq!(disk.stat(&path).unwrap_err().kind(), ErrorKind::NotFound);
        disk.remove_dir(&root.join("a/b")).unwrap();
        assert_eq!(disk.remove_dir(&root.join("a")).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        assert_eq!(disk.list(&root.join("a")).unwrap(), ["h"]);
        disk.sync_dir(&root.join("a")).unwrap();
        assert!(disk.free(&root).unwrap() > 0);
    }

    #[test]
    fn no_link_leads_out() {
        let (dir, root, disk) = world();
        let outside = dir.path().join("outside");
        symlink(&outside, root.join("a/out")).unwrap();
        symlink(outside.join("f"), root.join("a/f")).unwrap();
        disk.open(&root.join("mine"), Open::Create(0o600)).unwrap();
        for path in [root.join("a/out/f"), root.join("a/out/new"), root.join("a/f"), outside.join("f"), root.join("../outside/f")]
        {
            for how in [Open::Read, Open::Write, Open::Create(0o600), Open::CreateNew(0o600)] {
                assert!(disk.open(&path, how).is_err(), "{path:?} {how:?}");
            }
            assert!(disk.link(&root.join("mine"), &path).is_err());
        }
        for path in [root.join("a/out"), outside.clone(), root.join("..")] {
            assert!(disk.list(&path).is_err() && disk.sync_dir(&path).is_err() && disk.free(&path).is_err());
            assert!(disk.make_dir(&path.join("d"), 0o700).is_err());
            assert!(disk.remove(&path.join("f")).is_err() && disk.stat(&path.join("f")).is_err());
            assert!(disk.rename(&root.join("mine"), &path.join("n")).is_err());
            assert!(disk.beneath(&path).list(&root.join("a/out")).is_err());
        }
        // What a link is made of may be looked at, and moved.
        assert!(!disk.stat(&root.join("a/f")).unwrap().is_regular());
        disk.link(&root.join("a/f"), &root.join("f2")).unwrap();
        assert!(fs::symlink_metadata(root.join("f2")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read(outside.join("f")).unwrap(), b"theirs");
        // The directory itself may not be a link either.
        symlink(&outside, dir.path().join("link")).unwrap();
        let disk = RealDisk.beneath(&dir.path().join("link"));
        assert!(disk.list(&dir.path().join("link")).is_err());
        assert!(disk.make_dir(&dir.path().join("link/d"), 0o700).is_err());
    }

    #[test]
    fn a_file_is_no_directory() {
        let (_dir, root, disk) = world();
        disk.open(&root.join("f"), Open::Create(0o600)).unwrap();
        assert_eq!(disk.list(&root.join("f")).unwrap_err().kind(), ErrorKind::NotADirectory);
        assert_eq!(disk.make_dir(&root.join("f"), 0o700).unwrap_err().kind(), ErrorKind::NotADirectory);
        assert!(disk.open(&root.join("f/g"), Open::Create(0o600)).is_err());
    }
}
