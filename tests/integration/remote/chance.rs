//! Hosts that fail by chance, at any step of any transaction, of mail that shares connections: whatever they do, each recipient
//! has the message once, or its sender hears once why not. And so it is if the daemon is killed meanwhile, again and again.
//!
//! `PILLARBOX_CHANCE_SEED` says where the chances begin, `PILLARBOX_CHANCE_MESSAGES` how many messages there are.

use super::reports;
use crate::common::{Daemon, Listening, PASSWORD, Random, Setup, Smtp, letter, wait_for, watch_for};
use crate::runner::note;
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

crate::tests![each_has_it_once_or_its_sender_hears_why_not, kills_lose_nothing];

/// What each host offers; the last ones speak LMTP.
const OFFERS: [&str; 6] = [
    "250 8BITMIME",
    "250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE",
    "250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 LIMITS RCPTMAX=2 MAILMAX=3",
    // It takes 7 bits.
    "250-PIPELINING\r\n250 DSN",
    "250 8BITMIME",
    "250-PIPELINING\r\n250 8BITMIME",
];
const FIRST_STORE: usize = 4;

/// Local parts of recipients.
const NAMES: [&str; 3] = ["a", "b", "c"];

fn number_of(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

struct Shared {
    offer: &'static str,
    is_store: bool,
    random: Mutex<Random>,
    is_tame: AtomicBool,
    /// How often a recipient had the message, and was told so.
    taken: Mutex<HashMap<String, usize>>,
    /// Those of whom it said, for good, that they do not get it; and the senders of whom it said so.
    refused: Mutex<HashSet<String>>,
}

/// What is done instead of an answer, or as well.
enum Turn {
    /// Says that, and goes on.
    Say(String),
    /// Says that, and is gone.
    Last(String, bool),
    /// Nothing, until the other side is gone.
    Hang,
}

impl Shared {
    fn turn(&self, usual: &str, may_refuse: bool) -> Turn {
        let mut random = self.random.lock().unwrap();
        let chance = if self.is_tame.load(Ordering::SeqCst) { 0 } else { random.below(1000) };
        let cut = random.below(usual.len());
        match chance {
            0..880 => Turn::Say(usual.to_owned()),
            880..915 => Turn::Say("451 4.3.0 later\r\n".to_owned()),
            915..940 if may_refuse => Turn::Say("550 5.7.1 never\r\n".to_owned()),
            // What comes after a reply to the message answers nothing, or the next one: there it would be a lie.
            915..940 => Turn::Last(usual.repeat(2), false),
            940..955 => Turn::Last("421 4.3.2 busy\r\n".to_owned(), false),
            955..970 => Turn::Last(String::new(), false),
            970..980 => Turn::Last(String::new(), true),
            980..995 => Turn::Last(usual[..cut].to_owned(), random.below(2) == 0),
            _ => Turn::Hang,
        }
    }
}

/// One conversation.
struct Line<'a> {
    shared: &'a Shared,
    out: TcpStream,
    input: BufReader<TcpStream>,
}

