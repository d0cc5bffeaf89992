//! `pillarboxctl vacation …`: the reply of who is away.

use super::{Failure, call, say};
use crate::config::Config;
use crate::host::login_name;
use crate::mail::vacation::{MOST_BYTES, Vacation};
use crate::sys::exit;
use getopts::Options;
use nix::unistd::geteuid;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

/// Whose, if it is not said.
pub fn user<'a>(words: &[&'a str], own: &'a str) -> Result<&'a str, Failure> {
    match words {
        [] => Ok(own),
        [user] => Ok(user),
        _ => Err(Failure::new(exit::USAGE, "at most one user can be named; pillarboxctl -h tells the commands")),
    }
}

/// The name of who calls.
pub fn own_name() -> String {
    login_name(geteuid().as_raw())
}

/// What is set, as it could stand in a file, and whether it counts.
pub fn show(answer: &Value) -> Result<(), Failure> {
    let Some(text) = answer["text"].as_str() else { return say("off\n") };
    let whence = if answer["file"] == true { ", by ~/.vacation" } else { "" };
    match answer["wrong"].as_str() {
        Some(wrong) => say(&format!("wrong{whence}: {wrong}\n\n{text}")),
        None => say(&format!("{}{whence}\n\n{text}", if answer["on"] == true { "on" } else { "not today" })),
    }
}

/// The fields are options, the text comes from standard input.
pub fn set(config: &Config, words: &[&str]) -> Result<(), Failure> {
    let fields = ["since", "until", "days", "subject", "from", "addresses"];
    let mut options = Options::new();
    for field in fields {
        options.optopt("", field, "", "");
    }
    let matches = options.parse(words).map_err(|error| Failure::new(exit::USAGE, error))?;
    let free: Vec<&str> = matches.free.iter().map(String::as_str).collect();
    let own = own_name();
    let user = user(&free, &own)?;
    let mut wishes = String::new();
    for field in fields {
        if let Some(value) = matches.opt_str(field) {
            let _ = writeln!(wishes, "{field}: {}", value.replace('\n', " "));
        }
    }
    let header = wishes.lines().count();
    wishes.push('\n');
    io::stdin().take(2 * MOST_BYTES as u64).read_to_string(&mut wishes)?;
    // A mistake is one of an option here: a text has none but that it is missing, or too long.
    Vacation::parse(&wishes).map_err(|wrong| {
        match fields.iter().filter(|field| matches.opt_present(field)).nth(wrong.line - 1) {
            Some(field) if wrong.line <= header && !wrong.what.contains("text") => {
                Failure::new(exit::USAGE, format!("--{field}: {}", wrong.what))
            }
            _ => Failure::new(exit::DATAERR, wrong.what),
        }
    })?;
    let mut connection = call::begin(&config.control, &format!("vacation set {user} {}", wishes.len()))?;
    connection.get_mut().write_all(wishes.as_bytes())?;
    let mut answer = Vec::new();
    connection.read_until(b'\n', &mut answer)?;
    call::result(&answer).map(drop)
}
