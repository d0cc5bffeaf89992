//! Lines of the alias file and of users' `.forward` files that name a file or a program. The daemon names such a line; who
//! answers for the operating system looks for it there and then does what it says, as its owner: so the daemon can ask for
//! what stands in these files, and for nothing else.

use super::Account;
use super::program::{End, Run, run};
use crate::sys::disk::RealFile;
use crate::sys::{File, Open, RealDisk};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{self, FsType};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// What a user wants done with mail.
pub const FORWARD: &str = ".forward";
/// What a user wants mail to be answered with.
pub const VACATION: &str = ".vacation";

/// A `.forward` file that is longer is none, nor a `.vacation` file.
pub const MOST_FORWARD: u64 = 64 << 10;

/// Where a line stands, and so whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineOf {
    /// The alias file; what it names is done as `alias_user`.
    Aliases,
    /// The `.forward` of this account, as which it is done.
    Forward(Account),
}

/// One target of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub of: LineOf,
    /// The number of its line there, from 1.
    pub number: usize,
    /// The target as it is understood, without quotes: `/path`, or `|command`.
    pub text: String,
}

impl Line {
    /// The command for the shell, if it is one.
    pub fn command(&self) -> Option<&str> {
        self.text.strip_prefix('|')
    }
}

/// The names of all facts of an envelope that a command is told of.
pub const FACTS: [&str; 4] = ["SENDER", "RECIPIENT", "LOCAL", "DOMAIN"];

/// A value that means nothing to a shell, however carelessly a script handles it.
pub fn harmless(value: &str) -> String {
    let safe = |char: &char| char.is_alphanumeric() || "!@%-_=+:,./".contains(*char);
    value.chars().map(|char| if safe(&char) { char } else { '_' }).collect()
}

/// What a command gets beside what every program gets.
#[derive(Debug)]
pub struct Job<'a> {
    /// Facts of the envelope.
    pub environment: &'a [(&'a str, String)],
    /// The message: a file without a name, at its beginning.
    pub input: fs::File,
}

/// Reads one of these two files, as who we are. None: there is none. An error of the kind `InvalidData`: what is there may not be
/// believed, since others can write to it, or it is no plain file. Any other error is temporary: a home that is missing, too.
pub fn read_at_home(account: &Account, name: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(home) = &account.home else { return Ok(None) };
    // A home may be mounted later; without it nobody can tell what its owner wants.
    if !fs::metadata(home).map_err(|error| of_home(home, &error))?.is_dir() {
        return Err(of_home(home, &Errno::ENOTDIR.into()));
    }
    // Never held up by a FIFO. A symbolic link is the owner's to make: it is read as this user.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = match open(&home.join(name), flags, Mode::empty()) {
        Ok(file) => fs::File::from(file),
        Err(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let meta = file.metadata()?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()));
    if !meta.is_file() {
        return refused("it is not a plain file");
    }
    if meta.uid() != account.uid && meta.uid() != 0 {
        return refused("it belongs to somebody else");
    }
    if meta.mode() & 0o022 != 0 {
        return refused("others can write to it");
    }
    let mut text = Vec::new();
    file.take(MOST_FORWARD + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST_FORWARD {
        return refused("it is too long");
    }
    Ok(Some(text))
}

/// File systems of this host alone: what is done there shows in the times of directories at once.
const LOCAL: [FsType; 6] = [
    statfs::EXT4_SUPER_MAGIC,
    statfs::XFS_SUPER_MAGIC,
    statfs::BTRFS_SUPER_MAGIC,
    statfs::F2FS_SUPER_MAGIC,
    statfs::OVERLAYFS_SUPER_MAGIC,
    statfs::TMPFS_MAGIC,
];

/// Of a file that is not there: when it is made, does the state of the home show it? (Not if there is a link to elsewhere.)
pub fn would_show(account: &Account, name: &str) -> bool {
    let Some(home) = &account.home else { return false };
    let is_missing = fs::symlink_metadata(home.join(name)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_missing && statfs::statfs(home).is_ok_and(|system| LOCAL.contains(&system.filesystem_type()))
}

fn of_home(home: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("home {}: {error}", home.display()))
}

/// Runs the command of a line by the shell, as its owner, in its owner's home. `alias_user`: who owns those of the alias file.
pub fn run_command(
    line: &Line,
    job: Job<'_>,
    alias_user: Option<&str>,
    is_over: &mut dyn FnMut() -> bool,
) -> io::Result<(End, Vec<u8>)> {
    let Some(command) = line.command() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let words = ["/bin/sh", "-c", command].map(str::to_owned);
    let (user, account) = match &line.of {
        LineOf::Aliases => (alias_user, None),
        LineOf::Forward(account) => (None, Some(account)),
    };
    run(Run { words: &words, user, account, environment: job.environment, input: job.input }, is_over)
}

/// Opens the file that a line names, as who we are, to append to it; it is made with mode 0600 if it is not there. Only a plain
/// file, and `/dev/null`, for which nothing is given. `owner`: whose it must be, if we are root and can't become its owner; then
/// none is made.
pub fn open_file(line: &Line, owner: Option<u32>) -> io::Result<Option<Arc<dyn File>>> {
    Ok(open_to_append(line, owner)?.map(|file| Arc::new(RealFile(file)) as Arc<dyn File>))
}

