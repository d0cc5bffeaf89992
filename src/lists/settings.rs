//! The `settings` file of a list.

use crate::mail::alias::Wrong;
use crate::mail::{Address, Domain};
use std::fmt;

/// The form of the file.
const VERSION: &str = "1";

/// A file that is longer is none.
pub const MOST_BYTES: u64 = 64 << 10;

/// Every key, in the order in which they are written.
pub const KEYS: [&str; 14] = [
    "version",
    "description",
    "domain",
    "owners",
    "moderators",
    "posting",
    "strangers",
    "hold",
    "expired",
    "subscription",
    "replies",
    "archive",
    "archive_url",
    "bounces",
];

/// Who may post.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Posting {
    /// Everybody.
    Open,
    /// Members. Of strangers, see [`Strangers`].
    Members,
    /// Every post waits for a moderator.
    Moderated,
}

/// What becomes of the post of somebody who is no member, where only members may post.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// It waits for a moderator.
    Hold,
    /// It is sent back.
    Reject,
}

/// What a list is like.
///
/// ```abnf
/// settings = *( [ *WSP key *WSP "=" *WSP value *WSP ] LF / *WSP "#" *CHAR LF )
/// ```
///
/// Each key stands there once at most, `version` and `owners` once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it is about, on one line.
    pub description: String,
    /// Where it is; none: in all domains of this host, the first of them in what it writes.
    pub domain: Option<Domain>,
    /// Who answers for it.
    pub owners: Vec<Address>,
    /// Who decides on posts; empty: the owners.
    pub moderators: Vec<Address>,
    /// Who may post.
    pub posting: Posting,
    /// What of others.
    pub strangers: Strangers,
    /// Days for which a post waits for a moderator; 0: for ever.
    pub hold: u32,
    /// Is who wrote it told, if nobody decides?
    pub tells_expiry: bool,
    /// May one subscribe by mail?
    pub is_closed: bool,
    /// Answers go to the list, not to who wrote.
    pub replies_to_list: bool,
    /// The account and the folder that keep a copy of each post.
    pub archive: Option<(String, String)>,
    /// Where that can be read.
    pub archive_url: Option<String>,
    /// On so many days mail for a member may come back.
    pub bounces: u32,
}

impl Settings {
    /// Those of a new list.
    pub fn new(owner: Address) -> Settings {
        Settings {
            description: String::new(),
            domain: None,
            owners: vec![owner],
            moderators: Vec::new(),
            posting: Posting::Members,
            strangers: Strangers::Hold,
            hold: 30,
            tells_expiry: true,
            is_closed: false,
            replies_to_list: false,
            archive: None,
            archive_url: None,
            bounces: 5,
        }
    }

    /// Who decides on posts.
    pub fn judges(&self) -> &[Address] {
        if self.moderators.is_empty() { &self.owners } else { &self.moderators }
    }

