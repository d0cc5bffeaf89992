//! What messages are made of comes out right, whatever became of the cache.

use super::fuzzing::{bytes, damage, rounds, write};
use super::*;
use crate::mail::mboxrd::ToWire;
use crate::mail::structure::{Keys, Section, Structure, encode};
use crate::mailbox::cache::{Cache, Frame};

const CACHE: &str = "/w/spool/index/alice/INBOX.cache";

/// A message with parts, the more the greater its number, up to nine.
fn parts(n: u64) -> Mail {
    let part = |part| format!("--b\nContent-Type: text/plain; name=\"{n}.{part}\"\n\ntext {part} of {n}\n>From here\n");
    let all: String = (0..1 + n % 9).map(part).collect();
    let header = format!("Subject: message {n}\nFrom: a{n}@b\nMessage-ID: <{n}@c>\nContent-Type: multipart/mixed; boundary=b\n");
    Mail::new(n, format!("{header}\n{all}--b--\n").as_bytes())
}

fn deliver(world: &World, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|n| assert!(world.inbox("alice").deliver(&parts(n).copy()).is_ok()));
}

fn uids(view: &View) -> Vec<Uid> {
    view.messages().unwrap().iter().map(|message| message.uid).collect()
}

/// Asks for all structures, and compares them with what reading the messages gives.
fn look(world: &World) -> usize {
    let view = world.inbox("alice").view().unwrap();
    let uids = uids(&view);
    let mut structures = view.structures(&uids);
    let mut count = 0;
    while let Some((uid, record)) = structures.next() {
        let record = record.unwrap();
        let wire = read(&view, &view.message(uid).unwrap().unwrap());
        let expected = Structure::of(&wire);
        assert_eq!(record.envelope, expected.envelope, "{uid:?}");
        assert_eq!(record.structure().unwrap(), expected, "{uid:?}");
        count += 1;
    }
    assert_eq!(count, uids.len());
    count
}

/// Asks for what the headers say, and for the headers alone; the bytes of bodies are as they are in the file.
fn look_at_headers(view: &View) -> usize {
    let uids = uids(view);
    let (mut heads, mut headers) = (view.heads(&uids), view.headers(&uids));
    for uid in &uids {
        let wire = read(view, &view.message(*uid).unwrap().unwrap());
        let expected = Structure::of(&wire);
        let header = &wire[..expected.parts[0].body.start as usize];
        assert_eq!(headers.next().unwrap().1.unwrap(), Some(header), "{uid:?}");
        let (found, record) = heads.next().unwrap();
        let record = record.unwrap();
        assert_eq!((found, record.envelope), (*uid, expected.envelope.as_slice()));
        let preview = if record.is_whole { expected.keys.preview.clone() } else { String::new() };
        assert_eq!(record.keys().unwrap(), Keys { preview, ..expected.keys.clone() });
        assert_eq!(record.structure(), record.is_whole.then(|| expected.clone()));
        assert!(record.outline.is_none_or(|outline| outline == expected.outline()));
        let (mut to_wire, mut body) = (ToWire::default(), Vec::new());
        view.raw_body(*uid, &expected.outline(), |piece| {
            to_wire.push(piece, &mut body);
            true
        })
        .unwrap();
        to_wire.finish(&mut body);
        let text = &wire[header.len()..(expected.outline().text_end as usize).max(header.len())];
        // A last line without an end has one on the wire.
        assert!(body.starts_with(text.strip_suffix(b"\r\n").unwrap_or(text)), "{uid:?}");
    }
    assert!(heads.next().is_none() && headers.next().is_none());
    uids.len()
}

#[test]
fn headers_are_read_alone_and_the_rest_when_it_is_wanted() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    deliver(&world, 1..=150);
    let view = world.inbox("alice").view().unwrap();
    assert_eq!(look_at_headers(&view), 150);
    let heads = cached(&disk);
    assert_eq!(look_at_headers(&view), 150);
    assert_eq!(cached(&disk), heads);
    // What only the headers told is not enough, and what all of a message told is.
    assert_eq!(look(&world), 150);
    let whole = cached(&disk);
    assert!(whole > 2 * heads);
    assert_eq!((look_at_headers(&view), look(&world)), (150, 150));
    assert_eq!(cached(&disk), whole);
}

