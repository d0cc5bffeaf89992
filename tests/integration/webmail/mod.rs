//! Webmail over plain HTTP, as a browser without JavaScript speaks it.

mod access;
mod attacks;
mod autoconfig;
mod browser;
mod compose;
mod folders;
mod hostile;
mod pages;

use crate::runner::Test;

pub fn tests() -> Vec<Test> {
    [access::tests(), attacks::tests(), autoconfig::tests(), compose::tests(), folders::tests(), hostile::tests(), pages::tests()]
        .into_iter()
        .flatten()
        .collect()
}
