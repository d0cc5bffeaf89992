//! Files as spool and mailbox see them, and the real ones.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FallocateFlags, FcntlArg, Flock, FlockArg, OFlag, RenameFlags, fallocate, fcntl, renameat2};
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Times of files are not finer than this everywhere.
const COARSE: Duration = Duration::from_secs(2);

/// How a file is opened. Symbolic links are never followed at the last component, a FIFO never blocks.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Open {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; made with these permission bits if it is not there.
    Create(u32),
    /// For reading and writing; made with these permission bits, an error if it is there.
    CreateNew(u32),
}

impl Open {
    /// As openat(2) takes it, with the permission bits of a new file.
    pub fn flags(self) -> (OFlag, u32) {
        let (how, mode) = match self {
            Open::Read => (OFlag::O_RDONLY, 0),
            Open::Write => (OFlag::O_RDWR, 0),
            Open::Create(mode) => (OFlag::O_RDWR | OFlag::O_CREAT, mode),
            Open::CreateNew(mode) => (OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL, mode),
        };
        (how | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, mode)
    }
}

/// What the file system knows about a file.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Stat {
    /// Device and inode: which file this is.
    pub file: (u64, u64),
    /// Bytes.
    pub size: u64,
    /// Time of the last change to the content, nanoseconds since the epoch.
    pub mtime: i128,
    /// Time of the last change to content or inode, nanoseconds since the epoch.
    pub ctime: i128,
    /// Number of names.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// File type and permission bits, as in `st_mode`.
    pub mode: u32,
}

impl Stat {
    /// A regular file?
    pub fn is_regular(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Will the next change bear another time than this? Of one that is too young nobody can say.
    pub fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(COARSE);
        i128::try_from(now.as_nanos()).is_ok_and(|now| self.mtime.max(self.ctime) < now)
    }
}

/// The two strengths of a lock between programs.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Lock {
    /// Any number of readers.
    Shared,
    /// One writer and nobody else.
    Exclusive,
}

/// The file system, as far as spool and mailbox need it.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// The file at the path itself; a symbolic link is not followed.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Gives a file another name, replacing what was there. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name; an error if that is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A second name for a file; an error if the name is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name away. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory and those above it, with these permission bits; one that is there is fine.
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Takes an empty directory away.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that may still be written where `path` lies.
    fn free(&self, path: &Path) -> io::Result<u64>;
    /// The same disk, for paths at or below this directory only, and without following a symbolic link there. See
    /// [`Beneath`](super::beneath::Beneath).
    fn beneath(&self, dir: &Path) -> Arc<dyn Disk>;
}

/// An open file. Dropping the last handle closes it and gives its lock back.
pub trait File: Send + Sync + Debug {
    /// Reads at an offset; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all the parts, one after the other, at an offset. After an error any prefix may be there.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, size: u64) -> io::Result<()>;
    /// Makes the content durable (`fdatasync`), the size included.
    fn sync(&self) -> io::Result<()>;
    /// Gives the blocks of a range back; it reads as zeros. Not every file system can.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;
    /// What the file system knows of this file now.
    fn stat(&self) -> io::Result<Stat>;
    /// Tries to take, or change to, a lock of the open file description (OFD), on the whole file. False: another has it.
    fn try_lock(&self, lock: Lock) -> io::Result<bool>;
    /// Lets go of it.
    fn unlock(&self) -> io::Result<()>;
    /// Does another hold the file by `flock`, which knows nothing of OFD locks?
    fn is_flocked(&self) -> io::Result<bool>;

    /// Fills the buffer; an error if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.read_at(buffer, offset)? {
            read if read == buffer.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The machine's own file system.
#[derive(Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// As [`Disk::open`]; the file as the system gives it.
    pub fn open_file(&self, path: &Path, how: Open) -> io::Result<fs::File> {
        let mut options = fs::OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        match how {
            Open::Read => {}
            Open::Write => drop(options.write(true)),
            Open::Create(mode) => drop(options.write(true).create(true).mode(mode)),
            Open::CreateNew(mode) => drop(options.write(true).create_new(true).mode(mode)),
        }
        options.open(path)
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(self.open_file(path, how)?)))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&fs::symlink_metadata(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(mode).create(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(path)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    fn beneath(&self, dir: &Path) -> Arc<dyn Disk> {
        Arc::new(super::beneath::Beneath::new(dir))
    }
}

/// A file of the machine's own file system, for whoever got a descriptor from elsewhere.
#[derive(Debug)]
pub struct RealFile(pub fs::File);

impl AsFd for RealFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        if let [part] = parts {
            return self.0.write_all_at(part, offset);
        }
        let mut parts: Vec<IoSlice<'_>> = parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
        let mut rest = parts.as_mut_slice();
        while !rest.is_empty() {
            let most = rest.len().min(1024);
            let batch = rest.get(..most).unwrap_or_default();
            match nix::sys::uio::pwritev(&self.0, batch, offset.try_into().unwrap_or(i64::MAX)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let signed = |value: u64| i64::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        Ok(fallocate(&self.0, flags, signed(offset)?, signed(length)?)?)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&self.0.metadata()?))
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        let kind = match lock {
            Lock::Shared => libc::F_RDLCK,
            Lock::Exclusive => libc::F_WRLCK,
        };
        match fcntl(&self.0, FcntlArg::F_OFD_SETLK(&whole_file(kind))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        fcntl(&self.0, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)))?;
        Ok(())
    }

    fn is_flocked(&self) -> io::Result<bool> {
        match Flock::lock(self.0.try_clone()?, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, error)) => Err(error.into()),
        }
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock { l_type: kind as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

/// What the system tells of a file.
pub fn stat_of(meta: &fs::Metadata) -> Stat {
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Stat {
        file: (meta.dev(), meta.ino()),
        size: meta.size(),
        mtime: nanos(meta.mtime(), meta.mtime_nsec()),
        ctime: nanos(meta.ctime(), meta.ctime_nsec()),
        links: meta.nlink(),
        uid: meta.uid(),
        gid: meta.gid(),
        mode: meta.mode(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_exclude_other_descriptions_of_this_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box");
        let first = RealDisk.open(&path, Open::Create(0o600)).unwrap();
        let second = RealDisk.open(&path, Open::Write).unwrap();
        assert!(first.try_lock(Lock::Exclusive).unwrap());
        assert!(!second.try_lock(Lock::Shared).unwrap());
        first.unlock().unwrap();
        assert!(second.try_lock(Lock::Exclusive).unwrap());
        drop(second);
        assert!(first.try_lock(Lock::Shared).unwrap());
    }

    #[test]
    fn writes_gather_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box");
        let file = RealDisk.open(&path, Open::CreateNew(0o600)).unwrap();
        let many: Vec<Vec<u8>> = (0..3000u32).map(|n| n.to_le_bytes().to_vec()).collect();
        let parts: Vec<IoSlice<'_>> = many.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(&parts, 7).unwrap();
        let mut back = vec![0; 12_000];
        file.read_exact_at(&mut back, 7).unwrap();
        assert_eq!(back, many.concat());
        let (second, third) = (dir.path().join("second"), dir.path().join("third"));
        RealDisk.link(&path, &second).unwrap();
        assert_eq!(RealDisk.rename_new(&second, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        RealDisk.rename_new(&second, &third).unwrap();
        assert!(!second.exists() && third.exists());
        fs::remove_file(&third).unwrap();
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(RealDisk.open(&dir.path().join("link"), Open::Write).is_err());
    }
}
