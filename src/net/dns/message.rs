//! Queries and answers as bytes (RFC 1035 §4, RFC 6891). Pure; every `domain` type of parsing stays in here.

use super::{Mx, Srv, Tlsa};
use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::message_builder::PushError;
use domain::base::name::{ParsedName, ToName};
use domain::base::record::ParsedRecord;
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::{A, Aaaa, AllRecordData, Cname, Ptr, Soa, Txt};
use std::net::IpAddr;
use std::time::Duration;

/// Bytes of UDP we take without fragments (RFC 9715 §3).
pub(super) const UDP_SIZE: u16 = 1232;

/// Records taken from one answer; more are a bomb.
const MOST_RECORDS: usize = 256;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// CNAME: the name it stands for.
    Alias(String),
    Mx(Mx),
    Address(IpAddr),
    /// PTR: the name of an address.
    Pointer(String),
    /// TXT, its strings put together.
    Text(Vec<u8>),
    Tlsa(Tlsa),
    Srv(Srv),
}

impl Data {
    /// It, if it is an address.
    pub(super) fn address(self) -> Option<IpAddr> {
        if let Data::Address(ip) = self { Some(ip) } else { None }
    }

    /// Bytes of a content that may be long.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Data::Text(text) => text.len(),
            Data::Tlsa(tlsa) => tlsa.data.len(),
            Data::Alias(_) | Data::Mx(_) | Data::Address(_) | Data::Pointer(_) | Data::Srv(_) => 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// In lower case.
    pub(super) owner: String,
    pub(super) ttl: Duration,
    pub(super) data: Data,
}

/// What a server has to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// NXDOMAIN, for the name at the end of the CNAMEs in `records`.
    pub(super) no_such_name: bool,
    /// CNAMEs, and records of the kind asked for, of whatever owner.
    pub(super) records: Vec<Record>,
    /// For how long it may be remembered that there is nothing (RFC 2308 §5), if that is what it says.
    pub(super) denial: Option<Duration>,
    /// The server says that it has validated all of it.
    pub(super) secure: bool,
}

/// Why bytes are not an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not to this question: perhaps forged, to be ignored.
    Foreign,
    /// Cut: to be asked again over TCP.
    Truncated,
    /// The server may not know EDNS: to be asked again without.
    NoEdns,
    /// The server can't or won't tell; the reason.
    Lame(String),
}

/// A query with recursion desired.
pub(super) fn query(id: u16, name: &str, kind: Rtype, edns: bool) -> Result<Vec<u8>, String> {
    let name = Name::vec_from_str(name).map_err(|error| error.to_string())?;
    compose(id, &name, kind, edns).map_err(|error| error.to_string())
}

fn compose(id: u16, name: &Name<Vec<u8>>, kind: Rtype, edns: bool) -> Result<Vec<u8>, PushError> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    builder.header_mut().set_rd(true);
    // "Tell me whether you have validated it" (RFC 6840 §5.7).
    builder.header_mut().set_ad(true);
    let mut question = builder.question();
    question.push((name, kind))?;
    let mut additional = question.additional();
    if edns {
        additional.opt(|opt| {
            opt.set_udp_payload_size(UDP_SIZE);
            Ok(())
        })?;
    }
    Ok(additional.finish())
}

/// The answer to the query of that number, name and kind.
pub(super) fn answer(bytes: &[u8], id: u16, name: &str, kind: Rtype) -> Result<Answer, Fault> {
    let message = Message::from_octets(bytes).map_err(|_| Fault::Foreign)?;
    let header = message.header();
    if !header.qr() || header.id() != id || header.opcode() != Opcode::QUERY {
        return Err(Fault::Foreign);
    }
    let refuses_edns = matches!(header.rcode(), Rcode::FORMERR | Rcode::NOTIMP);
    // Some who don't understand a query don't repeat it either.
    if refuses_edns && message.header_counts().qdcount() == 0 {
        return Err(Fault::NoEdns);
    }
    if !is_question(&message, name, kind) {
        return Err(Fault::Foreign);
    }
    match header.rcode() {
        _ if refuses_edns => return Err(Fault::NoEdns),
        _ if header.tc() => return Err(Fault::Truncated),
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        other => return Err(Fault::Lame(other.to_string())),
    }
    read(&message, kind)
        .map_err(|error| Fault::Lame(format!("broken answer ({error})")))?
        .ok_or(Fault::Lame("referral".to_owned()))
}

