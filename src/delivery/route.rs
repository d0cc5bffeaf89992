//! Where an address leads. Configured routes come first, then virtual addresses, mailing lists, aliases, users, `user+detail`, what is left of
//! a domain (a virtual address without a local part), and the postmaster.
//!
//! [`Office::route`] goes as far as there is one way, which is all that RCPT has to know. [`Office::expand`] goes all ways to
//! their ends, `.forward` files included. Both take the same steps, those of `look`.

use super::aliases::{Tables, read_included};
use super::search::{Found, Walk, walk};
use super::whose::{Place, configured, is_ours, own_account, place};
use super::{Hop, Office, Route};
use crate::config::Config;
use crate::host::Account;
use crate::lists::{self, Identity, Role, Settings};
use crate::mail::alias::{self, Entry, Numbered, Target};
use crate::mail::{Act, Address, Domain, Line, Place as Mailbox, Recipient, srs};
use crate::mailbox::{FolderName, MailboxError};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Names that always lead somewhere: reports come from the one, and RFC 5321 §4.5.1 wants the other.
const SERVED: [&str; 2] = ["postmaster", "mailer-daemon"];

/// The id of everybody's INBOX.
pub(super) const INBOX: &str = "INBOX";

/// A stage on the way of an address. Local parts are in lower case, but for those of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    /// Before anything is known of it.
    Address(Address),
    /// A name here, in one of our domains.
    Name(String, Domain),
    /// The same, which is no alias.
    User(String, Domain),
    /// The same, whatever aliases and `.forward` say.
    Exact(String, Domain),
    /// Who answers for this host.
    Postmaster(Domain),
    /// An account, whose `.forward` counts, and the detail of `user+detail`.
    Account(Account, Option<String>, Domain),
    /// A mailbox of an account.
    Mailbox(Account, Option<String>, Domain),
    /// Another host's.
    Elsewhere(Address, Hop),
    /// More targets stand in this file.
    Include(String, Domain),
    /// A file or a command; and what it is called in reports.
    Line(Line, Address),
}

/// Where a way ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Who gets it.
    pub(super) address: Address,
    pub(super) to: To,
}

/// See [`End`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// A mailbox here.
    Mailbox { account: Account, folder: String },
    /// Another host.
    Remote(Hop),
    /// A file or a command.
    Line(Line),
    /// A mailing list, and what it does with it, in words.
    List(String),
    /// There is nobody of that name.
    Nobody,
    /// Whether it goes on from here can't be told now.
    Later(String),
}

impl End {
    /// Equal for two ends that get one copy.
    pub(super) fn key(&self) -> String {
        match &self.to {
            To::Mailbox { account, folder } => format!("mailbox {} {folder}", account.name),
            To::Line(Line { user, text, .. }) => format!("line {user:?} {text}"),
            To::Remote(_) | To::List(_) | To::Nobody | To::Later(_) => self.address.key(),
        }
    }

    /// As a recipient of what is sent on.
    pub(super) fn recipient(&self) -> Recipient {
        let mut recipient = Recipient::from(self.address.clone());
        match &self.to {
            To::Mailbox { account, folder } => {
                let place = Mailbox { user: account.name.clone(), folder: folder.clone(), act: Act::Deliver };
                recipient.place = Some(Box::new(place));
            }
            To::Line(line) => recipient.line = Some(Box::new(line.clone())),
            To::Remote(_) | To::List(_) | To::Nobody | To::Later(_) => {}
        }
        recipient
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            To::Mailbox { account, folder } if folder == INBOX => write!(out, "mailbox of {}", account.name),
            To::Mailbox { account, folder } => write!(out, "folder {folder} of {}", account.name),
            To::Remote(hop @ Hop::Domain(_)) => write!(out, "{}: by DNS, to the mail exchangers of {hop}", self.address),
            To::Remote(hop @ Hop::Program(_)) => write!(out, "{}: to the program {hop}", self.address),
            To::Remote(hop) => write!(out, "{}: to the host {hop}", self.address),
            To::Line(Line { user, text, .. }) => match (text.strip_prefix('|'), user) {
                (Some(command), Some(user)) => write!(out, "command of {user}: {command}"),
                (Some(command), None) => write!(out, "command: {command}"),
                (None, _) => write!(out, "file {text}"),
            },
            To::List(what) => write!(out, "{}: {what}", self.address),
            To::Nobody => write!(out, "{}: nobody of that name is here", self.address),
            To::Later(why) => write!(out, "{}: can't be told now: {why}", self.address),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Address(address) | Node::Elsewhere(address, _) | Node::Line(_, address) => address.fmt(out),
            Node::Name(local, _) | Node::User(local, _) | Node::Exact(local, _) => out.write_str(local),
            Node::Postmaster(_) => out.write_str("postmaster"),
            Node::Account(account, ..) | Node::Mailbox(account, ..) => out.write_str(&account.name),
            Node::Include(path, _) => write!(out, ":include:{path}"),
        }
    }
}

