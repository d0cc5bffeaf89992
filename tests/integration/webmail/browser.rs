//! A browser that sees text: it keeps its cookie, follows redirections, and finds links and forms in pages.

use crate::common::{Daemon, PASSWORD};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
pub struct Page {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Page {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.split(':').next().is_some_and(|own| own.eq_ignore_ascii_case(name)))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The page is all right, and has this in it.
    #[track_caller]
    pub fn shows(&self, what: &str) -> &Page {
        assert!(self.status == 200 && self.text().contains(what), "no {what:?} in {}\n{}", self.head, self.text());
        self
    }

    #[track_caller]
    pub fn lacks(&self, what: &str) -> &Page {
        assert!(self.status == 200 && !self.text().contains(what), "{what:?} in {}\n{}", self.head, self.text());
        self
    }

    /// The value of this attribute of the first element that has all of these words in its tag.
    pub fn attribute(&self, words: &[&str], name: &str) -> Option<String> {
        let text = self.text();
        let tag = text.split('<').find(|tag| {
            let tag = tag.split('>').next().unwrap_or_default();
            words.iter().all(|word| tag.contains(word))
        })?;
        let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
        Some(value.replace("&amp;", "&"))
    }

    /// Where the link leads that has this text in it.
    #[track_caller]
    pub fn link(&self, shown: &str) -> String {
        let text = self.text();
        let link = text.split("<a ").skip(1).find(|link| link.split("</a>").next().unwrap_or_default().contains(shown));
        let link = link.unwrap_or_else(|| panic!("no link {shown:?} in {text}"));
        link.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&")
    }

    /// What the form for writing has in its fields.
    pub fn fields(&self) -> Vec<(String, String)> {
        let text = self.text();
        let form = text.split("<form class=\"write\"").nth(1).unwrap_or_else(|| panic!("no form in {}\n{text}", self.head));
        let mut fields = Vec::new();
        for tag in form.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap()) {
            if tag.contains("type=\"checkbox\"") && !tag.ends_with(" checked") {
                continue;
            }
            let attribute =
                |name: &str| tag.split(&format!("{name}=\"")).nth(1).map(|rest| plain(rest.split('"').next().unwrap()));
            if let (Some(name), Some(value)) = (attribute("name"), attribute("value")) {
                fields.push((name, value));
            }
        }
        if let Some(text) = form.split("<textarea").nth(1) {
            let text = text.split_once('>').unwrap().1.split("</textarea>").next().unwrap();
            fields.push(("text".into(), plain(text.strip_prefix('\n').unwrap_or(text))));
        }
        fields
    }

    /// The names of the messages in a list, from its top.
    pub fn messages(&self) -> Vec<String> {
        let text = self.text();
        let boxes = text.split("<input type=\"checkbox\" name=\"m\" value=\"").skip(1);
        boxes.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    }
}

/// The browser.
pub struct Browser {
    to: SocketAddr,
    pub cookie: Option<String>,
    /// More fields of each request.
    pub more: String,
}

impl Browser {
    pub fn new(daemon: &Daemon) -> Browser {
        Browser { to: daemon.at("http"), cookie: None, more: String::new() }
    }

    /// One that is logged in.
    pub fn of(daemon: &Daemon, user: &str) -> Browser {
        let mut browser = Browser::new(daemon);
        let page = browser.post("/login", &[("name", user), ("password", PASSWORD)]);
        assert_eq!((page.status, page.field("location")), (303, Some("/m/INBOX")), "{}", page.text());
        browser
    }

    pub fn get(&mut self, path: &str) -> Page {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), b"")
    }

    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = "application/x-www-form-urlencoded";
        let head = format!("POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        self.send(&head, body.as_bytes())
    }

    /// Sends a form with its token, taken from the first page at hand, and goes where that leads.
    #[track_caller]
    pub fn act(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.token();
        let page = self.post(path, &[&[("token", token.as_str())], fields].concat());
        assert_eq!(page.status, 303, "{}", page.text());
        let location = page.field("location").unwrap().to_owned();
        self.get(&location)
    }

    /// Sends a form with files: name, type and bytes of each.
    pub fn upload(&mut self, path: &str, fields: &[(&str, &str)], files: &[(&str, &str, &[u8])]) -> Page {
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
            );
        }
        for (name, kind, bytes) in files {
            let head = format!(
                "--xYz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xYz--\r\n");
        let kind = "multipart/form-data; boundary=xYz";
        self.send(&format!("POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len()), &body)
    }

    /// Fills in the form for writing that a page shows, presses a button, and goes where that leads. What stands there already
    /// goes with it, as does the empty file that browsers send where none was chosen.
    #[track_caller]
    pub fn write(&mut self, form: &Page, word: &str, fields: &[(&str, &str)], files: &[(&str, &str, &[u8])]) -> Page {
        let page = self.try_write(form, word, fields, files);
        assert_eq!(page.status, 303, "{}", page.text());
        let location = page.field("location").unwrap().to_owned();
        self.get(&location)
    }

    pub fn try_write(&mut self, form: &Page, word: &str, fields: &[(&str, &str)], files: &[(&str, &str, &[u8])]) -> Page {
        let mut all = form.fields();
        all.retain(|(name, _)| !fields.iter().any(|(own, _)| own == name));
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        all.push(("do".into(), word.into()));
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let files = if files.is_empty() { &[("", "application/octet-stream", &b""[..])] } else { files };
        self.upload("/compose", &all, files)
    }

    /// Opens the message of INBOX with this in its line.
    #[track_caller]
    pub fn open(&mut self, shown: &str) -> Page {
        let path = self.get("/m/INBOX").link(shown);
        self.get(&path)
    }

    pub fn token(&mut self) -> String {
        self.get("/m/INBOX").attribute(&["name=\"token\""], "value").unwrap()
    }

    /// Sends the head's first lines and a body; the rest of the head is the same each time.
    pub fn send(&mut self, begins: &str, body: &[u8]) -> Page {
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let head = format!("{begins}Host: {}\r\n{cookie}{}Connection: close\r\n\r\n", self.to, self.more);
        let page = parse(&exchange(self.to, &[head.as_bytes(), body].concat()));
        if let Some(set) = page.field("set-cookie") {
            let pair = set.split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        page
    }
}

fn plain(html: &str) -> String {
    html.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// All that comes back for these bytes.
pub fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    // Who is cut off is listened to for a while: there is nothing more to hear.
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn parse(answer: &[u8]) -> Page {
    let end =
        memchr::memmem::find(answer, b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"));
    Page { status, head, body: answer[end + 4..].to_vec() }
}
