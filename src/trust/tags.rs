//! Lists of tags, of which DKIM signatures and keys and DMARC records are made (RFC 6376 §3.2). Pure.

/// Names and values, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tags<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Tags<'a> {
    /// ```abnf
    /// tag-list  = tag-spec *( ";" tag-spec ) [ ";" ]
    /// tag-spec  = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
    /// tag-name  = ALPHA *ALNUMPUNC
    /// ```
    /// A name that stands twice spoils the list.
    pub(super) fn parse(text: &'a [u8]) -> Option<Tags<'a>> {
        let text = text.trim_ascii();
        let text = text.strip_suffix(b";").unwrap_or(text);
        let mut tags: Vec<(&str, &[u8])> = Vec::new();
        for spec in text.split(|&byte| byte == b';') {
            let equals = spec.iter().position(|&byte| byte == b'=')?;
            let (name, value) = (spec.get(..equals)?.trim_ascii(), spec.get(equals + 1..)?.trim_ascii());
            let name = std::str::from_utf8(name).ok()?;
            let is_name = name.starts_with(|char: char| char.is_ascii_alphabetic())
                && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
            if !is_name || tags.len() >= MOST_TAGS || tags.iter().any(|(other, _)| *other == name) {
                return None;
            }
            tags.push((name, value));
        }
        Some(Tags(tags))
    }

    /// The value of a tag, without outer blanks.
    pub(super) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The same, as text.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The tag that stands first.
    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| *name)
    }

    /// The members of a value that is a list with colons; blanks around them don't count.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&'a str>> {
        self.text(name).map(|value| value.split(':').map(str::trim_ascii).collect())
    }
}

/// No list has more of them; looking for doubles costs the square.
const MOST_TAGS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let tags = Tags::parse(b" v=1; a = x y\r\n\t; h=a : b:c;p=;q=a=b; ").unwrap();
        assert_eq!(tags.first(), Some("v"));
        assert_eq!(tags.text("a"), Some("x y"));
        assert_eq!(tags.list("h").unwrap(), ["a", "b", "c"]);
        assert_eq!((tags.get("p"), tags.text("q"), tags.get("z")), (Some(&b""[..]), Some("a=b"), None));
        for bad in ["", ";", "a", "a=1;;b=2", "=x", "1a=x", "a=1;a=2", "a b=1", "a-b=1", "\u{f6}=1"] {
            assert_eq!(Tags::parse(bad.as_bytes()), None, "{bad}");
        }
        let many: String = (0..65).map(|number| format!("t{number}=1;")).collect();
        assert_eq!(Tags::parse(many.as_bytes()), None);
    }
}
