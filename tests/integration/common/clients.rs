//! Clients that do what they are told, right or wrong, and wait no longer than their deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A line-wise talk over TCP.
pub struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    pub fn connect(to: SocketAddr) -> io::Result<Talk> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(60))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        Ok(Talk { stream: BufReader::new(stream) })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// One line without its CRLF; an error if the peer closed.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let text = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// All that still comes until the peer closes, or says nothing for a second.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.get_ref().set_read_timeout(Some(Duration::from_secs(1)));
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }

    /// Two that talk on the same connection, one to send and one to read.
    pub fn split(self) -> io::Result<(Talk, Talk)> {
        let sender = self.stream.get_ref().try_clone()?;
        Ok((Talk { stream: BufReader::new(sender) }, self))
    }

    /// Closes our sending side only.
    pub fn half_close(&self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// True if the peer closes, whatever it still says before.
    pub fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// An SMTP client.
pub struct Smtp {
    pub talk: Talk,
}

impl Smtp {
    /// Connects and reads the greeting, which must be 220.
    pub fn connect(to: SocketAddr) -> io::Result<Smtp> {
        let mut smtp = Smtp { talk: Talk::connect(to)? };
        let greeting = smtp.reply()?;
        if greeting.starts_with("220") { Ok(smtp) } else { Err(io::Error::other(greeting)) }
    }

    /// Connects and says EHLO.
    pub fn hello(to: SocketAddr) -> io::Result<Smtp> {
        let mut smtp = Smtp::connect(to)?;
        smtp.expect("EHLO client.test", "250")?;
        Ok(smtp)
    }

    /// A whole reply; its lines are joined by LF.
    pub fn reply(&mut self) -> io::Result<String> {
        let mut whole = String::new();
        loop {
            let line = self.talk.line()?;
            whole.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(whole);
            }
            whole.push('\n');
        }
    }

    /// Sends a line, gives the reply.
    pub fn command(&mut self, line: &str) -> io::Result<String> {
        self.talk.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends a line; a reply that does not begin with `code` is an error that holds it.
    pub fn expect(&mut self, line: &str, code: &str) -> io::Result<String> {
        let reply = self.command(line)?;
        if reply.starts_with(code) { Ok(reply) } else { Err(io::Error::other(format!("{line}: {reply}"))) }
    }

    /// AUTH PLAIN.
    pub fn log_in(&mut self, name: &str, password: &str) -> io::Result<String> {
        self.command(&format!("AUTH PLAIN {}", base64(format!("\0{name}\0{password}").as_bytes())))
    }

    /// One whole transaction; the reply to the final dot, or the first that is in the way.
    /// `message` has CRLF line ends and ends with one.
    pub fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> io::Result<String> {
        let mut commands = vec![(format!("MAIL FROM:<{from}>"), '2')];
        commands.extend(to.iter().map(|to| (format!("RCPT TO:<{to}>"), '2')));
        commands.push(("DATA".to_owned(), '3'));
        for (command, wanted) in commands {
            let reply = self.command(&command)?;
            if !reply.starts_with(wanted) {
                return Ok(reply);
            }
        }
        self.talk.send(&stuffed(message))?;
        self.reply()
    }
}

impl Smtp {
    /// As [`Smtp::send`], by BDAT in chunks of so many bytes, all of it in one packet; the last reply, or the first that is no success.
    pub fn send_chunks(&mut self, from: &str, to: &[&str], message: &[u8], size: usize) -> io::Result<String> {
        let mut all = format!("MAIL FROM:<{from}>\r\n").into_bytes();
        to.iter().for_each(|to| all.extend_from_slice(format!("RCPT TO:<{to}>\r\n").as_bytes()));
        let mut replies = 1 + to.len();
        for chunk in message.chunks(size.max(message.len() / 50 + 1)) {
            all.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
            all.extend_from_slice(chunk);
            replies += 1;
        }
        all.extend_from_slice(b"BDAT 0 LAST\r\n");
        self.talk.send(&all)?;
        let mut failed = None;
        let mut last = self.reply()?;
        for _ in 0..replies {
            if !last.starts_with('2') {
                failed.get_or_insert(last);
            }
            last = self.reply()?;
        }
        Ok(failed.unwrap_or(last))
    }
}

/// A POP3 client.
pub struct Pop3 {
    pub talk: Talk,
}

impl Pop3 {
    pub fn connect(to: SocketAddr) -> io::Result<Pop3> {
        let mut talk = Talk::connect(to)?;
        let greeting = talk.line()?;
        if greeting.starts_with("+OK") { Ok(Pop3 { talk }) } else { Err(io::Error::other(greeting)) }
    }

    /// Connects and logs in.
    pub fn log_in(to: SocketAddr, name: &str, password: &str) -> io::Result<Pop3> {
        let mut pop3 = Pop3::connect(to)?;
        pop3.ok(&format!("USER {name}"))?;
        pop3.ok(&format!("PASS {password}"))?;
        Ok(pop3)
    }

    pub fn command(&mut self, line: &str) -> io::Result<String> {
        self.talk.send(format!("{line}\r\n").as_bytes())?;
        self.talk.line()
    }

    /// As [`Pop3::command`]; `-ERR` is an error.
    pub fn ok(&mut self, line: &str) -> io::Result<String> {
        let reply = self.command(line)?;
        if reply.starts_with("+OK") { Ok(reply) } else { Err(io::Error::other(format!("{line}: {reply}"))) }
    }

    /// A multi-line answer, unstuffed, in wire form.
    pub fn lines(&mut self, line: &str) -> io::Result<Vec<u8>> {
        self.ok(line)?;
        let mut all = Vec::new();
        loop {
            let at = all.len();
            self.talk.stream.read_until(b'\n', &mut all)?;
            match &all[at..] {
                b".\r\n" => {
                    all.truncate(at);
                    return Ok(all);
                }
                line if !line.ends_with(b"\r\n") => return Err(io::ErrorKind::UnexpectedEof.into()),
                line if line.starts_with(b".") => {
                    all.remove(at);
                }
                _ => {}
            }
        }
    }

    /// How many messages there are.
    pub fn count(&mut self) -> io::Result<usize> {
        let reply = self.ok("STAT")?;
        reply.split(' ').nth(1).and_then(|count| count.parse().ok()).ok_or_else(|| io::Error::other(reply))
    }

    /// Every message, in order.
    pub fn messages(&mut self) -> io::Result<Vec<Vec<u8>>> {
        (1..=self.count()?).map(|number| self.lines(&format!("RETR {number}"))).collect()
    }
}

/// An IMAP client.
pub struct Imap {
    pub talk: Talk,
    commands: usize,
}

impl Imap {
    pub fn connect(to: SocketAddr) -> io::Result<Imap> {
        let mut talk = Talk::connect(to)?;
        let greeting = talk.line()?;
        if greeting.starts_with("* OK") { Ok(Imap { talk, commands: 0 }) } else { Err(io::Error::other(greeting)) }
    }

    /// Connects and logs in.
    pub fn log_in(to: SocketAddr, name: &str, password: &str) -> io::Result<Imap> {
        let mut imap = Imap::connect(to)?;
        imap.ok(&format!("LOGIN {name} {password}"))?;
        Ok(imap)
    }

    /// Sends a command; its tag.
    pub fn begin(&mut self, command: &[u8]) -> io::Result<String> {
        self.commands += 1;
        let tag = format!("t{}", self.commands);
        self.talk.send(&[tag.as_bytes(), b" ", command, b"\r\n"].concat())?;
        Ok(tag)
    }

    /// Every line up to the tagged one, which is the last. Literals are lines like others.
    pub fn finish(&mut self, tag: &str) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.talk.line()?;
            let ends = line.strip_prefix(tag).is_some_and(|rest| rest.starts_with(' '));
            lines.push(line);
            if ends {
                return Ok(lines);
            }
        }
    }

    /// Sends a line; what is answered, the tagged line last and without its tag.
    pub fn command(&mut self, line: &str) -> io::Result<Vec<String>> {
        let tag = self.begin(line.as_bytes())?;
        let mut lines = self.finish(&tag)?;
        if let Some(last) = lines.last_mut() {
            *last = last[tag.len() + 1..].to_owned();
        }
        Ok(lines)
    }

    /// As [`Imap::command`]; anything but OK is an error.
    pub fn ok(&mut self, line: &str) -> io::Result<Vec<String>> {
        let lines = self.command(line)?;
        match lines.last() {
            Some(last) if last.starts_with("OK") => Ok(lines),
            _ => Err(io::Error::other(format!("{line}: {lines:?}"))),
        }
    }
}

impl Imap {
    /// One literal of a message, to the byte.
    pub fn fetch(&mut self, number: usize, what: &str) -> io::Result<Vec<u8>> {
        let tag = self.begin(format!("FETCH {number} ({what})").as_bytes())?;
        let line = self.talk.line()?;
        let length = line.rsplit_once('{').and_then(|(_, rest)| rest.strip_suffix('}')?.parse().ok());
        let mut literal = vec![0; length.ok_or_else(|| io::Error::other(line))?];
        self.talk.stream.read_exact(&mut literal)?;
        self.finish(&tag)?;
        Ok(literal)
    }
}

/// A message as it goes over the wire after DATA: dots doubled, the last line a dot.
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// A simple letter with CRLF line ends.
pub fn letter(subject: &str, body: &str) -> Vec<u8> {
    let mut text = format!("From: sender@sender.test\r\nSubject: {subject}\r\n\r\n");
    for line in body.lines() {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.into_bytes()
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
