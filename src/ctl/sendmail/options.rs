//! The command line of sendmail(8). Programs pass all kinds of flags that meant something to some sendmail once; what means
//! nothing here is passed over.

use super::pick::Pick;
use crate::ctl::Failure;
use crate::mail::MailDsn;
use crate::mail::dsn::{BadParameter, Notify, Return, Xtext};
use crate::sys::exit;
use std::ffi::OsString;
use std::path::PathBuf;

/// What is to be done.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `-bm`: hand in the message on standard input.
    #[default]
    Deliver,
    /// `-bs`: speak SMTP on standard input and output.
    Smtp,
    /// `-bp`: show the queue.
    List,
    /// `-q`: try what waits.
    Flush,
    /// `-bv`: tell where mail for the addresses would go.
    Verify,
    /// `-bi`, `-I`: make the alias file's database, of which there is none.
    Aliases,
}

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What is to be done.
    pub mode: Mode,
    /// `-t`: recipients stand in the message.
    pub from_header: bool,
    /// `-i`, `-oi`: a line with a lone dot does not end the message.
    pub ignore_dots: bool,
    /// `-f`, `-r`.
    pub sender: Option<String>,
    /// `-F`.
    pub full_name: Option<String>,
    /// `-R`, `-V`.
    pub dsn: MailDsn,
    /// `-N`, for all recipients.
    pub notify: Option<Notify>,
    /// `-qI`, `-qR`, `-qS`: which messages of the queue; none: all.
    pub picks: Vec<Pick>,
    /// `-C`.
    pub config: Option<PathBuf>,
    /// Words that are no options.
    pub recipients: Vec<String>,
}

impl Options {
    /// Reads the words after the program's name.
    pub fn parse(words: &[OsString]) -> Result<Options, Failure> {
        let mut options = Options::default();
        let mut words = words.iter().map(|word| word.to_string_lossy());
        while let Some(word) = words.next() {
            if word == "--" {
                options.recipients.extend(words.map(|word| word.into_owned()));
                break;
            }
            match word.strip_prefix('-') {
                Some(flags) => options.flags(flags, || words.next().map(|word| word.into_owned()))?,
                None => options.recipients.push(word.into_owned()),
            }
        }
        Ok(options)
    }

