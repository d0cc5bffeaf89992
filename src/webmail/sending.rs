//! Sends a draft: it is handed in as it lies in its folder, then moved to the sent ones. So one that can't be sent is still there.

use super::list::{special, value};
use super::manner::Manner;
use super::message::Asked;
use super::outgoing::{ToUnix, addresses};
use super::prefill::own_addresses;
use super::profile::Profile;
use super::reference::Reference;
use super::site::Context;
use crate::auth::Shown;
use crate::delivery::{PostError, Route, Trace};
use crate::httpd::Status;
use crate::mail::{Address, Body, Envelope, MailDsn, Origin, Recipient, ReversePath};
use crate::mailbox::{Change, Flags, Marks, SpecialUse};
use crate::spool::SpoolId;
use crate::sys::counters;
use std::io;

/// Why a draft is not sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// What its writer can mend; in words.
    Wrong(Vec<String>),
    /// Its writer has sent as much as he may within an hour or a day.
    TooMuch,
    /// It can't be done now, or nobody knows whether it is.
    Trouble(Status),
}

/// Who writes to whom, if nothing is wrong with it.
pub(super) fn check(context: &Context<'_>, draft: &Asked<'_>) -> Result<(Address, Vec<Address>), Unsent> {
    let server = context.server;
    let header = draft.header().map_err(Unsent::Trouble)?;
    let mut wrong = Vec::new();
    let from = addresses(value(&header, "From"), "").good.into_iter().next().map(|(_, address)| address);
    let own = own_addresses(context);
    let from = from.filter(|from| own.iter().any(|own| own.key() == from.key()));
    if from.is_none() {
        wrong.push("This address is not yours to send from.".to_owned());
    }
    let mut recipients: Vec<Address> = Vec::new();
    for name in ["To", "Cc", "Bcc"] {
        let list = addresses(value(&header, name), "");
        wrong.extend(list.wrong.iter().map(|text| format!("“{text}” is no address.")));
        for (_, address) in list.good {
            if recipients.iter().all(|known| known.key() != address.key()) {
                recipients.push(address);
            }
        }
    }
    if recipients.is_empty() && wrong.is_empty() {
        wrong.push("Nobody is named to whom it goes.".to_owned());
    }
    if recipients.len() > server.config.limits.recipients {
        wrong.push(format!("It goes to more than {} addresses.", server.config.limits.recipients));
    } else {
        for address in &recipients {
            match server.post.route(address) {
                Ok(Route::NoUser) => wrong.push(format!("There is nobody called {address} here.")),
                Ok(Route::Local(account)) if server.post.is_over_quota(&account) => {
                    wrong.push(format!("The mailbox of {address} is full."))
                }
                Ok(_) => {}
                Err(error) => {
                    log::error!("webmail route error={:?}", error.to_string());
                    return Err(Unsent::Trouble(Status::SERVICE_UNAVAILABLE));
                }
            }
        }
    }
    let size = draft.view.message(draft.uid).ok().flatten().map_or(0, |summary| summary.size);
    if size > server.config.max_message_size {
        wrong.push("It is too big to be sent.".to_owned());
    }
    match from {
        Some(from) if wrong.is_empty() => Ok((from, recipients)),
        _ => Err(Unsent::Wrong(wrong)),
    }
}

/// What was sent.
#[derive(Debug)]
pub(super) struct Sent {
    id: SpoolId,
    /// Among the sent ones. None: there it could not be moved, and the draft is still one.
    copy: Option<Reference>,
    /// It has not left yet, and can be taken back.
    waits: bool,
}

impl Sent {
    /// What the next page is to tell.
    pub(super) fn told(&self) -> String {
        match self.copy {
            None => "told=sent-only".to_owned(),
            Some(_) if self.waits => format!("told=waits&id={}", self.id),
            Some(_) => "told=sent".to_owned(),
        }
    }
}

/// Sends it.
pub(super) fn send(context: &Context<'_>, draft: &Asked<'_>, manner: &Manner) -> Result<Sent, Unsent> {
    let (server, user) = (context.server, &context.account().name);
    let to_think = Profile::of(context).map_err(Unsent::Trouble)?.recall;
    let release = manner.release(context, to_think).map_err(|problem| Unsent::Wrong(vec![problem]))?;
    let waits = release.is_some();
    let (from, recipients) = check(context, draft)?;
    let now = server.clock.elapsed();
    if !recipients.iter().all(|_| server.rates.take(user, now, &server.config.submission)) {
        return Err(Unsent::TooMuch);
    }
    let utf8 = !from.is_ascii() || recipients.iter().any(|address| !address.is_ascii());
    let count = recipients.len();
    let envelope = Envelope {
        reverse_path: ReversePath(Some(from.clone())),
        recipients: recipients.into_iter().map(|to| Recipient { dsn: manner.dsn(), ..Recipient::from(to) }).collect(),
        body: Body::EightBitMime,
        utf8,
        dsn: MailDsn::default(),
        require_tls: false,
        release,
        origin: Origin::User(user.clone()),
    };
    // Where somebody sits when he writes is nobody's business.
    let trace = Trace {
        from: Some(format!("{} (webmail)", server.config.hostname)),
        with: "HTTP".into(),
        tls: None,
        submission: true,
        arrival: None,
    };
    let mut letter = server.post.begin(envelope, trace).map_err(|error| not_taken(context, &error))?;
    let copied = draft.view.read(draft.uid).map_err(io::Error::other).and_then(|mut text| {
        let mut to = ToUnix { to: &mut letter, after_cr: false };
        io::copy(&mut text, &mut to)
    });
    // Dropped, it leaves nothing.
    copied.map_err(|error| not_taken(context, &PostError::Io(error.to_string())))?;
    let id = letter.send().map_err(|error| not_taken(context, &error))?;
    counters::MESSAGES_RECEIVED.count();
    log::info!(
        "session={} webmail message id={id} user={user} from=<{}> recipients={count}",
        context.session,
        Shown(&from.to_string())
    );
    let moved = special(context, SpecialUse::Sent).and_then(|sent| {
        let draft_only = Marks { flags: Flags::DRAFT, ..Marks::default() };
        draft.view.mark(&[draft.uid], Change::Remove, draft_only, None).map_err(super::site::trouble)?;
        server.post.move_to(context.account(), &draft.view, &[draft.uid], &sent).map_err(|error| super::site::unfiled(&error))
    });
    let copy = moved.ok().and_then(|filed| Some(Reference { validity: filed.validity, uid: *filed.uids.first()? }));
    Ok(Sent { id, copy, waits })
}

fn not_taken(context: &Context<'_>, error: &PostError) -> Unsent {
    counters::MESSAGES_REFUSED.count();
    log::error!("session={} webmail message not taken error={:?}", context.session, error.to_string());
    match error {
        PostError::Full => Unsent::Trouble(Status::INSUFFICIENT_STORAGE),
        PostError::HeaderTooBig => Unsent::Wrong(vec!["Its header is too big.".to_owned()]),
        PostError::Loop | PostError::Unwanted(_) | PostError::Io(_) | PostError::Uncertain => {
            Unsent::Trouble(Status::SERVICE_UNAVAILABLE)
        }
    }
}
