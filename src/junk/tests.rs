//! A user's mail, learned and judged.

use super::*;
use crate::sys::sim::SimDisk;
use crate::sys::{Disk, Open};
use std::io::{ErrorKind, IoSlice};
use std::path::Path;

const HOST: &str = "here.test";

/// Numbers in no order, always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const COMMON: [&str; 24] = [
    "the", "and", "you", "for", "with", "this", "that", "from", "have", "will", "your", "please", "about", "they", "what",
    "when", "here", "there", "more", "some", "time", "just", "like", "know",
];
const SOLD: [&str; 24] = [
    "cheap",
    "pills",
    "winner",
    "offer",
    "casino",
    "bonus",
    "click",
    "unsubscribe",
    "guaranteed",
    "million",
    "dollars",
    "transfer",
    "urgent",
    "account",
    "verify",
    "prize",
    "limited",
    "discount",
    "replica",
    "watches",
    "crypto",
    "invest",
    "profit",
    "bank",
];
const TALKED: [&str; 24] = [
    "meeting", "compile", "patch", "lunch", "kernel", "deadline", "review", "draft", "branch", "minutes", "bicycle", "grandma",
    "garden", "invoice", "printer", "backup", "thesis", "chapter", "travel", "train", "bank", "account", "school", "choir",
];

/// A letter with words of its kind, of both, and some that are in no other.
fn letter(dice: &mut Dice, kind: Kind) -> Vec<u8> {
    let (own, from) = match kind {
        Kind::Junk => (&SOLD, ["sales", "win", "news"]),
        Kind::Good => (&TALKED, ["bob", "carol", "dora"]),
    };
    let number = dice.below(1 << 30);
    let mut words: Vec<String> = Vec::new();
    for _ in 0..60 + dice.below(60) {
        words.push(match dice.below(20) {
            0..=10 => dice.pick(&COMMON).to_owned(),
            11..=15 => dice.pick(own).to_owned(),
            16 => dice.pick(&SOLD).to_owned(),
            17 => dice.pick(&TALKED).to_owned(),
            _ => format!("x{}", dice.below(5_000)),
        });
    }
    let domain = if kind == Kind::Junk { format!("d{}.test", dice.below(200)) } else { "friends.test".to_owned() };
    let (from, subject) = (dice.pick(&from), dice.pick(own));
    format!(
        "From: {from}@{domain}\r\nSubject: {subject}\r\nMessage-ID: <{number}@{domain}>\r\nDate: x\r\n\r\n{}\r\n",
        words.join(" ")
    )
    .into_bytes()
}

fn tokens(message: &[u8]) -> Tokens {
    Tokens::of(message, HOST)
}

fn score(memory: &Memory, message: &[u8]) -> f64 {
    judge(memory, &tokens(message)).unwrap().score
}

/// So many of each.
fn taught(dice: &mut Dice, count: usize) -> Memory {
    let mut memory = Memory::new([7; 16]);
    for _ in 0..count {
        for kind in [Kind::Junk, Kind::Good] {
            assert_eq!(memory.learn(&tokens(&letter(dice, kind)), kind), Learned::New);
        }
    }
    memory
}

/// How many of a hundred junk messages are found, each with this added; no good one is called junk.
fn found(memory: &Memory, dice: &mut Dice, more: &str) -> usize {
    let mut found = 0;
    for _ in 0..100 {
        let mut message = letter(dice, Kind::Junk);
        message.extend_from_slice(more.as_bytes());
        found += usize::from(score(memory, &message) >= REQUIRED);
        let good = letter(dice, Kind::Good);
        let judged = judge(memory, &tokens(&good)).unwrap();
        assert!(judged.score < 0.5, "{judged:?}: {}", String::from_utf8_lossy(&good));
    }
    found
}

#[test]
fn most_is_judged_as_its_user_would() {
    let mut dice = Dice(1);
    let found = [20, 100, 400].map(|count| found(&taught(&mut dice, count), &mut dice, ""));
    assert!(found[0] >= 75 && found[1] >= 65 && found[2] >= 85, "{found:?}");
}

