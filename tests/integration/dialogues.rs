//! Every file under tests/dialogues is a test of its own, named after it.

use crate::common::top;
use crate::dialogue::carry_out;
use crate::runner::Test;
use std::fs;
use std::path::PathBuf;

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for protocol in ["smtp", "pop3", "imap"] {
        let dir = top().join("tests/dialogues").join(protocol);
        let mut files: Vec<PathBuf> = fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
        files.sort();
        for file in files {
            let name = format!("dialogues::{protocol}::{}", file.file_stem().unwrap_or_default().to_string_lossy());
            tests.push(Test::named(name, move || carry_out(&file, protocol)));
        }
    }
    tests
}
