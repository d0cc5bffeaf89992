//! MAIL and RCPT: the envelope (RFC 5321 §3.3).

use super::policy;
use super::screen::{self, Screened, Stranger};
use super::session::Session;
use crate::auth::Shown;
use crate::delivery::Route;
use crate::mail::{Address, Domain, Envelope, Origin, Recipient, ReversePath};
use crate::net::Peer;
use crate::smtp::command::{ForwardPath, Mail, Rcpt};
use crate::smtp::reply::{self, Reply};
use crate::sys::counters;
use std::time::Duration;

/// An envelope that is being written.
#[derive(Debug)]
pub(super) struct Transaction {
    pub envelope: Envelope,
    /// RCPT commands that were answered 250: more than recipients, if some were named twice.
    pub accepted: usize,
    /// Bytes, as MAIL said.
    pub size: Option<u64>,
    /// When MAIL came, by [`crate::sys::Clock::elapsed`].
    pub begun: Duration,
}

impl Session<'_> {
    /// MAIL: begins a transaction.
    pub(super) fn mail(&mut self, mail: Mail) -> Reply {
        let config = &self.server.config;
        let allowed = policy::may_send(&self.client(), config, mail.size);
        if let Err(refusal) = allowed.and_then(|()| policy::may_come_from(&mail.reverse_path, mail.utf8)) {
            return self.refuse("mail", mail.reverse_path.to_string(), refusal);
        }
        if let Err(refusal) = policy::may_be_secret(&self.client(), mail.require_tls) {
            return self.refuse("mail", mail.reverse_path.to_string(), refusal);
        }
        let now = self.server.clock.now();
        if let Err(refusal) = policy::may_wait(&self.client(), config, mail.release.as_ref(), now) {
            return self.refuse("mail", mail.reverse_path.to_string(), refusal);
        }
        if let Err(refusal) = self.check_sender(&mail.reverse_path) {
            return self.refuse("mail", mail.reverse_path.to_string(), refusal);
        }
        if !self.server.post.has_room() {
            return self.refuse("mail", mail.reverse_path.to_string(), reply::NO_ROOM);
        }
        let origin = self.login.clone().map_or(Origin::Network, Origin::User);
        let Mail { reverse_path, size, body, utf8, dsn, require_tls, release } = mail;
        let envelope = Envelope { reverse_path, recipients: Vec::new(), body, utf8, dsn, require_tls, release, origin };
        self.transaction = Some(Transaction { envelope, accepted: 0, size, begun: self.server.clock.elapsed() });
        reply::SENDER_OK
    }

    /// RCPT: adds a recipient, if it exists and may be reached by this client.
    pub(super) fn rcpt(&mut self, Rcpt { path, dsn }: Rcpt) -> Reply {
        let server = self.server;
        let address = match self.full(path) {
            Ok(address) => address,
            Err(refusal) => return refusal,
        };
        let open = self.transaction.as_ref().map(|open| &open.envelope);
        let (count, utf8) = open.map_or((0, false), |envelope| (envelope.recipients.len(), envelope.utf8));
        let allowed = policy::may_add(count, &self.client(), &server.config).and_then(|()| policy::may_go_to(&address, utf8));
        let verdict = allowed.and_then(|()| {
            let route = server.post.route(&address).map_err(|error| {
                log::error!(
                    "session={} smtp route to=<{}> error={:?}",
                    self.name,
                    Shown(&address.to_string()),
                    error.to_string()
                );
                reply::LOCAL_ERROR
            })?;
            policy::may_reach(&self.client(), &server.config, &address, &route)?;
            match route {
                Route::Local(account) if server.post.is_over_quota(&account) => Err(reply::OVER_QUOTA),
                _ if !self.may_send_more() => Err(reply::SENT_TOO_MUCH),
                route => Ok(route),
            }
        });
        if verdict.is_ok()
            && let Err(refusal) = self.screen(&address)
        {
            return refusal;
        }
        match (verdict, &mut self.transaction) {
            (Ok(route), Some(open)) => {
                open.accepted += 1;
                let recipients = &mut open.envelope.recipients;
                // Who is named twice gets one copy, and what was said first holds.
                if !recipients.iter().any(|other| is_same(&other.address, &address, &route)) {
                    recipients.push(Recipient { dsn, ..Recipient::from(address) });
                }
                reply::RECIPIENT_OK
            }
            (Ok(_), None) => reply::MAIL_FIRST,
            (Err(refusal), _) => {
                self.slow_down(&refusal);
                self.refuse("rcpt", address.to_string(), refusal)
            }
        }
    }

    /// What a stranger must pass.
    fn screen(&mut self, recipient: &Address) -> Result<(), Reply> {
        let server = self.server;
        let (config, screen) = (&server.config, &server.screen);
        let sender = self.transaction.as_ref().map(|open| &open.envelope.reverse_path);
        let (Some(address), Some(sender)) = (policy::stranger(&self.client(), config), sender) else { return Ok(()) };
        if screen::is_for_complaints(recipient) || policy::is_allowed_sender(config, sender) {
            return Ok(());
        }
        let listed = self.listed.get_or_insert_with(|| screen.listed(config, address)).clone();
        let admitted = listed.map_or_else(|| screen.admit(config, &Stranger { address, sender, recipient }), Err);
        screen.save_if_old();
        admitted.map_err(|Screened { reply, rule }| {
            counters::STRANGERS_REFUSED.count();
            let (session, from, to) =
                (self.name, Shown(&sender.to_string()).to_string(), Shown(&recipient.to_string()).to_string());
            log::info!(
                "session={session} smtp screened rule=\"{rule}\" peer={address} from=<{from}> to=<{to}> code={} \
                 allow=\"allow.networks {address} or allow.senders {from}\"",
                reply.code()
            );
            reply
        })
    }

    /// A stranger who guesses addresses waits for the answer.
    fn slow_down(&self, refusal: &Reply) {
        let server = self.server;
        if let (true, Some(address)) = (*refusal == reply::NO_USER, policy::stranger(&self.client(), &server.config)) {
            let delay = server.screen.guessed(address);
            if !delay.is_zero() {
                let _ = server.clock.after(delay).recv();
            }
        }
    }

    /// Is the sender's address one of the login's?
    fn check_sender(&self, sender: &ReversePath) -> Result<(), Reply> {
        let Some(login) = &self.login else { return Ok(()) };
        let server = self.server;
        let owner = |address: &Address| server.post.owner(address, login);
        policy::may_send_as(&self.client(), &server.config, login, sender, owner).unwrap_or_else(|error| {
            log::error!("session={} smtp route error={:?}", self.name, error.to_string());
            Err(reply::LOCAL_ERROR)
        })
    }

    /// Counts a recipient against what the user may send; root is not bounded.
    fn may_send_more(&self) -> bool {
        match (&self.login, self.connection.peer()) {
            (None, _) | (_, Peer::Unix { uid: 0, .. }) => true,
            (Some(login), _) => {
                let server = self.server;
                server.rates.take(login, server.clock.elapsed(), &server.config.submission)
            }
        }
    }

    /// `<postmaster>` is the postmaster of our first domain.
    fn full(&self, path: ForwardPath) -> Result<Address, Reply> {
        match path {
            ForwardPath::Address(address) => Ok(address),
            ForwardPath::Postmaster => {
                let config = &self.server.config;
                let domain = config.domains.first().unwrap_or(&config.hostname);
                Address::new("postmaster", Domain::Name(domain.clone())).map_err(|_| reply::LOCAL_ERROR)
            }
        }
    }

    fn refuse(&self, verb: &str, address: String, refusal: Reply) -> Reply {
        counters::ADDRESSES_REFUSED.count();
        let (session, address) = (self.name, Shown(&address));
        log::info!(
            "session={session} smtp {verb} refused address=<{address}> code={} reason={:?}",
            refusal.code(),
            refusal.text()
        );
        refusal
    }
}

/// One recipient, as far as we can tell: names of our users are compared without regard to case, others' are not ours to know.
fn is_same(one: &Address, other: &Address, route: &Route) -> bool {
    let locals = match route {
        Route::Local(_) | Route::Expand => one.local().eq_ignore_ascii_case(other.local()),
        _ => one.local() == other.local(),
    };
    locals && one.domain().key() == other.domain().key()
}
