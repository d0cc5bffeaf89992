//! What a site answers.

use super::Out;
use std::borrow::Cow;
use std::fmt;
use std::io;

/// A status code (RFC 9110 §15).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal;)+) => {
        #[allow(missing_docs)] // Their names are RFC 9110's.
        impl Status {
            $(pub const $name: Status = Status($code);)+

            /// In words.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)+
                    _ => "Unknown",
                }
            }
        }
    };
}

statuses! {
    OK = 200 "OK";
    NO_CONTENT = 204 "No Content";
    PARTIAL_CONTENT = 206 "Partial Content";
    SEE_OTHER = 303 "See Other";
    NOT_MODIFIED = 304 "Not Modified";
    BAD_REQUEST = 400 "Bad Request";
    UNAUTHORIZED = 401 "Unauthorized";
    FORBIDDEN = 403 "Forbidden";
    NOT_FOUND = 404 "Not Found";
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    REQUEST_TIMEOUT = 408 "Request Timeout";
    CONFLICT = 409 "Conflict";
    LENGTH_REQUIRED = 411 "Length Required";
    PRECONDITION_FAILED = 412 "Precondition Failed";
    CONTENT_TOO_LARGE = 413 "Content Too Large";
    URI_TOO_LONG = 414 "URI Too Long";
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type";
    RANGE_NOT_SATISFIABLE = 416 "Range Not Satisfiable";
    EXPECTATION_FAILED = 417 "Expectation Failed";
    UNPROCESSABLE_CONTENT = 422 "Unprocessable Content";
    TOO_MANY_REQUESTS = 429 "Too Many Requests";
    FIELDS_TOO_LARGE = 431 "Request Header Fields Too Large";
    INTERNAL_SERVER_ERROR = 500 "Internal Server Error";
    NOT_IMPLEMENTED = 501 "Not Implemented";
    SERVICE_UNAVAILABLE = 503 "Service Unavailable";
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
    INSUFFICIENT_STORAGE = 507 "Insufficient Storage";
}

/// Writes a body as it goes. An error breaks the connection off, so that the client sees that something is missing.
pub type Writer = Box<dyn FnOnce(&mut Out<'_>) -> io::Result<()>>;

/// What follows the fields.
pub enum Body {
    /// All of it.
    Bytes(Cow<'static, [u8]>),
    /// Written as it goes; its length, if that is known.
    Stream(Option<u64>, Writer),
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub(super) status: Status,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

impl Response {
    /// Without fields.
    pub fn new(status: Status, body: Body) -> Response {
        Response { status, fields: Vec::new(), body }
    }

    /// Bytes of a media type.
    pub fn of(status: Status, kind: &str, body: impl Into<Cow<'static, [u8]>>) -> Response {
        Response::new(status, Body::Bytes(body.into())).with("Content-Type", kind)
    }

    /// A page.
    pub fn html(status: Status, page: String) -> Response {
        Response::of(status, "text/html; charset=utf-8", page.into_bytes())
    }

    /// A text.
    pub fn text(status: Status, text: &str) -> Response {
        Response::of(status, "text/plain; charset=utf-8", text.as_bytes().to_owned())
    }

    /// Nothing but a status.
    pub fn empty(status: Status) -> Response {
        Response::new(status, Body::Bytes(Cow::Borrowed(&[])))
    }

    /// What was asked for is done; the client is to look there (RFC 9110 §15.4.4).
    pub fn see_other(location: &str) -> Response {
        Response::empty(Status::SEE_OTHER).with("Location", location)
    }

    /// One more field. What would end its line is left out.
    pub fn with(mut self, name: &'static str, value: &str) -> Response {
        self.fields.push((name, value.chars().filter(|char| !char.is_control()).collect()));
        self
    }

    /// The same, unless it has such a field.
    pub fn or_with(self, name: &'static str, value: &str) -> Response {
        if self.field(name).is_some() { self } else { self.with(name, value) }
    }

    /// The first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Its status.
    pub fn status(&self) -> Status {
        self.status
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Bytes(bytes) => write!(out, "{} bytes", bytes.len()),
            Body::Stream(length, _) => write!(out, "a stream of {length:?} bytes"),
        }
    }
}
