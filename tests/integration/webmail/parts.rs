//! What a message is made of beside text and files, and what its page says of it.

use super::browser::Browser;
use crate::common::Setup;

crate::tests![parts_are_shown_for_what_they_are, who_pretends_to_be_another_is_told_of, a_message_is_printed_whole];

fn wire(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn parts_are_shown_for_what_they_are() {
    let daemon = Setup::default().start();
    let text = "From: a@b.test\nSubject: odd parts\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\
                Content-Type: message/external-body; access-type=URL; url=\"https://far.test/\n big.iso\"\n\nContent-Type: x/y\n\n--x\n\
                Content-Type: message/external-body; access-type=url; url=\"javascript:alert(1)\"\n\nContent-Type: x/y\n\n--x\n\
                Content-Type: message/external-body; access-type=anon-ftp; site=ftp.far.test; directory=pub; name=\"<b>\"\n\n\n--x\n\
                Content-Type: message/partial; id=abc; number=2; total=5\n\nhalf of it\n--x\n\
                Content-Type: multipart/digest; boundary=y\n\n--y\n\nSubject: first of =?utf-8?Q?zw=C3=B6lf?=\n\none\n--y\n\n\
                Subject: second\n\ntwo\n--y--\n--x--\n";
    daemon.send(&["alice@here.test"], &wire(text));
    let mut alice = Browser::of(&daemon, "alice");
    let page = alice.open("odd parts");
    // A link where it is safe to follow one, else only words (RFC 2017 §3: long ones are folded).
    page.shows("<a href=\"https://far.test/big.iso\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">");
    page.shows("Not in this message; it is kept elsewhere (anon-ftp):").shows("ftp.far.test, pub, &lt;b&gt;");
    page.shows("<span>javascript:alert(1)</span>").lacks("href=\"javascript");
    page.shows("piece 2 of 5 of a bigger message");
    page.shows("Digest of 2 messages").shows("<bdi>first of zwölf</bdi>").shows("<bdi>second</bdi>");
    assert_eq!(alice.get(&page.link("second")).text(), "Subject: second\r\n\r\ntwo");
}

fn who_pretends_to_be_another_is_told_of() {
    let daemon = Setup::default().start();
    for from in ["\"service@bank.test\" <x@far.test>", "=?utf-8?Q?b=D0=B0nk?= <x@far.test>"] {
        daemon.send(&["alice@here.test"], &wire(&format!("From: {from}\nSubject: odd\n\ntext\n")));
    }
    daemon.send(&["alice@here.test"], &wire("From: Bank <x@bank.test>\nSubject: even\n\ntext\n"));
    let mut alice = Browser::of(&daemon, "alice");
    alice.open("even").lacks("role=\"alert\"");
    let list = alice.get("/m/INBOX").messages();
    alice.get(&format!("/m/INBOX/{}", list[1])).shows("letters that look like those of another alphabet");
    alice.get(&format!("/m/INBOX/{}", list[2])).shows("has an address of bank.test in it; it came from far.test");
}

fn a_message_is_printed_whole() {
    let daemon = Setup::default().start();
    let text = "From: a@b.test\nSubject: paper\nContent-Type: text/html\n\n<p>formatted</p><script>alert(1)</script>\n\
                <img src=\"https://far.test/x.gif\">\n";
    daemon.send(&["alice@here.test"], &wire(text));
    daemon.send(&["alice@here.test"], &wire("From: a@b.test\nSubject: plain\n\n> 1\n> 2\n> 3\n> 4\n"));
    let mut alice = Browser::of(&daemon, "alice");
    let page = alice.open("paper");
    let print = alice.get(&page.link(">Print"));
    print.shows("<h1 dir=\"auto\">paper</h1>").shows("<p>formatted</p>").lacks("alert").lacks("far.test").lacks("iframe");
    // What a stranger wrote stands in it: so it may do no more than in its frame.
    let framed = alice.get(&page.attribute(&["iframe"], "src").unwrap());
    assert_eq!(print.field("content-security-policy"), framed.field("content-security-policy"));
    let with = alice.get(&page.link("Show pictures"));
    alice.get(&with.link(">Print")).shows("far.test");
    // Quotes are folded on the page, not on paper.
    let page = alice.open("plain");
    page.shows("<details class=\"quoted\">");
    alice.get(&page.link(">Print")).shows("&gt; 4").lacks("<details");
}
