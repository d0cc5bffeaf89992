use super::*;
use crate::spool::segment::tests::{envelope, written};
use proptest::prelude::*;
use segment::Record;
use std::sync::Arc;

fn id(counter: u64) -> SpoolId {
    SpoolId { generation: 9, counter }
}

fn record(counter: u64, recipients: u32) -> Record {
    Record {
        id: id(counter),
        time: Time(counter as i64),
        envelope: Arc::new(envelope(recipients as usize)),
        waiting: (0..recipients).map(|index| Mark::fresh(index, Time(counter as i64))).collect(),
        settles: Vec::new(),
        group: None,
        adopted: None,
        file: None,
    }
}

fn settled(counter: u64, recipients: &[u32]) -> Line {
    Line { id: id(counter), recipients: recipients.to_vec(), time: Time(0), what: What::Settled("delivered", String::new()) }
}

fn image(number: u64, generation: u64, records: &[Record], items: &[Item]) -> Image {
    let mut segment = segment::head(generation, Time(0));
    records.iter().for_each(|record| segment.extend(written(record, generation, b"Subject: x\n\nFrom\n")));
    segment.extend([0; 100]);
    let mut log = log::head(generation);
    items.iter().for_each(|item| item.put(generation, &mut log));
    Image { number, segment, log }
}

fn left(images: &[Image]) -> Vec<(u64, Vec<u32>)> {
    let state = replay(images).unwrap();
    let indices = |live: &Live| live.waiting.iter().map(|mark| mark.index).collect();
    let mut left: Vec<_> = state.entries.iter().map(|(id, live)| (id.counter, indices(live))).collect();
    left.sort();
    left
}

#[test]
fn what_is_not_settled_waits() {
    let items = [Item::Out(settled(1, &[0])), Item::Out(settled(2, &[0, 1]))];
    let images = [image(1, 5, &[record(1, 3), record(2, 2), record(3, 1)], &items)];
    assert_eq!(left(&images), [(1, vec![1, 2]), (3, vec![0])]);
    assert_eq!(replay(&images).unwrap(), replay(&images).unwrap());
}

#[test]
fn a_record_settles_others_wherever_they_lie() {
    let bounce = Record { settles: vec![settled(1, &[0])], ..record(7, 1) };
    let copy = record(1, 2);
    for copy_in in [1, 3] {
        let mut images = [image(1, 5, &[], &[]), image(2, 6, std::slice::from_ref(&bounce), &[]), image(3, 7, &[], &[])];
        images[copy_in - 1] = image(copy_in as u64, 8, std::slice::from_ref(&copy), &[]);
        assert_eq!(left(&images), [(1, vec![1]), (7, vec![0])]);
        assert_eq!(replay(&images).unwrap().owed.len(), 1);
    }
}

#[test]
fn who_was_warned_by_a_record_stays_warned() {
    let warned = Mark { warned: true, ..Mark::fresh(0, Time(1)) };
    let line = |mark: &Mark| Line { id: id(1), recipients: vec![0], time: Time(0), what: What::Waiting(mark.clone()) };
    let warning = Record { settles: vec![line(&warned)], ..record(7, 1) };
    // Written before the warning, without it; what the warning made of it is not in the log yet.
    let deferred = Item::Out(line(&Mark { tries: 3, ..Mark::fresh(0, Time(9)) }));
    let apart = |log: &[Item]| [image(1, 5, &[record(1, 1)], log), image(2, 6, std::slice::from_ref(&warning), &[])];
    let together = |log: &[Item]| [image(1, 5, &[record(1, 1), warning.clone()], log), image(2, 6, &[], &[])];
    for images in [&apart, &together] as [&dyn Fn(&[Item]) -> [Image; 2]; 2] {
        let state = replay(&images(std::slice::from_ref(&deferred))).unwrap();
        let mark = &state.entries[&id(1)].waiting[0];
        assert_eq!((mark.warned, mark.tries, mark.due), (true, 3, Time(9)));
        // The log of the message must have it before the record may go, and is owed it once.
        let [(1, owed @ Item::Out(_))] = state.owed.as_slice() else { panic!("{:?}", state.owed) };
        let images = images(&[deferred.clone(), owed.clone()]);
        assert!(replay(&images).unwrap().owed.is_empty());
        let [first, second] = images;
        let without = if second.segment.len() > 700 { vec![first] } else { vec![first, second] };
        assert!(replay(&without).unwrap().entries[&id(1)].waiting[0].warned);
    }
}

#[test]
fn the_highest_segment_wins_but_settled_is_settled() {
    let mut copy = record(1, 3);
    copy.waiting.remove(0);
    copy.waiting[0].tries = 4;
    let old = image(1, 5, &[record(1, 3)], &[Item::Out(settled(1, &[2]))]);
    let new = image(2, 6, &[copy], &[]);
    let state = replay(&[old.clone(), new.clone()]).unwrap();
    let live = &state.entries[&id(1)];
    assert_eq!((live.segment, live.waiting.len(), live.waiting[0].tries), (2, 1, 4));
    assert_eq!(state.owed.len(), 2, "{:?}", state.owed);
    // Once what is owed is written, the old segment may go.
    let items: Vec<Item> = state.owed.iter().filter(|(to, _)| *to == 2).map(|(_, item)| item.clone()).collect();
    let mut paid = new;
    items.iter().for_each(|item| item.put(6, &mut paid.log));
    assert_eq!(left(&[paid]), [(1, vec![1])]);
    // A record that was moved does not count, even when its copy is gone again.
    assert_eq!(left(&[image(1, 5, &[record(1, 3)], &[Item::Moved(id(1))])]), []);
}

