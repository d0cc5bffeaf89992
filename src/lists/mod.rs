//! Mailing lists: what one is, and what it does with each message that comes. Functions on text; files lie in [`Files`] alone.
//!
//! A list is a directory of its name:
//!
//! | file | what it is | who writes it |
//! |---|---|---|
//! | `settings` | see [`Settings`]; a directory without it is no list | the operator |
//! | `members` | see [`members`] | the operator, and who subscribes |
//! | `bounces` | see [`Bounces`]: whose mail came back | this program |
//! | `lock` | held while one of the others is changed | |
//! | `NAME.new` | what was to become one of these; nobody reads it | |
//!
//! Each is replaced as a whole. What else a list has to remember is no file of it: a post that waits for a moderator waits in the
//! journal, and what was asked of an address is told by the token that comes back (see [`token`]).
//!
//! * `name`: which addresses are a list's. `settings`, `members`, `bounces`: its files. `files`: where these lie.
//! * `facts`: what a message tells of itself. `decide`: what becomes of a post, by the settings, the members and these facts.
//!   `command`: what else may be asked.
//! * `head`: the header of what is sent to members, `leave`: the link in it that is each one's own. `letters`: what a list writes
//!   itself.

mod bounces;
mod command;
mod decide;
mod facts;
mod files;
mod head;
pub mod leave;
mod letters;
pub mod members;
mod name;
mod settings;
pub mod token;

pub use bounces::{Bounces, Noted, PAUSE};
pub use command::{Command, Judgement, addresses_in, command, judgement};
pub use decide::in_words;
pub use decide::{Decision, decide};
pub use facts::{Automatic, Facts};
pub use files::Files;
pub use head::rewrite;
pub use letters::{Attached, Text, help};
pub use name::{Identity, Name, Role, split};
pub use settings::{Posting, Settings, Strangers};