#[test]
fn a_salad_of_words_hides_little() {
    let mut dice = Dice(2);
    let memory = taught(&mut dice, 200);
    let plain = found(&memory, &mut dice, "");
    // A thousand words that nobody knows, and all that everybody uses.
    let salad: String = (0..1_000).map(|n| format!("salad{n} {} ", COMMON[n % COMMON.len()])).collect();
    let hidden = found(&memory, &mut dice, &salad);
    assert!(plain >= 75 && hidden + 10 >= plain, "{plain} {hidden}");
}

#[test]
fn nothing_is_said_before_enough_is_known() {
    let mut dice = Dice(3);
    let mut memory = Memory::new([7; 16]);
    let message = letter(&mut dice, Kind::Junk);
    for count in 0..ENOUGH {
        assert_eq!(judge(&memory, &tokens(&message)), None, "{count}");
        memory.learn(&tokens(&letter(&mut dice, Kind::Junk)), Kind::Junk);
        memory.learn(&tokens(&letter(&mut dice, Kind::Good)), Kind::Good);
    }
    assert!(judge(&memory, &tokens(&message)).is_some());
    // What nobody ever saw is neither.
    let strange = judge(&memory, &tokens(b"\r\nqwertz asdfgh\r\n")).unwrap();
    assert_eq!((strange.score, strange.is_junk(), strange.reasons), (0.5, false, Vec::new()));
}

#[test]
fn a_message_counts_once_and_is_unlearned_to_the_last_word() {
    let mut dice = Dice(4);
    let mut memory = taught(&mut dice, 10);
    let before = memory.clone();
    let message = letter(&mut dice, Kind::Junk);
    assert_eq!(memory.learn(&tokens(&message), Kind::Junk), Learned::New);
    let junk = memory.clone();
    // Under another name of its folder, with the fields that delivery put on top.
    let moved = [b"Return-Path: <x@y.test>\r\nX-Spam-Status: No, by=here.test\r\n", message.as_slice()].concat();
    assert_eq!(memory.learn(&tokens(&moved), Kind::Junk), Learned::Known);
    assert!(memory == junk);
    assert_eq!(memory.learn(&tokens(&moved), Kind::Good), Learned::Changed);
    assert_eq!(memory.learned(), Counts { junk: 10, good: 11 });
    for text in tokens(&message).texts() {
        let (old, new) = (before.count(before.hash(text)), memory.count(memory.hash(text)));
        assert_eq!((old.junk, old.good + 1), (new.junk, new.good), "{text}");
    }
    assert_eq!(memory.learn(&tokens(&message), Kind::Junk), Learned::Changed);
    assert!(memory == junk);
}

#[test]
fn it_ages_and_stays_in_its_place() {
    let mut memory = Memory::new([7; 16]);
    for n in 0..40_001 {
        let kind = if n % 2 == 0 { Kind::Junk } else { Kind::Good };
        let message = format!("Message-ID: <{n}@x>\r\n\r\nalways {} w{n} v{n}\r\n", kind.name());
        assert_eq!(memory.learn(&tokens(message.as_bytes()), kind), Learned::New);
    }
    let learned = memory.learned();
    assert_eq!((learned.junk, learned.good), (10_000, 10_000));
    assert_eq!(memory.count(memory.hash("word:always")), learned);
    assert_eq!(memory.count(memory.hash("word:junk")), Counts { junk: 10_000, good: 0 });
    // What was there once is forgotten.
    assert_eq!(memory.tokens(), 3);
    // More words than there is room: the rare ones go first.
    for n in 0..400 {
        let words: String = (0..1_000).map(|word| format!("n{n}x{word} ")).collect();
        memory.learn(&tokens(format!("Message-ID: <m{n}@x>\r\n\r\n{words}").as_bytes()), Kind::Good);
    }
    assert!(memory.tokens() > 120_000);
    assert_eq!(memory.count(memory.hash("word:junk")), Counts { junk: 10_000, good: 0 });
}

