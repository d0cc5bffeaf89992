//! Fetching a small text by HTTPS, or sending a form (RFC 9110, RFC 9112): one request, one answer, nothing followed, nothing
//! remembered.

use super::tls::ClientTls;
use super::{Connection, Line, NetError};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The port of HTTPS (RFC 9110 §4.2.2).
const PORT: u16 = 443;

/// How long one address may take to answer the call.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes of a line of the head.
const MOST_LINE: usize = 8192;

/// Lines of heads, interim answers included.
const MOST_LINES: usize = 200;

/// What to ask for.
#[derive(Debug)]
pub struct Get<'a> {
    /// The host, as its certificate and it itself know it.
    pub host: &'a str,
    /// With a slash in front.
    pub path: &'a str,
    /// By what the host proves its name.
    pub tls: &'a ClientTls,
    /// Bytes that the text may have.
    pub most: usize,
    /// Then it must be there.
    pub until: Instant,
}

/// Text with status 200.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// Its media type, in lower case, without parameters.
    pub kind: String,
    /// It.
    pub bytes: Vec<u8>,
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunks,
    End,
}

/// What the head of an answer says.
#[derive(Debug)]
struct Head {
    status: u16,
    kind: String,
    framing: Framing,
}

impl Get<'_> {
    /// Asks the host at an address; an error says why there is no text.
    pub fn from(&self, address: SocketAddr) -> Result<Text, String> {
        let mut connection = call(address, self.host, self.tls, self.until)?;
        let head = format!("GET {} HTTP/1.1\r\n{}Accept: text/plain\r\n\r\n", self.path, common_fields(self.host, address));
        connection.put(head.as_bytes()).map_err(|error| error.to_string())?;
        read(&mut connection, self.most)
    }
}

/// A form to be sent; of the answer nothing counts but its status.
#[derive(Debug)]
pub struct Post<'a> {
    /// The host, as its certificate and it itself know it.
    pub host: &'a str,
    /// With a slash in front.
    pub path: &'a str,
    /// As `application/x-www-form-urlencoded`.
    pub form: &'a str,
    /// By what the host proves its name.
    pub tls: &'a ClientTls,
    /// Then the answer must be there.
    pub until: Instant,
}

impl Post<'_> {
    /// Sends it to the host at an address; gives the status of the answer. An error says why there is none.
    pub fn to(&self, address: SocketAddr) -> Result<u16, String> {
        let Post { host, path, form, .. } = self;
        let mut connection = call(address, host, self.tls, self.until)?;
        let (fields, length) = (common_fields(host, address), form.len());
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let request = format!("POST {path} HTTP/1.1\r\n{fields}{kind}\r\nContent-Length: {length}\r\n\r\n{form}");
        connection.put(request.as_bytes()).map_err(|error| error.to_string())?;
        read_head(&mut connection).map(|head| head.status)
    }
}

/// A line to the host at an address, which has proven its name.
fn call(address: SocketAddr, host: &str, tls: &ClientTls, until: Instant) -> Result<Connection, String> {
    let text = |error: NetError| error.to_string();
    let left = || until.saturating_duration_since(Instant::now());
    let mut connection = Connection::connect(address, CONNECT.min(left())).map_err(text)?;
    connection.set_timeout(left());
    connection.set_deadline(Some(left()));
    connection.start_tls(tls, host).map_err(text)?;
    Ok(connection)
}

fn common_fields(host: &str, address: SocketAddr) -> String {
    let port = if address.port() == PORT { String::new() } else { format!(":{}", address.port()) };
    format!("Host: {host}{port}\r\nUser-Agent: Pillarbox\r\nConnection: close\r\n")
}

/// Reads an answer, whose text may have so many bytes.
pub fn read(connection: &mut Connection, most: usize) -> Result<Text, String> {
    let head = read_head(connection)?;
    if head.status != 200 {
        return Err(format!("HTTP status {}", head.status));
    }
    Ok(Text { kind: head.kind, bytes: read_body(connection, &head.framing, most as u64)? })
}

