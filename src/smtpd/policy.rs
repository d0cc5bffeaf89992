//! May I? Every answer is a permission or the reply that refuses it. Nothing here does anything.

use crate::config::Protocol;
use crate::config::schema::Config;
use crate::delivery::{MOST_RECIPIENTS, Route};
use crate::mail::{Address, Release, ReversePath};
use crate::net::Peer;
use crate::smtp::reply::{self, Reply};
use crate::sys::Time;
use std::net::IpAddr;
use std::time::Duration;

/// Who asks, and how.
#[derive(Copy, Clone, Debug)]
pub(super) struct Client<'a> {
    /// At the other end.
    pub peer: &'a Peer,
    /// Of the listener.
    pub protocol: Protocol,
    /// TLS is up.
    pub encrypted: bool,
    /// STARTTLS can be had.
    pub starttls: bool,
    /// Somebody has logged in.
    pub logged_in: bool,
}

impl Client<'_> {
    /// Would a password be seen by nobody else, or may it be?
    fn is_private(&self, config: &Config) -> bool {
        self.encrypted || config.plaintext_always || self.peer.is_here()
    }
}

/// Is AUTH offered? Only where our users hand in their mail: on the port for other hosts it would serve guessers alone
/// (RFC 6409 §3.1, §4.3).
pub(super) fn offers_login(client: &Client<'_>, config: &Config) -> bool {
    client.protocol == Protocol::Submission && client.is_private(config) && matches!(client.peer, Peer::Tcp(_))
}

/// AUTH (RFC 4954 §4).
pub(super) fn may_log_in(client: &Client<'_>, config: &Config) -> Result<(), Reply> {
    match client {
        Client { logged_in: true, .. } => Err(reply::LOGGED_IN_ALREADY),
        Client { protocol: Protocol::Submission, .. } if client.is_private(config) => Ok(()),
        Client { protocol: Protocol::Submission, .. } => Err(reply::ENCRYPT_FIRST),
        _ => Err(reply::NOT_IMPLEMENTED),
    }
}

/// STARTTLS (RFC 3207 §4).
pub(super) fn may_start_tls(client: &Client<'_>) -> Result<(), Reply> {
    match client {
        Client { encrypted: true, .. } => Err(reply::TLS_ALREADY),
        Client { starttls: false, .. } => Err(reply::NOT_IMPLEMENTED),
        _ => Ok(()),
    }
}

/// MAIL, with the size that was declared (RFC 6409 §4.3, RFC 1870 §6.1).
pub(super) fn may_send(client: &Client<'_>, config: &Config, size: Option<u64>) -> Result<(), Reply> {
    if client.protocol == Protocol::Submission && !client.logged_in {
        let hopeless = !client.is_private(config) && client.starttls;
        return Err(if hopeless { reply::TLS_FIRST } else { reply::LOG_IN_FIRST });
    }
    if size.is_some_and(|size| size > config.max_message_size) { Err(reply::TOO_BIG) } else { Ok(()) }
}

/// MAIL with this sender. An address beyond ASCII goes with SMTPUTF8 alone (RFC 6531 §3.5).
pub(super) fn may_come_from(sender: &ReversePath, utf8: bool) -> Result<(), Reply> {
    if utf8 || sender.is_ascii() { Ok(()) } else { Err(reply::SENDER_NEEDS_UTF8) }
}

/// MAIL with REQUIRETLS, which is offered to those who may say it (RFC 8689 §2).
pub(super) fn may_be_secret(client: &Client<'_>, require_tls: bool) -> Result<(), Reply> {
    if client.encrypted || !require_tls { Ok(()) } else { Err(reply::SECRET_IN_PLAIN) }
}

/// MAIL's rule for addresses, for RCPT.
pub(super) fn may_go_to(recipient: &Address, utf8: bool) -> Result<(), Reply> {
    if utf8 || recipient.is_ascii() { Ok(()) } else { Err(reply::RECIPIENT_NEEDS_UTF8) }
}

/// For how long a message may be kept back, where that can be asked for: where users hand in their mail, and nowhere else
/// (RFC 4865 §4.2).
pub(super) fn longest_wait(client: &Client<'_>, config: &Config) -> Option<Duration> {
    let longest = config.submission.longest_wait;
    (client.protocol == Protocol::Submission && !longest.is_zero()).then_some(longest)
}

/// MAIL with a time before which the message must not leave.
pub(super) fn may_wait(client: &Client<'_>, config: &Config, release: Option<&Release>, now: Time) -> Result<(), Reply> {
    let Some(release) = release else { return Ok(()) };
    let longest = longest_wait(client, config).ok_or(reply::UNKNOWN_PARAMETER)?;
    if release.at(now) > now + longest { Err(reply::BAD_ARGUMENTS) } else { Ok(()) }
}

