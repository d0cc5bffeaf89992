//! Values of `Content-*` fields (RFC 2045 §5.1, RFC 2183): a name and parameters in their order, as they were written.
//! Nothing is an error; what can't be read is left out.

use super::{Field, Fields, Kind, Part};
use crate::mail::parameters::put_together;

/// A parameter: its name, and its value without quotes, not decoded otherwise.
pub type Parameter = (Vec<u8>, Vec<u8>);

/// Parameters of one field that are kept.
const PARAMETERS: usize = 64;

impl Part {
    /// A part whose header begins here. In a digest it is a message if it says nothing else (RFC 2046 §5.1.5).
    pub(super) fn empty(parent: Option<usize>, at: u64, is_message: bool) -> Part {
        let (media_type, subtype) = if is_message { ("message", "rfc822") } else { ("text", "plain") };
        Part {
            parent,
            kind: Kind::Leaf,
            header: at..at,
            body: at..at,
            lines: 0,
            media_type: media_type.into(),
            subtype: subtype.into(),
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: None,
            md5: None,
            disposition: None,
            languages: Vec::new(),
            location: None,
            envelope: Vec::new(),
        }
    }

    /// Takes over what the header says of the part. `into_global`: one of type message/global is a message, unless it is encoded:
    /// it may be (RFC 6532 §3.7), and then its parts can't be told.
    pub(super) fn describe(&mut self, fields: &Fields, into_global: bool) {
        // Without a type that can be read it is what it is by default (RFC 2045 §5.2).
        if let Some((media_type, subtype, parameters)) = fields.first(Field::ContentType).and_then(content_type) {
            self.media_type = media_type;
            self.subtype = subtype;
            self.parameters = parameters;
        }
        self.encoding = fields.first(Field::ContentTransferEncoding).and_then(token);
        self.kind = match self {
            _ if self.is_type("multipart") => Kind::Multipart,
            _ if self.is("message", "rfc822") => Kind::Message,
            _ if into_global && self.is("message", "global") && self.is_unencoded() => Kind::Message,
            _ => Kind::Leaf,
        };
        self.id = fields.line_of(Field::ContentId);
        self.description = fields.line_of(Field::ContentDescription);
        self.md5 = fields.line_of(Field::ContentMd5);
        self.disposition = fields.first(Field::ContentDisposition).and_then(disposition);
        self.languages = fields.first(Field::ContentLanguage).map(languages).unwrap_or_default();
        self.location = fields.line_of(Field::ContentLocation);
    }

    /// Does its header say that its body is as it is?
    pub(crate) fn is_unencoded(&self) -> bool {
        let is_one = |name: &[u8]| [&b"7bit"[..], b"8bit", b"binary"].iter().any(|own| own.eq_ignore_ascii_case(name));
        self.encoding.as_deref().is_none_or(is_one)
    }

    /// What lies past a bound has no type and no parts.
    pub(super) fn make_opaque(&mut self) {
        self.kind = Kind::Opaque;
        self.media_type = b"application".into();
        self.subtype = b"octet-stream".into();
        self.parameters = Vec::new();
        self.encoding = Some(b"8bit".into());
    }

    /// The boundary of a multipart, without the blanks that no boundary ends with.
    pub(super) fn boundary(&self) -> Option<Vec<u8>> {
        let parameters = put_together(&self.parameters);
        let (_, value) = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"boundary"))?;
        let boundary = value.trim_ascii_end();
        (!boundary.is_empty()).then(|| boundary.to_vec())
    }
}

/// `type "/" subtype *(";" parameter)`; none if there is no type and subtype.
pub(crate) fn content_type(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>, Vec<Parameter>)> {
    let mut reader = Reader { rest: value };
    let media_type = reader.token()?;
    reader.blanks();
    reader.take(b'/')?;
    let subtype = reader.token()?;
    Some((media_type, subtype, reader.parameters()))
}

/// `disposition-type *(";" parameter)`.
pub(super) fn disposition(value: &[u8]) -> Option<(Vec<u8>, Vec<Parameter>)> {
    let mut reader = Reader { rest: value };
    Some((reader.token()?, reader.parameters()))
}

/// The first token: the name of an encoding.
pub(crate) fn token(value: &[u8]) -> Option<Vec<u8>> {
    Reader { rest: value }.token()
}

