//! HTML that strangers wrote, as it may be shown. Pure.
//!
//! Three walls: what is not on a list is taken out here; the page it is shown in has a policy that loads no script, no frame, no
//! form, and nothing from elsewhere unless it was asked for; and the frame around it is sandboxed.

use ammonia::{Builder, UrlRelative};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// More HTML than a person reads; the text is shown instead.
const MOST: usize = 1 << 20;
/// The cleaner takes time by the square of the depth.
const DEEPEST: usize = 256;

const TAGS: &[&str] = &[
    "a",
    "abbr",
    "address",
    "article",
    "aside",
    "b",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "section",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
];

const ATTRIBUTES: &[&str] = &[
    "align",
    "alt",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "color",
    "cols",
    "colspan",
    "dir",
    "face",
    "height",
    "lang",
    "reversed",
    "rowspan",
    "size",
    "start",
    "style",
    "title",
    "type",
    "valign",
    "width",
];

/// None of these can load anything, and none can move what it is about over something else.
const PROPERTIES: &[&str] = &[
    "background-color",
    "border",
    "border-bottom",
    "border-bottom-color",
    "border-bottom-style",
    "border-bottom-width",
    "border-collapse",
    "border-color",
    "border-left",
    "border-radius",
    "border-right",
    "border-spacing",
    "border-style",
    "border-top",
    "border-width",
    "clear",
    "color",
    "direction",
    "display",
    "float",
    "font-family",
    "font-size",
    "font-style",
    "font-variant",
    "font-weight",
    "height",
    "letter-spacing",
    "line-height",
    "max-width",
    "min-width",
    "overflow-wrap",
    "padding",
    "padding-bottom",
    "padding-left",
    "padding-right",
    "padding-top",
    "table-layout",
    "text-align",
    "text-decoration",
    "text-indent",
    "text-transform",
    "vertical-align",
    "white-space",
    "width",
    "word-break",
    "word-spacing",
];

/// What may be loaded.
#[derive(Clone, Debug)]
pub(super) struct Pictures {
    /// Where the parts are that the text refers to by their ids.
    pub parts: HashMap<String, String>,
    /// Pictures of other hosts, too.
    pub remote: bool,
}

/// HTML that may be shown, and whether pictures were left out that could be loaded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clean {
    pub html: String,
    pub left_out: bool,
}

/// Cleans it. None: it is too big or too deep, and nothing of it is looked at.
pub(super) fn clean(html: &str, pictures: &Pictures) -> Option<Clean> {
    if html.len() > MOST || depth(html) > DEEPEST {
        return None;
    }
    let left_out = Arc::new(AtomicBool::new(false));
    let links: HashSet<&str> = ["http", "https", "mailto", "cid"].into();
    let by_tag: HashMap<&str, HashSet<&str>> = [("a", ["href", "name"].into()), ("img", ["src"].into())].into();
    let cleaned = {
        let (pictures, left_out) = (pictures.clone(), left_out.clone());
        let mut builder = Builder::empty();
        builder
            .tags(TAGS.iter().copied().collect())
            .clean_content_tags(["script", "style", "title", "head", "svg", "math", "template", "noscript", "object"].into())
            .generic_attributes(ATTRIBUTES.iter().copied().collect())
            .tag_attributes(by_tag)
            .filter_style_properties(PROPERTIES.iter().copied().collect())
            .url_schemes(links)
            // What is relative here was made so by us.
            .url_relative(UrlRelative::PassThrough)
            .link_rel(Some("noopener noreferrer nofollow"))
            .set_tag_attribute_value("a", "target", "_blank")
            .attribute_filter(move |tag, name, value| match (tag, name) {
                ("img", "src") => source(value, &pictures, &left_out).map(Cow::Owned),
                ("a", "href") => is_link(value).then(|| value.into()),
                (_, "style") => Some(without_functions(value).into()),
                _ => Some(value.into()),
            });
        builder.clean(html).to_string()
    };
    Some(Clean { html: cleaned, left_out: left_out.load(Ordering::Relaxed) })
}

