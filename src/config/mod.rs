//! The configuration file: `/etc/pillarbox/pillarbox.conf`, in TOML. Every key has a default; an unknown key is an error.

pub mod load;
pub mod report;
pub mod schema;

pub use schema::{Config, Listen, Protocol, Tls};
