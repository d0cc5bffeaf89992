//! Conversations over real sockets.

mod compressed;
mod encrypted;
mod leaving;

use super::*;
use std::io::Read;
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

/// Two ends of a TCP connection: ours, and the bare socket of a peer.
fn pair() -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut connection = Connection::from_tcp(listener.accept().unwrap().0).unwrap();
    connection.set_timeout(Duration::from_secs(5));
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (connection, peer)
}

/// Two of ours.
fn two() -> (Connection, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Connection::connect(listener.local_addr().unwrap(), Duration::from_secs(5)).unwrap();
    let mut server = Connection::from_tcp(listener.accept().unwrap().0).unwrap();
    client.set_timeout(Duration::from_secs(5));
    server.set_timeout(Duration::from_secs(5));
    (server, client)
}

fn wait_for(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < Duration::from_secs(5), "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

fn line_of(connection: &mut Connection) -> String {
    let mut line = Vec::new();
    assert_eq!(connection.read_line(512, &mut line).unwrap(), Line::Whole);
    String::from_utf8(line).unwrap()
}

/// A sink that counts what is written to it, and may fail.
#[derive(Default)]
struct Sink {
    text: Vec<u8>,
    writes: usize,
    room: Option<usize>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room.is_some_and(|room| self.text.len() + bytes.len() > room) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.writes += 1;
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_dialogue_in_every_split() {
    let talk = b"EHLO x\r\nA\nB\r\n0123456789\r\n..a\r\n.b\r\n.\r\nx\ry\r\n.\r\n1234\r\n.\r\nQUIT\r\n";
    let check = |connection: &mut Connection| {
        let mut line = Vec::new();
        assert_eq!(line_of(connection), "EHLO x");
        assert_eq!(connection.read_line(10, &mut line).unwrap(), Line::Malformed);
        assert_eq!(connection.read_line(10, &mut line).unwrap(), Line::TooLong);
        let mut sink = Sink::default();
        assert!(matches!(connection.read_dots(100, &mut sink), Ok(Dots::Whole)));
        assert_eq!(sink.text, b".a\nb\n");
        assert!(matches!(connection.read_dots(100, &mut Sink::default()), Ok(Dots::Malformed)));
        let mut sink = Sink { room: Some(3), ..Sink::default() };
        assert!(matches!(connection.read_dots(100, &mut sink), Ok(Dots::Sink(_))));
        assert_eq!(line_of(connection), "QUIT");
        assert!(!connection.has_input());
    };
    let (mut connection, mut peer) = pair();
    for at in 0..talk.len() {
        let (a, b) = talk.split_at(at);
        thread::scope(|scope| {
            scope.spawn(|| {
                peer.write_all(a).unwrap();
                thread::sleep(Duration::from_micros(200));
                peer.write_all(b).unwrap();
            });
            check(&mut connection);
        });
    }
    peer.set_nodelay(true).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| talk.iter().for_each(|byte| peer.write_all(&[*byte]).unwrap()));
        check(&mut connection);
    });
}

#[test]
fn a_message_costs_one_write_per_block() {
    let (mut connection, mut peer) = pair();
    let line = [&[b'a'; 62][..], b"\r\n"].concat();
    peer.write_all(&[line.repeat(64), b".\r\nNOOP\r\n".to_vec()].concat()).unwrap();
    wait_for(|| peek_len(&connection) > 4096);
    let mut sink = Sink::default();
    assert!(matches!(connection.read_dots(4096, &mut sink), Ok(Dots::Whole)));
    assert_eq!((sink.text.len(), sink.writes), (63 * 64, 1));
    assert!(connection.has_input());
    assert_eq!(line_of(&mut connection), "NOOP");
}

fn peek_len(connection: &Connection) -> usize {
    connection.stream.arrived_for_test()
}

#[test]
fn big_messages_and_their_limit() {
    let (mut connection, mut peer) = pair();
    let text = [&[b'a'; 70][..], b"\n"].concat().repeat(20_000);
    let wire = [&[b'a'; 70][..], b"\r\n"].concat().repeat(20_000);
    let sender = thread::spawn(move || {
        for _ in 0..3 {
            peer.write_all(&wire).unwrap();
            peer.write_all(b".\r\n").unwrap();
        }
        peer.write_all(b"QUIT\r\n").unwrap();
        peer
    });
    let mut sink = Sink::default();
    assert!(matches!(connection.read_dots(72 * 20_000, &mut sink), Ok(Dots::Whole)));
    assert!(sink.text == text);
    assert!(sink.writes < 400, "{}", sink.writes);
    let mut sink = Sink::default();
    assert!(matches!(connection.read_dots(72 * 20_000 - 1, &mut sink), Ok(Dots::TooBig)));
    assert!(sink.text.len() < 72 * 20_000 && text.starts_with(&sink.text));
    let mut sink = Sink { room: Some(100_000), ..Sink::default() };
    assert!(matches!(connection.read_dots(u64::MAX, &mut sink), Ok(Dots::Sink(error)) if error.kind() == ErrorKind::StorageFull));
    assert_eq!(line_of(&mut connection), "QUIT");
    sender.join().unwrap();
}

