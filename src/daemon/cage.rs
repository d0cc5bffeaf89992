//! What the daemon needs of the file system when it has a monitor that does the rest: the two directories of its trade, those of
//! its sockets, and to read what the configuration names.

use crate::config::Config;
use crate::sys::sandbox::{self, Allowed};
use std::path::{Path, PathBuf};

/// Enters the sandbox. Before the first thread starts, and when all is open that needs more rights.
pub fn enter(config: &Config) {
    let cage = sandbox::enter(&allowed(config));
    log::debug!("event=sandbox files={} calls={}", cage.files, cage.calls);
}

/// With the directories of files that are named, not the files: what takes their place must be readable, too.
fn allowed(config: &Config) -> Allowed {
    // The last is what the launcher's terminal is given up for.
    let write = [config.spool.as_path(), config.mail.as_path(), Path::new("/dev/null")].into_iter();
    let files = config.relays.iter().flat_map(|relay| [&relay.ca, &relay.login]).chain([&config.outbound.ca]).flatten();
    Allowed {
        read: files.map(|path| dir_of(path)).collect(),
        write: write.map(Path::to_owned).chain(config.sockets().map(dir_of)).collect(),
    }
}

fn dir_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}
