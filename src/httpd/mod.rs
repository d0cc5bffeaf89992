//! The HTTP/1.1 server (RFC 9110, RFC 9112). It knows nothing of mail: what is asked for, a [`Site`] answers.
//!
//! `head` reads a request's line and fields, `precondition` decides on entity tags, dates and ranges; both are pure. `body` reads
//! what follows a head, `response` is what a site gives, `send` writes it. `session` is the loop: it alone waits for requests.
//!
//! One framing only: a request with both a length and chunks, with two lengths, with a line that ends in a bare LF, or with a
//! space before a colon is refused and the connection closed, for a proxy before us could have seen another request in it
//! (RFC 9112 §11.2). Every wait has a deadline. What a site wants, and what a client may send, are bounded before they are read.

mod body;
mod head;
mod precondition;
mod response;
mod send;
mod session;
#[cfg(test)]
mod tests;

pub use body::Request;
pub use head::{Head, Method};
pub use response::{Body, Response, Status};
pub use send::Out;
pub use session::{Terms, serve};

/// What is served.
pub trait Site: Sync {
    /// Answers one request. A body that is not read is passed over; a refusal is worded by [`Site::refusal`].
    fn answer(&self, request: &mut Request<'_>) -> Result<Response, Status>;

    /// The page that tells of a refusal.
    fn refusal(&self, status: Status) -> Response {
        Response::text(status, &format!("{} {}\n", status.0, status.reason()))
    }
}
