//! Delivery reports as they come back (RFC 3464): what they say of whom.

use super::header;
use super::structure::Structure;
use super::transfer::Decoder;

/// So many recipients of one report count.
const MOST: usize = 1000;

/// What a report says of one recipient (RFC 3464 §2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `failed`, `delayed`, `delivered`, `relayed` or `expanded`, in lower case.
    pub action: String,
    /// The status code (RFC 3463), as written.
    pub status: String,
    /// Whom it is about: what follows the type, as written.
    pub recipient: String,
}

impl Told {
    /// It did not get there, and will not.
    pub fn is_failure(&self) -> bool {
        self.action == "failed"
    }
}

/// What a message says, if it is a report: multipart/report with a part of delivery status.
pub fn told(message: &[u8]) -> Vec<Told> {
    let structure = Structure::of(message);
    let is_report = structure.parts.first().is_some_and(|root| root.is("multipart", "report"));
    let is_status = |kind: &str| structure.parts.iter().find(|part| part.is("message", kind));
    let Some(part) = is_status("delivery-status").or_else(|| is_status("global-delivery-status")).filter(|_| is_report) else {
        return Vec::new();
    };
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    let raw = message.get(at(part.body.start)..at(part.body.end)).unwrap_or_default();
    let mut body = Vec::new();
    let mut decoder = Decoder::new(part.transfer_encoding());
    decoder.push(raw, &mut body);
    decoder.finish(&mut body);
    groups(&body)
}

/// The first group is of the message, those behind it of its recipients.
fn groups(mut body: &[u8]) -> Vec<Told> {
    let mut found = Vec::new();
    while !body.is_empty() && found.len() < MOST {
        let end = header::end(body);
        let group = body.get(..end).unwrap_or_default();
        let mut told = Told::default();
        for field in header::fields(group) {
            let value = header::unfold(group.get(field.value.clone()).unwrap_or_default());
            let value = String::from_utf8_lossy(value.trim_ascii()).into_owned();
            if field.is(group, "Action") {
                told.action = value.split([' ', '\t', '(']).next().unwrap_or_default().to_ascii_lowercase();
            } else if field.is(group, "Status") {
                told.status = value;
            } else if field.is(group, "Final-Recipient") {
                told.recipient = value.split_once(';').map_or(value.as_str(), |(_, address)| address.trim()).to_owned();
            }
        }
        if !told.action.is_empty() {
            found.push(told);
        }
        body = body.get(end..).unwrap_or_default();
        body = body.strip_prefix(b"\r\n").or(body.strip_prefix(b"\n")).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kind: &str, media: &str, status: &str) -> String {
        format!(
            "From: MAILER-DAEMON\nContent-Type: multipart/{kind}; report-type=delivery-status;\n\tboundary=\"b\"\n\n\
             --b\nContent-Type: text/plain\n\nAction: failed\n\n--b\nContent-Type: message/{media}\n\n{status}\n--b--\n"
        )
    }

    #[test]
    fn a_report_tells_of_its_recipients() {
        let status = "Reporting-MTA: dns; x.test\n\nFinal-Recipient: rfc822; bob@x.test\nAction: Failed (really)\nStatus: 5.1.1\n\n\
                      Final-Recipient: rfc822;c@x.test\nAction: delayed\nStatus: 4.4.1\n";
        for text in
            [report("report", "delivery-status", status), report("report", "delivery-status", status).replace('\n', "\r\n")]
        {
            let told = told(text.as_bytes());
            let told: Vec<_> = told
                .iter()
                .map(|one| (one.action.as_str(), one.status.as_str(), one.recipient.as_str(), one.is_failure()))
                .collect();
            assert_eq!(told, [("failed", "5.1.1", "bob@x.test", true), ("delayed", "4.4.1", "c@x.test", false)]);
        }
        assert_eq!(told(report("report", "global-delivery-status", status).as_bytes()).len(), 2);
    }

    #[test]
    fn what_is_no_report_tells_nothing() {
        let status = "X: y\n\nAction: failed\n";
        for text in [
            report("mixed", "delivery-status", status),
            report("report", "disposition-notification", status),
            "Subject: away\n\nAction: failed\n".into(),
            String::new(),
        ] {
            assert_eq!(told(text.as_bytes()), [], "{text}");
        }
    }
}
