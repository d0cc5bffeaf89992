//! What the daemon needs of the file system when it has a monitor that does the rest: what it keeps in the spool, names beside
//! mailboxes and sockets, and to read what the configuration names.

use super::identity::ROOMS;
use crate::config::Config;
use crate::host::asuser::Roots;
use crate::mail::alias::{self, Table};
use crate::sys::sandbox::{self, Allowed};
use std::path::{Path, PathBuf};

/// Enters the sandbox. Before the first thread starts, and when all is open that needs more rights.
pub fn enter(config: &Config) {
    let cage = sandbox::enter(&allowed(config));
    log::debug!("event=sandbox files={} calls={}", cage.files, cage.calls);
}

/// Where files are named only, and opened by the monitor: where mailboxes of the system's users are.
pub fn closed(config: &Config) -> Option<Roots> {
    config.has_system_users().then(|| Roots::new(&config.mail, &config.spool))
}

/// With the directories of files that are named, not the files: what takes their place must be readable, too. (Unless mailboxes
/// lie below.)
fn allowed(config: &Config) -> Allowed {
    let closed = closed(config);
    let files = config.relays.iter().flat_map(|relay| [&relay.ca, &relay.login]).chain([&config.outbound.ca]).flatten();
    let files = files.cloned().chain(alias_files(config));
    let is_above = |dir: &Path| closed.iter().any(|roots| roots.mail.starts_with(dir) || roots.folders.starts_with(dir));
    let read = files.map(|path| Some(dir_of(&path)).filter(|dir| !is_above(dir)).unwrap_or(path));
    // What the launcher's terminal is given up for.
    let null = PathBuf::from("/dev/null");
    let sockets = config.sockets().map(dir_of);
    match &closed {
        Some(roots) => Allowed {
            read: read.chain([config.spool.join("secret")]).collect(),
            write: ROOMS.iter().map(|room| config.spool.join(room)).chain([null]).chain(config.lists.clone()).collect(),
            names: sockets.chain([config.spool.clone(), roots.mail.clone()]).collect(),
            trees: vec![roots.folders.clone()],
        },
        None => Allowed {
            read: read.collect(),
            write: [config.spool.clone(), config.mail.clone(), null].into_iter().chain(config.lists.clone()).collect(),
            names: sockets.collect(),
            trees: Vec::new(),
        },
    }
}

/// The alias files, and what they include now.
fn alias_files(config: &Config) -> Vec<PathBuf> {
    let files = [(&config.aliases, alias::parse as fn(&str) -> Table), (&config.virtual_addresses, alias::parse_virtual)];
    let mut named = Vec::new();
    for (path, parse) in files {
        let Some(path) = path else { continue };
        named.push(path.clone());
        let text = std::fs::read(path).unwrap_or_default();
        named.extend(parse(&String::from_utf8_lossy(&text)).includes().map(|(_, path)| PathBuf::from(path)));
    }
    named
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
            let folders = config.spool.join("folders/alice");
            fs::create_dir_all(&folders).unwrap();
            fs::create_dir(&config.mail).unwrap();
            set(&config.spool, 0o711, OWN, OWN);
            for room in ROOMS.iter().map(|room| config.spool.join(room)) {
                fs::create_dir(&room).unwrap();
                set(&room, 0o700, OWN, OWN);
            }
            set(&config.mail, 0o2775, 0, MAIL);
            set(folders.parent().unwrap(), 0o1771, OWN, MAIL);
            set(&folders, 0o2770, 40_001, MAIL);
            let (names, lists) = (top.path().join("names"), top.path().join("lists"));
            [&names, &lists].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
            fs::write(lists.join("members"), "bob\n").unwrap();
            fs::write(names.join("aliases"), format!("all: :include:{}\n", lists.join("members").display())).unwrap();
            let secret = config.spool.join("secret");
            fs::write(&secret, "32 bytes").unwrap();
            set(&secret, 0o600, OWN, OWN);
            let mailboxes = [config.mail.join("alice"), folders.join("Sent.mbox")];
            for mailbox in &mailboxes {
                fs::write(mailbox, "secret").unwrap();
                set(mailbox, 0o660, 40_001, MAIL);
                let original = mailbox.with_file_name(".lock-here");
                fs::write(&original, "1").unwrap();
                set(&original, 0o644, OWN, MAIL);
            }
            setgroups(&[Gid::from_raw(MAIL)]).unwrap();
            setgid(Gid::from_raw(OWN)).unwrap();
            setuid(Uid::from_raw(OWN)).unwrap();
            let writes = |path: &PathBuf| RealDisk.open(path, Open::Write).is_ok();
            assert!(mailboxes.iter().all(writes), "its rights alone let it");

            let cage = sandbox::enter(&allowed(&config));
            assert!(cage.calls);
            if !cage.files {
                return eprintln!("skipped, for this kernel has no Landlock");
            }
            let is_denied = |what: std::io::Result<()>| what.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
            for mailbox in &mailboxes {
                for how in [Open::Read, Open::Write, Open::Create(0o600)] {
                    // Where there are virtual users only, all that lies there is the daemon's.
                    assert_eq!(is_denied(RealDisk.open(mailbox, how).map(drop)), case == 0, "{} {how:?}", mailbox.display());
                }
                assert_eq!(is_denied(fs::write(mailbox.with_file_name("bob"), "made up")), case == 0);
                for stolen in ["journal/stolen", "tmp/stolen", "stolen"].map(|name| config.spool.join(name)) {
                    let moved = fs::hard_link(mailbox, &stolen).is_ok() || fs::rename(mailbox, &stolen).is_ok();
                    assert!(case == 1 || !moved || is_denied(File::open(&stolen).map(drop)), "{}", stolen.display());
                    let _ = fs::rename(&stolen, mailbox);
                }
            }
            assert!(is_denied(File::open("/etc/shadow").map(drop)));
            assert!(is_denied(Command::new("/bin/true").status().map(drop)));
            // What it is there for.
            assert!(File::open(names.join("aliases")).is_ok() && File::open(lists.join("members")).is_ok());
            for mailbox in &mailboxes {
                let (dir, dotlock) = (mailbox.parent().unwrap(), mailbox.with_extension("lock"));
                RealDisk.link(&mailbox.with_file_name(".lock-here"), &dotlock).unwrap();
                RealDisk.remove(&dotlock).unwrap();
                RealDisk.sync_dir(dir).unwrap();
            }
            assert_eq!(fs::read(&secret).unwrap(), b"32 bytes");
            for room in ROOMS.iter().map(|room| config.spool.join(room)) {
                fs::create_dir(room.join("deep")).unwrap();
                fs::write(room.join("deep/own"), "own").unwrap();
                fs::rename(room.join("deep/own"), room.join("own")).unwrap();
            }
            RealDisk.sync_dir(&config.spool).unwrap();
        });
    }
}