#[test]
fn the_file_comes_back_or_is_known_to_be_damaged() {
    let disk = SimDisk::default();
    let path = Path::new("/spool/junk/alice");
    disk.make_dir(path.parent().unwrap(), 0o700).unwrap();
    assert!(Memory::load(&disk, path).unwrap().is_none());
    let mut memory = taught(&mut Dice(6), 5);
    memory.save(&disk, path).unwrap();
    let stat = disk.stat(path).unwrap();
    assert_eq!((stat.size, stat.mode & 0o777), (SIZE as u64, 0o600));
    assert!(Memory::load(&disk, path).unwrap().unwrap() == memory);
    let file = disk.open(path, Open::Write).unwrap();
    for at in [0, 20, 40, 50, 57, 63, 4_000, SIZE as u64 - 1] {
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[IoSlice::new(&[byte[0] ^ 1])], at).unwrap();
        assert_eq!(Memory::load(&disk, path).unwrap_err().kind(), ErrorKind::InvalidData, "{at}");
        file.write_at(&[IoSlice::new(&byte)], at).unwrap();
        assert!(Memory::load(&disk, path).is_ok());
    }
    for size in [0, 64, SIZE as u64 - 1, SIZE as u64 + 1] {
        file.set_len(size).unwrap();
        assert_eq!(Memory::load(&disk, path).unwrap_err().kind(), ErrorKind::InvalidData, "{size}");
    }
}

#[test]
fn the_field_says_why_and_is_known_again() {
    let judgement = |score| Judgement { score, reasons: vec!["\"cheap\"".to_owned(), "not signed by its domain".to_owned()] };
    let field = judgement(0.987).field("Mail.here.test");
    assert_eq!(
        field,
        "X-Spam-Status: Yes, score=0.99 required=0.95 by=Mail.here.test\n\t(like junk: \"cheap\",\n\t not signed by its domain)\n"
    );
    assert_eq!(told(field.as_bytes(), "mail.here.test"), Some(true));
    let good = Judgement { score: 0.2, reasons: Vec::new() }.field("mail.here.test");
    assert_eq!(good, "X-Spam-Status: No, score=0.20 required=0.95 by=mail.here.test\n");
    assert_eq!(told(good.as_bytes(), "mail.here.test"), Some(false));
    assert!(judgement(0.2).field("h").contains("(like good mail: "));
    let other = b"X-Spam-Status: Yes, score=9.1 required=5.0 tests=BAYES_99 autolearn=no\n";
    assert_eq!(told(other, "mail.here.test"), None);
    assert!(is_ours(b" No,\n\tBY=mail.HERE.test", "mail.here.test"));
}

#[test]
fn keywords_teach_when_they_agree() {
    let of = |names: &[&str]| Kind::of_keywords(names.iter().copied());
    assert_eq!(
        [of(&["$junk"]), of(&["Junk", "x"]), of(&["$NotJunk"]), of(&["NonJunk"])].map(|kind| kind.map(Kind::name)),
        [Some("junk"), Some("junk"), Some("good"), Some("good")]
    );
    assert_eq!([of(&[]), of(&["$Junk", "$NotJunk"]), of(&["Junkyard"])], [None; 3]);
}

/// What judging a message of 4 KiB costs, a measurement:
///
///     cargo test --release --lib -- --ignored --exact --nocapture junk::tests::figures
#[test]
#[ignore = "measures; wants a release build"]
fn figures() {
    use crate::sys::RealDisk;
    use crate::sys::cost::{cost, report};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alice");
    let mut dice = Dice(7);
    let mut memory = taught(&mut dice, 300);
    memory.save(&RealDisk, &path).unwrap();
    let mut message = letter(&mut dice, Kind::Good);
    let words: String = (0..600).map(|n| format!("w{:x} ", n * 7_919 % 100_000)).collect();
    message.extend_from_slice(words.as_bytes());
    message.truncate(4096);
    let all = tokens(&message);
    println!("{} bytes, {} tokens", message.len(), all.texts().count());
    report("tokens", cost(1_000, || drop(tokens(&message))), 0.5);
    report("read", cost(200, || drop(Memory::load(&RealDisk, &path).unwrap())), 0.7);
    report("judged", cost(1_000, || drop(judge(&memory, &all))), 0.3);
    report("all", cost(200, || drop(judge(&Memory::load(&RealDisk, &path).unwrap().unwrap(), &tokens(&message)))), 1.0);
    report("learned and synced", cost(50, || memory.save(&RealDisk, &path).unwrap()), 5.0);
}
