//! Runs the tests: in parallel, each with its name and seconds, and counts those that had to be skipped.
//!
//! The standard harness can say neither "skipped" nor how long a test took, so this binary has one of its
//! own. It takes what `cargo test` usually passes: filters, `--exact`, `--skip`, `--list`, `--test-threads`.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Nothing may take longer, unless it says so itself; a test that hangs ends the run.
const LIMIT: Duration = Duration::from_secs(300);

/// One test.
pub struct Test {
    name: String,
    run: Box<dyn Fn() + Send>,
    limit: Duration,
}

impl Test {
    /// A function of a module.
    pub fn new(module: &str, name: &str, run: fn()) -> Test {
        let module = module.split_once("::").map_or("", |(_, rest)| rest);
        Test::named(format!("{module}::{name}"), run)
    }

    /// One that is made of something else.
    pub fn named(name: String, run: impl Fn() + Send + 'static) -> Test {
        Test { name, run: Box::new(run), limit: LIMIT }
    }

    /// Lets it take so much longer.
    pub fn longer(mut self, time: Duration) -> Test {
        self.limit += time;
        self
    }
}

/// Tests of this module, named after it.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> Vec<$crate::runner::Test> {
            vec![$($crate::runner::Test::new(module_path!(), stringify!($name), $name)),*]
        }
    };
}

/// The reason why a test can't run here.
struct Skip(String);

/// Ends this test without a verdict.
pub fn skip(reason: impl Into<String>) -> ! {
    panic::resume_unwind(Box::new(Skip(reason.into())))
}

thread_local! {
    static NOTES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Remembers something to be shown if this test fails.
pub fn note(text: impl Into<String>) {
    NOTES.with_borrow_mut(|notes| notes.push(text.into()));
}

enum Verdict {
    Passed,
    Skipped(String),
    Failed(Vec<String>),
}

#[derive(Default)]
struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

fn arguments() -> Arguments {
    let mut parsed = Arguments { threads: 4, ..Arguments::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--exact" => parsed.exact = true,
            "--list" => parsed.list = true,
            "--skip" => parsed.skip.extend(words.next()),
            "--test-threads" => parsed.threads = words.next().and_then(|n| n.parse().ok()).unwrap_or(1),
            _ => match word.strip_prefix("--test-threads=") {
                Some(number) => parsed.threads = number.parse().unwrap_or(1),
                None if word.starts_with('-') => {}
                None => parsed.filters.push(word),
            },
        }
    }
    parsed
}

/// Runs what the command line asks for.
pub fn main(mut tests: Vec<Test>) -> ExitCode {
    let arguments = arguments();
    let fits = |name: &str, filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    tests.retain(|test| {
        (arguments.filters.is_empty() || arguments.filters.iter().any(|filter| fits(&test.name, filter)))
            && !arguments.skip.iter().any(|filter| fits(&test.name, filter))
    });
    if arguments.list {
        tests.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    println!("running {} tests", tests.len());
    panic::set_hook(Box::new(|panic| note(panic.to_string())));
    let begun = Instant::now();
    let (waiting, done) = (Mutex::new(VecDeque::from(tests)), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(test) = waiting.lock().unwrap().pop_front() else { break };
                    let name = test.name.clone();
                    let verdict = run(test);
                    done.lock().unwrap().push((name, verdict));
                }
            });
        }
    });
    summary(&done.into_inner().unwrap(), begun.elapsed())
}

fn run(test: Test) -> Verdict {
    let begun = Instant::now();
    let (name, limit) = (test.name.clone(), test.limit);
    let (over, watched) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        if watched.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            println!("test {name} ... HANGS after {limit:?}");
            std::process::exit(1);
        }
    });
    let verdict = match panic::catch_unwind(AssertUnwindSafe(|| (test.run)())) {
        Ok(()) => Verdict::Passed,
        Err(payload) => failure(payload.as_ref()),
    };
    drop(over);
    NOTES.with_borrow_mut(Vec::clear);
    let word = match &verdict {
        Verdict::Passed => "ok".to_owned(),
        Verdict::Skipped(reason) => format!("skipped: {reason}"),
        Verdict::Failed(_) => "FAILED".to_owned(),
    };
    println!("test {} ... {word} ({:.2} s)", test.name, begun.elapsed().as_secs_f64());
    verdict
}

fn failure(payload: &(dyn Any + Send)) -> Verdict {
    match payload.downcast_ref::<Skip>() {
        Some(Skip(reason)) => Verdict::Skipped(reason.clone()),
        None => Verdict::Failed(NOTES.with_borrow_mut(std::mem::take)),
    }
}

fn summary(done: &[(String, Verdict)], took: Duration) -> ExitCode {
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for (name, verdict) in done {
        match verdict {
            Verdict::Passed => passed += 1,
            Verdict::Skipped(_) => skipped += 1,
            Verdict::Failed(notes) => {
                failed += 1;
                println!("\n---- {name} ----\n{}", notes.join("\n"));
            }
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {skipped} skipped; finished in {:.2}s",
        took.as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