#[test]
fn bodies_of_any_form_are_read_as_far_as_their_text_goes() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let from = "From a@b Sat Nov  1 12:26:40 2025\n";
    let multipart = "Content-Type: multipart/mixed; boundary=b\n\n";
    let text = "--b\n\nFrom\n>From you\n>>From me\n>From us\nlast";
    let blob =
        format!("\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n{}\n--b--\n", "AAAA\n".repeat(90_000));
    let messages = [
        "Subject: plain\n\ntext\n\n".to_owned(),
        "Subject: crlf\r\n\r\ntext\r\n>From here\r\n\r\n".to_owned(),
        "Subject: mixed\n\nsome\r\n>From here\nmore\n\n".to_owned(),
        "Subject: no body\n\n\n".to_owned(),
        "Subject: status\nStatus: RO\nX-UID: 7\n\n>From all\n\n".to_owned(),
        format!("{multipart}{text}{blob}\n"),
        format!("{multipart}preamble\n{blob}{text}\n--b--\n\n").replace('\n', "\r\n"),
        format!("{multipart}{blob}\n"),
        "Content-Type: image/png\n\n>From none\n\n".to_owned(),
        "Subject: it breaks off\n\n>From the end".to_owned(),
    ];
    world.write("alice", messages.iter().map(|message| format!("{from}{message}")).collect::<String>().as_bytes());
    let view = world.inbox("alice").view().unwrap();
    assert_eq!(look_at_headers(&view), messages.len());
    // Of what lies behind the text, little is read.
    let uid = uids(&view)[5];
    let outline = view.structure(uid).unwrap().outline();
    let mut read = 0;
    view.raw_body(uid, &outline, |piece| {
        read += piece.len();
        true
    })
    .unwrap();
    assert!((text.len()..text.len() + 40).contains(&read), "{read}");
}

#[test]
fn many_big_messages_are_taken_apart_on_all_processors() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let filler = "some text in a line that is about as long as lines are\n".repeat(20_000);
    for n in 1..=30 {
        let message = format!("Subject: message {n}\nMessage-ID: <{n}@c>\n\n{filler}end of {n}\n");
        world.inbox("alice").deliver(&Mail::new(n, message.as_bytes()).copy()).unwrap();
    }
    assert_eq!((look(&world), look(&world)), (30, 30));
}

fn cached(disk: &dyn Disk) -> u64 {
    disk.stat(Path::new(CACHE)).map_or(0, |stat| stat.size)
}

/// Puts a structure that no message has into the cache, for every message.
fn forge(world: &World) -> Structure {
    let forged = Structure::of(b"Subject: forged\r\n\r\n");
    let mut frame = Frame::default();
    let mailbox = world.inbox("alice");
    drop(mailbox.view().unwrap());
    for row in &mailbox.inner().rows().rows {
        frame.push(row, &encode(&forged));
    }
    Cache::default().add(&*world.disk, Path::new(CACHE), &frame, 0).unwrap();
    forged
}

#[test]
fn what_is_in_the_cache_is_not_found_out_again() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    deliver(&world, 1..=20);
    assert_eq!(look(&world), 20);
    let size = cached(&disk);
    look(&world);
    assert_eq!(cached(&disk), size);
    let forged = forge(&world);
    for world in [&world, &World::sim(&disk.after_kill())] {
        let view = world.inbox("alice").view().unwrap();
        assert!(uids(&view).iter().all(|uid| view.structure(*uid).unwrap() == forged));
    }
    // One more is found out alone, and nothing but it is added.
    let size = cached(&disk);
    deliver(&world, [21]);
    let view = world.inbox("alice").view().unwrap();
    let last = *uids(&view).last().unwrap();
    assert_eq!(view.structure(last).unwrap().keys.message_id.as_deref(), Some("21@c"));
    assert!((1..1000).contains(&(cached(&disk) - size)));
}

#[test]
fn any_part_is_read_by_its_structure() {
    let world = World::sim(&SimDisk::default());
    deliver(&world, 1..=9);
    let view = world.inbox("alice").view().unwrap();
    for (uid, n) in uids(&view).into_iter().zip(1u64..) {
        let structure = view.structure(uid).unwrap();
        for part in 0..=n % 9 {
            let range = structure.section(&[part as u32 + 1], Section::Whole).unwrap();
            let mut text = String::new();
            view.read_part(uid, range).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("text {part} of {n}\r\n{}From here", if part == 9 { "" } else { ">" }).replace(">F", "F"));
        }
    }
}

