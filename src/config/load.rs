//! Reads the file, applies `-o key=value`, checks the whole.

use super::read::{Section, Value, choice, list, number, one_or_list, text, text_or_number, wrong};
use super::relay;
use super::report::{Mark, Report, Source};
use super::schema::{
    Allow, Alternative, Checks, Config, DkimKey, Junk, Limits, Listen, Log, Outbound, Queue, Reach, Relay, Screen, Sender,
    Submission, Timeouts, Trust, UserDatabase,
};
use super::{listen, route, values};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Reads a configuration: the file, then each `key=value` on top of it. Without a file name the standard one is read if it is there.
/// Relative paths in it are relative to the file's directory.
pub fn load(file: Option<&Path>, options: &[String]) -> Result<Config, Report> {
    from_content(file, &content(file)?, options)
}

/// What stands in the file.
pub fn content(file: Option<&Path>) -> Result<String, Report> {
    let path = file.unwrap_or(Path::new(super::DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(content) => Ok(content),
        Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Report::of(format!("{}: {error}", path.display()))),
    }
}

/// As [`load`], with what [`content`] gave.
pub fn from_content(file: Option<&Path>, content: &str, options: &[String]) -> Result<Config, Report> {
    let path = file.unwrap_or(Path::new(super::DEFAULT_FILE));
    let name = path.display().to_string();
    let absolute = std::path::absolute(path).map_err(|error| Report::of(format!("{name}: {error}")))?;
    from_text(&name, content, absolute.parent().unwrap_or(Path::new("/")), options)
}

/// Reads a configuration from memory. `name` stands in errors, `base` is where relative paths begin.
pub fn from_text(name: &str, content: &str, base: &Path, options: &[String]) -> Result<Config, Report> {
    let mut report = Report::default();
    let mut draft = Draft::new(base);
    draft.apply(&Source { name, text: content, is_file: true }, &mut report);
    for option in options {
        let label = format!("-o {option}");
        match option_as_document(option) {
            Some(document) => draft.apply(&Source { name: &label, text: &document, is_file: false }, &mut report),
            None => report.add(&Source { name: &label, text: "", is_file: false }, 0..0, "expected KEY=VALUE"),
        }
    }
    let config = draft.finish(&mut report);
    if report.is_empty() { Ok(config) } else { Err(report) }
}

/// `key=value` as a document. A value that is not TOML, and does not try to be, is a string.
fn option_as_document(option: &str) -> Option<String> {
    let (key, value) = option.split_once('=')?;
    let key_ok = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if !key_ok {
        return None;
    }
    let document = format!("{key} = {value}");
    let looks_like_toml = value.starts_with(['[', '{', '"', '\'']);
    if looks_like_toml || DeTable::parse(&document).is_ok() {
        return Some(document);
    }
    Some(format!("{key} = {}", toml::Value::String(value.to_owned())))
}

/// A configuration on its way: what depends on other keys is not decided yet.
struct Draft {
    base: PathBuf,
    config: Config,
    hostname: Option<String>,
    users: Option<(Vec<UserDatabase>, Mark)>,
    domains: Option<Vec<String>>,
    control: Option<PathBuf>,
    pid_file: Option<Option<PathBuf>>,
    certificate: Option<(PathBuf, Mark)>,
    key: Option<(PathBuf, Mark)>,
    listen: Option<Vec<(Listen, Mark)>>,
    relays: Vec<(Relay, Mark)>,
    per_service: Option<usize>,
}

