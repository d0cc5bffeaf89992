//! Answers with the daemon's own identity: no root, accounts from users files.
#![allow(missing_docs, clippy::todo)]
use super::{Account, Host};
use crate::sys::{Disk, File, Open};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub struct Direct {}

impl Direct {
    pub fn new(_disk: Arc<dyn Disk>, _users: &[PathBuf]) -> io::Result<Direct> {
        todo!()
    }
}

impl Host for Direct {
    fn account(&self, _name: &str) -> io::Result<Option<Account>> {
        todo!()
    }
    fn verify(&self, _name: &str, _password: &[u8]) -> io::Result<Option<Account>> {
        todo!()
    }
    fn open_mailbox(&self, _account: &Account, _path: &Path, _how: Open) -> io::Result<Arc<dyn File>> {
        todo!()
    }
    fn reload(&self) -> io::Result<()> {
        todo!()
    }
}
