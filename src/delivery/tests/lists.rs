//! Mailing lists: what comes of a message to one, and that a crash between any two steps changes nothing of it.

use super::house::{House, read};
use super::*;
use crate::config::Config;
use crate::lists::{Judgement, Name, Settings};
use crate::mail::Recipient;
use crate::sys::clock::manual::ManualClock;
use crate::sys::{Clock, Disk, Time};
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

const FAR: &str = "[[route]]\ndomain = \"away.example\"\nhost = \"127.0.0.1:9\"\n";

fn staff() -> Name {
    Name::parse("staff").unwrap()
}

/// A house with the list staff, whose owner is bob, and with these members.
fn house(change: impl FnOnce(&mut Settings), members: &[&str]) -> House {
    house_by(Arc::new(crate::sys::SystemClock::default()), change, members)
}

fn house_by(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Settings), members: &[&str]) -> House {
    house_at(clock, FAR, change, members)
}

fn house_at(clock: Arc<dyn Clock>, config: &str, change: impl FnOnce(&mut Settings), members: &[&str]) -> House {
    let house = House::new_by(clock, config);
    let mut settings = Settings::new("bob@me.example".parse().unwrap());
    change(&mut settings);
    assert!(house.office().lists().create(&staff(), &settings).unwrap());
    for member in members {
        assert!(house.delivery().list_add(&staff(), &member.parse().unwrap()).unwrap());
    }
    house
}

fn members(house: &House) -> Vec<String> {
    house.delivery().list_members(&staff()).unwrap().iter().map(ToString::to_string).collect()
}

/// The last address in a mailbox that begins so.
fn last_address(house: &House, user: &str, start: &str) -> String {
    let mbox = house.mbox(user);
    let at = mbox.rfind(start).unwrap_or_else(|| panic!("no {start} in {mbox}"));
    mbox[at..].split(['>', '?', '\n']).next().unwrap().to_owned()
}

/// All recipients that wait, with their senders.
fn waiting(house: &House) -> Vec<(String, String)> {
    let told = |one: Unsettled| {
        let envelope = house.delivery().entry(one.id).unwrap().envelope;
        let to = |index| (envelope.sender(index).to_string(), envelope.recipient(index).unwrap().address.to_string());
        one.waiting.iter().map(|waiting| to(waiting.index)).collect::<Vec<_>>()
    };
    house.queue().into_iter().flat_map(told).collect()
}

fn letter(from: &str, subject: &str, body: &str) -> String {
    format!("From: <{from}>\nSubject: {subject}\n\n{body}\n")
}

fn report(recipient: &str, action: &str) -> String {
    format!(
        "From: MAILER-DAEMON\nAuto-Submitted: auto-replied\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; {recipient}\nAction: {action}\n\
         Status: 5.1.1\n\n--b--\n"
    )
}

#[test]
fn a_post_goes_to_all_under_a_sender_for_each() {
    let house = house(|_| (), &["alice@me.example", "Carol+x@away.example", "bob@me.example"]);
    let post = "From: alice@me.example\nList-Unsubscribe: <https://evil.test>\nSubject: x\n\nFrom here\nhello\n";
    house.post("alice@me.example", &["Staff@me.example"], post).unwrap();
    for user in ["alice", "bob"] {
        let mbox = house.mbox(user);
        let sender = format!("Return-Path: <staff-bounces+{user}=me.example+");
        assert!(mbox.contains(&sender) && mbox.contains("\nDelivered-To: staff@me.example\n"), "{mbox}");
        assert!(mbox.contains("List-Id: <staff.me.example>\n") && !mbox.contains("evil"), "{mbox}");
        assert!(mbox.ends_with("\n\n>From here\nhello\n\n"), "{mbox}");
    }
    let found = waiting(&house);
    assert!(found[0].0.starts_with("staff-bounces+Carol+x=away.example+"), "{found:?}");
    assert_eq!((found.len(), found[0].1.as_str()), (1, "Carol+x@away.example"));
    assert_eq!(house.queue().len(), 1);
    // An alias that leads there, and a member that is another list's address, are no different.
    let steps = house.delivery().explain(&"staff@me.example".parse().unwrap()).unwrap().1;
    assert_eq!(
        steps[0].1,
        "staff@me.example: mailing list staff: posts of members go to all members, those of others wait for a moderator"
    );
    house.post("alice@me.example", &["staff-owner@me.example", "owner-staff@me.example"], TEXT).unwrap();
    assert_eq!(house.mbox("bob").matches("\nSubject: x\n").count(), 2);
}

