//! The daemon: accepts connections, hands them to the rooms of their protocols, starts and stops everything.
use std::process::ExitCode;

/// The daemon's entry.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
