//! The head of a request: its line and its fields (RFC 9112 §3, §5). Pure.

use super::Status;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Fields of one request.
const MOST_FIELDS: usize = 64;

/// What is to be done (RFC 9110 §9).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Give it.
    Get,
    /// Give what is known of it.
    Head,
    /// Do it.
    Post,
    /// Another method of RFC 9110 or RFC 5789; no resource here has it.
    Other,
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
}

/// A request without its body.
#[derive(Debug)]
pub struct Head {
    /// What is to be done.
    pub method: Method,
    /// The path, as it came.
    pub path: String,
    /// What stood behind the question mark, as it came.
    pub query: String,
    /// HTTP/1.1, not 1.0.
    pub(super) is_new: bool,
    fields: Vec<(String, String)>,
    pub(super) framing: Framing,
}

impl Head {
    /// Reads a head, up to its empty line. Its lines are known to end in CRLF.
    pub(super) fn parse(bytes: &[u8]) -> Result<Head, Status> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Status::BAD_REQUEST),
            Err(httparse::Error::TooManyHeaders) => return Err(Status::FIELDS_TOO_LARGE),
            Err(httparse::Error::Version) if is_other_version(bytes) => return Err(Status::VERSION_NOT_SUPPORTED),
            Err(_) => return Err(Status::BAD_REQUEST),
        }
        let method = method(request.method.unwrap_or_default())?;
        let (path, query) = target(request.path.unwrap_or_default()).ok_or(Status::BAD_REQUEST)?;
        let is_new = request.version == Some(1);
        // What is not ASCII means nothing in any field we look at.
        let fields = request
            .headers
            .iter()
            .map(|field| (field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).trim().to_owned()))
            .collect();
        let mut head = Head { method, path, query, is_new, fields, framing: Framing::None };
        // RFC 9112 §3.2: exactly one, and only HTTP/1.0 may do without.
        match head.all("host").count() {
            1 => {}
            0 if !is_new => {}
            _ => return Err(Status::BAD_REQUEST),
        }
        head.framing = head.find_framing()?;
        Ok(head)
    }

    /// The first field of that name, given in lower case.
    pub fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Does a field that is a list of words hold this one? What stands behind a semicolon is not looked at.
    pub(super) fn lists(&self, name: &str, word: &str) -> bool {
        self.words(name).any(|item| item.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(word))
    }

    pub(super) fn words<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
    }

    /// A cookie's value (RFC 6265 §4.2). Of two of one name the first counts.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.all("cookie")
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// The parts of the path between its slashes, decoded. None: one of them is not UTF-8.
    pub fn segments(&self) -> Option<Vec<String>> {
        let decode = |part: &str| percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned);
        self.path.trim_start_matches('/').split('/').map(decode).collect()
    }

    /// A parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes()).find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
    }

    /// May the connection serve another request (RFC 9112 §9.3)?
    pub(super) fn keeps_alive(&self) -> bool {
        if self.is_new { !self.lists("connection", "close") } else { self.lists("connection", "keep-alive") }
    }

    /// Does the client wait for a word before it sends the body (RFC 9110 §10.1.1)?
    pub(super) fn waits(&self) -> Result<bool, Status> {
        match self.field("expect") {
            Some(word) if self.is_new && !word.eq_ignore_ascii_case("100-continue") => Err(Status::EXPECTATION_FAILED),
            Some(_) => Ok(self.is_new),
            None => Ok(false),
        }
    }

    fn find_framing(&self) -> Result<Framing, Status> {
        let (mut lengths, mut codings) = (self.all("content-length"), self.all("transfer-encoding"));
        let (length, coding) = (lengths.next(), codings.next());
        if lengths.next().is_some() || codings.next().is_some() || length.is_some() && coding.is_some() {
            return Err(Status::BAD_REQUEST);
        }
        match (length, coding) {
            (Some(digits), _) => {
                // `parse` alone would take a sign.
                let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let length = digits.parse().ok().filter(|_| is_number).ok_or(Status::BAD_REQUEST)?;
                Ok(Framing::Length(length))
            }
            (None, Some(_)) if !self.is_new => Err(Status::BAD_REQUEST),
            (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (None, Some(_)) => Err(Status::NOT_IMPLEMENTED),
            (None, None) if self.method == Method::Post => Err(Status::LENGTH_REQUIRED),
            (None, None) => Ok(Framing::None),
        }
    }
}

fn method(name: &str) -> Result<Method, Status> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "PUT" | "DELETE" | "OPTIONS" | "PATCH" | "TRACE" | "CONNECT" => Ok(Method::Other),
        _ => Err(Status::NOT_IMPLEMENTED),
    }
}

/// `HTTP/` and a version, but not one of ours.
fn is_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    matches!(version.strip_prefix(b"HTTP/"), Some([b'0'..=b'9', b'.', b'0'..=b'9']))
}

/// Path and query of origin-form, absolute-form and the others, which name no resource here (RFC 9112 §3.2).
fn target(target: &str) -> Option<(String, String)> {
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if !target.starts_with('/') => {
            let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
            known.then(|| rest.find('/').map_or("/", |at| rest.get(at..).unwrap_or("/")))?
        }
        _ => target,
    };
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    Some((path.to_owned(), query.to_owned()))
}