#[test]
fn a_broken_list_keeps_its_mail_waiting() {
    let house = house(|_| (), &["alice@me.example"]);
    let path = std::path::Path::new("/spool/lists/staff/settings");
    let file = house.disk.open(path, crate::sys::Open::Write).unwrap();
    file.write_at(&[io::IoSlice::new(b"nonsense")], 0).unwrap();
    let route = house.delivery().post().route(&"staff@me.example".parse().unwrap());
    assert!(route.is_err_and(|error| error.to_string().contains("staff/settings: line 1")));
    house.post("alice@me.example", &["staff@me.example"], TEXT).unwrap();
    assert_eq!((house.queue().len(), house.mbox("alice")), (1, String::new()));
}

#[test]
fn strangers_wait_or_hear_no() {
    let house = house(|settings| settings.strangers = crate::lists::Strangers::Reject, &["alice@me.example"]);
    house.post("bob@me.example", &["staff@me.example"], &letter("bob@me.example", "x", "hello")).unwrap();
    let mbox = house.mbox("bob");
    assert!(mbox.contains("Final-Recipient: rfc822; staff@me.example\nAction: failed\nStatus: 5.7.2\n"), "{mbox}");
    assert_eq!(house.mbox("alice"), "");
}

#[test]
fn subscribing_takes_a_yes_from_the_address() {
    let house = house(|_| (), &[]);
    let ask = |to: &str, from: &str, subject: &str| {
        house.post(from, &[&format!("staff-{to}@me.example")], &letter(from, subject, "")).unwrap();
    };
    // Somebody asks in alice's name; only she gets the token.
    ask("subscribe", "alice@me.example", "x");
    assert_eq!(members(&house), Vec::<String>::new());
    let token = last_address(&house, "alice", "staff-confirm+s-");
    house.post("bob@me.example", &[&token], &letter("bob@me.example", "Re: Confirm", "")).unwrap();
    assert_eq!(members(&house), Vec::<String>::new(), "bob's yes is none for alice");
    house.post("alice@me.example", &[&token.replace("+s-", "+u-")], &letter("alice@me.example", "", "")).unwrap();
    // A program that answers for her is not her.
    let vacation = format!("Auto-Submitted: auto-replied\n{}", letter("alice@me.example", "away", ""));
    house.post("alice@me.example", &[&token], &vacation).unwrap();
    assert_eq!(members(&house), Vec::<String>::new());
    house.post("alice@me.example", &[&token], &letter("alice@me.example", "Re: Confirm", "")).unwrap();
    assert_eq!(members(&house), ["alice@me.example"]);
    assert!(house.mbox("alice").contains("Subject: Welcome to the list staff\n"), "{}", house.mbox("alice"));
    // Leaving, by a command, from another address than the one it is about.
    ask("request", "alice@me.example", "unsubscribe");
    let token = last_address(&house, "alice", "staff-confirm+u-");
    house.post("bob@me.example", &[&token], &letter("bob@me.example", "Re: Confirm: unsubscribe alice@me.example", "")).unwrap();
    assert_eq!(members(&house), Vec::<String>::new());
    assert!(house.mbox("alice").contains("Subject: You have left the list staff\n"));
    ask("help", "bob@me.example", "x");
    assert!(house.mbox("bob").contains("Subject: How to use the list staff\n"));
    assert_eq!(house.queue(), []);
}

#[test]
fn a_confirmation_comes_too_late_after_three_days() {
    let clock = Arc::new(ManualClock::at(Time(1_800_000_000_000_000)));
    let house = house_by(clock.clone(), |_| (), &[]);
    house
        .post("alice@me.example", &["staff-subscribe@me.example"], TEXT.replace("From: a", "From: alice@me.example").as_str())
        .unwrap();
    let token = last_address(&house, "alice", "staff-confirm+s-");
    clock.advance(4 * DAY);
    house.post("alice@me.example", &[&token], &letter("alice@me.example", "", "")).unwrap();
    assert_eq!(members(&house), Vec::<String>::new());
}

