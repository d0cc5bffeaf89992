//! What IMAP is told, as RFC 3501 writes it and as a client's parser reads it.

use super::wire;
use crate::mail::imap_text::{self, Form};
use crate::mail::structure::{Record, Scanner, Structure, decode, encode};
use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;

fn envelope(header: &str) -> String {
    let structure = Structure::of(&wire(header));
    readable(&structure);
    String::from_utf8_lossy(&structure.envelope).into_owned()
}

fn body(message: &str, extended: bool) -> String {
    let structure = Structure::of(&wire(message));
    readable(&structure);
    String::from_utf8_lossy(&imap_text::body(&structure, Form { extended, rev2: false })).into_owned()
}

/// A client reads it to the last byte.
fn readable(structure: &Structure) {
    let [short, long] = [false, true].map(|extended| imap_text::body(structure, Form { extended, rev2: false }));
    for (name, text) in [("ENVELOPE", &structure.envelope), ("BODY", &short), ("BODYSTRUCTURE", &long)] {
        let response = [format!("* 1 FETCH ({name} ").as_bytes(), text, b")\r\n"].concat();
        let (rest, _) = ResponseCodec::default().decode(&response).unwrap_or_else(|error| panic!("{error:?}"));
        assert!(rest.is_empty());
    }
}

