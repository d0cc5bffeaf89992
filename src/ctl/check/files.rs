//! Who may read and write what, and how much room there is.

use super::super::show::size;
use super::Findings;
use crate::config::Config;
use nix::sys::statvfs::statvfs;
use nix::unistd::{Group, User};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Names told of one kind of fault; of more there is only the number.
const NAMED: usize = 3;

pub fn look(config: &Config, file: &Path, findings: &mut Findings) {
    let daemon = account(config, findings);
    if let Some(found) = metadata("config", file, "", findings).filter(|found| found.mode() & 0o022 != 0) {
        let who = if found.mode() & 0o002 != 0 { "everybody" } else { "its group" };
        let what = format!("{} can be written by {who}", file.display());
        findings.wrong("config", what, format!("chmod go-w {}", file.display()));
    }
    spool(config, daemon.as_ref(), findings);
    mail(config, daemon.as_ref(), findings);
    for path in config.users_files() {
        let advice = "pillarboxctl user add makes it";
        let Some(found) = metadata("users", path, advice, findings) else { continue };
        let shown = path.display();
        match &daemon {
            _ if found.mode() & 0o077 != 0 => {
                findings.wrong("users", format!("{shown} can be read by others than its owner"), format!("chmod 600 {shown}"));
            }
            Some(user) if found.uid() != user.uid.as_raw() && !user.uid.is_root() => {
                let what = format!("{shown} does not belong to {}, who must read it", user.name);
                findings.wrong("users", what, format!("chown {}: {shown}", user.name));
            }
            _ => findings.fine("users", shown.to_string()),
        }
    }
    let secrets = config.relays.iter().filter_map(|relay| relay.login.as_ref());
    let keys = config.tls.iter().map(|(_, key)| key).chain(config.dkim.iter().map(|dkim| &dkim.key));
    for path in secrets.chain(keys) {
        let found = metadata("secrets", path, "make it, or take its name out of the configuration", findings);
        if found.is_some_and(|found| found.mode() & 0o007 != 0) {
            let what = format!("everybody can get at {}", path.display());
            findings.wrong("secrets", what, format!("chmod o= {}", path.display()));
        }
    }
    room(config, findings);
}

/// Who runs the daemon; None: that is not said.
fn account(config: &Config, findings: &mut Findings) -> Option<User> {
    let name = &config.user;
    match User::from_name(name) {
        _ if name.is_empty() => None,
        Ok(Some(user)) => Some(user),
        Ok(None) => {
            let advice = format!("useradd --system --shell /usr/sbin/nologin {name}, or set `user`");
            findings.wrong("account", format!("there is no account {name} for the daemon"), advice);
            None
        }
        Err(error) => {
            findings.unseen("account", format!("account {name}: {error}"), "ask again when accounts can be looked up");
            None
        }
    }
}

fn metadata(about: &'static str, path: &Path, advice: &str, findings: &mut Findings) -> Option<Metadata> {
    match fs::metadata(path) {
        Ok(found) => Some(found),
        // Without a file all keys have their defaults.
        Err(error) if about == "config" && error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            findings.cannot_read(about, path, &error, advice);
            None
        }
    }
}

fn spool(config: &Config, daemon: Option<&User>, findings: &mut Findings) {
    let shown = config.spool.display();
    let Some(found) = metadata("spool", &config.spool, "start the daemon, which makes it", findings) else { return };
    match daemon {
        _ if !found.is_dir() => findings.wrong("spool", format!("{shown} is no directory"), "set `spool`"),
        _ if found.mode() & 0o002 != 0 => {
            findings.wrong("spool", format!("{shown} can be written by everybody"), format!("chmod o-w {shown}"));
        }
        Some(user) if found.uid() != user.uid.as_raw() && !user.uid.is_root() => {
            findings.wrong(
                "spool",
                format!("{shown} does not belong to {}", user.name),
                format!("chown -R {}: {shown}", user.name),
            );
        }
        _ => findings.fine("spool", shown.to_string()),
    }
}

