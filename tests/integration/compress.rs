//! IMAP's COMPRESS (RFC 4978) against another implementation, zlib behind Python's imaplib, and against who misuses it.

use crate::attacks::load::{resident, works};
use crate::common::{Daemon, Imap, PASSWORD, Setup, Talk, run, tool};
use flate2::{Compress, Compression, FlushCompress};
use std::time::{Duration, Instant};

crate::tests![
    imaplib_with_zlib,
    half_closed_while_compressed,
    what_is_no_deflate_ends_the_session,
    bombs,
    waiting_sessions_give_their_memory_back,
];

/// A client whose file and sending go through zlib from COMPRESS on. It appends, fetches, idles, and pipelines compressed
/// commands right behind COMPRESS.
const CLIENT: &str = r#"
import imaplib, random, socket, ssl, sys, zlib
port, tls, password = int(sys.argv[1]), sys.argv[2] == 'tls', sys.argv[3]
imaplib.Commands['COMPRESS'] = ('AUTH',)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

class File:
    def __init__(self, sock):
        self.sock, self.unpack, self.held = sock, zlib.decompressobj(-15), b''
    def fill(self):
        packed = self.sock.recv(65536)
        if not packed:
            raise EOFError
        self.held += self.unpack.decompress(packed)
    def readline(self, limit=-1):
        while b'\n' not in self.held:
            self.fill()
        line, _, self.held = self.held.partition(b'\n')
        return line + b'\n'
    def read(self, size):
        while len(self.held) < size:
            self.fill()
        data, self.held = self.held[:size], self.held[size:]
        return data
    def close(self):
        pass

def compress(box):
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    def send(data):
        box.sock.sendall(pack.compress(data) + pack.flush(zlib.Z_SYNC_FLUSH))
    box.file, box.send = File(box.sock), send
    box.readline, box.read = box.file.readline, box.file.read

def connect():
    box = imaplib.IMAP4_SSL('127.0.0.1', port, ssl_context=context, timeout=60) if tls else imaplib.IMAP4('127.0.0.1', port, timeout=60)
    box.login('alice', password)
    return box

random.seed(4978)
box = connect()
assert b'COMPRESS=DEFLATE' in box.capability()[1][0].split()
assert box._simple_command('COMPRESS', 'DEFLATE')[0] == 'OK'
compress(box)
noise = bytes(random.choice(b'abcdefghijklmnopqrstuvwxyz0123456789+/\n') for _ in range(3000000)).replace(b'\n', b'\r\n') + b'.\r\n'
messages = [b'Subject: noise\r\n\r\n' + noise, b'Subject: zeros\r\n\r\n' + b'0' * 70 * 1000 + b'\r\n', b'Subject: small\r\n\r\nsmall\r\n']
for message in messages:
    assert box.append('INBOX', None, None, message)[0] == 'OK'
assert box.select('INBOX')[1] == [b'3']
for _ in range(3):
    for number, message in enumerate(messages, 1):
        assert box.fetch(str(number), '(BODY.PEEK[])')[1][0][1] == message
fetched = box.fetch('1:3', '(UID BODY.PEEK[])')[1]
assert [part[1] for part in fetched if isinstance(part, tuple)] == messages

other = connect()
other.select('INBOX')
tag = box._new_tag()
box.send(tag + b' IDLE\r\n')
assert box.readline().startswith(b'+ ')
for flag in ('\\Seen', '\\Flagged', '\\Answered'):
    other.store('2', '+FLAGS.SILENT', flag)
    line = box.readline()
    assert line.startswith(b'* 2 FETCH') and flag.encode() in line, line
box.send(b'DONE\r\n')
while not box.readline().startswith(tag):
    pass
assert box.logout()[0] == 'BYE'

# Against the RFC's advice, but nothing of it is lost.
last = connect()
pack = zlib.compressobj(9, zlib.DEFLATED, -15)
last.sock.sendall(b'x COMPRESS DEFLATE\r\n' + pack.compress(b'y NOOP\r\nz SELECT INBOX\r\n') + pack.flush(zlib.Z_FINISH))
# Its own reader would take in what follows.
line = b''
while not line.endswith(b'\n'):
    line += last.sock.recv(1)
assert line == b'x OK DEFLATE active\r\n'
file = File(last.sock)
assert file.readline().startswith(b'y OK')
while not file.readline().startswith(b'z OK'):
    pass
try:
    file.fill()
    raise AssertionError('not the end')
except EOFError:
    print('done')
"#;

fn imaplib_with_zlib() {
    let daemon = Setup::default().start();
    for (listener, tls) in [("imap", "plain"), ("imaps", "tls")] {
        let port = daemon.at(listener).port().to_string();
        let output = run(tool("python3").arg("-c").arg(CLIENT).args([&port, tls, PASSWORD]));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
        let mut imap = daemon.imap("alice");
        imap.ok("SELECT INBOX").unwrap();
        imap.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)").unwrap();
        imap.ok("CLOSE").unwrap();
    }
}

