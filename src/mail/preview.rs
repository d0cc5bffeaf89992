//! The beginning of a message's text, as lists of messages show it (RFC 8970): the first text part that has any, decoded,
//! without the tags of HTML, on one line. Bytes are taken as they come, and no more of them than it needs.

use super::html::Text;
use super::structure::Part;
use super::transfer::Decoder;
use encoding_rs::Encoding;

/// Characters of a preview.
const CHARACTERS: usize = 200;
/// Bytes of parts, as they are encoded, that are looked at in search of them.
const BYTES: usize = 64 << 10;
/// Bytes decoded at once.
const PIECE: usize = 512;

/// Makes a preview.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    line: Line,
    part: Option<Source>,
    looked_at: usize,
}

/// The text on one line, as far as it is wanted.
#[derive(Debug, Default)]
struct Line {
    text: String,
    characters: usize,
    blank: bool,
}

impl Line {
    fn is_full(&self) -> bool {
        self.characters >= CHARACTERS
    }

    fn push(&mut self, c: char) {
        match c {
            // Not seen: joiners, marks of direction, the soft hyphen, and the fillers that senders put into previews.
            '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {}
            _ if c.is_whitespace() || c.is_control() => self.blank = !self.text.is_empty(),
            _ => {
                if std::mem::take(&mut self.blank) && !self.is_full() {
                    self.text.push(' ');
                    self.characters += 1;
                }
                if !self.is_full() {
                    self.text.push(c);
                    self.characters += 1;
                }
            }
        }
    }
}

/// A part that is being read.
struct Source {
    transfer: Decoder,
    charset: encoding_rs::Decoder,
    html: Option<Text>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("charset", &self.charset.encoding().name()).finish_non_exhaustive()
    }
}

impl Preview {
    /// A part's body begins; it is read if it is the text that is wanted.
    pub(crate) fn begin_part(&mut self, part: &Part) {
        let is_attached = part.disposition.as_ref().is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"attachment"));
        let is_html = part.is("text", "html");
        if !self.line.text.is_empty() || is_attached || !(is_html || part.is("text", "plain")) {
            return;
        }
        let label = super::parameters::value(&part.parameters, "charset").unwrap_or_default();
        // US-ASCII that is none is most often UTF-8.
        let charset = Encoding::for_label(label.as_bytes()).filter(|_| !label.eq_ignore_ascii_case("us-ascii"));
        self.part = Some(Source {
            transfer: Decoder::new(part.transfer_encoding()),
            charset: charset.unwrap_or(encoding_rs::UTF_8).new_decoder(),
            html: is_html.then(Text::default),
        });
    }

    /// Takes bytes of the body, if they are wanted.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let Some(source) = &mut self.part else { return };
        let wanted = bytes.get(..BYTES - self.looked_at).unwrap_or(bytes);
        self.looked_at += wanted.len();
        let mut decoded = Vec::new();
        for piece in wanted.chunks(PIECE) {
            source.transfer.push(piece, &mut decoded);
            source.text(&decoded, false, &mut self.line);
            decoded.clear();
            if self.line.is_full() {
                break;
            }
        }
        if self.line.is_full() || self.looked_at >= BYTES {
            self.end_part();
        }
    }

    /// The part that was begun last ends.
    pub(crate) fn end_part(&mut self) {
        let Some(mut source) = self.part.take() else { return };
        let mut decoded = Vec::new();
        source.transfer.finish(&mut decoded);
        source.text(&decoded, true, &mut self.line);
        if let Some(html) = &mut source.html {
            html.finish(&mut |c| self.line.push(c));
        }
    }

    /// What was found.
    pub(crate) fn finish(self) -> String {
        self.line.text
    }
}

impl Source {
    fn text(&mut self, bytes: &[u8], is_last: bool, line: &mut Line) {
        let mut text = String::with_capacity(self.charset.max_utf8_buffer_length(bytes.len()).unwrap_or_default());
        let _ = self.charset.decode_to_string(bytes, &mut text, is_last);
        match &mut self.html {
            Some(html) => html.push(&text, &mut |c| line.push(c)),
            None => text.chars().for_each(|c| line.push(c)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::mail::structure::Structure;

    fn preview(message: &str) -> String {
        Structure::of(message.replace('\n', "\r\n").as_bytes()).keys.preview
    }

    #[test]
    fn the_first_text_is_shown_decoded_and_on_one_line() {
        for (message, expected) in [
            ("\nHello,\n\n  world\n", "Hello, world"),
            ("Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=iso-8859-1\n\nZ3L8\nbg==\n", "grün"),
            (
                "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<p>gr=C3=\n=BCn</p>",
                "grün",
            ),
            ("Content-Type: image/png\n\nno", ""),
            (
                "Content-Type: multipart/mixed; boundary=b\n\npreamble\n--b\nContent-Type: image/png\n\nno\n--b\n\n \n--b\n\nyes\n\n--b\n\nno\n--b--\n",
                "yes",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment\n\nno\n--b\n\n--no\n--b--\nepilogue",
                "--no",
            ),
            ("", ""),
        ] {
            assert_eq!(preview(message), expected, "{message}");
        }
    }

    #[test]
    fn it_is_no_longer_than_200_characters() {
        let long = preview(&format!("\n{}", "äb ".repeat(1000)));
        assert_eq!(long.chars().count(), 200);
        assert_eq!(preview(&format!("\n{}x", "\n".repeat(100_000))), "");
    }
}
