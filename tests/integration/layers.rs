//! Reads every `crate::` path of the sources: a room uses the rooms below it and no others.

use crate::common::top;
use std::fs;
use std::path::{Path, PathBuf};

crate::tests![rooms_use_only_rooms_below, files_are_short, unsafe_stands_in_one_place, the_rooms_of_the_spool_are_known];

/// From the ground up. Rooms of one floor do not know each other.
const FLOORS: [&[&str]; 14] = [
    &["sys"],
    &["config"],
    &["host"],
    &["net"],
    &["mail"],
    &["trust"],
    &["spool", "lists", "junk"],
    &["mailbox"],
    &["auth"],
    &["smtp"],
    &["delivery"],
    &["smtpd", "pop3d", "imapd", "httpd", "ctld"],
    &["webmail", "health"],
    &["daemon", "ctl"],
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// All Rust files below a directory.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            match path.extension() {
                _ if path.is_dir() => dirs.push(path),
                Some(extension) if extension == "rs" => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The rooms that a piece of code names after `crate::`, groups in braces included, comments left out.
fn rooms_named(code: &str) -> Vec<String> {
    let code: String = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => named.push(first_name(rest)),
            Some(group) => named.extend(heads_of_group(group)),
        }
    }
    named
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn heads_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut begins) = (0, Vec::new(), 0);
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(first_name(&group[begins..at]));
                begins = at + 1;
                if char == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn rooms_use_only_rooms_below() {
    assert_eq!(rooms_named("use crate::{a::{b, c}, d};\nlet x = crate::e::f(); // crate::g"), ["a", "d", "e"]);
    let src = top().join("src");
    let mut wrong = Vec::new();
    for file in sources(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if matches!(room.as_str(), "lib" | "main" | "bin") {
            continue;
        }
        let Some(own) = floor(&room) else {
            wrong.push(format!("{}: on no floor", inside.display()));
            continue;
        };
        for used in rooms_named(&fs::read_to_string(&file).unwrap()) {
            let allowed = match (room.as_str(), used.as_str()) {
                (room, used) if room == used => true,
                ("mail", used) => used == "sys",
                ("httpd", used) => matches!(used, "sys" | "net"),
                (_, used) => floor(used).is_some_and(|below| below < own),
            };
            if !allowed {
                wrong.push(format!("{}: crate::{used}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not allowed:\n{}", wrong.join("\n"));
}

fn files_are_short() {
    let mut wrong = Vec::new();
    for dir in ["src", "tests"] {
        for file in sources(&top().join(dir)) {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            if lines > 800 {
                wrong.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "too long:\n{}", wrong.join("\n"));
}

fn unsafe_stands_in_one_place() {
    let src = top().join("src");
    for file in sources(&src) {
        if file == src.join("sys/unix.rs") || file.starts_with(src.join("sys/unix")) {
            continue;
        }
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // `unsafe-inline` is another word.
            let names = code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').any(|word| word == "unsafe");
            assert!(!names, "{}:{}: {line}", file.display(), number + 1);
        }
    }
}

/// What else is made there, the daemon can't open where there are users of the system.
fn the_rooms_of_the_spool_are_known() {
    let known = fs::read_to_string(top().join("src/daemon/identity.rs")).unwrap();
    let known = known.split_once("pub const ROOMS").and_then(|(_, rest)| rest.split_once(';')).unwrap().0;
    let mut named = 0;
    for file in sources(&top().join("src")) {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let Some((_, rest)) = line.split_once("spool.join(\"") else { continue };
            let name = rest.split(['"', '/']).next().unwrap();
            let is_known = known.contains(&format!("\"{name}\"")) || ["folders", "secret"].contains(&name);
            let is_test = file.ends_with("daemon/cage.rs") || file.components().any(|part| part.as_os_str() == "tests");
            assert!(is_known || is_test, "{}:{}: {line}", file.display(), number + 1);
            named += 1;
        }
    }
    assert!(named > 8);
}