#[test]
fn an_endless_line_is_an_error() {
    let (mut connection, mut peer) = pair();
    let sender = thread::spawn(move || while peer.write_all(&[b'a'; 10_000]).is_ok() {});
    let mut line = Vec::new();
    assert!(matches!(connection.read_line(512, &mut line), Err(NetError::Io(_))));
    assert!(line.len() <= 512);
    drop(connection);
    sender.join().unwrap();
}

#[test]
fn queued_output_goes_out_before_a_wait_and_at_once() {
    let (mut server, mut client) = two();
    client.put(b"one\r\n").unwrap();
    client.put(b"two\r\n").unwrap();
    assert!(!server.input_pending());
    client.flush().unwrap();
    wait_for(|| peek_len(&server) == 10);
    assert!(!server.has_input());
    assert!(server.input_pending());
    assert_eq!(line_of(&mut server), "one");
    assert!(server.has_input());
    server.put(b"250 ok\r\n").unwrap();
    let reader = thread::spawn(move || line_of(&mut client));
    assert_eq!(line_of(&mut server), "two");
    assert!(matches!(server.read_line(10, &mut Vec::new()), Err(NetError::Closed)));
    assert_eq!(reader.join().unwrap(), "250 ok");
}

#[test]
fn ends_of_input() {
    let (mut connection, mut peer) = pair();
    peer.write_all(b"half a li").unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let mut line = Vec::new();
    assert!(matches!(connection.read_line(100, &mut line), Err(NetError::Closed)));
    assert!(!connection.input_pending());
    connection.put(b"421 bye\r\n").unwrap();
    connection.flush().unwrap();
    drop(connection);
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    assert_eq!(said, "421 bye\r\n");

    let (mut connection, mut peer) = pair();
    peer.write_all(b"text\r\n").unwrap();
    drop(peer);
    assert!(matches!(connection.read_dots(100, &mut Sink::default()), Err(NetError::Closed)));
    // The first write meets a closed socket and is answered by a reset; later ones fail.
    wait_for_write_error(&mut connection);

    // What nobody has read does not turn our last words into a reset.
    let (mut connection, mut peer) = pair();
    peer.write_all(b"one\r\ntwo\r\n").unwrap();
    assert_eq!(line_of(&mut connection), "one");
    peer.write_all(&[b'x'; 5000]).unwrap();
    wait_for(|| peek_len(&connection) == 5000);
    connection.put(b"500 enough\r\n").unwrap();
    connection.flush().unwrap();
    drop(connection);
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    assert_eq!(said, "500 enough\r\n");
}

