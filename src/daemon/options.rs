//! The command line.

use getopts::{Matches, Options as Parser, ParsingStyle};
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-d`: stay in the foreground, log to standard error.
    pub foreground: bool,
    /// `-n`: check the configuration and end.
    pub check: bool,
    /// `-h`.
    pub help: bool,
    /// `-V`.
    pub version: bool,
    /// `-f`: the configuration file.
    pub file: Option<PathBuf>,
    /// `-o`: settings that go over the file's.
    pub settings: Vec<String>,
    /// `-v`, how often: a more talkative log.
    pub verbose: usize,
}

fn parser() -> Parser {
    let mut parser = Parser::new();
    parser.parsing_style(ParsingStyle::StopAtFirstFree);
    parser.optflag("d", "", "stay in the foreground, log to standard error");
    parser.optflag("n", "", "check the configuration and end");
    parser.optflag("h", "", "show this help");
    parser.optflag("V", "", "show the version");
    parser.optopt("f", "", "configuration file (/etc/pillarbox/pillarbox.conf)", "FILE");
    parser.optmulti("o", "", "set a key of the configuration, over what the file says", "KEY=VALUE");
    parser.optflagmulti("v", "", "log more; twice: more still");
    parser
}

impl Options {
    /// Reads the words after the program's name. An error is a line for the user.
    pub fn parse(words: &[String]) -> Result<Options, String> {
        let matches: Matches = parser().parse(words).map_err(|error| error.to_string())?;
        if let Some(word) = matches.free.first() {
            return Err(format!("`{word}` is not an option"));
        }
        Ok(Options {
            foreground: matches.opt_present("d"),
            check: matches.opt_present("n"),
            help: matches.opt_present("h"),
            version: matches.opt_present("V"),
            file: matches.opt_str("f").map(PathBuf::from),
            settings: matches.opt_strs("o"),
            verbose: matches.opt_count("v"),
        })
    }
}

/// What `-h` shows.
pub fn usage() -> String {
    parser().usage("usage: pillarbox [-d] [-n] [-h] [-V] [-f FILE] [-o KEY=VALUE]... [-v]...")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_as_designed() {
        let options = parse("-dvv -f x.conf -o a=b -o c=[1]").unwrap();
        assert!(options.foreground && !options.check);
        assert_eq!((options.verbose, options.file), (2, Some("x.conf".into())));
        assert_eq!(options.settings, ["a=b", "c=[1]"]);
        assert!(parse("-x").is_err());
        assert!(parse("start").is_err());
        assert!(parse("-f").is_err());
        assert!(usage().contains("-n"));
    }
}
