//! Errors with file, line and caret.

use std::fmt;
use std::ops::Range;
use std::rc::Rc;

/// Everything that is wrong with a configuration, ready to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Where in its text, and what.
    problems: Vec<(usize, String)>,
}

/// A place in a text, kept for later.
#[derive(Clone, Debug)]
pub struct Mark {
    name: Rc<str>,
    text: Rc<str>,
    is_file: bool,
    span: Range<usize>,
}

/// A text with settings: the file, or one `-o` option.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What people know it by: the file's name, or `-o key=value`.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
    /// Lines and columns mean something here.
    pub is_file: bool,
}

impl Report {
    /// A report of one problem that belongs to no line.
    pub fn of(what: impl Into<String>) -> Report {
        Report { problems: vec![(0, what.into())] }
    }

    /// Nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Adds a problem with the bytes `span` of a source: `file:line:col: what`, the line, and carets below the bytes.
    pub fn add(&mut self, source: &Source<'_>, span: Range<usize>, what: &str) {
        let start = span.start;
        let problem = if source.is_file { point(source, span, what) } else { format!("{}: {what}", source.name) };
        self.problems.push((start, problem));
    }

    /// Adds a problem with a place that was kept.
    pub fn add_at(&mut self, mark: &Mark, what: &str) {
        self.add(&Source { name: &mark.name, text: &mark.text, is_file: mark.is_file }, mark.span.clone(), what);
    }

    /// Adds all problems of one text, from its first line to its last.
    pub fn append(&mut self, mut of_one_text: Report) {
        of_one_text.problems.sort_by_key(|(start, _)| *start);
        self.problems.append(&mut of_one_text.problems);
    }
}

impl Source<'_> {
    /// Keeps a place of this text.
    pub fn mark(&self, span: Range<usize>) -> Mark {
        Mark { name: self.name.into(), text: self.text.into(), is_file: self.is_file, span }
    }
}

/// Tabs are shown as one blank, so that the carets stand where they should.
fn point(source: &Source<'_>, span: Range<usize>, what: &str) -> String {
    let mut start = span.start.min(source.text.len());
    while !source.text.is_char_boundary(start) {
        start -= 1;
    }
    let (before, after) = source.text.split_at(start);
    let line_number = before.matches('\n').count() + 1;
    let lead = before.rsplit('\n').next().unwrap_or_default();
    let rest = after.split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let column = lead.chars().count() + 1;
    let marked = rest.char_indices().take_while(|(at, _)| start + at < span.end).count().max(1);
    let line: String = lead.chars().chain(rest.chars()).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let gutter = " ".repeat(line_number.to_string().len());
    format!(
        "{}:{line_number}:{column}: {what}\n {line_number} | {line}\n {gutter} | {}{}",
        source.name,
        " ".repeat(column - 1),
        "^".repeat(marked)
    )
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<&str> = self.problems.iter().map(|(_, problem)| problem.as_str()).collect();
        out.write_str(&problems.join("\n"))
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_below_the_bytes_meant() {
        let source = Source { name: "x.conf", text: "a = 1\n\tb = \"é\" # c\n", is_file: true };
        let mut report = Report::default();
        report.add(&source, 11..15, "odd");
        assert_eq!(report.to_string(), "x.conf:2:6: odd\n 2 |  b = \"é\" # c\n   |      ^^^");
        let mut report = Report::default();
        report.add(&source, 500..600, "at the end");
        assert_eq!(report.to_string(), "x.conf:3:1: at the end\n 3 | \n   | ^");
    }
}
