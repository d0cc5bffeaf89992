//! What the monitor answers, and on what grounds: its own configuration and the system's word, never what stands in a question.

use super::children::Kind;
use crate::config::{self, Config, Program, UserDatabase, Via};
use crate::daemon::options::Options;
use crate::daemon::{background, listeners, logger, supervise};
use crate::delivery::alias_file_has;
use crate::host::asuser::{self, Roots};
use crate::host::line::{self, FACTS, Job, Line, LineOf, harmless};
use crate::host::monitor::wire::{Answer, Environment, Named, Question};
use crate::host::program::{Run, run};
use crate::host::{Account, Chain, Host, system};
use crate::mail::alias::{self, Target};
use crate::sys::unix::image::give_back_what_started;
use crate::sys::unix::packet;
use crate::sys::{Disk, RealDisk};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::User;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A child that takes longer is stuck, on a file system that does not answer, say.
const LIMIT: Duration = Duration::from_secs(30);
/// A certificate that is bigger is none.
const MOST_PEM: u64 = 1 << 20;

/// An answer, and the descriptors that go with it.
type Reply = io::Result<(Answer, Vec<OwnedFd>)>;

/// A question that has come, with where its answer goes.
#[derive(Debug)]
pub struct Asked {
    pub question: Question,
    socket: OwnedFd,
    /// What a program is to read.
    input: Option<File>,
}