/// MAIL from this address, on the word of a password (RFC 6409 §6.1). A process of this host may name any sender, as it may to
/// every sendmail: what it runs as stands in the trace field. The null sender is nobody's, and needed for receipts (RFC 8098
/// §3). `owner`: whose mailbox an address leads to, if any.
pub(super) fn may_send_as<E>(
    client: &Client<'_>,
    config: &Config,
    login: &str,
    sender: &ReversePath,
    owner: impl FnOnce(&Address) -> Result<Option<String>, E>,
) -> Result<Result<(), Reply>, E> {
    let Some(address) = sender.0.as_ref() else { return Ok(Ok(())) };
    if config.submission.any_sender || matches!(client.peer, Peer::Unix { .. }) || is_granted(config, login, address) {
        return Ok(Ok(()));
    }
    let is_own = owner(address)?.is_some_and(|owner| owner.eq_ignore_ascii_case(login));
    Ok(if is_own { Ok(()) } else { Err(reply::NOT_YOUR_SENDER) })
}

/// Does a `[[sender]]` give this address to the user?
fn is_granted(config: &Config, login: &str, address: &Address) -> bool {
    let mut own = config.senders.iter().filter(|sender| sender.user.eq_ignore_ascii_case(login));
    own.any(|sender| names(&sender.addresses, address))
}

/// Is it one of these addresses, or of one of these domains?
fn names(known: &[String], address: &Address) -> bool {
    let (whole, domain) = (address.key(), address.domain().key());
    known.iter().any(|known| *known == whole || *known == domain)
}

/// Recipients of one message. A program of this host that is given a list can't be told to send it in parts.
pub(super) fn most_recipients(peer: &Peer, config: &Config) -> usize {
    match peer {
        Peer::Unix { .. } => config.limits.recipients.max(MOST_RECIPIENTS),
        Peer::Tcp(_) => config.limits.recipients,
    }
}

/// One recipient more.
pub(super) fn may_add(recipients: usize, client: &Client<'_>, config: &Config) -> Result<(), Reply> {
    if recipients >= most_recipients(client.peer, config) { Err(reply::TOO_MANY_RECIPIENTS) } else { Ok(()) }
}

/// RCPT, for an address that leads there. Only who has logged in, or whose network we relay for, reaches other hosts; mail for
/// our domains is for everybody to send, wherever it goes from here.
pub(super) fn may_reach(client: &Client<'_>, config: &Config, address: &Address, route: &Route) -> Result<(), Reply> {
    match route {
        Route::Local(_) | Route::Expand => Ok(()),
        Route::NoUser => Err(reply::NO_USER),
        Route::Remote(_) if client.logged_in || relays_for(config, client.peer) => Ok(()),
        Route::Remote(_) if config.domains.contains(&address.domain().key()) => Ok(()),
        Route::Remote(_) => Err(reply::NO_RELAY),
    }
}

/// Is it somebody we know nothing of? Then its address, for [`super::screen`] and [`crate::trust`].
pub(super) fn stranger(client: &Client<'_>, config: &Config) -> Option<IpAddr> {
    let Peer::Tcp(address) = client.peer else { return None };
    let is_known = client.logged_in || client.peer.is_here() || relays_for(config, client.peer);
    let is_allowed = || config.allow.networks.iter().any(|network| network.contains(address.ip()));
    (client.protocol == Protocol::Smtp && !is_known && !is_allowed()).then(|| address.ip())
}

/// Is mail of this sender taken from anybody? The null sender is nobody.
pub(super) fn is_allowed_sender(config: &Config, sender: &ReversePath) -> bool {
    sender.0.as_ref().is_some_and(|address| names(&config.allow.senders, address))
}

