//! Whom the daemon runs as, and the directories it owns.

use super::Failure;
use crate::config::Config;
use crate::sys::exit;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist, setgid, setgroups, setuid};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::Path;

/// The group of `pillarbox-drop`, which is set-gid.
const DROP_GROUP: &str = "pillarbox-drop";

/// The directories of the spool whose files are the daemon's own. (In `folders` they are the users'.)
pub const ROOMS: &[&str] =
    &["dmarc", "drop", "forward", "greylist", "index", "journal", "junk", "lists", "mta-sts", "state", "tls", "tmp", "vacation"];

/// An account to change to.
#[derive(Clone, Debug)]
pub struct Identity {
    name: CString,
    uid: Uid,
    gid: Gid,
}

impl Identity {
    /// The account of `user`; None if it is that of the caller, or the caller's is to be kept.
    pub fn wanted(config: &Config) -> Result<Option<Identity>, Failure> {
        if config.user.is_empty() {
            return Ok(None);
        }
        let hint = "or set user = \"\" to run as the one who starts it";
        let user = match User::from_name(&config.user) {
            Ok(Some(user)) => user,
            Ok(None) => {
                let what = format!("there is no account `{}` to run as; create it, {hint}", config.user);
                return Err(Failure::new(exit::CONFIG, what));
            }
            Err(error) => return Err(Failure::new(exit::OSERR, format!("account `{}`: {error}", config.user))),
        };
        if user.uid == geteuid() {
            return Ok(None);
        }
        if !geteuid().is_root() {
            let what = format!("only root can start a daemon that runs as `{}`; start it as root, {hint}", config.user);
            return Err(Failure::new(exit::NOPERM, what));
        }
        let name = CString::new(user.name).map_err(|_| Failure::new(exit::CONFIG, "an account's name can't hold a NUL"))?;
        Ok(Some(Identity { name, uid: user.uid, gid: user.gid }))
    }

    /// From here on the process is that account, for good: with its groups, and `mail` for dotlocks in the mail directory.
    pub fn become_it(&self) -> nix::Result<()> {
        let mut groups = getgrouplist(&self.name, self.gid)?;
        if let Some(mail) = Group::from_name("mail")? {
            if !groups.contains(&mail.gid) {
                groups.push(mail.gid);
            }
        }
        setgroups(&groups)?;
        setgid(self.gid)?;
        setuid(self.uid)
    }
}

