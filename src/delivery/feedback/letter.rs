//! The letter that a report goes in (RFC 7489 §7.2.1.1). Pure.

use crate::mail::Address;
use crate::mail::encode::Base64;
use crate::trust::aggregate::xml::Report;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// A report, ready to be sent.
#[derive(Debug)]
pub(super) struct Attached {
    /// Of its file.
    name: String,
    /// In base64, with LF line ends.
    encoded: Vec<u8>,
}

impl Attached {
    /// Compressed, and encoded.
    pub(super) fn of(report: &Report<'_>) -> io::Result<Attached> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(report.write().as_bytes())?;
        let (mut encoder, mut encoded) = (Base64::default(), Vec::new());
        encoder.push(&gzip.finish()?, &mut encoded);
        encoder.finish(&mut encoded);
        encoded.retain(|byte| *byte != b'\r');
        let Report { organization, domain, begin, end, .. } = report;
        Ok(Attached { name: format!("{organization}!{domain}!{begin}!{end}.xml.gz"), encoded })
    }

    /// Bytes that the report takes on its way, with line ends of two.
    pub(super) fn size(&self) -> u64 {
        (self.encoded.len() + memchr::memchr_iter(b'\n', &self.encoded).count()) as u64
    }

    /// All of it. `id`: of the letter; `date`: now (RFC 5322 §3.3).
    pub(super) fn letter(&self, report: &Report<'_>, to: &[Address], id: &str, date: &str) -> Vec<u8> {
        let Report { organization, domain, email, id: report_id, .. } = report;
        let to: Vec<String> = to.iter().map(|address| format!("<{address}>")).collect();
        let messages: u64 = report.rows.iter().map(|(_, count)| count).sum();
        let boundary = format!("report-{id}");
        let head = format!(
            "From: DMARC reports <{email}>\n\
             To: {to}\n\
             Subject: Report Domain: {domain}\n\tSubmitter: {organization}\n\tReport-ID: <{report_id}>\n\
             Date: {date}\n\
             Message-ID: <{id}@{organization}>\n\
             Auto-Submitted: auto-generated\n\
             MIME-Version: 1.0\n\
             Content-Type: multipart/mixed; boundary=\"{boundary}\"\n\
             \n\
             --{boundary}\n\
             Content-Type: text/plain; charset=us-ascii\n\
             Content-Transfer-Encoding: 7bit\n\
             \n\
             This is an aggregate report (DMARC, RFC 7489) of {organization} about\n\
             mail in the name of\n    {domain}\n\
             from one day: {messages} messages. It is for a program to read.\n\
             \n\
             --{boundary}\n\
             Content-Type: application/gzip;\n\tname=\"{name}\"\n\
             Content-Disposition: attachment;\n\tfilename=\"{name}\"\n\
             Content-Transfer-Encoding: base64\n\
             \n",
            to = to.join(",\n\t"),
            name = self.name,
        );
        [head.as_bytes(), &self.encoded, format!("\n--{boundary}--\n").as_bytes()].concat()
    }
}
