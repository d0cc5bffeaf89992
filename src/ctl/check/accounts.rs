//! Where users of the system have mail: can they log in, and can their mail be put down?

use super::Findings;
use super::files::some_of;
use crate::config::Config;
use crate::host::users::is_name;
use crate::sys::unix::crypt::{Crypt, accounts};
use nix::unistd::{Group, User};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where the system keeps passwords.
const SHADOW: &str = "/etc/shadow";
/// From here on uids are nobody's.
const NOBODY: u32 = 65_534;

pub fn look(config: &Config, findings: &mut Findings) {
    if !config.has_system_users() {
        return;
    }
    passwords(findings);
    directory(&config.mail, findings);
    let people = accounts().into_iter().filter(|(_, uid)| (config.min_uid..NOBODY).contains(uid));
    let people: Vec<User> = people.filter_map(|(name, _)| User::from_name(&name).ok().flatten()).collect();
    homes(&people, findings);
    names(&people, findings);
    owners(&people, &config.mail, findings);
}

/// The daemon's other process looks as root, but not in another system than this one.
fn passwords(findings: &mut Findings) {
    if let Err(error) = Crypt::load() {
        return findings.wrong("accounts", error.to_string(), "install the library of crypt(3): libcrypt1 in Debian");
    }
    match fs::File::open(SHADOW) {
        Ok(_) => findings.fine("accounts", "passwords of users of the system can be checked"),
        Err(error) => {
            let advice = "pwconv makes it; until then only passwords that stand in /etc/passwd log anybody in";
            findings.cannot_read("accounts", Path::new(SHADOW), &error, advice);
        }
    }
}

/// Users make their mailboxes there, by its group, and their programs locks.
fn directory(mail: &Path, findings: &mut Findings) {
    let shown = mail.display();
    let Ok(Some(group)) = Group::from_name("mail") else {
        let what = "there is no group mail, by which users of the system have mailboxes";
        return findings.wrong("accounts", what, "groupadd --system mail");
    };
    // What there is besides, `mail` tells.
    let Ok(found) = fs::metadata(mail) else { return };
    if found.gid() != group.gid.as_raw() && found.mode() & 0o1002 != 0o1002 {
        let what = format!("users of the system can't have mailboxes or locks in {shown}: it is not of the group mail");
        findings.wrong("accounts", what, format!("chgrp mail {shown} && chmod 2775 {shown}"));
    } else if found.mode() & 0o022 == 0 {
        let what = format!("users of the system can't have mailboxes or locks in {shown}: its group can't write there");
        findings.wrong("accounts", what, format!("chmod 2775 {shown}"));
    }
}

/// Whether a user has a `.forward`, a home tells.
fn homes(people: &[User], findings: &mut Findings) {
    let is_missing = |user: &&User| !fs::metadata(&user.dir).is_ok_and(|home| home.is_dir());
    let missing: Vec<String> = people.iter().filter(is_missing).map(|user| user.name.clone()).collect();
    if !missing.is_empty() {
        let what = format!("mail waits for who has no home: {}", some_of(&missing));
        findings.hint("accounts", what, "make the homes, or name others for them in the alias file");
    }
}

fn names(people: &[User], findings: &mut Findings) {
    let odd: Vec<String> = people.iter().filter(|user| !is_name(&user.name)).map(|user| user.name.clone()).collect();
    if !odd.is_empty() {
        let what = format!("no mail and no login for names with capitals or odd characters: {}", some_of(&odd));
        findings.hint("accounts", what, "usermod --login gives another name");
    }
}

/// A mailbox that is another's is not touched, and mail waits.
fn owners(people: &[User], mail: &Path, findings: &mut Findings) {
    let is_anothers = |user: &&User| {
        let found = fs::symlink_metadata(mail.join(&user.name));
        found.is_ok_and(|found| found.is_file() && found.uid() != user.uid.as_raw())
    };
    let wrong: Vec<String> = people.iter().filter(is_anothers).map(|user| user.name.clone()).collect();
    if !wrong.is_empty() {
        let what = format!("mail waits for those whose mailboxes belong to another account: {}", some_of(&wrong));
        findings.wrong("accounts", what, format!("chown each of them in {}", mail.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use nix::unistd::{Gid, Uid, chown};
    use std::ffi::CString;
    use std::os::unix::fs::PermissionsExt;

    fn user(name: &str, uid: u32, home: &Path) -> User {
        User {
            name: name.into(),
            passwd: CString::default(),
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(uid),
            gecos: CString::default(),
            dir: home.into(),
            shell: "/bin/sh".into(),
        }
    }

    fn told(look: impl FnOnce(&mut Findings)) -> Vec<String> {
        let mut findings = Findings::default();
        look(&mut findings);
        let told = findings.0.into_iter().filter(|finding| finding.state != State::Fine);
        told.map(|finding| format!("{}|{}", finding.what, finding.advice.unwrap_or_default())).collect()
    }

    #[test]
    fn who_gets_no_mail_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let own = fs::metadata(dir.path()).unwrap().uid();
        let people = [user("alice", own, dir.path()), user("bob", own, &dir.path().join("gone")), user("Carol", own, dir.path())];
        assert_eq!(
            told(|findings| homes(&people, findings)),
            ["mail waits for who has no home: bob|make the homes, or name others for them in the alias file"]
        );
        assert!(told(|findings| names(&people, findings))[0].starts_with("no mail and no login for names with capitals"));
        fs::write(dir.path().join("alice"), "").unwrap();
        assert!(told(|findings| owners(&people, dir.path(), findings)).is_empty());
        let other = [user("alice", own + 1, dir.path())];
        assert!(told(|findings| owners(&other, dir.path(), findings))[0].contains("belong to another account: alice"));
    }

    #[test]
    fn a_mail_directory_that_users_cannot_use_is_told() {
        let Some(group) = Group::from_name("mail").unwrap().filter(|_| nix::unistd::geteuid().is_root()) else {
            return eprintln!("skipped: it takes root, and a group mail");
        };
        let dir = tempfile::tempdir().unwrap();
        let look = |mode, gid| {
            chown(dir.path(), None, Some(gid)).unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            told(|findings| directory(dir.path(), findings)).join("")
        };
        let other = Gid::from_raw(40_009);
        assert_eq!([look(0o2775, group.gid), look(0o1777, other)], ["", ""]);
        assert!(look(0o2775, other).contains("not of the group mail|chgrp mail"));
        assert!(look(0o755, group.gid).contains("its group can't write there|chmod 2775"));
    }
}
