//! The base subject (RFC 5256 §2.1), by which SORT and THREAD compare.

/// The base subject of a decoded subject, and whether something was taken off that says reply or forward.
pub fn base(subject: &str) -> (String, bool) {
    let line = one_line(subject);
    let (mut rest, mut reply) = (line.as_str(), false);
    loop {
        // Steps 2 to 5.
        rest = without_trailers(rest, &mut reply);
        rest = without_leaders(rest, &mut reply);
        // Step 6.
        match forwarded(rest) {
            Some(inner) => {
                rest = inner;
                reply = true;
            }
            None => return (rest.to_owned(), reply),
        }
    }
}

/// Step 1: one space for every run of blanks.
fn one_line(subject: &str) -> String {
    let mut line = String::with_capacity(subject.len());
    for c in subject.chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if line.ends_with(' ') => {}
            ' ' | '\t' | '\r' | '\n' => line.push(' '),
            _ => line.push(c),
        }
    }
    line
}

/// Step 2: `subj-trailer = "(fwd)" / WSP`.
fn without_trailers<'a>(mut rest: &'a str, reply: &mut bool) -> &'a str {
    loop {
        rest = rest.trim_end_matches(' ');
        match rest.len().checked_sub(5).and_then(|at| rest.get(at..)) {
            Some(end) if end.eq_ignore_ascii_case("(fwd)") => {
                rest = rest.get(..rest.len() - 5).unwrap_or_default();
                *reply = true;
            }
            _ => return rest,
        }
    }
}

/// Steps 3 to 5: `subj-leader = (*subj-blob subj-refwd) / WSP`, and blobs that leave something behind them.
fn without_leaders<'a>(mut rest: &'a str, reply: &mut bool) -> &'a str {
    loop {
        rest = rest.trim_start_matches(' ');
        // Where the blobs end, and the last place after a blob where something is left.
        let (mut after, mut left) = (rest, rest);
        while let Some(next) = blob(after) {
            after = next;
            if !after.is_empty() {
                left = after;
            }
        }
        match refwd(after) {
            Some(next) => {
                rest = next;
                *reply = true;
            }
            // No blob of this run stands before a reply's mark: taking them off one by one comes out here.
            None if left.len() == rest.len() => return rest,
            None => rest = left,
        }
    }
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`: what follows it.
fn blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    Some(inner.get(end..)?.strip_prefix(']')?.trim_start_matches(' '))
}

/// `subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"`: what follows it.
fn refwd(text: &str) -> Option<&str> {
    let word = |word: &str| text.get(..word.len()).filter(|own| own.eq_ignore_ascii_case(word)).and(text.get(word.len()..));
    let after = word("re").or_else(|| word("fwd")).or_else(|| word("fw"))?.trim_start_matches(' ');
    blob(after).unwrap_or(after).strip_prefix(':')
}

/// What stands between `subj-fwd-hdr = "[fwd:"` and `subj-fwd-trl = "]"`.
fn forwarded(text: &str) -> Option<&str> {
    let inner = text.get(5..).filter(|_| text.get(..5).is_some_and(|own| own.eq_ignore_ascii_case("[fwd:")))?;
    inner.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_procedure_of_rfc_5256_is_followed() {
        for (subject, expected, reply) in [
            ("Hello", "Hello", false),
            ("Re: Hello", "Hello", true),
            ("  rE :  Re: FWD: fw:Hello  there ", "Hello there", true),
            ("Re[2]: Hello", "Hello", true),
            ("re [list]: Hello", "Hello", true),
            ("[list] Re: [list] Hello", "Hello", true),
            ("[list] Hello", "Hello", false),
            ("[a] [b] Hello (fwd) (FWD) ", "Hello", true),
            ("[only]", "[only]", false),
            ("[a][b]", "[b]", false),
            ("[a][b] Re: ", "", true),
            ("[Fwd: Hello]", "Hello", true),
            ("[fwd: [list] Re: Hello (fwd)]", "Hello", true),
            ("[fwd: [Fwd: [a] x]]", "x", true),
            ("Reply: no", "Reply: no", false),
            ("[unclosed Re: x", "[unclosed Re: x", false),
            ("", "", false),
            ("Re:", "", true),
            ("Äh: ü (fwd)", "Äh: ü", true),
        ] {
            assert_eq!(base(subject), (expected.to_owned(), reply), "{subject}");
        }
    }

    #[test]
    fn long_subjects_take_no_long_time() {
        for piece in ["[a]", "Re: ", "(fwd)", "[fwd:", "[", " ", "re [a] "] {
            let _ = base(&piece.repeat(200_000));
            let _ = base(&format!("{}x{}", piece.repeat(100_000), "]".repeat(100_000)));
        }
    }
}
