//! Who may log in: one gate for all protocols, a throttle for those who guess, and the SASL exchanges that carry a
//! name and a password, or the proof of one, to it.

pub mod candidate;
pub mod gate;
pub mod sasl;
mod scram;
pub mod throttle;

pub use candidate::Candidate;
pub use gate::{Denied, Gate, Login, Shown};
pub use throttle::Guesses;
