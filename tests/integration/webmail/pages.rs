//! What a person does.

use super::browser::Browser;
use crate::common::{Setup, base64, letter};

crate::tests![
    mail_is_listed_and_read,
    lists_have_pages,
    messages_are_marked_moved_and_deleted,
    what_was_moved_comes_back,
    mail_is_searched,
    files_are_taken_from_messages,
    formatted_mail_is_shown_in_a_frame,
    old_links_never_lead_to_other_mail,
    pages_are_small_and_kept,
];

fn mail_is_listed_and_read() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("first", "one"));
    let second = "From: =?utf-8?Q?J=C3=B6rg?= <j@sender.test>\r\nTo: alice@here.test\r\nDate: Sat, 21 Nov 2026 09:18:51 +0000\r\n\
                  Subject: a <b>tag</b> & more\r\n\r\nLook at https://web.test/?a=1&b=2.\r\n> quoted\r\n<script>alert(1)</script>\r\n";
    daemon.send(&["alice@here.test"], second.as_bytes());
    let mut alice = Browser::of(&daemon, "alice");
    let list = alice.get("/m/INBOX");
    list.shows("Jörg").shows("a &lt;b&gt;tag&lt;/b&gt; &amp; more").shows("first").shows("(2) Inbox").lacks("<b>tag");
    assert!(list.text().find(">first<") > list.text().find("Jörg"), "the newest is first");
    assert_eq!(list.text().matches("class=\"message unread\"").count(), 2);
    let path = list.link("more");
    let page = alice.get(&path);
    page.shows("Jörg &lt;j@sender.test&gt;").shows("Sat, 21 Nov 2026").lacks("<script>");
    page.shows("<a href=\"https://web.test/?a=1&amp;b=2\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">");
    page.shows("<span class=\"quoted\">&gt; quoted\n</span>").shows("&lt;script&gt;");
    // It has been read, here and for everybody.
    alice.get("/m/INBOX").shows("(1) Inbox");
    let flags = daemon.imap("alice").ok("SELECT INBOX").and_then(|_| daemon.imap("alice").ok("STATUS INBOX (UNSEEN)")).unwrap();
    assert!(flags.iter().any(|line| line.contains("UNSEEN 1")), "{flags:?}");
    alice.get(&format!("{path}?view=headers")).shows("Return-Path: &lt;sender@sender.test&gt;").shows("Received: from");
    let source = alice.get(&format!("{path}/source"));
    assert!(source.text().ends_with(second) && source.field("content-type").unwrap().starts_with("text/plain"));
}

fn lists_have_pages() {
    let daemon = Setup::default().start();
    let mut smtp = daemon.smtp();
    for number in 0..120 {
        smtp.send("s@sender.test", &["alice@here.test"], &letter(&format!("number {number}."), "text")).unwrap();
    }
    let mut alice = Browser::of(&daemon, "alice");
    let mut page = alice.get("/m/INBOX");
    page.shows("number 119.").shows("number 70.").lacks("number 69.").shows("1–50 of 120").lacks("Newer");
    page = alice.get(&page.link("Older"));
    page.shows("number 69.").shows("number 20.").lacks("number 19.").lacks("number 70.");
    page = alice.get(&page.link("Older"));
    page.shows("number 19.").shows("number 0.").shows("101–120 of 120").lacks("Older");
    alice.get(&page.link("Newer")).shows("51–100 of 120");
    for odd in ["p=0", "p=-1", "p=99999999999999999999", "p=x", "p=4"] {
        assert_eq!(alice.get(&format!("/m/INBOX?{odd}")).status, 200, "{odd}");
    }
}

fn messages_are_marked_moved_and_deleted() {
    let daemon = Setup::default().start();
    for subject in ["one", "two", "three"] {
        daemon.send(&["alice@here.test"], &letter(subject, "text"));
    }
    let mut imap = daemon.imap("alice");
    imap.ok("CREATE Projects").unwrap();
    let mut alice = Browser::of(&daemon, "alice");
    let names = alice.get("/m/INBOX").messages();
    let [three, two, one] = names.as_slice() else { panic!("{names:?}") };
    alice.act("/m/INBOX", &[("do", "read"), ("m", one), ("m", two)]).shows("(1) Inbox");
    alice.act("/m/INBOX", &[("do", "unread"), ("m", two)]).shows("(2) Inbox");
    alice.act("/m/INBOX", &[("do", "flag"), ("m", one)]).shows("★");
    alice.act("/m/INBOX", &[("do", "unflag"), ("m", one)]).lacks("★");
    alice.act("/m/INBOX", &[("do", "flag")]).shows("No message was selected.");
    alice.act("/m/INBOX", &[("do", "move"), ("to", "Projects"), ("m", one)]).shows("1 message moved to").lacks(">one<");
    alice.get("/m/Projects").shows(">one<");
    // Into the trash, and from there for good.
    alice.act("/m/INBOX", &[("do", "delete"), ("m", two)]).lacks(">two<");
    alice.act("/m/INBOX", &[("do", "archive"), ("m", three)]).shows("There is no mail here.");
    let trash = alice.get("/m/Trash");
    trash.shows(">two<").shows("Delete for good");
    alice.act("/m/Trash", &[("do", "delete"), ("m", &trash.messages()[0])]).shows("There is no mail here.");
    alice.get("/m/Archive").shows(">three<");
    let status =
        |imap: &mut crate::common::Imap, folder: &str| imap.ok(&format!("STATUS {folder} (MESSAGES)")).unwrap().join(" ");
    for (folder, count) in [("INBOX", 0), ("Projects", 1), ("Archive", 1), ("Trash", 0)] {
        assert!(status(&mut imap, folder).contains(&format!("MESSAGES {count}")), "{folder}");
    }
    assert_eq!(alice.get("/m/Nowhere").status, 404);
    let token = alice.token();
    let page = alice.post("/m/Projects", &[("token", &token), ("do", "move"), ("to", "Nowhere"), ("m", one)]);
    // That name is of a message that is not there any more.
    assert_eq!(page.status, 303);
    assert_eq!(alice.post("/m/INBOX", &[("token", &token), ("do", "explode"), ("m", one)]).status, 422);
}

