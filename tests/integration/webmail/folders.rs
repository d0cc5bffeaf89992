//! Folders and sessions.

use super::browser::{Browser, Page};
use crate::common::{Setup, letter};

crate::tests![
    folders_are_made_renamed_moved_and_deleted,
    what_is_no_folders_name_is_told,
    trash_is_emptied_of_what_was_seen,
    folders_of_others_and_special_ones_stay,
    sessions_are_listed_and_ended,
];

/// The names in the sidebar.
fn names(page: &Page) -> Vec<String> {
    let text = page.text();
    let nav = text.split("<nav class=\"folders\"").nth(1).unwrap().split("</nav>").next().unwrap().to_owned();
    nav.split("<span>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// Sends the form that the page of one folder shows.
fn act(browser: &mut Browser, folder: &str, word: &str, fields: &[(&str, &str)]) -> Page {
    let page = browser.get(&format!("/folders?folder={}", folder.replace('/', "%2F")));
    let hidden = |name: &str| page.attribute(&["type=\"hidden\"", &format!("name=\"{name}\"")], "value").unwrap_or_default();
    let own = [("do", word.to_owned()), ("folder", folder.to_owned()), ("known", hidden("known")), ("token", browser.token())];
    let mut all: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(fields);
    browser.post("/folders", &all)
}

fn folders_are_made_renamed_moved_and_deleted() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("one", "text"));
    let mut alice = Browser::of(&daemon, "alice");
    let page = alice.act("/folders", &[("do", "create"), ("name", "Projects"), ("under", "")]);
    page.shows("The folder is made.");
    alice.act("/folders", &[("do", "create"), ("name", "Gr\u{fc}n & <b>"), ("under", "Projects")]);
    let page = alice.get("/folders");
    assert!(names(&page).contains(&"Projects/Gr\u{fc}n &amp; &lt;b&gt;".to_owned()), "{:?}", names(&page));
    page.lacks("<b>");
    // Mail programs see them, too.
    let mut imap = daemon.imap("alice");
    let listed = imap.ok("LSUB \"\" *").unwrap().join("\n");
    assert!(listed.contains("Projects") && listed.contains("&APw-"), "{listed}");
    let message = alice.get("/m/INBOX").messages().remove(0);
    alice.act("/m/INBOX", &[("do", "move"), ("to", "Projects"), ("m", &message)]);
    // Its number of messages and of unread ones.
    let row = alice.get("/folders").text().split("href=\"/m/Projects\">Projects</a></td>").nth(1).unwrap().to_owned();
    assert!(row.starts_with("<td class=\"number\">1</td><td class=\"number\">1</td>"), "{row:.100}");
    let page = act(&mut alice, "Projects", "rename", &[("name", "Old"), ("under", "Archive")]);
    assert_eq!((page.status, page.field("location")), (303, Some("/folders?told=rename")));
    alice.get("/m/Archive%2FOld").shows(">one<");
    assert_eq!(alice.get("/m/Projects").status, 404);
    let listed = imap.ok("LSUB \"\" *").unwrap().join("\n");
    assert!(listed.contains("Archive/Old/Gr") && !listed.contains("Projects"), "{listed}");
    // To its own place: nothing happens.
    assert_eq!(act(&mut alice, "Archive/Old", "rename", &[("name", "Old"), ("under", "Archive")]).status, 303);
    alice
        .get("/folders?folder=Archive%2FOld")
        .shows("Delete the folder and 1 message for good")
        .shows("The folders below it stay.");
    // Mail that came after the page was shown saves the folder.
    let stale = [("known", "1-1")];
    let page = act_with(&mut alice, "Archive/Old", "delete", &stale);
    assert!(page.status == 409 && page.text().contains("Nothing was done."), "{}", page.text());
    assert_eq!(act(&mut alice, "Archive/Old", "delete", &[]).status, 303);
    assert_eq!(alice.get("/m/Archive%2FOld").status, 404);
    alice.get("/m/Archive%2FOld%2FGr%C3%BCn%20%26%20%3Cb%3E").shows("There is no mail here.");
}

/// As [`act`], but these values only.
fn act_with(browser: &mut Browser, folder: &str, word: &str, fields: &[(&str, &str)]) -> Page {
    let token = browser.token();
    browser.post("/folders", &[&[("do", word), ("folder", folder), ("token", token.as_str())], fields].concat())
}

