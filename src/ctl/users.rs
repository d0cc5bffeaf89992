//! `pillarboxctl user …`: works on the first users file of the configuration. A running daemon sees the change at once.

use super::Failure;
use crate::config::{Config, UserDatabase};
use crate::host::users::{self, Secrets, UsersError};
use crate::sys::exit;
use crate::sys::unix::crypt::accounts;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{User, geteuid};
use serde_json::Value;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::chown;
use std::path::Path;

/// Bytes of a password.
const LONGEST: usize = 1024;

/// Adds a user; the password comes from standard input.
pub fn add(config: &Config, name: &str) -> Result<(), Failure> {
    let path = first_file(config)?;
    if !users::is_name(&name.to_ascii_lowercase()) {
        return Err(Failure::new(exit::USAGE, UsersError::Name(name.to_owned())));
    }
    let password = ask_password(name)?;
    let secrets = Secrets::of(&password)?;
    let is_new = !path.exists();
    edit(path, |text| users::add(text, name, &secrets, ""))?;
    if is_new { give_to_daemon(config, path) } else { Ok(()) }
}

/// Changes a password.
pub fn passwd(config: &Config, name: &str) -> Result<(), Failure> {
    let path = first_file(config)?;
    let password = ask_password(name)?;
    let secrets = Secrets::of(&password)?;
    edit(path, |text| users::set_password(text, name, &secrets))
}

/// Removes a user. The mailbox stays.
pub fn remove(config: &Config, name: &str) -> Result<(), Failure> {
    edit(first_file(config)?, |text| users::remove(text, name))
}

/// The names of all users of files, and of the system's who may log in if they have a password; each once.
pub fn list(config: &Config) -> Result<Value, Failure> {
    let mut names: Vec<String> = Vec::new();
    for database in &config.users {
        let found = match database {
            UserDatabase::System => names_of_system(config.min_uid),
            UserDatabase::File(path) => names_in(path)?,
        };
        for name in found {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names.into())
}

fn names_of_system(min_uid: u32) -> Vec<String> {
    let may_log_in = |(name, uid): &(String, u32)| *uid >= min_uid.max(1) && users::is_name(name);
    accounts().into_iter().filter(may_log_in).map(|(name, _)| name).collect()
}

fn names_in(path: &Path) -> Result<Vec<String>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(path, &error)),
    };
    let parsed = users::parse(&text).map_err(|error| Failure::new(exit::CONFIG, format!("{}: {error}", path.display())))?;
    Ok(parsed.users.into_iter().map(|user| user.name).collect())
}

fn first_file(config: &Config) -> Result<&Path, Failure> {
    let none = "the configuration names no users file; the system's own users are added by adduser(8), and changed by passwd(1)";
    config.users_files().next().ok_or_else(|| Failure::new(exit::CONFIG, none))
}

fn edit(path: &Path, change: impl FnOnce(&str) -> Result<String, UsersError>) -> Result<(), Failure> {
    users::edit(path, change).map_err(|error| match error.kind() {
        // The file, or the user that is there or is not: the message says all.
        io::ErrorKind::InvalidData => Failure::new(exit::DATAERR, error),
        _ => named(path, &error),
    })
}

fn named(path: &Path, error: &io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::PermissionDenied { exit::NOPERM } else { exit::CANTCREAT };
    Failure::new(code, format!("{}: {error}", path.display()))
}

/// A file that root makes must be readable for the account the daemon runs as.
fn give_to_daemon(config: &Config, path: &Path) -> Result<(), Failure> {
    if !geteuid().is_root() || config.user.is_empty() {
        return Ok(());
    }
    match User::from_name(&config.user) {
        Ok(Some(user)) => chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(|error| named(path, &error)),
        _ => Ok(()),
    }
}

/// From a terminal twice and without echo; else the first line.
fn ask_password(name: &str) -> Result<Vec<u8>, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return check(read_line(&mut stdin.lock())?);
    }
    let first = without_echo(&format!("Password for {name}: "))?;
    let second = without_echo("Once more: ")?;
    if first != second { Err(Failure::new(exit::DATAERR, "the two passwords differ")) } else { check(first) }
}

fn check(password: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match password.len() {
        0 => Err(Failure::new(exit::DATAERR, "a password can't be empty")),
        1..=LONGEST if !password.contains(&0) => Ok(password),
        1..=LONGEST => Err(Failure::new(exit::DATAERR, "a password can't hold a NUL")),
        _ => Err(Failure::new(exit::DATAERR, format!("a password has {LONGEST} bytes at most"))),
    }
}

/// A password of somebody else's, once: from a terminal without echo, else the first line.
pub fn ask_secret(prompt: &str) -> Result<Vec<u8>, Failure> {
    let stdin = io::stdin();
    check(if stdin.is_terminal() { without_echo(prompt)? } else { read_line(&mut stdin.lock())? })
}

fn read_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(LONGEST as u64 + 3).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

fn without_echo(prompt: &str) -> Result<Vec<u8>, Failure> {
    let stdin = io::stdin();
    write!(io::stderr(), "{prompt}")?;
    let before = tcgetattr(&stdin).map_err(io::Error::from)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent).map_err(io::Error::from)?;
    let line = read_line(&mut stdin.lock());
    let restored = tcsetattr(&stdin, SetArg::TCSAFLUSH, &before).map_err(io::Error::from);
    writeln!(io::stderr())?;
    restored?;
    Ok(line?)
}
