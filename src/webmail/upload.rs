//! Forms with files (multipart/form-data, RFC 7578), read as they come: no file is held in memory. Pure.

use crate::httpd::Status;

/// The header of one part.
const MOST_HEAD: usize = 8 << 10;
/// A field that is no file.
const MOST_FIELD: usize = 4 << 20;
/// Fields and files of one form.
const MOST_PARTS: usize = 1000;

/// Who takes what is in a form. After an error nothing more is given.
pub(super) trait Take {
    /// A field, whole.
    fn field(&mut self, name: String, value: String) -> Result<(), Status>;
    /// A file begins. One that was not chosen has no name, and no bytes.
    fn file(&mut self, name: &str, kind: &str) -> Result<(), Status>;
    /// The next bytes of that file.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Status>;
    /// The file is whole.
    fn end(&mut self) -> Result<(), Status>;
}

/// Reads one form.
#[derive(Debug)]
pub(super) struct Reader<'a, T> {
    /// With the line end and the hyphens before it.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
    parts: usize,
    result: Result<(), Status>,
    to: &'a mut T,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Before the first delimiter, of which a line end is thought.
    Preamble,
    /// Behind a delimiter: a line end, or the two hyphens of the last one.
    Delimiter,
    Head,
    Field(String, Vec<u8>),
    File,
    Over,
}

/// The boundary that a content type names.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    let value = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let value = value.trim_matches('"');
    let is_one = !value.is_empty() && value.len() <= 70 && value.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    (kind.trim().eq_ignore_ascii_case("multipart/form-data") && is_one).then(|| value.to_owned())
}

