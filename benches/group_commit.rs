//! How many durable acknowledgements a second does ottla give, of those that the machine could?
//!
//! Producers that wait for each other's syncs: every one appends 4 KiB and waits until that is on disk,
//! again and again. Ottla's own path (`Broker::produce` and `Partition::visible`, what acks=all does
//! under `ottla.durability=fsync`) runs in turn with bare code that writes and syncs a file and knows
//! nothing of Kafka. "Nobody waits" is a loop of as many writes as there are producers and a sync; in
//! the other two producers wait, as ottla's do, and the better of them is what a group commit can reach. The
//! second table is of one producer that writes to 100 files a round. Medians over rounds that take turns.
//!
//!     cargo bench --bench group_commit
//!
//! `OTTLA_BENCH_ROUNDS` (5) and `OTTLA_BENCH_DIR` (below the target folder) say how often and on which disk.
#![allow(clippy::print_stdout, reason = "it prints its figures")]
#![allow(clippy::unwrap_used, reason = "a bench that fails may panic")]
#![allow(clippy::disallowed_methods, reason = "its tasks are joined where they are started")]

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla::broker::TopicRef;
use ottla::clock::Clock;
use ottla::records::{BatchBuilder, NewRecord};
use ottla::types::{PartitionIndex, Timestamp};
use ottla::{DeclaredTopic, Ottla};
use tokio::sync::{mpsc, oneshot};

/// Bytes of one append, about.
const APPEND_BYTES: usize = 4096;
/// Producers that wait at the same time.
const PRODUCERS: [usize; 3] = [1, 16, 256];
/// Files, or partitions, that are written to in one round.
const FILES: usize = 100;
/// How long one shape runs.
const RUN: Duration = Duration::from_millis(400);