fn wait_for_write_error(connection: &mut Connection) {
    let begin = Instant::now();
    loop {
        connection.put(b"250 ok\r\n").unwrap();
        match connection.flush() {
            Ok(()) => assert!(begin.elapsed() < Duration::from_secs(5)),
            Err(NetError::Closed) => return,
            Err(other) => panic!("{other:?}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn one_byte_a_tick_does_not_outlast_the_deadline() {
    let (mut connection, mut peer) = pair();
    let dripping = thread::spawn(move || {
        while peer.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    connection.set_timeout(Duration::from_secs(5));
    for limit in [64, 100_000] {
        let begin = Instant::now();
        connection.set_deadline(Some(Duration::from_millis(150)));
        let result = if limit == 64 {
            connection.read_line(limit, &mut Vec::new()).map(|_| ())
        } else {
            connection.read_dots(limit as u64, &mut Sink::default()).map(|_| ())
        };
        assert!(matches!(result, Err(NetError::Timeout)), "{result:?}");
        assert!((Duration::from_millis(140)..Duration::from_secs(4)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    }
    // Last words still go out.
    connection.put(b"421 too slow\r\n").unwrap();
    connection.flush().unwrap();
    drop(connection);
    dripping.join().unwrap();
}

#[test]
fn silence_and_full_pipes_time_out() {
    let (mut connection, peer) = pair();
    connection.set_timeout(Duration::from_millis(50));
    let begin = Instant::now();
    assert!(matches!(connection.read_line(100, &mut Vec::new()), Err(NetError::Timeout)));
    assert!((Duration::from_millis(45)..Duration::from_secs(4)).contains(&begin.elapsed()));
    // A longer wait after a shorter one is as long as it should be, though the kernel still has the old value.
    connection.set_timeout(Duration::from_millis(200));
    let begin = Instant::now();
    assert!(matches!(connection.read_line(100, &mut Vec::new()), Err(NetError::Timeout)));
    assert!((Duration::from_millis(190)..Duration::from_secs(4)).contains(&begin.elapsed()));
    let mut writer = connection.dot_writer();
    let error = (0..10_000).find_map(|_| writer.write_all(&[b'a'; 10_000]).err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(peer);
}

#[test]
fn after_its_deadline_a_long_answer_ends() {
    let (mut connection, mut peer) = pair();
    let reader = thread::spawn(move || io::copy(&mut peer, &mut io::sink()).unwrap_or(0));
    connection.set_deadline(Some(Duration::from_millis(50)));
    let begin = Instant::now();
    let mut writer = connection.dot_writer();
    loop {
        assert!(begin.elapsed() < Duration::from_secs(5));
        match writer.write_all(&[b'a'; 10_000]) {
            Ok(()) => {}
            Err(error) => break assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
    }
    drop(connection);
    reader.join().unwrap();
}

#[test]
fn dots_over_a_connection() {
    let (mut server, mut client) = two();
    let text = b".\r\n..two\r\nthree".repeat(20_000);
    let writer = thread::spawn(move || {
        let mut writer = client.dot_writer();
        for piece in text.chunks(4097) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap();
        client.put(b"QUIT\r\n").unwrap();
        client.flush().unwrap();
        client
    });
    let mut sink = Sink::default();
    assert!(matches!(server.read_dots(u64::MAX, &mut sink), Ok(Dots::Whole)));
    assert!(sink.text == [b".\n..two\nthree".repeat(20_000), b"\n".to_vec()].concat());
    assert_eq!(line_of(&mut server), "QUIT");
    writer.join().unwrap();
}

#[test]
fn a_unix_peer_has_credentials() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut connection = Connection::from_unix(ours).unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    assert!(matches!(connection.peer(), Peer::Unix { uid: who, pid } if *who == uid && *pid > 0));
    theirs.write_all(b"MAIL\r\n").unwrap();
    assert!(connection.input_pending());
    assert_eq!(line_of(&mut connection), "MAIL");
    connection.set_timeout(Duration::from_millis(20));
    assert!(matches!(connection.read_line(100, &mut Vec::new()), Err(NetError::Timeout)));
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = Connection::connect(address, Duration::from_secs(5));
    assert!(matches!(refused, Err(NetError::Io(error)) if error.kind() == ErrorKind::ConnectionRefused));
    assert!(matches!(Connection::connect(address, Duration::ZERO), Err(NetError::Timeout)));
}

#[test]
fn shrinking_loses_nothing() {
    let (mut connection, mut peer) = pair();
    peer.write_all(b"one\r\ntwo\r\n").unwrap();
    wait_for(|| peek_len(&connection) == 10);
    assert_eq!(line_of(&mut connection), "one");
    connection.put(b"250 ok\r\n").unwrap();
    connection.shrink();
    assert_eq!(line_of(&mut connection), "two");
    connection.flush().unwrap();
    connection.shrink();
    assert_eq!(connection.output.capacity(), 0);
    let mut said = [0; 8];
    peer.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"250 ok\r\n");
}

/// A peer that is far away is looked for awake a few times, no more; one that goes on at once, always.
#[test]
fn only_who_is_quick_is_expected() {
    let (mut connection, mut peer) = pair();
    connection.put(b"+OK\r\n").unwrap();
    (0..1000).for_each(|_| connection.expect_more().unwrap());
    let (quick, several) = (connection.quick, *PROCESSORS > 1);
    assert_eq!(quick, if several { 0 } else { QUICK });
    let begun = Instant::now();
    (0..1000).for_each(|_| connection.expect_more().unwrap());
    assert!(begun.elapsed() < AT_ONCE * 500);
    let mut said = [0; 5];
    peer.read_exact(&mut said).unwrap();
    connection.quick = 1;
    for number in 0..3 {
        peer.write_all(b"RETR 1\r\n").unwrap();
        wait_for(|| peek_len(&connection) == 8);
        connection.expect_more().unwrap();
        assert_eq!(connection.quick, if several { number + 2 } else { 1 });
        assert_eq!(line_of(&mut connection), "RETR 1");
    }
}

/// MB/s from one end of a loopback connection to the other, sink included.
fn speed(mut server: Connection, mut client: Connection, size: usize, count: usize) -> f64 {
    let wire = [&[b'a'; 70][..], b"\r\n"].concat().repeat(size / 72);
    let total = wire.len() * count;
    let sender = thread::spawn(move || {
        for _ in 0..count {
            let mut writer = client.dot_writer();
            writer.write_all(&wire).unwrap();
            writer.finish().unwrap();
            assert_eq!(line_of(&mut client), "250 ok");
        }
    });
    let begin = Instant::now();
    for _ in 0..count {
        assert!(matches!(server.read_dots(u64::MAX, &mut io::sink()), Ok(Dots::Whole)));
        server.put(b"250 ok\r\n").unwrap();
        server.flush().unwrap();
    }
    let speed = total as f64 / begin.elapsed().as_secs_f64() / 1e6;
    sender.join().unwrap();
    speed
}

#[test]
#[ignore = "a measurement, for a release build: --nocapture"]
fn how_fast_messages_come_in() {
    for (size, count) in [(4096, 20_000), (1 << 20, 300)] {
        let (server, client) = two();
        println!("plain {size}: {:.0} MB/s", speed(server, client, size, count));
        let (server, client) = encrypted::tls_pair(&encrypted::tls(), "x.example");
        println!("TLS {size}: {:.0} MB/s", speed(server, client, size, count / 4));
    }
}