/// Packs, flushed.
fn packed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 1024);
    Compress::new(Compression::best(), false).compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    out
}

/// Logged in, and compressing from now on.
fn compressing(daemon: &Daemon) -> Talk {
    let mut imap = daemon.imap("alice");
    imap.ok("COMPRESS DEFLATE").unwrap();
    imap.talk
}

fn count(daemon: &Daemon) -> usize {
    daemon
        .imap("alice")
        .ok("SELECT INBOX")
        .unwrap()
        .iter()
        .find_map(|line| line.strip_suffix(" EXISTS")?[2..].parse().ok())
        .unwrap()
}

fn half_closed_while_compressed() {
    let daemon = Setup::default().start();
    // Whole commands are carried out; one that is cut off, and a literal, are not.
    for (text, messages) in
        [("a APPEND INBOX {6+}\r\na:b\r\n\n\r\nb FETCH", 1), ("a APPEND INBOX {60+}\r\na:b\r\n", 1), ("a IDLE\r\n", 1)]
    {
        let mut talk = compressing(&daemon);
        talk.send(&packed(text.as_bytes())).unwrap();
        talk.half_close().unwrap();
        assert!(talk.ends(), "{text:?}");
        assert_eq!(count(&daemon), messages, "{text:?}");
    }
    // The end comes in the middle of a block.
    let mut talk = compressing(&daemon);
    let bytes = packed(&b"a NOOP\r\n".repeat(50));
    talk.send(&bytes[..bytes.len() - 6]).unwrap();
    talk.half_close().unwrap();
    assert!(talk.ends());
    works(&daemon);
}

fn what_is_no_deflate_ends_the_session() {
    let daemon = Setup::default().start();
    for bad in [&b"b NOOP\r\n"[..], b"\xff\xff\xff\xff", &[&packed(b"b NOOP\r\n")[..], b"\x06\x06\x06"].concat()] {
        let mut talk = compressing(&daemon);
        talk.send(bad).unwrap();
        talk.half_close().unwrap();
        assert!(talk.ends(), "{bad:?}");
    }
    daemon.wait_for_log(60, "reason=\"corrupt deflate data\"");
    assert!(!daemon.log().contains("panicked"));
    works(&daemon);
}

/// The limits are those of what the bytes stand for, and memory stays what it is.
fn bombs() {
    let daemon = Setup::options(&["limits.errors=1000", "smtp.max_message_size=\"1M\""]).start();
    let much = vec![b'x'; 16 << 20];
    let literals = [format!("a CREATE {{{}+}}\r\n", much.len()), format!("a APPEND INBOX {{{}+}}\r\n", much.len())];
    let line = [&b"a CREATE "[..], &much, b"\r\n"].concat();
    let chain = [b"a CREATE", &b" {0+}\r\n".repeat(1 << 18)[..], b"\r\n"].concat();
    let nothing = [0, 0, 0, 0xff, 0xff].repeat(1 << 20);
    for bomb in [packed(&line), packed(&chain)]
        .into_iter()
        .chain(literals.map(|head| packed(&[head.as_bytes(), &much, b"\r\n"].concat())))
    {
        assert!(bomb.len() < 200_000);
        let mut talks: Vec<Talk> = (0..4).map(|_| compressing(&daemon)).collect();
        for talk in &mut talks {
            talk.send(&bomb).unwrap();
            talk.half_close().unwrap();
        }
        assert!(talks.iter_mut().all(Talk::ends));
    }
    // Empty blocks without end come to nothing.
    let mut talk = compressing(&daemon);
    let _ = talk.send(&nothing);
    talk.half_close().unwrap();
    assert!(talk.ends());
    assert!(resident(daemon.pid()) < 60 << 10, "{} KiB resident", resident(daemon.pid()));
    assert_eq!(count(&daemon), 0);
    works(&daemon);
}

/// What a session needs to compress it has only while it has something to say.
fn waiting_sessions_give_their_memory_back() {
    const SESSIONS: u64 = 200;
    let daemon = Setup::options(&["limits.per_network=1000"]).start();
    let mut talks: Vec<Imap> = (0..SESSIONS).map(|_| daemon.imap("alice")).collect();
    let before = resident(daemon.pid());
    for imap in &mut talks {
        imap.ok("COMPRESS DEFLATE").unwrap();
        imap.talk.send(&packed(b"a NOOP\r\n")).unwrap();
    }
    let begun = Instant::now();
    loop {
        // A compressor alone is 260 KiB.
        let each = resident(daemon.pid()).saturating_sub(before) / SESSIONS;
        // What stays is the decompressor, 43 KiB.
        if each < 100 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{each} KiB more for each session");
        std::thread::sleep(Duration::from_millis(100));
    }
}