#[test]
fn a_torn_record_hides_none_behind_it() {
    let mut whole = image(1, 5, &[record(1, 1), record(2, 1), record(3, 1)], &[]);
    let at = segment::find(&whole.segment, 513, Some(5)).unwrap();
    whole.segment[at + 40] ^= 1;
    assert_eq!(left(std::slice::from_ref(&whole)), [(1, vec![0]), (3, vec![0])]);
    assert!(replay(&[whole.clone()]).unwrap().damaged);
    whole.segment[..512].fill(0);
    assert_eq!(left(std::slice::from_ref(&whole)).len(), 2, "the log knows the generation too");
    whole.log.clear();
    let state = replay(&[whole]).unwrap();
    assert!(state.entries.is_empty() && state.segments[&1].stuck);
}

#[test]
fn stale_records_and_stale_logs_do_not_count() {
    let old = image(1, 5, &[record(1, 1), record(2, 1)], &[Item::Out(settled(3, &[0]))]);
    let mut recycled = image(1, 6, &[record(3, 1)], &[]);
    recycled.segment.truncate(recycled.segment.len() - 100);
    let behind = recycled.segment.len();
    recycled.segment.extend_from_slice(&old.segment[behind..]);
    recycled.log = old.log;
    let state = replay(std::slice::from_ref(&recycled)).unwrap();
    assert_eq!(left(&[recycled]), [(3, vec![0])]);
    assert_eq!(state.segments[&1].log_end, None);
}

#[test]
fn void_records_were_never_accepted() {
    let mut one = image(1, 5, &[record(1, 1)], &[]);
    let end = one.segment.len() as u64 - 100;
    let bounce = Record { settles: vec![settled(1, &[0])], ..record(2, 1) };
    one.segment = image(1, 5, &[record(1, 1), bounce], &[]).segment;
    assert_eq!(left(std::slice::from_ref(&one)), [(2, vec![0])]);
    Item::Void(end).put(5, &mut one.log);
    assert_eq!(left(&[one]), [(1, vec![0])]);
}

#[test]
fn a_summary_stands_for_the_records_before_its_end() {
    let mut one = image(1, 5, &[record(1, 1), record(2, 2)], &[]);
    let end = one.segment.len() as u64 - 100;
    one.segment = image(1, 5, &[record(1, 1), record(2, 2), record(3, 1)], &[]).segment;
    let place = Place { offset: 700, header: 10, size: 9, own: false };
    let live = Item::Live { id: id(2), place, time: Time(2), waiting: vec![1], domains: None };
    let mut closed = one.clone();
    Item::Summary { end, closed: false, count: 1 }.put(5, &mut one.log);
    live.put(5, &mut one.log);
    assert_eq!(left(std::slice::from_ref(&one)), [(2, vec![1]), (3, vec![0])]);
    Item::Summary { end, closed: true, count: 2 }.put(5, &mut closed.log);
    live.put(5, &mut closed.log);
    assert_eq!(left(std::slice::from_ref(&closed)), [(2, vec![1])]);
    assert!(replay(&[closed]).unwrap().segments[&1].stuck, "a live line is lost");
}

/// A start that reads no record knows the same of the domains as one that does.
#[test]
fn where_a_message_goes_is_known_from_its_record_and_from_a_summary() {
    let read = image(1, 5, &[record(1, 2)], &[]);
    let domains = |images: &[Image]| replay(images).unwrap().entries[&id(1)].domains.clone();
    assert_eq!(domains(std::slice::from_ref(&read)).as_deref(), Some("example.org"));
    let place = Place { offset: 512, header: 10, size: 9, own: false };
    let live = |domains| Item::Live { id: id(1), place: place.clone(), time: Time(2), waiting: vec![1], domains };
    for told in [Some(Arc::from("a.test,b.test")), None] {
        let summary = Item::Summary { end: 9, closed: true, count: 1 };
        assert_eq!(domains(&[image(1, 5, &[], &[summary, live(told.clone())])]), told);
    }
}

#[test]
fn a_format_from_the_future_is_refused() {
    let fields = "X-Spool-Segment: 99\n";
    let segment = segment::seal(5, Time(0), fields, segment::checksum(&[], fields));
    let error = replay(&[Image { number: 3, segment, log: Vec::new() }]).unwrap_err();
    assert!(error.to_string().contains("00000003 has format 99"), "{error}");
}

proptest! {
    #[test]
    fn no_damage_makes_anything_up(at in 0usize..4000, with in proptest::collection::vec(any::<u8>(), 1..600), cut in 0usize..4000) {
        let items = [Item::Out(settled(1, &[0])), Item::Out(settled(2, &[1]))];
        let whole = image(1, 5, &[record(1, 2), record(2, 2), record(3, 2), record(4, 1)], &items);
        let mut spoiled = whole.clone();
        let at = at % whole.segment.len();
        let end = (at + with.len()).min(whole.segment.len());
        spoiled.segment[at..end].copy_from_slice(&with[..end - at]);
        let sound = |state: &State| state.entries.keys().all(|id| id.generation == 9 && (1..5).contains(&id.counter));
        prop_assert!(sound(&replay(&[spoiled]).unwrap()));
        let mut torn = whole.clone();
        torn.segment.truncate(cut);
        torn.log.truncate(cut / 8);
        prop_assert!(sound(&replay(&[torn]).unwrap()));
        let mut log_spoiled = whole;
        let at = at % log_spoiled.log.len();
        let end = (at + with.len()).min(log_spoiled.log.len());
        log_spoiled.log[at..end].copy_from_slice(&with[..end - at]);
        let state = replay(&[log_spoiled]).unwrap();
        prop_assert!(sound(&state) && state.entries.len() == 4);
    }
}
