//! The daemon. Everything is in the library; see its map.

use std::process::ExitCode;

fn main() -> ExitCode {
    pillarbox::daemon::main()
}