/// Mail bombs by requests in somebody's name, and what programs send.
#[test]
fn nobody_is_flooded_by_requests_of_others() {
    let house = house(|_| (), &[]);
    for to in ["subscribe", "help", "unsubscribe", "request", "subscribe", "help"] {
        let to = format!("staff-{to}@me.example");
        house.post("eve@away.example", &[&to], &letter("alice@me.example", "subscribe", "")).unwrap();
        for head in ["Auto-Submitted: auto-replied\n", "Precedence: bulk\n", "List-Id: <x.test>\n", "X-Loop: staff@me.example\n"]
        {
            house.post("eve@away.example", &[&to], &format!("{head}{}", letter("bob@me.example", "subscribe", ""))).unwrap();
        }
        house.post("", &[&to], &letter("bob@me.example", "subscribe", "")).unwrap();
        house.post("bob@me.example", &[&to], &letter("staff@me.example", "subscribe", "")).unwrap();
        house.post("bob@me.example", &[&to], &letter("other-request@me.example", "subscribe", "")).unwrap();
    }
    assert_eq!(house.mbox("alice").matches("\nFrom ").count() + 1, 3, "{}", house.mbox("alice"));
    assert_eq!(house.mbox("bob").matches("Confirm").count(), 0, "{}", house.mbox("bob"));
    assert!(waiting(&house).iter().all(|(sender, _)| sender.is_empty()), "nothing comes back from what we write");
}

#[test]
fn a_moderator_decides_by_an_answer() {
    let house = house(|_| (), &["alice@me.example"]);
    let post = |subject: &str| {
        house.post("carol@away.example", &["staff@me.example"], &letter("carol@away.example", subject, "hello")).unwrap();
        last_address(&house, "bob", "staff-moderate+")
    };
    let answer = |to: &str, subject: &str, body: &str| {
        house.post("bob@me.example", &[to], &letter("bob@me.example", subject, body)).unwrap();
    };
    let held = || house.delivery().list_held(&staff()).unwrap();
    let first = post("one");
    assert_eq!((house.mbox("alice"), held().len()), (String::new(), 1));
    assert!(
        house.mbox("bob").contains("    Subject: one\n") && house.mbox("bob").contains("\n\nhello\n"),
        "{}",
        house.mbox("bob")
    );
    // Neither a quoted word, nor the subject of the post, nor another token is a decision.
    answer(&first, "Re: approve", "> approve\nwhat is this");
    answer(&first.replace("moderate+", "moderate+a"), "approve", "");
    assert_eq!((house.mbox("alice"), held().len()), (String::new(), 1));
    answer(&first, "Re: A post", "Approve\n\n> bla");
    assert_eq!((house.mbox("alice").matches("\nSubject: one\n").count(), held().len()), (1, 0));
    answer(&first, "approve", "");
    assert!(house.mbox("bob").contains("That post no longer waits"), "{}", house.mbox("bob"));
    assert_eq!(house.mbox("alice").matches("\nSubject: one\n").count(), 1);
    let second = post("two");
    answer(&second, "reject", "");
    assert!(waiting(&house).contains(&(String::new(), "carol@away.example".into())), "{:?}", waiting(&house));
    let third = post("three");
    answer(&third, "discard", "");
    post("four");
    house.delivery().list_judge(&staff(), held()[0].id, Judgement::Approve).unwrap();
    assert_eq!((house.mbox("alice").matches("\nSubject: ").count(), held().len()), (2, 0));
    assert_eq!(house.queue().len(), 1);
}

