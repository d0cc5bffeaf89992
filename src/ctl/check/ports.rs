//! Does the daemon run, and are the ports its own?

use super::super::call;
use super::Findings;
use crate::config::{Config, Endpoint};
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// To connect on this host.
const PATIENCE: Duration = Duration::from_secs(2);

pub fn look(config: &Config, findings: &mut Findings) {
    let runs = daemon(config, findings);
    for listen in &config.listen {
        for endpoint in &listen.at {
            let name = format!("{endpoint} ({})", listen.protocol.name());
            match endpoint {
                // Any free one: nobody can know which.
                Endpoint::Tcp(address) if address.port() == 0 => {}
                Endpoint::Tcp(address) => port(*address, &name, runs, findings),
                Endpoint::Unix(path) => socket(path, &name, runs, findings),
            }
        }
    }
}

/// Does it run? None: that can't be told.
fn daemon(config: &Config, findings: &mut Findings) -> Option<bool> {
    let start = "start it: service pillarbox start; if it does not, its log says why";
    match UnixStream::connect(&config.control) {
        Ok(_) => {
            // Others than root are told no more than that it is there.
            let status = call::ask(&config.control, "status").unwrap_or(Value::Null);
            let version = status["version"].as_str().map_or(String::new(), |version| format!(", version {version}"));
            findings.fine("daemon", format!("it runs{version}"));
            let bugs = status["bugs"].as_u64().unwrap_or(0);
            if bugs > 0 {
                findings.wrong("daemon", format!("{bugs} sessions ended by a bug"), "report what the log says about `bug`");
            }
            Some(true)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            findings.cannot_read("daemon", &config.control, &error, start);
            None
        }
        Err(error) => {
            findings.wrong("daemon", format!("it does not run ({}: {error})", config.control.display()), start);
            Some(false)
        }
    }
}

fn port(address: SocketAddr, name: &str, runs: Option<bool>, findings: &mut Findings) {
    let there = match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
    };
    let answers = TcpStream::connect_timeout(&there, PATIENCE);
    let owner = owner(there);
    let who = || owner.as_ref().map_or("another program".to_owned(), |(pid, name)| format!("{name} (process {pid})"));
    match (runs, answers) {
        (Some(true), Ok(_)) if owner.as_ref().is_none_or(|(_, name)| name == "pillarbox") => {
            findings.fine("ports", format!("{name} is listened on"));
        }
        (Some(_), Ok(_)) => {
            findings.wrong("ports", format!("{name} is taken by {}", who()), "stop that program, and keep it from starting");
        }
        (None, Ok(_)) => findings.unseen("ports", format!("{name} is listened on by {}", who()), "ask again as root"),
        (Some(false), Err(_)) => {}
        (_, Err(error)) => findings.wrong("ports", format!("nobody listens on {name}: {error}"), "restart the daemon"),
    }
}

fn socket(path: &Path, name: &str, runs: Option<bool>, findings: &mut Findings) {
    match UnixStream::connect(path) {
        Ok(_) => findings.fine("ports", format!("{name} is listened on")),
        Err(_) if runs == Some(false) => {}
        Err(error) => findings.cannot_read("ports", path, &error, "restart the daemon"),
    }
}

/// Number and name of the process that listens there, if the caller may see it.
fn owner(address: SocketAddr) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let listeners = tables.iter().flat_map(|table| table.lines()).filter_map(listening);
    let here = listeners.filter(|(port, _)| *port == address.port());
    let sockets: HashSet<String> = here.map(|(_, inode)| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_it = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
    };
    let pid = pids.filter(|_| !sockets.is_empty()).find(has_it)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

/// Port and inode of a listening socket, from a line of proc(5)'s net/tcp.
fn listening(line: &str) -> Option<(u16, &str)> {
    /// TCP_LISTEN
    const LISTENS: &str = "0A";
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (*state == LISTENS).then_some((port, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens() {
        let line = "   1: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4711 1 0 100 0 0 10 0";
        assert_eq!(listening(line), Some((25, "4711")));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("  sl  local_address rem_address   st"), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(owner(listener.local_addr().unwrap()).map(|(pid, _)| pid), Some(std::process::id()));
    }
}
