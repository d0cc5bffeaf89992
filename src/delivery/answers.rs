//! What another host's answers mean for the recipients of a message, and for all that goes there. Pure.

use super::Hop;
use super::bounce::Kind;
use super::manner::{Need, Proof};
use super::outcome::{Relay, Trouble, Verdict};
use crate::net::NetError;
use crate::smtp::client::{Answer, Failure, International, Reply};

/// Why a host is not talked to that does not encrypt, or does not prove its name.
const OF_SECRECY: [&str; 4] = ["4.7.0", "4.7.5", "4.7.10", "5.7.10"];

/// Why nobody could be talked to.
pub(super) enum Unreached {
    /// It concerns the hop: everything that goes there waits.
    Hop(Box<Trouble>),
    /// It is decided.
    Verdict(Verdict),
}

/// What is secret does not wait for a host to encrypt or to prove its name (RFC 8689 §4.2.1).
pub(super) fn secret(unreached: Unreached, need: Need) -> Unreached {
    match unreached {
        Unreached::Hop(trouble) if need == Need::Secret && OF_SECRECY.contains(&trouble.status.as_str()) => {
            let trouble = Trouble { status: "5.7.10".to_owned(), ..*trouble };
            Unreached::Verdict(Verdict::Failed(Box::new(trouble)))
        }
        other => other,
    }
}

/// Of two hosts that could not be reached, that one of them never will be says nothing of the other.
pub(super) fn milder(before: Option<Unreached>, now: Unreached) -> Unreached {
    match (before, now) {
        (Some(Unreached::Hop(trouble)), Unreached::Verdict(_)) => Unreached::Hop(trouble),
        (_, now) => now,
    }
}

/// No host of the hop has an address.
pub(super) fn nobody(hop: &Hop) -> Unreached {
    match hop {
        Hop::Domain(domain) => {
            let reason = format!("The hosts that should take mail for {domain} have no addresses.");
            Unreached::Verdict(Verdict::Failed(Trouble::own("5.4.4", &reason)))
        }
        // A configured host is our own postmaster's concern: no sender gets to feel a slip there.
        other => Unreached::Hop(Trouble::own("4.4.4", &format!("The host {other} has no address."))),
    }
}

pub(super) fn unreached(verdict: Verdict) -> Unreached {
    match verdict {
        Verdict::Deferred(trouble) => Unreached::Hop(trouble),
        other => Unreached::Verdict(other),
    }
}

pub(super) fn not_reached(relay: &Relay, failure: &Failure, proof: Proof) -> Unreached {
    let own = |status: &str, what: &str| Trouble::own(status, &format!("The host {} {what}.", relay.host)).at(relay);
    Unreached::Hop(match failure {
        // A host that never takes mail (RFC 7504 §3), and one that will not have us by that name.
        Failure::Reply(_, reply) if matches!(reply.code, 521 | 556) => return Unreached::Verdict(said(reply, relay)),
        Failure::Reply("to HELO", reply) if reply.is_permanent() => return Unreached::Verdict(said(reply, relay)),
        Failure::Reply(_, reply) => own("4.4.0", "would not talk to us").saying(reply),
        Failure::Net("while connecting", _) => own("4.4.1", "could not be reached").because(failure),
        Failure::Net(_, NetError::Timeout) => own("4.4.1", "did not answer in time").because(failure),
        Failure::Net(..) => own("4.4.2", "broke the connection off").because(failure),
        // RFC 3463 §3.8, RFC 4954 §6. Ours to mend: no sender gets to feel it before his message has waited for days.
        Failure::Tls(_) => own("4.7.5", "could not be talked to in secret").because(&wanted(failure, proof)),
        Failure::Plain => own("4.7.10", "could not be talked to in secret").because(&wanted(failure, proof)),
        Failure::Login(_, reply) => {
            let trouble = own("4.7.8", "does not take our login").because(failure);
            return Unreached::Hop(reply.iter().fold(trouble, |trouble, reply| trouble.saying(reply)));
        }
        Failure::Garbled(..) | Failure::Spool(_) | Failure::Ourselves => own("4.5.0", "did not speak SMTP").because(failure),
    })
}

/// A failure to encrypt, with what wants it.
fn wanted(failure: &Failure, proof: Proof) -> String {
    match proof {
        Proof::Nothing | Proof::Authority => failure.to_string(),
        Proof::Dane => format!("{failure}; its TLSA records want it so"),
        Proof::Sts => format!("{failure}; its domain's MTA-STS policy wants it so"),
    }
}

/// What a recipient's answer means; `None`: ask again in the next transaction.
pub(super) fn verdict(answer: Answer, relay: &Relay, report: Option<Kind>) -> Option<Verdict> {
    let own = |status: &str, reason: String| Trouble::own(status, &reason).at(relay);
    let host = &relay.host;
    Some(match answer {
        Answer::Later => return None,
        Answer::Taken(reply) => {
            let said = own(&reply.status().to_string(), format!("The host {host} took it.")).saying(&reply);
            Verdict::Delivered { said, report }
        }
        Answer::Refused(reply) => said(&reply, relay),
        Answer::Broken(why) => Verdict::Deferred(own("4.4.2", format!("The connection to {host} broke off.")).because(&why)),
        Answer::TooBig(most) => {
            Verdict::Failed(own("5.3.4", format!("The message is too big: {host} takes up to {most} bytes.")))
        }
        Answer::NeedsUtf8(what) => {
            let (status, what) = match what {
                International::Sender => ("5.6.7", "The address of the sender is"),
                International::Recipient => ("5.6.7", "The address is"),
                International::Header => ("5.6.9", "The header of the message is"),
            };
            let reason = format!("{what} not in ASCII, and {host} can take nothing else there: it does not offer SMTPUTF8.");
            Verdict::Failed(own(status, reason))
        }
        Answer::EightBit(why) => {
            let reason =
                format!("The message has 8-bit content, and {host} can only take 7-bit content. It can't be converted: {why}.");
            Verdict::Failed(own(why.status(), reason))
        }
    })
}

/// What a reply means: 5xx is final, all else is not.
fn said(reply: &Reply, relay: &Relay) -> Verdict {
    let trouble = |what: &str| {
        let reason = format!("The host {} {what}.", relay.host);
        Trouble::own(&reply.status().to_string(), &reason).at(relay).saying(reply)
    };
    match reply.is_permanent() {
        true => Verdict::Failed(trouble("refused it")),
        false => Verdict::Deferred(trouble("would not take it now")),
    }
}
