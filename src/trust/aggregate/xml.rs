//! The report itself (RFC 7489 Appendix C). Pure.

use super::{Published, Row};
use std::fmt::Write;
use std::net::IpAddr;

/// What a report is made of.
#[derive(Debug)]
pub struct Report<'a> {
    /// Who tells: the name of this host.
    pub organization: &'a str,
    /// Whom to write to about it.
    pub email: &'a str,
    /// Its own name.
    pub id: &'a str,
    /// From when to when, in seconds since the epoch.
    pub begin: i64,
    /// The last second.
    pub end: i64,
    /// Who is told.
    pub domain: &'a str,
    /// What was found, and how often; at least one.
    pub rows: &'a [(Row, u64)],
}

impl Report<'_> {
    /// The policy of most of the messages: there is room for one, though it may change within a day (§7.2).
    fn policy(&self) -> Option<&Published> {
        let count =
            |policy: &Published| self.rows.iter().filter(|(row, _)| row.policy == *policy).map(|(_, count)| count).sum::<u64>();
        self.rows.iter().map(|(row, _)| &row.policy).max_by_key(|policy| (count(policy), *policy))
    }

    /// All of it, with LF line ends.
    pub fn write(&self) -> String {
        let mut xml = Xml("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned());
        xml.within("feedback", |xml| {
            xml.put("version", "1.0");
            xml.within("report_metadata", |xml| {
                xml.put("org_name", self.organization);
                xml.put("email", self.email);
                xml.put("report_id", self.id);
                xml.within("date_range", |xml| {
                    xml.put("begin", &self.begin.to_string());
                    xml.put("end", &self.end.to_string());
                });
            });
            if let Some(Published { adkim, aspf, p, sp, pct, fo }) = self.policy() {
                let pct = pct.to_string();
                xml.within("policy_published", |xml| {
                    let parts = [
                        ("domain", self.domain),
                        ("adkim", adkim),
                        ("aspf", aspf),
                        ("p", p),
                        ("sp", sp),
                        ("pct", &pct),
                        ("fo", fo),
                    ];
                    parts.into_iter().for_each(|(name, value)| xml.put(name, value));
                });
            }
            for (row, count) in self.rows {
                xml.within("record", |xml| record(xml, row, *count));
            }
        });
        xml.0
    }
}

fn record(xml: &mut Xml, row: &Row, count: u64) {
    let said = |speaks| if speaks { "pass" } else { "fail" };
    xml.within("row", |xml| {
        xml.put("source_ip", &address(row.ip));
        xml.put("count", &count.to_string());
        xml.within("policy_evaluated", |xml| {
            xml.put("disposition", &row.disposition);
            xml.put("dkim", said(row.dkim));
            xml.put("spf", said(row.spf));
            for (kind, remark) in &row.reasons {
                xml.within("reason", |xml| {
                    xml.put("type", kind);
                    xml.put("comment", remark);
                });
            }
        });
    });
    xml.within("identifiers", |xml| {
        xml.put("envelope_from", &row.sender);
        xml.put("header_from", &row.from);
    });
    xml.within("auth_results", |xml| {
        for [domain, selector, result] in &row.signatures {
            xml.within("dkim", |xml| {
                xml.put("domain", domain);
                xml.put("selector", selector);
                xml.put("result", result);
            });
        }
        let [domain, scope, result] = &row.by_spf;
        xml.within("spf", |xml| {
            xml.put("domain", domain);
            xml.put("scope", scope);
            xml.put("result", result);
        });
    });
}

/// The schema has room for no `::`.
fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().map(|segment| format!("{segment:x}")).join(":"),
    }
}

struct Xml(String);

impl Xml {
    fn within(&mut self, name: &str, content: impl FnOnce(&mut Xml)) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "<{name}>");
        content(self);
        let _ = writeln!(self.0, "</{name}>");
    }

    /// What strangers wrote is text, whatever it is.
    fn put(&mut self, name: &str, text: &str) {
        let _ = write!(self.0, "<{name}>");
        for char in text.chars() {
            match char {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                // No reference can stand for these (XML 1.0 §2.2), nor is a line end one that keeps its form.
                char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => self.0.push('\u{fffd}'),
                char => self.0.push(char),
            }
        }
        let _ = writeln!(self.0, "</{name}>");
    }
}