/// Makes the directories that are not there, owned by the account; those that are there are left as they are, and must be safe.
pub fn prepare_directories(config: &Config, identity: Option<&Identity>) -> Result<(), Failure> {
    let owner = identity.map_or(geteuid(), |identity| identity.uid);
    make(&config.spool, 0o711, identity)?;
    let spool = fs::metadata(&config.spool).map_err(|error| named(&config.spool, &error))?;
    if spool.uid() != owner.as_raw() && !owner.is_root() {
        let what = format!("{} belongs to uid {}, not to uid {owner}, who runs the daemon", config.spool.display(), spool.uid());
        return Err(Failure::new(exit::CONFIG, what));
    }
    if spool.mode() & 0o002 != 0 {
        let what = format!("{} can be written by everybody; say chmod o-w {0}", config.spool.display());
        return Err(Failure::new(exit::CONFIG, what));
    }
    ROOMS.iter().try_for_each(|room| make(&config.spool.join(room), 0o700, identity))?;
    config.lists.iter().try_for_each(|lists| make(lists, 0o750, identity))?;
    prepare_drop(&config.spool.join("drop"), owner)?;
    make(&config.mail, 0o775, identity)?;
    if config.has_system_users() {
        prepare_for_users(&config.mail, &config.spool.join("folders"), identity)?;
    }
    // Who can replace the file with the process number has root send its signals to any process.
    for path in config.sockets().chain(config.pid_file.as_deref()) {
        make(dir_of(path), 0o755, None)?;
    }
    if let (Some(identity), Some(path)) = (identity, &config.pid_file) {
        let dir = dir_of(path);
        if fs::metadata(dir).is_ok_and(|meta| meta.uid() == identity.uid.as_raw()) {
            let what = "its directory belongs to the account of the daemon, which can put any number there";
            log::warn!("event=pid-file-exposed path={} reason=\"{what}; say chown root {}\"", path.display(), dir.display());
        }
    }
    Ok(())
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Where mail is left while no daemon runs. By its group `pillarbox-drop` lets everybody put files there, and count them;
/// without that group, and without root who could give it, only the daemon's own account can.
fn prepare_drop(path: &Path, owner: Uid) -> Result<(), Failure> {
    let group = Group::from_name(DROP_GROUP).ok().flatten().filter(|_| geteuid().is_root());
    let Some(group) = group else { return Ok(()) };
    // The account could have put something else there, to be given rights by us.
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let dir = fs::File::options().read(true).custom_flags(flags).open(path).map_err(|error| named(path, &error))?;
    if dir.metadata().is_ok_and(|stat| stat.uid() == owner.as_raw()) {
        let given = fchown(&dir, None, Some(group.gid.as_raw()));
        given.and_then(|()| dir.set_permissions(fs::Permissions::from_mode(0o1770))).map_err(|error| named(path, &error))?;
    }
    Ok(())
}

/// The first users file, empty, if it is not there: a fresh daemon starts without any user. It is the caller's: what is in it is no
/// business of a daemon that has given up its rights.
pub fn prepare_users(config: &Config) {
    let Some(path) = config.users_files().next() else { return };
    // A file that is there is fine; one that can't be made is told of when it is read.
    if fs::File::options().write(true).create_new(true).mode(0o600).open(path).is_ok() {
        log::warn!("users-file-made path={} (empty: add users with pillarboxctl user add)", path.display());
    }
}

/// Where users' own files are made, as those users ([`crate::host::asuser`]): their directories let the group `mail` do that. The
/// mail directory is left as it is, unless it is one that we once made for ourselves alone.
fn prepare_for_users(mail: &Path, folders: &Path, identity: Option<&Identity>) -> Result<(), Failure> {
    let group = Group::from_name("mail").map_err(|error| named(Path::new("group mail"), &error.into()))?;
    let group =
        group.ok_or_else(|| Failure::new(exit::CONFIG, "there is no group `mail`, which the mailboxes of system users need"))?;
    make(folders, 0o711, identity)?;
    let ours = identity.map(|identity| identity.gid.as_raw());
    for (path, mode) in [(mail, 0o2775), (folders, 0o1771)] {
        let meta = fs::metadata(path).map_err(|error| named(path, &error))?;
        if Some(meta.gid()) == ours {
            chown(path, None, Some(group.gid.as_raw())).map_err(|error| named(path, &error))?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| named(path, &error))?;
        }
    }
    // Who makes a folder there, as a user, can't sync what is above.
    let above = folders.parent().unwrap_or(folders);
    fs::File::open(above).and_then(|above| above.sync_all()).map_err(|error| named(above, &error))
}

fn make(path: &Path, mode: u32, identity: Option<&Identity>) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(|error| named(above, &error))?;
    }
    fs::create_dir(path).map_err(|error| named(path, &error))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| named(path, &error))?;
    own(path, identity)
}

fn own(path: &Path, identity: Option<&Identity>) -> Result<(), Failure> {
    match identity {
        Some(to) => chown(path, Some(to.uid.as_raw()), Some(to.gid.as_raw())).map_err(|error| named(path, &error)),
        None => Ok(()),
    }
}

fn named(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(exit::CANTCREAT, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_that_everybody_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let text = "user = \"\"\nspool = \"spool\"\nmail = \"mail\"\npid_file = \"pid\"\nusers = [\"users\"]\n";
        let config = crate::config::load::from_text("test", text, dir.path(), &[]).unwrap();
        prepare_directories(&config, None).unwrap();
        assert_eq!(fs::metadata(&config.spool).unwrap().mode() & 0o7777, 0o711);
        assert!(ROOMS.iter().all(|room| fs::metadata(config.spool.join(room)).unwrap().mode() & 0o777 == 0o700));
        fs::set_permissions(&config.spool, fs::Permissions::from_mode(0o1777)).unwrap();
        let failure = prepare_directories(&config, None).unwrap_err().what;
        assert!(failure.contains("can be written by everybody; say chmod o-w"), "{failure}");
    }
}