fn what_is_no_folders_name_is_told() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let token = alice.token();
    let long = "x".repeat(300);
    for (name, under, told) in [
        ("", "", "A part of the name is empty."),
        ("a//b", "", "A part of the name is empty."),
        ("a\u{7}b", "", "The name has a control character."),
        (long.as_str(), "", "The name is too long."),
        ("inbox", "", "There is a folder of this name."),
        ("Trash", "", "There is a folder of this name."),
    ] {
        let page = alice.post("/folders", &[("do", "create"), ("name", name), ("under", under), ("token", &token)]);
        assert!(page.status == 409 && page.text().contains(told), "{name}: {}", page.text());
    }
    alice.act("/folders", &[("do", "create"), ("name", "a"), ("under", "")]);
    for (name, under, told) in
        [("b", "a", "A folder can&#39;t be below itself."), ("Sent", "", "There is a folder of this name.")]
    {
        let page = act(&mut alice, "a", "rename", &[("name", name), ("under", under)]);
        let text = page.text().replace("&#39;", "'").replace("&apos;", "'");
        assert!(page.status == 409 && text.contains(&told.replace("&#39;", "'")), "{name}: {text}");
    }
    // Nothing leaves the user's directory.
    for name in ["../bob/x", "..", "/etc/x", "a/../../b"] {
        let page = alice.post("/folders", &[("do", "create"), ("name", name), ("under", ""), ("token", &token)]);
        assert!([303, 409].contains(&page.status), "{name}");
    }
    let mut bob = Browser::of(&daemon, "bob");
    assert_eq!(names(&bob.get("/folders")), ["Inbox", "Drafts", "Sent", "Archive", "Junk", "Trash"]);
    assert_eq!(alice.post("/folders", &[("do", "create"), ("name", "evil")]).status, 403);
}

fn trash_is_emptied_of_what_was_seen() {
    let daemon = Setup::default().start();
    for subject in ["one", "two", "three"] {
        daemon.send(&["alice@here.test"], &letter(subject, "text"));
    }
    let mut alice = Browser::of(&daemon, "alice");
    let names = alice.get("/m/INBOX").messages();
    alice.act("/m/INBOX", &[("do", "delete"), ("m", &names[1]), ("m", &names[2])]);
    let page = alice.get("/folders?folder=Trash");
    page.shows("Delete 2 messages for good").lacks("Delete the folder");
    let known = page.attribute(&["name=\"known\""], "value").unwrap();
    // One more comes before the button is pressed.
    alice.act("/m/INBOX", &[("do", "delete"), ("m", &names[0])]);
    assert_eq!(act_with(&mut alice, "Trash", "empty", &[("known", &known)]).status, 303);
    alice.get("/m/Trash").shows(">three<").lacks(">one<").lacks(">two<");
    for known in ["", "1", "1-x"] {
        assert!([409, 422].contains(&act_with(&mut alice, "Trash", "empty", &[("known", known)]).status), "{known}");
    }
    alice.get("/m/Trash").shows(">three<");
}

fn folders_of_others_and_special_ones_stay() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("one", "text"));
    let mut alice = Browser::of(&daemon, "alice");
    for (folder, word) in [("INBOX", "empty"), ("Sent", "empty"), ("Sent", "delete"), ("Trash", "delete"), ("INBOX", "explode")] {
        assert_eq!(act_with(&mut alice, folder, word, &[("known", "1-1")]).status, 422, "{folder} {word}");
    }
    assert_eq!(act_with(&mut alice, "INBOX", "rename", &[("name", "x"), ("under", "")]).status, 404);
    assert_eq!(act_with(&mut alice, "Nowhere", "delete", &[]).status, 404);
    assert_eq!(alice.get("/folders?folder=INBOX").status, 404);
    assert_eq!(alice.get("/folders?folder=..%2Fbob").status, 404);
    alice.get("/m/INBOX").shows(">one<");
}

fn sessions_are_listed_and_ended() {
    let daemon = Setup::default().start();
    let mut one = Browser::new(&daemon);
    one.more = "User-Agent: Mozilla/5.0 (X11; Linux) Firefox/1.0 <script>\r\n".into();
    one.post("/login", &[("name", "alice"), ("password", "secret")]);
    let (mut two, mut bob) = (Browser::of(&daemon, "alice"), Browser::of(&daemon, "bob"));
    let page = two.get("/sessions");
    page.shows("Firefox on Linux").shows("127.0.0.1").shows("this one").lacks("<script>");
    assert_eq!(page.text().matches("<tr>").count(), 3);
    bob.get("/sessions").lacks("Firefox");
    // Nobody ends another's.
    let id = page.attribute(&["name=\"id\""], "value").unwrap();
    bob.act("/sessions", &[("do", "end"), ("id", &id)]);
    assert_eq!(one.get("/m/INBOX").status, 200);
    assert_eq!(two.post("/sessions", &[("do", "end"), ("id", &id)]).status, 403);
    two.act("/sessions", &[("do", "end"), ("id", &id)]).shows("It is logged out.").lacks("Firefox");
    assert_eq!(one.get("/m/INBOX").status, 303);
    let mut three = Browser::of(&daemon, "alice");
    two.act("/sessions", &[("do", "others")]);
    assert_eq!((three.get("/m/INBOX").status, two.get("/m/INBOX").status), (303, 200));
    assert_eq!(bob.get("/m/INBOX").status, 200);
}
