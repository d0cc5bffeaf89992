//! The transaction and update phases, on a real mbox.

use super::*;
use std::fs;

const THREE: &str = "From carol@sender.test Sat Nov 21 09:00:00 2026
Return-Path: <carol@sender.test>
From: Carol <carol@sender.test>
Subject: one

First message.
.
..two dots

From dave@sender.test Sat Nov 21 09:00:01 2026
From: dave@sender.test
Subject: two

Gr\u{fc}\u{df}e
line two
line three

From erin@sender.test Sat Nov 21 09:00:02 2026
From: erin@sender.test
Subject: three

Third message.

";

fn house() -> House {
    let house = House::new();
    fs::write(house.mbox(), THREE).unwrap();
    house
}

#[test]
fn reading() {
    let house = house();
    let mut client = house.logged_in();
    assert_eq!(client.ask("STAT"), "+OK 3 243");
    assert_eq!(client.ask_for_lines("LIST"), ["1 114", "2 71", "3 58"]);
    assert_eq!(client.ask("LIST 002"), "+OK 2 71");
    assert_eq!(client.ask("RETR 1"), "+OK 114 octets");
    let text = [
        "Return-Path: <carol@sender.test>",
        "From: Carol <carol@sender.test>",
        "Subject: one",
        "",
        "First message.",
        "..",
        "...two dots",
    ];
    assert_eq!(client.rest(), text);
    assert_eq!(client.ask_for_lines("RETR 2")[3..], ["Gr\u{fc}\u{df}e", "line two", "line three"]);
    assert_eq!(client.ask_for_lines("TOP 1 0"), text[..4]);
    assert_eq!(client.ask_for_lines("TOP 1 2"), text[..6]);
    assert_eq!(client.ask_for_lines("TOP 1 1000000"), text);
    let ids = client.ask_for_lines("UIDL");
    let (first, one) = ids[0].split_once('.').unwrap();
    let validity = first.strip_prefix("1 ").unwrap();
    assert!(validity.parse::<u32>().unwrap() > 0 && one == "1", "{ids:?}");
    assert_eq!(ids[1..], [format!("2 {validity}.2"), format!("3 {validity}.3")]);
    assert_eq!(client.ask("UIDL 3"), format!("+OK 3 {validity}.3"));
    assert_eq!(client.ask("NOOP"), "+OK");
    client.expect("QUIT", "+OK");
    client.ended();
    let mut client = house.logged_in();
    assert_eq!(client.ask_for_lines("UIDL"), ids);
    client.hang_up();
}

#[test]
fn deleting() {
    let house = house();
    let mut client = house.logged_in();
    client.expect("DELE 2", "+OK");
    for gone in ["DELE 2", "RETR 2", "TOP 2 0", "LIST 2", "UIDL 2"] {
        assert_eq!(client.ask(gone), "-ERR no such message");
    }
    assert_eq!(client.ask("STAT"), "+OK 2 172");
    assert_eq!(client.ask_for_lines("LIST"), ["1 114", "3 58"]);
    assert_eq!(client.ask("RSET"), "+OK 3 243");
    client.expect("RETR 2", "+OK");
    client.rest();
    client.expect("DELE 1", "+OK");
    client.expect("DELE 3", "+OK");
    client.expect("QUIT", "+OK");
    client.ended();
    let mut client = house.logged_in();
    let ids = client.ask_for_lines("UIDL");
    assert!(ids.len() == 1 && ids[0].ends_with(".2"), "{ids:?}");
    assert_eq!(client.ask_for_lines("RETR 1")[1], "Subject: two");
    client.expect("DELE 1", "+OK");
    client.expect("QUIT", "+OK");
    client.ended();
    let mut client = house.logged_in();
    assert_eq!(client.ask("STAT"), "+OK 0 0");
    assert!(client.ask_for_lines("LIST").is_empty());
    client.hang_up();
}

/// RFC 1939 §6: only QUIT deletes.
#[test]
fn nothing_is_deleted_without_quit() {
    let house = House::with(|config| {
        config.timeouts.idle = Duration::from_millis(300);
        config.limits.errors = 1;
    });
    fs::write(house.mbox(), THREE).unwrap();
    let marked = || {
        let mut client = house.logged_in();
        assert_eq!(client.ask("STAT"), "+OK 3 243");
        client.expect("DELE 1", "+OK");
        client
    };
    marked().hang_up();
    marked().ended();
    let mut client = marked();
    client.expect("BOGUS", "-ERR");
    client.ended();
    let mut client = marked();
    client.expect("GET / HTTP/1.1", "-ERR");
    client.ended();
    let mut client = marked();
    client.send(b"QUI");
    client.hang_up();
    let mut client = marked();
    house.registry.tell_all_to_leave();
    assert!(client.line().starts_with("-ERR [SYS/TEMP]"));
    client.ended();
    assert_eq!(fs::read_to_string(house.mbox()).unwrap().matches("Subject: ").count(), 3);
}