impl Office {
    /// As far as there is one way, and without looking into `.forward` files.
    pub(super) fn route(&self, address: &Address) -> io::Result<Route> {
        let router = Router::new(self);
        let mut node = Node::Address(address.clone());
        loop {
            node = match node {
                Node::Account(account, ..) | Node::Mailbox(account, ..) => return Ok(Route::Local(account)),
                Node::Elsewhere(_, hop) => return Ok(Route::Remote(hop)),
                node => match router.look(&node)? {
                    Found::Next(next) => next,
                    Found::Leads { .. } => return Ok(Route::Expand),
                    Found::End(End { to: To::Nobody, .. }) => return Ok(Route::NoUser),
                    Found::End(End { to: To::List(_), .. }) => return Ok(Route::Expand),
                    Found::End(end) => return Err(io::Error::other(end.to_string())),
                },
            }
        }
    }

    /// Does a name of a domain here stand for something by itself? A list does not count, nor does what stands for all of a domain.
    pub(super) fn is_taken(&self, local: &str, domain: &Domain) -> io::Result<bool> {
        let router = Router::new(self);
        let virtual_address = router.tables.addresses.look_up(&address_of(local, domain)?.key())?;
        let is_name = router.alias(local)?.is_some() || router.account(local)?.is_some() || router.is_served(local);
        Ok(is_name || virtual_address.is_some())
    }

    /// The mailing list whose address this is itself, and what the address is for.
    pub(super) fn listed(&self, address: &Address) -> io::Result<Option<(Identity, Settings, Role)>> {
        let router = Router::new(self);
        let mut node = Node::Address(address.clone());
        loop {
            node = match (&node, router.look(&node)?) {
                (_, Found::Next(next)) => next,
                (Node::Name(local, domain), Found::End(End { to: To::List(_), .. })) => return router.list(local, domain),
                _ => return Ok(None),
            }
        }
    }

    /// All ways to their ends.
    pub(super) fn expand(&self, address: &Address) -> io::Result<Walk<End>> {
        let router = Router::new(self);
        walk(Node::Address(address.clone()), |node| router.look(node), |node| router.beyond(node), End::key)
    }

    /// The one whose mailbox an address leads to, or `login` if that is one of several.
    pub(super) fn owner_of(&self, address: &Address, login: &str) -> io::Result<Option<String>> {
        Ok(match self.route(address)? {
            Route::Local(account) => Some(account.name),
            Route::Remote(_) | Route::NoUser => None,
            Route::Expand => {
                let ends = self.expand(address)?.ends.into_iter().map(|(end, _)| end.to);
                let mut owners =
                    ends.filter_map(|to| if let To::Mailbox { account, .. } = to { Some(account.name) } else { None });
                owners.find(|name| name.eq_ignore_ascii_case(login))
            }
        })
    }

