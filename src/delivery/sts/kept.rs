//! Policies as they are kept over a restart, a line for each domain ([`table`]).
//!
//! ```text
//! pillarbox-mta-sts 1
//! example.org 20160831085700Z 1790000000 1790086400 604800 enforce mail.example.org *.example.net
//! ```
//!
//! The domain, the policy's id, when it was fetched and when it was last asked for (seconds since 1970), for how many seconds
//! it holds, its mode, and the names of its hosts.

use super::policy::{Mode, Policy};
use crate::sys::{Time, table};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

const HEAD: &str = "pillarbox-mta-sts 1";

/// A policy that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) fetched: Time,
    /// When it was last asked for.
    pub(super) used: Time,
    pub(super) policy: Policy,
}

impl Kept {
    /// Does it hold now?
    pub(super) fn holds(&self, now: Time) -> bool {
        now.since(self.fetched) < self.policy.max_age
    }
}

/// By their domains, in lower case.
pub(super) type All = HashMap<String, Kept>;

/// What the file has; nothing if it is not there. Lines that can't be read are passed over: their policies are fetched again.
pub(super) fn load(path: &Path) -> All {
    table::load(path, HEAD).lines().filter_map(read).collect()
}

fn read(line: &str) -> Option<(String, Kept)> {
    let mut words = line.split(' ');
    let (domain, id) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut number = || words.next()?.parse::<u32>().ok();
    let (fetched, used, max_age) = (number()?, number()?, number()?);
    let time = |seconds: u32| Time::from_seconds(seconds.into());
    let mode = Mode::named(words.next()?)?;
    let policy = Policy { mode, mx: words.map(str::to_owned).collect(), max_age: Duration::from_secs(max_age.into()) };
    Some((domain, Kept { id, fetched: time(fetched), used: time(used), policy }))
}

/// The file's lines.
pub(super) fn lines(all: &All) -> String {
    let mut lines = String::new();
    for (domain, Kept { id, fetched, used, policy }) in all {
        let (fetched, used, max_age) = (fetched.seconds(), used.seconds(), policy.max_age.as_secs());
        // Writing to a String does not fail.
        let _ = write!(lines, "{domain} {id} {fetched} {used} {max_age} {}", policy.mode.name());
        policy.mx.iter().for_each(|name| lines.extend([" ", name.as_str()]));
        lines.push('\n');
    }
    lines
}

/// Puts them there.
pub(super) fn save(path: &Path, lines: &str) -> io::Result<()> {
    table::save(path, HEAD, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &str, mode: Mode, mx: &[&str]) -> Kept {
        let policy = Policy { mode, mx: mx.iter().map(|name| (*name).to_owned()).collect(), max_age: Duration::from_secs(600) };
        Kept { id: id.into(), fetched: Time::from_seconds(1000), used: Time::from_seconds(1200), policy }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mta-sts/host");
        assert_eq!(load(&path), All::new());
        let all = All::from([
            ("a.test".to_owned(), kept("1", Mode::Enforce, &["mx.a.test", "*.b.test"])),
            ("c.test".to_owned(), kept("2", Mode::None, &[])),
        ]);
        save(&path, &lines(&all)).unwrap();
        assert_eq!(load(&path), all);
        // What can't be read costs nothing but itself.
        save(&path, &lines(&all).replace("mx.a.test", "mx.a.test\nx y z\nz.test 1 2")).unwrap();
        assert_eq!(load(&path).len(), 2);
        std::fs::write(&path, format!("pillarbox-mta-sts 2\n{}", lines(&all))).unwrap();
        assert_eq!(load(&path), All::new());
    }

    #[test]
    fn it_holds_for_its_time() {
        let one = kept("1", Mode::Enforce, &["a.test"]);
        let at = |seconds| one.holds(Time::from_seconds(seconds));
        assert_eq!((at(999), at(1000), at(1599), at(1600)), (true, true, true, false));
    }
}