impl Draft {
    /// Everything at its default.
    fn new(base: &Path) -> Draft {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let config = Config {
            hostname: String::new(),
            domains: Vec::new(),
            users: vec![UserDatabase::File(base.join("users"))],
            user: "pillarbox".into(),
            min_uid: 1000,
            postmaster: "root".into(),
            aliases: Some("/etc/aliases".into()),
            virtual_addresses: None,
            alias_user: "nobody".into(),
            lists: None,
            webmail_url: None,
            detail_folders: false,
            junk: Junk::Off,
            srs: true,
            spool: "/var/spool/pillarbox".into(),
            mail: "/var/mail".into(),
            pid_file: None,
            control: PathBuf::new(),
            listen: Vec::new(),
            tls: None,
            plaintext_always: false,
            unauthenticate: true,
            limits: Limits {
                sessions: 2000,
                per_service: 0,
                per_network: 50,
                recipients: 1000,
                errors: 10,
                min_free: 50 << 20,
                quota: 0,
            },
            timeouts: Timeouts {
                idle: minutes(10),
                command: minutes(5),
                data: minutes(3),
                remote: minutes(10),
                program: minutes(15),
                stop: Duration::from_secs(30),
            },
            max_message_size: 50 << 20,
            relay_networks: Vec::new(),
            queue: Queue {
                retry: [30, 60, 120, 240].map(minutes).to_vec(),
                lifetime: minutes(5 * 24 * 60),
                warn: minutes(4 * 60),
                smarthost: None,
                fallback: None,
                smtp_port: 25,
                workers: 16,
                per_destination: 4,
            },
            submission: Submission { any_sender: false, longest_wait: minutes(30 * 24 * 60), per_hour: 0, per_day: 0 },
            screen: Screen { blocklists: Vec::new(), greylist: false, greylist_wait: minutes(5), per_network: 0, per_sender: 0 },
            allow: Allow::default(),
            senders: Vec::new(),
            alternatives: Vec::new(),
            routes: Vec::new(),
            relays: Vec::new(),
            dns_servers: Vec::new(),
            trust_ad: Trust::Local,
            outbound: Outbound { dane: true, mta_sts: true, ca: None, mta_sts_port: 443, unsubscribe: Reach::Internet },
            checks: Checks { verify: true, obey_dmarc: false, report_dmarc: false },
            dkim: Vec::new(),
            log: Log { syslog: true, level: log::LevelFilter::Info },
        };
        Draft {
            base: base.to_owned(),
            config,
            hostname: None,
            users: None,
            domains: None,
            control: None,
            pid_file: None,
            certificate: None,
            key: None,
            listen: None,
            relays: Vec::new(),
            per_service: None,
        }
    }

    /// Takes over all that a document says.
    fn apply(&mut self, source: &Source<'_>, all: &mut Report) {
        let mut report = Report::default();
        self.read(source, &mut report);
        all.append(report);
    }

    fn read(&mut self, source: &Source<'_>, report: &mut Report) {
        let (document, errors) = DeTable::parse_recoverable(source.text);
        for error in &errors {
            report.add(source, error.span().unwrap_or(0..0), error.message());
        }
        if !errors.is_empty() {
            return;
        }
        let whole = Section::whole(source, document.get_ref());
        whole.refuse_unknown(report);
        self.apply_top(&whole, report);
        self.apply_tables(&whole, report);
        self.apply_lists(&whole, report);
    }

    fn apply_top(&mut self, top: &Section<'_, '_>, report: &mut Report) {
        let Draft { base, config, .. } = self;
        let path = |value: &Value<'_>| text(value, |given| resolve(base, given));
        let path_or_none = |v: &Value<'_>| text(v, |given| (!given.is_empty()).then(|| resolve(base, given)).transpose());
        top.set("hostname", &mut self.hostname, report, |v| text(v, values::domain_name).map(Some));
        top.set("domains", &mut self.domains, report, |v| {
            list(v, |item| text(item, |name| Ok(values::domain_name(name)?.to_ascii_lowercase()))).map(Some)
        });
        top.set("users", &mut self.users, report, |v| {
            Ok(Some((one_or_list(v, |item| text(item, |given| user_database(base, given)))?, top.mark(v.span()))))
        });
        top.set("user", &mut config.user, report, |v| text(v, |name| Ok(name.to_owned())));
        top.set("min_uid", &mut config.min_uid, report, |v| {
            number(v, 0..=i64::from(u32::MAX)).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
        });
        top.set("postmaster", &mut config.postmaster, report, |v| {
            text(v, |name| match name.contains(char::is_whitespace) || name.is_empty() {
                true => Err("expected the name of a user, or an address".into()),
                false => Ok(name.to_owned()),
            })
        });
        top.set("spool", &mut config.spool, report, path);
        top.set("mail", &mut config.mail, report, path);
        top.set("control", &mut self.control, report, |v| path(v).map(Some));
        top.set("pid_file", &mut self.pid_file, report, |v| path_or_none(v).map(Some));
        top.set("aliases", &mut config.aliases, report, path_or_none);
        top.set("virtual", &mut config.virtual_addresses, report, path_or_none);
        top.set("alias_user", &mut config.alias_user, report, |v| {
            text(v, |name| match name {
                "" | "root" => Err("expected the name of an account that is not root".into()),
                name => Ok(name.to_owned()),
            })
        });
        top.set("lists", &mut config.lists, report, |v| path(v).map(Some));
        top.set("webmail_url", &mut config.webmail_url, report, |v| text(v, values::https).map(Some));
        top.set("detail", &mut config.detail_folders, report, |v| choice(v, &[("inbox", false), ("folder", true)]));
        let ways = [("off", Junk::Off), ("mark", Junk::Mark), ("file", Junk::File)];
        top.set("junk", &mut config.junk, report, |v| choice(v, &ways));
        top.set("srs", &mut config.srs, report, |v| choice(v, &[("on", true), ("off", false)]));
    }