impl Line<'_> {
    /// The code of what was said; none: the conversation is over.
    fn answer(&mut self, usual: &str, may_refuse: bool) -> Option<char> {
        match self.shared.turn(usual, may_refuse) {
            Turn::Say(text) => {
                self.out.write_all(text.as_bytes()).ok()?;
                text.chars().next()
            }
            Turn::Last(text, reset) => {
                self.out.write_all(text.as_bytes()).ok()?;
                if reset {
                    let _ = setsockopt(&self.out, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
                }
                None
            }
            Turn::Hang => {
                let _ = std::io::copy(&mut self.input, &mut std::io::sink());
                None
            }
        }
    }

    fn refuse(&self, whom: &str) {
        self.shared.refused.lock().unwrap().insert(whom.to_owned());
    }

    fn talk(&mut self) -> Option<()> {
        self.answer("220 wild.test\r\n", false)?;
        let (mut sender, mut to) = (None, Vec::new());
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let whom = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match line.split([' ', ':', '\r']).next().unwrap_or_default() {
                "EHLO" | "LHLO" => {
                    assert_eq!(line.starts_with('L'), self.shared.is_store);
                    self.answer(&format!("250-wild.test\r\n{}\r\n", self.shared.offer), false)?;
                }
                "MAIL" => match self.answer("250 ok\r\n", true)? {
                    '2' => (sender, to) = (Some(whom), Vec::new()),
                    code => {
                        if code == '5' {
                            self.refuse(&whom);
                        }
                        (sender, to) = (None, Vec::new());
                    }
                },
                "RCPT" if sender.is_none() => self.say("503 from whom?\r\n")?,
                "RCPT" => match self.answer("250 ok\r\n", true)? {
                    '2' => to.push(whom),
                    '5' => self.refuse(&whom),
                    _ => {}
                },
                "DATA" if to.is_empty() => self.say("503 for whom?\r\n")?,
                "DATA" => match self.answer("354 go\r\n", true)? {
                    '3' => {
                        let message = self.read_message()?;
                        self.take(&message, std::mem::take(&mut to))?;
                    }
                    code => self.end(code, &to),
                },
                "BDAT" => {
                    let mut message = vec![0; line.split(' ').nth(1)?.parse().ok()?];
                    self.input.read_exact(&mut message).ok()?;
                    if to.is_empty() {
                        self.say("503 for whom?\r\n")?;
                    } else {
                        self.take(&message, std::mem::take(&mut to))?;
                    }
                }
                "RSET" => {
                    (sender, to) = (None, Vec::new());
                    self.answer("250 ok\r\n", false)?;
                }
                "QUIT" => return self.answer("221 bye\r\n", false).map(drop),
                other => panic!("{other}"),
            }
        }
    }

    fn say(&mut self, text: &str) -> Option<()> {
        self.out.write_all(text.as_bytes()).ok()
    }

    /// What was said to the message, of these.
    fn end(&self, code: char, to: &[String]) {
        for whom in to {
            match code {
                '2' => *self.shared.taken.lock().unwrap().entry(whom.clone()).or_default() += 1,
                '5' => self.refuse(whom),
                _ => {}
            }
        }
    }

    /// It is whole: for each of them its sender has written it so.
    fn take(&mut self, message: &[u8], to: Vec<String>) -> Option<()> {
        let text = String::from_utf8_lossy(message);
        let serial = to[0].split('-').next().unwrap();
        let is_whole = text.trim_end().ends_with("the end") || !self.shared.offer.contains("8BITMIME");
        assert!(text.contains(&format!("\r\nSubject: {serial}\r\n")) && is_whole, "{text:.300}");
        let each = if self.shared.is_store { to.into_iter().map(|one| vec![one]).collect() } else { vec![to] };
        for to in each {
            let code = self.answer("250 2.0.0 taken\r\n", true)?;
            self.end(code, &to);
        }
        Some(())
    }

    fn read_message(&mut self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        while !message.ends_with(b"\r\n.\r\n") {
            if self.input.read_until(b'\n', &mut message).ok()? == 0 {
                return None;
            }
        }
        message.truncate(message.len() - 3);
        Some(message)
    }
}

fn start(number: usize, seed: u64) -> (Arc<Shared>, Listening) {
    let shared = Arc::new(Shared {
        offer: OFFERS[number],
        is_store: number >= FIRST_STORE,
        random: Mutex::new(Random(seed)),
        is_tame: AtomicBool::new(false),
        taken: Mutex::default(),
        refused: Mutex::default(),
    });
    let ours = shared.clone();
    let listening = Listening::on(TcpListener::bind("127.0.0.1:0").unwrap(), move |stream| {
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        stream.set_nodelay(true).ok()?;
        Line { shared: &ours, out: stream.try_clone().ok()?, input: BufReader::new(stream) }.talk()
    });
    (shared, listening)
}

/// Small ones, some of 8 bits, and big ones.
fn text(number: usize) -> String {
    let line = if number.is_multiple_of(3) { "Gr\u{fc}\u{df}e\n" } else { "hello\n.\n" };
    line.repeat(if number.is_multiple_of(11) { 40_000 } else { 1 + number % 50 }) + "the end\n"
}

/// The hosts, a daemon that has mail for them, and whom it is for.
struct Stage {
    hosts: Vec<(Arc<Shared>, Listening)>,
    daemon: Daemon,
    /// Of each message.
    recipients: Vec<Vec<String>>,
}

