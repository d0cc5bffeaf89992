//! Who is logged in: what a browser's cookie stands for. Pure but for its lock and its source of random numbers; a restart
//! forgets all of them.

use crate::auth::Login;
use crate::host::Account;
use crate::httpd::Request;
use crate::mailbox::{FolderName, Uid};
use crate::net::Peer;
use base64::engine::{Engine, general_purpose::URL_SAFE_NO_PAD};
use ring::digest;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A visit ends when nothing was asked for so long.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// And this long after the login.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Of one user; the one that was idle longest makes room.
const MOST_OF_ONE: usize = 32;
/// Forms of one visit that are known to be sent.
const MOST_SPENT: usize = 100;

/// Bytes that are kept of what a browser calls itself.
const LONGEST_AGENT: usize = 300;

/// Who sits there.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    /// The address the login came from.
    pub from: String,
    /// What the browser calls itself (RFC 9110 §10.1.5).
    pub agent: String,
}

impl Client {
    pub(super) fn of(request: &Request<'_>) -> Client {
        let from = match request.peer() {
            Peer::Tcp(address) => address.ip().to_string(),
            Peer::Unix { .. } => "this host".to_owned(),
        };
        let agent = request.head.field("user-agent").unwrap_or_default();
        Client { from, agent: agent.chars().filter(|char| !char.is_control()).take(LONGEST_AGENT).collect() }
    }
}

/// One login of one browser.
#[derive(Debug)]
pub struct Visit {
    login: Login,
    /// Names it to its user, and is good for nothing else.
    id: String,
    client: Client,
    form_token: String,
    begun: Duration,
    seen: Mutex<Duration>,
    /// Forms that were sent, the last ones.
    spent: Mutex<VecDeque<String>>,
    found: Mutex<Option<Found>>,
}

/// What a search came to, as its list was shown last: who goes through it from message to message sees it as it was then, though
/// to read one may change what it comes to.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub folder: FolderName,
    /// The folder's UIDVALIDITY.
    pub validity: u32,
    /// What was searched for.
    pub text: String,
    /// From the top of the list.
    pub uids: Arc<[Uid]>,
}

/// All there are. A cookie is known by its digest only: who reads this memory can't be anybody by it.
#[derive(Debug, Default)]
pub struct Visits {
    open: Mutex<HashMap<Vec<u8>, Arc<Visit>>>,
}

impl Visit {
    /// Whose mail this is.
    pub(super) fn account(&self) -> &Account {
        self.login.account()
    }

    /// What each form must bring back.
    pub(super) fn form_token(&self) -> &str {
        &self.form_token
    }

    /// Did this form come from one of our pages?
    pub(super) fn owns(&self, token: &str) -> bool {
        // Of digests nobody learns by time how far he was right.
        key(token) == key(&self.form_token)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// When it began, as the clock's `elapsed` tells.
    pub(super) fn begun(&self) -> Duration {
        self.begun
    }

    /// Names a form that is to be sent once only, so that two clicks do not send two messages.
    pub(super) fn once(&self) -> String {
        secret().unwrap_or_default()
    }

    /// That form was sent.
    pub(super) fn spend(&self, form: &str) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= MOST_SPENT {
            spent.pop_front();
        }
        spent.push_back(form.to_owned());
    }

    /// Was it?
    pub(super) fn is_spent(&self, form: &str) -> bool {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|known| known == form)
    }

    /// The last search is remembered.
    pub(super) fn keep_found(&self, found: Found) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// It, if it was this one.
    pub(super) fn found(&self, folder: &FolderName, validity: u32, text: &str) -> Option<Arc<[Uid]>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |found: &&Found| found.folder == *folder && found.validity == validity && found.text == text;
        found.as_ref().filter(is_it).map(|found| found.uids.clone())
    }

    /// When something was last asked for.
    pub(super) fn seen(&self) -> Duration {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.seen()) >= IDLE || now.saturating_sub(self.begun) >= LONGEST
    }
}

impl Visits {
    /// Begins one; gives its cookie, which nobody can guess.
    pub(super) fn open(&self, login: Login, client: Client, now: Duration) -> io::Result<String> {
        let (cookie, form_token, id) = (secret()?, secret()?, secret()?);
        let mut open = self.lock();
        open.retain(|_, visit| !visit.is_over(now));
        let user = &login.account().name;
        let own = || open.iter().filter(|(_, visit)| visit.account().name == *user);
        if own().count() >= MOST_OF_ONE {
            let oldest = own().min_by_key(|(_, visit)| visit.seen()).map(|(key, _)| key.clone());
            oldest.and_then(|key| open.remove(&key));
        }
        open.insert(
            key(&cookie),
            Arc::new(Visit {
                login,
                id,
                client,
                form_token,
                begun: now,
                seen: Mutex::new(now),
                spent: Mutex::default(),
                found: Mutex::default(),
            }),
        );
        Ok(cookie)
    }

    /// The visit of a cookie, which goes on.
    pub(super) fn find(&self, cookie: &str, now: Duration) -> Option<Arc<Visit>> {
        let visit = self.lock().get(&key(cookie)).filter(|visit| !visit.is_over(now)).cloned()?;
        *visit.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Some(visit)
    }

    /// Does it still go on?
    pub(super) fn has(&self, visit: &Visit, now: Duration) -> bool {
        !visit.is_over(now) && self.lock().values().any(|open| open.id == visit.id)
    }

    /// Ends one.
    pub(super) fn close(&self, cookie: &str) {
        self.lock().remove(&key(cookie));
    }

    /// A user's own, the one that was seen last first.
    pub(super) fn of(&self, account: &Account, now: Duration) -> Vec<Arc<Visit>> {
        let open = self.lock();
        let own = open.values().filter(|visit| visit.account().name == account.name && !visit.is_over(now));
        let mut own: Vec<Arc<Visit>> = own.cloned().collect();
        own.sort_by_key(|visit| std::cmp::Reverse(visit.seen()));
        own
    }

    /// Ends those of a user's own that are meant; gives how many.
    pub(super) fn close_of(&self, account: &Account, is_meant: impl Fn(&Visit) -> bool) -> usize {
        let mut open = self.lock();
        let before = open.len();
        open.retain(|_, visit| visit.account().name != account.name || !is_meant(visit));
        before - open.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Visit>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Text that nobody can guess.
pub(super) fn secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn key(cookie: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, cookie.as_bytes()).as_ref().to_vec()
}