    /// What an account's mail is forwarded to, as it was set here, or by its `.forward`; none: its mailbox. An error is temporary.
    pub(super) fn forward(&self, account: &Account) -> io::Result<Option<Vec<Numbered>>> {
        if let Some((targets, _)) = self.forwarding(account)? {
            return Ok(Some(targets));
        }
        if account.home.is_none() {
            return Ok(None);
        }
        let refused = |why: &dyn fmt::Display| {
            // Its owner gets the mail all the same.
            log::warn!("event=forward-refused user={} reason=\"{}\"", account.name, why.to_string().replace('"', "'"));
            Ok(None)
        };
        let text = match self.host.forward_of(account) {
            Ok(None) => return Ok(None),
            Ok(Some(text)) => text,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return refused(&error),
            Err(error) => return Err(error),
        };
        match alias::parse_list(&String::from_utf8_lossy(&text)) {
            Ok(targets) if targets.iter().any(|(_, target)| matches!(target, Target::Include(_))) => {
                refused(&":include: is for the alias file")
            }
            Ok(targets) => Ok(Some(targets).filter(|targets| !targets.is_empty())),
            Err(wrong) => refused(&wrong),
        }
    }

    /// In which folder mail for this address of an account lies.
    pub(super) fn folder_for(&self, account: &Account, address: &Address) -> Result<String, MailboxError> {
        let local = address.local().to_ascii_lowercase();
        let detail = local.split_once('+').filter(|(user, _)| *user == account.name).map(|(_, detail)| detail);
        self.folder_of_detail(account, detail)
    }

    fn folder_of_detail(&self, account: &Account, detail: Option<&str>) -> Result<String, MailboxError> {
        let wanted = detail.filter(|_| self.config().detail_folders).and_then(|detail| FolderName::parse(detail).ok());
        let Some(wanted) = wanted else { return Ok(INBOX.to_owned()) };
        let wanted = wanted.to_string().to_ascii_lowercase();
        let folders = self.store.folders(account)?;
        let listed = folders.list().map_err(|error| MailboxError::Io(io::Error::other(error.to_string())))?;
        let names = listed.into_iter().map(|listed| listed.name);
        match names.filter(|name| !name.is_inbox()).find(|name| name.to_string().to_ascii_lowercase() == wanted) {
            Some(name) => Ok(self.store.open(account, &name)?.folder().to_owned()),
            None => Ok(INBOX.to_owned()),
        }
    }

    /// The sender of ours under which mail of `sender` is sent on that came for a domain of ours; none if its own will do.
    pub(super) fn sends_on_as(&self, sender: &Address, own: &Domain) -> Option<Address> {
        let config = self.config();
        let is_here = |domain: &Domain| !matches!(place(&config, domain, is_ours), Place::Elsewhere(_));
        if !config.srs || is_here(sender.domain()) || config.domains.contains(&sender.domain().key()) || !is_here(own) {
            return None;
        }
        srs::forward(&self.srs_key()?, sender, own, self.clock.now())
    }

    /// Does mail leave for hosts of others there, which may ask who may send it?
    pub(super) fn is_foreign(&self, end: &End) -> bool {
        let is_host = matches!(end.to, To::Remote(Hop::Domain(_) | Hop::Host(..) | Hop::Literal(_)));
        is_host && !self.config().domains.contains(&end.address.domain().key())
    }

    fn srs_key(&self) -> Option<ring::hmac::Key> {
        let key = self.store.secret_for("srs");
        key.map_err(|error| log::error!("event=srs-failed reason=\"{error}\"")).ok()
    }

    /// May an address in one of these domains, parted by commas, have a copy in a mailbox here?
    pub(super) fn may_be_ours(&self, domains: &str) -> bool {
        let config = self.config();
        let elsewhere = |domain: Domain| matches!(place(&config, &domain, is_ours), Place::Elsewhere(_));
        !domains.split(',').all(|domain| Domain::parse(domain).is_ok_and(elsewhere))
    }
}

/// Takes the steps. It holds what they depend on, so that one way sees one state of it.
struct Router<'a> {
    office: &'a Office,
    config: Arc<Config>,
    tables: Arc<Tables>,
}

