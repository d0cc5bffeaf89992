//! Webmail in Chromium: tests/webmail has the tests, in Python, each group with a daemon of its own.

use crate::common::{find_tool, run, tool, top};
use crate::runner::{Test, note, skip};
use std::path::Path;

/// As tests/webmail/run.py knows them. Those that show once more, in a browser, what is tried here without one are for
/// `make check-peers`: they take minutes.
const GROUPS: [&str; 9] = ["tour", "reading", "writing", "hostile", "looks", "live", "acting", "axe", "kept"];

pub fn tests() -> Vec<Test> {
    GROUPS.into_iter().map(|group| Test::named(format!("webmail::chromium::{group}"), move || in_chromium(group))).collect()
}

fn in_chromium(group: &str) {
    for program in ["chromium", "chromedriver"] {
        // Unpacked somewhere it would not find its own files.
        if find_tool(program).is_none_or(|path| path.starts_with(top())) {
            skip(format!("no {program} installed here"));
        }
    }
    if group == "axe" && !top().join("target/peers/stamp.axe").is_file() {
        skip("no axe-core here: tests/deps.sh unpacks it");
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_pillarbox")).parent().unwrap();
    let output = run(tool("python3").arg("-B").arg(top().join("tests/webmail/run.py")).arg(programs).arg(group));
    note(String::from_utf8_lossy(&output.stdout));
}