/// Mailboxes and their dotlocks are made in it, by the daemon and by users' programs.
fn mail(config: &Config, daemon: Option<&User>, findings: &mut Findings) {
    let shown = config.mail.display();
    let Some(found) = metadata("mail", &config.mail, "start the daemon, which makes it", findings) else { return };
    let mode = found.mode();
    if !found.is_dir() {
        return findings.wrong("mail", format!("{shown} is no directory"), "set `mail`");
    }
    if mode & 0o1002 == 0o002 {
        let what = format!("everybody can remove others' mailboxes in {shown}");
        return findings.wrong("mail", what, format!("chmod o-w {shown}"));
    }
    let of_mail = Group::from_name("mail").ok().flatten().is_some_and(|group| group.gid.as_raw() == found.gid());
    let may_write = |user: &User| {
        let of_group = of_mail || found.gid() == user.gid.as_raw();
        user.uid.is_root() || found.uid() == user.uid.as_raw() || of_group && mode & 0o020 != 0 || mode & 0o002 != 0
    };
    if let Some(user) = daemon.filter(|user| !may_write(user)) {
        let what = format!("{} can't make mailboxes and locks in {shown}", user.name);
        return findings.wrong("mail", what, format!("chgrp mail {shown} && chmod 2775 {shown}"));
    }
    match fs::read_dir(&config.mail) {
        Ok(entries) => {
            findings.fine("mail", shown.to_string());
            mailboxes(entries, findings);
        }
        Err(error) => findings.cannot_read("mail", &config.mail, &error, "set `mail`"),
    }
}

fn mailboxes(entries: fs::ReadDir, findings: &mut Findings) {
    let (mut open, mut odd) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() || found.nlink() > 1 => odd.push(path.display().to_string()),
            Ok(found) if found.mode() & 0o006 != 0 => open.push(path.display().to_string()),
            // Gone again, or not to be seen.
            Ok(_) | Err(_) => {}
        }
    }
    if !open.is_empty() {
        findings.wrong("mail", format!("everybody can get at {}", some_of(&open)), "chmod o= each of them");
    }
    if !odd.is_empty() {
        findings.wrong("mail", format!("no plain files, and so never used: {}", some_of(&odd)), "see who put them there");
    }
}

pub fn some_of(names: &[String]) -> String {
    let named = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Below `limits.min_free` no mail is accepted.
fn room(config: &Config, findings: &mut Findings) {
    for path in [&config.spool, &config.mail] {
        let shown = path.display();
        let found = match statvfs(path.as_path()) {
            Ok(found) => found,
            // That it is not there is told already.
            Err(nix::Error::ENOENT) => continue,
            Err(error) => {
                findings.cannot_read("disk", path, &error.into(), "see whether its file system is mounted");
                continue;
            }
        };
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        let (files, free_files) = (found.files(), found.files_available());
        let what = format!("{} free for {shown}", size(free));
        let advice = "make room: mail is refused while there is less than limits.min_free";
        match free {
            _ if files > 0 && free_files < 100 => findings.wrong("disk", format!("no more files fit in {shown}"), advice),
            free if free < config.limits.min_free => findings.wrong("disk", what, advice),
            free if free / 4 < config.limits.min_free => findings.hint("disk", what, advice),
            _ => findings.fine("disk", what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn found(config: &Config, file: &Path) -> Vec<(&'static str, String)> {
        let mut findings = Findings::default();
        look(config, file, &mut findings);
        let wrong = findings.0.into_iter().filter(|finding| finding.state == State::Wrong);
        wrong.map(|finding| (finding.about, finding.what)).collect()
    }

    #[test]
    fn what_others_can_get_at() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        let text = "user = \"\"\nspool = \"spool\"\nmail = \"mail\"\nusers = [\"users\"]\n";
        let mut config = crate::config::load::from_text("test", text, dir.path(), &[]).unwrap();
        for name in ["conf", "users"] {
            fs::write(at(name), text).unwrap();
            mode(name, 0o600);
        }
        for name in ["spool", "mail"] {
            fs::create_dir(at(name)).unwrap();
            mode(name, 0o755);
        }
        assert_eq!(found(&config, &at("conf")), []);
        mode("conf", 0o664);
        mode("users", 0o640);
        mode("spool", 0o777);
        fs::write(at("mail/alice"), "").unwrap();
        mode("mail/alice", 0o664);
        symlink("/etc/passwd", at("mail/bob")).unwrap();
        config.limits.min_free = u64::MAX;
        let wrong = found(&config, &at("conf"));
        let about: Vec<&str> = wrong.iter().map(|(about, _)| *about).collect();
        assert_eq!(about, ["config", "spool", "mail", "mail", "users", "disk", "disk"], "{wrong:?}");
        assert!(wrong[0].1.ends_with("can be written by its group") && wrong[2].1.ends_with("mail/alice"), "{wrong:?}");
        mode("mail", 0o777);
        fs::remove_dir(at("spool")).unwrap();
        fs::remove_file(at("users")).unwrap();
        let about: Vec<&str> = found(&config, &at("conf")).into_iter().map(|(about, _)| about).collect();
        assert_eq!(about, ["config", "spool", "mail", "users", "disk"]);
    }
}
