//! A part of a message as a file, and the source of a message.

use super::choice::file_name;
use super::message::{Asked, find_part};
use super::reference::escaped;
use super::site::{Context, trouble};
use crate::httpd::{Body, Request, Response, Status};
use crate::mail::structure::Part;
use crate::mail::transfer::Decoder;
use crate::mailbox::{FolderName, MailboxError, Uid, View};
use std::io::{self, Read, Write};
use std::ops::Range;

/// Types that a browser shows and that can't do anything there.
const SHOWN: [(&str, &str); 6] =
    [("image", "png"), ("image", "jpeg"), ("image", "gif"), ("image", "webp"), ("image", "avif"), ("application", "pdf")];
/// What a message is made of never changes under its name.
const FOR_GOOD: &str = "private, max-age=31536000, immutable";
/// Whatever it is, it runs nothing.
const POLICY: &str = "default-src 'none'; sandbox";
/// A browser lays a picture out with styles of its own.
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
/// And its viewer of PDF is not let into a sandbox.
const PDF_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'none'";
/// Bytes read at a time.
const PIECE: usize = 32 << 10;

/// Is it a picture that a browser shows?
pub(super) fn is_picture(part: &Part) -> bool {
    SHOWN.iter().any(|(media, subtype)| *media == "image" && part.is(media, subtype))
}

/// A part, decoded.
pub(super) fn get(
    context: &Context<'_>,
    request: &Request<'_>,
    folder: &FolderName,
    id: &str,
    number: &str,
) -> Result<Response, Status> {
    let asked = Asked::find(context, folder, id)?;
    let part = find_part(&asked.structure, number).ok_or(Status::NOT_FOUND)?.clone();
    let shown =
        SHOWN.iter().find(|(media, subtype)| part.is(media, subtype)).filter(|_| request.head.parameter("download").is_none());
    let kind = shown.map_or("application/octet-stream".to_owned(), |(media, subtype)| format!("{media}/{subtype}"));
    let how = if shown.is_some() { "inline" } else { "attachment" };
    let policy = match shown {
        Some(("image", _)) => PICTURE_POLICY,
        Some(_) => PDF_POLICY,
        None => POLICY,
    };
    let range = part.body.clone();
    let length = copy(&asked.view, asked.uid, &part, range.clone(), &mut io::sink()).map_err(|_| Status::NOT_FOUND)?;
    let tag = format!("\"{}-{number}\"", asked.reference);
    let (view, uid, name) = (asked.view, asked.uid, file_name(&part));
    let body = Body::Stream(Some(length), Box::new(move |out| copy(&view, uid, &part, range, out).map(drop)));
    Ok(Response::new(Status::OK, body)
        .with("Content-Type", &kind)
        .with("Content-Disposition", &disposition(how, &name))
        .with("Content-Security-Policy", policy)
        .with("Cache-Control", FOR_GOOD)
        .with("Accept-Ranges", "bytes")
        .with("ETag", &tag))
}

/// The message as it is.
pub(super) fn source(context: &Context<'_>, request: &Request<'_>, folder: &FolderName, id: &str) -> Result<Response, Status> {
    let asked = Asked::find(context, folder, id)?;
    let size = asked.view.message(asked.uid).map_err(trouble)?.ok_or(Status::NOT_FOUND)?.size;
    let (view, uid) = (asked.view, asked.uid);
    let body = Body::Stream(
        Some(size),
        Box::new(move |out| {
            let mut from = view.read(uid).map_err(io::Error::other)?;
            io::copy(&mut from, out).map(drop)
        }),
    );
    let save = request.head.parameter("download").is_some();
    let (kind, how) = if save { ("message/rfc822", "attachment") } else { ("text/plain; charset=utf-8", "inline") };
    Ok(Response::new(Status::OK, body)
        .with("Content-Type", kind)
        .with("Content-Disposition", &disposition(how, "message.eml"))
        .with("Content-Security-Policy", POLICY)
        .with("Cache-Control", FOR_GOOD))
}

/// Writes a part's content, decoded; gives its length.
fn copy(view: &View, uid: Uid, part: &Part, range: Range<u64>, to: &mut dyn Write) -> io::Result<u64> {
    let mut from = view.read_part(uid, range).map_err(io::Error::other)?;
    let mut decoder = Decoder::new(part.transfer_encoding());
    let (mut piece, mut decoded, mut length) = (vec![0; PIECE], Vec::new(), 0);
    loop {
        let read = from.read(&mut piece).map_err(|error| io::Error::other(MailboxError::of_reader(error)))?;
        decoded.clear();
        match piece.get(..read).filter(|piece| !piece.is_empty()) {
            Some(piece) => decoder.push(piece, &mut decoded),
            None => decoder.finish(&mut decoded),
        }
        to.write_all(&decoded)?;
        length += decoded.len() as u64;
        if read == 0 {
            return Ok(length);
        }
    }
}

/// RFC 6266: the name in ASCII for old browsers, and as it is.
fn disposition(how: &str, name: &str) -> String {
    let plain: String =
        name.chars().map(|char| if char.is_ascii_alphanumeric() || " .-_()".contains(char) { char } else { '_' }).collect();
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{}", escaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_in_their_quotes() {
        assert_eq!(disposition("attachment", "a b.txt"), "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt");
        assert_eq!(
            disposition("inline", "\u{fc}\"; x=\"y"),
            "inline; filename=\"___ x__y\"; filename*=UTF-8''%C3%BC%22%3B%20x%3D%22y"
        );
    }
}