    /// One word of flags: `i`, `ti`, `fsomeone@example.org`. `next` gives the word after it.
    fn flags(&mut self, flags: &str, mut next: impl FnMut() -> Option<String>) -> Result<(), Failure> {
        let mut rest = flags;
        while let Some(flag) = rest.chars().next() {
            rest = rest.get(flag.len_utf8()..).unwrap_or_default();
            match flag {
                'i' => self.ignore_dots = true,
                't' => self.from_header = true,
                'I' => self.mode = Mode::Aliases,
                // What follows in the same word belongs to these; they never take another word.
                'b' | 'o' | 'q' | 'd' | 'e' | 'A' => return self.attached(flag, rest),
                // These take the rest of the word, or the next one.
                'f' | 'r' | 'F' | 'C' | 'B' | 'D' | 'h' | 'L' | 'M' | 'N' | 'O' | 'p' | 'R' | 'V' | 'X' => {
                    let value = if rest.is_empty() { next() } else { Some(rest.to_owned()) };
                    let value = value.ok_or_else(|| Failure::new(exit::USAGE, format!("-{flag} needs a value")))?;
                    let wrong = |_| Failure::new(exit::USAGE, format!("-{flag} {}: no such value", value.escape_debug()));
                    return self.valued(flag, &value).map_err(wrong);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn attached(&mut self, flag: char, value: &str) -> Result<(), Failure> {
        match (flag, value) {
            ('b', "m") => self.mode = Mode::Deliver,
            ('b', "s") => self.mode = Mode::Smtp,
            ('b', "p") => self.mode = Mode::List,
            ('b', "v") => self.mode = Mode::Verify,
            ('b', "i") => self.mode = Mode::Aliases,
            ('b', other) => return Err(Failure::new(exit::USAGE, format!("-b{other} is not served by this sendmail"))),
            ('q', _) => return self.queue(value),
            ('o', "i") => self.ignore_dots = true,
            _ => {}
        }
        Ok(())
    }

    /// `-q`, and what can follow it: which messages; an interval, and how long to stay, which mean nothing beside a daemon.
    fn queue(&mut self, value: &str) -> Result<(), Failure> {
        let rest = value.trim_start_matches(['f', 'p']);
        match Pick::parse(value) {
            Some(pick) => self.picks.push(pick),
            None if rest.is_empty() || rest.starts_with(|first: char| first.is_ascii_digit()) => {}
            // Of quarantined mail, of a queue group, of a queue of its own: other mail than this would be a surprise.
            None => return Err(Failure::new(exit::USAGE, format!("-q{} is not served by this sendmail", value.escape_debug()))),
        }
        // `-bp` may stand beside it.
        if self.mode != Mode::List {
            self.mode = Mode::Flush;
        }
        Ok(())
    }

    fn valued(&mut self, flag: char, value: &str) -> Result<(), BadParameter> {
        match flag {
            'f' | 'r' => self.sender = Some(value.to_owned()),
            'F' => self.full_name = Some(value.to_owned()),
            'C' => self.config = Some(value.into()),
            'N' => self.notify = Some(Notify::parse(value)?),
            'R' => self.dsn.ret = Some(Return::parse(value)?),
            'V' => self.dsn.id = Some(MailDsn::id(&Xtext::encode(value)?.to_string())?),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Options {
        Options::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_programs_say() {
        // cron, mdadm, PHP, mutt, git, mailx.
        assert_eq!(parse("-i -FCronDaemon -B8BITMIME -oem root").recipients, ["root"]);
        assert!(parse("-t").from_header);
        assert!(parse("-ti").ignore_dots);
        let mutt = parse("-oem -oi -f me@here.test -- a@b.test -c@d.test");
        assert_eq!((mutt.sender.as_deref(), mutt.ignore_dots), (Some("me@here.test"), true));
        assert_eq!(mutt.recipients, ["a@b.test", "-c@d.test"]);
        let asking = parse("-i -r x@y.test -N failure,Delay -R hdrs -V id=1 a@b.test");
        assert_eq!(
            (asking.recipients, asking.dsn.to_string()),
            (vec!["a@b.test".to_owned()], " RET=HDRS ENVID=id+3D1".to_owned())
        );
        assert_eq!(asking.notify.map(|notify| notify.to_string()).as_deref(), Some("FAILURE,DELAY"));
        for wrong in ["-Nnever,success", "-Rsome", "-V\u{e4}"] {
            assert!(Options::parse(&[wrong.into()]).is_err(), "{wrong}");
        }
        assert_eq!(parse("-fx@y.test a").sender.as_deref(), Some("x@y.test"));
        assert_eq!(parse("-bs").mode, Mode::Smtp);
        assert_eq!(parse("-bp").mode, Mode::List);
        assert_eq!((parse("-bv a").mode, parse("-bi").mode, parse("-I").mode), (Mode::Verify, Mode::Aliases, Mode::Aliases));
        for all in ["-q", "-q30m", "-qf", "-qp5m", "-qp"] {
            assert_eq!((parse(all).mode, parse(all).picks.len()), (Mode::Flush, 0), "{all}");
        }
        for some in ["-qRaway.test -q!Sbob", "-bp -qI1 -qI2", "-q -qR@a.test -q!I3"] {
            let list = some.starts_with("-bp");
            assert_eq!((parse(some).mode == Mode::List, parse(some).picks.len()), (list, 2), "{some}");
        }
        for wrong in ["-qQ", "-qGslow", "-qL", "-qR", "-q!", "-qx"] {
            assert!(Options::parse(&[wrong.into()]).is_err(), "{wrong}");
        }
        assert_eq!(parse("-Am -v -n -G -U -odb -d0.1 a").recipients, ["a"]);
        assert!(Options::parse(&["-f".into()]).is_err());
        assert!(Options::parse(&["-bd".into()]).is_err());
    }
}
