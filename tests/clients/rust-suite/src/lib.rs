//! Runs the cases of one Rust client and prints a line for each. Shared by the suites rdkafka and
//! rskafka; knows no client.

use std::env::var;
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A case may take this long; then it has failed.
const CASE_MAX: Duration = Duration::from_secs(30);
/// A wait inside a case, so that it can still say what it waited for.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// Cases at a time. They wait more than they work.
const PARALLEL_MAX: usize = 4;

/// Ok, or what went wrong.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One thing a client does. It shares no topic and no group with another one.
pub struct Case {
    name: &'static str,
    run: Box<dyn Fn(&Test) -> Outcome + Send + Sync>,
}

impl Case {
    pub fn new(
        name: &'static str,
        run: impl Fn(&Test) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// What a case gets: the broker and names of its own.
#[derive(Clone)]
pub struct Test {
    pub bootstrap: String,
    prefix: String,
}

impl Test {
    /// A topic or group name that no other case and no other run has; the same before and after a
    /// restart.
    pub fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.prefix)
    }
}

/// Fails if the two differ.
pub fn equal<T: PartialEq + Debug>(got: T, want: T, what: &str) -> Outcome {
    holds(got == want, &format!("{what}: got {got:?}, expected {want:?}"))
}

/// Fails with the text if the condition is false.
pub fn holds(condition: bool, otherwise: &str) -> Outcome {
    if condition { Ok(()) } else { Err(otherwise.into()) }
}

/// Asks again and again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        holds(began.elapsed() < WAIT_MAX, &format!("never saw: {what}"))?;
        thread::sleep(Duration::from_millis(10));
    }
}

/// v-first up to v-(end-1), which is what the cases produce.
pub fn sequence(first: usize, end: usize) -> Vec<String> {
    (first..end).map(|i| format!("v-{i}")).collect()
}

/// Runs the cases of the phase that the environment names and prints a line for each.
pub fn run(all: Vec<Case>, before: Vec<Case>, after: Vec<Case>) -> ExitCode {
    let mut cases = match var("PHASE").as_deref() {
        Ok("before") => before,
        Ok("after") => after,
        _ => all,
    };
    let wanted = var("CASE").unwrap_or_default();
    cases.retain(|case| case.name.contains(&wanted));
    let cases: &'static [Case] = Vec::leak(cases); // A case that hangs outlives the run.
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(cases.is_empty()));
    thread::scope(|scope| {
        for _ in 0..PARALLEL_MAX {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match verdict(case) {
                        Ok(()) => println!("ok {}", case.name),
                        Err(reason) => {
                            failed.store(true, Ordering::Relaxed);
                            println!("not ok {}: {}", case.name, reason.replace('\n', " "));
                        }
                    }
                }
            });
        }
    });
    ExitCode::from(u8::from(failed.into_inner()))
}

fn verdict(case: &'static Case) -> Result<(), String> {
    let test = Test {
        bootstrap: var("BOOTSTRAP").map_err(|error| format!("BOOTSTRAP: {error}"))?,
        prefix: format!("{}-{}", var("RUN_ID").unwrap_or_default(), case.name),
    };
    let (sender, ended) = channel();
    thread::spawn(move || {
        let outcome = (case.run)(&test).map_err(|error| error.to_string());
        let _ = sender.send(outcome); // Nobody listens any more if it came too late.
    });
    match ended.recv_timeout(CASE_MAX) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(format!("no end after {CASE_MAX:?}")),
        Err(RecvTimeoutError::Disconnected) => Err("panic".to_owned()),
    }
}
