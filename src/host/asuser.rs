//! What is done as a user of the system: their files opened, their folders made, their `.forward` and `.vacation` read.
//!
//! Each function here first becomes that user, and there is no way back. So they are for a process of root's that was forked
//! for this one act and ends after it. What comes of it, a descriptor or some bytes, is handed to who asked. Paths are checked
//! against the user's own places here, for who asked may be in an attacker's hands.
//!
//! Mailboxes lie in a directory that users can't write to, but a group can (`/var/mail` is 2775 root:mail, the directory of
//! folders 1771 and of the same group). The process takes this group on, and nothing else: a new mailbox is the user's from its
//! first moment on, and root's rights make nothing and open nothing in a place where others may have put something.

use super::{Account, line};
use crate::sys::{Disk, Open, RealDisk};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Of new mailboxes: for the user, and the group they lie in (Debian Policy §11.6).
const MODE: u32 = 0o660;
/// Of those of users without an account of the system.
const OWN_MODE: u32 = 0o600;
/// Of dotlocks, which tell everybody who holds them.
const DOTLOCK_MODE: u32 = 0o644;
/// A file that is bigger is no dotlock.
const MOST_DOTLOCK: u64 = 1 << 10;
/// Of folders' directories. Others' programs of that group make dotlocks there.
const DIR_MODE: u32 = 0o2770;

/// Where the files of users are.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Each one's INBOX, under their name.
    pub mail: PathBuf,
    /// Each one's directory of folders, under their name.
    pub folders: PathBuf,
}

impl Roots {
    /// In these two directories of the configuration.
    pub fn new(mail: &Path, spool: &Path) -> Roots {
        Roots { mail: mail.to_owned(), folders: spool.join("folders") }
    }

    /// The directory, and the way from there, if this is the path of a mailbox that the account can have.
    fn place(&self, account: &Account, path: &Path) -> io::Result<(&Path, PathBuf)> {
        if path == self.mail.join(&account.name) {
            return Ok((&self.mail, account.name.clone().into()));
        }
        let way = self.in_folders(account, path)?;
        if way.components().count() < 2 {
            return Err(not_theirs(account, path));
        }
        Ok((&self.folders, way))
    }

    /// Does it lie where only its user, or the daemon by way of the monitor, opens files?
    pub fn contain(&self, path: &Path) -> bool {
        path.parent() == Some(self.mail.as_path()) || path.starts_with(&self.folders)
    }

    /// The directory, and the way from there, if a dotlock of ours could have this path.
    fn place_of_dotlock<'a>(&'a self, path: &'a Path) -> Option<(&'a Path, &'a Path)> {
        let is_plain = |way: &Path| way.components().all(|part| matches!(part, Component::Normal(_)));
        if let Ok(way) = path.strip_prefix(&self.folders) {
            return (way.components().count() > 1 && is_plain(way)).then_some((&self.folders, way));
        }
        let way = path.strip_prefix(&self.mail).ok()?;
        (way.components().count() == 1 && is_plain(way)).then_some((&self.mail, way))
    }

    /// The way from the directory of all folders to a path in this account's own.
    fn in_folders(&self, account: &Account, path: &Path) -> io::Result<PathBuf> {
        let way = path.strip_prefix(&self.folders).map_err(|_| not_theirs(account, path))?;
        let mut parts = way.components();
        let is_theirs = parts.next().is_some_and(|first| first.as_os_str() == account.name.as_str());
        if is_theirs && way.components().all(|part| matches!(part, Component::Normal(_))) {
            Ok(way.to_owned())
        } else {
            Err(not_theirs(account, path))
        }
    }
}

fn not_theirs(account: &Account, path: &Path) -> io::Error {
    let what = format!("{} is no mailbox of {}", path.display(), account.name);
    io::Error::new(ErrorKind::PermissionDenied, what)
}

/// Becomes the account with all its groups, as a login does; for good.
pub fn become_user(account: &Account) -> io::Result<()> {
    let gid = Gid::from_raw(account.gid);
    let name = CString::new(account.name.as_str())?;
    become_one(account.uid, gid, &getgrouplist(&name, gid)?)
}

/// The same, for an account of the system that need not have mail. Never root.
pub fn become_named(name: &str) -> io::Result<()> {
    match User::from_name(name)? {
        Some(user) if !user.uid.is_root() => {
            become_one(user.uid.as_raw(), user.gid, &getgrouplist(&CString::new(name)?, user.gid)?)
        }
        _ => Err(io::Error::new(ErrorKind::PermissionDenied, format!("there is no account `{name}`, or it is root"))),
    }
}

