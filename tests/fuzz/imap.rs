//! The parsers of IMAP.

use pillarbox::imapd::grammar::search::Step;
use pillarbox::imapd::grammar::url::{MessageUrl, Server};
use pillarbox::imapd::grammar::{self, AppendHead, Command, Cursor, Piece, Set, Verb, announced};
use pillarbox::mail::imap_text;
use pillarbox::mailbox::{FolderName, utf7};

/// What is understood is, with a CRLF behind it, one command for who only looks for lines and literals: nothing of it could
/// be taken for another. Passwords are not shown.
pub fn command(input: &[u8]) {
    let Some((_, mut cursor)) = grammar::tag_of(input) else { return };
    let Ok(verb) = Verb::read(&mut cursor) else { return };
    let Ok(command) = grammar::parse(verb, cursor) else { return };
    // Of an initial response nobody knows yet what it is.
    if matches!(command, Command::Authenticate { .. }) {
        return;
    }
    let more = [input, b" ("].concat();
    let (_, mut cursor) = grammar::tag_of(&more).unwrap();
    assert!(grammar::parse(Verb::read(&mut cursor).unwrap(), cursor).is_err());
    if let Command::Login { password, .. } = &command {
        assert!(!format!("{password:?}").contains(char::is_alphanumeric));
    }
    let stream = [input, b"\r\n"].concat();
    let mut at = 0;
    loop {
        let end = at + stream[at..].windows(2).position(|pair| pair == b"\r\n").unwrap();
        let line = &stream[at..end];
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        at = end + 2;
        let Some(literal) = announced(line) else { break };
        at += literal.length as usize;
    }
    assert_eq!(at, stream.len(), "{command:?}");
}

/// A set's ranges ascend, hold what is written there and nothing else, and are the same set when they are written.
pub fn set(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let Ok(set) = Set::parse(&mut cursor) else { return };
    let text = String::from_utf8_lossy(&input[..input.len() - cursor.rest().len()]).into_owned();
    for highest in [0, 1, 7, u32::MAX] {
        let ranges = set.ranges(highest);
        assert!(ranges.iter().all(|range| range.start() <= range.end()));
        assert!(ranges.windows(2).all(|pair| u64::from(*pair[0].end()) + 1 < u64::from(*pair[1].start())));
        let value = |number: &str| if number == "*" { highest } else { number.parse().unwrap() };
        let is_in = |number: u32| {
            text != "$"
                && text.split(',').any(|part| {
                    let (first, last) = part.split_once(':').unwrap_or((part, part));
                    let (first, last) = (value(first), value(last));
                    (first.min(last)..=first.max(last)).contains(&number)
                })
        };
        for number in (0..12).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(ranges.iter().any(|range| range.contains(&number)), is_in(number), "{text}: {number} of {highest}");
        }
        if highest > 0 {
            let within = ranges.iter().all(|range| *range.start() >= 1 && *range.end() <= highest);
            assert!(within || set.is_beyond(highest), "{text}");
            let shown = grammar::show(ranges.clone());
            if !ranges.is_empty() {
                assert_eq!(Set::parse(&mut Cursor::new(shown.as_bytes())).unwrap().ranges(highest), ranges);
            }
        }
    }
}

/// The name of a folder, as a client sends it, is the same name when it is sent back.
pub fn mailbox(input: &[u8]) {
    let Ok(name) = grammar::mailbox(&mut Cursor::new(input)) else { return };
    let Ok(name) = FolderName::parse(&utf7::decode(&name).unwrap_or_else(|_| String::from_utf8_lossy(&name).into_owned())) else {
        return;
    };
    let mut sent = Vec::new();
    imap_text::string(utf7::encode(name.as_str()).as_bytes(), &mut sent);
    let again = grammar::mailbox(&mut Cursor::new(&sent)).unwrap();
    assert_eq!(FolderName::parse(&utf7::decode(&again).unwrap()), Ok(name));
}

/// An APPEND, its lines read one after the other: behind each literal's announcement stands nothing, each line is read to its end,
/// and there is a message for every piece.
pub fn append(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let Some(head) = lines.next().and_then(AppendHead::read) else { return };
    let mut pieces = head.pieces();
    let (mut line, mut messages) = (head.rest.as_slice(), 0);
    let mut cursor = Cursor::new(line);
    while let Ok(piece) = pieces.next(&mut cursor) {
        match piece {
            Piece::Message { .. } => messages += 1,
            Piece::Text(literal) | Piece::LongUrl(literal) => {
                assert_eq!((announced(line), cursor.rest(), messages > 0), (Some(literal), &b""[..], true));
                line = lines.next().unwrap_or_default();
                cursor = Cursor::new(line);
            }
            Piece::Url(_) => assert!(messages > 0),
            Piece::End => {
                assert!(cursor.rest().is_empty() && (messages == 1 || head.replaced.is_none()));
                return;
            }
        }
    }
}

/// What is understood is the same URL when everything in it is encoded.
pub fn url(input: &[u8]) {
    let Ok(url) = MessageUrl::parse(input) else { return };
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let mut again = String::new();
    if let Some(Server { user, host, port }) = &url.server {
        again += "imap://";
        again += &user.as_ref().map_or_else(String::new, |user| encoded(user) + ";AUTH=*@");
        again += &encoded(host);
        again += &port.map_or_else(String::new, |port| format!(":{port}"));
    }
    again += &format!("/{}", url.mailbox.split('/').map(encoded).collect::<Vec<_>>().join("/"));
    again += &url.validity.map_or_else(String::new, |validity| format!(";UIDVALIDITY={validity}"));
    again += &format!("/;UID={}", url.uid);
    let text = String::from_utf8_lossy(input).to_ascii_uppercase();
    // A host in brackets may hold anything.
    let behind = text.rsplit_once("/;UID=").map_or("", |(_, behind)| behind);
    if let Some((_, section)) = behind.split_once("/;SECTION=") {
        again += &format!("/;SECTION={}", section.split("/;").next().unwrap());
    }
    again += &url.partial.map_or_else(String::new, |(from, length)| match length {
        u64::MAX => format!("/;PARTIAL={from}"),
        length => format!("/;PARTIAL={from}.{length}"),
    });
    let again = MessageUrl::parse(again.as_bytes()).unwrap_or_else(|why| panic!("{again}: {why:?}"));
    // The names of fields are as they were written.
    assert_eq!((&again.server, &again.mailbox, again.validity, again.uid), (&url.server, &url.mailbox, url.validity, url.uid));
    assert_eq!((&again.part, again.partial), (&url.part, url.partial));
}

/// The steps of a search leave one value, and there are not too many.
pub fn search(input: &[u8]) {
    let text = [b"a SEARCH ", input].concat();
    let (_, mut cursor) = grammar::tag_of(&text).unwrap();
    let verb = Verb::read(&mut cursor).unwrap();
    let Ok(Command::Search { search, .. }) = grammar::parse(verb, cursor) else { return };
    let depth = search.steps.iter().try_fold(0_usize, |depth, step| match step {
        Step::Key(_) => Some(depth + 1),
        Step::Not => (depth > 0).then_some(depth),
        Step::Or => depth.checked_sub(2).map(|depth| depth + 1),
        Step::And(count) => depth.checked_sub(*count).map(|depth| depth + 1),
    });
    assert_eq!(depth, Some(1));
    assert!(search.steps.len() <= 1_100, "{} steps", search.steps.len());
}
