//! `pillarboxctl check`: is everything as it must be for mail to come and go?
//!
//! It looks for itself, so it works while the daemon is down, and for anybody; what the caller may not see it says. `files`:
//! who may read and write what, and the room on the disk. `accounts`: users of the system. `certificate`. `ports`: the daemon, and who else listens. `names`:
//! what DNS tells others about this host. `published`, for `pillarboxctl dns --check`: the same of its records. Each gives [`Findings`].

mod accounts;
mod certificate;
mod files;
mod names;
mod ports;
pub mod published;

use super::{Failure, print_json, say};
use crate::config::{self, Config};
use crate::sys::unix::clock_is_kept;
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// What was looked at, and how it is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    state: State,
    about: &'static str,
    what: String,
    /// What to do.
    advice: Option<String>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Fine,
    /// Worth a thought, but it works so.
    Hint,
    /// The caller may not look at it, or it can't be told from here.
    Unseen,
    Wrong,
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(State::Fine, about, what.into(), None);
    }

    fn hint(&mut self, about: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(State::Hint, about, what.into(), Some(advice.into()));
    }

    fn unseen(&mut self, about: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(State::Unseen, about, what.into(), Some(advice.into()));
    }

    fn wrong(&mut self, about: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(State::Wrong, about, what.into(), Some(advice.into()));
    }

    /// A file that can't be looked at: because the caller may not, or else `advice` helps.
    fn cannot_read(&mut self, about: &'static str, path: &Path, error: &io::Error, advice: &str) {
        let what = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied => self.unseen(about, what, "ask again as root"),
            _ => self.wrong(about, what, advice),
        }
    }

    fn add(&mut self, state: State, about: &'static str, what: String, advice: Option<String>) {
        self.0.push(Finding { state, about, what, advice });
    }

    fn is_wrong(&self) -> bool {
        self.0.iter().any(|finding| finding.state == State::Wrong)
    }

    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            return print_json(&self.0);
        }
        let mut out = String::new();
        for Finding { state, about, what, advice } in &self.0 {
            let state = match state {
                State::Fine => "fine",
                State::Hint => "hint",
                State::Unseen => "unseen",
                State::Wrong => "WRONG",
            };
            let _ = writeln!(out, "{state:<7} {about:<12} {}", what.trim_end().replace('\n', "\n        "));
            if let Some(advice) = advice {
                let _ = writeln!(out, "{:<20} -> {advice}", "");
            }
        }
        say(&out)
    }
}

/// Looks at everything; fails with 1 if something is wrong. `file`: the configuration.
pub fn run(file: Option<&Path>, json: bool) -> Result<(), Failure> {
    let mut findings = Findings::default();
    let path = file.unwrap_or(Path::new(config::DEFAULT_FILE));
    match config::load(file, &[]) {
        Ok(config) => {
            findings.fine("config", path.display().to_string());
            look(&config, path, &mut findings);
        }
        Err(report) => {
            findings.wrong("config", report.to_string(), "mend the file; until then the daemon can't start, nor reload");
        }
    }
    findings.print(json)?;
    if findings.is_wrong() { Err(Failure::new(1, "")) } else { Ok(()) }
}

fn look(config: &Config, file: &Path, findings: &mut Findings) {
    files::look(config, file, findings);
    accounts::look(config, findings);
    certificate::look(config, findings);
    ports::look(config, findings);
    clock(findings);
    names::look(config, findings);
}

fn clock(findings: &mut Findings) {
    match clock_is_kept() {
        Some(true) => findings.fine("clock", "something keeps it right"),
        Some(false) => findings.hint("clock", "nothing keeps it right, as far as the system knows", "run an NTP client"),
        None => findings.unseen("clock", "the system does not say whether it is kept right", "compare it with another one"),
    }
}
