//! What the line to another host must be like, and that nothing goes over one that is not; what name servers may say of where
//! it goes.

mod answers;
pub mod certificates;
mod dane;
mod host;
mod policies;
mod secret;
mod sts;
pub mod zone;

use crate::common::{Daemon, PASSWORD, Setup, Smtp, letter};
use std::net::SocketAddr;
use zone::Zone;

pub fn tests() -> Vec<crate::runner::Test> {
    dane::tests().into_iter().chain(sts::tests()).chain(secret::tests()).chain(answers::tests()).collect()
}

/// A daemon that asks this name server and finds SMTP at `port`.
fn daemon(zone: &Zone, port: u16, more: &[&str]) -> Daemon {
    let mut options = vec![format!("dns.servers=[\"{}\"]", zone.address), format!("queue.smtp_port={port}")];
    options.extend(["queue.retry=[\"1h\"]", "queue.workers=100"].iter().chain(more).map(|option| (*option).to_owned()));
    Setup { options, ..Setup::default() }.start()
}

fn submit(daemon: &Daemon, to: &str) {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    let reply = smtp.send("alice@here.test", &[to], &letter(to, "text")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// Why a recipient waits after a try; empty: it does not.
fn reason(daemon: &Daemon, to: &str) -> String {
    let queue = daemon.queue();
    let recipients = queue.iter().filter_map(|message| message["recipients"].as_array()).flatten();
    let tried = recipients.filter(|one| one["address"] == to && one["tries"] != 0);
    tried.map(|one| one["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

fn local(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], port))
}
