//! What does the page-cache window (`log.cache.bytes`) save, and what does it cost a consumer at the tail?
//!
//! Four producers write 1 GiB in batches of 256 KiB under `ottla.durability=os`, with a window of 64 MiB, the
//! default of 512 MiB, and without one, in turn: once by themselves, once with a consumer that reads
//! along. CPU is that of this process, which is broker and clients in one; what stays in the page cache is
//! asked of `fincore` (util-linux). Medians over rounds that take turns.
//!
//!     cargo bench --bench page_cache
//!
//! `OTTLA_BENCH_ROUNDS` (5), `OTTLA_BENCH_MIB` (1024) and `OTTLA_BENCH_DIR` (below the target folder)
//! say how often, how much and on which disk.
#![allow(clippy::print_stdout, reason = "it prints its figures")]
#![allow(clippy::unwrap_used, reason = "a bench that fails may panic")]
#![allow(clippy::disallowed_methods, reason = "its tasks are joined where they are started")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla::broker::{Broker, TopicRef};
use ottla::clock::Clock;
use ottla::config::value::Durability;
use ottla::partition::{Isolation, Partition, Wake};
use ottla::records::{BatchBuilder, NewRecord};
use ottla::types::{Offset, PartitionIndex, Timestamp};
use ottla::{DeclaredTopic, Ottla};

const MIB: f64 = 1024.0 * 1024.0;
/// Records of 1 KiB in a batch.
const BATCH_RECORDS: usize = 256;
const PRODUCERS: usize = 4;
/// `log.cache.bytes`, in MiB; 0 is no window.
const WINDOWS: [i64; 3] = [64, 512, 0];

/// What one run came to.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    mib_a_second: f64,
    cpu_seconds_a_gib: f64,
    /// In the page cache at the end.
    resident_mib: f64,
    /// From the last append to the consumer's last record.
    behind_ms: f64,
}

fn main() {
    let given = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |given| given.parse().unwrap())
    };
    let (rounds, mib) = (given("OTTLA_BENCH_ROUNDS", 5), given("OTTLA_BENCH_MIB", 1024));
    let root = std::env::var("OTTLA_BENCH_DIR").unwrap_or(env!("CARGO_TARGET_TMPDIR").to_owned());
    std::fs::create_dir_all(&root).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for consumes in [false, true] {
        let mut figures = [const { Vec::new() }; WINDOWS.len()];
        for _ in 0..rounds {
            for (window, figures) in WINDOWS.iter().zip(&mut figures) {
                let dir = tempfile::tempdir_in(&root).unwrap();
                figures.push(runtime.block_on(run(dir.path(), *window, mib, consumes)));
            }
        }
        let beside = if consumes { "with a consumer at the tail" } else { "alone" };
        println!("{mib} MiB {beside}, median (least to most) of {rounds}");
        for (window, figures) in WINDOWS.iter().zip(&figures) {
            let of = |figure: fn(&Figures) -> f64, digits: usize| {
                let mut sorted: Vec<f64> = figures.iter().map(figure).collect();
                sorted.sort_by(f64::total_cmp);
                let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
                let median = sorted[sorted.len() / 2];
                format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
            };
            print!("  window {window:>3} MiB | {} MiB/s ", of(|it| it.mib_a_second, 0));
            print!("| CPU {} s/GiB ", of(|it| it.cpu_seconds_a_gib, 2));
            print!("| {} MiB resident ", of(|it| it.resident_mib, 0));
            if consumes {
                print!("| consumer behind by {} ms", of(|it| it.behind_ms, 0));
            }
            println!();
        }
    }
}

async fn run(dir: &Path, window_mib: i64, mib: usize, consumes: bool) -> Figures {
    let topic = DeclaredTopic { name: "t".to_owned(), partitions: Some(1), ..Default::default() };
    let ottla = Ottla::builder()
        .data_dir(dir)
        .with_config(|config| {
            config.log_cache_bytes = window_mib * 1024 * 1024;
            config.ottla_durability = Durability::Os;
        })
        .topics(vec![topic])
        .start()
        .await
        .unwrap();
    let broker = Arc::clone(ottla.broker());
    let partition = {
        let topic = broker.registry.by_name("t").unwrap();
        Arc::clone(topic.partition(PartitionIndex(0)).unwrap())
    };
    let batches = mib * 1024 / BATCH_RECORDS / PRODUCERS;
    let end = i64::try_from(batches * PRODUCERS * BATCH_RECORDS).unwrap();
    let (clock, cpu) = (Clock::system(), cpu());
    let consumer = consumes.then(|| tokio::spawn(consume(Arc::clone(&partition), Offset(end))));
    let producers: Vec<_> =
        (0..PRODUCERS).map(|_| tokio::spawn(produce(Arc::clone(&broker), batches))).collect();
    for producer in producers {
        producer.await.unwrap();
    }
    let took = clock.elapsed();
    if let Some(consumer) = consumer {
        consumer.await.unwrap();
    }
    let behind = clock.elapsed().saturating_sub(took);
    let cpu = self::cpu().saturating_sub(cpu);
    let figures = Figures {
        mib_a_second: mib as f64 / took.as_secs_f64(),
        cpu_seconds_a_gib: cpu.as_secs_f64() * 1024.0 / mib as f64,
        resident_mib: resident_bytes(&dir.join("t-0")) / MIB,
        behind_ms: behind.as_secs_f64() * 1000.0,
    };
    ottla.stop().await.unwrap();
    figures
}

async fn produce(broker: Arc<Broker>, batches: usize) {
    let topic = TopicRef::Name("t".to_owned());
    let mut batch = BatchBuilder::new();
    let timestamp = Timestamp(1_700_000_000_000);
    for _ in 0..BATCH_RECORDS {
        batch.push(&NewRecord { timestamp, key: None, value: Some(&[7; 1010]), headers: &[] });
    }
    let batch = Bytes::from(batch.build().unwrap().slices().concat());
    for _ in 0..batches {
        let now = broker.clock.now();
        let written = broker.produce(&topic, PartitionIndex(0), Some(batch.clone()), now).unwrap();
        written.partition.visible(written.appended.end).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Reads all that comes, up to `end`.
async fn consume(partition: Arc<Partition>, end: Offset) {
    let wake = Wake::new();
    let _registration = partition.waiters().register(&wake);
    let mut next = Offset(0);
    while next < end {
        let found = partition.read(next, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
        match found.range {
            Some(range) => {
                assert!(!range.read().unwrap().is_empty());
                next = range.next;
                tokio::task::yield_now().await;
            }
            None => wake.woken().await,
        }
    }
}

/// What this process has had of the cores.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// How much of the segments is in the page cache.
fn resident_bytes(dir: &Path) -> f64 {
    let segments = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segments = segments.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let told = std::process::Command::new("fincore")
        .args(["--bytes", "--noheadings", "--output", "RES"])
        .args(segments)
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    told.split_whitespace().map(|bytes| bytes.parse::<f64>().unwrap()).sum()
}
