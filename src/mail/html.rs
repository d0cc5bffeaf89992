//! The text in HTML, for previews and searches: tags, comments, scripts and styles are dropped, the commonest character
//! references decoded. One pass over characters, with a bounded memory; anything is HTML enough.

/// Takes HTML apart that comes in pieces.
#[derive(Debug, Default)]
pub struct Text {
    place: Place,
    /// The name of the tag or of the reference at hand, in lower case.
    name: String,
    /// The element whose content is dropped.
    skipped: Option<&'static str>,
    /// The character before, in tags and comments.
    last: [char; 2],
}

#[derive(Copy, Clone, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Text,
    Reference,
    TagName,
    Tag,
    /// In a value, up to this quote.
    Quoted(char),
    Comment,
}

/// Their content is no text.
const SKIPPED: [&str; 4] = ["style", "script", "title", "head"];
/// They stand in a line; all others end a word.
const INLINE: [&str; 18] = [
    "a", "abbr", "acronym", "b", "big", "em", "font", "i", "s", "small", "span", "strong", "sub", "sup", "tt", "u", "wbr", "o:p",
];
const NAME: usize = 16;

const REFERENCES: [(&str, char); 17] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("zwnj", '\u{200c}'),
    ("shy", '\u{ad}'),
    ("hellip", '…'),
    ("mdash", '—'),
    ("ndash", '–'),
    ("rsquo", '’'),
    ("lsquo", '‘'),
    ("rdquo", '”'),
    ("ldquo", '“'),
    ("copy", '©'),
    ("euro", '€'),
];

impl Text {
    /// Takes the next characters and tells those that are text.
    pub fn push(&mut self, html: &str, tell: &mut impl FnMut(char)) {
        for c in html.chars() {
            self.next(c, tell);
        }
    }

    /// After the last one.
    pub fn finish(&mut self, tell: &mut impl FnMut(char)) {
        if self.place == Place::Reference {
            self.reference(tell);
        }
    }

    fn next(&mut self, c: char, tell: &mut impl FnMut(char)) {
        match self.place {
            Place::Text => self.text(c, tell),
            Place::Reference => match c {
                ';' => {
                    if !self.reference(tell) {
                        tell(';');
                    }
                }
                '#' | '0'..='9' | 'a'..='z' | 'A'..='Z' if self.name.len() < NAME => self.name.push(c),
                _ => {
                    self.reference(tell);
                    self.text(c, tell);
                }
            },
            Place::TagName => self.tag_name(c, tell),
            Place::Tag => match c {
                '>' => self.end_tag(tell),
                '"' | '\'' if self.last[1] == '=' => self.place = Place::Quoted(c),
                _ => {}
            },
            Place::Quoted(quote) if c == quote => self.place = Place::Tag,
            Place::Quoted(_) => {}
            Place::Comment if c == '>' && self.last == ['-', '-'] => self.place = Place::Text,
            Place::Comment => {}
        }
        if !c.is_whitespace() {
            self.last = [self.last[1], c];
        }
    }

    fn text(&mut self, c: char, tell: &mut impl FnMut(char)) {
        match c {
            '<' => {
                self.name.clear();
                self.place = Place::TagName;
            }
            '&' if self.skipped.is_none() => {
                self.name.clear();
                self.place = Place::Reference;
            }
            _ => {
                self.place = Place::Text;
                self.say(c, tell);
            }
        }
    }

    fn say(&self, c: char, tell: &mut impl FnMut(char)) {
        if self.skipped.is_none() {
            tell(c);
        }
    }

    fn tag_name(&mut self, c: char, tell: &mut impl FnMut(char)) {
        match c {
            // A sign of less than, and no tag.
            _ if self.name.is_empty() && !(c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) => {
                self.say('<', tell);
                self.text(c, tell);
            }
            '>' => self.end_tag(tell),
            '-' if self.name == "!-" => {
                // `<!-->` is one too.
                self.last = ['-', '-'];
                self.place = Place::Comment;
            }
            _ if c.is_whitespace() || (c == '/' && !self.name.is_empty()) => self.place = Place::Tag,
            _ if self.name.len() < NAME => self.name.push(c.to_ascii_lowercase()),
            _ => self.place = Place::Tag,
        }
    }

    fn end_tag(&mut self, tell: &mut impl FnMut(char)) {
        self.place = Place::Text;
        let name = self.name.trim_start_matches('/');
        match self.skipped {
            Some(skipped) if self.name.starts_with('/') && name == skipped => self.skipped = None,
            // A head that was never closed.
            Some("head") if name == "body" => self.skipped = None,
            Some(_) => {}
            None if !self.name.starts_with('/') => self.skipped = SKIPPED.into_iter().find(|skipped| *skipped == name),
            None => {}
        }
        if !INLINE.contains(&name) {
            self.say(' ', tell);
        }
    }

    /// `&name;`, `&#number;` or `&#xnumber;`; one that is not known is told as it is written.
    /// Was it known?
    fn reference(&mut self, tell: &mut impl FnMut(char)) -> bool {
        self.place = Place::Text;
        let number = self.name.strip_prefix('#').and_then(|digits| match digits.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => digits.parse().ok(),
        });
        let named = || REFERENCES.iter().find(|(name, _)| *name == self.name).map(|(_, c)| *c);
        let known = number.and_then(char::from_u32).or_else(named);
        match known {
            Some(c) => tell(c),
            None => {
                tell('&');
                self.name.chars().for_each(tell);
            }
        }
        known.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(html: &str) -> String {
        let (mut text, mut said) = (Text::default(), String::new());
        text.push(html, &mut |c| said.push(c));
        text.finish(&mut |c| said.push(c));
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tags_are_dropped_and_references_decoded() {
        for (html, expected) in [
            ("<p>Hello, <b>w</b>orld</p><p>again", "Hello, world again"),
            ("<html><head><title>T</title><style>p { a > b }</style></head><body>text</body>", "text"),
            ("<!DOCTYPE html><!-- a > b --><!----><!-->x", "x"),
            ("a &lt;b&gt; &amp;amp; &#228;&#xFC; &nosuch; AT&T &", "a <b> &amp; äü &nosuch; AT&T &"),
            ("<a href=\"x>y\" title='>'>link</a>", "link"),
            ("1 < 2 <3 <> x", "1 < 2 <3 <> x"),
            ("a<br/>b<script>if (a<b) \"</p>\"</script>c", "a b c"),
            ("<head><body>never closed", "never closed"),
            ("cut <a href=\"", "cut"),
            ("<img alt=x>&#1114112;&#xD800;", "&#1114112;&#xD800;"),
        ] {
            assert_eq!(text(html), expected, "{html}");
        }
    }
}
