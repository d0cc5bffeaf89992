//! The resolver against small servers in this process, good ones and bad ones.

use super::*;
use crate::sys::Time;
use crate::sys::clock::manual::ManualClock;
use domain::base::iana::Rcode;
use domain::base::rdata::UnknownRecordData;
use domain::base::{Message, MessageBuilder, Name, Ttl};
use domain::rdata::{A, Aaaa, Cname, Ns, Soa};
use proptest::prelude::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// A question as a server sees it.
struct Asked {
    bytes: Vec<u8>,
    name: String,
    kind: Rtype,
    tcp: bool,
    edns: bool,
}

/// What a server sends back: any number of datagrams.
type Reply = Vec<Vec<u8>>;

/// A server on a free port of the loopback, UDP and TCP, until it is dropped.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let (asked, stop, reply) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(reply));
        let answer = {
            let asked = asked.clone();
            move |bytes: &[u8], tcp: bool| {
                asked.fetch_add(1, Ordering::SeqCst);
                reply(&parse(bytes, tcp))
            }
        };
        let serve_tcp = {
            let (stop, answer) = (stop.clone(), answer.clone());
            move || {
                while let Ok((mut peer, _)) = tcp.accept() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut size = [0; 2];
                    peer.read_exact(&mut size).unwrap();
                    let mut query = vec![0; u16::from_be_bytes(size).into()];
                    peer.read_exact(&mut query).unwrap();
                    for bytes in answer(&query, true) {
                        let size = u16::try_from(bytes.len()).unwrap();
                        let _ = peer.write_all(&[&size.to_be_bytes(), &bytes[..]].concat());
                    }
                }
            }
        };
        let ended = stop.clone();
        let serve_udp = move || {
            let mut buffer = [0; 4096];
            while let Ok((size, from)) = udp.recv_from(&mut buffer) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                for bytes in answer(&buffer[..size], false) {
                    let _ = udp.send_to(&bytes, from);
                }
            }
        };
        Server { address, asked, stop, threads: vec![thread::spawn(serve_tcp), thread::spawn(serve_udp)] }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", self.address);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server failed");
        }
    }
}

fn parse(bytes: &[u8], tcp: bool) -> Asked {
    let message = Message::from_octets(bytes).unwrap();
    assert!(message.header().rd() && message.header().ad() && !message.header().qr());
    let question = message.sole_question().unwrap();
    let edns = message.opt().is_some_and(|opt| opt.udp_payload_size() == 1232);
    Asked { bytes: bytes.to_vec(), name: question.qname().to_string(), kind: question.qtype(), tcp, edns }
}

fn name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).unwrap()
}

