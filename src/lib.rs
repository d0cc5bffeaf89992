//! Pillarbox: the whole mail system of a small Unix host in one daemon.
//!
//! The house has floors; a room uses the rooms below it and no others (`tests/layers.rs` checks that).
//!
//! * [`sys`]: time, files, system calls.
//! * [`config`]: the one configuration file.
//! * [`host`]: what needs the operating system's word: accounts, passwords, opening users' files, running programs.
//! * [`net`]: a conversation with a peer: lines, dot-stuffing, deadlines, TLS, DNS.
//! * [`mail`]: addresses, envelopes, headers, dates, the structure of messages and what IMAP says of it.
//! * [`trust`]: whether mail comes from whom it says.
//! * [`junk`]: what users take for junk.
//! * [`lists`]: mailing lists, and what they decide.
//! * [`spool`]: the journal. What it has committed is never lost.
//! * [`mailbox`]: mbox files, shared with other programs.
//! * [`auth`]: who may log in.
//! * [`smtp`]: SMTP replies and commands, and the client.
//! * [`delivery`]: takes letters, routes them, delivers them here, and the queue-runner that sends them on.
//! * [`smtpd`], [`pop3d`], [`imapd`], [`httpd`], [`ctld`]: one room per protocol served.
//! * [`webmail`]: mail in a browser, on pages that `httpd` serves; [`health`]: for those who watch the daemon.
//! * [`ctl`]: the tools: pillarboxctl, sendmail, mailq.
//! * [`daemon`]: accepts connections and hands them to the rooms above.

pub mod auth;
pub mod config;
pub mod ctl;
pub mod ctld;
pub mod daemon;
pub mod delivery;
pub mod health;
pub mod host;
pub mod httpd;
pub mod imapd;
pub mod junk;
pub mod lists;
pub mod mail;
pub mod mailbox;
pub mod net;
pub mod pop3d;
pub mod smtp;
pub mod smtpd;
pub mod spool;
pub mod sys;
pub mod trust;
pub mod webmail;