impl Stage {
    fn begin() -> Stage {
        let seed = number_of("PILLARBOX_CHANCE_SEED", std::process::id() as usize) as u64;
        note(format!("PILLARBOX_CHANCE_SEED={seed}"));
        let hosts: Vec<(Arc<Shared>, Listening)> =
            (0..OFFERS.len()).map(|number| start(number, seed * 100 + number as u64 + 1)).collect();
        let route = |(number, (shared, listening)): (usize, &(Arc<Shared>, Listening))| {
            let way = if shared.is_store { "lmtp" } else { "host" };
            format!("[[route]]\ndomain = \"d{number}.test\"\n{way} = \"{}\"\n", listening.address)
        };
        let routes: String = hosts.iter().enumerate().map(route).collect();
        let more = "[timeouts]\nremote = \"2s\"\n[queue]\nretry = [\"1s\"]\nwarn = \"0s\"\n";
        let daemon = Setup::default().config(&(routes + more)).start();
        let to = |number: usize| NAMES.iter().map(move |name| format!("n{number}-{name}@d{}.test", number % OFFERS.len()));
        let messages = number_of("PILLARBOX_CHANCE_MESSAGES", 120);
        Stage { hosts, daemon, recipients: (0..messages).map(|number| to(number).collect()).collect() }
    }

    fn hand_in(&self) {
        let mut smtp = Smtp::hello(self.daemon.at("submission")).unwrap();
        assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
        for (number, to) in self.recipients.iter().enumerate() {
            let to: Vec<&str> = to.iter().map(String::as_str).collect();
            let letter = letter(&format!("n{number}"), &text(number));
            let reply = smtp.send(&format!("alice+n{number}@here.test"), &to, &letter).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
        }
    }

    /// Copies that were taken so far.
    fn taken(&self) -> usize {
        self.hosts.iter().map(|(shared, _)| shared.taken.lock().unwrap().values().sum::<usize>()).sum()
    }

    /// From now on the hosts are as they should be. For each recipient: how many copies it has, how many reports its sender.
    fn end(&self) -> Vec<(usize, usize)> {
        self.hosts.iter().for_each(|(shared, _)| shared.is_tame.store(true, Ordering::SeqCst));
        wait_for("an empty queue", 100, || self.daemon.queue().is_empty().then_some(()));
        let mail: Vec<String> = self.daemon.mail("alice").iter().map(|mail| String::from_utf8_lossy(mail).into_owned()).collect();
        let mut all = Vec::new();
        for (number, to) in self.recipients.iter().enumerate() {
            let shared = &self.hosts[number % OFFERS.len()].0;
            let (taken, refused) = (shared.taken.lock().unwrap(), shared.refused.lock().unwrap());
            for whom in to {
                let (taken, reports) = (taken.get(whom).copied().unwrap_or_default(), reports(&mail, whom).len());
                assert!(taken + reports > 0, "{whom} has nothing, and nobody hears of that");
                assert!(reports < 2, "{whom} has {taken} copies, its sender {reports} reports");
                let is_refused = refused.contains(whom) || refused.contains(&format!("alice+n{number}@here.test"));
                assert!(reports == 0 || is_refused, "{whom} was refused by nobody");
                all.push((taken, reports));
            }
        }
        all
    }
}

fn each_has_it_once_or_its_sender_hears_why_not() {
    let stage = Stage::begin();
    stage.hand_in();
    wait_for("the most of it", 200, || (stage.daemon.queue().len() <= stage.recipients.len() / 20).then_some(()));
    let all = stage.end();
    assert!(all.iter().all(|(taken, reports)| taken + reports == 1), "{all:?}");
    let arrived = all.iter().filter(|(taken, _)| *taken == 1).count();
    println!("{arrived} have it, {} do not", all.len() - arrived);
    assert!(arrived > 0 && arrived < all.len());
}

/// What was taken just then, and is not written down yet, may be sent a second time; nothing else is.
fn kills_lose_nothing() {
    const KILLS: usize = 8;
    let mut stage = Stage::begin();
    stage.hand_in();
    let all = stage.recipients.len() * NAMES.len();
    for kill in 1..=KILLS {
        watch_for("some more", 100, || (stage.taken() >= kill * all / 12).then_some(()));
        stage.daemon.kill();
        stage.daemon.start();
    }
    let all = stage.end();
    let doubled = all.iter().filter(|(taken, reports)| taken + reports > 1).count();
    println!("{doubled} of {} came again after {KILLS} kills", all.len());
    assert!(doubled < KILLS * 16, "{all:?}");
}
