//! From message to message, in a folder or in what was found, and back to one's place in the list.

use super::browser::{Browser, Page};
use super::bulk::filled;
use crate::common::letter;

crate::tests![a_search_is_gone_through_as_it_was_shown, the_list_is_where_it_was_left];

/// The subject that a message's page shows.
fn subject(page: &Page) -> String {
    let text = page.text();
    text.split("<h1 dir=\"auto\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

fn a_search_is_gone_through_as_it_was_shown() {
    let daemon = filled(&[("north", 1), ("south", 1), ("north of", 1), ("east", 2), ("north by", 1)]);
    let mut alice = Browser::of(&daemon, "alice");
    let list = alice.get("/m/INBOX?q=is%3Aunread%20north");
    let mut page = alice.get(&list.link("north by 0"));
    // Each is read by being opened, and is not what was searched for any more.
    for (here, next) in [("north by 0", "north of 0"), ("north of 0", "north 0")] {
        assert_eq!(subject(&page), here);
        page.lacks("south").lacks("east");
        page = alice.get(&page.link("Older"));
        assert_eq!(subject(&page), next);
    }
    page.lacks(">Older<");
    page = alice.get(&page.link("Newer"));
    assert_eq!(subject(&page), "north of 0");
    // What goes away meanwhile is passed over; what comes is there when the list is shown again.
    daemon.send(&["alice@here.test"], &letter("north again", "text"));
    let first = list.messages().remove(0);
    alice.act("/m/INBOX", &[("m", &first), ("do", "delete")]);
    let path = page.link("Newer").replace("&amp;", "&");
    assert!(path.ends_with("?p=1&q=is%3Aunread%20north"), "{path}");
    let here = list.link("north of 0");
    alice.get(&here).shows("Older").lacks(">Newer<");
    alice.get("/m/INBOX?q=is%3Aunread%20north").shows("north again").lacks("north of");
    // An old link to what is not found any more: the message, and nobody beside it.
    alice.get(&here).shows("text of 0").lacks(">Older<").lacks(">Newer<");
}

fn the_list_is_where_it_was_left() {
    let daemon = filled(&[("number", 120)]);
    let mut alice = Browser::of(&daemon, "alice");
    let list = alice.get("/m/INBOX?p=2");
    let name = list.messages().pop().unwrap();
    let uid = name.split('-').nth(1).unwrap().to_owned();
    list.shows(&format!("<li id=\"m{uid}\""));
    let path = list.link("number 20");
    assert!(path.ends_with(&format!("/{name}?p=2")), "{path}");
    let page = alice.get(&path);
    assert_eq!((subject(&page).as_str(), page.link("← ")), ("number 20", format!("/m/INBOX?p=2#m{uid}")));
    // The next one is on the next page of the list.
    let page = alice.get(&page.link("Older"));
    assert_eq!((subject(&page).as_str(), page.link("← ").split('#').next().unwrap()), ("number 19", "/m/INBOX?p=3"));
    let first = alice.get("/m/INBOX").link("number 119");
    assert!(!first.contains('?'), "{first}");
    assert!(alice.get(&first).link("← ").starts_with("/m/INBOX#m"));
}