fn is_question(message: &Message<&[u8]>, name: &str, kind: Rtype) -> bool {
    match (message.sole_question(), Name::vec_from_str(name)) {
        (Ok(asked), Ok(name)) => asked.qtype() == kind && asked.qclass() == Class::IN && asked.qname().name_eq(&name),
        _ => false,
    }
}

/// The records that matter; `None` if the server only points to others.
fn read(message: &Message<&[u8]>, kind: Rtype) -> Result<Option<Answer>, ParseError> {
    let no_such_name = message.header().rcode() == Rcode::NXDOMAIN;
    let mut answer = Answer { no_such_name, records: Vec::new(), denial: None, secure: message.header().ad() };
    for record in message.answer()?.take(MOST_RECORDS) {
        let record = record?;
        if record.class() != Class::IN {
            continue;
        }
        if let Some(data) = data_of(&record, kind)? {
            answer.records.push(Record { owner: text(&record.owner()), ttl: ttl(record.ttl().as_secs()), data });
        }
    }
    let mut names_others = false;
    for record in message.authority()?.take(MOST_RECORDS) {
        let record = record?;
        names_others |= record.rtype() == Rtype::NS;
        if record.rtype() == Rtype::SOA {
            if let Some(soa) = record.to_record::<Soa<ParsedName<_>>>()? {
                answer.denial = Some(ttl(record.ttl().as_secs()).min(ttl(soa.data().minimum().as_secs())));
            }
        }
    }
    let is_referral = answer.records.is_empty() && !no_such_name && answer.denial.is_none() && names_others;
    Ok(if is_referral { None } else { Some(answer) })
}

fn data_of(record: &ParsedRecord<'_, &[u8]>, kind: Rtype) -> Result<Option<Data>, ParseError> {
    let address = |ip: IpAddr| Data::Address(ip);
    Ok(match record.rtype() {
        Rtype::CNAME => record.to_record::<Cname<ParsedName<_>>>()?.map(|found| Data::Alias(text(found.data().cname()))),
        other if other != kind => None,
        Rtype::A => record.to_record::<A>()?.map(|found| address(found.data().addr().into())),
        Rtype::AAAA => record.to_record::<Aaaa>()?.map(|found| address(found.data().addr().into())),
        Rtype::MX => record.to_record::<domain::rdata::Mx<ParsedName<_>>>()?.map(|found| {
            let mx = found.data();
            Data::Mx(Mx { preference: mx.preference(), exchange: text(mx.exchange()) })
        }),
        Rtype::SRV => record.to_record::<domain::rdata::Srv<ParsedName<_>>>()?.map(|found| {
            let srv = found.data();
            Data::Srv(Srv { port: srv.port(), target: text(srv.target()) })
        }),
        Rtype::PTR => record.to_record::<Ptr<ParsedName<_>>>()?.map(|found| Data::Pointer(text(found.data().ptrdname()))),
        Rtype::TXT => record.to_record::<Txt<_>>()?.map(|found| Data::Text(found.data().iter().flatten().copied().collect())),
        Rtype::TLSA => match record.to_any_record::<AllRecordData<_, ParsedName<_>>>()?.into_data() {
            AllRecordData::Unknown(found) => {
                Some(Data::Tlsa(Tlsa::of(found.data()).ok_or(ParseError::form_error("short TLSA record"))?))
            }
            _ => None,
        },
        _ => None,
    })
}

/// In lower case, without final dot, whatever is unusual escaped; empty for the root.
fn text<Octets: AsRef<[u8]>>(name: &ParsedName<Octets>) -> String {
    if name.is_root() { String::new() } else { name.to_string().to_ascii_lowercase() }
}

/// A time to live; one with the highest bit set is none (RFC 2181 §8).
fn ttl(seconds: u32) -> Duration {
    Duration::from_secs(if seconds > i32::MAX as u32 { 0 } else { seconds.into() })
}
