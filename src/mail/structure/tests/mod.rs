//! Structures of good, broken and hostile mail.

mod broken;
mod hostile;
mod imap;
mod mime;
mod records;

use super::{Kind, Structure};
use proptest::prelude::*;

/// Messages are written with LF here.
fn wire(message: &str) -> Vec<u8> {
    message.replace('\n', "\r\n").into_bytes()
}

/// Every part on a line: its number, type, kind if it is not a leaf, body and line count.
fn told(message: &[u8]) -> String {
    let structure = Structure::of(message);
    check(&structure, message.len() as u64);
    let one = |(index, part): (usize, &super::Part)| {
        let number: Vec<String> = structure.number(index).iter().map(u32::to_string).collect();
        let kind = match part.kind {
            Kind::Leaf => "",
            Kind::Multipart | Kind::Message => "+",
            Kind::Opaque => "?",
        };
        let text = |range: &std::ops::Range<u64>| {
            String::from_utf8_lossy(&message[range.start as usize..range.end as usize]).into_owned()
        };
        let body = match part.kind {
            Kind::Leaf => text(&part.body).replace("\r\n", "~"),
            _ => String::new(),
        };
        let (media_type, subtype) = (String::from_utf8_lossy(&part.media_type), String::from_utf8_lossy(&part.subtype));
        format!("{} {media_type}/{subtype}{kind} {} [{body}]\n", number.join("."), part.lines)
    };
    structure.parts.iter().enumerate().map(one).collect()
}

/// What holds for every structure: it covers the message, parts lie in their parents in order, numbers lead to parts.
pub(super) fn check(structure: &Structure, len: u64) {
    let root = &structure.parts[0];
    assert_eq!((root.parent, root.header.start, root.body.end), (None, 0, len));
    let mut ends = vec![0; structure.parts.len()];
    for (index, part) in structure.parts.iter().enumerate() {
        assert!(part.header.start <= part.header.end && part.header.end == part.body.start && part.body.start <= part.body.end);
        if let Some(parent) = part.parent {
            assert!(parent < index);
            let container = &structure.parts[parent];
            assert!(container.body.start <= part.header.start && part.body.end <= container.body.end);
            assert!(ends[parent] <= part.header.start, "parts overlap");
            assert!(part.lines <= container.lines);
            ends[parent] = part.body.end;
            match container.kind {
                Kind::Message => assert_eq!((&part.header.start, part.body.end), (&container.body.start, container.body.end)),
                Kind::Multipart => {}
                Kind::Leaf | Kind::Opaque => panic!("a part in a leaf"),
            }
        }
        let children = structure.children(index).count();
        assert!(part.kind != Kind::Message || children == 1);
        if part.kind != Kind::Multipart && structure.parts.len() < 100 {
            assert_eq!(structure.part(&structure.number(index)), Some(index));
        }
    }
}

proptest! {
    /// However a message is cut into blocks, its structure is the same.
    #[test]
    fn cuts_make_no_difference(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60),
        cuts in prop::collection::vec(0..400_usize, 0..20),
    ) {
        let message = pieces.concat();
        let whole = Structure::of(message.as_bytes());
        check(&whole, message.len() as u64);
        for cuts in [cuts, (0..message.len()).collect()] {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(message.len())).collect();
            cuts.sort_unstable();
            let mut scanner = super::Scanner::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([message.len()]) {
                scanner.push(&message.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(&scanner.finish(), &whole);
        }
        prop_assert_eq!(super::decode(&super::encode(&whole)), Some(whole));
    }
}

/// What messages are made of.
const PIECES: &[&str] = &[
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "-",
    "--",
    "--a\r\n",
    "\r\n--a\r\n",
    "\r\n--b\r\n",
    "--a--\r\n",
    "\r\n--b--\r\n",
    "--a",
    "--ab\r\n",
    "--a \t\r\n",
    "Content-Type: multipart/mixed; boundary=a\r\n",
    "Content-Type: multipart/mixed;\r\n boundary=b\r\n\r\n",
    "Content-Type: multipart/digest; boundary=\"b\"\r\n\r\n",
    "Content-Type: message/rfc822\r\n\r\n",
    "Content-Type: text/html\r\n\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Subject: x\r\n",
    " folded\r\n",
    "From: a@b\r\n",
    "text",
    "aGVsbG8=",
    "=C3=BC",
    "<p>",
];
