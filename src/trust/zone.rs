//! DNS for tests: a table of `name kind data`, one a line. `name TIMEOUT` has no answer.

use super::Dns;
use crate::net::dns::DnsError;
use std::cell::RefCell;
use std::net::IpAddr;

/// The table, and what was asked of it.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    lines: Vec<(String, String, String)>,
    pub(crate) asked: RefCell<Vec<String>>,
}

impl Zone {
    pub(crate) fn new(text: &str) -> Zone {
        let mut zone = Zone::default();
        text.lines().for_each(|line| zone.add(line));
        zone
    }

    pub(crate) fn add(&mut self, line: &str) {
        let mut words = line.trim().splitn(3, ' ');
        if let (Some(name), Some(kind)) = (words.next(), words.next()) {
            self.lines.push((name.to_owned(), kind.to_owned(), words.next().unwrap_or_default().to_owned()));
        }
    }

    fn ask(&self, name: &str, kind: &str) -> Result<Vec<&str>, DnsError> {
        self.asked.borrow_mut().push(format!("{kind} {name}"));
        let of_name = || self.lines.iter().filter(|(owner, ..)| owner.eq_ignore_ascii_case(name));
        if of_name().any(|(_, kind, _)| kind == "TIMEOUT") {
            return Err(DnsError::Temporary("no answer".into()));
        }
        let found: Vec<&str> = of_name().filter(|(_, own, _)| own == kind).map(|(.., data)| data.as_str()).collect();
        match found.is_empty() {
            false => Ok(found),
            true if of_name().next().is_some() => Err(DnsError::NoData),
            true => Err(DnsError::NoName),
        }
    }
}

impl Dns for Zone {
    fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        Ok(self.ask(name, "TXT")?.into_iter().map(|text| text.as_bytes().to_vec()).collect())
    }

    fn addresses(&self, name: &str, v6: bool) -> Result<Vec<IpAddr>, DnsError> {
        let found = self.ask(name, if v6 { "AAAA" } else { "A" })?;
        Ok(found.into_iter().map(|text| text.parse().unwrap()).collect())
    }

    fn exchangers(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Ok(self.ask(name, "MX")?.into_iter().map(str::to_owned).collect())
    }

    fn names(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        Ok(self.ask(&address.to_string(), "PTR")?.into_iter().map(str::to_owned).collect())
    }
}