/// Where a picture is loaded from, if it may be.
fn source(value: &str, pictures: &Pictures, left_out: &AtomicBool) -> Option<String> {
    let lower = value.trim().to_ascii_lowercase();
    if lower.starts_with("cid:") {
        let id = value.trim().get(4..)?;
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy();
        return pictures.parts.get(id.as_ref()).cloned();
    }
    if !lower.starts_with("https://") && !lower.starts_with("http://") {
        return None;
    }
    if !pictures.remote {
        left_out.store(true, Ordering::Relaxed);
        return None;
    }
    Some(value.trim().to_owned())
}

/// Declarations without those that call something but a colour: `url()`, and what old browsers ran. Of a background the colour
/// stays: text that is white on it must not become white on white.
fn without_functions(style: &str) -> String {
    let is_colour = |value: &str| {
        let (name, inside) = value.split_once('(').unwrap_or((value, ""));
        matches!(name.trim().to_ascii_lowercase().as_str(), "rgb" | "rgba" | "hsl" | "hsla") && !inside.contains('(')
    };
    let is_harmless = |declaration: &&str| match declaration.split_once(':') {
        Some((_, value)) => !value.contains(['\\', '/', '@']) && (!value.contains('(') || is_colour(value)),
        None => false,
    };
    let background = |declaration: &str| match declaration.split_once(':') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("background") => {
            colour(value).map_or_else(String::new, |colour| format!("background-color:{colour}"))
        }
        _ => declaration.to_owned(),
    };
    style.split(';').map(background).filter(|declaration| is_harmless(&declaration.as_str())).collect::<Vec<_>>().join(";")
}

/// The colour among the values of a background.
fn colour(value: &str) -> Option<String> {
    const OTHERS: [&str; 20] = [
        "none",
        "repeat",
        "repeat-x",
        "repeat-y",
        "no-repeat",
        "space",
        "round",
        "scroll",
        "fixed",
        "local",
        "top",
        "bottom",
        "left",
        "right",
        "center",
        "auto",
        "cover",
        "contain",
        "border-box",
        "padding-box",
    ];
    let value = value.to_ascii_lowercase();
    if let Some(at) = value.find("rgb").or_else(|| value.find("hsl"))
        && let Some(call) = value[at..].split_inclusive(')').next().filter(|call| call.ends_with(')'))
    {
        return Some(call.to_owned());
    }
    let is_name = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase()) && !OTHERS.contains(&word);
    let is_hex = |word: &str| word.strip_prefix('#').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    value.split_whitespace().find(|word| is_hex(word) || is_name(word)).map(str::to_owned)
}

