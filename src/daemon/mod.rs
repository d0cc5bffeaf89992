//! The daemon: accepts connections, hands them to the rooms of their protocols, starts and stops everything.
//!
//! `supervise` tells the story from start to stop. `options`: the command line. `background`: leaving the terminal, and the
//! file with the process number. `identity`: whom the daemon runs as. `monitor`: the process that stays root. `listeners`, `limits` and `accept`: the loop that lets
//! connections in. `workers`: the threads that run them. `services`: what a thread does with a connection. `desk`: what operators may ask. `logger`: the log.

mod accept;
mod background;
mod cage;
mod desk;
mod identity;
mod limits;
mod lines;
mod listeners;
mod logger;
mod monitor;
mod options;
mod services;
mod supervise;
mod workers;

use crate::config;
use crate::sys::exit;
use options::Options;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why the daemon does not start, or ends with a failure.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Of `sys::exit`.
    code: u8,
    /// For the operator.
    what: String,
}

impl Failure {
    fn new(code: u8, what: impl fmt::Display) -> Failure {
        Failure { code, what: what.to_string() }
    }
}

/// The daemon's entry.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let result = start(&words);
    log::logger().flush();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let _ = writeln!(io::stderr(), "pillarbox: {}", failure.what);
            ExitCode::from(failure.code)
        }
    }
}

fn start(words: &[String]) -> Result<u8, Failure> {
    let mut options =
        Options::parse(words).map_err(|what| Failure::new(exit::USAGE, format!("{what}\n{}", options::usage().trim_end())))?;
    if options.help || options.version {
        let text = if options.help { options::usage() } else { format!("pillarbox {}\n", env!("CARGO_PKG_VERSION")) };
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(exit::OK);
    }
    let config = config::load(options.file.as_deref(), &options.settings)
        .map_err(|report| Failure::new(exit::CONFIG, format!("the configuration can't be used\n{report}")))?;
    if options.check {
        supervise::check(&config)?;
        let _ = writeln!(io::stdout(), "configuration ok");
        return Ok(exit::OK);
    }
    // It is read again after leaving the directory that this is relative to.
    options.file = options.file.map(|file| std::path::absolute(&file).unwrap_or(file));
    background::launch(&options, |ready| supervise::run(&options, config, ready))
}