fn main() {
    let rounds = std::env::var("OTTLA_BENCH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let root = std::env::var("OTTLA_BENCH_DIR").unwrap_or(env!("CARGO_TARGET_TMPDIR").to_owned());
    std::fs::create_dir_all(&root).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();

    println!("acknowledged appends of 4 KiB a second, median (least to most) of {rounds}");
    for producers in PRODUCERS {
        let shapes: [Shape<'_>; 4] = [
            ("nobody waits", Box::new(move |dir| bare::alone(dir, producers))),
            ("sync thread", Box::new(|dir| runtime.block_on(bare::sync_thread(dir, producers)))),
            ("one task", Box::new(|dir| runtime.block_on(bare::one_task(dir, producers)))),
            ("ottla", Box::new(|dir| runtime.block_on(ours::producers(dir, producers)))),
        ];
        compare(&format!("{producers} producers"), &shapes, rounds, Path::new(&root));
    }
    println!("\nrounds of {FILES} files with 4 KiB each a second");
    let shapes: [Shape<'_>; 4] = [
        ("one by one", Box::new(|dir| bare::files(dir, 1))),
        ("4 threads", Box::new(|dir| bare::files(dir, 4))),
        ("16 threads", Box::new(|dir| bare::files(dir, 16))),
        ("ottla", Box::new(|dir| runtime.block_on(ours::partitions(dir)))),
    ];
    compare(&format!("{FILES} files"), &shapes, rounds, Path::new(&root));
}

/// A way to do it, and how often a second it does it in a folder.
type Shape<'a> = (&'static str, Box<dyn Fn(&Path) -> f64 + 'a>);

/// Runs each shape in turn, each time in a folder of its own; prints one line, whose last shape is
/// compared with the first, and with the best of the others.
fn compare(name: &str, shapes: &[Shape<'_>], rounds: usize, root: &Path) {
    let mut rates = vec![Vec::new(); shapes.len()];
    for _ in 0..rounds {
        for ((_, shape), rates) in shapes.iter().zip(&mut rates) {
            let dir = tempfile::tempdir_in(root).unwrap();
            rates.push(shape(dir.path()));
        }
    }
    let mut medians = Vec::new();
    print!("{name:>14} ");
    for ((shape, _), rates) in shapes.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        let (least, median) = (rates[0], rates[rates.len() / 2]);
        print!("| {shape} {median:.0} ({least:.0} to {:.0}) ", rates[rates.len() - 1]);
        medians.push(median);
    }
    let (ours, first) = (medians.pop().unwrap(), medians.remove(0));
    let best = medians.into_iter().fold(0.0, f64::max);
    println!("| ottla is {:.2} of the first, {:.2} of the best other", ours / first, ours / best);
}

/// Lets `count` producers `append` one thing after the other for [`RUN`]; how many they did a second.
async fn rate<F: Future<Output = ()> + Send>(
    count: usize,
    append: impl Fn() -> F + Clone + Send + 'static,
) -> f64 {
    append().await; // The file is there, and its name on disk.
    let clock = Clock::system();
    let is_over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (append, is_over) = (append.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut done = 0u32;
                while !is_over.load(Ordering::Relaxed) {
                    append().await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    tokio::time::sleep(RUN).await;
    is_over.store(true, Ordering::Relaxed);
    let mut done = 0.0;
    for task in tasks {
        done += f64::from(task.await.unwrap());
    }
    done / clock.elapsed().as_secs_f64()
}

/// A file that is appended to, by nobody's rules.
struct Appended {
    file: File,
    end: u64,
    bytes: [u8; APPEND_BYTES],
}

impl Appended {
    fn create(path: PathBuf) -> Self {
        let file = OpenOptions::new().write(true).create_new(true).open(path).unwrap();
        Self { file, end: 0, bytes: [7; APPEND_BYTES] }
    }

    fn append(&mut self) {
        self.file.write_all_at(&self.bytes, self.end).unwrap();
        self.end += APPEND_BYTES as u64;
    }
}

/// What the machine does when nobody asks more of it than a file.
mod bare {
    use super::*;

    /// As many writes as there are producers, then a sync; nobody waits for anything.
    pub(super) fn alone(dir: &Path, producers: usize) -> f64 {
        let mut log = Appended::create(dir.join("log"));
        log.append();
        log.file.sync_all().unwrap();
        let (clock, mut done) = (Clock::system(), 0.0);
        while clock.elapsed() < RUN {
            (0..producers).for_each(|_| log.append());
            log.file.sync_data().unwrap();
            done += producers as f64;
        }
        done / clock.elapsed().as_secs_f64()
    }

    /// Producers write, and a thread syncs for all that wait.
    pub(super) async fn sync_thread(dir: &Path, producers: usize) -> f64 {
        struct Log {
            written: Mutex<(Appended, Vec<oneshot::Sender<()>>, bool)>,
            filled: Condvar,
        }
        let written = Mutex::new((Appended::create(dir.join("log")), Vec::new(), false));
        let log = Arc::new(Log { written, filled: Condvar::new() });
        let syncing = Arc::clone(&log);
        let thread = std::thread::spawn(move || {
            let file = syncing.written.lock().unwrap().0.file.try_clone().unwrap();
            loop {
                let mut written = syncing.written.lock().unwrap();
                while written.1.is_empty() {
                    if written.2 {
                        return;
                    }
                    written = syncing.filled.wait(written).unwrap();
                }
                let waiting = std::mem::take(&mut written.1);
                drop(written);
                file.sync_data().unwrap();
                waiting.into_iter().for_each(|waiting| waiting.send(()).unwrap());
            }
        });
        let appending = Arc::clone(&log);
        let rate = rate(producers, move || {
            let (done, synced) = oneshot::channel();
            let mut written = appending.written.lock().unwrap();
            written.0.append();
            written.1.push(done);
            drop(written);
            appending.filled.notify_one();
            async { synced.await.unwrap() }
        });
        let rate = rate.await;
        log.written.lock().unwrap().2 = true;
        log.filled.notify_one();
        thread.join().unwrap();
        rate
    }

    /// One task writes what all have sent, syncs and answers, and holds up its thread for that.
    pub(super) async fn one_task(dir: &Path, producers: usize) -> f64 {
        let (sender, mut sent) = mpsc::channel::<oneshot::Sender<()>>(producers);
        let mut log = Appended::create(dir.join("log"));
        let writer = tokio::spawn(async move {
            let mut waiting = Vec::new();
            while sent.recv_many(&mut waiting, usize::MAX).await > 0 {
                waiting.iter().for_each(|_| log.append());
                log.file.sync_data().unwrap();
                waiting.drain(..).for_each(|waiting| waiting.send(()).unwrap());
            }
        });
        let rate = rate(producers, move || {
            let (sender, (done, synced)) = (sender.clone(), oneshot::channel());
            async move {
                sender.send(done).await.unwrap();
                synced.await.unwrap();
            }
        });
        let rate = rate.await;
        writer.await.unwrap();
        rate
    }

    /// Rounds of a write to each of [`FILES`] files, which so many threads then sync.
    pub(super) fn files(dir: &Path, threads: usize) -> f64 {
        let mut logs: Vec<_> =
            (0..FILES).map(|i| Appended::create(dir.join(i.to_string()))).collect();
        let start = Arc::new(std::sync::Barrier::new(threads + 1));
        let finished = Arc::new(std::sync::Barrier::new(threads + 1));
        let (next, is_over) =
            (Arc::new(std::sync::atomic::AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let files: Arc<Vec<File>> =
            Arc::new(logs.iter().map(|log| log.file.try_clone().unwrap()).collect());
        let mut running = Vec::new();
        for _ in 0..threads {
            let (start, finished, next) =
                (Arc::clone(&start), Arc::clone(&finished), Arc::clone(&next));
            let (files, is_over) = (Arc::clone(&files), Arc::clone(&is_over));
            running.push(std::thread::spawn(move || {
                loop {
                    start.wait();
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        file.sync_data().unwrap();
                    }
                    finished.wait();
                }
            }));
        }
        let mut round = || {
            logs.iter_mut().for_each(Appended::append);
            next.store(0, Ordering::Relaxed);
            start.wait();
            finished.wait();
        };
        round();
        let (clock, mut done) = (Clock::system(), 0.0);
        while clock.elapsed() < RUN {
            round();
            done += 1.0;
        }
        let rate = done / clock.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        start.wait();
        running.into_iter().for_each(|thread| thread.join().unwrap());
        rate
    }
}

/// The same by ottla.
mod ours {
    use super::*;

    /// Producers that wait for acks=all in one partition.
    pub(super) async fn producers(dir: &Path, producers: usize) -> f64 {
        let ottla = start(dir, 1).await;
        let broker = Arc::clone(ottla.broker());
        let (topic, batch) = (topic(), batch());
        let rate = rate(producers, move || {
            let now = broker.clock.now();
            let written =
                broker.produce(&topic, PartitionIndex(0), Some(batch.clone()), now).unwrap();
            async move { written.partition.visible(written.appended.end).await.unwrap() }
        });
        let rate = rate.await;
        ottla.stop().await.unwrap();
        rate
    }

    /// One producer that waits for acks=all in [`FILES`] partitions at once.
    pub(super) async fn partitions(dir: &Path) -> f64 {
        let ottla = start(dir, i32::try_from(FILES).unwrap()).await;
        let broker = Arc::clone(ottla.broker());
        let (topic, batch) = (topic(), batch());
        let rate = rate(1, move || {
            let now = broker.clock.now();
            let produce = |index| {
                let index = PartitionIndex(i32::try_from(index).unwrap());
                broker.produce(&topic, index, Some(batch.clone()), now).unwrap()
            };
            let written: Vec<_> = (0..FILES).map(produce).collect();
            async move {
                for written in written {
                    written.partition.visible(written.appended.end).await.unwrap();
                }
            }
        });
        let rate = rate.await;
        ottla.stop().await.unwrap();
        rate
    }

    async fn start(dir: &Path, partitions: i32) -> Ottla {
        let name = "t".to_owned();
        let topic =
            DeclaredTopic { name, partitions: Some(partitions), ..DeclaredTopic::default() };
        Ottla::builder().data_dir(dir).topics(vec![topic]).start().await.unwrap()
    }

    fn topic() -> TopicRef {
        TopicRef::Name("t".to_owned())
    }

    /// A batch of one record that is [`APPEND_BYTES`] in all, about.
    fn batch() -> Bytes {
        let value = [7; APPEND_BYTES - 70];
        let mut batch = BatchBuilder::new();
        let timestamp = Timestamp(1_700_000_000_000);
        batch.push(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] });
        let slices = batch.build().unwrap();
        Bytes::from(slices.slices().concat())
    }
}
