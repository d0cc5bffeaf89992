//! Certificates checked by TLSA records: DANE (RFC 6698, RFC 7671) as SMTP uses it (RFC 7672 §3).
//!
//! A name that stands only in the subject of a certificate, not among its alternative names, is not looked at: that use of it is
//! deprecated, and left to the client (RFC 7671 §10.2).

use crate::net::dns::{Tlsa, TlsaSet};
use ring::digest::{Algorithm, SHA256, SHA512, digest};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, OtherError, RootCertStore};
use std::io;
use std::sync::Arc;

/// DANE-TA: an authority that vouches for the host.
const AUTHORITY: u8 = 2;
/// DANE-EE: the host's own certificate.
const HOST: u8 = 3;

/// What a certificate is checked by.
#[derive(Debug)]
pub(super) struct Dane {
    /// Usable ones, at least one.
    records: Vec<Tlsa>,
    /// Those the host may have; they matter only where an authority vouches for it.
    names: Vec<ServerName<'static>>,
}

impl Dane {
    /// By these records, for a host that may be called by its base domain or `also`. `None`: none of them can be used.
    pub(super) fn new(set: &TlsaSet, also: &[String]) -> Option<Dane> {
        let usable: Vec<&Tlsa> = set.records.iter().filter(|record| is_usable(record)).collect();
        // Of several digests of one kind only the strongest counts (RFC 7671 §9).
        let is_weaker = |one: &Tlsa| {
            let stronger = |other: &&Tlsa| (other.usage, other.selector, other.matching) == (one.usage, one.selector, 2);
            one.matching == 1 && usable.iter().any(stronger)
        };
        let records: Vec<Tlsa> = usable.iter().filter(|record| !is_weaker(record)).map(|record| (*record).clone()).collect();
        let names = [&set.base].into_iter().chain(also).filter_map(|name| ServerName::try_from(name.clone()).ok()).collect();
        (!records.is_empty()).then_some(Dane { records, names })
    }

    /// Is the certificate one of those that the records mean?
    pub(super) fn check(
        &self,
        certificate: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        // Neither its names nor its dates matter then (RFC 7672 §3.1.1).
        if self.means(HOST, certificate) {
            return Ok(());
        }
        let whole = |record: &&Tlsa| (record.usage, record.selector, record.matching) == (AUTHORITY, 0, 0);
        let told = self.records.iter().filter(whole).map(|record| CertificateDer::from(record.data.as_slice()));
        let mut authorities = RootCertStore::empty();
        for authority in sent.iter().cloned().chain(told).filter(|one| self.means(AUTHORITY, one)) {
            authorities.add(authority)?;
        }
        if authorities.is_empty() {
            return Err(refused("it is none that the TLSA records mean"));
        }
        let certificate = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &authorities, sent, now, algorithms.all)?;
        match self.names.iter().any(|name| verify_server_name(&certificate, name).is_ok()) {
            true => Ok(()),
            false => Err(refused("it is for another host than the TLSA records")),
        }
    }

    /// Is it meant by a record of this usage?
    fn means(&self, usage: u8, certificate: &CertificateDer<'_>) -> bool {
        self.records.iter().any(|record| record.usage == usage && selects(record, certificate))
    }
}

fn is_usable(record: &Tlsa) -> bool {
    let whole = record.matching == 0 && !record.data.is_empty();
    let known = whole || algorithm(record).is_some_and(|algorithm| record.data.len() == algorithm.output_len());
    matches!(record.usage, AUTHORITY | HOST) && record.selector <= 1 && known
}

fn algorithm(record: &Tlsa) -> Option<&'static Algorithm> {
    match record.matching {
        1 => Some(&SHA256),
        2 => Some(&SHA512),
        _ => None,
    }
}

fn selects(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let is_meant = |content: &[u8]| match algorithm(record) {
        Some(algorithm) => digest(algorithm, content).as_ref() == record.data,
        None => content == record.data,
    };
    match record.selector {
        0 => is_meant(certificate),
        _ => ParsedCertificate::try_from(certificate).is_ok_and(|parsed| is_meant(&parsed.subject_public_key_info())),
    }
}

fn refused(why: &str) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(io::Error::other(why.to_owned())))))
}
