//! The manual pages tell of every option, command and key there is, and of nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

fn page(name: &str) -> String {
    fs::read_to_string(format!("{}/man/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn help(program: &str) -> String {
    let output = Command::new(program).arg("-h").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The options that have an item of their own.
fn options_of(page: &str) -> BTreeSet<String> {
    let items = page.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let flags =
        items.flat_map(|item| item.split(" , Fl ").map(|flag| flag.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>());
    flags.collect()
}

/// The options that a help text begins lines with.
fn options_in(help: &str) -> BTreeSet<String> {
    let lines = help.lines().filter_map(|line| line.trim_start().strip_prefix('-'));
    lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn options_of_the_daemon() {
    assert_eq!(options_of(&page("pillarbox.8")), options_in(&help(env!("CARGO_BIN_EXE_pillarbox"))));
}

#[test]
fn options_and_commands_of_the_tool() {
    let (page, help) = (page("pillarboxctl.8"), help(env!("CARGO_BIN_EXE_pillarboxctl")));
    assert_eq!(options_of(&page), options_in(&help));
    let words = |line: &str| -> String {
        let plain = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '|');
        line.split(' ').take_while(plain).collect::<Vec<_>>().join(" ")
    };
    let told: BTreeSet<String> = page.lines().filter_map(|line| line.strip_prefix(".It Ic ")).map(words).collect();
    let mut there = BTreeSet::new();
    for line in help.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with('-')) {
        // `user add|passwd NAME` stands for two.
        let command = words(line.split("  ").next().unwrap());
        let (first, last) = command.rsplit_once(' ').unwrap_or(("", &command));
        there.extend(last.split('|').map(|verb| format!("{first} {verb}").trim().to_owned()));
    }
    assert_eq!(told, there);
}

#[test]
fn options_of_sendmail() {
    let expected = pillarbox::ctl::SENDMAIL_OPTIONS.iter().map(|option| (*option).to_owned()).collect();
    assert_eq!(options_of(&page("sendmail.8")), expected);
}

#[test]
fn keys_of_the_configuration() {
    let mut told = BTreeSet::new();
    let mut prefix = String::new();
    for line in page("pillarbox.conf.5").lines() {
        if let Some(title) = line.strip_prefix(".Ss ") {
            prefix =
                title.strip_prefix("Table").map(|rest| rest.trim_start_matches("s ").trim().to_owned() + ".").unwrap_or_default();
        } else if let Some(item) = line.strip_prefix(".It Ic ") {
            told.insert(format!("{prefix}{}", item.split(' ').next().unwrap()));
        }
    }
    let there: BTreeSet<String> = pillarbox::config::schema::KEYS.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(told, there);
}

#[test]
fn every_key_is_read() {
    for key in pillarbox::config::schema::KEYS {
        let output = Command::new(env!("CARGO_BIN_EXE_pillarbox"))
            .args(["-n", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/etc/pillarbox.conf"), "-o"])
            .arg(match key.split_once('.') {
                Some((table @ ("listen" | "route" | "relay" | "sender" | "alternative" | "dkim"), key)) => {
                    format!("{table}=[{{{key}=1.5}}]")
                }
                _ => format!("{key}=1.5"),
            })
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("expected") && said.contains("found a number with a fraction"), "{key}: {said}");
    }
}

/// A line of etc/pillarbox.conf without the mark that switches it off; comments stay.
fn switched_on(line: &str) -> &str {
    let key =
        line.strip_prefix('#').filter(|line| line.starts_with('[') || line.split_once('=').is_some_and(|(key, _)| is_key(key)));
    key.unwrap_or(line)
}

fn is_key(text: &str) -> bool {
    text.trim_end().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The file that is installed names every key, with a value that can be used; where it says so, with the default.
#[test]
fn keys_of_the_installed_file() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/pillarbox.conf");
    let plain = fs::read_to_string(file).unwrap();
    let all: String = plain.lines().map(|line| switched_on(line).to_owned() + "\n").collect();
    let mut named = BTreeSet::new();
    for (key, value) in &all.parse::<toml::Table>().unwrap() {
        let tables = value.as_array().into_iter().flatten().chain([value]).filter_map(toml::Value::as_table);
        let below: Vec<String> = tables.flat_map(|table| table.keys().map(|inner| format!("{key}.{inner}"))).collect();
        named.extend(if value.is_table() || !below.is_empty() { below } else { vec![key.clone()] });
    }
    let there: BTreeSet<String> = pillarbox::config::schema::KEYS.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(named, there);

    let read = |text: &str| pillarbox::config::load::from_text("pillarbox.conf", text, Path::new("/etc/pillarbox"), &[]);
    let (shown, default) = (read(&all).unwrap_or_else(|report| panic!("{report}")), read("").unwrap());
    assert_eq!(read(&plain).unwrap(), default);
    assert_eq!(shown.limits, default.limits);
    assert_eq!(shown.timeouts, default.timeouts);
    assert_eq!(shown.queue, default.queue);
    assert_eq!(shown.submission, default.submission);
    assert_eq!(shown.log, default.log);
    let scalars = |config: &pillarbox::config::Config| {
        let paths = [config.spool.clone(), config.mail.clone(), config.control.clone()];
        let words = [config.user.clone(), config.postmaster.clone()];
        (
            paths,
            words,
            config.users.clone(),
            config.pid_file.clone(),
            config.max_message_size,
            config.plaintext_always,
            config.unauthenticate,
            config.trust_ad,
        )
    };
    assert_eq!(scalars(&shown), scalars(&default));
}

/// Who comes from elsewhere is told of keys, tables and commands that there are.
#[test]
fn names_in_the_page_on_migration() {
    let help = help(env!("CARGO_BIN_EXE_pillarboxctl"));
    let text = page("pillarbox-migrate.7");
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix(".Ic "))
        .map(|name| name.trim_end_matches([' ', ',', ';', '.']))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let is_key = pillarbox::config::schema::KEYS
            .iter()
            .any(|key| *key == name || key.split_once('.').is_some_and(|(table, _)| table == name));
        let (family, verb) = name.split_once(' ').unwrap_or(("no family", name));
        let is_command = help.lines().any(|line| line.trim_start().starts_with(family) && line.contains(verb));
        assert!(is_key || is_command, "there is no {name}");
    }
}

#[test]
fn facts_of_the_state_log() {
    let source = fs::read_to_string(format!("{}/src/mailbox/state/text.rs", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let word = |line: &str| Some(line.trim_start().strip_prefix('"')?.split_once("\" => Fact::")?.0.to_owned());
    let there: BTreeSet<String> = source.lines().filter_map(word).collect();
    let first = |line: &str| Some(line.strip_prefix(".It Cm ")?.split(' ').next()?.to_owned());
    let told: BTreeSet<String> = page("pillarbox-mailbox.5").lines().filter_map(first).collect();
    // One of them is made in a block.
    let there: BTreeSet<String> = there.into_iter().chain(["marks".to_owned()]).collect();
    assert_eq!(told, there);
}

#[test]
fn capabilities_of_imap() {
    let page = page("pillarbox-imap.7");
    let told: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix(".It Ic ")).collect();
    assert_eq!(told, pillarbox::imapd::CAPABILITIES.iter().copied().collect::<BTreeSet<&str>>());
}

/// A word of a client's line in a dialogue that exercises a capability; of one that has no word of its own, of its comment.
const EXERCISES: &[(&str, &str)] = &[
    ("IMAP4rev1", "SELECT INBOX"),
    ("IMAP4rev2", "ENABLE IMAP4REV2"),
    ("LITERAL+", "+}\\R\\N"),
    ("SASL-IR", "AUTHENTICATE PLAIN A"),
    ("ID", " ID (\"NAME\""),
    ("ENABLE", " ENABLE "),
    ("BINARY", "BINARY.PEEK["),
    ("CATENATE", "CATENATE (URL"),
    ("CHILDREN", "RETURN (CHILDREN"),
    ("COMPRESS=DEFLATE", "COMPRESS DEFLATE"),
    ("CONDSTORE", "(CONDSTORE)"),
    ("CONTEXT=SEARCH", " SEARCH RETURN (UPDATE"),
    ("CONTEXT=SORT", " SORT RETURN (UPDATE"),
    ("CREATE-SPECIAL-USE", "(USE ("),
    ("ESEARCH", " SEARCH RETURN (MIN"),
    ("ESORT", " SORT RETURN ("),
    ("I18NLEVEL=1", "I;UNICODE-CASEMAP"),
    ("IDLE", " IDLE"),
    ("LIST-EXTENDED", " LIST (SUBSCRIBED"),
    ("LIST-STATUS", "RETURN (STATUS"),
    ("METADATA", " SETMETADATA "),
    ("MOVE", " MOVE "),
    ("MULTIAPPEND", "(RFC 3502)"),
    ("MULTISEARCH", " ESEARCH IN ("),
    ("NAMESPACE", " NAMESPACE"),
    ("NOTIFY", " NOTIFY SET"),
    ("OBJECTID", "FETCH 1 EMAILID"),
    ("PARTIAL", "(PARTIAL -"),
    ("PREVIEW", "PREVIEW (LAZY)"),
    ("QRESYNC", "(QRESYNC ("),
    ("QUOTA", " GETQUOTAROOT "),
    ("QUOTA=RES-STORAGE", "DELETED-STORAGE"),
    ("REPLACE", " REPLACE "),
    ("SAVEDATE", "FETCH 1 SAVEDATE"),
    ("SEARCHRES", "FETCH $"),
    ("SORT", " SORT ("),
    ("SORT=DISPLAY", "DISPLAYFROM"),
    ("SPECIAL-USE", "LIST (SPECIAL-USE)"),
    ("STATUS=SIZE", "(SIZE)"),
    ("THREAD=ORDEREDSUBJECT", "THREAD ORDEREDSUBJECT"),
    ("THREAD=REFERENCES", "THREAD REFERENCES"),
    ("UIDPLUS", "UID EXPUNGE"),
    ("UNAUTHENTICATE", " UNAUTHENTICATE"),
    ("UNSELECT", " UNSELECT"),
    ("URL-PARTIAL", "/;PARTIAL="),
    ("UTF8=ACCEPT", "ENABLE UTF8=ACCEPT"),
    ("WITHIN", "YOUNGER "),
];

/// The dialogues of IMAP, by name.
fn imap_dialogues() -> BTreeMap<String, String> {
    let files =
        fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialogues/imap")).unwrap().map(|file| file.unwrap().path());
    let texts = files.filter(|file| file.extension().is_some_and(|extension| extension == "txt"));
    texts.map(|file| (file.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(file).unwrap())).collect()
}

/// Is a command with this in it, in capitals, answered with OK? Of a comment with it, any command.
fn exercises(dialogue: &str, word: &str) -> bool {
    let lines: Vec<&str> = dialogue.lines().collect();
    lines.iter().enumerate().any(|(at, line)| {
        let command = line.starts_with('C').then(|| line.split([':', '=']).nth(1)?.trim_start().split(' ').next()).flatten();
        let is_answer = |answer: &&&str| match command {
            Some(tag) => {
                answer.starts_with('S') && answer.get(2..).is_some_and(|text| text.trim().starts_with(&format!("{tag} ")))
            }
            None => answer.contains(" OK "),
        };
        let rest = lines.get(at + 1..).unwrap_or_default();
        (command.is_some() || line.starts_with('#'))
            && line.to_ascii_uppercase().contains(word)
            && rest.iter().find(is_answer).is_some_and(|answer| answer.contains(" OK "))
    })
}

/// Nothing is announced that no dialogue asks for, and gets.
#[test]
fn each_capability_of_imap_is_exercised() {
    let dialogues = imap_dialogues();
    for capability in pillarbox::imapd::CAPABILITIES {
        let word = EXERCISES.iter().find(|(name, _)| name == capability).map(|(_, word)| *word);
        let word = word.unwrap_or_else(|| panic!("what exercises {capability}?"));
        assert!(dialogues.values().any(|text| exercises(text, word)), "no dialogue exercises {capability}: {word:?}");
    }
    assert_eq!(EXERCISES.len(), pillarbox::imapd::CAPABILITIES.len());
}

/// The sections of RFCs that comments name, like `RFC 9051 §6.4.4, §7.3.4`.
fn sections_named(dialogue: &str) -> BTreeSet<(&str, &str)> {
    let comments = dialogue.lines().filter_map(|line| line.strip_prefix('#'));
    let words = comments.flat_map(|line| line.split([' ', ',', ';', ':', '(', ')'])).map(|word| word.trim_end_matches('.'));
    let (mut named, mut rfc, mut before) = (BTreeSet::new(), "", "");
    for word in words.filter(|word| !word.is_empty()) {
        if before == "RFC" {
            rfc = word;
        }
        named.extend(word.strip_prefix('§').map(|section| (rfc, section)));
        before = word;
    }
    named
}

/// The text of all Rust files below a directory.
fn sources(dir: &Path) -> String {
    let mut text = String::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// What the table says shows a rule is there, and names the rule's section; no RFC that is supported is left out.
#[test]
fn each_rule_of_imap_is_shown() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = sources(&top.join("tests")) + &sources(&top.join("src"));
    let dialogues = imap_dialogues();
    let table = fs::read_to_string(top.join("tests/dialogues/imap/RULES")).unwrap();
    let (mut told, mut rfc) = (BTreeSet::new(), "");
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("RFC ") {
            rfc = title.split(' ').next().unwrap();
            told.insert(rfc);
            continue;
        }
        let (rule, shown) = line.split_once(" : ").unwrap_or_else(|| panic!("what shows it? {line}"));
        let section = rule.trim_start().split(' ').next().unwrap();
        if shown.starts_with('(') && shown.ends_with(')') {
            continue;
        }
        for name in shown.split(' ') {
            if let Some((_, test)) = name.rsplit_once("::") {
                assert!(tests.contains(&format!("fn {test}(")), "there is no test {name}: {line}");
            } else {
                let dialogue = dialogues.get(name).unwrap_or_else(|| panic!("there is no dialogue {name}: {line}"));
                assert!(sections_named(dialogue).contains(&(rfc, section)), "{name} does not name RFC {rfc} §{section}");
            }
        }
    }
    let page = page("pillarbox-imap.7");
    let mut lines = page.lines().skip_while(|line| !line.starts_with(".Bl")).take_while(|line| !line.starts_with(".El"));
    let supported = lines.by_ref().filter_map(|line| line.strip_prefix("RFC ")?.split([' ', '.', ',', ':']).next());
    for rfc in supported {
        assert!(told.contains(rfc), "RFC {rfc} has no rules");
    }
}