/// Becomes the account, in no group but that of this directory, if the group may write there.
fn become_owner(account: &Account, dir: &Path) -> io::Result<()> {
    let meta = std::fs::metadata(dir)?;
    let gid = Gid::from_raw(if meta.mode() & 0o020 == 0 { account.gid } else { meta.gid() });
    become_one(account.uid, gid, &[gid])
}

fn become_one(uid: u32, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    let uid = Uid::from_raw(uid);
    setgroups(groups)?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

/// Opens a mailbox of the account's; a new one is its owner's and its directory's group's. What is not a plain file of the
/// user's own, with one name, is not given to anybody.
pub fn open_mailbox(roots: &Roots, account: &Account, path: &Path, how: Open) -> io::Result<File> {
    let (dir, way) = roots.place(account, path)?;
    let file = open_in(account, dir, &way, how, if account.is_system() { MODE } else { OWN_MODE })?;
    let meta = file.metadata()?;
    let refuse = |why| Err(io::Error::new(ErrorKind::PermissionDenied, format!("{}: {why}", path.display())));
    match meta {
        meta if !meta.is_file() => refuse("not a regular file"),
        meta if meta.nlink() != 1 => refuse("it has more than one name"),
        meta if meta.uid() != account.uid => refuse("it belongs to another user"),
        _ => Ok(file),
    }
}

/// For the account of the daemon: looks into a dotlock beside a mailbox, or into the lock of another program's session, or makes
/// the file that its own dotlocks are names of. What is there is not written to.
pub fn open_dotlock(roots: &Roots, account: &Account, path: &Path, how: Open) -> io::Result<File> {
    let refuse = || io::Error::new(ErrorKind::PermissionDenied, format!("{} is no lock", path.display()));
    let file = if is_session_lock(path) && how == Open::Read {
        become_one(account.uid, Gid::from_raw(account.gid), &[])?;
        RealDisk.open_file(path, how)?
    } else {
        let (dir, way) = roots.place_of_dotlock(path).ok_or_else(refuse)?;
        let name = way.file_name().map_or(&b""[..], OsStr::as_bytes);
        match how {
            Open::Read if name.ends_with(b".lock") => {}
            Open::CreateNew(_) if name.starts_with(b".lock-") => {}
            _ => return Err(refuse()),
        }
        open_in(account, dir, way, how, DOTLOCK_MODE)?
    };
    // A mailbox can have such a name, too.
    Some(file).filter(|file| file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MOST_DOTLOCK)).ok_or_else(refuse)
}

/// Where programs of c-client's lock a mailbox for a session: `.DEVICE.INODE`.
pub const SESSION_LOCKS: &str = "/tmp";

fn is_session_lock(path: &Path) -> bool {
    let name = path.strip_prefix(SESSION_LOCKS).map_or(&b""[..], |way| way.as_os_str().as_bytes());
    let mut parts = name.split(|byte| *byte == b'.');
    let is_number = |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_hexdigit));
    parts.next() == Some(b"") && is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none()
}

/// Opens what lies this way from a directory, as the account, in the directory's group; a new file gets this mode.
fn open_in(account: &Account, dir: &Path, way: &Path, how: Open, mode: u32) -> io::Result<File> {
    become_owner(account, dir)?;
    umask(Mode::empty());
    let (flags, _) = how.flags();
    let mode = if flags.contains(OFlag::O_CREAT) { mode } else { 0 };
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new().flags(flags).mode(Mode::from_bits_truncate(mode)).resolve(resolve);
    // The way to the directory is the administrator's, links and all.
    let dir = nix::fcntl::open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(File::from(openat2(&dir, way, how)?))
}

/// Makes a directory for folders of the account's, and those above it.
pub fn make_folders(roots: &Roots, account: &Account, path: &Path) -> io::Result<()> {
    let way = roots.in_folders(account, path)?;
    become_owner(account, &roots.folders)?;
    umask(Mode::empty());
    RealDisk.beneath(&roots.folders).make_dir(&roots.folders.join(way), DIR_MODE)
}

