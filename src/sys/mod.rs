//! The ground floor: time, files, and the system calls no safe crate offers.
//!
//! Every timer of the daemon asks a [`Clock`], every file operation of spool and mailbox goes through a
//! [`Disk`]. So tests can move time by hand, and can stop the machine at any file operation.

#[cfg(test)]
pub mod apart;
pub mod beneath;
pub mod clock;
#[cfg(test)]
pub mod cost;
pub mod counters;
pub mod disk;
pub mod exit;
pub mod listing;
pub mod sandbox;
#[cfg(test)]
pub mod sim;
pub mod table;
pub mod unix;
pub mod window;

pub use clock::{Clock, SystemClock, Time};
pub use disk::{Disk, File, Lock, Open, RealDisk, Stat};
