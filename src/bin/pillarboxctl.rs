//! The operator's tool; also `sendmail` and `mailq`, by the name it is called. Everything is in the library; see its map.

use std::process::ExitCode;

fn main() -> ExitCode {
    pillarbox::ctl::main()
}