#[test]
fn those_that_are_gone_are_told_and_the_others_come() {
    let world = World::sim(&SimDisk::default());
    deliver(&world, 1..=5);
    for _ in 0..2 {
        let view = world.inbox("alice").view().unwrap();
        let all = [&[Uid(999)], uids(&view).as_slice()].concat();
        let gone = all[1];
        world.inbox("alice").expunge(&[gone]).unwrap();
        let mut structures = view.structures(&all);
        while let Some((uid, record)) = structures.next() {
            assert_eq!(matches!(record, Err(MailboxError::Gone)), uid == gone || uid == Uid(999));
        }
        assert!(matches!(view.structure(gone), Err(MailboxError::Gone)));
    }
}

/// Another mailbox with the same numbers at the same place: nothing of the first one is shown for it.
#[test]
fn the_cache_of_another_mailbox_is_no_use() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    deliver(&world, 1..=9);
    look(&world);
    forge(&world);
    let cache = bytes(&disk, CACHE);
    let other = SimDisk::default();
    let world = World::sim(&other);
    deliver(&world, 1..=9);
    look(&world);
    write(&other, CACHE, &cache);
    look(&world);
    look(&World::sim(&other.after_kill()));
}

#[test]
fn a_damaged_cache_changes_nothing_and_is_mended() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    for n in 1..=12 {
        // Many frames.
        deliver(&world, [n]);
        look(&world);
    }
    world.store.close();
    let (origin, cache) = (disk.after_kill(), bytes(&disk, CACHE));
    rounds(300, |n, random| {
        let disk = origin.after_kill();
        let mut damaged = cache.clone();
        damage(&mut damaged, random);
        let world = World::sim(&disk);
        if random.one_in(2) {
            // It was looked at before.
            look(&world);
        }
        write(&disk, CACHE, &damaged);
        assert_eq!(look(&world), 12, "round {n}");
        assert_eq!(look(&World::sim(&disk.after_kill())), 12, "round {n}");
        // By now everything is in it again.
        let size = cached(&disk);
        look(&World::sim(&disk.after_kill()));
        assert_eq!(cached(&disk), size, "round {n}");
    });
}

#[test]
fn it_may_go_away_at_any_time() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    deliver(&world, 1..=6);
    let view = world.inbox("alice").view().unwrap();
    let all = uids(&view);
    let mut structures = view.structures(&all);
    while let Some((_, record)) = structures.next() {
        record.unwrap();
        drop(disk.remove(Path::new(CACHE)));
    }
    drop(structures);
    assert!(cached(&disk) > 0);
    disk.remove(Path::new(CACHE)).unwrap();
    look(&world);
    disk.rename(Path::new(CACHE), Path::new("/w/spool/index/alice/away")).unwrap();
    look(&world);
    assert!(cached(&disk) > 0);
    // Nor is there any harm in a directory that stands in its place.
    disk.remove(Path::new(CACHE)).unwrap();
    disk.make_dir(Path::new(CACHE), 0o700).unwrap();
    look(&world);
}

/// A stop in each operation, a full disk, a lost write: the worst is that it is found out again.
#[test]
fn no_stop_and_no_failure_shows_a_wrong_structure() {
    let prepared = || {
        let disk = SimDisk::default();
        let world = World::sim(&disk);
        deliver(&world, 1..=4);
        look(&world);
        deliver(&world, 5..=8);
        world.store.close();
        disk.after_kill()
    };
    let origin = prepared();
    // Each asks for what is in the cache and for what is not.
    let life = |disk: &SimDisk, prepare: &dyn Fn(&SimDisk)| {
        let world = World::sim(disk);
        let view = world.inbox("alice").view().unwrap();
        let (all, begun) = (uids(&view), disk.operations());
        prepare(disk);
        let mut structures = view.structures(&all);
        while structures.next().is_some() {}
        drop(structures);
        (begun, disk.operations())
    };
    let (from, to) = life(&origin.after_kill(), &|_| {});
    assert!(to > from);
    for n in from + 1..=to {
        let disk = origin.after_kill();
        life(&disk, &|disk| disk.fail_at(n, io::ErrorKind::StorageFull));
        assert_eq!(look(&World::sim(&disk.after_kill())), 8);
        let disk = origin.after_kill();
        life(&disk, &|disk| disk.stop_at(n));
        assert_eq!(look(&World::sim(&disk.after_kill())), 8);
        for seed in 0..20 {
            let world = World::sim(&disk.after_power_cut(seed));
            assert_eq!((look(&world), look(&world)), (8, 8));
        }
    }
}

