//! A daemon of one's own: configuration, users, start, stop, kill, and its log when a test fails.

use super::{Imap, Pop3, Smtp, fixed_port, wait_for, watch_for};
use crate::runner::note;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Everybody's password.
pub const PASSWORD: &str = "secret";

/// The listeners every daemon has, in this order: name, protocol, tls.
const LISTENERS: [(&str, &str, &str); 10] = [
    ("smtp", "smtp", "starttls"),
    ("submission", "submission", "starttls"),
    ("submissions", "submission", "implicit"),
    ("lmtp", "lmtp", "starttls"),
    ("pop3", "pop3", "starttls"),
    ("pop3s", "pop3", "implicit"),
    ("imap", "imap", "starttls"),
    ("imaps", "imap", "implicit"),
    ("http", "http", "none"),
    ("https", "http", "implicit"),
];

/// What a daemon should be like.
pub struct Setup {
    pub hostname: String,
    pub domains: Vec<String>,
    pub users: Vec<String>,
    /// More lines of the configuration, after the keys that belong to no table.
    pub config: String,
    /// `key=value` for `-o`.
    pub options: Vec<String>,
    /// Where it listens.
    pub address: IpAddr,
    /// Limits the number of open files.
    pub open_files: Option<u64>,
    /// Where the spool is to be, if not in the daemon's own directory.
    pub spool: Option<PathBuf>,
    /// Where the mailboxes are to be.
    pub mail: Option<PathBuf>,
    /// Whom it is to run as, by name, if not as who runs the test. That takes root.
    pub user: Option<String>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            hostname: "mail.here.test".to_owned(),
            domains: vec!["here.test".to_owned()],
            users: vec!["alice".to_owned(), "bob".to_owned()],
            config: String::new(),
            options: Vec::new(),
            address: Ipv4Addr::LOCALHOST.into(),
            open_files: None,
            spool: None,
            mail: None,
            user: None,
        }
    }
}

impl Setup {
    pub fn options(options: &[&str]) -> Setup {
        Setup { options: options.iter().map(|option| (*option).to_owned()).collect(), ..Setup::default() }
    }

    pub fn users(mut self, users: &[&str]) -> Setup {
        self.users = users.iter().map(|user| (*user).to_owned()).collect();
        self
    }

    pub fn config(mut self, config: &str) -> Setup {
        self.config = config.to_owned();
        self
    }

    /// Makes the directories and starts.
    pub fn start(self) -> Daemon {
        let mut daemon = self.prepare();
        daemon.start();
        daemon
    }

    /// Makes the directories.
    pub fn prepare(self) -> Daemon {
        let dir = tempfile::Builder::new().prefix("pillarbox-test.").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (spool, mail) = (self.spool.clone().unwrap_or_else(|| at("spool")), self.mail.clone().unwrap_or_else(|| at("mail")));
        fs::create_dir_all(&spool).unwrap();
        fs::create_dir_all(&mail).unwrap();
        if let Some(user) = &self.user {
            let user = nix::unistd::User::from_name(user).unwrap().unwrap();
            for own in [&spool, &mail] {
                nix::unistd::chown(own, Some(user.uid), Some(user.gid)).unwrap();
            }
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let free = vec![None; LISTENERS.len()];
        let daemon = Daemon { addresses: free.clone(), pinned: free, child: None, spool, mail, dir, setup: self, mounts: None };
        daemon.write_config();
        let (head, line) = users_file();
        let lines: String = daemon.setup.users.iter().map(|user| format!("{user}{line}\n")).collect();
        write_private(&daemon.path("users"), &format!("{head}{lines}"));
        daemon
    }
}

/// How a users file begins, and what follows the name on a line of it, for [`PASSWORD`]. Hashing is slow on
/// purpose, so it is done once.
fn users_file() -> &'static (String, String) {
    static PARTS: OnceLock<(String, String)> = OnceLock::new();
    PARTS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (config, users) = (dir.path().join("conf"), dir.path().join("users"));
        fs::write(&config, format!("users = [{users:?}]\nuser = \"\"\nspool = {:?}\n", dir.path())).unwrap();
        let output = pillarboxctl(&config, &["user", "add", "somebody"], format!("{PASSWORD}\n").as_bytes());
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(&users).unwrap();
        let (head, line) = text.split_once("somebody").unwrap_or_else(|| panic!("no user in {text:?}"));
        (head.to_owned(), line.trim_end().to_owned())
    })
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Runs pillarboxctl with something on its standard input.
pub fn pillarboxctl(config: &Path, words: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
    command.arg("-f").arg(config).args(words);
    with_input(command, input)
}

