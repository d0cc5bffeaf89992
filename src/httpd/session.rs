//! The loop of a session: one request after the other on one connection.

use super::body::linger;
use super::send::{Sent, send};
use super::{Head, Request, Site, Status};
use crate::net::{Connection, Line, NetError};
use crate::sys::Clock;
use std::time::Duration;

/// A request line (RFC 9112 §3 wants 8,000 bytes at least).
const LONGEST_LINE: usize = 8 << 10;
/// All of a head.
const LARGEST_HEAD: usize = 24 << 10;
/// A head that takes longer is given up.
const HEAD: Duration = Duration::from_secs(30);
/// Empty lines that a client may put before a request (RFC 9112 §2.2).
const EMPTY_LINES: usize = 2;

/// How a client is waited for.
#[derive(Copy, Clone, Debug)]
pub struct Terms {
    /// Between requests.
    pub idle: Duration,
    /// Between blocks of a body.
    pub data: Duration,
}

/// Serves one client to the end.
pub fn serve(mut connection: Connection, session: &str, terms: Terms, clock: &dyn Clock, site: &dyn Site) {
    log::info!("session={session} http connect peer={} tls={}", connection.peer(), connection.tls().is_some());
    let mut served = 0_u64;
    let end = loop {
        match serve_one(&mut connection, session, terms, clock, site) {
            Ok(true) => served += 1,
            Ok(false) => break "close".to_owned(),
            Err(NetError::Closed) if connection.told_to_leave() => break "stopping".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    log::info!("session={session} http end reason={end:?} requests={served}");
}

/// One request and its answer. True: another may follow.
fn serve_one(
    connection: &mut Connection,
    session: &str,
    terms: Terms,
    clock: &dyn Clock,
    site: &dyn Site,
) -> Result<bool, NetError> {
    let head = read_head(connection, terms)?;
    let begun = clock.elapsed();
    // What is searched for, and the like, is nobody's business: the query is not logged.
    let asked = head.as_ref().map_or_else(|_| "-".into(), |head| format!("method={:?} path={:?}", head.method, head.path));
    let Sent { status, keeps } = match head.and_then(|head| Request::new(head, connection, terms.data)) {
        Ok(mut request) => answer(&mut request, clock, site).map(|sent| Sent { keeps: request.finish(sent.keeps), ..sent })?,
        Err(status) => {
            let sent = send(connection, None, site.refusal(status), false, clock.now())?;
            linger(connection);
            sent
        }
    };
    let took = clock.elapsed().saturating_sub(begun).as_millis();
    log::info!("session={session} http request {asked} status={} ms={took}", status.0);
    Ok(keeps)
}

fn answer(request: &mut Request<'_>, clock: &dyn Clock, site: &dyn Site) -> Result<Sent, NetError> {
    let response = site.answer(request).unwrap_or_else(|status| site.refusal(status));
    let keeps = request.may_be_followed();
    let (head, connection) = request.parts();
    send(connection, Some(head), response, keeps, clock.now())
}

/// Waits for a request, and reads its head. An error of the connection before a whole head came ends the session without a word,
/// except that a client that began one and stopped is told so.
fn read_head(connection: &mut Connection, terms: Terms) -> Result<Result<Head, Status>, NetError> {
    connection.set_timeout(terms.idle);
    connection.set_deadline(Some(terms.idle));
    let (mut head, mut line) = (Vec::new(), Vec::new());
    let mut empty = 0;
    loop {
        match connection.read_line(LONGEST_LINE, &mut line) {
            Ok(Line::Whole) => {}
            Ok(Line::TooLong) if head.is_empty() => return Ok(Err(Status::URI_TOO_LONG)),
            Ok(Line::TooLong) => return Ok(Err(Status::FIELDS_TOO_LARGE)),
            Ok(Line::Malformed) => return Ok(Err(Status::BAD_REQUEST)),
            Err(NetError::Timeout) if !head.is_empty() => return Ok(Err(Status::REQUEST_TIMEOUT)),
            Err(error) => return Err(error),
        }
        if head.is_empty() && line.is_empty() {
            empty += 1;
            if empty > EMPTY_LINES {
                return Ok(Err(Status::BAD_REQUEST));
            }
            continue;
        }
        if head.is_empty() {
            connection.set_deadline(Some(HEAD.min(terms.idle)));
        }
        head.extend_from_slice(&line);
        head.extend_from_slice(b"\r\n");
        if head.len() > LARGEST_HEAD {
            return Ok(Err(Status::FIELDS_TOO_LARGE));
        }
        if line.is_empty() {
            connection.set_deadline(None);
            connection.set_timeout(terms.data);
            return Ok(Head::parse(&head));
        }
    }
}
