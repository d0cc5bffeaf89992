//! IMAP's FETCH of a mailbox that changes meanwhile.

use crate::common::{Setup, letter};

crate::tests![what_could_not_be_read_is_not_told_as_gone];

/// A message can't be given as it was asked for, and another one went away while a big one between them was on its way: the client
/// must hear of the first, or it would take all that it did not get for gone.
fn what_could_not_be_read_is_not_told_as_gone() {
    let daemon = Setup::default().start();
    let strange = b"Subject: 1\r\nContent-Transfer-Encoding: x-strange\r\n\r\ntext\r\n".to_vec();
    let big = letter("2", &"a line of a message that no buffer holds\n".repeat(500_000));
    for message in [strange, big, letter("3", "text")] {
        assert!(daemon.send(&["alice@here.test"], &message).starts_with("250"));
    }
    let (mut imap, mut other) = (daemon.imap("alice"), daemon.imap("alice"));
    for session in [&mut imap, &mut other] {
        session.ok("SELECT INBOX").unwrap();
    }
    let tag = imap.begin(b"UID FETCH 1:3 BINARY.PEEK[1]").unwrap();
    let begun = imap.talk.line().unwrap();
    assert!(begun.starts_with("* 2 FETCH"), "{begun}");
    other.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)").unwrap();
    other.ok("UID EXPUNGE 3").unwrap();
    let lines = imap.finish(&tag).unwrap();
    assert!(!lines.iter().any(|line| line.starts_with("* 3 FETCH")));
    let last = lines.last().unwrap();
    assert!(last.starts_with(&format!("{tag} NO [UNKNOWN-CTE]")), "{last}");
}