    /// Reads the file. An error: what is wrong first.
    pub fn parse(text: &str) -> Result<Settings, Wrong> {
        let mut values: [Option<(usize, &str)>; KEYS.len()] = [None; KEYS.len()];
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |what: String| Err(Wrong { line: number, what });
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { return wrong("there is no `=`".into()) };
            let (key, value) = (key.trim(), value.trim());
            let Some(place) = KEYS.iter().position(|known| *known == key).and_then(|at| values.get_mut(at)) else {
                return wrong(format!("there is no key `{}`", key.escape_default()));
            };
            if value.chars().any(char::is_control) {
                return wrong(format!("`{key}` has a control character"));
            }
            if place.replace((number, value)).is_some() {
                return wrong(format!("`{key}` stands there twice"));
            }
        }
        let value = |key: &str| KEYS.iter().position(|known| *known == key).and_then(|at| *values.get(at)?);
        let last = text.lines().count().max(1);
        let missing = |key: &str| Wrong { line: last, what: format!("`{key}` is missing") };
        match value("version") {
            None => return Err(missing("version")),
            Some((_, VERSION)) => {}
            Some((line, _)) => return Err(Wrong { line, what: format!("`version` is {VERSION}") }),
        }
        let owners = list(value("owners"))?;
        let Some(first) = owners.first().cloned() else { return Err(missing("owners")) };
        let mut settings = Settings { owners, moderators: list(value("moderators"))?, ..Settings::new(first) };
        let told = |key: &str| value(key).filter(|(_, value)| !value.is_empty());
        if let Some((_, text)) = told("description") {
            settings.description = text.to_owned();
        }
        if let Some((line, text)) = told("domain") {
            let domain = Domain::parse(text).map_err(|_| Wrong { line, what: "`domain` is a domain".into() })?;
            settings.domain = Some(domain);
        }
        if let Some(posting) = choice(
            value("posting"),
            "`posting` is open, members or moderated",
            &[("open", Posting::Open), ("members", Posting::Members), ("moderated", Posting::Moderated)],
        )? {
            settings.posting = posting;
        }
        if let Some(strangers) = choice(
            value("strangers"),
            "`strangers` is hold or reject",
            &[("hold", Strangers::Hold), ("reject", Strangers::Reject)],
        )? {
            settings.strangers = strangers;
        }
        if let Some((line, text)) = value("hold") {
            let days = text.parse().ok().filter(|days| *days <= 1000);
            settings.hold = days.ok_or(Wrong { line, what: "`hold` is a number from 0 to 1000".into() })?;
        }
        if let Some(tells) = choice(value("expired"), "`expired` is reject or discard", &[("reject", true), ("discard", false)])?
        {
            settings.tells_expiry = tells;
        }
        if let Some(is_closed) =
            choice(value("subscription"), "`subscription` is confirm or closed", &[("confirm", false), ("closed", true)])?
        {
            settings.is_closed = is_closed;
        }
        if let Some(to_list) = choice(value("replies"), "`replies` is sender or list", &[("sender", false), ("list", true)])? {
            settings.replies_to_list = to_list;
        }
        if let Some((line, text)) = told("archive") {
            let (user, folder) = text.split_once(' ').unwrap_or((text, ""));
            let folder = folder.trim();
            if folder.is_empty() {
                return Err(Wrong { line, what: "`archive` is an account and a folder".into() });
            }
            settings.archive = Some((user.to_owned(), folder.to_owned()));
        }
        if let Some((line, text)) = told("archive_url") {
            let is_url = text.contains("://") && text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && !b"<>,".contains(&byte));
            if !is_url {
                return Err(Wrong { line, what: "`archive_url` is a URL".into() });
            }
            settings.archive_url = Some(text.to_owned());
        }
        if let Some((line, text)) = value("bounces") {
            let days = text.parse().ok().filter(|days| (1..=1000).contains(days));
            settings.bounces = days.ok_or(Wrong { line, what: "`bounces` is a number from 1 to 1000".into() })?;
        }
        Ok(settings)
    }
}

fn list(value: Option<(usize, &str)>) -> Result<Vec<Address>, Wrong> {
    let Some((line, text)) = value.filter(|(_, text)| !text.is_empty()) else { return Ok(Vec::new()) };
    let address = |word: &str| {
        let word = word.trim();
        word.parse().map_err(|_| Wrong { line, what: format!("`{}` is no address", word.escape_default()) })
    };
    text.split(',').map(address).collect()
}

fn choice<T: Copy>(value: Option<(usize, &str)>, what: &str, known: &[(&str, T)]) -> Result<Option<T>, Wrong> {
    let Some((line, text)) = value else { return Ok(None) };
    let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.map(Some).ok_or_else(|| Wrong { line, what: what.to_owned() })
}

