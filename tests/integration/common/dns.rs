//! A name server that knows what a test wants it to know.

use super::{fixed_port, tool, wait_for};
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};

/// dnsmasq on a port of its own, ended when dropped.
pub struct NameServer {
    child: Child,
    pub address: SocketAddr,
}

impl NameServer {
    /// One that tells so much, as options. If dnsmasq can't have the port after all it ends, and gets another.
    pub fn start(records: &[&str]) -> NameServer {
        let mut words = String::new();
        for _ in 0..5 {
            let address = SocketAddr::from(([127, 0, 0, 1], fixed_port()));
            match NameServer::start_at(address, records) {
                Ok(server) => return server,
                Err(said) => words += &format!("{address}: {said}\n"),
            }
        }
        panic!("dnsmasq does not start:\n{words}");
    }

    /// Waits until it says that it has started, which it does once it listens; or gives what it said at its end.
    fn start_at(address: SocketAddr, records: &[&str]) -> Result<NameServer, String> {
        let mut command = tool("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]);
        command.args(["--listen-address=127.0.0.1", "--pid-file=", "--user=", "--group=", "--log-facility=-"]);
        command.arg(format!("--port={}", address.port()));
        // Everything under .test is ours; what is not listed does not exist.
        command.arg("--local=/test/").args(records);
        let log = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.reopen().unwrap());
        let mut server = NameServer { child: command.spawn().unwrap(), address };
        let said = || String::from_utf8_lossy(&fs::read(log.path()).unwrap()).into_owned();
        wait_for("dnsmasq, to start or to end", 60, || {
            let ended = server.child.try_wait().unwrap();
            match said() {
                text if text.contains("started, version") => Some(Ok(())),
                text => ended.map(|status| Err(format!("{status}: {}", text.trim()))),
            }
        })?;
        Ok(server)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