impl Router<'_> {
    fn new(office: &Office) -> Router<'_> {
        Router { office, config: office.config(), tables: office.tables() }
    }

    fn look(&self, node: &Node) -> io::Result<Found<Node, End>> {
        Ok(match node {
            Node::Address(address) => return self.look_at_address(address),
            Node::Name(local, domain) => return self.look_at_name(local, domain),
            Node::User(local, domain) => return self.look_at_user(local, domain),
            Node::Exact(local, domain) => match self.account(local)? {
                Some((account, detail)) => Found::Next(Node::Mailbox(account, detail, domain.clone())),
                None if self.is_served(local) => Found::Next(Node::Mailbox(self.own_account(), None, domain.clone())),
                None => self.nobody(local, domain)?,
            },
            Node::Postmaster(domain) => return self.look_at_postmaster(domain),
            Node::Account(account, detail, domain) => match self.office.forward(account) {
                Ok(None) => Found::Next(Node::Mailbox(account.clone(), detail.clone(), domain.clone())),
                Ok(Some(targets)) => {
                    let address = address_of(&account.name, domain)?;
                    let node = |(number, target)| node_of(target, number, domain, Some(&account.name), &address);
                    let to = targets.into_iter().map(node).collect::<io::Result<_>>()?;
                    Found::Leads { why: format!(".forward of {}", account.name), to, owner: None }
                }
                Err(error) => Found::End(End { address: address_of(&account.name, domain)?, to: To::Later(error.to_string()) }),
            },
            Node::Mailbox(account, detail, domain) => {
                let folder = self.office.folder_of_detail(account, detail.as_deref());
                let folder = folder.map_err(|error| io::Error::other(error.to_string()))?;
                Found::End(End {
                    address: address_of(&account.name, domain)?,
                    to: To::Mailbox { account: account.clone(), folder },
                })
            }
            Node::Elsewhere(address, hop) => Found::End(End { address: address.clone(), to: To::Remote(hop.clone()) }),
            Node::Include(path, domain) => {
                let targets = alias::parse_list(&read_included(path)?);
                let targets = targets.map_err(|wrong| not_understood(format!("{path}: {wrong}")))?;
                let to = targets.into_iter().map(|(number, target)| match target {
                    // Who may write to such a file may not yet run commands as the owner of aliases.
                    Target::Line(text) => Err(not_understood(format!("{path}: line {number}: `{text}` may not stand here"))),
                    target => node_of(target, number, domain, None, &address_of("postmaster", domain)?),
                });
                Found::Leads { why: "included".to_owned(), to: to.collect::<io::Result<_>>()?, owner: None }
            }
            Node::Line(line, address) => Found::End(End { address: address.clone(), to: To::Line(line.clone()) }),
        })
    }

    /// What a node stands for that is met again below itself.
    fn beyond(&self, node: &Node) -> Option<Node> {
        match node {
            Node::Address(address) => Some(match place(&self.config, address.domain(), is_ours) {
                Place::Elsewhere(hop) => Node::Elsewhere(address.clone(), hop),
                Place::Here | Place::Host => Node::Name(address.local().to_ascii_lowercase(), address.domain().clone()),
            }),
            // A circle of names that are nobody's leads nowhere.
            Node::Name(local, _) if !matches!(self.account(local), Ok(Some(_))) && !self.is_served(local) => None,
            Node::Name(local, domain) => Some(Node::User(local.clone(), domain.clone())),
            Node::User(local, domain) => match self.account(local) {
                Ok(Some((account, detail))) => Some(Node::Account(account, detail, domain.clone())),
                _ => self.is_served(local).then(|| Node::Postmaster(domain.clone())),
            },
            Node::Postmaster(domain) => Some(Node::Mailbox(self.own_account(), None, domain.clone())),
            Node::Account(account, detail, domain) => Some(Node::Mailbox(account.clone(), detail.clone(), domain.clone())),
            _ => None,
        }
    }

    fn look_at_address(&self, address: &Address) -> io::Result<Found<Node, End>> {
        let domain = address.domain();
        if let Some(hop) = configured(&self.config, &domain.key()) {
            return Ok(Found::Next(Node::Elsewhere(address.clone(), hop)));
        }
        let place = place(&self.config, domain, is_ours);
        if let (Place::Here | Place::Host, Some(sender)) = (&place, self.sender_before(address)) {
            let why = "stands for a sender whose mail was sent on from here".to_owned();
            return Ok(Found::Leads { why, to: vec![Node::Address(sender)], owner: None });
        }
        if let Some(found) = self.virtual_address(&address.key(), domain, place == Place::Here)? {
            return Ok(found);
        }
        let local = address.local().to_ascii_lowercase();
        Ok(match place {
            Place::Here => Found::Next(Node::Name(local, domain.clone())),
            Place::Host if SERVED.contains(&local.as_str()) => Found::Next(Node::Postmaster(domain.clone())),
            Place::Host => Found::End(End { address: address.clone(), to: To::Nobody }),
            Place::Elsewhere(hop) => match self.catch_all(domain, false)? {
                Some(all) => all,
                None => Found::Next(Node::Elsewhere(address.clone(), hop)),
            },
        })
    }

    /// Whether or not senders are rewritten now: they may have been.
    fn sender_before(&self, address: &Address) -> Option<Address> {
        if !srs::is_rewritten(address) {
            return None;
        }
        srs::reverse(&self.office.srs_key()?, address, self.office.clock.now())
    }

    fn look_at_user(&self, local: &str, domain: &Domain) -> io::Result<Found<Node, End>> {
        if let Some(account) = self.office.host.account(local)? {
            return Ok(Found::Next(Node::Account(account, None, domain.clone())));
        }
        if let Some((user, detail)) = local.split_once('+').filter(|(user, _)| !user.is_empty()) {
            if self.alias(user)?.is_some() {
                return Ok(Found::Next(Node::Name(user.to_owned(), domain.clone())));
            }
            if let Some(account) = self.office.host.account(user)? {
                return Ok(Found::Next(Node::Account(account, Some(detail.to_owned()), domain.clone())));
            }
        }
        if let Some(all) = self.catch_all(domain, true)? {
            return Ok(all);
        }
        match self.is_served(local) {
            true => Ok(Found::Next(Node::Postmaster(domain.clone()))),
            false => self.nobody(local, domain),
        }
    }

    fn look_at_postmaster(&self, domain: &Domain) -> io::Result<Found<Node, End>> {
        let (name, domain) = (&self.config.postmaster, domain.clone());
        if let Ok(address) = name.parse() {
            return Ok(Found::Next(Node::Address(address)));
        }
        let name = name.to_ascii_lowercase();
        if self.alias(&name)?.is_some() {
            return Ok(Found::Next(Node::Name(name, domain)));
        }
        Ok(Found::Next(match self.office.host.account(&name)? {
            Some(account) => Node::Account(account, None, domain),
            None => Node::Mailbox(self.own_account(), None, domain),
        }))
    }

    /// Nobody, if that can be told.
    fn nobody(&self, local: &str, domain: &Domain) -> io::Result<Found<Node, End>> {
        let to = self.tables.trouble().map_or(To::Nobody, To::Later);
        Ok(Found::End(End { address: address_of(local, domain)?, to }))
    }

    /// Does this name lead to the postmaster if it leads nowhere else?
    fn is_served(&self, local: &str) -> bool {
        SERVED.contains(&local) || self.config.postmaster.eq_ignore_ascii_case(local)
    }

    fn own_account(&self) -> Account {
        own_account(&self.config.postmaster)
    }

    /// The account of a name, or that of `user` for `user+detail`.
    fn account(&self, local: &str) -> io::Result<Option<(Account, Option<String>)>> {
        if let Some(account) = self.office.host.account(local)? {
            return Ok(Some((account, None)));
        }
        match local.split_once('+') {
            Some((user, detail)) if !user.is_empty() => {
                Ok(self.office.host.account(user)?.map(|account| (account, Some(detail.to_owned()))))
            }
            _ => Ok(None),
        }
    }

    fn alias(&self, name: &str) -> io::Result<Option<Entry>> {
        self.tables.aliases.look_up(name)
    }

    fn list(&self, local: &str, domain: &Domain) -> io::Result<Option<(Identity, Settings, Role)>> {
        let Some((name, role)) = lists::split(local) else { return Ok(None) };
        let found = self.tables.lists.find(&name, domain, &self.office.first_domain())?;
        Ok(found.map(|(list, settings)| (list, settings, role)))
    }

    fn look_at_name(&self, local: &str, domain: &Domain) -> io::Result<Found<Node, End>> {
        if let Some((list, settings, role)) = self.list(local, domain)? {
            if role == Role::Owner {
                let to = settings.owners.into_iter().map(Node::Address).collect();
                return Ok(Found::Leads { why: format!("owners of the mailing list {}", list.name), to, owner: None });
            }
            let address = address_of(local, domain)?;
            return Ok(Found::End(End { address, to: To::List(lists::in_words(&list, &settings, &role)) }));
        }
        let Some(entry) = self.alias(local)? else { return Ok(Found::Next(Node::User(local.to_owned(), domain.clone()))) };
        let why = format!("alias, line {} of {}", entry.line, self.tables.aliases.name());
        let address = address_of(local, domain)?;
        let to = entry.targets.into_iter().flatten().map(|(number, target)| node_of(target, number, domain, None, &address));
        // Who answers for the members of a list (RFC 5321 §3.9.2).
        let owner = format!("owner-{local}");
        let owner = self.alias(&owner)?.map(|_| address_of(&owner, domain)).transpose()?;
        Ok(Found::Leads { why, to: to.collect::<io::Result<_>>()?, owner: owner.map(|owner| owner.to_string()) })
    }

    fn virtual_address(&self, key: &str, domain: &Domain, is_here: bool) -> io::Result<Option<Found<Node, End>>> {
        let table = &self.tables.addresses;
        let Some(entry) = table.look_up(key)? else { return Ok(None) };
        let why = format!("virtual address, line {} of {}", entry.line, table.name());
        // Names without a domain are ours.
        let domain = if is_here { domain.clone() } else { self.office.first_domain() };
        let to = entry.targets.into_iter().flatten().map(|(number, target)| match target {
            Target::Line(text) => Err(not_understood(format!("{}: line {number}: `{text}` may not stand here", table.name()))),
            target => node_of(target, number, &domain, None, &address_of("postmaster", &domain)?),
        });
        Ok(Some(Found::Leads { why, to: to.collect::<io::Result<_>>()?, owner: None }))
    }

    /// What all of a domain stands for.
    fn catch_all(&self, domain: &Domain, is_here: bool) -> io::Result<Option<Found<Node, End>>> {
        self.virtual_address(&format!("@{}", domain.key()), domain, is_here)
    }
}

/// `user`: whose `.forward` it stands in. `address`: what a file or command is called in reports.
fn node_of(target: Target, number: usize, domain: &Domain, user: Option<&str>, address: &Address) -> io::Result<Node> {
    Ok(match target {
        Target::Name(name) => Node::Name(name.to_ascii_lowercase(), domain.clone()),
        Target::User(name) => Node::Exact(name, domain.clone()),
        Target::Address(address) => Node::Address(address),
        Target::Include(path) => Node::Include(path, domain.clone()),
        Target::Line(text) => {
            let number = u32::try_from(number).map_err(io::Error::other)?;
            Node::Line(Line { user: user.map(str::to_owned), number, text }, address.clone())
        }
    })
}

fn address_of(local: &str, domain: &Domain) -> io::Result<Address> {
    Address::new(local, domain.clone()).map_err(|_| not_understood(format!("`{local}` is no name")))
}

fn not_understood(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