    fn apply_tables(&mut self, top: &Section<'_, '_>, report: &mut Report) {
        let Draft { base, config, .. } = self;
        let count = |v: &Value<'_>| number(v, 1..=100_000).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let span = |v: &Value<'_>| text(v, |given| positive(values::duration(given)?));
        let port = |v: &Value<'_>| number(v, 1..=65_535).map(|port| u16::try_from(port).unwrap_or(u16::MAX));
        let any_span = |v: &Value<'_>| text(v, values::duration);
        if let Some(tls) = top.table("tls.", report) {
            tls.refuse_unknown(report);
            let marked = |v: &Value<'_>| Ok(Some((text(v, |given| resolve(base, given))?, tls.mark(v.span()))));
            tls.set("certificate", &mut self.certificate, report, marked);
            tls.set("key", &mut self.key, report, marked);
        }
        if let Some(auth) = top.table("auth.", report) {
            auth.refuse_unknown(report);
            let words = [("tls", false), ("always", true)];
            auth.set("plaintext", &mut config.plaintext_always, report, |v| choice(v, &words));
            auth.set("unauthenticate", &mut config.unauthenticate, report, |v| choice(v, &ON_OFF));
        }
        if let Some(limits) = top.table("limits.", report) {
            limits.refuse_unknown(report);
            limits.set("sessions", &mut config.limits.sessions, report, count);
            limits.set("per_service", &mut self.per_service, report, |v| count(v).map(Some));
            limits.set("per_network", &mut config.limits.per_network, report, count);
            limits.set("recipients", &mut config.limits.recipients, report, count);
            limits.set("errors", &mut config.limits.errors, report, count);
            limits.set("min_free", &mut config.limits.min_free, report, |v| text_or_number(v, values::size));
            limits.set("quota", &mut config.limits.quota, report, |v| text_or_number(v, values::size));
        }
        if let Some(timeouts) = top.table("timeouts.", report) {
            timeouts.refuse_unknown(report);
            timeouts.set("idle", &mut config.timeouts.idle, report, span);
            timeouts.set("command", &mut config.timeouts.command, report, span);
            timeouts.set("data", &mut config.timeouts.data, report, span);
            timeouts.set("remote", &mut config.timeouts.remote, report, span);
            timeouts.set("program", &mut config.timeouts.program, report, span);
            timeouts.set("stop", &mut config.timeouts.stop, report, any_span);
        }
        if let Some(smtp) = top.table("smtp.", report) {
            smtp.refuse_unknown(report);
            smtp.set("max_message_size", &mut config.max_message_size, report, |v| {
                text_or_number(v, |given| match values::size(given)? {
                    0..1024 => Err(format!("`{given}` is too small; a message needs 1K at least")),
                    size => Ok(size),
                })
            });
            smtp.set("relay_networks", &mut config.relay_networks, report, |v| list(v, |item| text(item, values::network)));
        }
        if let Some(submission) = top.table("submission.", report) {
            submission.refuse_unknown(report);
            let most = |v: &Value<'_>| number(v, 0..=1_000_000_000).map(|n| u64::try_from(n).unwrap_or(0));
            submission.set("senders", &mut config.submission.any_sender, report, |v| choice(v, &[("own", false), ("any", true)]));
            submission.set("longest_wait", &mut config.submission.longest_wait, report, any_span);
            submission.set("per_hour", &mut config.submission.per_hour, report, most);
            submission.set("per_day", &mut config.submission.per_day, report, most);
        }
        if let Some(screen) = top.table("screen.", report) {
            screen.refuse_unknown(report);
            let most = |v: &Value<'_>| number(v, 0..=1_000_000_000).map(|n| u64::try_from(n).unwrap_or(0));
            let zone = |v: &Value<'_>| text(v, |name| Ok(values::domain_name(name)?.to_ascii_lowercase()));
            screen.set("blocklists", &mut config.screen.blocklists, report, |v| one_or_list(v, zone));
            screen.set("greylist", &mut config.screen.greylist, report, |v| choice(v, &ON_OFF));
            screen.set("greylist_wait", &mut config.screen.greylist_wait, report, span);
            screen.set("per_network", &mut config.screen.per_network, report, most);
            screen.set("per_sender", &mut config.screen.per_sender, report, most);
        }
        if let Some(allow) = top.table("allow.", report) {
            allow.refuse_unknown(report);
            allow.set("networks", &mut config.allow.networks, report, |v| one_or_list(v, |item| text(item, values::network)));
            allow.set("senders", &mut config.allow.senders, report, |v| one_or_list(v, |item| text(item, values::sender)));
        }
        if let Some(queue) = top.table("queue.", report) {
            queue.refuse_unknown(report);
            queue.set("retry", &mut config.queue.retry, report, |v| match one_or_list(v, span)? {
                none if none.is_empty() => Err(wrong(v, "one waiting time at least must be given")),
                some => Ok(some),
            });
            queue.set("lifetime", &mut config.queue.lifetime, report, span);
            queue.set("warn", &mut config.queue.warn, report, any_span);
            let host =
                |v: &Value<'_>| text(v, |given| if given.is_empty() { Ok(None) } else { values::host_and_port(given).map(Some) });
            queue.set("smarthost", &mut config.queue.smarthost, report, host);
            queue.set("fallback", &mut config.queue.fallback, report, host);
            queue.set("smtp_port", &mut config.queue.smtp_port, report, port);
            queue.set("workers", &mut config.queue.workers, report, count);
            queue.set("per_destination", &mut config.queue.per_destination, report, count);
        }
        if let Some(outbound) = top.table("outbound.", report) {
            outbound.refuse_unknown(report);
            outbound.set("dane", &mut config.outbound.dane, report, |v| choice(v, &ON_OFF));
            outbound.set("mta_sts", &mut config.outbound.mta_sts, report, |v| choice(v, &ON_OFF));
            outbound.set("ca", &mut config.outbound.ca, report, |v| text(v, |given| resolve(base, given).map(Some)));
            outbound.set("mta_sts_port", &mut config.outbound.mta_sts_port, report, port);
            let words = [("off", Reach::Nowhere), ("internet", Reach::Internet), ("anywhere", Reach::Anywhere)];
            outbound.set("unsubscribe", &mut config.outbound.unsubscribe, report, |v| choice(v, &words));
        }
        if let Some(trust) = top.table("trust.", report) {
            trust.refuse_unknown(report);
            trust.set("verify", &mut config.checks.verify, report, |v| choice(v, &ON_OFF));
            trust.set("dmarc", &mut config.checks.obey_dmarc, report, |v| choice(v, &[("mark", false), ("reject", true)]));
            trust.set("dmarc_reports", &mut config.checks.report_dmarc, report, |v| choice(v, &ON_OFF));
        }
        if let Some(dns) = top.table("dns.", report) {
            dns.refuse_unknown(report);
            let words = [("local", Trust::Local), ("always", Trust::Always), ("never", Trust::Never)];
            dns.set("trust_ad", &mut config.trust_ad, report, |v| choice(v, &words));
            dns.set("servers", &mut config.dns_servers, report, |v| one_or_list(v, |item| text(item, values::name_server)));
        }
        if let Some(log) = top.table("log.", report) {
            log.refuse_unknown(report);
            log.set("to", &mut config.log.syslog, report, |v| choice(v, &[("syslog", true), ("stderr", false)]));
            log.set("level", &mut config.log.level, report, |v| choice(v, &LEVELS));
        }
    }

