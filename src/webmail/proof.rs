//! Who stands behind a message, in plain words: from what this host itself found when the message came.

use crate::trust::results::{self, Found};
use maud::{Markup, html};

/// The line, if this host has looked at the message.
pub(super) fn line(header: &[u8], hostname: &str) -> Markup {
    let Some(found) = results::read(header, hostname) else { return html! {} };
    let (class, mark, text) = words(&found);
    html! { p.proof.(class) { span aria-hidden="true" { (mark) " " } (text) } }
}

fn words(found: &Found) -> (&'static str, &'static str, String) {
    let author = found.author.as_deref().unwrap_or("its sender");
    let signed = match found.signers.as_slice() {
        [] => None,
        signers => Some(format!("signed by {}", signers.join(", "))),
    };
    let sent = found.host_of.as_ref().map(|domain| format!("sent by a host of {domain}"));
    let how = [signed, sent].into_iter().flatten().collect::<Vec<_>>().join(", ");
    match found.dmarc.as_str() {
        "pass" => ("good", "✓", format!("This is from {author}: {how}.")),
        "fail" => ("bad", "✗", format!("Perhaps forged: {author} does not stand behind this message.")),
        "temperror" => ("open", "?", "The sender could not be checked when the message came.".to_owned()),
        _ if !how.is_empty() => ("open", "✓", format!("The message was {how}.")),
        _ => ("open", "?", "Nothing tells who really sent this.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_what_was_found() {
        let found = |dmarc: &str, signers: &[&str], host: Option<&str>| Found {
            dmarc: dmarc.into(),
            author: Some("b.test".into()),
            signers: signers.iter().map(|signer| (*signer).to_owned()).collect(),
            host_of: host.map(str::to_owned),
            ..Found::default()
        };
        let text = |found: Found| words(&found).2;
        assert_eq!(
            text(found("pass", &["b.test"], Some("b.test"))),
            "This is from b.test: signed by b.test, sent by a host of b.test."
        );
        assert_eq!(text(found("fail", &["evil.test"], None)), "Perhaps forged: b.test does not stand behind this message.");
        assert_eq!(text(found("none", &[], Some("c.test"))), "The message was sent by a host of c.test.");
        assert_eq!(text(found("none", &[], None)), "Nothing tells who really sent this.");
    }
}
