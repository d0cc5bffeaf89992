//! Leaving the terminal: the launcher ends when its daemon is ready, or says why it is not. And the file with the process number.

use super::Failure;
use super::options::Options;
use crate::sys::unix::{Forked, fork_single_threaded};
use crate::sys::{Disk, File, Lock, Open, RealDisk, exit};
use nix::unistd::geteuid;
use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// To be told when the daemon is ready.
#[derive(Debug)]
pub struct Ready {
    /// The launcher waits at its other end; None in the foreground.
    launcher: Option<UnixStream>,
    keep_stderr: bool,
}

impl Ready {
    /// Says so: `shown` is what is listened on.
    pub fn tell(self, shown: &str) {
        let Some(mut launcher) = self.launcher else {
            let _ = writeln!(io::stderr(), "pillarbox ready {shown}");
            return;
        };
        leave_terminal(self.keep_stderr);
        let _ = launcher.write_all(&[exit::OK]);
    }
}

/// Runs the daemon: here, or in a process of its own of which only the start is waited for. Gives the code to end with.
pub fn launch(options: &Options, daemon: impl FnOnce(Ready) -> Result<u8, Failure>) -> Result<u8, Failure> {
    if options.foreground {
        return daemon(Ready { launcher: None, keep_stderr: true });
    }
    let system = |error: io::Error| Failure::new(exit::OSERR, error);
    let (told, tell) = UnixStream::pair().map_err(system)?;
    match fork_single_threaded().map_err(system)? {
        Forked::Parent(_) => {
            drop(tell);
            Ok(wait_for(told))
        }
        Forked::Child => {
            drop(told);
            nix::unistd::setsid().map_err(|error| system(error.into()))?;
            let failed = tell.try_clone().map_err(system)?;
            let done = daemon(Ready { launcher: Some(tell), keep_stderr: false });
            if let Err(failure) = &done {
                // If the launcher has gone long ago nobody reads this.
                let _ = (&failed).write_all(&[failure.code]);
            }
            done
        }
    }
}

/// The code the daemon's start ended with. A daemon that dies without a word has told why on standard error.
fn wait_for(mut told: UnixStream) -> u8 {
    let mut code = [exit::SOFTWARE];
    match told.read_exact(&mut code) {
        Ok(()) => code[0],
        Err(_) => exit::SOFTWARE,
    }
}

/// Whoever reads the launcher's output to its end must not wait for us, and no file system be kept busy.
pub fn leave_terminal(keep_stderr: bool) {
    let _ = std::env::set_current_dir("/");
    let Ok(nothing) = fs::File::options().read(true).write(true).open("/dev/null") else { return };
    let _ = nix::unistd::dup2_stdin(&nothing);
    let _ = nix::unistd::dup2_stdout(&nothing);
    if !keep_stderr {
        let _ = nix::unistd::dup2_stderr(&nothing);
    }
}

impl Ready {
    /// The log goes to standard error, which stays open.
    pub fn keep_stderr(&mut self) {
        self.keep_stderr = true;
    }
}

/// The file with the process number. As long as it is locked, a daemon with this configuration runs; what a daemon left
/// that was killed is not locked. Dropped, it is removed.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Arc<dyn File>,
    /// It stays when this is dropped: it is another process's.
    is_left: bool,
}

impl PidFile {
    /// Makes it, or fails if another daemon has it.
    pub fn create(path: &Path) -> Result<PidFile, Failure> {
        let named = |error: io::Error| Failure::new(exit::CANTCREAT, format!("{}: {error}", path.display()));
        loop {
            let file = RealDisk.open(path, Open::Create(0o644)).map_err(named)?;
            // Where its directory is not ours alone, it may be a second name of another file, or somebody else's to change.
            let stat = file.stat().map_err(named)?;
            if !stat.is_regular() || stat.links > 1 || stat.uid != geteuid().as_raw() {
                let what = "it is no plain file of our own with one name; remove it";
                return Err(named(io::Error::new(io::ErrorKind::PermissionDenied, what)));
            }
            if !file.try_lock(Lock::Exclusive).map_err(named)? {
                let mut text = [0; 16];
                let length = file.read_at(&mut text, 0).unwrap_or(0);
                let pid = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).trim().to_owned();
                return Err(Failure::new(exit::TEMPFAIL, format!("already running with this configuration (process {pid})")));
            }
            // A daemon that just ended may have removed the file between our two steps.
            let here = RealDisk.stat(path).map(|stat| stat.file);
            if here.is_ok_and(|here| file.stat().is_ok_and(|ours| ours.file == here)) {
                file.set_len(0).map_err(named)?;
                file.write_at(&[IoSlice::new(format!("{}\n", std::process::id()).as_bytes())], 0).map_err(named)?;
                return Ok(PidFile { path: path.to_owned(), file, is_left: false });
            }
        }
    }
}

impl PidFile {
    /// For a process that was forked: closes the file. It is the other process's.
    pub fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        // In a directory of root's it can only be emptied.
        let _ = self.file.set_len(0);
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_files_are_taken_over_and_living_ones_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "99999999999\n").unwrap();
        let first = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let refused = PidFile::create(&path).unwrap_err();
        assert_eq!(refused.code, exit::TEMPFAIL);
        assert!(refused.what.contains(&std::process::id().to_string()), "{}", refused.what);
        drop(first);
        assert!(!path.exists());
        PidFile::create(&path).unwrap();
    }

    #[test]
    fn what_was_put_in_its_place_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [path, other] = ["pid", "other"].map(|name| dir.path().join(name));
        fs::write(&other, "precious").unwrap();
        fs::hard_link(&other, &path).unwrap();
        assert!(PidFile::create(&path).unwrap_err().what.contains("one name"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(PidFile::create(&path).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        if geteuid().is_root() {
            fs::write(&path, "1\n").unwrap();
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            assert!(PidFile::create(&path).unwrap_err().what.contains("of our own"));
        }
    }
}