    fn apply_lists(&mut self, top: &Section<'_, '_>, report: &mut Report) {
        if let Some(sections) = top.tables("listen.", report) {
            self.listen = Some(sections.iter().filter_map(|section| listen::listener(section, &self.base, report)).collect());
        }
        if let Some(sections) = top.tables("route.", report) {
            let mut seen = HashSet::new();
            self.config.routes.clear();
            for section in sections {
                self.config.routes.extend(route::route(&section, &self.base, &mut seen, report));
            }
        }
        if let Some(sections) = top.tables("sender.", report) {
            self.config.senders.clear();
            for section in sections {
                section.refuse_unknown(report);
                let user = section.must("user", report, |v| text(v, |name| Ok(name.to_owned())));
                let addresses = section.must("addresses", report, |v| one_or_list(v, |item| text(item, values::sender)));
                if let (Some(user), Some(addresses)) = (user, addresses) {
                    self.config.senders.push(Sender { user, addresses });
                }
            }
        }
        if let Some(sections) = top.tables("alternative.", report) {
            self.config.alternatives.clear();
            for section in sections {
                section.refuse_unknown(report);
                let address = section.must("address", report, |v| text(v, values::sender));
                let to = section.must("to", report, |v| {
                    text(v, |given| match values::sender(given)?.contains('@') {
                        true => Ok(given.to_owned()),
                        false => Err(format!("`{given}` is not an address such as `user@example.org`")),
                    })
                });
                let mut after = None;
                section.set("after", &mut after, report, |v| text(v, |given| values::duration(given).map(Some)));
                if let (Some(address), Some(to)) = (address, to) {
                    self.config.alternatives.push(Alternative { address, to, after });
                }
            }
            // What is said of an address goes before what is said of its domain.
            self.config.alternatives.sort_by_key(|one| !one.address.contains('@'));
        }
        if let Some(sections) = top.tables("dkim.", report) {
            self.config.dkim.clear();
            for section in sections {
                section.refuse_unknown(report);
                let name = |v: &Value<'_>| text(v, |given| Ok(values::domain_name(given)?.to_ascii_lowercase()));
                let domain = section.must("domain", report, name);
                let selector = section.must("selector", report, name);
                let key = section.must("key", report, |v| text(v, |given| resolve(&self.base, given)));
                if let (Some(domain), Some(selector), Some(key)) = (domain, selector, key) {
                    self.config.dkim.push(DkimKey { domain, selector, key });
                }
            }
        }
        if let Some(sections) = top.tables("relay.", report) {
            self.relays.clear();
            for section in sections {
                let relay = relay::relay(&section, &self.base, &self.relays, report);
                self.relays.extend(relay);
            }
        }
    }

