//! The `members` file of a list: an address on each line. Lines that are empty or begin with `#` mean nothing.

use crate::mail::Address;
use crate::mail::alias::Wrong;
use std::collections::HashSet;

/// A file that is longer is none.
pub const MOST_BYTES: u64 = 64 << 20;

/// The members, each once, in the order of the file, and the lines that are none. Those keep no mail from the others.
pub fn parse(text: &str) -> (Vec<Address>, Vec<Wrong>) {
    let (mut members, mut wrong, mut known) = (Vec::new(), Vec::new(), HashSet::new());
    for (line, word) in (1..).zip(text.lines()) {
        match address(word) {
            Some(Ok(address)) if known.insert(address.key()) => members.push(address),
            Some(Err(())) => wrong.push(Wrong { line, what: format!("`{}` is no address", word.trim().escape_default()) }),
            Some(Ok(_)) | None => {}
        }
    }
    (members, wrong)
}

fn address(line: &str) -> Option<Result<Address, ()>> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then(|| line.parse().map_err(|_| ()))
}

/// With one more. None: it is one already.
pub fn with(text: &str, member: &Address) -> Option<String> {
    let is_there = text.lines().any(|line| is(line, member));
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    (!is_there).then(|| format!("{text}{end}{member}\n"))
}

/// Without one. None: it is none.
pub fn without(text: &str, member: &Address) -> Option<String> {
    let kept: String = text.split_inclusive('\n').filter(|line| !is(line, member)).collect();
    (kept.len() < text.len()).then_some(kept)
}

fn is(line: &str, member: &Address) -> bool {
    matches!(address(line), Some(Ok(address)) if address.key() == member.key())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_somebody_wrote_stays() {
        let text = "# staff\nBob@x.test\n\n odd line\ncarol@x.test\nbob@X.test";
        let (members, wrong) = parse(text);
        assert_eq!(members.iter().map(Address::to_string).collect::<Vec<_>>(), ["Bob@x.test", "carol@x.test"]);
        assert_eq!(wrong.iter().map(Wrong::to_string).collect::<Vec<_>>(), ["line 4: `odd line` is no address"]);
        let dora: Address = "dora@x.test".parse().unwrap();
        let bob: Address = "bob@x.test".parse().unwrap();
        assert_eq!(with(text, &bob), None);
        let more = with(text, &dora).unwrap();
        assert_eq!(more, format!("{text}\ndora@x.test\n"));
        assert_eq!(without(&more, &bob).unwrap(), "# staff\n\n odd line\ncarol@x.test\ndora@x.test\n");
        assert_eq!(without(text, &dora), None);
    }

    proptest! {
        #[test]
        fn it_is_a_set(text in "([a-c]@x\\.test\n|#?\\PC{0,4}\n){0,6}", who in "[a-d]@x\\.test") {
            let who: Address = who.parse().unwrap();
            let has = |text: &str| parse(text).0.iter().any(|member| member.key() == who.key());
            let more = with(&text, &who).unwrap_or(text.clone());
            prop_assert!(has(&more) && with(&more, &who).is_none());
            let less = without(&more, &who).unwrap();
            prop_assert!(!has(&less) && without(&less, &who).is_none());
            prop_assert_eq!(parse(&less).1.len(), parse(&text).1.len());
        }
    }
}
