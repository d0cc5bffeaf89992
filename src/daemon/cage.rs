//! What the daemon needs of the file system when it has a monitor that does the rest: the two directories of its trade, those of
//! its sockets, and to read what the configuration names.

use crate::config::Config;
use crate::mail::alias::{self, Table};
use crate::sys::sandbox::{self, Allowed};
use std::path::{Path, PathBuf};

/// Enters the sandbox. Before the first thread starts, and when all is open that needs more rights.
pub fn enter(config: &Config) {
    let cage = sandbox::enter(&allowed(config));
    log::debug!("event=sandbox files={} calls={}", cage.files, cage.calls);
}

/// Where files are named only, and opened by the monitor: beside mailboxes of the system's users.
pub fn closed(config: &Config) -> Option<&Path> {
    config.has_system_users().then_some(config.mail.as_path())
}

/// With the directories of files that are named, not the files: what takes their place must be readable, too.
fn allowed(config: &Config) -> Allowed {
    // The last is what the launcher's terminal is given up for.
    let write = [config.spool.as_path(), Path::new("/dev/null")].into_iter();
    let names = closed(config);
    let own = names.is_none().then_some(&config.mail);
    let files = config.relays.iter().flat_map(|relay| [&relay.ca, &relay.login]).chain([&config.outbound.ca]).flatten();
    Allowed {
        read: files.map(|path| dir_of(path)).chain(of_aliases(config)).collect(),
        write: write.map(Path::to_owned).chain(own.cloned()).chain(config.sockets().map(dir_of)).collect(),
        names: names.map(Path::to_owned).into_iter().collect(),
    }
}

/// Where the alias files are, and what they include now.
fn of_aliases(config: &Config) -> Vec<PathBuf> {
    let files = [(&config.aliases, alias::parse as fn(&str) -> Table), (&config.virtual_addresses, alias::parse_virtual)];
    let mut dirs = Vec::new();
    for (path, parse) in files {
        let Some(path) = path else { continue };
        dirs.push(dir_of(path));
        let text = std::fs::read(path).unwrap_or_default();
        dirs.extend(parse(&String::from_utf8_lossy(&text)).includes().map(|(_, path)| dir_of(Path::new(path))));
    }
    dirs
}

fn dir_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::sys::apart::apart;
    use crate::sys::{Disk, Open, RealDisk};
    use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::process::Command;

    const OWN: u32 = 40_007;
    const MAIL: u32 = 40_008;

    /// As the process that talks to the network: its account, the group `mail`, and in its cage.
    #[test]
    fn others_mailboxes_are_out_of_reach() {
        apart("daemon::cage::tests::others_mailboxes_are_out_of_reach", 2, |case| {
            let top = tempfile::tempdir_in("/var/tmp").unwrap();
            let users = ["users = [\"system\"]", "users = [\"users\"]"][case];
            let paths =
                "spool = \"spool\"\nmail = \"mail\"\ncontrol = \"spool/ctl\"\npid_file = \"\"\naliases = \"names/aliases\"";
            let text = format!("{paths}\n{users}\n");
            let config = load::from_text("test", &text, top.path(), &[]).unwrap();
            let set = |path: &Path, mode, uid, gid| {
                chown(path, Some(uid), Some(gid)).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            };
            set(top.path(), 0o755, 0, 0);
            fs::create_dir(&config.spool).unwrap();
            fs::create_dir(&config.mail).unwrap();
            set(&config.spool, 0o711, OWN, OWN);
            set(&config.mail, 0o2775, 0, MAIL);
            let (names, lists) = (top.path().join("names"), top.path().join("lists"));
            [&names, &lists].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
            fs::write(lists.join("members"), "bob\n").unwrap();
            fs::write(names.join("aliases"), format!("all: :include:{}\n", lists.join("members").display())).unwrap();
            let alice = config.mail.join("alice");
            fs::write(&alice, "secret").unwrap();
            set(&alice, 0o660, 40_001, MAIL);
            let original = config.mail.join(".lock-here");
            fs::write(&original, "1").unwrap();
            set(&original, 0o644, OWN, MAIL);
            setgroups(&[Gid::from_raw(MAIL)]).unwrap();
            setgid(Gid::from_raw(OWN)).unwrap();
            setuid(Uid::from_raw(OWN)).unwrap();
            assert!(RealDisk.open(&alice, Open::Write).is_ok(), "its rights alone let it");

            let cage = sandbox::enter(&allowed(&config));
            assert!(cage.calls);
            if !cage.files {
                return eprintln!("skipped, for this kernel has no Landlock");
            }
            let is_denied = |what: std::io::Result<()>| what.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
            for how in [Open::Read, Open::Write, Open::Create(0o600)] {
                // Where there are virtual users only, all that lies there is the daemon's.
                assert_eq!(is_denied(RealDisk.open(&alice, how).map(drop)), case == 0, "{how:?}");
            }
            assert_eq!(is_denied(fs::write(config.mail.join("bob"), "made up")), case == 0);
            let stolen = config.spool.join("stolen");
            assert!(case == 1 || (fs::hard_link(&alice, &stolen).is_err() && fs::rename(&alice, &stolen).is_err()));
            assert!(is_denied(File::open("/etc/shadow").map(drop)));
            assert!(is_denied(Command::new("/bin/true").status().map(drop)));
            // What it is there for.
            assert!(File::open(names.join("aliases")).is_ok() && File::open(lists.join("members")).is_ok());
            let dotlock = config.mail.join("alice.lock");
            RealDisk.link(&original, &dotlock).unwrap();
            RealDisk.remove(&dotlock).unwrap();
            RealDisk.sync_dir(&config.mail).unwrap();
            fs::write(config.spool.join("own"), "own").unwrap();
        });
    }
}