fn what_was_moved_comes_back() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("back", "text"));
    let mut alice = Browser::of(&daemon, "alice");
    let name = alice.get("/m/INBOX").messages().remove(0);
    let page = alice.act("/m/INBOX", &[("do", "delete"), ("m", &name)]);
    page.shows("Undo");
    let moved = page.attribute(&["type=\"hidden\"", "name=\"m\""], "value").unwrap();
    alice.act("/m/Trash", &[("do", "move"), ("to", "INBOX"), ("m", &moved)]);
    alice.get("/m/INBOX").shows(">back<");
}

fn mail_is_searched() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("lunch on friday", "at the Golden Goose"));
    daemon.send(&["alice@here.test"], &letter("minutes", "nothing of note"));
    let html =
        "From: anna@b.test\r\nSubject: html\r\nContent-Type: text/html\r\n\r\n<p style='color:goose'>a <b>swan</b></p>\r\n";
    daemon.send(&["alice@here.test"], html.as_bytes());
    let mut alice = Browser::of(&daemon, "alice");
    let mut found = |words: &str| -> Vec<String> {
        let page = alice.get(&format!("/m/INBOX?q={}", words.replace(' ', "+").replace(':', "%3A")));
        page.shows("name=\"q\"");
        ["lunch on friday", "minutes", "html"]
            .into_iter()
            .filter(|subject| page.text().contains(&format!("class=\"subject\" dir=\"auto\">{subject}<")))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(found("goose"), ["lunch on friday"]);
    assert_eq!(found("SWAN"), ["html"]);
    assert_eq!(found("from:anna"), ["html"]);
    assert_eq!(found("-from:anna -goose"), ["minutes"]);
    assert_eq!(found("subject:lunch golden"), ["lunch on friday"]);
    assert_eq!(found("unicorn"), Vec::<String>::new());
    assert_eq!(found("is:read").len(), 0);
}

/// A message with a PDF, a page and a picture.
fn with_files() -> String {
    let text = "From: a@b.test\nSubject: files\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\
                Content-Type: text/plain\n\ntext\n--x\nContent-Type: application/pdf\n\
                Content-Disposition: attachment; filename*=utf-8''%C3%9Cber%20%22uns%22.pdf\nContent-Transfer-Encoding: base64\n\n\
                PDF\n--x\nContent-Type: text/html; name=\"../page.html\"\nContent-Disposition: attachment\n\n\
                <script>alert(1)</script>\n--x\nContent-Type: image/svg+xml; name=x.svg\n\n<svg onload=\"alert(1)\"/>\n--x--\n";
    text.replace("PDF", &base64(b"%PDF-0123456789")).replace('\n', "\r\n")
}

fn files_are_taken_from_messages() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], with_files().as_bytes());
    let mut alice = Browser::of(&daemon, "alice");
    let list = alice.get("/m/INBOX");
    list.shows("has attachments");
    let page = alice.get(&list.link(">files<"));
    page.shows("Über &quot;uns&quot;.pdf").shows(">page.html<").shows(">x.svg<");
    let pdf = page.link("uns");
    let file = alice.get(&pdf);
    assert_eq!(file.body, b"%PDF-0123456789");
    assert_eq!(file.field("content-type"), Some("application/pdf"));
    assert_eq!(
        file.field("content-disposition"),
        Some("inline; filename=\"_ber _uns_.pdf\"; filename*=UTF-8''%C3%9Cber%20%22uns%22.pdf")
    );
    assert!(alice.get(&format!("{pdf}?download=1")).field("content-disposition").unwrap().starts_with("attachment;"));
    // Only a part of it; and none, if it is there already.
    alice.more = "Range: bytes=5-9\r\n".into();
    let part = alice.get(&pdf);
    assert_eq!((part.status, part.body.as_slice()), (206, &b"01234"[..]));
    assert_eq!(part.field("content-range"), Some("bytes 5-9/15"));
    alice.more = format!("If-None-Match: {}\r\n", file.field("etag").unwrap());
    assert_eq!(alice.get(&pdf).status, 304);
    alice.more = String::new();
    // What could do something in a browser is never shown there.
    for name in ["page.html", "x.svg"] {
        let file = alice.get(&page.link(name));
        assert_eq!(file.field("content-type"), Some("application/octet-stream"), "{name}");
        assert!(file.field("content-disposition").unwrap().starts_with("attachment;"), "{name}");
        assert_eq!(file.field("content-security-policy"), Some("default-src 'none'; sandbox"), "{name}");
        assert_eq!(file.field("x-content-type-options"), Some("nosniff"), "{name}");
    }
}

