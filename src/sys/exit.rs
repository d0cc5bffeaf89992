//! How a program ends: the codes of sysexits.h that ours use. Cron, mdadm and mail readers act on them.

/// All is well.
pub const OK: u8 = 0;
/// Something else is wrong.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The input is wrong.
pub const DATAERR: u8 = 65;
/// The input can't be read.
pub const NOINPUT: u8 = 66;
/// No such recipient.
pub const NOUSER: u8 = 67;
/// Refused for good.
pub const UNAVAILABLE: u8 = 69;
/// A bug of ours.
pub const SOFTWARE: u8 = 70;
/// The system can't do it: no threads, no descriptors.
pub const OSERR: u8 = 71;
/// A file can't be made.
pub const CANTCREAT: u8 = 73;
/// Try again later.
pub const TEMPFAIL: u8 = 75;
/// Not allowed.
pub const NOPERM: u8 = 77;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;