fn read_body(connection: &mut Connection, framing: &Framing, most: u64) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    match *framing {
        Framing::Length(length) if length > most => Err(too_long()),
        Framing::Length(length) => take(connection, length, &mut body).map_err(|error| error.to_string()).map(|()| body),
        Framing::Chunks => loop {
            let size = chunk_size(&line(connection)?).ok_or("broken chunk")?;
            if size > most.saturating_sub(body.len() as u64) {
                return Err(too_long());
            }
            if size == 0 {
                return Ok(body);
            }
            take(connection, size, &mut body).map_err(|error| error.to_string())?;
            if !line(connection)?.is_empty() {
                return Err("broken chunk".to_owned());
            }
        },
        Framing::End => match take(connection, most + 1, &mut body) {
            Ok(()) => Err(too_long()),
            Err(NetError::Closed) => Ok(body),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn take(connection: &mut Connection, count: u64, body: &mut Vec<u8>) -> Result<(), NetError> {
    connection.read_bytes(count, |block| body.extend_from_slice(block))
}

fn too_long() -> String {
    "the text is too long".to_owned()
}

fn line(connection: &mut Connection) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    match connection.read_line(MOST_LINE, &mut line) {
        Ok(Line::Whole) => Ok(line),
        Ok(Line::TooLong | Line::Malformed) => Err("broken HTTP".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The head of the final answer (RFC 9110 §15.2).
fn read_head(connection: &mut Connection) -> Result<Head, String> {
    let mut left = MOST_LINES;
    loop {
        let mut lines = Vec::new();
        loop {
            let line = line(connection)?;
            if line.is_empty() {
                break;
            }
            left = left.checked_sub(1).ok_or("endless head")?;
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        let head = head(&lines).ok_or("broken HTTP")?;
        if !(100..200).contains(&head.status) {
            return Ok(head);
        }
    }
}

/// ```abnf
/// status-line = HTTP-version SP status-code SP [ reason-phrase ]   ; RFC 9112 §4
/// field-line  = field-name ":" OWS field-value OWS                 ; RFC 9112 §5
/// ```
fn head(lines: &[String]) -> Option<Head> {
    let (status_line, fields) = lines.split_first()?;
    let rest = status_line.strip_prefix("HTTP/1.")?.get(1..)?.strip_prefix(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    let (mut kind, mut framing) = (String::new(), Framing::End);
    for field in fields {
        let (name, value) = field.split_once(':')?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            // Chunks go before a length (RFC 9112 §6.3).
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => framing = Framing::Chunks,
            "transfer-encoding" => return None,
            "content-length" if framing == Framing::Chunks => {}
            "content-length" => {
                let length = value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()))?;
                if matches!(framing, Framing::Length(before) if before != length) {
                    return None;
                }
                framing = Framing::Length(length);
            }
            "content-encoding" if !value.eq_ignore_ascii_case("identity") => return None,
            "content-type" => kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase(),
            _ => {}
        }
    }
    Some(Head { status, kind, framing })
}

/// ```abnf
/// chunk-size = 1*HEXDIG, before chunk-ext   ; RFC 9112 §7.1
/// ```
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next()?;
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::ServerTls;
    use std::net::TcpListener;
    use std::thread;

    /// What becomes of an answer, which is all that the server says before it closes.
    fn fetch(said: &'static [u8]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let tls = ServerTls::self_signed(dir.path(), "policy.example").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let mut connection = Connection::from_tcp(listener.accept().unwrap().0).unwrap();
            connection.accept_tls(&tls).unwrap();
            let (mut line, mut head) = (Vec::new(), Vec::new());
            while connection.read_line(1000, &mut line).is_ok() && !line.is_empty() {
                head.push(String::from_utf8(line.clone()).unwrap());
            }
            assert_eq!(head[..2], ["GET /x.txt HTTP/1.1".to_owned(), format!("Host: policy.example:{}", address.port())]);
            let _ = connection.put(said).and_then(|()| connection.flush());
        });
        let (tls, until) = (ClientTls::opportunistic(), Instant::now() + Duration::from_secs(20));
        let get = Get { host: "policy.example", path: "/x.txt", tls: &tls, most: 20, until };
        let fetched = get.from(address).map(|text| format!("{} {}", text.kind, String::from_utf8_lossy(&text.bytes)));
        server.join().unwrap();
        fetched
    }

    #[test]
    fn bodies_are_framed_in_three_ways() {
        for whole in [
            &b"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 \r\ncontent-type:text/plain\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n2\r\nhe\r\n03;x=y\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello",
            b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello world",
        ] {
            assert_eq!(fetch(whole).as_deref(), Ok("text/plain hello"), "{}", String::from_utf8_lossy(whole));
        }
    }

    #[test]
    fn what_is_no_text_is_none() {
        for (said, why) in [
            (&b"HTTP/1.1 301 Moved\r\nLocation: https://policy.example/y\r\nContent-Length: 0\r\n\r\n"[..], "HTTP status 301"),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n123456789012345678901", "the text is too long"),
            (b"HTTP/1.1 200 OK\r\n\r\n123456789012345678901", "the text is too long"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\na\r\n1234567890\r\n0\r\n\r\n",
                "the text is too long",
            ),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", "broken chunk"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n", "broken chunk"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", "broken chunk"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "broken HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "connection closed"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "connection closed"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "broken HTTP"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "broken HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "broken HTTP"),
            (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello\r\n", "broken HTTP"),
            (b"220 host.test ESMTP\r\n\r\n", "broken HTTP"),
            (b"\r\n", "broken HTTP"),
            (b"", "connection closed"),
        ] {
            assert_eq!(fetch(said), Err(why.to_owned()), "{}", String::from_utf8_lossy(said));
        }
        assert_eq!(fetch(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(300).leak()), Err("endless head".to_owned()));
    }
}