impl Asked {
    /// None: something else came with it than has to.
    pub fn new(question: Question, descriptors: Vec<OwnedFd>) -> Option<Asked> {
        let mut descriptors = descriptors.into_iter();
        let socket = descriptors.next()?;
        let input =
            matches!(question, Question::RunProgram(..) | Question::RunLine(..)).then(|| descriptors.next().map(File::from));
        let input = match input {
            Some(input) => Some(input.filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))?),
            None => None,
        };
        descriptors.next().is_none().then_some(Asked { question, socket, input })
    }

    /// What a program is to read; it came with the question.
    fn input(&self) -> io::Result<File> {
        self.input.as_ref().ok_or(ErrorKind::InvalidInput)?.try_clone()
    }

    /// Gives the answer; `wait` until there is room for it.
    pub fn reply(&self, answer: &Answer, files: &[OwnedFd], wait: bool) -> io::Result<()> {
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        packet::send(self.socket.as_fd(), &answer.encode(), &files, wait)
    }

    /// Nobody waits for the answer any more, or whoever does wants what was begun to end.
    pub fn is_given_up(&self) -> bool {
        packet::is_closed(&self.socket)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Clerk {
    options: Options,
    /// What the daemon works by.
    config: Config,
    /// What it was last given, and may not have taken up.
    candidate: Config,
    host: Arc<dyn Host>,
    roots: Roots,
}

impl Clerk {
    /// An error: a users file can't be read.
    pub fn new(options: &Options, config: &Config) -> io::Result<Clerk> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        Ok(Clerk {
            options: options.clone(),
            config: config.clone(),
            candidate: config.clone(),
            host: Arc::new(Chain::open(&disk, config)?),
            roots: Roots::new(&config.mail, &config.spool),
        })
    }

    /// The kind of child that has to answer this. None: it is answered at once.
    pub fn kind_of(&self, question: &Question) -> Option<Kind> {
        match question {
            Question::Ready | Question::AllHaveScram | Question::Reload | Question::Adopt => None,
            // Where the system keeps its users may be far away.
            Question::Account(_) | Question::Scram(_) => self.config.has_system_users().then_some(Kind::Quick),
            Question::Verify(..) | Question::SetPassword(..) => Some(Kind::Password),
            Question::RunProgram(..) | Question::RunLine(..) => Some(Kind::Program),
            Question::OpenMailbox(..) | Question::OpenDotlock(..) => Some(Kind::Quick),
            Question::MakeFolders(..) | Question::OpenLine(_) => Some(Kind::Quick),
            Question::Forward(_) | Question::Vacation(_) | Question::Bind(_) => Some(Kind::Quick),
        }
    }

    /// How long a child may take.
    pub fn time_for(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Quick | Kind::Password => LIMIT,
            // It ends the program itself, long before that.
            Kind::Program => self.config.timeouts.program.saturating_add(2 * LIMIT),
        }
    }

    /// Reads users files that have changed: children would else do that, each for itself.
    pub fn prepare(&self, question: &Question) {
        if let (Question::Verify(name, _), false) = (question, self.config.has_system_users()) {
            // An error there is the child's, too.
            let _ = self.host.account(name);
        }
    }

    /// Answers what [`Clerk::kind_of`] leaves to this process.
    pub fn answer_now(&mut self, question: &Question) -> Reply {
        match question {
            Question::Ready => {
                if !self.options.foreground {
                    background::leave_terminal(!self.config.log.syslog);
                }
                give_back_what_started();
                plain(Answer::Done)
            }
            Question::Account(name) => plain(Answer::Account(self.account(name)?)),
            Question::Scram(name) => plain(Answer::Scram(self.host.scram(name)?)),
            Question::AllHaveScram => plain(Answer::Flag(self.host.all_have_scram())),
            Question::Reload => self.reload(),
            Question::Adopt => {
                self.config = self.candidate.clone();
                logger::set_level(&self.config.log, self.options.verbose);
                plain(Answer::Done)
            }
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// Answers all else, in a process of its own: it may become somebody else for that.
    pub fn answer(&self, asked: &Asked) -> Reply {
        match &asked.question {
            Question::Account(name) => plain(Answer::Account(self.account(name)?)),
            Question::Scram(name) => plain(Answer::Scram(self.host.scram(name)?)),
            Question::Verify(name, password) => {
                plain(Answer::Account(self.host.verify(name, password)?.map(|account| (account, false))))
            }
            Question::SetPassword(name, old, new) => plain(Answer::Flag(self.host.set_password(name, old, new)?)),
            Question::OpenMailbox(name, path, how) => {
                let account = self.account_with_files(name)?;
                Ok((Answer::Done, vec![asuser::open_mailbox(&self.roots, &account, path, *how)?.into()]))
            }
            Question::OpenDotlock(path, how) => {
                let file = asuser::open_dotlock(&self.roots, &self.daemon_account("")?, path, *how)?;
                Ok((Answer::Done, vec![file.into()]))
            }
            Question::MakeFolders(name, path) => {
                asuser::make_folders(&self.roots, &self.account_with_files(name)?, path)?;
                plain(Answer::Done)
            }
            Question::Forward(name) => self.at_home(name, line::FORWARD),
            Question::Vacation(name) => self.at_home(name, line::VACATION),
            Question::RunProgram(program, facts) => self.run_program(asked, program, facts),
            Question::RunLine(named, facts) => self.run_line(asked, named, facts),
            Question::OpenLine(named) => self.open_line(named),
            Question::Bind(address) => self.bind(address),
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// The account of a name, and whether it stands in a file and nobody else can take the name before that.
    fn account(&self, name: &str) -> io::Result<Option<(Account, bool)>> {
        let is_in_file = |account: &Account| match account.is_system() {
            true => system::is_in_file(account),
            false => !self.config.users.iter().rev().skip(1).any(|database| *database == UserDatabase::System),
        };
        let account = self.host.account(name)?;
        Ok(account.map(|account| {
            let is_in_file = is_in_file(&account);
            (account, is_in_file)
        }))
    }

    /// What stands in this file of a user's home.
    fn at_home(&self, name: &str, file: &str) -> Reply {
        let account = self.system_account(name)?;
        plain(match asuser::read_at_home(&account, file)? {
            Some(content) => Answer::Content(content),
            None => Answer::Nothing { shows: line::would_show(&account, file) },
        })
    }

    /// With whom the user's mailbox is: who has no account of the system shares the daemon's.
    fn account_with_files(&self, name: &str) -> io::Result<Account> {
        let account = self.host.account(name)?.filter(|_| self.config.has_system_users());
        match account {
            Some(account) if account.is_system() => Ok(account),
            Some(account) => self.daemon_account(&account.name),
            None => Err(refused(format!("{name:?} has no mailbox that the daemon could not open itself"))),
        }
    }

    /// The daemon's own, under this name.
    fn daemon_account(&self, name: &str) -> io::Result<Account> {
        let user = User::from_name(&self.config.user)?.ok_or(ErrorKind::NotFound)?;
        Ok(Account { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: None })
    }

    /// One of the system's. The files of others are the daemon's own.
    fn system_account(&self, name: &str) -> io::Result<Account> {
        let account = self.host.account(name)?.filter(Account::is_system);
        account.ok_or_else(|| refused(format!("{name:?} is no user of the system")))
    }

    /// One that stands in the configuration, with all its words, as who is named there or as the daemon.
    fn run_program(&self, asked: &Asked, program: &Program, facts: &Environment) -> Reply {
        let is_configured =
            self.config.routes.iter().any(|route| matches!(&route.via, Via::Program(known) if **known == *program));
        if !is_configured {
            return Err(refused(format!("the configuration names no program {:?}", program.words)));
        }
        let environment = checked(facts)?;
        let user = Some(program.user.as_deref().unwrap_or(&self.config.user));
        let (input, is_over) = (asked.input()?, self.is_over(asked));
        let (end, said) = run(Run { words: &program.words, user, account: None, environment: &environment, input }, is_over)?;
        plain(Answer::Ran(end, said))
    }

    /// Of a program that is run for this question: is its time up?
    fn is_over<'a>(&self, asked: &'a Asked) -> impl FnMut() -> bool + use<'a> {
        let until = Instant::now() + self.config.timeouts.program.saturating_add(LIMIT);
        move || asked.is_given_up() || Instant::now() >= until
    }

    /// The command of a line that stands where it is said to stand, as its owner.
    fn run_line(&self, asked: &Asked, named: &Named, facts: &Environment) -> Reply {
        let environment = checked(facts)?;
        let line = self.find_line(named)?;
        let job = Job { environment: &environment, input: asked.input()? };
        let (end, said) = line::run_command(&line, job, Some(&self.config.alias_user), &mut self.is_over(asked))?;
        plain(Answer::Ran(end, said))
    }

    /// The file of such a line, as its owner.
    fn open_line(&self, named: &Named) -> Reply {
        let line = self.find_line(named)?;
        if line.of == LineOf::Aliases {
            asuser::become_named(&self.config.alias_user)?;
        }
        let file = line::open_to_append(&line, None)?;
        Ok((Answer::Done, file.into_iter().map(OwnedFd::from).collect()))
    }

    /// Looks a line up in its file: as root in that of the administrator, in a user's own as that user, who this process is
    /// then. What stands in none is not done.
    fn find_line(&self, named: &Named) -> io::Result<Line> {
        let text = named.text.clone();
        let (of, stands_there) = match &named.user {
            None => {
                let path = self.config.aliases.as_deref().ok_or_else(|| refused("there are no aliases".into()))?;
                (LineOf::Aliases, alias_file_has(path, &text)?)
            }
            Some(user) => {
                let account = self.system_account(user)?;
                let forward = asuser::read_at_home(&account, line::FORWARD)?.unwrap_or_default();
                let targets = alias::parse_list(&String::from_utf8_lossy(&forward)).unwrap_or_default();
                (LineOf::Forward(account), targets.iter().any(|(_, target)| *target == Target::Line(text.clone())))
            }
        };
        match stands_there {
            true => Ok(Line { of, number: 0, text }),
            false => Err(refused(format!("no file names {text:?}"))),
        }
    }

    /// The text of the configuration, certificate and keys. What can't change while the daemon runs stays as it is.
    fn reload(&mut self) -> Reply {
        let file = self.options.file.as_deref();
        let told = |report: config::Report| io::Error::new(ErrorKind::InvalidData, report.to_string());
        let text = config::content(file).map_err(told)?;
        let mut config = config::from_content(file, &text, &self.options.settings).map_err(told)?;
        supervise::keep_what_needs_a_restart(&mut config, &self.config);
        let mut files = vec![in_memory(text.as_bytes())?];
        if let Some((certificate, key)) = &config.tls {
            files.push(in_memory(&pem("certificate", certificate)?)?);
            files.push(in_memory(&pem("certificate", key)?)?);
        }
        for dkim in &config.dkim {
            files.push(in_memory(&pem("dkim", &dkim.key)?)?);
        }
        self.candidate = config;
        Ok((Answer::Done, files))
    }

    /// Only where the configuration says.
    fn bind(&self, address: &str) -> Reply {
        let plans = listeners::plan(&self.candidate);
        let plan = plans.iter().find(|plan| plan.endpoint.to_string() == address);
        let plan = plan.ok_or_else(|| refused(format!("the configuration does not listen at {address:?}")))?;
        let bound = listeners::bind(plan)?.map(listeners::Listener::give).transpose()?;
        Ok((Answer::Done, bound.into_iter().collect()))
    }
}

fn plain(answer: Answer) -> Reply {
    Ok((answer, Vec::new()))
}

/// What no daemon of ours would ask.
fn refused(why: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, Refused(why))
}

/// Is this such an error? (A file of a user's that may not be opened is none.)
pub fn is_refusal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Refused>())
}

#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// The facts as they may be told: no other name, which a shell or a library might obey, and no value that is more than it seems.
fn checked(facts: &Environment) -> io::Result<Vec<(&'static str, String)>> {
    let check = |(name, value): &(String, String)| {
        let name = FACTS.into_iter().find(|known| known == name).filter(|_| harmless(value) == *value);
        name.map(|name| (name, value.clone())).ok_or_else(|| refused("an environment that is none of ours".into()))
    };
    facts.iter().map(check).collect()
}

fn pem(what: &str, path: &Path) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{what}: {}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_PEM).read_to_end(&mut bytes)).map_err(named)?;
    Ok(bytes)
}

/// A file that lies nowhere.
fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"pillarbox", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}