#[test]
fn it_is_shortened_when_most_of_it_is_about_the_dead() {
    let disk = SimDisk::default();
    let (world, other) = (World::sim(&disk), World::sim(&disk));
    deliver(&world, 1..=500);
    look(&world);
    look(&other);
    let full = cached(&disk);
    let view = world.inbox("alice").view().unwrap();
    let all = uids(&view);
    world.inbox("alice").expunge(&all[..200]).unwrap();
    deliver(&world, [501]);
    look(&world);
    assert!(cached(&disk) > full, "not yet: {full}");
    world.inbox("alice").expunge(&all[200..450]).unwrap();
    deliver(&world, 502..=502);
    look(&world);
    let short = cached(&disk);
    assert!(short < full / 4, "{short} of {full}");
    // The other daemon has the old one open, and goes over to the new one.
    assert_eq!(look(&other), 52);
    assert_eq!(look(&World::sim(&disk.after_kill())), 52);
    assert_eq!(cached(&disk), short);
}

#[test]
fn two_daemons_fill_it_together() {
    let disk = SimDisk::default();
    let worlds = [World::sim(&disk), World::sim(&disk)];
    for n in 1..=40 {
        let world = &worlds[n as usize % 2];
        deliver(world, [n]);
        assert_eq!(look(world), n as usize);
    }
    let size = cached(&disk);
    worlds.iter().for_each(|world| assert_eq!(look(world), 40));
    assert_eq!(cached(&disk), size);
    // Where one has it locked, the other does without.
    let file = disk.open(Path::new(CACHE), Open::Write).unwrap();
    assert!(file.try_lock(crate::sys::Lock::Exclusive).unwrap());
    deliver(&worlds[0], [41]);
    assert_eq!(look(&worlds[0]), 41);
    assert_eq!(cached(&disk), size);
    file.unlock().unwrap();
    look(&worlds[0]);
    assert!(cached(&disk) > size);
}

/// Two sessions that find out the same at the same time keep it once.
#[test]
fn what_another_session_kept_meanwhile_is_not_kept_twice() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    deliver(&world, 1..=9);
    let views = [world.inbox("alice").view().unwrap(), world.inbox("alice").view().unwrap()];
    let all = uids(&views[0]);
    look(&World::sim(&disk.after_kill()));
    deliver(&world, [10]);
    views[0].structure(all[0]).unwrap();
    let mut both = [views[0].structures(&all[1..]), views[1].structures(&all[1..])];
    while both.iter_mut().all(|one| one.next().is_some()) {}
    drop(both);
    let bytes = bytes(&disk, CACHE);
    let times = bytes.windows(4).filter(|window| window == b"<3@c").count();
    assert_eq!(times, 1);
}

#[test]
fn messages_that_move_or_change_keep_or_lose_their_records() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    deliver(&world, 1..=6);
    look(&world);
    world.store.checkpoint();
    // Another program removes the first, and adds to the last.
    let file = String::from_utf8(world.file("alice")).unwrap();
    let second = file[1..].find("\nFrom ").unwrap() + 2;
    write(&disk, "/w/mail/alice", format!("{}more\n\n", &file[second..]).as_bytes());
    assert_eq!(look(&world), 5);
    assert_eq!(look(&World::sim(&disk.after_kill())), 5);
}

#[test]
fn what_was_overwritten_meanwhile_is_gone_and_not_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let mailbox = world.inbox("alice");
    for n in 1..=3 {
        mailbox.deliver(&small(n).copy()).unwrap();
    }
    let big = [b"Subject: message 4\n\n".to_vec(), b"a line\n".repeat(200_000)].concat();
    mailbox.deliver(&Mail::new(4, &big).copy()).unwrap();
    let view = mailbox.view().unwrap();
    let messages = view.messages().unwrap();
    let uids: Vec<Uid> = messages.iter().map(|message| message.uid).collect();
    // All are looked up now.
    let mut structures = view.structures(&uids).alone();
    assert!(structures.next().unwrap().1.is_ok());
    // What the session has of the file is another part, then the first again, with the dead behind it.
    read(&view, &messages[3]);
    mailbox.expunge(&[uids[1]]).unwrap();
    read(&view, &messages[0]);
    let (uid, record) = structures.next().unwrap();
    assert_eq!(uid, uids[1]);
    assert!(matches!(record, Err(MailboxError::Gone)), "{record:?}");
    assert!(structures.next().unwrap().1.is_ok());
}
