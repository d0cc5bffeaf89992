//! Webmail over plain HTTP, as a browser without JavaScript speaks it; and in a real one.

mod access;
mod attacks;
mod autoconfig;
pub mod browser;
mod bulk;
mod chromium;
mod compose;
mod correspondence;
mod events;
mod folders;
mod hostile;
mod leaving;
mod pages;
mod parts;
mod scheduled;
mod settings;
mod stepping;

use crate::runner::Test;

pub fn tests() -> Vec<Test> {
    [
        chromium::tests(),
        access::tests(),
        attacks::tests(),
        autoconfig::tests(),
        bulk::tests(),
        compose::tests(),
        correspondence::tests(),
        events::tests(),
        folders::tests(),
        hostile::tests(),
        leaving::tests(),
        pages::tests(),
        parts::tests(),
        scheduled::tests(),
        settings::tests(),
        stepping::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