/// The same, as the system gives it.
pub fn open_to_append(line: &Line, owner: Option<u32>) -> io::Result<Option<fs::File>> {
    let path = Path::new(&line.text);
    if path == Path::new("/dev/null") {
        return Ok(None);
    }
    if !path.is_absolute() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let file = RealDisk.open_file(path, if owner.is_some() { Open::Write } else { Open::Create(0o600) })?;
    let meta = file.metadata()?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
    match owner {
        _ if !meta.is_file() => refused("it is not a plain file"),
        Some(owner) if meta.uid() != owner => refused("it does not belong to who takes this mail"),
        _ => Ok(Some(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn account(home: &Path) -> Account {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Account { name: "alice".into(), uid, gid, home: Some(home.to_owned()) }
    }

    #[test]
    fn only_a_file_that_is_its_owners_alone_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (alice, path) = (account(dir.path()), dir.path().join(".forward"));
        let read_forward = |account: &Account| read_at_home(account, FORWARD);
        assert_eq!(read_forward(&Account { home: None, ..alice.clone() }).unwrap(), None);
        assert_eq!(read_forward(&alice).unwrap(), None);
        let kind = |account: &Account| read_forward(account).map(drop).map_err(|error| error.kind());
        assert_eq!(kind(&account(&dir.path().join("gone"))), Err(io::ErrorKind::NotFound));
        fs::write(&path, "bob\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_forward(&alice).unwrap().as_deref(), Some(&b"bob\n"[..]));
        assert_eq!(kind(&account(&path)), Err(io::ErrorKind::NotADirectory));
        for mode in [0o664, 0o646] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(kind(&alice), Err(io::ErrorKind::InvalidData), "{mode:o}");
        }
        fs::remove_file(&path).unwrap();
        // Not on every file system the tests may run on.
        let is_local = would_show(&alice, FORWARD);
        symlink("elsewhere", &path).unwrap();
        // What comes into being there does not change the home.
        assert!(read_forward(&alice).unwrap().is_none() && !would_show(&alice, FORWARD));
        fs::write(dir.path().join("elsewhere"), vec![b'x'; 64 << 10]).unwrap();
        fs::set_permissions(dir.path().join("elsewhere"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_forward(&alice).unwrap().unwrap().len(), 64 << 10);
        assert_eq!(kind(&Account { uid: alice.uid + 1, ..alice.clone() }).is_err(), alice.uid != 0);
        fs::write(dir.path().join("elsewhere"), vec![b'x'; (64 << 10) + 1]).unwrap();
        assert_eq!(kind(&alice), Err(io::ErrorKind::InvalidData));
        fs::remove_file(&path).unwrap();
        assert_eq!(would_show(&alice, FORWARD), is_local);
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        assert_eq!(kind(&alice), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn files_are_plain_files() {
        let dir = tempfile::tempdir().unwrap();
        let open_as = |text: &str, owner| open_file(&Line { of: LineOf::Aliases, number: 1, text: text.to_owned() }, owner);
        let open = |text: &str| open_as(text, None);
        assert!(open("/dev/null").unwrap().is_none());
        assert!(open("/dev/zero").is_err() && open("relative").is_err() && open("|cat").is_err());
        let path = dir.path().join("box");
        assert!(open(path.to_str().unwrap()).unwrap().is_some());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let own = nix::unistd::geteuid().as_raw();
        let text = path.to_str().unwrap();
        assert!(open_as(text, Some(own)).is_ok() && open_as(text, Some(own + 1)).is_err());
        assert!(open_as(dir.path().join("new").to_str().unwrap(), Some(own)).is_err());
        symlink(&path, dir.path().join("link")).unwrap();
        assert!(open(dir.path().join("link").to_str().unwrap()).is_err());
    }

    #[test]
    fn a_command_runs_at_home() {
        let dir = tempfile::tempdir().unwrap();
        let text = "|IFS=' ' && cat && echo \"$HOME $USER $SENDER\" && pwd || exit 75 #alice".to_owned();
        // None runs as root.
        let alice = account(dir.path());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let alice = if alice.uid == 0 { Account { uid: 65534, gid: 65534, ..alice } } else { alice };
        let line = Line { of: LineOf::Forward(alice), number: 1, text };
        let environment = [("SENDER", "a@b.test".to_owned())];
        let input = tempfile::tempfile().unwrap();
        let (end, said) = run_command(&line, Job { environment: &environment, input }, None, &mut || false).unwrap();
        let home = dir.path().display();
        assert_eq!((end, String::from_utf8(said).unwrap()), (End::Exit(0), format!("{home} alice a@b.test\n{home}\n")));
        let root = Account { uid: 0, ..account(dir.path()) };
        let line = Line { of: LineOf::Forward(root), number: 1, text: "|true".to_owned() };
        let input = tempfile::tempfile().unwrap();
        assert!(run_command(&line, Job { environment: &[], input }, None, &mut || false).is_err());
    }
}