/// Runs a program with something on its standard input.
pub fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    })
}

/// A daemon with directories of its own. Dropped, it is killed and its files are gone.
pub struct Daemon {
    dir: tempfile::TempDir,
    setup: Setup,
    spool: PathBuf,
    mail: PathBuf,
    child: Option<Child>,
    addresses: Vec<Option<SocketAddr>>,
    /// What the configuration asks for; none: a free port.
    pinned: Vec<Option<SocketAddr>>,
    /// What the shell does first, where mounts are the daemon's own.
    pub mounts: Option<String>,
}

impl Daemon {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("pillarbox.conf")
    }

    pub fn spool(&self) -> &Path {
        &self.spool
    }

    /// A user's mailbox.
    pub fn mailbox(&self, user: &str) -> PathBuf {
        self.mail.join(user)
    }

    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.id() as i32)
    }

    /// Where a listener is, by its name in the table above.
    pub fn at(&self, name: &str) -> SocketAddr {
        let index = LISTENERS.iter().position(|(known, ..)| *known == name).unwrap_or_else(|| panic!("no listener {name}"));
        self.addresses[index].unwrap()
    }

    pub fn smtp(&self) -> Smtp {
        Smtp::hello(self.at("smtp")).unwrap()
    }

    pub fn pop3(&self, user: &str) -> Pop3 {
        Pop3::log_in(self.at("pop3"), user, PASSWORD).unwrap()
    }

    pub fn imap(&self, user: &str) -> Imap {
        Imap::log_in(self.at("imap"), user, PASSWORD).unwrap()
    }

    /// Every message of a user, by POP3, in wire form.
    pub fn mail(&self, user: &str) -> Vec<Vec<u8>> {
        let mut pop3 = self.pop3(user);
        let messages = pop3.messages().unwrap();
        pop3.ok("QUIT").unwrap();
        messages
    }

    /// Hands one message in from outside; the final reply.
    pub fn send(&self, to: &[&str], message: &[u8]) -> String {
        self.smtp().send("sender@sender.test", to, message).unwrap()
    }

    pub fn ctl(&self, words: &[&str]) -> Output {
        pillarboxctl(&self.config(), words, b"")
    }

    /// `pillarboxctl queue list --json`.
    pub fn queue(&self) -> Vec<serde_json::Value> {
        let output = self.ctl(&["queue", "list", "--json"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        match serde_json::from_str(&text) {
            Ok(serde_json::Value::Array(entries)) => entries,
            Ok(other) => panic!("not a list: {other}"),
            Err(error) => panic!("{error}: {text}"),
        }
    }

    /// The program with this daemon's configuration and `-d`.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
        command.arg("-d").arg("-f").arg(self.config());
        for option in &self.setup.options {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Starts and waits until it is ready.
    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|log| panic!("the daemon did not start:\n{log}"));
    }

    /// As [`Daemon::start`]; what it said if it ends instead.
    pub fn try_start(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut new = File::open(self.path("log")).unwrap();
        new.seek(SeekFrom::End(0)).unwrap();
        let mut command = self.command();
        if let Some(limit) = self.setup.open_files {
            command = limited(&command, limit);
        }
        if let Some(mounts) = &self.mounts {
            command = with_mounts(&command, mounts);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        let (mut bytes, mut said) = (Vec::new(), String::new());
        let line = watch_for("pillarbox ready", 60, || {
            let ended = child.try_wait().unwrap();
            new.read_to_end(&mut bytes).unwrap();
            said = String::from_utf8_lossy(&bytes).into_owned();
            match said.lines().find(|line| line.contains("pillarbox ready") && said.contains(&format!("{line}\n"))) {
                Some(line) => Some(Ok(line.to_owned())),
                None => ended.map(Err),
            }
        });
        self.child = Some(child);
        match line {
            Ok(line) => {
                self.read_addresses(&line);
                Ok(())
            }
            Err(_) => {
                self.child = None;
                Err(said)
            }
        }
    }

    fn read_addresses(&mut self, line: &str) {
        let words = line.split(|c: char| c.is_whitespace() || matches!(c, '=' | ',' | ';' | '/'));
        let found: Vec<SocketAddr> = words.filter_map(|word| word.parse().ok()).collect();
        // Those of the test's own configuration come behind.
        assert!(found.len() >= LISTENERS.len(), "addresses in the ready line: {line}");
        self.addresses = found.into_iter().take(LISTENERS.len()).map(Some).collect();
    }

    /// Has the same ports at each start from now on.
    pub fn pin_ports(&mut self) {
        self.pinned.fill_with(|| Some(SocketAddr::from(([127, 0, 0, 1], fixed_port()))));
        self.write_config();
    }

    /// Writes the configuration.
    fn write_config(&self) {
        fs::write(self.config(), self.config_text(&self.setup.config)).unwrap();
    }

    /// Changes what is written there.
    pub fn replace_config(&self, change: impl FnOnce(String) -> String) {
        fs::write(self.config(), change(self.config_text(&self.setup.config))).unwrap();
    }

    /// The configuration, with more lines at its end.
    pub fn config_text(&self, more: &str) -> String {
        let mut text = format!(
            "hostname = {:?}\ndomains = {:?}\nusers = [{:?}]\nuser = {:?}\npostmaster = {:?}\nspool = {:?}\nmail = {:?}\npid_file = {:?}\n",
            self.setup.hostname,
            self.setup.domains,
            self.path("users"),
            self.setup.user.as_deref().unwrap_or(""),
            self.setup.users.first().map_or("root", String::as_str),
            self.spool,
            self.mail,
            self.path("pid"),
        );
        // Those of the host are not ours.
        text += &format!("aliases = {:?}\nvirtual = {:?}\n", self.path("aliases"), self.path("virtual"));
        if self.setup.spool.is_some() || self.setup.user.is_some() {
            // Another daemon may have the same spool, and another account has another default.
            text += &format!("control = {:?}\n", self.path("ctl.sock"));
        }
        for ((_, protocol, tls), address) in LISTENERS.iter().zip(&self.pinned) {
            let address = address.unwrap_or(SocketAddr::new(self.setup.address, 0));
            text += &format!("[[listen]]\naddress = \"{address}\"\nprotocol = \"{protocol}\"\ntls = \"{tls}\"\n");
        }
        // No question leaves this machine: nobody answers there.
        text += "[dns]\nservers = [\"127.0.0.1:9\"]\n[log]\nto = \"stderr\"\nlevel = \"debug\"\n";
        text + more
    }

    /// What it logged so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read(self.path("log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let child = self.child.as_ref().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait_for_end()
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        wait_for("the daemon's end", 60, || child.try_wait().unwrap())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Waits for a line in the log.
    pub fn wait_for_log(&self, seconds: u64, needle: &str) {
        wait_for(&format!("in the log: {needle}"), seconds, || self.log().contains(needle).then_some(()));
    }

    /// Waits until a user has that many messages; gives them.
    pub fn wait_for_mail(&self, user: &str, count: usize, seconds: u64) -> Vec<Vec<u8>> {
        wait_for(&format!("{count} messages for {user}"), seconds, || {
            std::thread::sleep(Duration::from_millis(20));
            Some(self.mail(user)).filter(|messages| messages.len() >= count)
        })
    }
}

/// The same command with a limit on open files.
fn limited(command: &Command, open_files: u64) -> Command {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit -n {open_files}; exec \"$0\" \"$@\""))
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

/// The same command where the shell has mounted something, for it alone.
pub fn with_mounts(command: &Command, mounts: &str) -> Command {
    let mut own = Command::new("unshare");
    let script = format!("{mounts} && exec \"$0\" \"$@\"");
    own.args(["--mount", "sh", "-ec", &script]).arg(command.get_program()).args(command.get_args());
    own
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            note(format!("its log ends:\n  {}", lines[lines.len().saturating_sub(60)..].join("\n  ")));
        }
    }
}