/// What stands in an answer.
enum Says {
    Alias(&'static str, &'static str),
    Mx(&'static str, u16, &'static str),
    A(&'static str, [u8; 4]),
    Aaaa(&'static str),
    /// A record of any kind.
    Raw(&'static str, Rtype, Vec<u8>),
    /// In the authority section: the record's time to live, and its minimum.
    Soa(u32, u32),
    Ns,
}

fn answer(asked: &Asked, rcode: Rcode, says: &[Says]) -> Vec<u8> {
    let query = Message::from_octets(&asked.bytes[..]).unwrap();
    let mut builder = MessageBuilder::new_vec().start_answer(&query, rcode).unwrap();
    let ttl = Ttl::from_secs(600);
    for says in says {
        match says {
            Says::Alias(owner, target) => builder.push((name(owner), ttl, Cname::new(name(target)))).unwrap(),
            Says::Mx(owner, preference, exchange) => {
                builder.push((name(owner), ttl, domain::rdata::Mx::new(*preference, name(exchange)))).unwrap();
            }
            Says::A(owner, ip) => builder.push((name(owner), ttl, A::new((*ip).into()))).unwrap(),
            Says::Aaaa(owner) => builder.push((name(owner), ttl, Aaaa::new(Ipv6Addr::LOCALHOST))).unwrap(),
            Says::Raw(owner, kind, data) => {
                builder.push((name(owner), ttl, UnknownRecordData::from_octets(*kind, data).unwrap())).unwrap();
            }
            Says::Soa(..) | Says::Ns => {}
        }
    }
    let mut builder = builder.authority();
    for says in says {
        if let Says::Soa(ttl, minimum) = says {
            let seconds = Ttl::from_secs;
            let soa = Soa::new(
                name("ns.example"),
                name("root.example"),
                1.into(),
                seconds(1),
                seconds(1),
                seconds(1),
                seconds(*minimum),
            );
            builder.push((name("example"), seconds(*ttl), soa)).unwrap();
        }
        if let Says::Ns = says {
            builder.push((name("example"), ttl, Ns::new(name("ns.example")))).unwrap();
        }
    }
    builder.finish()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Time::from_seconds(1_700_000_000)))
}

fn resolver(servers: &[&Server]) -> Resolver {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    patient(Resolver::new(clock(), &addresses), 400)
}

fn patient(resolver: Resolver, millis: u64) -> Resolver {
    let one = Duration::from_millis(millis);
    resolver.with_patience(Patience { one, rounds: 2, whole: Duration::from_secs(3) })
}

fn mx(preference: u16, exchange: &str) -> Mx {
    Mx { preference, exchange: exchange.to_owned() }
}

fn temporary<T: std::fmt::Debug>(result: Result<T, DnsError>) -> String {
    match result {
        Err(DnsError::Temporary(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// SPF makes names of what senders call themselves (RFC 7208 §7).
#[test]
fn names_of_odd_characters() {
    let odd: String = (b'!'..=b'~').map(char::from).filter(|char| !matches!(char, '\\' | '.' | 'A'..='Z')).collect();
    let labels: Vec<&str> = [odd.get(..40), odd.get(40..)].into_iter().flatten().collect();
    let asked_for = format!("{}.example", labels.join("."));
    let owner: &'static str = Box::leak(asked_for.clone().into_boxed_str());
    let server = Server::start(move |asked| match asked.kind {
        Rtype::A => vec![answer(asked, Rcode::NOERROR, &[Says::A(owner, [127, 0, 0, 2])])],
        _ => vec![answer(asked, Rcode::NOERROR, &[Says::Soa(60, 60)])],
    });
    let resolver = resolver(&[&server]);
    assert_eq!(resolver.addresses_of(&asked_for, false), Ok(vec!["127.0.0.2".parse().unwrap()]));
    assert_eq!(resolver.addresses_of(&asked_for, true), Err(DnsError::NoData));
}

#[test]
fn names_of_addresses() {
    let server = Server::start(|asked| {
        assert_eq!(asked.kind, Rtype::PTR);
        let pointer = Says::Raw("1.2.0.192.in-addr.arpa", Rtype::PTR, b"\x04Mail\x01x\x04test\x00".to_vec());
        match asked.name.as_str() {
            "1.2.0.192.in-addr.arpa" => vec![answer(asked, Rcode::NOERROR, &[pointer])],
            _ => vec![answer(asked, Rcode::NXDOMAIN, &[Says::Soa(60, 60)])],
        }
    });
    let resolver = resolver(&[&server]);
    for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
        assert_eq!(resolver.names(address.parse().unwrap()), Ok(vec!["mail.x.test".to_owned()]));
    }
    assert_eq!(resolver.names("2001:db8::1".parse().unwrap()), Err(DnsError::NoName));
}

#[test]
fn exchangers_in_order() {
    let server = Server::start(|asked| {
        assert!(asked.edns);
        assert_eq!((asked.name.as_str(), asked.kind), ("example.org", Rtype::MX));
        let says = [
            Says::Mx("example.org", 20, "c.example"),
            Says::Mx("Example.ORG", 10, "B.example"),
            Says::Mx("example.org", 10, "a.example"),
            Says::Mx("other.example", 1, "forged.example"),
            Says::A("example.org", [192, 0, 2, 1]),
        ];
        vec![answer(asked, Rcode::NOERROR, &says)]
    });
    let resolver = resolver(&[&server]);
    let expected = [mx(10, "b.example"), mx(10, "a.example"), mx(20, "c.example")];
    assert_eq!(resolver.mx("EXAMPLE.org.").unwrap().data, expected);
    assert_eq!(resolver.mx("example.org").unwrap().data, expected);
    assert_eq!(server.asked(), 1);
}

/// An answer for which the server vouches.
fn vouched(asked: &Asked, says: &[Says]) -> Vec<u8> {
    let mut bytes = answer(asked, Rcode::NOERROR, says);
    bytes[3] |= 0x20;
    bytes
}

#[test]
fn an_answer_is_secure_if_all_of_it_is() {
    let server = Server::start(|asked| {
        vec![match asked.name.as_str() {
            "yes.example" => vouched(asked, &[Says::Mx("yes.example", 1, "m.example")]),
            "to-yes.example" => vouched(asked, &[Says::Alias("to-yes.example", "yes.example")]),
            "to-no.example" => vouched(asked, &[Says::Alias("to-no.example", "no.example")]),
            "weak-to-yes.example" => answer(asked, Rcode::NOERROR, &[Says::Alias("weak-to-yes.example", "yes.example")]),
            _ => answer(asked, Rcode::NOERROR, &[Says::Mx("no.example", 1, "m.example")]),
        }]
    });
    let cases = [("yes", true), ("no", false), ("to-yes", true), ("to-no", false), ("weak-to-yes", false)];
    let secure = |resolver: &Resolver, name: &str| {
        let found = resolver.mx(&format!("{name}.example")).unwrap();
        assert_eq!(found.data, [mx(1, "m.example")]);
        (found.name, found.secure)
    };
    let (trusting, wary) = (resolver(&[&server]), resolver(&[&server]).trusting(Trust::Never));
    for (name, expected) in cases {
        let end = if name.ends_with("yes") { "yes.example" } else { "no.example" };
        // Once asked, once remembered.
        for _ in 0..2 {
            assert_eq!(secure(&trusting, name), (end.to_owned(), expected), "{name}");
            assert!(!secure(&wary, name).1, "{name}");
        }
    }
}

#[test]
fn texts_and_tlsa() {
    let server = Server::start(|asked| {
        let owner: &'static str = asked.name.clone().leak();
        let data: Vec<u8> = match asked.name.as_str() {
            "long.example" => [&[255][..], &[b'x'; 255], b"\x04more\0"].concat(),
            "short.example" => vec![3, 1],
            _ => vec![3, 1, 1, 0xab],
        };
        let says = if asked.kind == Rtype::A { Says::A(owner, [192, 0, 2, 1]) } else { Says::Raw(owner, asked.kind, data) };
        vec![vouched(asked, &[says])]
    });
    let resolver = resolver(&[&server]);
    assert_eq!(resolver.txt("long.example").unwrap(), [format!("{}more", "x".repeat(255)).into_bytes()]);
    let addresses = resolver.addresses("mx.example").unwrap();
    let set = resolver.tlsa("MX.example", 25, &addresses).unwrap().unwrap();
    let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0xab] };
    assert_eq!(set, TlsaSet { base: "mx.example".into(), records: vec![record] });
    assert!(temporary(resolver.lookup("short.example", Rtype::TLSA)).contains("broken answer"));
    assert!(temporary(resolver.txt("short.example")).contains("broken answer"));
    // Where nobody vouches for the addresses no question is asked.
    let asked = server.asked();
    assert_eq!(resolver.tlsa("mx.example", 25, &Found { secure: false, ..addresses }), Ok(None));
    assert_eq!(server.asked(), asked);
}

#[test]
fn null_mx_and_nothing() {
    let server = Server::start(|asked| {
        let (rcode, says) = match asked.name.as_str() {
            "null.example" => (Rcode::NOERROR, vec![Says::Mx("null.example", 0, ".")]),
            "nodata.example" => (Rcode::NOERROR, vec![Says::Soa(600, 60)]),
            "bare.example" => (Rcode::NOERROR, vec![]),
            "lame.example" => (Rcode::NOERROR, vec![Says::Ns]),
            _ => (Rcode::NXDOMAIN, vec![Says::Soa(600, 60)]),
        };
        vec![answer(asked, rcode, &says)]
    });
    let resolver = resolver(&[&server]);
    assert_eq!(resolver.mx("null.example").unwrap().data, [mx(0, "")]);
    assert_eq!(resolver.mx("nodata.example"), Err(DnsError::NoData));
    assert_eq!(resolver.mx("bare.example"), Err(DnsError::NoData));
    assert_eq!(resolver.mx("none.example"), Err(DnsError::NoName));
    assert_eq!(resolver.addresses("none.example"), Err(DnsError::NoName));
    assert_eq!(resolver.addresses("nodata.example"), Err(DnsError::NoData));
    assert!(temporary(resolver.mx("lame.example")).starts_with("referral from 127.0.0.1:"));
}

#[test]
fn addresses_of_both_families() {
    let server = Server::start(|asked| {
        let says = match (asked.name.as_str(), asked.kind) {
            ("both.example", Rtype::AAAA) => vec![Says::Aaaa("both.example")],
            ("both.example" | "four.example" | "half.example", Rtype::A) => {
                vec![
                    Says::A("both.example", [192, 0, 2, 1]),
                    Says::A("four.example", [192, 0, 2, 4]),
                    Says::A("half.example", [192, 0, 2, 5]),
                ]
            }
            ("half.example" | "open.example", Rtype::AAAA) => return vec![answer(asked, Rcode::SERVFAIL, &[])],
            _ => vec![Says::Soa(1, 1)],
        };
        vec![answer(asked, Rcode::NOERROR, &says)]
    });
    let resolver = resolver(&[&server]);
    assert_eq!(
        resolver.addresses("both.example").unwrap().data,
        ["::1".parse::<IpAddr>().unwrap(), "192.0.2.1".parse().unwrap()]
    );
    assert_eq!(resolver.addresses("four.example").unwrap().data, ["192.0.2.4".parse::<IpAddr>().unwrap()]);
    assert_eq!(resolver.addresses("half.example").unwrap().data, ["192.0.2.5".parse::<IpAddr>().unwrap()]);
    assert!(temporary(resolver.addresses("open.example")).starts_with("SERVFAIL from"));
    let asked = server.asked();
    assert_eq!(resolver.addresses("2001:db8::1").unwrap().data, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(resolver.addresses("192.0.2.9").unwrap().data, ["192.0.2.9".parse::<IpAddr>().unwrap()]);
    assert_eq!(resolver.addresses("LocalHost.").unwrap().data.len(), 2);
    assert_eq!(resolver.mx("localhost"), Err(DnsError::NoData));
    let long = format!("{}.example", "a".repeat(64));
    for bad in ["", ".", "a..b", "a b", "a\\b", "a\0b", "ä.example", "a.b\r\n", &long, &"a.".repeat(130)] {
        assert_eq!(resolver.addresses(bad), Err(DnsError::NoName), "{bad:?}");
    }
    assert_eq!(server.asked(), asked);
}

#[test]
fn aliases() {
    let server = Server::start(|asked| {
        let says = match asked.name.as_str() {
            "inside.example" => vec![
                Says::Alias("inside.example", "two.example"),
                Says::Alias("two.example", "THREE.example"),
                Says::Mx("three.example", 5, "m.example"),
            ],
            "again.example" => vec![Says::Alias("again.example", "inside.example")],
            "loop.example" => vec![Says::Alias("loop.example", "pool.example"), Says::Alias("pool.example", "loop.example")],
            "slow-loop.example" => vec![Says::Alias("slow-loop.example", "slow-pool.example")],
            "slow-pool.example" => vec![Says::Alias("slow-pool.example", "slow-loop.example")],
            "self.example" => vec![Says::Alias("self.example", "self.example")],
            "dangling.example" => {
                return vec![answer(asked, Rcode::NXDOMAIN, &[Says::Alias("dangling.example", "x.example"), Says::Soa(9, 9)])];
            }
            _ => vec![Says::Soa(9, 9), Says::Alias(ALIAS_WITHOUT_MX, "x.example")],
        };
        vec![answer(asked, Rcode::NOERROR, &says)]
    });
    const ALIAS_WITHOUT_MX: &str = "no-mx.example";
    let resolver = resolver(&[&server]);
    assert_eq!(resolver.mx("inside.example").unwrap().data, [mx(5, "m.example")]);
    assert_eq!(resolver.mx("again.example").unwrap().data, [mx(5, "m.example")]);
    assert_eq!(server.asked(), 3);
    for endless in ["loop.example", "slow-loop.example", "self.example"] {
        assert!(temporary(resolver.mx(endless)).contains("CNAME"), "{endless}");
    }
    assert!(server.asked() < 20);
    assert_eq!(resolver.mx("dangling.example"), Err(DnsError::NoName));
    assert_eq!(resolver.mx(ALIAS_WITHOUT_MX), Err(DnsError::NoData));
}

#[test]
fn answers_are_remembered_as_long_as_they_hold() {
    let server = Server::start(|asked| match asked.name.as_str() {
        "yes.example" => vec![answer(asked, Rcode::NOERROR, &[Says::Mx("yes.example", 1, "m.example")])],
        "no.example" => vec![answer(asked, Rcode::NXDOMAIN, &[Says::Soa(600, 60)])],
        _ => vec![answer(asked, Rcode::NXDOMAIN, &[Says::Soa(100_000, 100_000)])],
    });
    let clock = clock();
    let resolver = patient(Resolver::new(clock.clone(), &[server.address]), 500);
    let asked = |host: &str| {
        let before = server.asked();
        let _ = resolver.mx(host);
        server.asked() - before
    };
    for (host, holds) in [("yes.example", 600), ("no.example", 60), ("never.example", 300)] {
        assert_eq!((asked(host), asked(host)), (1, 0), "{host}");
        clock.advance(Duration::from_secs(holds - 1));
        assert_eq!(asked(host), 0, "{host}");
        clock.advance(Duration::from_secs(1));
        assert_eq!(asked(host), 1, "{host}");
    }
}

#[test]
fn what_is_cut_is_asked_again_over_tcp() {
    let server = Server::start(|asked| {
        let mut bytes = answer(asked, Rcode::NOERROR, &[]);
        if asked.tcp {
            let says: Vec<Says> = (0..1000).map(|number| Says::Mx("big.example", number, "m.example")).collect();
            return vec![answer(asked, Rcode::NOERROR, &says)];
        }
        bytes[2] |= 2;
        vec![bytes]
    });
    let resolver = resolver(&[&server]);
    let found = resolver.mx("big.example").unwrap().data;
    assert_eq!((found.len(), found[255].preference), (256, 255));
    assert_eq!(server.asked(), 2);
}

#[test]
fn forged_answers_are_not_listened_to() {
    let server = Server::start(|asked| {
        let good = answer(asked, Rcode::NOERROR, &[Says::Mx("x.example", 1, "good.example")]);
        let forged = answer(asked, Rcode::NOERROR, &[Says::Mx("x.example", 1, "forged.example")]);
        let mut other_id = forged.clone();
        other_id[0] ^= 1;
        let mut other_name = forged.clone();
        other_name[13] = b'y';
        let mut other_kind = forged.clone();
        other_kind[24] = 1;
        let mut a_query = forged.clone();
        a_query[2] &= 0x7f;
        let mut no_question = forged;
        no_question[5] = 0;
        vec![other_id, other_name, other_kind, a_query, no_question, vec![], vec![0; 11], good]
    });
    assert_eq!(resolver(&[&server]).mx("x.example").unwrap().data, [mx(1, "good.example")]);
}

#[test]
fn the_next_server_is_asked() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED] {
        let bad = Server::start(move |asked| vec![answer(asked, rcode, &[])]);
        let mute = Server::start(|_| vec![]);
        let good = Server::start(|asked| vec![answer(asked, Rcode::NOERROR, &[Says::Mx("x.example", 1, "m.example")])]);
        let found = resolver(&[&bad, &mute, &good]);
        assert_eq!(found.mx("x.example").unwrap().data, [mx(1, "m.example")]);
        assert_eq!((bad.asked(), mute.asked(), good.asked()), (1, 1, 1));
        // The one that answered is asked first from now on.
        let _ = found.mx("y.example");
        assert_eq!((bad.asked(), mute.asked(), good.asked()), (1, 1, 2));
        let lost = resolver(&[&bad, &mute]);
        assert!(temporary(lost.mx("x.example")).starts_with("no answer from 127.0.0.1:"));
        assert_eq!((bad.asked(), mute.asked()), (3, 3));
    }
}

#[test]
fn nobody_listens() {
    let server = Server::start(|_| vec![]);
    let address = server.address;
    drop(server);
    let resolver = patient(Resolver::new(clock(), &[address]), 100);
    assert!(temporary(resolver.mx("x.example")).contains("refused"));
}

#[test]
fn the_whole_is_bounded() {
    // Each try is in time, the chain of aliases as a whole is not.
    let server = Server::start(|asked| {
        thread::sleep(Duration::from_millis(400));
        let next = format!("n{}.example", asked.name.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap() + 1);
        vec![answer(asked, Rcode::NOERROR, &[Says::Alias(asked.name.clone().leak(), next.leak())])]
    });
    let patience = Patience { one: Duration::from_secs(2), rounds: 2, whole: Duration::from_millis(600) };
    let resolver = Resolver::new(clock(), &[server.address]).with_patience(patience);
    let begin = Instant::now();
    temporary(resolver.mx("n0.example"));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn servers_that_do_not_know_edns() {
    let server = Server::start(|asked| {
        let bytes = answer(asked, Rcode::NOERROR, &[Says::Mx(asked.name.clone().leak(), 1, "m.example")]);
        let mut refusal = answer(asked, Rcode::FORMERR, &[]);
        if asked.name == "short.example" {
            refusal[5] = 0;
            refusal.truncate(12);
        }
        vec![if asked.edns { refusal } else { bytes }]
    });
    let resolver = resolver(&[&server]);
    assert_eq!(resolver.mx("long.example").unwrap().data, [mx(1, "m.example")]);
    assert_eq!(resolver.mx("short.example").unwrap().data, [mx(1, "m.example")]);
    assert_eq!(server.asked(), 4);
}

#[test]
fn broken_answers() {
    let server = Server::start(|asked| {
        let mut bytes = answer(asked, Rcode::NOERROR, &[Says::Mx(asked.name.clone().leak(), 1, "m.example"), Says::Soa(1, 1)]);
        match asked.name.as_str() {
            "cut.example" => bytes.truncate(bytes.len() / 2),
            "many.example" => bytes[6] = 0xff,
            "pointer.example" => {
                let end = bytes.len();
                bytes[end - 30..].fill(0xc0);
            }
            _ if asked.tcp => return vec![vec![]],
            _ => bytes[2] |= 2,
        }
        vec![bytes]
    });
    let resolver = resolver(&[&server]);
    for host in ["cut.example", "many.example", "pointer.example", "empty-tcp.example"] {
        assert!(temporary(resolver.mx(host)).contains("broken answer"), "{host}");
    }
}

/// An answer with all kinds of records, to be broken.
fn sample() -> Vec<u8> {
    let query = message::query(7, "x.example", Rtype::MX, true).unwrap();
    let says = [
        Says::Alias("x.example", "y.example"),
        Says::Mx("y.example", 1, "m.example"),
        Says::A("x.example", [1; 4]),
        Says::Soa(1, 1),
    ];
    answer(&parse(&query, false), Rcode::NOERROR, &says)
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in prop_oneof![Just(Rtype::A), Just(Rtype::AAAA), Just(Rtype::MX)]) {
        let _ = message::answer(&bytes, 7, "x.example", kind);
        // The same behind a header and question that pass.
        let mut behind = sample();
        behind.truncate(27);
        behind.extend_from_slice(&bytes);
        let _ = message::answer(&behind, 7, "x.example", kind);
    }

    #[test]
    fn no_change_does_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = message::answer(&bytes, 7, "x.example", Rtype::MX);
        bytes.truncate(cut.index(bytes.len()));
        let _ = message::answer(&bytes, 7, "x.example", Rtype::MX);
    }
}
