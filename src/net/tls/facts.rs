//! What the certificate in a file says of itself, for operators.

use super::der::{element, value};
use super::invalid;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::io;
use std::path::Path;

/// See the module.
#[derive(Debug)]
pub struct Facts {
    /// It holds from here on.
    pub begins: Timestamp,
    /// It holds until then.
    pub ends: Timestamp,
    certificate: CertificateDer<'static>,
}

impl Facts {
    /// Reads the first certificate of a file (PEM). An error does not name the file.
    pub fn of(file: &Path) -> io::Result<Facts> {
        let certificate = CertificateDer::from_pem_file(file).map_err(invalid)?;
        let (begins, ends) = validity(&certificate).ok_or_else(|| invalid("no dates can be read in it"))?;
        Ok(Facts { begins, ends, certificate })
    }

    /// The SHA-256 of its public key, as TLSA records have it (RFC 6698 §2.1: selector 1, matching type 1).
    pub fn key_digest(&self) -> Option<Vec<u8>> {
        let parsed = ParsedCertificate::try_from(&self.certificate).ok()?;
        Some(ring::digest::digest(&ring::digest::SHA256, &parsed.subject_public_key_info()).as_ref().to_vec())
    }

    /// Is it a certificate for this host?
    pub fn is_for(&self, host: &str) -> bool {
        let name = ServerName::try_from(host.to_owned());
        let parsed = ParsedCertificate::try_from(&self.certificate);
        matches!((name, parsed), (Ok(name), Ok(parsed)) if verify_server_name(&parsed, &name).is_ok())
    }
}

/// `TBSCertificate = SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer, validity SEQUENCE { Time, Time }, … }`
/// (RFC 5280 §4.1)
fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (inside, _) = value(certificate, 0x30)?;
    let (body, _) = value(inside, 0x30)?;
    let body = value(body, 0xa0).map_or(body, |(_, rest)| rest);
    let (_, rest) = value(body, 0x02)?;
    let (_, rest) = value(rest, 0x30)?;
    let (_, rest) = value(rest, 0x30)?;
    let (dates, _) = value(rest, 0x30)?;
    let (tag, begins, rest) = element(dates)?;
    let (begins, (tag, ends, _)) = (time(tag, begins)?, element(rest)?);
    Some((begins, time(tag, ends)?))
}

/// `UTCTime`: two digits of the year, which lies between 1950 and 2049; or `GeneralizedTime` (RFC 5280 §4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let whole = match tag {
        0x17 => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let date = DateTime::strptime("%Y%m%d%H%M%S", whole).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn dates_and_names() {
        for (from, until) in [((1975, 2, 28), (2049, 12, 31)), ((2024, 1, 2), (2050, 1, 1))] {
            let mut params = CertificateParams::new(["mail.x.test".to_owned(), "*.y.test".to_owned()]).unwrap();
            params.not_before = date_time_ymd(from.0, from.1, from.2);
            params.not_after = date_time_ymd(until.0, until.1, until.2);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("cert.pem");
            std::fs::write(&file, certificate.pem()).unwrap();
            let facts = Facts::of(&file).unwrap();
            let day = |(year, month, day): (i32, u8, u8)| format!("{year}-{month:02}-{day:02}T00:00:00Z");
            assert_eq!((facts.begins.to_string(), facts.ends.to_string()), (day(from), day(until)));
            assert!(facts.is_for("mail.x.test") && facts.is_for("a.y.test"));
            assert!(!facts.is_for("x.test") && !facts.is_for("not a name"));
            let der: &[u8] = certificate.der();
            (0..der.len().min(600)).for_each(|cut| assert!(validity(&der[..cut]).is_none() || cut > 100));
        }
    }
}
