//! Asks the daemon something through its control socket. The protocol is told in `ctld`.

use super::Failure;
use crate::sys::exit;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// For each read and write; to take over a big journal takes longest.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The result of a request, or why there is none.
pub fn ask(control: &Path, request: &str) -> Result<Value, Failure> {
    if request.contains(char::is_control) {
        return Err(Failure::new(exit::USAGE, "control characters can't be asked for"));
    }
    let answer = converse(control, request)?;
    let mut answer: Value = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(exit::SOFTWARE, format!("the daemon's answer makes no sense: {error}")))?;
    if answer["ok"] == true {
        return Ok(answer["result"].take());
    }
    let code = answer["code"].as_u64().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Err(Failure::new(code.unwrap_or(exit::TEMPFAIL), answer["error"].as_str().unwrap_or("the daemon refuses")))
}

fn converse(control: &Path, request: &str) -> Result<Vec<u8>, Failure> {
    let mut socket = UnixStream::connect(control).map_err(|error| unreachable_daemon(control, &error))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(format!("{request}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(answer)
}

/// What to tell when nobody answers at a socket.
pub fn unreachable_daemon(path: &Path, error: &io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::PermissionDenied { exit::NOPERM } else { exit::TEMPFAIL };
    Failure::new(code, format!("the daemon can't be reached at {}: {error}; is pillarbox running?", path.display()))
}
