//! Asks the monitor: the process with root's rights that started the daemon, and answers for the operating system.
//!
//! The daemon has given up all rights but its own. It can ask for the account of a name, whether a password is right, and for
//! what is done in a user's name; what that is, the monitor decides by its own configuration, never by what it is told here. So
//! whoever takes the daemon over can ask, and not command.
//!
//! A question is one packet, and brings one end of a fresh pair of sockets: that is where the answer comes, so that answers need
//! no order, and one that does not come holds nobody up but who asked. The files of virtual users are the daemon's own, and are
//! opened without asking where no user of the system has files.

pub mod known;
pub mod wire;

use super::asuser::{Roots, SESSION_LOCKS};
use super::program::{End, GRACE};
use super::users::Secrets;
use super::{Account, Direct, Host, Job, Line, LineOf, ScramKeys, line};
use crate::config::Program;
use crate::sys::unix::packet;
use crate::sys::{Disk, File, Open, disk::RealFile};
use known::Known;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{getegid, geteuid};
use std::fs;
use std::io::{self, ErrorKind, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::{Answer, Environment, MOST_ANSWER, MOST_QUESTION, Named, Question};

/// An answer that takes longer does not come any more. Passwords wait for each other.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether a program's time is up.
const LOOK: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub struct Monitor {
    socket: OwnedFd,
    /// For what is the daemon's own.
    own: Direct,
    closed: Option<Roots>,
    known: Known,
}

/// What is needed to take up a new configuration.
#[derive(Debug)]
pub struct Bundle {
    /// The text of the configuration file.
    pub text: String,
    /// What stands in the files that only root may be able to read: certificate and key, if the configuration names some, and
    /// then the keys of DKIM, in its order.
    pub secrets: Vec<Vec<u8>>,
}

impl Monitor {
    /// The daemon's end of the socket.
    pub fn new(disk: Arc<dyn Disk>, socket: OwnedFd) -> io::Result<Monitor> {
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(PATIENCE.as_millis().try_into().unwrap_or(i64::MAX)))?;
        Ok(Monitor { socket, own: Direct::new(disk, &[])?, closed: None, known: Known::default() })
    }

    /// Tells that the daemon serves.
    pub fn tell_ready(&self) -> io::Result<()> {
        self.done(&Question::Ready).map(drop)
    }

    /// The configuration as it is now. An error tells what is wrong with it.
    pub fn reload(&self) -> io::Result<Bundle> {
        let mut files = self.done(&Question::Reload)?.into_iter().map(fs::File::from);
        let text = String::from_utf8(content(files.next())?).map_err(|_| unheard())?;
        let secrets = files.map(|file| content(Some(file))).collect::<io::Result<_>>()?;
        Ok(Bundle { text, secrets })
    }

    /// A socket that listens at an address of that configuration. None: this host has no such address.
    pub fn bind(&self, address: &str) -> io::Result<Option<OwnedFd>> {
        Ok(self.done(&Question::Bind(address.to_owned()))?.pop())
    }

    /// Tells that this configuration is in force.
    pub fn adopt(&self) -> io::Result<()> {
        self.done(&Question::Adopt).map(drop)
    }

    /// Sends a question and what it brings. Gives the socket where the answer comes.
    fn send(&self, question: &Question, with: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
        let bytes = question.encode();
        if bytes.len() > MOST_QUESTION {
            return Err(ErrorKind::InvalidInput.into());
        }
        let (ours, theirs) = packet::pair()?;
        let descriptors: Vec<BorrowedFd<'_>> = [theirs.as_fd()].into_iter().chain(with).collect();
        packet::send(self.socket.as_fd(), &bytes, &descriptors, true)?;
        Ok(ours)
    }

    fn ask(&self, question: &Question) -> io::Result<(Answer, Vec<OwnedFd>)> {
        let socket = self.send(question, None)?;
        if !wait(socket.as_fd(), PATIENCE)? {
            return Err(io::Error::new(ErrorKind::TimedOut, "the monitor does not answer"));
        }
        answer(&socket)
    }

    fn done(&self, question: &Question) -> io::Result<Vec<OwnedFd>> {
        match self.ask(question)? {
            (Answer::Done, descriptors) => Ok(descriptors),
            _ => Err(unheard()),
        }
    }

    /// To be asked for what lies in these directories, where the daemon's cage lets it open nothing.
    pub fn closing(self, closed: Option<Roots>) -> Monitor {
        Monitor { closed, ..self }
    }

    /// Not to ask again for what is known from before.
    pub fn knowing(self, known: Known) -> Monitor {
        Monitor { known, ..self }
    }

    fn is_closed(&self, path: &Path) -> bool {
        self.closed.as_ref().is_some_and(|roots| roots.contain(path))
    }

    fn opened(&self, question: &Question) -> io::Result<Arc<dyn File>> {
        let file = self.done(question)?.pop().ok_or_else(unheard)?;
        Ok(Arc::new(RealFile(file.into())))
    }

    /// An account of this name, and whether it is in one of the files that tell who there is.
    fn find(&self, question: &Question, name: &str) -> io::Result<(Option<Account>, bool)> {
        match self.ask(question)? {
            (Answer::Account(None), _) => Ok((None, false)),
            (Answer::Account(Some((account, is_in_file))), _) if account.name.eq_ignore_ascii_case(name) => {
                let account = match account.is_system() {
                    true => account,
                    false => Account { uid: geteuid().as_raw(), gid: getegid().as_raw(), ..account },
                };
                Ok((Some(account), is_in_file))
            }
            _ => Err(unheard()),
        }
    }
}

impl Host for Monitor {
    fn account(&self, name: &str) -> io::Result<Option<Account>> {
        self.known.account(name, || self.find(&Question::Account(name.to_owned()), name))
    }