impl<'a, T: Take> Reader<'a, T> {
    pub(super) fn new(boundary: &str, to: &'a mut T) -> Reader<'a, T> {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Reader { delimiter, buffer: b"\r\n".to_vec(), state: State::Preamble, parts: 0, result: Ok(()), to }
    }

    /// The next block, of any size.
    pub(super) fn push(&mut self, block: &[u8]) {
        if self.result.is_ok() {
            self.buffer.extend_from_slice(block);
            self.result = self.go_on();
        }
    }

    /// The form is at its end.
    pub(super) fn finish(self) -> Result<(), Status> {
        self.result?;
        if self.state == State::Over { Ok(()) } else { Err(Status::BAD_REQUEST) }
    }

    fn go_on(&mut self) -> Result<(), Status> {
        loop {
            match &mut self.state {
                State::Over => {
                    self.buffer.clear();
                    return Ok(());
                }
                State::Delimiter => match self.buffer.get(..2) {
                    Some(b"\r\n") => self.step(2, State::Head),
                    Some(b"--") => self.step(2, State::Over),
                    Some(_) => return Err(Status::BAD_REQUEST),
                    None => return Ok(()),
                },
                State::Head => match memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                    Some(end) => self.begin(end)?,
                    None if self.buffer.len() > MOST_HEAD => return Err(Status::BAD_REQUEST),
                    None => return Ok(()),
                },
                State::Preamble | State::Field(..) | State::File => {
                    if !self.content()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn step(&mut self, bytes: usize, state: State) {
        self.buffer.drain(..bytes.min(self.buffer.len()));
        self.state = state;
    }

    fn begin(&mut self, end: usize) -> Result<(), Status> {
        self.parts += 1;
        let head = self.buffer.get(..end).filter(|_| self.parts <= MOST_PARTS && end <= MOST_HEAD).ok_or(Status::BAD_REQUEST)?;
        let head = String::from_utf8_lossy(head).into_owned();
        let value = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(own, _)| own.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let disposition = value("content-disposition").unwrap_or_default();
        let name = parameter(&disposition, "name").ok_or(Status::BAD_REQUEST)?;
        let state = match parameter(&disposition, "filename") {
            Some(file) => {
                self.to.file(&file, &value("content-type").unwrap_or_default())?;
                State::File
            }
            None => State::Field(name, Vec::new()),
        };
        self.step(end + 4, state);
        Ok(())
    }

    /// Hands on what can't be part of a delimiter. True: one was found.
    fn content(&mut self) -> Result<bool, Status> {
        let found = memchr::memmem::find(&self.buffer, &self.delimiter);
        let safe = found.unwrap_or_else(|| self.buffer.len().saturating_sub(self.delimiter.len() - 1));
        let bytes = self.buffer.get(..safe).unwrap_or_default();
        match &mut self.state {
            State::Field(_, value) if value.len() + bytes.len() > MOST_FIELD => return Err(Status::CONTENT_TOO_LARGE),
            State::Field(_, value) => value.extend_from_slice(bytes),
            State::File if !bytes.is_empty() => self.to.data(bytes)?,
            _ => {}
        }
        let Some(at) = found else {
            self.buffer.drain(..safe);
            return Ok(false);
        };
        self.buffer.drain(..at + self.delimiter.len());
        match std::mem::replace(&mut self.state, State::Delimiter) {
            State::Field(name, value) => self.to.field(name, String::from_utf8_lossy(&value).into_owned())?,
            State::File => self.to.end()?,
            _ => {}
        }
        Ok(true)
    }
}

/// `name="value"`, as browsers write it: of the characters that could end it, these three stand there as escapes.
fn parameter(disposition: &str, name: &str) -> Option<String> {
    let (_, rest) = disposition.split_once(&format!("; {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(value.replace("%22", "\"").replace("%0D", "").replace("%0A", " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Told(Vec<String>);

    impl Take for Told {
        fn field(&mut self, name: String, value: String) -> Result<(), Status> {
            self.0.push(format!("{name}={value:?}"));
            Ok(())
        }
        fn file(&mut self, name: &str, kind: &str) -> Result<(), Status> {
            self.0.push(format!("file {name} {kind} "));
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<(), Status> {
            self.0.last_mut().unwrap().push_str(&String::from_utf8_lossy(bytes));
            Ok(())
        }
        fn end(&mut self) -> Result<(), Status> {
            self.0.last_mut().unwrap().push('.');
            Ok(())
        }
    }

    fn read(form: &str, piece: usize) -> (Vec<String>, Result<(), Status>) {
        let mut told = Told::default();
        let mut reader = Reader::new("x", &mut told);
        form.as_bytes().chunks(piece).for_each(|block| reader.push(block));
        let result = reader.finish();
        (told.0, result)
    }

    #[test]
    fn fields_and_files_in_pieces_of_any_size() {
        let form = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\ntwo\r\n--y\r\n--x\r\n\
                    Content-Disposition: form-data; name=\"f\"; filename=\"q%22.txt\"\r\nContent-Type: text/plain\r\n\r\n\r\n--\r\n--x\r\n\
                    Content-Disposition: form-data; name=\"f\"; filename=\"\"\r\n\r\n\r\n--x--\r\n";
        for piece in [1, 2, 7, 1000] {
            let (told, result) = read(form, piece);
            assert_eq!(told, ["a=\"one\\r\\ntwo\\r\\n--y\"", "file q\".txt text/plain \r\n--.", "file   ."], "{piece}");
            assert_eq!(result, Ok(()));
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let head = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
        for bad in [
            "",
            "--x",
            "text",
            "--x\r\nX: y\r\n\r\n\r\n--x--",
            "--xy\r\n\r\n--x--",
            &format!("{head}cut off"),
            &"--x\r\nx".repeat(9000),
        ] {
            assert_eq!(read(bad, 100).1, Err(Status::BAD_REQUEST), "{bad:.40}");
        }
        assert_eq!(read(&format!("{head}{}", "x".repeat(MOST_FIELD + 200)), 5000).1, Err(Status::CONTENT_TOO_LARGE));
    }

    #[test]
    fn boundaries() {
        assert_eq!(boundary("multipart/form-data; boundary=--a-B1").as_deref(), Some("--a-B1"));
        assert_eq!(boundary("Multipart/Form-Data; charset=x; boundary=\"ab\"").as_deref(), Some("ab"));
        for bad in [
            "multipart/form-data",
            "text/plain; boundary=a",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a\u{e4}",
        ] {
            assert_eq!(boundary(bad), None, "{bad}");
        }
    }
}
