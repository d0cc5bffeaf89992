//! What is asked of DNS here, so that it can be asked of a table as well.

use crate::net::dns::{DnsError, Resolver};
use std::net::IpAddr;
use std::time::Instant;

/// Names and what is known of them. All are looked up with their CNAMEs followed.
pub trait Dns {
    /// TXT records, the strings of each put together.
    fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError>;
    /// Addresses of one family: AAAA records, or A records.
    fn addresses(&self, name: &str, v6: bool) -> Result<Vec<IpAddr>, DnsError>;
    /// Names of mail exchangers, best first.
    fn exchangers(&self, name: &str) -> Result<Vec<String>, DnsError>;
    /// The names of an address.
    fn names(&self, address: IpAddr) -> Result<Vec<String>, DnsError>;
}

impl Dns for Resolver {
    fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        Resolver::txt(self, name)
    }

    fn addresses(&self, name: &str, v6: bool) -> Result<Vec<IpAddr>, DnsError> {
        self.addresses_of(name, v6)
    }

    fn exchangers(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Ok(self.mx(name)?.data.into_iter().map(|mx| mx.exchange).collect())
    }

    fn names(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        Resolver::names(self, address)
    }
}

/// Another, of which nothing is asked after some time.
pub(super) struct Hasty<'a> {
    dns: &'a dyn Dns,
    until: Instant,
}

impl<'a> Hasty<'a> {
    pub(super) fn new(dns: &'a dyn Dns, until: Instant) -> Hasty<'a> {
        Hasty { dns, until }
    }

    fn in_time(&self) -> Result<&dyn Dns, DnsError> {
        if Instant::now() < self.until { Ok(self.dns) } else { Err(DnsError::Temporary("out of time".into())) }
    }
}

impl Dns for Hasty<'_> {
    fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        self.in_time()?.txt(name)
    }

    fn addresses(&self, name: &str, v6: bool) -> Result<Vec<IpAddr>, DnsError> {
        self.in_time()?.addresses(name, v6)
    }

    fn exchangers(&self, name: &str) -> Result<Vec<String>, DnsError> {
        self.in_time()?.exchangers(name)
    }

    fn names(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        self.in_time()?.names(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::zone::Zone;

    #[test]
    fn nothing_is_asked_when_time_is_over() {
        let zone = Zone::new("a.test TXT x");
        assert!(Hasty::new(&zone, Instant::now() + std::time::Duration::from_secs(60)).txt("a.test").is_ok());
        let late = Hasty::new(&zone, Instant::now());
        let open = |error| matches!(error, DnsError::Temporary(_));
        assert!(late.txt("a.test").is_err_and(open) && late.addresses("a.test", true).is_err_and(open));
        assert!(late.exchangers("a.test").is_err_and(open) && late.names("192.0.2.1".parse().unwrap()).is_err_and(open));
        assert_eq!(zone.asked.borrow().len(), 1);
    }
}
