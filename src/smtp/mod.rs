//! SMTP as grammar (replies, commands, paths, parameters) and as a client.

pub mod client;
pub mod command;
pub mod reply;
