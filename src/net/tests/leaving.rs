//! Sessions that are told to leave.

use super::encrypted::{tls, tls_pair};
use super::*;

#[test]
fn told_to_leave() {
    let registry = Registry::default();
    let (mut server, mut client) = tls_pair(&tls(), "x.example");
    let (mut idle, mut peer) = pair();
    server.register(&registry);
    idle.register(&registry);
    assert_eq!(registry.count(), 2);
    assert!(!registry.wait_until_empty(Duration::from_millis(1)));
    let reader = thread::spawn(move || {
        assert!(matches!(server.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
        assert!(server.told_to_leave());
        server.put(b"421 bye\r\n").unwrap();
        server.flush().unwrap();
    });
    // Pipelined commands are not begun any more either.
    peer.write_all(b"one\r\ntwo\r\n").unwrap();
    assert_eq!(line_of(&mut idle), "one");
    assert!(!idle.told_to_leave());
    registry.tell_all_to_leave();
    assert!(matches!(idle.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
    assert_eq!(line_of(&mut client), "421 bye");
    reader.join().unwrap();
    // One that comes too late is told at once.
    let (mut late, mut peer) = pair();
    late.register(&registry);
    peer.write_all(b"EHLO x\r\n").unwrap();
    assert!(matches!(late.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
    drop((late, idle));
    assert!(registry.wait_until_empty(Duration::ZERO));
}

#[test]
fn a_message_that_is_arriving_may_finish() {
    let registry = Registry::default();
    let (mut connection, mut peer) = pair();
    connection.register(&registry);
    peer.write_all(b"first line\r\n").unwrap();
    let link = connection.stream.link().clone();
    let session = thread::spawn(move || {
        let mut sink = Sink::default();
        assert!(matches!(connection.read_dots(100, &mut sink), Ok(Dots::Whole)));
        assert_eq!(sink.text, b"first line\nlast line\n");
        connection.put(b"250 ok\r\n").unwrap();
        assert!(matches!(connection.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
    });
    wait_for(|| link.is_busy_for_test());
    registry.tell_all_to_leave();
    peer.write_all(b"last line\r\n.\r\nMAIL\r\n").unwrap();
    session.join().unwrap();
    drop(link);
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    assert_eq!(said, "250 ok\r\n");
}

#[test]
fn cut_off() {
    let registry = Registry::default();
    let (mut connection, _peer) = pair();
    connection.register(&registry);
    let session = thread::spawn(move || connection.read_dots(100, &mut Sink::default()).map(|_| ()));
    registry.cut_all();
    assert!(matches!(session.join().unwrap(), Err(NetError::Closed)));
    assert!(registry.wait_until_empty(Duration::from_secs(5)));
}
