//! What operators do to lists.

use super::super::{Delivery, Office, local};
use super::List;
use crate::lists::{Identity, Judgement, Name, Settings, members, token};
use crate::mail::Address;
use crate::spool::SpoolId;
use crate::sys::Time;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why it can't be done.
#[derive(Debug)]
pub enum ListError {
    /// There is no such list.
    Unknown,
    /// Its name stands for something else, or is none.
    Taken(String),
    /// The post does not wait for a moderator.
    NotHeld,
    /// Perhaps later.
    Trouble(String),
}

impl fmt::Display for ListError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::Unknown => out.write_str("there is no such list"),
            ListError::NotHeld => out.write_str("no such post waits for a moderator of that list"),
            ListError::Taken(why) | ListError::Trouble(why) => out.write_str(why),
        }
    }
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> ListError {
        ListError::Trouble(error.to_string())
    }
}

/// All about a list.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its address.
    pub address: String,
    /// What it is like.
    pub settings: Settings,
    /// How many members it has.
    pub members: usize,
    /// Lines of `members` that are none, in words.
    pub wrong: Vec<String>,
    /// Members whose mail came back, on how many days, and whether they are paused.
    pub bounces: Vec<(String, u32, bool)>,
    /// How many posts wait.
    pub held: usize,
}

/// A post that waits for a moderator.
#[derive(Clone, Debug)]
pub struct HeldPost {
    /// Its name.
    pub id: SpoolId,
    /// When it was taken.
    pub time: Time,
    /// Who wrote it.
    pub author: String,
    /// Of what, decoded.
    pub subject: String,
}

impl Delivery {
    /// The names of all lists.
    pub fn list_names(&self) -> Result<Vec<String>, ListError> {
        Ok(self.office.lists().names()?.iter().map(Name::to_string).collect())
    }

    /// Makes a list. None of its addresses may stand for something else.
    pub fn list_create(&self, name: &Name, owner: &Address) -> Result<Identity, ListError> {
        let identity = Identity { name: name.clone(), domain: self.office.first_domain() };
        for local in identity.names() {
            if self.office.is_taken(&local, &identity.domain)? {
                return Err(ListError::Taken(format!("{local}@{} is an address here already", identity.domain)));
            }
        }
        match self.office.lists().create(name, &Settings::new(owner.clone()))? {
            true => Ok(identity),
            false => Err(ListError::Taken(format!("{} is a list already", identity.address()))),
        }
    }

    /// All about a list.
    pub fn list_show(&self, name: &Name) -> Result<Shown, ListError> {
        let list = found(&self.office, name)?;
        let (members, wrong) = members::parse(&list.files.members_text(name)?);
        let bounces = list.files.bounces(name)?;
        let today = token::day(self.office.clock.now());
        Ok(Shown {
            address: list.identity.address(),
            members: members.len(),
            wrong: wrong.iter().map(ToString::to_string).collect(),
            bounces: bounces.all(today).map(|(member, days, paused)| (member.to_string(), days, paused)).collect(),
            held: list.all_held()?.len(),
            settings: list.settings,
        })
    }

    /// The members of a list.
    pub fn list_members(&self, name: &Name) -> Result<Vec<Address>, ListError> {
        Ok(found(&self.office, name)?.files.members(name)?)
    }

    /// Adds a member. False: it was one.
    pub fn list_add(&self, name: &Name, member: &Address) -> Result<bool, ListError> {
        let list = found(&self.office, name)?;
        if list.identity.has(member) {
            return Err(ListError::Taken("a list can't be a member of itself".into()));
        }
        list.files.change_bounces(name, |bounces| bounces.forget(member))?;
        Ok(list.files.add(name, member)?)
    }

    /// Removes one. False: it was none.
    pub fn list_remove(&self, name: &Name, member: &Address) -> Result<bool, ListError> {
        let list = found(&self.office, name)?;
        let was = list.files.remove(name, member)?;
        list.files.change_bounces(name, |bounces| bounces.forget(member))?;
        Ok(was)
    }

    /// The posts that wait.
    pub fn list_held(&self, name: &Name) -> Result<Vec<HeldPost>, ListError> {
        found(&self.office, name)?.all_held()
    }

    /// Decides on one.
    pub fn list_judge(&self, name: &Name, id: SpoolId, judgement: Judgement) -> Result<(), ListError> {
        let list = found(&self.office, name)?;
        let _judging = self.office.desk.judging();
        let trouble = |verdict| ListError::Trouble(format!("it can't be done now: {verdict:?}"));
        let post = list.held(id).map_err(trouble)?.ok_or(ListError::NotHeld)?;
        let done = list.judge(&post, judgement).map_err(trouble)?;
        log::info!("msg={id} event=list list={name} outcome=\"{}\"", done.text);
        for entry in list.commit(done, Vec::new()).map_err(trouble)? {
            local::first_round(&self.office, &entry, &[]);
        }
        self.office.keeper.stir();
        Ok(())
    }
}

pub(super) fn found<'a>(office: &'a Arc<Office>, name: &Name) -> Result<List<'a>, ListError> {
    let settings = office.lists().settings(name)?.ok_or(ListError::Unknown)?;
    let domain = settings.domain.clone().unwrap_or_else(|| office.first_domain());
    Ok(office.list(Identity { name: name.clone(), domain }, settings)?)
}