fn relays_for(config: &Config, peer: &Peer) -> bool {
    match peer {
        Peer::Tcp(address) => config.relay_networks.iter().any(|network| network.contains(address.ip())),
        Peer::Unix { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Hop;
    use crate::host::Account;
    use crate::smtpd::tests::config;

    fn local() -> Route {
        Route::Local(Account { name: "alice".into(), uid: 0, gid: 0, home: None })
    }

    fn remote() -> Route {
        Route::Remote(Hop::Domain("elsewhere.test".into()))
    }

    fn peer(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    #[test]
    fn who_may_reach_whom() {
        let config = config("smtp.relay_networks = [\"198.51.100.0/24\", \"2001:db8::/32\"]");
        let table = [
            ("192.0.2.1:1", false, false),
            ("127.0.0.1:1", false, false),
            ("192.0.2.1:1", true, true),
            ("198.51.100.255:1", false, true),
            ("198.51.101.0:1", false, false),
            ("[2001:db8:ffff::1]:1", false, true),
            ("[2001:db9::1]:1", false, false),
            ("[::ffff:198.51.100.1]:1", false, true),
        ];
        for (address, logged_in, relays) in table {
            let peer = peer(address);
            let client = Client { peer: &peer, protocol: Protocol::Smtp, encrypted: false, starttls: true, logged_in };
            let [ours, theirs] = ["x@here.test", "x@elsewhere.test"].map(|address| address.parse().unwrap());
            assert_eq!(may_reach(&client, &config, &ours, &local()), Ok(()), "{address}");
            assert_eq!(may_reach(&client, &config, &ours, &Route::NoUser), Err(reply::NO_USER), "{address}");
            assert_eq!(may_reach(&client, &config, &theirs, &remote()).is_ok(), relays, "{address}");
            assert_eq!(may_reach(&client, &config, &ours, &remote()), Ok(()), "{address}");
        }
    }

    #[test]
    fn passwords_need_a_private_way() {
        let (strict, lax) = (config(""), config("auth.plaintext = \"always\""));
        let (far, near, unix) = (peer("192.0.2.1:1"), peer("[::1]:1"), Peer::Unix { uid: 0, pid: 1 });
        let client = |peer, protocol, encrypted| Client { peer, protocol, encrypted, starttls: !encrypted, logged_in: false };
        let submission = |peer, encrypted| client(peer, Protocol::Submission, encrypted);
        assert_eq!(may_log_in(&submission(&far, false), &strict), Err(reply::ENCRYPT_FIRST));
        assert_eq!(may_send(&submission(&far, false), &strict, None), Err(reply::TLS_FIRST));
        assert!(!offers_login(&submission(&far, false), &strict));
        for (peer, encrypted, config) in [(&far, true, &strict), (&far, false, &lax), (&near, false, &strict)] {
            assert_eq!(may_log_in(&submission(peer, encrypted), config), Ok(()));
            assert!(offers_login(&submission(peer, encrypted), config));
            assert_eq!(may_send(&submission(peer, encrypted), config, None), Err(reply::LOG_IN_FIRST));
        }
        assert!(!offers_login(&submission(&unix, false), &strict));
        assert!(!offers_login(&client(&far, Protocol::Smtp, true), &strict));
        assert_eq!(may_log_in(&client(&far, Protocol::Smtp, true), &strict), Err(reply::NOT_IMPLEMENTED));
        let twice = Client { logged_in: true, ..submission(&far, true) };
        assert_eq!(may_log_in(&twice, &strict), Err(reply::LOGGED_IN_ALREADY));
        assert_eq!(may_send(&twice, &strict, None), Ok(()));
    }

    #[test]
    fn senders_belong_to_logins() {
        let text = "[[sender]]\nuser = \"alice\"\naddresses = [\"Sales@here.test\", \"shop.test\"]\n";
        let (strict, lax) = (config(text), config("submission.senders = \"any\""));
        let (tcp, unix) = (peer("192.0.2.1:1"), Peer::Unix { uid: 1, pid: 1 });
        let asked = |peer: &Peer, config: &Config, login: &str, sender: &str| {
            let client = Client { peer, protocol: Protocol::Submission, encrypted: true, starttls: false, logged_in: true };
            let path = ReversePath(Some(sender).filter(|sender| !sender.is_empty()).map(|sender| sender.parse().unwrap()));
            // Whose mailbox is whose, here: that of the local part.
            let owner = |address: &Address| Ok::<_, ()>(Some(address.local().to_owned()));
            may_send_as(&client, config, login, &path, owner).unwrap()
        };
        let table = [
            ("alice", "alice@here.test", true),
            ("alice", "", true),
            ("alice", "bob@here.test", false),
            ("alice", "sales@HERE.test", true),
            ("alice", "anybody@Shop.test", true),
            ("alice", "anybody@sub.shop.test", false),
            ("bob", "sales@here.test", false),
            ("bob", "x@shop.test", false),
        ];
        for (login, sender, may) in table {
            assert_eq!(asked(&tcp, &strict, login, sender).is_ok(), may, "{login} {sender}");
            assert_eq!((asked(&tcp, &lax, login, sender), asked(&unix, &strict, login, sender)), (Ok(()), Ok(())));
        }
    }

    #[test]
    fn bounds_are_told_in_time() {
        let config = config("smtp.max_message_size = \"1K\"\nlimits.recipients = 2");
        let peer = peer("192.0.2.1:1");
        let client = Client { peer: &peer, protocol: Protocol::Smtp, encrypted: false, starttls: false, logged_in: false };
        assert_eq!(may_send(&client, &config, Some(1024)), Ok(()));
        assert_eq!(may_send(&client, &config, Some(1025)), Err(reply::TOO_BIG));
        assert_eq!(may_add(1, &client, &config), Ok(()));
        assert_eq!(may_add(2, &client, &config), Err(reply::TOO_MANY_RECIPIENTS));
        assert_eq!(may_start_tls(&client), Err(reply::NOT_IMPLEMENTED));
    }
}
