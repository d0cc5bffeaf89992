//! Plain text as a page shows it: links to follow, and quotes folded. Pure.

use maud::{Markup, html};

/// Lines of a quote that stand there as they are; of a longer one a reader knows what it is.
const MOST_QUOTED: usize = 3;

/// The text. `fold`: long quotes are shown only when asked for.
pub(super) fn shown(text: &str, fold: bool) -> Markup {
    let lines: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    html! {
        @for run in lines.chunk_by(|one, other| is_quoted(one) == is_quoted(other)) {
            @if !run.first().is_some_and(|line| is_quoted(line)) { (linked(run)) }
            @else if fold && run.len() > MOST_QUOTED {
                details.quoted { summary { "Quoted text" } (linked(run)) }
            } @else { span.quoted { (linked(run)) } }
        }
    }
}

fn is_quoted(line: &str) -> bool {
    line.starts_with('>')
}

fn linked(lines: &[&str]) -> Markup {
    html! { @for line in lines { (with_links(line)) "\n" } }
}

fn with_links(line: &str) -> Markup {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(at) = ["https://", "http://"].iter().filter_map(|scheme| rest.find(scheme)).min() {
        let (before, from) = rest.split_at(at);
        let end = from.find(|char: char| char.is_whitespace() || matches!(char, '<' | '>' | '"')).unwrap_or(from.len());
        let (link, _) = from.split_at(end);
        let link = link.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'']);
        pieces.push((before, link));
        rest = from.get(link.len()..).unwrap_or_default();
    }
    html! {
        @for (before, link) in pieces {
            (before)
            a href=(link) target="_blank" rel="noopener noreferrer nofollow" { (link) }
        }
        (rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_quotes_are_folded() {
        let text = "On Monday you wrote:\n> one\n> two\nno\n> a\n> b\n> c\n>> d\nend";
        let folded = shown(text, true).into_string();
        assert!(folded.contains("<span class=\"quoted\">&gt; one\n&gt; two\n</span>no\n"), "{folded}");
        assert!(
            folded.contains(
                "<details class=\"quoted\"><summary>Quoted text</summary>&gt; a\n&gt; b\n&gt; c\n&gt;&gt; d\n</details>end\n"
            ),
            "{folded}"
        );
        assert!(!shown(text, false).into_string().contains("details"));
    }

    #[test]
    fn links_are_links() {
        let shown = shown("see (https://a.test/?b=c&d), not javascript:alert(1)", true).into_string();
        assert!(shown.contains("<a href=\"https://a.test/?b=c&amp;d\" target"), "{shown}");
        assert_eq!(shown.matches("<a ").count(), 1);
    }
}
