//! The configuration file: `/etc/pillarbox/pillarbox.conf`, in TOML. Every key has a default; an unknown key is an error.

mod listen;
pub mod load;
pub mod offers;
mod read;
mod relay;
pub mod report;
mod route;
pub mod schema;
mod values;

pub use load::{content, from_content, load};
pub use report::Report;
pub use schema::{Config, Endpoint, Junk, Listen, Program, Protocol, Relay, RelayTls, Site, Tls, UserDatabase, Via};

/// Where the file lies when nobody says otherwise.
pub const DEFAULT_FILE: &str = "/etc/pillarbox/pillarbox.conf";