    /// Decides what depends on other keys.
    fn finish(self, report: &mut Report) -> Config {
        let mut config = self.config;
        config.hostname = self.hostname.unwrap_or_else(host_name);
        if let Some((users, mark)) = self.users {
            config.users = users;
            if config.user.is_empty() && config.has_system_users() {
                report.add_at(
                    &mark,
                    "users of the system need a daemon that root starts, and `user` to name the account it then runs as",
                );
            }
        }
        config.domains = self.domains.unwrap_or_else(|| vec![config.hostname.to_ascii_lowercase()]);
        let run = if config.user.is_empty() { config.spool.clone() } else { PathBuf::from("/run/pillarbox") };
        config.control = self.control.unwrap_or_else(|| run.join("ctl.sock"));
        config.pid_file = self.pid_file.unwrap_or_else(|| Some(run.join("pid")));
        config.limits.per_service = self.per_service.unwrap_or(config.limits.sessions.div_ceil(4) * 3);
        config.tls = match (self.certificate, self.key) {
            (Some((certificate, _)), Some((key, _))) => Some((certificate, key)),
            (Some((_, mark)), None) => {
                report.add_at(&mark, "`tls.key` must be given too, or neither of the two for a self-signed certificate");
                None
            }
            (None, Some((_, mark))) => {
                report.add_at(&mark, "`tls.certificate` must be given too, or neither of the two for a self-signed one");
                None
            }
            (None, None) => None,
        };
        config.listen = match self.listen {
            Some(listeners) => {
                listen::refuse_twice(&listeners, &config.control, report);
                listeners.into_iter().map(|(listen, _)| listen).collect()
            }
            None => listen::default_listeners(),
        };
        listen::add_submit_socket(&mut config.listen, &config.control);
        relay::refuse_unused(&self.relays, &config, report);
        config.relays = self.relays.into_iter().map(|(relay, _)| relay).collect();
        config
    }
}

const ON_OFF: [(&str, bool); 2] = [("on", true), ("off", false)];

const LEVELS: [(&str, log::LevelFilter); 5] = [
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
];

/// A path as it is given, from the file's directory.
pub(super) fn resolve(base: &Path, given: &str) -> Result<PathBuf, String> {
    if given.is_empty() { Err("expected a path".into()) } else { Ok(base.join(given)) }
}

fn user_database(base: &Path, given: &str) -> Result<UserDatabase, String> {
    match given {
        "system" => Ok(UserDatabase::System),
        path => resolve(base, path).map(UserDatabase::File),
    }
}

fn positive(span: Duration) -> Result<Duration, String> {
    if span.is_zero() { Err("must be longer than zero".into()) } else { Ok(span) }
}

/// What the system calls itself; `localhost` if that is not a name mail can use.
fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.and_then(|name| values::domain_name(&name).ok()).unwrap_or_else(|| "localhost".into())
}
