//! What the kernel says of this process, by the names that all Prometheus clients use.

use std::collections::HashMap;

use super::text::{Text, seconds};

/// Places of fields in `/proc/self/stat`, counted behind the name in parentheses.
const USER: usize = 11;
const SYSTEM: usize = 12;
const THREADS: usize = 17;
const START: usize = 19;

const US: u64 = 1_000_000;

/// The `process_*` families; those that the kernel does not tell are left out.
pub(super) fn process(text: &mut Text) {
    if let Some(bytes) = resident_bytes() {
        text.single("process_resident_memory_bytes", "gauge", "Resident memory.", bytes);
    }
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    if let Some(fields) = stat() {
        let field = |place: usize| fields.get(&place).copied().unwrap_or(0);
        let us = |ticks: u64| ticks.saturating_mul(US / ticks_per_second);
        let cpu = seconds(us(field(USER).saturating_add(field(SYSTEM))));
        text.single("process_cpu_seconds_total", "counter", "CPU time.", cpu);
        text.single("process_threads", "gauge", "Threads.", field(THREADS));
        if let Some(boot) = boot_seconds() {
            let start = seconds(boot.saturating_mul(US).saturating_add(us(field(START))));
            let help = "Start of the process, in seconds since 1970.";
            text.single("process_start_time_seconds", "gauge", help, start);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.single("process_open_fds", "gauge", "Open file descriptors.", open.count());
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        text.single("process_max_fds", "gauge", "File descriptors allowed.", most);
    }
}

fn resident_bytes() -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = memory.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// The numbers behind the name, which may hold spaces and parentheses itself.
fn stat() -> Option<HashMap<usize, u64>> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields = stat.rsplit(')').next()?.split_whitespace().enumerate();
    Some(fields.filter_map(|(place, field)| Some((place, field.parse().ok()?))).collect())
}

/// When the machine started, in seconds since 1970.
fn boot_seconds() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