/// `Language-tag *("," Language-tag)` (RFC 3282).
pub(super) fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader { rest: value };
    let mut found = Vec::new();
    while found.len() < PARAMETERS {
        found.extend(reader.token());
        reader.blanks();
        if reader.take(b',').is_none() {
            break;
        }
    }
    found
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    /// Over white space and comments, which may nest.
    fn blanks(&mut self) {
        let mut depth = 0_usize;
        while let Some((&byte, rest)) = self.rest.split_first() {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return,
            }
            self.rest = rest;
        }
    }

    /// Everything up to a blank or a special character (RFC 2045 §5.1; eight-bit characters are let in).
    fn token(&mut self) -> Option<Vec<u8>> {
        self.blanks();
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || b"()<>@,;:\\\"/[]?=".contains(byte);
        let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then(|| token.to_vec())
    }

    /// A quoted string, or what stands there up to the next blank. Programs forget to quote names of files: they go on up to
    /// the next semicolon.
    fn value(&mut self, is_name: bool) -> Vec<u8> {
        self.blanks();
        let mut value = Vec::new();
        if self.take(b'"').is_none() {
            let is_end = |byte: &u8| matches!(byte, b';' | b'"' | b'(') || (!is_name && byte.is_ascii_whitespace());
            let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest;
            value.extend(text.trim_ascii().iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
            return value;
        }
        while let Some(byte) = self.next() {
            match byte {
                b'"' => break,
                b'\\' => value.extend(self.next()),
                b'\r' | b'\n' => {}
                _ => value.push(byte),
            }
        }
        value
    }

    fn parameters(&mut self) -> Vec<Parameter> {
        let mut found = Vec::new();
        while found.len() < PARAMETERS {
            // On to the next semicolon, over what is not understood.
            self.blanks();
            match self.next() {
                Some(b';') => {}
                Some(b'"') => {
                    self.rest =
                        self.rest.get(memchr::memchr(b'"', self.rest).map_or(self.rest.len(), |at| at + 1)..).unwrap_or_default();
                    continue;
                }
                Some(_) => continue,
                None => break,
            }
            let Some(name) = self.token() else { continue };
            self.blanks();
            if self.take(b'=').is_some() {
                let is_name = name.to_ascii_lowercase().ends_with(b"name");
                found.push((name, self.value(is_name)));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: Vec<Parameter>) -> String {
        let one = |(name, value): Parameter| format!("{}={}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value));
        found.into_iter().map(one).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn types_and_parameters_are_read_as_written() {
        for (value, expected) in [
            ("text/plain; charset=us-ascii (Plain text)", "text/plain charset=us-ascii"),
            ("Text/HTML ; CharSet = \"UTF-8\"; format=flowed", "Text/HTML CharSet=UTF-8|format=flowed"),
            ("(a (b) \\) c) text (d) / (e) plain", "text/plain "),
            ("multipart/mixed; boundary=\"a;b \\\"c\\\"\"\r\n", "multipart/mixed boundary=a;b \"c\""),
            ("application/x; name=my file.pdf; x=y", "application/x name=my file.pdf|x=y"),
            ("multipart/x; boundary=b c; charset=x\r\n y; z=1", "multipart/x boundary=b|charset=x|z=1"),
            ("application/x; a; b=1;; =2; c=\"open", "application/x b=1|c=open"),
            ("application/x junk \"; no=1\" ; yes=2", "application/x yes=2"),
            (
                "message/external-body; URL*0=\"ftp://\";\r\n URL*1=\"x.example\"",
                "message/external-body URL*0=ftp://|URL*1=x.example",
            ),
            ("multipart/mixed; boundary=----=_Part_0/1?", "multipart/mixed boundary=----=_Part_0/1?"),
        ] {
            let (media_type, subtype, parameters) = content_type(value.as_bytes()).unwrap();
            let told =
                format!("{}/{} {}", String::from_utf8_lossy(&media_type), String::from_utf8_lossy(&subtype), shown(parameters));
            assert_eq!(told, expected);
        }
        for value in ["", "text", "text/", "/plain", "\"text\"/plain", "(open text/plain"] {
            assert_eq!(content_type(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn the_other_fields_are_read() {
        let (name, parameters) = disposition(b" attachment; filename*=utf-8''a%20b; size=3").unwrap();
        assert_eq!((name.as_slice(), shown(parameters).as_str()), (&b"attachment"[..], "filename*=utf-8''a%20b|size=3"));
        assert_eq!(token(b" 7BIT (c)").unwrap(), b"7BIT");
        assert_eq!(languages(b"en, de (German),, fr"), [b"en", b"de", b"fr"]);
        assert_eq!(languages(b""), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn parameters_have_a_bound() {
        let many = format!("a/b{}", "; x=y".repeat(1_000_000));
        assert_eq!(content_type(many.as_bytes()).unwrap().2.len(), PARAMETERS);
        let none = format!("a/b{}", ";".repeat(1_000_000));
        assert_eq!(content_type(none.as_bytes()).unwrap().2.len(), 0);
    }
}