/// RFC 3501 §7.4.2.
#[test]
fn the_envelope_of_rfc_3501_is_written_as_it_is_there() {
    let header = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\nFrom: Terry Gray <gray@cac.washington.edu>\n\
                  Subject: IMAP4rev1 WG mtg summary and minutes\nTo: imap@cac.washington.edu\n\
                  cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\n\
                  Message-Id: <B27397-0100000@cac.washington.edu>\nMIME-Version: 1.0\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\n";
    assert_eq!(
        envelope(header),
        "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
         ((NIL NIL \"imap\" \"cac.washington.edu\")) \
         ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
         \"<B27397-0100000@cac.washington.edu>\")"
    );
    assert_eq!(body(header, false), "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7bit\" 0 0)");
}

#[test]
fn envelopes_follow_the_rules_for_what_is_missing_or_empty() {
    assert_eq!(envelope("\n"), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    assert_eq!(
        envelope("Date:\nSubject: \nFrom: a@b\nSender:\nReply-To: (nobody)\nTo: ,\nBcc: c\nIn-Reply-To: \nMessage-ID:\n\n"),
        "(\"\" \"\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL \
         ((NIL NIL \"c\" \"MISSING_DOMAIN\")) \"\" \"\")"
    );
    assert_eq!(
        envelope("To: My group: a@b, C <@r1,@r2:c@d>;\nCc: Undisclosed:;\n\n"),
        "(NIL NIL NIL NIL NIL ((NIL NIL \"My group\" NIL)(NIL NIL \"a\" \"b\")(\"C\" \"@r1,@r2\" \"c\" \"d\")(NIL NIL NIL NIL)) \
         ((NIL NIL \"Undisclosed\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL)"
    );
}

#[test]
fn what_can_not_be_quoted_is_a_literal() {
    assert_eq!(
        envelope("Subject: a \"b\" \\\nIn-Reply-To: grün\nMessage-ID: a\n\tb\n\n"),
        "(NIL {7}\r\na \"b\" \\ NIL NIL NIL NIL NIL NIL {5}\r\ngrün {3}\r\na\tb)"
            .replace("{9}\r\na \"b\" \\ ", "{7}\r\na \"b\" \\ ")
    );
}

/// RFC 3501 §7.4.2, RFC 9051 §7.5.2.
#[test]
fn bodies_are_written_as_in_the_examples() {
    let message = "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\none\ntwo\n\
                   --a\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME=cc.diff\nContent-ID: <960723163407.20117h@cac.washington.edu>\n\
                   Content-Description: Compiler diff\nContent-Transfer-Encoding: BASE64\nContent-Disposition: attachment; filename=x\nContent-Language: de\n\nxx\n\
                   --a\nContent-Type: message/rfc822\n\nSubject: s\nContent-Type: image/png\n\n\n--a--\n";
    assert_eq!(
        body(message, false),
        "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7bit\" 8 1)\
         (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\" \"NAME\" \"cc.diff\") \"<960723163407.20117h@cac.washington.edu>\" \"Compiler diff\" \"BASE64\" 2 0)\
         (\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 39 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) \
         (\"image\" \"png\" NIL NIL NIL \"7bit\" 0) 3) \"mixed\")"
    );
    assert_eq!(
        body(message, true),
        "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7bit\" 8 1 NIL NIL NIL NIL)\
         (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\" \"NAME\" \"cc.diff\") \"<960723163407.20117h@cac.washington.edu>\" \"Compiler diff\" \"BASE64\" 2 0 \
         NIL (\"attachment\" (\"filename\" \"x\")) (\"de\") NIL)\
         (\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 39 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) \
         (\"image\" \"png\" NIL NIL NIL \"7bit\" 0 NIL NIL NIL NIL) 3 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"a\") NIL NIL NIL)"
    );
}

#[test]
fn a_multipart_without_parts_has_one_that_is_empty() {
    assert_eq!(
        body("Content-Type: multipart/mixed\n\nx", false),
        "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")"
    );
}

/// RFC 9051 §9, media-message: others would stumble over an envelope there.
#[test]
fn a_global_message_has_parts_to_who_knows_of_it() {
    let taken_apart = |message: &str| {
        let mut scanner = Scanner::new().into_global();
        scanner.push(&wire(message));
        let structure = scanner.finish();
        let record = encode(&structure);
        assert_eq!(decode(&record).as_ref(), Some(&structure));
        let told = [false, true].map(|rev2| {
            let long = imap_text::body(&structure, Form { extended: true, rev2 });
            assert_eq!(Record::open(&record).unwrap().body_structure(rev2), long);
            String::from_utf8(imap_text::body(&structure, Form { extended: false, rev2 })).unwrap()
        });
        (told, structure)
    };
    let global = "Content-Type: message/global\n\nSubject: in\nContent-Type: multipart/mixed; boundary=b\n\n\
                  --b\n\nx\n--b\nContent-Type: message/rfc822\n\n\ny\n--b--\n";
    let mixed = format!("Content-Type: multipart/mixed; boundary=a\n\n--a\n{global}--a\nContent-Type: image/gif\n\nz\n--a--\n");
    let ([leaf, message], structure) = taken_apart(&mixed);
    let nobody = "NIL NIL NIL NIL NIL NIL NIL NIL";
    let text = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\"";
    let front = "((\"message\" \"global\" NIL NIL NIL \"7bit\" 115";
    let end = ")(\"image\" \"gif\" NIL NIL NIL \"7bit\" 1) \"mixed\")";
    let inside =
        format!("({text} 1 0)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 3 (NIL {nobody} NIL) {text} 1 0) 1) \"mixed\")");
    assert_eq!(leaf, format!("{front}{end}"));
    assert_eq!(message, format!("{front} (NIL \"in\" {nobody}) {inside} 11{end}"));
    assert_eq!(structure.part(&[1, 2, 1]), Some(5));
    let closed = structure.without_global();
    assert_eq!(closed.parts, Structure::of(&wire(&mixed)).parts);
    assert_eq!(closed.part(&[1, 2, 1]), None);
    // It may be encoded (RFC 6532 §3.7), and who does not look into it finds a leaf.
    let ([leaf, message], _) = taken_apart(&global.replace("global\n", "global\nContent-Transfer-Encoding: base64\n"));
    assert_eq!((leaf.as_str(), message.as_str()), (&*message, "(\"message\" \"global\" NIL NIL NIL \"base64\" 117)"));
    assert_eq!(Structure::of(&wire(global)).parts.len(), 1);
}
