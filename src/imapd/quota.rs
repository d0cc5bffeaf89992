//! GETQUOTA and GETQUOTAROOT (RFC 9208). Each user has one quota root, named "", if there is a limit, else none.

use super::answer::{Answer, Done};
use super::session::Session;
use crate::mailbox::FolderName;

impl Session<'_> {
    /// GETQUOTA (RFC 9208 §4.1.1).
    pub(super) fn get_quota(&mut self, root: &[u8]) -> Done {
        if !root.is_empty() {
            return Ok(no_root());
        }
        match self.show_quota() {
            Ok(Some(quota)) => {
                self.tell(format_args!("{quota}"))?;
                Ok(Answer::ok("that is how it stands"))
            }
            Ok(None) => Ok(no_root()),
            Err(answer) => Ok(answer),
        }
    }

    /// GETQUOTAROOT, of a folder that need not be there (RFC 9208 §4.1.2).
    pub(super) fn get_quota_root(&mut self, name: &[u8]) -> Done {
        let (name, quota) = match self.folder(name).and_then(|(name, _)| Ok((name, self.show_quota()?))) {
            Ok(found) => found,
            Err(answer) => return Ok(answer),
        };
        self.tell_root(&name, quota.is_some())?;
        if let Some(quota) = quota {
            self.tell(format_args!("{quota}"))?;
        }
        Ok(Answer::ok("that is how it stands"))
    }

    fn tell_root(&mut self, name: &FolderName, has_root: bool) -> Result<(), super::answer::End> {
        let name = self.show_name(name);
        self.connection.put(b"* QUOTAROOT ")?;
        self.connection.put(&name)?;
        self.connection.put(if has_root { b" \"\"\r\n" } else { b"\r\n" })?;
        Ok(())
    }

    /// In units of 1024 octets (RFC 9208 §5.1), what is used rounded up.
    fn show_quota(&self) -> Result<Option<String>, Answer> {
        let quota = self.server.post.quota(&self.account()?)?;
        Ok(quota.map(|quota| format!("QUOTA \"\" (STORAGE {} {})", quota.used.div_ceil(1024), quota.limit / 1024)))
    }
}

fn no_root() -> Answer {
    Answer::no("NONEXISTENT", "there is no such quota root")
}