fn formatted_mail_is_shown_in_a_frame() {
    let daemon = Setup::default().start();
    let text = "From: a@b.test\nSubject: news\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=x\n\n--x\n\
                Content-Type: text/plain\n\nplain words\n--x\nContent-Type: multipart/related; boundary=y\n\n--y\n\
                Content-Type: text/html; charset=utf-8\n\n<h1>Formatted</h1><img src=\"cid:pic@b\"><img src=\"https://far.test/t.gif\">\n\
                --y\nContent-Type: image/png\nContent-ID: <pic@b>\n\nPNG\n--y--\n--x--\n";
    daemon.send(&["alice@here.test"], text.replace('\n', "\r\n").as_bytes());
    let mut alice = Browser::of(&daemon, "alice");
    let path = alice.get("/m/INBOX").link(">news<");
    let page = alice.get(&path);
    page.shows("Pictures from elsewhere are not shown").lacks("Formatted").lacks("plain words");
    let sandbox = page.attribute(&["iframe"], "sandbox").unwrap();
    assert_eq!(sandbox, "allow-same-origin allow-popups allow-popups-to-escape-sandbox");
    let source = page.attribute(&["iframe"], "src").unwrap();
    let frame = alice.get(&source);
    frame.shows("<h1>Formatted</h1>").lacks("far.test").lacks("<script");
    let policy = frame.field("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("img-src 'self';") && !policy.contains("script"),
        "{policy}"
    );
    assert!(policy.contains("sandbox allow-same-origin allow-popups"), "{policy}");
    // The picture of the message itself.
    let picture = alice.get(&frame.attribute(&["img"], "src").unwrap());
    assert_eq!((picture.field("content-type"), picture.body.as_slice()), (Some("image/png"), &b"PNG"[..]));
    // Those from elsewhere come when they are asked for.
    let with = alice.get(&page.link("Show pictures"));
    let frame = alice.get(&with.attribute(&["iframe"], "src").unwrap());
    frame.shows("https://far.test/t.gif");
    alice.get(&page.link("plain text")).shows("plain words").lacks("iframe");
}

fn old_links_never_lead_to_other_mail() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("old", "text"));
    let mut imap = daemon.imap("alice");
    imap.ok("CREATE Box").unwrap();
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("COPY 1 Box").unwrap();
    let mut alice = Browser::of(&daemon, "alice");
    let list = alice.get("/m/Box");
    let (path, name) = (list.link(">old<"), list.messages().remove(0));
    imap.ok("DELETE Box").unwrap();
    imap.ok("CREATE Box").unwrap();
    imap.ok("COPY 1 Box").unwrap();
    assert_eq!(alice.get(&path).status, 404);
    alice.act("/m/Box", &[("do", "delete"), ("m", &name)]).shows("No message was selected.").shows(">old<");
    for odd in ["1", "1-", "-1", "x-y", "1-99999999999", "99999999999-1", "1-1-1"] {
        assert_eq!(alice.get(&format!("/m/Box/{odd}")).status, 404, "{odd}");
    }
}

fn pages_are_small_and_kept() {
    let daemon = Setup::default().start();
    let mut browser = Browser::new(&daemon);
    browser.more = "Accept-Encoding: gzip\r\n".into();
    let login = browser.get("/login");
    assert_eq!((login.status, login.field("content-encoding")), (200, Some("gzip")));
    browser.more = String::new();
    let style = browser.get("/login").attribute(&["stylesheet"], "href").unwrap();
    browser.more = "Accept-Encoding: gzip\r\n".into();
    let sheet = browser.get(&style);
    assert!(sheet.field("cache-control").unwrap().contains("immutable"), "{}", sheet.head);
    assert!(login.body.len() + sheet.body.len() < 15 << 10, "{} and {} bytes", login.body.len(), sheet.body.len());
    assert!(sheet.body.len() < 12 << 10);
    assert_eq!(browser.get("/assets/style-000000000000.css").status, 404);
    browser.more = format!("If-None-Match: {}\r\n", sheet.field("etag").unwrap());
    assert_eq!(browser.get(&style).status, 304);
}