/// What an operator releases is decided anew.
#[test]
fn a_held_post_that_is_released_waits_again() {
    let house = house(|settings| settings.posting = crate::lists::Posting::Moderated, &["alice@me.example"]);
    house.post("alice@me.example", &["staff@me.example"], TEXT).unwrap();
    let before = house.delivery().list_held(&staff()).unwrap();
    house.delivery().operate(Operation::Release, &Which::Message(before[0].id), None).unwrap();
    house.wait("another", || house.delivery().list_held(&staff()).unwrap().iter().any(|post| post.id != before[0].id));
    house.wait("one", || house.queue().len() == 1);
    assert_eq!(house.mbox("alice"), "");
}

/// The sender under which a member gets mail.
fn sender_of(house: &House, user: &str) -> String {
    last_address(house, user, "staff-bounces+")
}

#[test]
fn dead_members_are_paused_and_then_removed() {
    let clock = Arc::new(ManualClock::at(Time(1_800_000_000_000_000)));
    let house = house_by(clock.clone(), |settings| settings.bounces = 2, &["alice@me.example", "bob@me.example"]);
    let post = || house.post("bob@me.example", &["staff@me.example"], &letter("bob@me.example", "post", "hello")).unwrap();
    let copies = || house.mbox("alice").matches("\nSubject: post\n").count();
    post();
    let back = sender_of(&house, "alice");
    // What is no report of a failure, or not about her, does not count.
    let forged = back.replace("alice=", "bob=");
    for (from, to, text) in [
        ("", &back, letter("alice@me.example", "I am away", "")),
        ("", &back, report("alice@me.example", "delayed")),
        ("eve@away.example", &back, report("alice@me.example", "failed")),
        ("", &forged, report("bob@me.example", "failed")),
    ] {
        house.post(from, &[to], &text).unwrap();
    }
    let shown = || house.delivery().list_show(&staff()).unwrap().bounces;
    assert_eq!(shown(), []);
    for _ in 0..3 {
        house.post("", &[&back], &report("alice@me.example", "failed")).unwrap();
    }
    assert_eq!(shown(), [("alice@me.example".to_owned(), 1, false)]);
    clock.advance(DAY);
    house.post("", &[&back], &report("alice@me.example", "failed")).unwrap();
    assert_eq!(shown(), [("alice@me.example".to_owned(), 2, true)]);
    assert!(house.mbox("alice").contains("This message is a probe"), "{}", house.mbox("alice"));
    post();
    assert_eq!(copies(), 1, "she gets nothing now");
    // Her probe did not come back: she gets mail again.
    clock.advance(7 * DAY);
    post();
    assert_eq!(copies(), 2);
    house.post("", &[&back], &report("alice@me.example", "failed")).unwrap();
    let probe = last_address(&house, "alice", "staff-probe+");
    house.post("", &[&probe.replace("probe+", "probe+a")], &report("alice@me.example", "failed")).unwrap();
    assert_eq!(members(&house).len(), 2);
    house.post("", &[&probe], &report("alice@me.example", "failed")).unwrap();
    assert_eq!((members(&house), shown()), (vec!["bob@me.example".to_owned()], vec![]));
    assert!(house.mbox("bob").contains("    alice@me.example\nis no longer a member"), "{}", house.mbox("bob"));
    house.post("", &[&probe], &report("alice@me.example", "failed")).unwrap();
    assert_eq!(house.mbox("bob").matches("is no longer a member").count(), 1);
}

/// Our own reports of copies that fail here are such, too.
#[test]
fn a_member_that_is_nobody_bounces() {
    let house = house(|_| (), &["nobody@me.example", "alice@me.example", "none@me.example"]);
    house.post("alice@me.example", &["staff@me.example"], &letter("alice@me.example", "x", "hello")).unwrap();
    house.wait("the end", || house.queue().is_empty());
    let bounces = house.delivery().list_show(&staff()).unwrap().bounces;
    assert_eq!(bounces, [("nobody@me.example".to_owned(), 1, false), ("none@me.example".to_owned(), 1, false)]);
    assert_eq!(house.mbox("alice").matches("hello").count(), 1);
}

