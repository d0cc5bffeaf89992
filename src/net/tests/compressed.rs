//! The same, compressed (RFC 4978), plain and over TLS.

use super::encrypted::{tls, tls_pair};
use super::*;
use flate2::{Compress, Compression, FlushCompress};
use std::os::fd::AsFd;

/// Packs as another program would, flushed.
fn packed(text: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 1024);
    Compress::new(Compression::best(), false).compress_vec(text, &mut out, flush).unwrap();
    out
}

/// Text that packs well, and some that does not.
fn mixed(size: usize) -> Vec<u8> {
    let mut seed = 7u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 33
    };
    let mut text = Vec::new();
    while text.len() < size {
        match next() % 3 {
            0 => text.extend_from_slice(&b"* 17 FETCH (UID 17 FLAGS (\\Seen))\r\n".repeat(next() as usize % 500)),
            _ => text.extend((0..next() % 9000).map(|_| next() as u8)),
        }
    }
    text
}

#[test]
fn compressed_there_and_back() {
    let tls = tls();
    for (mut server, mut client) in [two(), tls_pair(&tls, "x.example")] {
        let text = mixed(3_000_000);
        let size = text.len();
        server.put(b"a OK DEFLATE\r\n").unwrap();
        server.compress().unwrap();
        assert_eq!(line_of(&mut client), "a OK DEFLATE");
        client.compress().unwrap();
        assert!(server.is_compressed() && !server.has_input());
        let sent = text.clone();
        let writer = thread::spawn(move || {
            client.put(b"one\r\ntwo\r\n").unwrap();
            client.put(&sent).unwrap();
            assert_eq!(line_of(&mut client), "got it");
            let mut back = Vec::new();
            client.read_bytes(size as u64, |bytes| back.extend_from_slice(bytes)).unwrap();
            assert!(back == sent && !client.input_pending());
            client
        });
        assert_eq!(line_of(&mut server), "one");
        assert!(server.has_input());
        assert_eq!(line_of(&mut server), "two");
        let mut got = Vec::new();
        server.read_bytes(size as u64, |bytes| got.extend_from_slice(bytes)).unwrap();
        assert!(got == text && !server.has_input());
        server.put(b"got it\r\n").unwrap();
        server.put(&text).unwrap();
        server.flush().unwrap();
        drop(writer.join().unwrap());
        assert!(matches!(server.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
    }
}

#[test]
fn what_arrived_behind_the_command_is_compressed() {
    let (mut connection, mut peer) = pair();
    peer.write_all(&[b"a COMPRESS DEFLATE\r\n", &packed(b"b NOOP\r\nc NO", FlushCompress::Sync)[..]].concat()).unwrap();
    assert_eq!(line_of(&mut connection), "a COMPRESS DEFLATE");
    assert!(connection.has_input());
    connection.compress().unwrap();
    assert!(connection.has_input());
    assert_eq!(line_of(&mut connection), "b NOOP");
    assert!(connection.has_input());
}

/// Each flush ends at a byte, whoever packs next: a compressor that was given back goes on as a new one.
#[test]
fn a_rest_between_two_replies_is_not_seen() {
    let (mut server, mut client) = two();
    server.compress().unwrap();
    client.compress().unwrap();
    for round in 0..20 {
        let line = format!("* OK a line like others, number {round}");
        server.put(format!("{line}\r\n").as_bytes()).unwrap();
        server.flush().unwrap();
        if round % 2 == 0 {
            server.stream.rest_after(Duration::ZERO);
            assert!(!format!("{:?}", server.stream).contains("packer: Some"));
        }
        assert_eq!(line_of(&mut client), line);
    }
}

#[test]
fn a_wait_ends_with_the_first_whole_byte() {
    let (mut connection, mut peer) = pair();
    connection.compress().unwrap();
    let (never, _other) = UnixStream::pair().unwrap();
    let bytes = packed(b"DONE\r\n", FlushCompress::Sync);
    // The header of a block is nothing yet.
    peer.write_all(&bytes[..1]).unwrap();
    wait_for(|| peek_len(&connection) > 0);
    assert!(!connection.wait(never.as_fd(), Duration::from_millis(20)).unwrap());
    assert!(!connection.input_pending());
    peer.write_all(&bytes[1..]).unwrap();
    assert!(connection.wait(never.as_fd(), Duration::from_secs(5)).unwrap());
    assert_eq!(line_of(&mut connection), "DONE");
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(connection.wait(never.as_fd(), Duration::from_secs(5)).unwrap());
    assert!(matches!(connection.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
}

#[test]
fn every_split_is_read_alike() {
    let bytes = packed(b"one\r\ntwo\r\nthree\r\n", FlushCompress::Finish);
    for at in 0..=bytes.len() {
        let (mut connection, mut peer) = pair();
        connection.compress().unwrap();
        let (first, second) = bytes.split_at(at);
        thread::scope(|scope| {
            scope.spawn(|| {
                peer.write_all(first).unwrap();
                thread::sleep(Duration::from_micros(200));
                peer.write_all(second).unwrap();
            });
            for line in ["one", "two", "three"] {
                assert_eq!(line_of(&mut connection), line);
            }
        });
        // The stream has ended, though the connection has not.
        assert!(matches!(connection.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
    }
}

#[test]
fn what_is_no_deflate_ends_it() {
    for bad in [&b"\xff\xff\xff\xff"[..], b"\x07rubbish", b"\x78\x9c\xca\xca\x04"] {
        let (mut connection, mut peer) = pair();
        connection.compress().unwrap();
        peer.write_all(bad).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let result = connection.read_line(100, &mut Vec::new());
        assert!(matches!(&result, Err(NetError::Io(error)) if error.kind() == ErrorKind::InvalidData), "{bad:?}: {result:?}");
    }
}

/// Both stop behind a flush, or where the stream was ended; in doubt nobody does.
#[test]
fn plain_again() {
    let (mut server, mut client) = two();
    for round in 0..3 {
        server.compress().unwrap();
        client.compress().unwrap();
        client.put(b"compressed\r\n").unwrap();
        client.flush().unwrap();
        assert_eq!(line_of(&mut server), "compressed");
        assert!(server.can_decompress(), "{round}");
        server.put(b"OK\r\n").unwrap();
        server.decompress().unwrap();
        assert_eq!(line_of(&mut client), "OK");
        assert!(client.can_decompress() && !server.is_compressed());
        client.decompress().unwrap();
        server.put(b"plain\r\n").unwrap();
        server.flush().unwrap();
        assert_eq!(line_of(&mut client), "plain");
    }
    let line = b"a\r\n";
    let two_lines = packed(&line.repeat(2), FlushCompress::Sync);
    for (bytes, behind) in [
        ([&packed(line, FlushCompress::Finish)[..], b"b\r\n"].concat(), Some("b")),
        ([&packed(line, FlushCompress::Sync)[..], &[1]].concat(), None),
        (two_lines, None),
    ] {
        let (mut connection, mut peer) = pair();
        connection.compress().unwrap();
        peer.write_all(&bytes).unwrap();
        assert_eq!(line_of(&mut connection), "a");
        assert_eq!(connection.can_decompress(), behind.is_some(), "{bytes:?}");
        if let Some(behind) = behind {
            connection.decompress().unwrap();
            assert!(connection.has_input());
            assert_eq!(line_of(&mut connection), behind);
        }
    }
}

/// A kilobyte stands for a megabyte: limits are those of what it stands for, and no more of it is made than is read.
#[test]
fn a_bomb_is_no_more_than_a_long_line() {
    let bomb = packed(&vec![b'x'; 8 << 20], FlushCompress::Sync);
    assert!(bomb.len() < 10_000);
    let (mut connection, mut peer) = pair();
    connection.compress().unwrap();
    peer.write_all(&bomb).unwrap();
    let mut line = Vec::new();
    assert!(matches!(connection.read_line(100, &mut line), Err(NetError::Io(_))));
    assert_eq!(line.len(), 100);
    let held = format!("{:?}", connection.stream).len();
    assert!(held < 200_000, "{held}");
}