    fn verify(&self, name: &str, password: &[u8]) -> io::Result<Option<Account>> {
        Ok(self.find(&Question::Verify(name.to_owned(), password.to_owned()), name)?.0)
    }

    fn set_password(&self, name: &str, old: &[u8], new: &Secrets) -> io::Result<bool> {
        match self.ask(&Question::SetPassword(name.to_owned(), old.to_owned(), Box::new(new.clone())))? {
            (Answer::Flag(changed), _) => Ok(changed),
            _ => Err(unheard()),
        }
    }

    fn scram(&self, name: &str) -> io::Result<Option<ScramKeys>> {
        match self.ask(&Question::Scram(name.to_owned()))? {
            (Answer::Scram(keys), _) => Ok(keys),
            _ => Err(unheard()),
        }
    }

    fn all_have_scram(&self) -> bool {
        matches!(self.ask(&Question::AllHaveScram), Ok((Answer::Flag(true), _)))
    }

    fn open_mailbox(&self, account: &Account, root: &Path, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if !account.is_system() && !self.is_closed(path) {
            return self.own.open_mailbox(account, root, path, how);
        }
        self.opened(&Question::OpenMailbox(account.name.clone(), path.to_owned(), how))
    }

    fn open_dotlock(&self, path: &Path, how: Open) -> io::Result<Option<Arc<dyn File>>> {
        let is_closed = self.is_closed(path) || (self.closed.is_some() && path.starts_with(SESSION_LOCKS));
        is_closed.then(|| self.opened(&Question::OpenDotlock(path.to_owned(), how))).transpose()
    }

    fn make_folders(&self, account: &Account, root: &Path, path: &Path) -> io::Result<()> {
        if !account.is_system() && !self.is_closed(path) {
            return self.own.make_folders(account, root, path);
        }
        self.done(&Question::MakeFolders(account.name.clone(), path.to_owned())).map(drop)
    }

    fn forward_of(&self, account: &Account) -> io::Result<Option<Vec<u8>>> {
        if !account.is_system() {
            return self.own.forward_of(account);
        }
        self.at_home(account, line::FORWARD, &Question::Forward(account.name.clone()))
    }

    fn vacation_of(&self, account: &Account) -> io::Result<Option<Vec<u8>>> {
        if !account.is_system() {
            return self.own.vacation_of(account);
        }
        self.at_home(account, line::VACATION, &Question::Vacation(account.name.clone()))
    }

    fn run_line(&self, line: &Line, job: Job<'_>, is_over: &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
        self.run(&Question::RunLine(named(line), facts(&job)), job, is_over)
    }

    fn open_line(&self, line: &Line) -> io::Result<Option<Arc<dyn File>>> {
        let file = self.done(&Question::OpenLine(named(line)))?.pop();
        Ok(file.map(|file| Arc::new(RealFile(file.into())) as Arc<dyn File>))
    }

    fn run_program(&self, program: &Program, job: Job<'_>, is_over: &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
        self.run(&Question::RunProgram(program.clone(), facts(&job)), job, is_over)
    }

    /// The monitor reads what has changed when it is asked.
    fn reload(&self) -> io::Result<()> {
        self.known.forget();
        Ok(())
    }
}

/// A line as it is asked for.
fn named(line: &Line) -> Named {
    let user = match &line.of {
        LineOf::Aliases => None,
        LineOf::Forward(account) => Some(account.name.clone()),
    };
    Named { user, text: line.text.clone() }
}

fn facts(job: &Job<'_>) -> Environment {
    job.environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

impl Monitor {
    fn at_home(&self, account: &Account, name: &'static str, question: &Question) -> io::Result<Option<Vec<u8>>> {
        let home = account.home.as_deref().ok_or(ErrorKind::InvalidInput)?;
        self.known.at_home(home, name, || match self.ask(question)? {
            (Answer::Content(content), _) => Ok((Some(content), false)),
            (Answer::Nothing { shows }, _) => Ok((None, shows)),
            _ => Err(unheard()),
        })
    }

    /// Has something run that takes a message.
    fn run(&self, question: &Question, job: Job<'_>, is_over: &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
        let socket = self.send(question, Some(job.input.as_fd()))?;
        drop(job.input);
        let mut told: Option<Instant> = None;
        while !wait(socket.as_fd(), LOOK)? {
            match told {
                // No more is to come from here: that is how the program's end is asked for.
                None if is_over() => {
                    shutdown(socket.as_raw_fd(), Shutdown::Write)?;
                    told = Some(Instant::now());
                }
                Some(since) if since.elapsed() > GRACE + PATIENCE => {
                    return Err(io::Error::new(ErrorKind::TimedOut, "the monitor does not answer"));
                }
                _ => {}
            }
        }
        match answer(&socket)? {
            (Answer::Ran(end, said), _) => Ok((end, said)),
            _ => Err(unheard()),
        }
    }
}

/// The answer that has come.
fn answer(socket: &OwnedFd) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let (bytes, descriptors) = packet::receive(socket.as_fd(), MOST_ANSWER)?.ok_or_else(unheard)?;
    match Answer::parse(&bytes).ok_or_else(unheard)? {
        Answer::Failed(fault) => Err(fault.into()),
        answer => Ok((answer, descriptors)),
    }
}

fn unheard() -> io::Error {
    io::Error::other("the monitor gave no answer")
}

/// Until there is something to read, or the end. False: the time is over.
fn wait(socket: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket, PollFlags::POLLIN)], timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// All of a file that came with an answer.
fn content(file: Option<fs::File>) -> io::Result<Vec<u8>> {
    let mut file = file.ok_or_else(unheard)?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