#[test]
fn an_archive_is_a_folder() {
    let archive = |settings: &mut Settings| settings.archive = Some(("bob".into(), "Lists/staff".into()));
    let house = house(archive, &["alice@me.example"]);
    for _ in 0..2 {
        house.post("alice@me.example", &["staff@me.example"], &letter("alice@me.example", "x", "hello")).unwrap();
    }
    let name = crate::mailbox::FolderName::parse("Lists/staff").unwrap();
    let folder = house.store.open(&house.account("bob"), &name).unwrap();
    assert_eq!(folder.view().unwrap().count().unwrap(), 2);
    assert_eq!((house.mbox("bob"), house.mbox("alice").matches("hello").count()), (String::new(), 2));
    assert_eq!(house.queue(), []);
}

/// Two lists that are members of each other, and one that is its own by way of an alias.
#[test]
fn loops_of_lists_end() {
    let house = house(|settings| settings.posting = crate::lists::Posting::Open, &["alice@me.example", "other@me.example"]);
    let other = Name::parse("other").unwrap();
    let open = Settings { posting: crate::lists::Posting::Open, ..Settings::new("bob@me.example".parse().unwrap()) };
    house.office().lists().create(&other, &open).unwrap();
    for member in ["staff@me.example", "bob@me.example"] {
        house.delivery().list_add(&other, &member.parse().unwrap()).unwrap();
    }
    assert!(house.delivery().list_add(&staff(), &"Staff-Request@me.example".parse().unwrap()).is_err());
    house.post("eve@away.example", &["staff@me.example"], TEXT).unwrap();
    house.wait("the end", || house.queue().is_empty());
    assert_eq!((house.mbox("alice").matches("hello").count(), house.mbox("bob").matches("hello").count()), (1, 1));
    assert!(!house.mbox("bob").contains("List-Id: <staff"), "{}", house.mbox("bob"));
}

/// Does something with the machine stopped at each of its steps. `prepare` gives what to do it with, `act` tells whether it was
/// done, `whole` after the restart whether all that follows from it is so, each thing once, or else nothing of it.
fn at_each_stop_of<T>(
    what: &str,
    prepare: impl Fn() -> (House, T),
    act: impl Fn(&House, &T) -> bool,
    whole: impl Fn(&House) -> Result<bool, String>,
) {
    let run = |stop: Option<u64>, seed: u64| {
        let (house, with) = prepare();
        house.store.checkpoint();
        let begun = house.disk.operations();
        stop.iter().for_each(|stop| house.disk.stop_at(begun + stop));
        let sent = act(&house, &with);
        let operations = house.disk.operations() - begun;
        let disk = if seed == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(seed) };
        let config: Arc<Config> = house.config.clone();
        drop(house);
        let house = House::open(disk, config);
        // By the journal, where what follows from a message is there as soon as that is settled.
        let is_idle = || {
            house.store.checkpoint();
            house.journal.unsettled().iter().all(|one| one.waiting.iter().all(|waiting| waiting.held || waiting.tries > 0))
        };
        house.wait("rest", || is_idle() && whole(&house).is_ok());
        let is_whole = whole(&house).unwrap_or_else(|why| panic!("{what}, stopped at {stop:?}: {why}"));
        assert!(is_whole || !sent, "{what}, stopped at {stop:?}: it was taken, and nothing came of it");
        operations
    };
    let operations = run(None, 0);
    for stop in 1..=operations {
        run(Some(stop), 0);
        run(Some(stop), stop);
    }
}

