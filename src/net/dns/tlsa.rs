//! TLSA records (RFC 6698 §2.1), and where they are looked for (RFC 7672 §2.2).

use super::message::Data;
use super::{DnsError, Found, Resolver, checked};
use domain::base::Rtype;
use std::net::IpAddr;

/// What a host's certificate must have to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// 2: an authority; 3: the host's own certificate.
    pub usage: u8,
    /// 0: a certificate; 1: its public key.
    pub selector: u8,
    /// 0: the whole of it; 1: its SHA-256; 2: its SHA-512.
    pub matching: u8,
    /// That.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// From the record's data; `None`: it is too short.
    pub(super) fn of(data: &[u8]) -> Option<Tlsa> {
        let (&[usage, selector, matching], data) = data.split_first_chunk()?;
        Some(Tlsa { usage, selector, matching, data: data.to_vec() })
    }
}

/// The records of a host, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsaSet {
    /// The TLSA base domain: the name under which they were found, and by which the host is to be called.
    pub base: String,
    /// They.
    pub records: Vec<Tlsa>,
}

impl Resolver {
    /// The secure TLSA records of a host's port, if it has any; `addresses`: the host's. Where an error leaves it open the
    /// host must not be talked to (RFC 7672 §2.1.2).
    pub fn tlsa(&self, host: &str, port: u16, addresses: &Found<Vec<IpAddr>>) -> Result<Option<TlsaSet>, DnsError> {
        for base in self.base_domains(host, addresses)? {
            match self.tlsa_at(&base, port) {
                Ok(found) if found.secure => return Ok(Some(TlsaSet { base, records: found.data })),
                Ok(_) | Err(DnsError::NoName | DnsError::NoData) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The TLSA records under this very name, secure or not.
    pub fn tlsa_at(&self, host: &str, port: u16) -> Result<Found<Vec<Tlsa>>, DnsError> {
        let found = self.lookup(&format!("_{port}._tcp.{host}"), Rtype::TLSA)?;
        let tlsa = |data| if let Data::Tlsa(tlsa) = data { Some(tlsa) } else { None };
        Ok(found.map(|all| all.into_iter().filter_map(tlsa).collect()))
    }

    /// Under which names to look (RFC 7672 §2.2.2): the one at the end of the CNAMEs, then the host's own. Nowhere in a zone
    /// that is not signed: some servers of such zones do not answer questions for TLSA at all.
    fn base_domains(&self, host: &str, addresses: &Found<Vec<IpAddr>>) -> Result<Vec<String>, DnsError> {
        let Some(host) = checked(host) else { return Ok(Vec::new()) };
        let is_alias = !addresses.name.eq_ignore_ascii_case(&host);
        Ok(match (addresses.secure, is_alias) {
            (true, true) => vec![addresses.name.clone(), host],
            (true, false) => vec![host],
            // An alias in a signed zone for a name in one that is not.
            (false, true) if self.ask(&host, Rtype::CNAME, self.deadline())?.secure => vec![host],
            (false, _) => Vec::new(),
        })
    }
}