fn is_link(value: &str) -> bool {
    let lower = value.trim().to_ascii_lowercase();
    ["http://", "https://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme))
}

/// How deep elements could be nested at most, as a parser could see it that closes none by itself but those it is told to.
fn depth(html: &str) -> usize {
    const VOID: [&str; 8] = ["br", "hr", "img", "input", "meta", "link", "col", "wbr"];
    let (mut depth, mut deepest) = (0_usize, 0);
    for (at, _) in html.match_indices('<') {
        let rest = html.get(at + 1..).unwrap_or_default();
        if rest.starts_with('/') {
            depth = depth.saturating_sub(1);
        } else if rest.starts_with(|char: char| char.is_ascii_alphabetic()) {
            let name: String =
                rest.chars().take(12).take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
            if !VOID.contains(&name.as_str()) {
                depth += 1;
                deepest = deepest.max(depth);
            }
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(html: &str) -> String {
        let parts: HashMap<String, String> = [("x@y".to_owned(), "/part/1".to_owned())].into();
        clean(html, &Pictures { parts, remote: false }).unwrap().html
    }

    #[test]
    fn what_does_something_is_taken_out() {
        for html in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<a href=\" java\tscript:alert(1)\">x</a>",
            "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
            "<svg><animate onbegin=alert(1)></svg>",
            "<math><mi xlink:href=\"javascript:alert(1)\">x</mi></math>",
            "<iframe src=//evil.test></iframe>",
            "<form action=//evil.test><input name=password></form>",
            "<meta http-equiv=refresh content=\"0;url=//evil.test\">",
            "<base href=//evil.test>",
            "<link rel=stylesheet href=//evil.test>",
            "<style>@import '//evil.test'</style>",
            "<div style=\"background:url(//evil.test)\">x</div>",
            "<div style=\"position:fixed;top:0\">x</div>",
            "<div style=\"width:expression(alert(1))\">x</div>",
            "<div style=\"color:rgb(expression(alert(1)))\">x</div>",
            "<div style=\"width:calc(expression(alert(1)))\">x</div>",
            "<body background=//evil.test onload=alert(1)>x</body>",
            "<table background=//evil.test><tr><td>x</table>",
            "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
            "<object data=//evil.test></object><embed src=//evil.test>",
            "<video src=//evil.test></video>",
        ] {
            let shown = shown(html).to_ascii_lowercase();
            for bad in ["script", "alert", "evil", "<svg", "<math", "<form", "<input", "<meta", "position", "onload"] {
                assert!(!shown.contains(bad), "{html}: {shown}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_something_stays() {
        let kept = shown(
            "<table width=600><tr><td style=\"color:red; padding:4px; background-color:rgb(1, 2, 3)\"><b>x</b><a href=\"https://a.test/?b=c\">y</a></table>",
        );
        assert!(
            kept.contains("color:red")
                && kept.contains("padding:4px")
                && kept.contains("background-color:rgb(1")
                && kept.contains("<b>x</b>"),
            "{kept}"
        );
        for (style, colour) in [
            ("background:#234", "#234"),
            ("BACKGROUND: url(//evil.test/x.png) no-repeat #fff top left", "#fff"),
            ("background:navy", "navy"),
            ("background: rgba(1, 2, 3, .5) url('x')", "rgba(1, 2, 3, 0.5)"),
        ] {
            let kept = shown(&format!("<p style=\"color:white;{style}\">x</p>"));
            assert!(kept.contains(&format!("background-color:{colour}")) && !kept.contains("url"), "{style}: {kept}");
        }
        assert!(kept.contains("href=\"https://a.test/?b=c\"") && kept.contains("rel=\"noopener noreferrer nofollow\""), "{kept}");
    }

    #[test]
    fn pictures_come_from_the_message_or_when_asked_for() {
        let parts: HashMap<String, String> = [("x@y".to_owned(), "/part/1".to_owned())].into();
        let html = "<img src=\"cid:x@y\"><img src=\"https://far.test/p.gif\"><img src=\"cid:unknown\"><img src=\"/logout\">";
        let near = clean(html, &Pictures { parts: parts.clone(), remote: false }).unwrap();
        assert!(near.html.contains("src=\"/part/1\"") && near.left_out, "{near:?}");
        assert!(!near.html.contains("far.test") && !near.html.contains("logout"), "{near:?}");
        let far = clean(html, &Pictures { parts, remote: true }).unwrap();
        assert!(far.html.contains("https://far.test/p.gif") && !far.left_out && !far.html.contains("logout"), "{far:?}");
    }

    #[test]
    fn what_is_too_deep_or_too_big_is_not_looked_at() {
        let parts = HashMap::new();
        let pictures = Pictures { parts, remote: false };
        assert_eq!(clean(&"<div>".repeat(40_000), &pictures), None);
        assert_eq!(clean(&"x".repeat(MOST + 1), &pictures), None);
        assert!(clean(&"<p>x</p><br>".repeat(10_000), &pictures).is_some());
    }
}