impl fmt::Display for Settings {
    /// As the file: with every key, so that who edits it sees what there is.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |addresses: &[Address]| addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ");
        let values = [
            VERSION.to_owned(),
            self.description.clone(),
            self.domain.as_ref().map(Domain::to_string).unwrap_or_default(),
            all(&self.owners),
            all(&self.moderators),
            match self.posting {
                Posting::Open => "open",
                Posting::Members => "members",
                Posting::Moderated => "moderated",
            }
            .to_owned(),
            if self.strangers == Strangers::Hold { "hold" } else { "reject" }.to_owned(),
            self.hold.to_string(),
            if self.tells_expiry { "reject" } else { "discard" }.to_owned(),
            if self.is_closed { "closed" } else { "confirm" }.to_owned(),
            if self.replies_to_list { "list" } else { "sender" }.to_owned(),
            self.archive.as_ref().map(|(user, folder)| format!("{user} {folder}")).unwrap_or_default(),
            self.archive_url.clone().unwrap_or_default(),
            self.bounces.to_string(),
        ];
        out.write_str("# See pillarbox-lists(7).\n")?;
        KEYS.iter().zip(values).try_for_each(|(key, value)| writeln!(out, "{}", format!("{key} = {value}").trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_that_is_said_counts() {
        let text = "# a list\nversion = 1\ndescription = The staff, all of it\n domain=Me.example\nowners = a@x.test, b@x.test\n\
                    moderators = c@x.test\nposting = moderated\nstrangers = reject\nhold = 3\nexpired = discard\nsubscription = closed\nreplies = list\n\
                    archive = alice Lists/the staff\narchive_url = https://me.example/staff\nbounces = 3\n";
        let address = |text: &str| text.parse::<Address>().unwrap();
        let settings = Settings::parse(text).unwrap();
        let wanted = Settings {
            description: "The staff, all of it".into(),
            domain: Some(Domain::parse("Me.example").unwrap()),
            owners: vec![address("a@x.test"), address("b@x.test")],
            moderators: vec![address("c@x.test")],
            posting: Posting::Moderated,
            strangers: Strangers::Reject,
            hold: 3,
            tells_expiry: false,
            is_closed: true,
            replies_to_list: true,
            archive: Some(("alice".into(), "Lists/the staff".into())),
            archive_url: Some("https://me.example/staff".into()),
            bounces: 3,
        };
        assert_eq!(settings, wanted);
        let new = Settings::new(address("a@x.test"));
        for settings in [settings, new.clone()] {
            assert_eq!(Settings::parse(&settings.to_string()), Ok(settings));
        }
        assert_eq!(Settings::parse("version = 1\nowners = a@x.test"), Ok(new));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line() {
        for (text, wrong) in [
            ("", "line 1: `version` is missing"),
            ("version = 2\nowners = a@x.test", "line 1: `version` is 1"),
            ("version = 1\n", "line 1: `owners` is missing"),
            ("version = 1\nowners =\n", "line 2: `owners` is missing"),
            ("version = 1\nowners = a@x.test,\n", "line 2: `` is no address"),
            ("version = 1\nversion = 1\n", "line 2: `version` stands there twice"),
            ("version = 1\ncolour = red\n", "line 2: there is no key `colour`"),
            ("version\n", "line 1: there is no `=`"),
            ("version = 1\nowners = a@x.test\nposting = all\n", "line 3: `posting` is open, members or moderated"),
            ("version = 1\nowners = a@x.test\nposting =\n", "line 3: `posting` is open, members or moderated"),
            ("version = 1\nowners = a@x.test\narchive = alice\n", "line 3: `archive` is an account and a folder"),
            ("version = 1\nowners = a@x.test\narchive_url = x>\n", "line 3: `archive_url` is a URL"),
            ("version = 1\nowners = a@x.test\nhold = -1\n", "line 3: `hold` is a number from 0 to 1000"),
            ("version = 1\nowners = a@x.test\nexpired = no\n", "line 3: `expired` is reject or discard"),
            ("version = 1\nowners = a@x.test\nbounces = 0\n", "line 3: `bounces` is a number from 1 to 1000"),
            ("version = 1\nowners = a@x.test\ndescription = a\u{1b}b\n", "line 3: `description` has a control character"),
            ("version = 1\nowners = a@x.test\ndomain = a b\n", "line 3: `domain` is a domain"),
        ] {
            assert_eq!(Settings::parse(text).unwrap_err().to_string(), wrong, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_and_read_again(lines in proptest::collection::vec(
            "(version ?= ?1|owners = [a-c]@x\\.test(,[a-c]@x\\.test)?|posting = (open|members)|bounces = [0-9]{1,4}|hold = [0-9]{1,4}|expired = (reject|discard)|archive = a \\PC{0,5}|description = \\PC{0,9}|\\PC{0,9}=\\PC{0,9})", 0..8)) {
            if let Ok(settings) = Settings::parse(&lines.join("\n")) {
                prop_assert_eq!(Settings::parse(&settings.to_string()), Ok(settings));
            }
        }
    }
}
