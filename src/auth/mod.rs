//! Who may log in: one gate for all protocols, a throttle for those who guess, and the SASL exchanges that carry a
//! name and a password to it.

pub mod gate;
pub mod sasl;
pub mod throttle;

pub use gate::{Denied, Gate, Login, Shown};
