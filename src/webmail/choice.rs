//! Which parts of a message are shown as its text, and which are offered as files. Pure.

use crate::mail::parameters;
use crate::mail::structure::{Kind, Part, Structure};

/// Letters of a file's name, and of what follows its last dot, where a name is cut.
const MOST_NAME: usize = 150;
const MOST_EXTENSION: usize = 10;

/// What of a message goes where; indices of parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Shown one below the other: texts, plain or HTML.
    pub texts: Vec<usize>,
    /// Offered.
    pub files: Vec<usize>,
    /// There is HTML to be had, and there is plain text.
    pub has_html: bool,
    pub has_plain: bool,
}

/// Goes through a message (RFC 2046 §5.1). `html`: of alternatives the HTML is wanted, not the plain text.
pub(super) fn choose(structure: &Structure, html: bool) -> Choice {
    let mut choice = Choice::default();
    // Those that are to be looked at, the next one last, and whether alternatives stand aside for what is looked at.
    let mut ahead = vec![0];
    while let Some(at) = ahead.pop() {
        let Some(part) = structure.parts.get(at) else { continue };
        match part.kind {
            Kind::Multipart if part.is("multipart", "alternative") => {
                let branches: Vec<usize> = structure.children(at).collect();
                choice.note(structure, &branches);
                ahead.extend(branch(structure, &branches, html));
            }
            Kind::Multipart => {
                let mut children: Vec<usize> = structure.children(at).collect();
                children.reverse();
                ahead.extend(children);
            }
            Kind::Leaf if is_shown(part) => {
                choice.note(structure, &[at]);
                choice.texts.push(at);
            }
            // A signature says nothing to a person, and a picture of the text stands in it.
            Kind::Leaf if is_in_text(structure, at) => {}
            Kind::Leaf | Kind::Message | Kind::Opaque => choice.files.push(at),
        }
    }
    choice
}

impl Choice {
    fn note(&mut self, structure: &Structure, branches: &[usize]) {
        for &branch in branches {
            self.has_html |= holds(structure, branch, "html");
            self.has_plain |= holds(structure, branch, "plain");
        }
    }
}

/// The best alternative: the last one of the wanted kind, else the last with any text, else the last.
fn branch(structure: &Structure, branches: &[usize], html: bool) -> Option<usize> {
    let last = |subtype| branches.iter().rev().find(|branch| holds(structure, **branch, subtype)).copied();
    let (first, second) = if html { ("html", "plain") } else { ("plain", "html") };
    last(first).or_else(|| last(second)).or_else(|| branches.last().copied())
}

/// Is there such text in this part, at any depth?
fn holds(structure: &Structure, at: usize, subtype: &str) -> bool {
    let inside = |mut part: usize| loop {
        match structure.parts.get(part).and_then(|part| part.parent) {
            _ if part == at => return true,
            Some(parent) if parent >= at => part = parent,
            _ => return false,
        }
    };
    let texts = structure.parts.iter().enumerate().skip(at).filter(|(_, part)| part.is("text", subtype) && is_shown(part));
    texts.into_iter().any(|(index, _)| inside(index))
}

fn is_shown(part: &Part) -> bool {
    let is_text = part.kind == Kind::Leaf && (part.is("text", "plain") || part.is("text", "html"));
    is_text && !is_attached(part)
}

fn is_attached(part: &Part) -> bool {
    part.disposition.as_ref().is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"attachment"))
}

fn is_in_text(structure: &Structure, at: usize) -> bool {
    let Some(part) = structure.parts.get(at) else { return false };
    let parent = part.parent.and_then(|parent| structure.parts.get(parent));
    let in_related = parent.is_some_and(|parent| parent.is("multipart", "related"));
    in_related && part.id.is_some() && part.is_type("image") && !is_attached(part)
}

/// What a part is called as a file (RFC 2183 §2.3, and the older `name`). Never a path.
pub(super) fn file_name(part: &Part) -> String {
    let own = part.disposition.as_ref().and_then(|(_, own)| parameters::value(own, "filename"));
    let name = own.or_else(|| parameters::value(&part.parameters, "name")).unwrap_or_default();
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|char| !char.is_control() && !is_turning(*char)).collect();
    match name.trim().trim_start_matches('.') {
        "" if part.kind == Kind::Message => "message.eml".into(),
        "" => "unnamed".into(),
        name => shortened(name),
    }
}

/// No longer than a file's name may be; what tells its kind stays.
pub(super) fn shortened(name: &str) -> String {
    let cut = |most: usize| name.chars().take(most).collect::<String>();
    match name.rsplit_once('.').map(|(_, extension)| (extension, extension.chars().count())) {
        Some((extension, letters)) if letters <= MOST_EXTENSION && name.chars().count() > MOST_NAME => {
            format!("{}.{extension}", cut(MOST_NAME - 1 - letters))
        }
        _ => cut(MOST_NAME),
    }
}

/// Characters that turn the direction of text, so that `gpj.exe` reads as a picture.
fn is_turning(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(text: &str) -> Structure {
        Structure::of(text.replace('\n', "\r\n").as_bytes())
    }

    const MIXED: &str = "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n\
        --b\nContent-Type: text/plain\n\nplain\n--b\nContent-Type: multipart/related; boundary=c\n\n--c\nContent-Type: text/html\n\n\
        <p>html\n--c\nContent-Type: image/png\nContent-ID: <x>\n\npng\n--c--\n--b--\n--a\n\
        Content-Type: text/plain; name=notes.txt\nContent-Disposition: attachment\n\nnotes\n--a\nContent-Type: message/rfc822\n\n\
        Subject: in\n\ntext\n--a--\n";

    #[test]
    fn one_alternative_is_shown_and_files_are_offered() {
        let structure = structure(MIXED);
        let kinds = |indices: &[usize]| -> Vec<String> {
            indices.iter().map(|at| String::from_utf8_lossy(&structure.parts[*at].subtype).into_owned()).collect()
        };
        let html = choose(&structure, true);
        assert_eq!((kinds(&html.texts), kinds(&html.files)), (vec!["html".into()], vec!["plain".into(), "rfc822".into()]));
        assert!(html.has_html && html.has_plain);
        let plain = choose(&structure, false);
        assert_eq!(kinds(&plain.texts), ["plain"]);
        assert_eq!(kinds(&plain.files), ["plain", "rfc822"]);
    }

    #[test]
    fn file_names_are_names() {
        let name = |field: &str| file_name(&structure(&format!("Content-Type: x/y\nContent-Disposition: {field}\n\nx")).parts[0]);
        assert_eq!(name("attachment; filename=\"a b.txt\""), "a b.txt");
        assert_eq!(name("attachment; filename=\"../../etc/passwd\""), "passwd");
        assert_eq!(name("attachment; filename=\"C:\\\\x\\\\y.exe\""), "y.exe");
        assert_eq!(name("attachment; filename*=utf-8''%e2%80%aegpj.exe"), "gpj.exe");
        assert_eq!(name("attachment; filename=\".bashrc\""), "bashrc");
        assert_eq!(name("attachment"), "unnamed");
        let (long, umlauts) = ("x".repeat(300), "\u{e4}".repeat(145));
        assert_eq!(shortened(&format!("{long}.tar.gz")), format!("{}.gz", "x".repeat(147)));
        assert_eq!(shortened(&format!("{umlauts}.txt")), format!("{umlauts}.txt"));
        assert_eq!(shortened(&format!("a.{long}")), format!("a.{}", "x".repeat(148)));
        assert_eq!(shortened(&long), "x".repeat(150));
    }
}
