//! `pillarboxctl junk …`: what a user takes for junk.

use super::transfer::each_message;
use super::{Failure, call, say, show};
use crate::config::Config;
use crate::junk::{Kind, MOST_READ};
use crate::sys::exit;
use serde_json::Value;
use std::io::{BufRead, Write};
use std::path::Path;

/// How much was learned.
pub fn show(answer: &Value) -> Result<(), Failure> {
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    let learned = format!("{} learned as junk, {} as good, with {} words", number("junk"), number("good"), number("words"));
    let enough = if answer["enough"] == true {
        "mail is judged by that".to_owned()
    } else {
        format!("mail is judged from {} of each on", number("least"))
    };
    say(&format!("{learned}; {enough}\n"))
}

/// Learns what is in files, or else in the folder that goes with the kind.
pub fn learn(config: &Config, user: &str, kind: &str, files: &[&str]) -> Result<(), Failure> {
    let kind = match kind {
        "--junk" => Kind::Junk,
        "--good" => Kind::Good,
        other => return Err(Failure::new(exit::USAGE, format!("--junk or --good is expected, not {other}"))),
    };
    let answer = match files {
        [] => call::ask(&config.control, &format!("junk learn {user} {}", kind.name()))?,
        files => teach(config, user, kind, files)?,
    };
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    let changed = match number("changed") {
        0 => String::new(),
        changed => format!(", {changed} learned otherwise than before"),
    };
    say(&format!("{} learned{changed}, {} known already\n", show::counted(number("new"), "message"), number("known")))
}

fn teach(config: &Config, user: &str, kind: Kind, files: &[&str]) -> Result<Value, Failure> {
    let mut connection = call::begin(&config.control, &format!("junk teach {user} {}", kind.name()))?;
    for file in files {
        each_message(Path::new(file), &mut |message| {
            let beginning = message.get(..MOST_READ).unwrap_or(message);
            if !beginning.is_empty() {
                connection.get_mut().write_all(format!("{}\r\n", beginning.len()).as_bytes())?;
                connection.get_mut().write_all(beginning)?;
            }
            Ok(())
        })?;
    }
    connection.get_mut().write_all(b"0\r\n")?;
    let mut answer = Vec::new();
    connection.read_until(b'\n', &mut answer)?;
    call::result(&answer)
}
