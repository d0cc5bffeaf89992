//! Asks the daemon something through its control socket. The protocol is told in `ctld`.

use super::Failure;
use crate::sys::exit;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// For each read and write; to take over a big journal takes longest.
const PATIENCE: Duration = Duration::from_secs(1800);

const SECOND: Duration = Duration::from_secs(1);

/// The result of a request, or why there is none.
pub fn ask(control: &Path, request: &str) -> Result<Value, Failure> {
    let mut answer = Vec::new();
    let mut from_daemon = begin(control, request)?;
    let waiting = Waiting::begin();
    let read = from_daemon.read_to_end(&mut answer);
    drop(waiting);
    read?;
    result(&answer)
}

/// Shows on a terminal that the daemon is still at it, and for how long, once that is longer than a moment. Dropped, its line is
/// cleared.
struct Waiting(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl Waiting {
    fn begin() -> Waiting {
        if !io::stderr().is_terminal() {
            return Waiting(None);
        }
        let (end, ended) = mpsc::channel();
        let show = move || {
            let begun = Instant::now();
            while ended.recv_timeout(SECOND) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = write!(io::stderr(), "\rworking, {} s\x1b[K", begun.elapsed().as_secs());
            }
            if begun.elapsed() > SECOND {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
        };
        Waiting(Some((end, thread::spawn(show))))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((end, shown)) = self.0.take() {
            drop(end);
            let _ = shown.join();
        }
    }
}

/// Asks for a list, of which each item is taken as it comes: it may be longer than memory.
pub fn ask_for_each(control: &Path, request: &str, mut take: impl FnMut(&Value) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut lines = begin(control, request)?.split(b'\n');
    let first = lines.next().transpose()?.unwrap_or_default();
    if !first.ends_with(b"[") {
        return result(&first).map(drop);
    }
    for line in lines {
        let line = line?;
        match line.trim_ascii_end() {
            b"]}" => return Ok(()),
            item => take(&read(item.strip_suffix(b",").unwrap_or(item))?)?,
        }
    }
    Err(Failure::new(exit::TEMPFAIL, "the daemon's answer has no end"))
}

/// Sends the request; the answer is to be read.
pub fn begin(control: &Path, request: &str) -> Result<BufReader<UnixStream>, Failure> {
    if request.contains(char::is_control) {
        return Err(Failure::new(exit::USAGE, "control characters can't be asked for"));
    }
    let mut socket = UnixStream::connect(control).map_err(|error| unreachable_daemon(control, &error))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(format!("{request}\r\n").as_bytes())?;
    Ok(BufReader::new(socket))
}

/// What a whole answer says.
pub fn result(answer: &[u8]) -> Result<Value, Failure> {
    let mut answer = read(answer)?;
    if answer["ok"] == true {
        return Ok(answer["result"].take());
    }
    let code = answer["code"].as_u64().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Err(Failure::new(code.unwrap_or(exit::TEMPFAIL), answer["error"].as_str().unwrap_or("the daemon refuses")))
}

/// One line of it.
pub fn read(json: &[u8]) -> Result<Value, Failure> {
    let wrong = |error| Failure::new(exit::SOFTWARE, format!("the daemon's answer makes no sense: {error}"));
    serde_json::from_slice(json).map_err(wrong)
}

/// What to tell when nobody answers at a socket.
pub fn unreachable_daemon(path: &Path, error: &io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::PermissionDenied { exit::NOPERM } else { exit::TEMPFAIL };
    Failure::new(code, format!("the daemon can't be reached at {}: {error}; is pillarbox running?", path.display()))
}
