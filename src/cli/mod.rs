//! The command line: `ottla` alone serves, everything else talks to a cluster or to nobody.
//!
//! One subcommand a file. Each takes its flags as a struct, prints through [`output::Output`] and
//! ends with [`ended::Ended`] if it does not just end; nothing here decides what a broker does.

mod backup;
mod check;
mod committed;
mod completions;
mod conditions;
mod config;
mod connect;
mod consume;
mod dlq;
mod duration;
mod ended;
mod format;
mod group;
mod log;
mod new;
mod output;
mod partitions;
mod ping;
mod produce;
mod progress;
mod rate;
mod ready;
mod replay;
mod saga;
mod serve;
mod settings;
mod signals;
mod status;
mod time;
mod topic;
mod topics_file;
mod trace;
mod txn;
mod why;

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use ended::Ended;
use output::Output;

/// What an answer to a producer survives; a help topic.
const DURABILITY: &str = include_str!("durability.txt");

/// A whole Kafka stack in one process, for one machine
///
/// Without a command it serves: see `ottla serve --help`.
#[derive(Debug, Parser)]
#[command(
    name = "ottla",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "What an answer to a producer survives: `ottla help durability`"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the broker
    Serve(Box<serve::Serve>),
    /// Make, show, change and delete topics
    Topic(topic::Topic),
    Produce(Box<produce::Produce>),
    Consume(Box<consume::Consume>),
    /// Show, reset and delete consumer groups
    Group(group::Group),
    /// Show and abort transactions
    Txn(txn::Txn),
    Why(why::Why),
    /// Show, mend and send again what handlers of services gave up
    Dlq(dlq::Dlq),
    /// Show sagas, and decide about those that cannot go on
    Saga(saga::Saga),
    Trace(trace::Trace),
    Replay(Box<replay::Replay>),
    Backup(backup::Backup),
    /// Look into the data folder of a broker that does not run, and repair it
    Log(log::Log),
    Ping(ping::Ping),
    Status(status::Status),
    Check(check::Check),
    /// Show the settings and their manual
    Config(config::Config),
    /// Write something to begin from
    New(new::New),
    Completions(completions::Completions),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let mut out = Output::stdout();
    if asks_for_durability() {
        let told = out.bytes(DURABILITY.as_bytes()).and_then(|()| out.flush());
        return told.map_or_else(Ended::report, |()| ExitCode::SUCCESS);
    }
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => cli.serve.run(&mut out),
        Some(Command::Serve(serve)) => serve.run(&mut out),
        Some(Command::Topic(topic)) => wait(topic.run(&mut out)),
        Some(Command::Produce(produce)) => wait(produce.run(&mut out)),
        Some(Command::Consume(consume)) => wait(consume.run(&mut out)),
        Some(Command::Group(group)) => wait(group.run(&mut out)),
        Some(Command::Txn(txn)) => wait(txn.run(&mut out)),
        Some(Command::Why(why)) => wait(why.run(&mut out)),
        Some(Command::Dlq(dlq)) => wait(dlq.run(&mut out)),
        Some(Command::Saga(saga)) => wait(saga.run(&mut out)),
        Some(Command::Trace(trace)) => wait(trace.run(&mut out)),
        Some(Command::Replay(replay)) => wait(replay.run(&mut out)),
        Some(Command::Backup(backup)) => backup.run(&mut out),
        Some(Command::Log(log)) => log.run(&mut out),
        Some(Command::Ping(ping)) => wait(ping.run(&mut out)),
        Some(Command::Status(status)) => status.run(&mut out),
        Some(Command::Check(check)) => check.run(&mut out),
        Some(Command::Config(config)) => config.run(&mut out),
        Some(Command::New(new)) => new.run(&mut out),
        Some(Command::Completions(completions)) => completions.run(&mut out),
    };
    // What was printed before a failure is of use, too.
    let flushed = out.flush();
    match outcome.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ended) => ended.report(),
    }
}

/// Whether the help topic is wanted: `ottla help durability`, `ottla --help durability`.
fn asks_for_durability() -> bool {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [first, second] = args.as_slice() else { return false };
    let is_help = |arg: &std::ffi::OsStr| arg == "help" || arg == "--help" || arg == "-h";
    is_help(first) && second == "durability"
}

/// Runs a command that talks to a cluster: one thread does.
fn wait(work: impl Future<Output = Result<(), Ended>>) -> Result<(), Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Ended::failed(format!("no runtime: {error}")))?.block_on(work)
}
