//! Broken configurations, each beside exactly what `pillarbox -n` says of it: `configs/*.conf` and `*.expect`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn check(file: &str, options: &[&str]) -> Output {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
    command.current_dir(dir).args(["-n", "-f", file]);
    for option in options {
        command.args(["-o", option]);
    }
    command.output().unwrap()
}

/// With PILLARBOX_WRITE_EXPECTED set, what it says now is written down; to be read before it is committed.
#[test]
fn each_broken_configuration_says_what_is_wrong() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut seen = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "conf") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let output = check(&name, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        let expect = path.with_extension("expect");
        if std::env::var_os("PILLARBOX_WRITE_EXPECTED").is_some() {
            fs::write(&expect, &said).unwrap();
        }
        assert_eq!(said, fs::read_to_string(&expect).unwrap(), "{name}");
        assert_eq!(output.status.code(), Some(78), "{name}");
    }
    assert!(seen >= 10, "only {seen} configurations are there");
}

#[test]
fn the_installed_file_is_fine_and_says_the_defaults() {
    let output = check("../../etc/pillarbox.conf", &[]);
    assert!(output.status.success(), "{output:?}");
    // With every comment taken away before a key, it is still fine.
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/etc/pillarbox.conf")).unwrap();
    let bare = |line: &str| {
        line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[')).map(str::to_owned)
    };
    let text: String = text.lines().map(|line| bare(line).unwrap_or_else(|| line.to_owned()) + "\n").collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.conf");
    fs::write(&file, &text).unwrap();
    // The certificate it names is not there.
    let output = check(file.to_str().unwrap(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("certificate") && said.lines().count() == 1, "{said}");
    for key in pillarbox::config::schema::KEYS {
        let name = key.rsplit('.').next().unwrap();
        assert!(text.lines().any(|line| line.split('=').next().unwrap().trim() == name), "{key} is not in etc/pillarbox.conf");
    }
}

#[test]
fn options_go_over_the_file() {
    let ok = |options: &[&str]| {
        let output = check("../../etc/pillarbox.conf", options);
        assert!(output.status.success(), "{options:?}: {output:?}");
    };
    ok(&["hostname=mail.example.org", "queue.lifetime=5d", "limits.min_free=1M", "user="]);
    ok(&[
        "listen=[{address=\"127.0.0.1:0\",protocol=\"smtp\",tls=\"none\"}]",
        "queue.retry=[\"1s\"]",
        "smtp.max_message_size=65536",
    ]);
    for (option, said) in [
        ("limits.sessions=x", "-o limits.sessions=x: expected a whole number, found a string\n"),
        ("nonsense=1", "-o nonsense=1: unknown key `nonsense`\n"),
        ("hostname", "-o hostname: expected KEY=VALUE\n"),
        ("queue.retry=[1", "-o queue.retry=[1: "),
    ] {
        let output = check("../../etc/pillarbox.conf", &[option]);
        assert_eq!(output.status.code(), Some(78));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(said), "{option}: {error}");
    }
}

#[test]
fn a_file_that_is_not_there_and_odd_words() {
    let output = check("nowhere.conf", &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.conf: No such file"));
    let output = Command::new(env!("CARGO_BIN_EXE_pillarbox")).arg("--start").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

/// RFC 5321 §4.5.3.2.7, §4.5.3.2.5 and §4.5.3.1.8; RFC 1939 §3.
#[test]
fn defaults_are_as_generous_as_the_standards_say() {
    let config = pillarbox::config::load(Some(Path::new("/dev/null")), &[]).unwrap();
    let minutes = |n: u64| std::time::Duration::from_secs(60 * n);
    assert!(config.timeouts.command >= minutes(5) && config.timeouts.data >= minutes(3) && config.timeouts.idle >= minutes(10));
    assert!(config.limits.recipients >= 100 && config.max_message_size >= 64 << 10);
}