#[test]
fn one_session_at_a_time() {
    let house = house();
    let mut first = house.logged_in();
    let mut second = house.client();
    second.expect("USER alice", "+OK");
    second.expect("PASS secret", "-ERR [IN-USE]");
    second.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "-ERR [IN-USE]");
    second.expect("STAT", "-ERR");
    let mut bob = house.client();
    bob.expect("USER bob", "+OK");
    bob.expect("PASS secret", "+OK");
    first.expect("DELE 1", "+OK");
    first.expect("QUIT", "+OK");
    // The reply is there, so the maildrop is free.
    second.log_in();
    second.expect("STAT", "+OK 2 129");
    first.ended();
    second.hang_up();
    bob.hang_up();
    house.logged_in().hang_up();
}

#[test]
fn who_is_no_mbox_is_not_touched() {
    let house = House::new();
    fs::write(house.mbox(), "notes\n").unwrap();
    let mut client = house.client();
    client.expect("USER alice", "+OK");
    client.expect("PASS secret", "-ERR [SYS/PERM]");
    client.expect("STAT", "-ERR");
    client.hang_up();
    assert_eq!(fs::read_to_string(house.mbox()).unwrap(), "notes\n");
}

#[test]
fn another_program_takes_messages_away() {
    let house = house();
    let mut client = house.logged_in();
    fs::write(house.mbox(), "").unwrap();
    client.expect("RETR 1", "-ERR [SYS/TEMP]");
    client.expect("TOP 2 0", "-ERR [SYS/TEMP]");
    client.expect("DELE 1", "+OK");
    client.expect("DELE 3", "+OK");
    client.expect("QUIT", "+OK");
    client.ended();
    assert_eq!(fs::read(house.mbox()).unwrap(), b"");
}

/// RFC 1939 §6: the client must hear of it.
#[test]
fn what_cannot_be_removed_is_told() {
    let house = house();
    let mut client = house.logged_in();
    client.expect("DELE 1", "+OK");
    fs::write(house.mbox(), "notes\n").unwrap();
    assert_eq!(client.ask("QUIT"), "-ERR [SYS/TEMP] some deleted messages not removed");
    client.ended();
    assert_eq!(fs::read_to_string(house.mbox()).unwrap(), "notes\n");
    fs::write(house.mbox(), THREE).unwrap();
    let mut client = house.logged_in();
    client.expect("STAT", "+OK 3 243");
    client.hang_up();
}

/// Sizes are what is sent, dots not counted twice (RFC 1939 §11).
#[test]
fn sizes_are_exact() {
    let bodies = ["", "\n", ".\n", "..\n.\n", "a", "\u{e4}\u{f6}\n", &"x".repeat(70_000), &"line\n".repeat(30_000), ">From x\n"];
    let house = House::new();
    let mbox: String = bodies
        .iter()
        .map(|body| {
            format!(
                "From a@b.test Sat Nov 21 09:00:00 2026\nSubject: s\n\n{body}{}\n",
                if body.ends_with('\n') { "" } else { "\n" }
            )
        })
        .collect();
    fs::write(house.mbox(), mbox).unwrap();
    let mut client = house.logged_in();
    let sizes = client.ask_for_lines("LIST");
    assert_eq!(sizes.len(), bodies.len());
    let mut total = 0;
    for (size, number) in sizes.iter().zip(1..) {
        let size: usize = size.strip_prefix(&format!("{number} ")).unwrap().parse().unwrap();
        client.expect(&format!("RETR {number}"), "+OK");
        let mut got = 0;
        loop {
            let mut line = Vec::new();
            assert_eq!(client.connection.read_line(100_000, &mut line).unwrap(), Line::Whole);
            if line == b"." {
                break;
            }
            got += line.len() + 2 - usize::from(line.starts_with(b"."));
        }
        assert_eq!(got, size, "message {number}");
        total += size;
    }
    assert_eq!(client.ask("STAT"), format!("+OK {} {total}", bodies.len()));
    client.hang_up();
}
