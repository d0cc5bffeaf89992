//! The configuration file: `/etc/pillarbox/pillarbox.conf`, in TOML. Every key has a default; an unknown key is an error.

mod listen;
pub mod load;
mod read;
mod relay;
pub mod report;
pub mod schema;
mod values;

pub use load::load;
pub use report::Report;
pub use schema::{Config, Endpoint, Listen, Protocol, Relay, RelayTls, Tls};

/// Where the file lies when nobody says otherwise.
pub const DEFAULT_FILE: &str = "/etc/pillarbox/pillarbox.conf";