/// The same, where what is done is that a message is posted.
fn at_each_stop(
    what: &str,
    prepare: impl Fn() -> (House, (&'static str, String, String)),
    whole: impl Fn(&House) -> Result<bool, String>,
) {
    at_each_stop_of(what, prepare, |house, (from, to, text)| house.post(from, &[to], text).is_ok(), whole);
}

/// All of these are so, or none is.
fn all_or_none(facts: &[(&str, usize)]) -> Result<bool, String> {
    match facts {
        _ if facts.iter().all(|(_, count)| *count == 0) => Ok(false),
        _ if facts.iter().all(|(_, count)| *count == 1) => Ok(true),
        _ => Err(format!("{facts:?}")),
    }
}

#[test]
fn a_confirmation_survives_a_stop_at_any_moment() {
    let asked = || {
        let house = house(|_| (), &[]);
        house.post("alice@me.example", &["staff-subscribe@me.example"], &letter("alice@me.example", "", "")).unwrap();
        let token = last_address(&house, "alice", "staff-confirm+s-");
        (house, ("alice@me.example", token, letter("alice@me.example", "", "")))
    };
    at_each_stop("a confirmation", asked, |house| {
        let is_member = usize::from(members(house) == ["alice@me.example"]);
        all_or_none(&[("member", is_member), ("welcome", house.mbox("alice").matches("Subject: Welcome").count())])
    });
    let leaving = || {
        let house = house(|_| (), &["alice@me.example"]);
        house.post("alice@me.example", &["staff-unsubscribe@me.example"], &letter("alice@me.example", "", "")).unwrap();
        let token = last_address(&house, "alice", "staff-confirm+u-");
        (house, ("alice@me.example", token, letter("alice@me.example", "", "")))
    };
    at_each_stop("leaving", leaving, |house| {
        let is_gone = usize::from(members(house).is_empty());
        all_or_none(&[("gone", is_gone), ("goodbye", house.mbox("alice").matches("Subject: You have left").count())])
    });
}

#[test]
fn moderation_survives_a_stop_at_any_moment() {
    let begin = || house(|settings| settings.posting = crate::lists::Posting::Moderated, &["alice@me.example"]);
    let held = |house: &House| house.delivery().list_held(&staff()).unwrap().len();
    let copies = |house: &House| house.mbox("alice").matches("hello").count();
    let posting = || (begin(), ("carol@away.example", "staff@me.example".to_owned(), letter("carol@away.example", "x", "hello")));
    at_each_stop("holding", posting, |house| {
        assert_eq!(copies(house), 0);
        all_or_none(&[("held", held(house)), ("told", house.mbox("bob").matches("\nSubject: A post to staff").count())])
    });
    for (word, status) in [("approve", 1), ("reject", 0)] {
        let judging = || {
            let (house, (from, to, text)) = posting();
            house.post(from, &[&to], &text).unwrap();
            let token = last_address(&house, "bob", "staff-moderate+");
            (house, ("bob@me.example", token, letter("bob@me.example", word, "")))
        };
        at_each_stop(word, judging, |house| {
            let news = waiting(house).iter().filter(|(_, to)| to == "carol@away.example").count();
            let follows = if status == 1 { copies(house) } else { news };
            all_or_none(&[("settled", 1 - held(house)), (word, follows)])
        });
    }
}

const PAGE: &str = "webmail_url = \"https://web.me.example\"\n";

/// The link in a member's copy that lies in a mailbox.
fn link(house: &House, user: &str) -> Vec<String> {
    let mbox = house.mbox(user);
    let links = mbox.split("List-Unsubscribe: <https://web.me.example/unsubscribe?list=staff&member=").skip(1);
    links.map(|rest| rest.split('>').next().unwrap().to_owned()).collect()
}

/// The copy that a crash left is known again, with what is its own in it, so that there is none twice.
#[test]
fn links_survive_a_stop_at_any_moment() {
    let begin = || {
        let clock = Arc::new(crate::sys::SystemClock::default());
        let house = house_at(clock, &format!("{PAGE}{FAR}"), |_| (), &["alice@me.example", "bob@me.example", "x@away.example"]);
        (house, ("alice@me.example", "staff@me.example".to_owned(), letter("alice@me.example", "x", "hello")))
    };
    at_each_stop("a post", begin, |house| {
        let (alice, bob) = (link(house, "alice"), link(house, "bob"));
        assert!(alice.first().zip(bob.first()).is_none_or(|(one, other)| one != other), "{alice:?} {bob:?}");
        let copies = |user: &str| house.mbox(user).matches("\n\nhello\n").count();
        let far = waiting(house).iter().filter(|(_, to)| to == "x@away.example").count();
        let facts =
            [("alice", alice.len()), ("her copy", copies("alice")), ("bob", bob.len()), ("his copy", copies("bob")), ("x", far)];
        all_or_none(&facts)
    });
}

/// Who has left by a click is no member; the news may be lost.
#[test]
fn a_click_survives_a_stop_at_any_moment() {
    let begin = || {
        let house = house(|_| (), &["alice@me.example", "bob@me.example"]);
        let token =
            crate::lists::token::leave(&house.store.secret_for("lists").unwrap(), &staff(), &"alice@me.example".parse().unwrap());
        (house, token)
    };
    let click = |house: &House, token: &String| {
        let post = house.delivery().post();
        let leaving = post.leaving("staff", "Alice@me.example", token).ok().flatten();
        leaving.is_some_and(|leaving| leaving.member.is_some_and(|member| post.leave(&leaving.list, &member).is_ok()))
    };
    at_each_stop_of("a click", begin, click, |house| {
        let news = house.mbox("alice").matches("You have left").count();
        match members(house).as_slice() {
            [bob] if bob == "bob@me.example" && news <= 1 => Ok(true),
            [_, _] if news == 0 => Ok(false),
            members => Err(format!("{members:?} {news}")),
        }
    });
}

/// Long before now.
const THEN: Time = Time(1_600_000_000_000_000);

/// A post that has waited since then.
fn forgotten(settings: impl FnOnce(&mut Settings)) -> (House, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(THEN));
    let house = house_by(clock.clone(), settings, &["alice@me.example"]);
    house.post("carol@away.example", &["staff@me.example"], &letter("carol@away.example", "x", "hello")).unwrap();
    assert_eq!(house.delivery().list_held(&staff()).unwrap().len(), 1);
    (house, clock)
}

/// As the keeper does.
fn look_twice(house: &House) {
    (0..2).for_each(|_| list::expire(house.office()));
}

/// News for who wrote the post, and whether it still waits.
fn fate(house: &House) -> (usize, usize) {
    let news = waiting(house).iter().filter(|(_, to)| to == "carol@away.example").count();
    (news, house.delivery().list_held(&staff()).unwrap().len())
}

#[test]
fn a_post_that_nobody_decides_on_ends() {
    let (house, clock) = forgotten(|_| ());
    clock.advance(29 * DAY);
    look_twice(&house);
    assert_eq!(fate(&house), (0, 1));
    clock.advance(DAY);
    house.wait("the keeper", || {
        clock.advance(Duration::from_secs(60));
        fate(&house) == (1, 0)
    });
    let reply = house.delivery().entry(house.queue()[0].id).unwrap();
    assert!(read(&reply.message).contains("waited for a moderator for 30 days"), "{}", read(&reply.message));
    // Silently, or never; nor does one that an operator holds.
    type Change = fn(&mut Settings);
    let changes: [(Change, (usize, usize)); 2] =
        [(|settings| (settings.hold, settings.tells_expiry) = (3, false), (0, 0)), (|settings| settings.hold = 0, (0, 1))];
    for (change, wanted) in changes {
        let (house, clock) = forgotten(change);
        clock.advance(900 * DAY);
        look_twice(&house);
        assert_eq!(fate(&house), wanted);
    }
    let (house, clock) = forgotten(|_| ());
    let id = house.delivery().list_held(&staff()).unwrap()[0].id;
    house.delivery().operate(Operation::Hold, &Which::Message(id), None).unwrap();
    clock.advance(900 * DAY);
    look_twice(&house);
    assert_eq!(fate(&house), (0, 1));
}

/// What a clock shows for a moment ends nothing.
#[test]
fn a_clock_that_is_wrong_ends_no_post() {
    let (house, clock) = forgotten(|_| ());
    for (days, wanted) in [(31, 1), (0, 1), (31, 1), (31, 0)] {
        clock.jump_to(THEN + days * DAY);
        list::expire(house.office());
        assert_eq!(house.delivery().list_held(&staff()).unwrap().len(), wanted, "{days}");
    }
}

#[test]
fn the_end_of_a_post_survives_a_stop_at_any_moment() {
    let expire = |house: &House, clock: &Arc<ManualClock>| {
        clock.jump_to(THEN + 31 * DAY);
        look_twice(house);
        true
    };
    at_each_stop_of(
        "expiring",
        || forgotten(|_| ()),
        expire,
        |house| {
            look_twice(house);
            let (news, held) = fate(house);
            all_or_none(&[("told", news), ("settled", 1 - held)])
        },
    );
}

/// With a list its posts end, whatever stops it; who asks again ends it.
#[test]
fn the_end_of_a_list_survives_a_stop_at_any_moment() {
    let delete = |house: &House, _: &Arc<ManualClock>| house.delivery().list_delete(&staff()).is_ok();
    at_each_stop_of(
        "deleting",
        || forgotten(|settings| settings.hold = 0),
        delete,
        |house| {
            let is_there = house.office().lists().has(&staff());
            match house.delivery().list_delete(&staff()) {
                Ok(count) if count == usize::from(!house.queue().is_empty()) => return Err(format!("{count}")),
                Ok(_) | Err(ListError::Unknown) => {}
                Err(error) => return Err(error.to_string()),
            }
            if house.queue().is_empty() && house.delivery().list_names().unwrap().is_empty() {
                Ok(true)
            } else {
                Err(format!("{is_there} {:?}", house.queue()))
            }
        },
    );
}

#[test]
fn removal_of_a_dead_member_survives_a_stop_at_any_moment() {
    let begin = || {
        let house = house(|settings| settings.bounces = 1, &["alice@me.example", "bob@me.example"]);
        house.post("bob@me.example", &["staff@me.example"], &letter("bob@me.example", "post", "hello")).unwrap();
        let back = sender_of(&house, "alice");
        (house, ("", back, report("alice@me.example", "failed")))
    };
    let shown = |house: &House| house.delivery().list_show(&staff()).unwrap().bounces;
    at_each_stop("pausing", begin, |house| {
        let is_paused = usize::from(shown(house) == [("alice@me.example".to_owned(), 1, true)]);
        all_or_none(&[("paused", is_paused), ("probe", house.mbox("alice").matches("is a probe").count())])
    });
    let probed = || {
        let (house, (from, back, text)) = begin();
        house.post(from, &[&back], &text).unwrap();
        let probe = last_address(&house, "alice", "staff-probe+");
        (house, ("", probe, text))
    };
    at_each_stop("removing", probed, |house| {
        let is_gone = usize::from(members(house) == ["bob@me.example"]);
        all_or_none(&[("gone", is_gone), ("told", house.mbox("bob").matches("is no longer a member").count())])
    });
}

/// One act for all of them, whoever they are.
#[test]
fn ten_thousand_members_survive_a_stop_at_any_moment() {
    let run = |count: usize, stop: Option<u64>| {
        let house = house(|settings| settings.posting = crate::lists::Posting::Open, &[]);
        let text: String = (0..count).map(|number| format!("m{number}@away.example\n")).collect();
        let path = std::path::Path::new("/spool/lists/staff/members");
        let file = house.disk.open(path, crate::sys::Open::Write).unwrap();
        file.write_at(&[io::IoSlice::new(text.as_bytes())], 0).unwrap();
        file.sync().unwrap();
        let begun = house.disk.operations();
        stop.iter().for_each(|stop| house.disk.stop_at(begun + stop));
        let sent = house.post("eve@away.example", &["staff@me.example"], TEXT).is_ok();
        let operations = house.disk.operations() - begun;
        let (disk, config) = (house.disk.after_power_cut(stop.unwrap_or(0)), house.config.clone());
        drop(house);
        let house = House::open(disk, config);
        if sent || !house.journal.unsettled().is_empty() {
            house.wait("all copies", || house.queue().iter().map(|one| one.waiting.len()).collect::<Vec<_>>() == [count]);
            let entry = house.delivery().entry(house.queue()[0].id).unwrap();
            let last = entry.envelope.recipients.last().map(|Recipient { sender, .. }| sender.as_ref().unwrap().to_string());
            assert!(last.is_some_and(|sender| sender.starts_with(&format!("staff-bounces+m{}=", count - 1))));
            assert!(read(&entry.message).starts_with("Delivered-To: staff@me.example\n"));
        }
        operations
    };
    let operations = run(10, None);
    for stop in 1..=operations {
        run(10, Some(stop));
    }
    for stop in [None, Some(operations / 2), Some(operations)] {
        run(10_000, stop);
    }
}
