//! Mail that wants to do something in the browser of who reads it.

use super::browser::Browser;
use crate::common::Setup;
use std::time::{Duration, Instant};

crate::tests![nothing_of_a_hostile_message_is_alive, huge_and_deep_messages_are_shown_as_text, odd_messages_have_pages];

/// What was used against other webmail programs (CVE-2023-5631, CVE-2024-37383, CVE-2024-42008, CVE-2024-42009, CVE-2025-68461), and
/// what the cleaner has to know.
const HOSTILE: [&str; 36] = [
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=\"x\"\r\n/onerror=alert(1)>",
    "<body onload=alert(1) background=\"javascript:alert(1)\" bgcolor=red>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "<a href=\"&#106;avascript:alert(1)\">x</a>",
    "<a href=\"java&Tab;script:alert(1)\">x</a>",
    "<a href=\"\u{1}javascript:alert(1)\">x</a>",
    "<a href=\"data:text/html,%3Cscript%3Ealert(1)%3C/script%3E\">x</a>",
    "<a href=\"vbscript:alert(1)\">x</a>",
    "<svg><use href=\"data:image/svg+xml;base64,PHN2Zz4=#x\"/></svg>",
    "<svg id=x xmlns=\"http://www.w3.org/2000/svg\"> <use href=\"data:image/s vg+xml;base64,PHN2Zz4=#x\" /></svg>",
    "<svg><animate attributeName=\"href \" values=\"javascript:alert(1)\"/><a><text>x</text></a></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<math href=\"javascript:alert(1)\">x</math>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<template><script>alert(1)</script></template>",
    "<iframe src=\"javascript:alert(1)\"></iframe><iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
    "<object data=\"javascript:alert(1)\"></object><embed src=\"javascript:alert(1)\">",
    "<form action=\"https://evil.test\"><input name=password autofocus onfocus=alert(1)><button formaction=\"javascript:alert(1)\">",
    "<meta http-equiv=refresh content=\"0;url=https://evil.test\"><base href=\"https://evil.test/\">",
    "<link rel=stylesheet href=\"https://evil.test/x.css\"><style>@import url(https://evil.test/x.css); * { display: none }</style>",
    "<div style=\"background: url(https://evil.test/x.png)\">x</div>",
    "<div style=\"background-image: image-set('https://evil.test/x.png' 1x)\">x</div>",
    "<div style=\"width: expression(alert(1))\">x</div>",
    "<div style=\"position: fixed; top: 0; left: 0; z-index: 9999\">x</div>",
    "<div style=\"behavior: url(#x); -moz-binding: url(//evil.test)\">x</div>",
    "<video src=\"https://evil.test/x\" onerror=alert(1)></video><audio src=https://evil.test/x></audio>",
    "<img srcset=\"https://evil.test/x.png 1x\" src=\"https://evil.test/y.png\"><picture><source srcset=https://evil.test/z></picture>",
    "<table background=\"https://evil.test/x.png\"><tr><td background=\"https://evil.test/y.png\">x</table>",
    "<a ping=\"https://evil.test/ping\" href=\"https://good.test\">x</a>",
    "<details ontoggle=alert(1) open>x</details><marquee onstart=alert(1)>x</marquee><select autofocus onfocus=alert(1)>",
    "<img src=\"cid:x\" usemap=#m><map name=m><area href=\"javascript:alert(1)\"></map><xss id=x tabindex=1 onfocus=alert(1)>",
];

fn mail(kind: &str, body: &str) -> Vec<u8> {
    format!("From: evil@evil.test\r\nSubject: watch out\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n{body}\r\n")
        .into_bytes()
}

fn nothing_of_a_hostile_message_is_alive() {
    let daemon = Setup::default().start();
    let mut smtp = daemon.smtp();
    for (at, html) in HOSTILE.iter().enumerate() {
        let message = mail("text/html; charset=utf-8", &format!("<p>begins {at}</p>{html}<p>ends</p>"));
        smtp.send("evil@evil.test", &["alice@here.test"], &message).unwrap();
    }
    let mut alice = Browser::of(&daemon, "alice");
    let names: Vec<String> = alice.get("/m/INBOX").messages().into_iter().rev().collect();
    assert_eq!(names.len(), HOSTILE.len());
    for (at, name) in names.iter().enumerate() {
        let page = alice.get(&format!("/m/INBOX/{name}"));
        page.shows("watch out").lacks("alert(1)");
        let frame = alice.get(&page.attribute(&["iframe"], "src").unwrap());
        frame.shows(&format!("begins {at}"));
        let text = frame.text();
        let (_, inside) = text.split_once("<body").unwrap();
        for tag in inside.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag.to_ascii_lowercase()) {
            let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
            for bad in
                ["script", "style", "svg", "math", "iframe", "form", "input", "button", "meta", "base", "link", "object", "embed"]
            {
                assert_ne!(name, bad, "{at}: {inside}");
            }
            // What stands in a title is text; no attribute begins like this.
            for bad in [" on", "javascript:", "evil.test", "data:", "expression", "position", "url(", "srcset", "ping", "usemap"]
            {
                assert!(!tag.contains(bad) || tag.contains("title="), "{at}: {bad} in {tag}: {inside}");
            }
        }
    }
}

fn huge_and_deep_messages_are_shown_as_text() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    for (what, html) in [
        ("deep", format!("<p>words of deep</p>{}", "<div><b><table><tr><td>\r\n".repeat(40_000))),
        ("big", format!("<p>words of big</p>{}", "<p>more and more of it</p>\r\n".repeat(60_000))),
        ("open", format!("<p>words of open</p>{}", "<a href=\"x\r\n".repeat(80_000))),
    ] {
        daemon.send(&["alice@here.test"], &mail("text/html", &html));
        let path = alice.get("/m/INBOX").link(">watch out<");
        let begun = Instant::now();
        let page = alice.get(&path);
        let took = begun.elapsed();
        page.shows(&format!("words of {what}"));
        // A second is what it must take at most where it is optimised.
        let most = if cfg!(debug_assertions) { 10 } else { 1 };
        assert!(took < Duration::from_secs(most), "{what}: {took:?}");
    }
}

/// Whatever a message is, its page says so.
fn odd_messages_have_pages() {
    let daemon = Setup::default().start();
    let odd = [
        ("empty", String::from("\r\n")),
        ("no header", String::from("\r\njust text\r\n")),
        ("no parts", String::from("Content-Type: multipart/mixed; boundary=x\r\n\r\n")),
        ("no end", String::from("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n")),
        ("unknown", String::from("Content-Type: nothing/known\r\n\r\n\u{1}\u{2}\r\n")),
        ("charset", String::from("Content-Type: text/plain; charset=nonsense\r\n\r\n=E4\r\n")),
        ("encoding", String::from("Content-Type: text/html\r\nContent-Transfer-Encoding: nonsense\r\n\r\n<p>x\r\n")),
        ("base64", String::from("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n")),
        ("nested", "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n".repeat(500)),
        ("message", String::from("Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n")),
    ];
    let mut alice = Browser::of(&daemon, "alice");
    for (what, message) in &odd {
        daemon.send(&["alice@here.test"], format!("From: <\r\nX-What: {what}\r\n{message}").as_bytes());
        let page = alice.get("/m/INBOX");
        let name = page.messages().remove(0);
        for view in ["", "?view=text", "?view=headers", "/source"] {
            assert_eq!(alice.get(&format!("/m/INBOX/{name}{view}")).status, 200, "{what}{view}");
        }
    }
}