/// What stands in a file at the account's home: see [`line::read_at_home`].
pub fn read_at_home(account: &Account, name: &str) -> io::Result<Option<Vec<u8>>> {
    become_user(account)?;
    line::read_at_home(account, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::apart::apart;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::process::Command;

    const MAIL: u32 = 40_008;

    fn account(name: &str, uid: u32, home: Option<&Path>) -> Account {
        Account { name: name.into(), uid, gid: uid, home: Some(home.unwrap_or(Path::new("/")).to_owned()) }
    }

    fn set(path: &Path, mode: u32, uid: u32, gid: u32) {
        chown(path, Some(uid), Some(gid)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn facts(path: &Path) -> (u32, u32, u32) {
        let meta = fs::symlink_metadata(path).unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    }

    /// The two directories as they are on a host, somewhere else.
    fn world() -> (tempfile::TempDir, Roots) {
        let dir = tempfile::tempdir().unwrap();
        set(dir.path(), 0o755, 0, 0);
        let roots = Roots::new(&dir.path().join("mail"), dir.path());
        fs::create_dir(&roots.mail).unwrap();
        fs::create_dir(&roots.folders).unwrap();
        set(&roots.mail, 0o2775, 0, MAIL);
        set(&roots.folders, 0o1771, 40_007, MAIL);
        (dir, roots)
    }

    #[test]
    fn a_new_mailbox_is_its_users() {
        apart("host::asuser::tests::a_new_mailbox_is_its_users", 1, |_| {
            let (_dir, roots) = world();
            let path = roots.mail.join("alice");
            let alice = account("alice", 40_001, None);
            assert_eq!(open_mailbox(&roots, &alice, &path, Open::Create(0o600)).map(drop).map_err(|e| e.kind()), Ok(()));
            assert_eq!(facts(&path), (0o660, 40_001, MAIL));
            // Nothing of root's is left.
            assert!(setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err());
            assert!(File::open("/etc/shadow").is_err());
            assert!(File::create(roots.folders.parent().unwrap().join("x")).is_err());
        });
    }

    #[test]
    fn modes_of_old_mailboxes_stay() {
        apart("host::asuser::tests::modes_of_old_mailboxes_stay", 1, |_| {
            let (_dir, roots) = world();
            let path = roots.mail.join("alice");
            fs::write(&path, "From x\n").unwrap();
            set(&path, 0o600, 40_001, 40_001);
            let file = open_mailbox(&roots, &account("alice", 40_001, None), &path, Open::Create(0o600)).unwrap();
            assert_eq!((file.metadata().unwrap().len(), facts(&path)), (7, (0o600, 40_001, 40_001)));
        });
    }

    #[test]
    fn what_is_planted_in_a_mailboxs_place_is_refused() {
        let names = ["link", "hard", "dir", "others", "twice", "fifo"];
        apart("host::asuser::tests::what_is_planted_in_a_mailboxs_place_is_refused", 3 * names.len(), |case| {
            let (dir, roots) = world();
            let at = |name: &str| roots.mail.join(name);
            fs::write(dir.path().join("secret"), "root's").unwrap();
            set(&dir.path().join("secret"), 0o666, 0, 0);
            symlink(dir.path().join("secret"), at("link")).unwrap();
            fs::hard_link(dir.path().join("secret"), at("hard")).unwrap();
            fs::create_dir(at("dir")).unwrap();
            fs::write(at("others"), "").unwrap();
            set(&at("others"), 0o666, 40_002, MAIL);
            fs::write(at("twice"), "").unwrap();
            set(&at("twice"), 0o660, 40_001, MAIL);
            fs::hard_link(at("twice"), dir.path().join("twice")).unwrap();
            assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
            set(&at("fifo"), 0o666, 40_001, MAIL);
            let (name, how) = (names[case / 3], [Open::Write, Open::Create(0o600), Open::Read][case % 3]);
            assert!(open_mailbox(&roots, &account(name, 40_001, None), &at(name), how).is_err(), "{name} {how:?}");
        });
    }

    #[test]
    fn only_the_users_own_places_are_opened() {
        let roots = Roots::new(Path::new("/var/mail"), Path::new("/spool"));
        let alice = account("alice", 40_001, None);
        let place = |path: &str| roots.place(&alice, Path::new(path)).map(|(dir, way)| dir.join(way)).ok();
        for path in ["/var/mail/alice", "/spool/folders/alice/Sent.mbox", "/spool/folders/alice/a/b/c.mbox"] {
            assert_eq!(place(path), Some(path.into()));
        }
        let wrong = ["/var/mail/bob", "/var/mail", "/var/mail/alice/x", "/spool/folders", "/spool/folders/alice", "/etc/shadow"];
        let crooked = ["/spool/folders/bob/x.mbox", "/spool/folders/alice/../bob/x", "/spool/folders/alicex/y", "alice", ""];
        let more = ["/var/mail/../mail/bob", "/spool/folders/../journal/x", "/spool/state/alice/user", "/spool/folders/alice/.."];
        for path in wrong.into_iter().chain(crooked).chain(more) {
            assert_eq!(place(path), None, "{path}");
        }
    }

    #[test]
    fn locks_are_opened_where_they_belong() {
        let roots = Roots::new(Path::new("/var/mail"), Path::new("/spool"));
        let place = |path: &str| roots.place_of_dotlock(Path::new(path)).map(|(dir, way)| dir.join(way));
        for path in ["/var/mail/alice.lock", "/spool/folders/alice/Sent.mbox.lock", "/spool/folders/alice/a/.lock-x"] {
            assert_eq!(place(path), Some(path.into()));
        }
        for path in
            ["/var/mail/a/b.lock", "/var/mail", "/spool/folders/x.lock", "/spool/folders/../x/y.lock", "/spool/state/a.lock"]
        {
            assert_eq!(place(path), None, "{path}");
        }
        for (path, is_one) in [
            ("/tmp/.801.1a2f", true),
            ("/tmp/.801.", false),
            ("/tmp/.801.1.2", false),
            ("/tmp/801.12", false),
            ("/tmp/.x.12", false),
            ("/tmp/a/.801.12", false),
            ("/etc/.801.12", false),
            ("/tmp", false),
        ] {
            assert_eq!(is_session_lock(Path::new(path)), is_one, "{path}");
        }
        apart("host::asuser::tests::locks_are_opened_where_they_belong", 1, |_| {
            let (_dir, roots) = world();
            let own = Account { name: String::new(), uid: 40_007, gid: 40_007, home: None };
            let top = roots.folders.join("alice");
            fs::create_dir(&top).unwrap();
            set(&top, 0o2770, 40_001, MAIL);
            let (original, mailbox) = (top.join(".lock-here"), top.join("Sent.mbox"));
            fs::write(&mailbox, "secret").unwrap();
            set(&mailbox, 0o660, 40_001, MAIL);
            open_dotlock(&roots, &own, &original, Open::CreateNew(0o600)).unwrap();
            assert_eq!(facts(&original), (0o644, 40_007, MAIL));
        });
    }

    #[test]
    fn folders_are_made_and_opened_as_the_user() {
        apart("host::asuser::tests::folders_are_made_and_opened_as_the_user", 5, |case| {
            let (_dir, roots) = world();
            let alice = account("alice", 40_001, None);
            let [top, bob] = ["alice", "bob"].map(|name| roots.folders.join(name));
            for (dir, uid) in [(&bob, 40_002), (&top, 40_001)].into_iter().take(1 + case.min(1)) {
                fs::create_dir(dir).unwrap();
                set(dir, 0o2770, uid, MAIL);
            }
            match case {
                0 => {
                    make_folders(&roots, &alice, &top.join("a/b")).unwrap();
                    for dir in [&top, &top.join("a"), &top.join("a/b")] {
                        assert_eq!(facts(dir), (0o2770, 40_001, MAIL), "{}", dir.display());
                    }
                }
                1 => {
                    let path = top.join("c.mbox");
                    open_mailbox(&roots, &alice, &path, Open::Create(0o600)).unwrap();
                    assert_eq!(facts(&path), (0o660, 40_001, MAIL));
                }
                2 => assert!(make_folders(&roots, &alice, &bob.join("x")).is_err()),
                case => {
                    symlink(&bob, top.join("bob")).unwrap();
                    // Where the user could go, if it were not for the link.
                    set(&bob, 0o777, 40_002, MAIL);
                    let path = top.join("bob/x.mbox");
                    assert!(case == 3 || make_folders(&roots, &alice, &path).is_err());
                    assert!(case == 4 || open_mailbox(&roots, &alice, &path, Open::Create(0o600)).is_err());
                    assert_eq!(fs::read_dir(&bob).unwrap().count(), 0);
                }
            }
        });
    }

    #[test]
    fn a_forward_is_read_as_its_user() {
        apart("host::asuser::tests::a_forward_is_read_as_its_user", 4, |case| {
            let (dir, _roots) = world();
            let home = dir.path().join("home");
            fs::create_dir(&home).unwrap();
            let path = home.join(".forward");
            fs::write(&path, "elsewhere@example.org\n").unwrap();
            set(&path, 0o600, if case == 1 { 40_002 } else { 40_001 }, 40_001);
            if case == 2 {
                // To what the user can't read.
                fs::rename(&path, dir.path().join("secret")).unwrap();
                set(&dir.path().join("secret"), 0o600, 0, 0);
                symlink(dir.path().join("secret"), &path).unwrap();
            }
            set(&home, if case == 3 { 0o000 } else { 0o700 }, 40_001, 40_001);
            let read = read_at_home(&account("alice", 40_001, Some(&home)), line::FORWARD);
            let expected = if case == 0 { Ok(Some(22)) } else { Err(ErrorKind::PermissionDenied) };
            assert_eq!(read.map(|text| text.map(|text| text.len())).map_err(|error| error.kind()), expected, "{case}");
        });
    }
}
