//! What becomes of a post.

use super::facts::{Automatic, Facts};
use super::settings::{Posting, Settings, Strangers};
use super::{Identity, Role};
use crate::mail::Address;

/// See the module. What is said of it is for the log, and for who wrote it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to all members.
    Distribute,
    /// It waits for a moderator, for this reason.
    Hold(&'static str),
    /// It goes back.
    Reject(&'static str),
    /// Nobody hears of it.
    Drop(&'static str),
}

/// Decides. Who wrote it is believed as far as From and the envelope go: a list that must know better is moderated.
pub fn decide(settings: &Settings, is_member: impl Fn(&Address) -> bool, facts: &Facts) -> Decision {
    if facts.was_here {
        return Decision::Drop("it has been at this list before");
    }
    if facts.automatic == Automatic::Replied {
        return Decision::Drop("it is an automatic answer");
    }
    if facts.sender.is_none() {
        return Decision::Drop("it has no sender");
    }
    match settings.posting {
        Posting::Open => Decision::Distribute,
        Posting::Moderated => Decision::Hold("every post to this list waits for a moderator"),
        Posting::Members if facts.from.iter().chain(&facts.sender).any(is_member) => Decision::Distribute,
        Posting::Members => match settings.strangers {
            Strangers::Hold => Decision::Hold("its author is not a member"),
            Strangers::Reject => Decision::Reject("Only members may post to this list."),
        },
    }
}

/// What becomes of what comes to an address of a list.
pub fn in_words(list: &Identity, settings: &Settings, role: &Role) -> String {
    let what = match role {
        Role::Post => match (settings.posting, settings.strangers) {
            (Posting::Open, _) => "posts go to all members",
            (Posting::Members, Strangers::Hold) => "posts of members go to all members, those of others wait for a moderator",
            (Posting::Members, Strangers::Reject) => "posts of members go to all members, those of others come back",
            (Posting::Moderated, _) => "posts wait for a moderator",
        },
        Role::Request => "commands",
        Role::Subscribe => "requests to subscribe",
        Role::Unsubscribe => "requests to leave",
        Role::Help => "requests for help",
        Role::Owner => "its owners",
        Role::Confirm(_) => "confirmations",
        Role::Moderate(_) => "decisions of moderators",
        Role::Bounces(_) | Role::Probe(_) => "reports of copies that came back",
    };
    format!("mailing list {}: {what}", list.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_go_where_the_settings_say() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let is_member = |who: &Address| who.key() == "bob@x.test";
        let facts = |from: &str| Facts { sender: Some(address("eve@x.test")), from: vec![address(from)], ..Facts::default() };
        let told = |posting, strangers, facts: &Facts| {
            let settings = Settings { posting, strangers, ..Settings::new(address("o@x.test")) };
            match decide(&settings, is_member, facts) {
                Decision::Distribute => "all",
                Decision::Hold(_) => "hold",
                Decision::Reject(_) => "back",
                Decision::Drop(_) => "drop",
            }
        };
        let (bob, eve) = (facts("Bob@X.test"), facts("eve@x.test"));
        let by_envelope = Facts { sender: Some(address("bob@x.test")), ..eve.clone() };
        for (posting, strangers, facts, wanted) in [
            (Posting::Open, Strangers::Hold, &eve, "all"),
            (Posting::Members, Strangers::Hold, &bob, "all"),
            (Posting::Members, Strangers::Hold, &by_envelope, "all"),
            (Posting::Members, Strangers::Hold, &eve, "hold"),
            (Posting::Members, Strangers::Reject, &eve, "back"),
            (Posting::Moderated, Strangers::Reject, &bob, "hold"),
        ] {
            assert_eq!(told(posting, strangers, facts), wanted);
        }
        for facts in [
            Facts { was_here: true, ..bob.clone() },
            Facts { automatic: Automatic::Replied, ..bob.clone() },
            Facts { sender: None, ..bob.clone() },
        ] {
            assert_eq!(told(Posting::Open, Strangers::Hold, &facts), "drop");
        }
        assert_eq!(told(Posting::Open, Strangers::Hold, &Facts { automatic: Automatic::Generated, ..bob }), "all");
    }
}
