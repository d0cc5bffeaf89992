//! Mailing lists as seen through the control socket.

use super::session::Refusal;
use crate::delivery::{Delivery, HeldPost, ListError, ShownList};
use crate::lists::{Judgement, Name};
use crate::mail::Address;
use crate::spool::SpoolId;
use crate::sys::exit;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What is asked about lists.
///
/// ```abnf
/// request = "list" / ( "show" / "members" / "held" / "delete" ) SP name / ( "create" / "add" / "remove" ) SP name SP address
///         / ( "approve" / "reject" / "discard" ) SP name SP id
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Which are there?
    List,
    /// All about one.
    Show(Name),
    /// Who is a member?
    Members(Name),
    /// Which posts wait for a moderator?
    Held(Name),
    /// Make one, with this owner.
    Create(Name, Address),
    /// Add a member.
    Add(Name, Address),
    /// Remove one.
    Remove(Name, Address),
    /// Decide on a post.
    Judge(Name, SpoolId, Judgement),
    /// End it.
    Delete(Name),
}

impl Request {
    /// Reads what follows `list `.
    pub fn parse(text: &str) -> Result<Request, String> {
        let (act, rest) = text.split_once(' ').unwrap_or((text, ""));
        if (act, rest) == ("list", "") {
            return Ok(Request::List);
        }
        let (name, what) = rest.split_once(' ').map_or((rest, None), |(name, what)| (name, Some(what)));
        let name = Name::parse(name).ok_or_else(|| {
            "the name of a list has up to 20 letters, digits, dots, dashes and underscores, and ends in no word such as -owner"
                .to_owned()
        });
        let address = |what: &str| what.parse().map_err(|_| "that is not an address such as user@example.org".to_owned());
        let judge = |what: &str, judgement| {
            let id = what.parse().map_err(|()| "that is not the id of a post; see list held".to_owned())?;
            Ok(Request::Judge(name.clone()?, id, judgement))
        };
        match (act, what) {
            ("show", None) => Ok(Request::Show(name?)),
            ("members", None) => Ok(Request::Members(name?)),
            ("held", None) => Ok(Request::Held(name?)),
            ("delete", None) => Ok(Request::Delete(name?)),
            ("create", Some(owner)) => Ok(Request::Create(name?, address(owner)?)),
            ("add", Some(member)) => Ok(Request::Add(name?, address(member)?)),
            ("remove", Some(member)) => Ok(Request::Remove(name?, address(member)?)),
            ("approve", Some(id)) => judge(id, Judgement::Approve),
            ("reject", Some(id)) => judge(id, Judgement::Reject),
            ("discard", Some(id)) => judge(id, Judgement::Discard),
            _ => Err("unknown request".to_owned()),
        }
    }

    /// Does it change anything?
    pub fn is_act(&self) -> bool {
        !matches!(self, Request::List | Request::Show(_) | Request::Members(_) | Request::Held(_))
    }
}

/// Does it.
pub fn answer(delivery: &Delivery, request: &Request) -> Result<Value, Refusal> {
    Ok(match request {
        Request::List => delivery.list_names().map_err(refusal)?.into(),
        Request::Show(name) => shown(&delivery.list_show(name).map_err(refusal)?),
        Request::Members(name) => {
            delivery.list_members(name).map_err(refusal)?.iter().map(|member| Value::from(member.to_string())).collect()
        }
        Request::Held(name) => delivery.list_held(name).map_err(refusal)?.iter().map(held).collect(),
        Request::Create(name, owner) => {
            let identity = delivery.list_create(name, owner).map_err(refusal)?;
            json!({ "address": identity.address() })
        }
        Request::Add(name, member) => json!({ "changed": delivery.list_add(name, member).map_err(refusal)? }),
        Request::Remove(name, member) => json!({ "changed": delivery.list_remove(name, member).map_err(refusal)? }),
        Request::Judge(name, id, judgement) => {
            delivery.list_judge(name, *id, *judgement).map_err(refusal)?;
            Value::Null
        }
        Request::Delete(name) => {
            json!({ "removed": delivery.list_delete(name).map_err(refusal)? })
        }
    })
}

fn refusal(error: ListError) -> Refusal {
    let code = match &error {
        ListError::Unknown | ListError::NotHeld => exit::UNAVAILABLE,
        ListError::Taken(_) => exit::CANTCREAT,
        ListError::Trouble(_) => exit::TEMPFAIL,
    };
    Refusal::new(code, error)
}

fn shown(list: &ShownList) -> Value {
    let bounces = list.bounces.iter().map(|(member, days, paused)| json!({ "member": member, "days": days, "paused": paused }));
    json!({
        "address": list.address,
        "settings": list.settings.to_string(),
        "members": list.members,
        "wrong": list.wrong,
        "bounces": bounces.collect::<Vec<_>>(),
        "held": list.held,
    })
}

fn held(post: &HeldPost) -> Value {
    let time = Timestamp::from_microsecond(post.time.0).map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    json!({ "id": post.id.to_string(), "time": time.unwrap_or_default(), "author": post.author, "subject": post.subject })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let (name, bob) = (Name::parse("staff").unwrap(), "bob@x.test".parse::<Address>().unwrap());
        let id: SpoolId = "57a3b1c09d3e1f22-2a".parse().unwrap();
        for (text, wanted) in [
            ("list", Request::List),
            ("show Staff", Request::Show(name.clone())),
            ("members staff", Request::Members(name.clone())),
            ("held staff", Request::Held(name.clone())),
            ("create staff bob@x.test", Request::Create(name.clone(), bob.clone())),
            ("add staff bob@x.test", Request::Add(name.clone(), bob.clone())),
            ("remove staff bob@x.test", Request::Remove(name.clone(), bob)),
            ("approve staff 57a3b1c09d3e1f22-2a", Request::Judge(name.clone(), id, Judgement::Approve)),
            ("reject staff 57a3b1c09d3e1f22-2a", Request::Judge(name.clone(), id, Judgement::Reject)),
            ("discard staff 57a3b1c09d3e1f22-2a", Request::Judge(name.clone(), id, Judgement::Discard)),
            ("delete staff", Request::Delete(name)),
        ] {
            assert_eq!(Request::parse(text), Ok(wanted), "{text}");
        }
        for text in [
            "",
            "list x",
            "show",
            "show ..",
            "show a b",
            "create staff",
            "create a-owner a@x.test",
            "add staff x",
            "approve staff x",
            "x staff",
        ] {
            assert!(Request::parse(text).is_err(), "{text}");
        }
    }
}
