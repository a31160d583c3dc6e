//! `ottla log repair`: takes out of a partition's log what a start refuses.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::ended::Ended;
use super::super::output::{Output, or_dash, tell};
use super::super::settings::DataDir;
use super::super::time;
use super::{damage_json, open, topic_of, unknown};
use crate::broker::{Access, OfflineFolder};
use crate::clock::Clock;
use crate::log::inspect::{Inspection, inspect};
use crate::log::repair::{Choice, Lost, Plan};
use crate::types::Offset;

/// Decide about damage that a start refuses
///
/// Without a choice it says what is damaged and what each choice would lose. What is taken out is
/// kept: in a folder repair-TIME in the data folder. The broker must not run.
#[derive(Debug, clap::Args)]
pub(crate) struct Repair {
    /// The partition, named as its folder: orders-0
    partition: String,
    /// Take out just the damaged bytes; their offsets stay empty
    #[arg(long, group = "choice")]
    skip_damage: bool,
    /// Take out everything from the batch with this offset on
    #[arg(long, value_name = "OFFSET", group = "choice")]
    cut_at: Option<i64>,
    /// Take out the segment that begins at this offset; may be given several times
    #[arg(long, value_name = "OFFSET", group = "choice")]
    drop_segment: Vec<i64>,
    /// Only say what would be lost
    #[arg(long)]
    dry_run: bool,
    /// Do it
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl Repair {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` where nothing was done that was asked for; see [`Ended`].
    pub(crate) fn run(self, data_dir: &DataDir, out: &mut Output) -> Result<(), Ended> {
        let mut folder = open(&data_dir.path()?, Access::Alone)?;
        let name = self.partition.clone();
        let dir = folder.dir(&name);
        let there = folder.partitions().map_err(|error| Ended::failed(error.to_string()))?;
        if !there.contains(&name) {
            return Err(unknown(&folder, &name));
        }
        let log = inspect(folder.fs(), &dir, folder.checkpoint(&name), &mut |_, _| {});
        let log = log.map_err(|error| Ended::failed(format!("{name} cannot be read: {error}")))?;
        let Some(choice) = self.choice() else {
            return self.tell_choices(&folder, &log, out);
        };
        let plan = plan(&folder, &dir, &log, &choice)?;
        let kept = self.yes.then(|| keep_folder(&folder));
        if let Some(keep) = &kept {
            carry_out(&mut folder, &name, &plan, keep)?;
        }
        if self.json {
            return out.json(&as_json(&log, &plan, kept.as_deref()));
        }
        tell_damage(&log);
        show(&plan, out)?;
        match kept {
            Some(keep) => out.line(format_args!(
                "{name} now has offsets {} to {}; what was taken out is in {}",
                plan.start,
                plan.end,
                keep.display()
            )),
            None if self.dry_run => out.line("nothing was changed"),
            None => Err(Ended::failed("nothing was changed: say --yes to do this")),
        }
    }

    fn choice(&self) -> Option<Choice> {
        if self.skip_damage {
            return Some(Choice::SkipDamage);
        }
        if let Some(offset) = self.cut_at {
            return Some(Choice::CutAt(Offset(offset)));
        }
        let dropped = || self.drop_segment.iter().copied().map(Offset).collect();
        (!self.drop_segment.is_empty()).then(|| Choice::DropSegments(dropped()))
    }

    /// Says what is wrong and what can be done about it.
    fn tell_choices(
        &self,
        folder: &OfflineFolder,
        log: &Inspection,
        out: &mut Output,
    ) -> Result<(), Ended> {
        let damage: Vec<_> = log.damage().collect();
        if damage.is_empty() {
            if self.json {
                return out.json(&json!({ "damage": [], "choices": [] }));
            }
            return out.line(format_args!("{} has nothing to repair", self.partition));
        }
        let dir = folder.dir(&self.partition);
        let first = log.holes.iter().map(|hole| hole.damage.offset).next();
        let cut_at = first.unwrap_or(log.end);
        let choices = [
            ("--skip-damage".to_owned(), Choice::SkipDamage),
            (format!("--cut-at {cut_at}"), Choice::CutAt(cut_at)),
        ];
        let mut plans = Vec::new();
        for (flag, choice) in choices {
            plans.push((flag, plan(folder, &dir, log, &choice)?));
        }
        if self.json {
            let choice = |(flag, plan): &(String, Plan)| json!({ "flag": flag, "lost": plan.lost.iter().map(lost_json).collect::<Vec<_>>() });
            return out.json(&json!({
                "damage": damage.into_iter().map(damage_json).collect::<Vec<_>>(),
                "choices": plans.iter().map(choice).collect::<Vec<_>>(),
            }));
        }
        tell_damage(log);
        for (flag, plan) in &plans {
            out.line(format_args!("with {flag} goes:"))?;
            show(plan, out)?;
        }
        out.flush()?;
        Err(Ended::failed("nothing was changed: choose one, or see --help for more"))
    }
}

fn plan(
    folder: &OfflineFolder,
    dir: &Path,
    log: &Inspection,
    choice: &Choice,
) -> Result<Plan, Ended> {
    Plan::new(folder.fs(), dir, log, choice).map_err(|error| Ended::Usage(error.to_string()))
}

fn tell_damage(log: &Inspection) {
    log.damage().for_each(|damage| tell(format_args!("damage: {damage}")));
}

/// A new folder for what is taken out. Its name must never be taken for a partition's.
fn keep_folder(folder: &OfflineFolder) -> PathBuf {
    let now = time::show(Clock::system().now().wall);
    let now: String = now.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let names = (1..).map(|number| match number {
        1 => format!("repair-{now}"),
        more => format!("repair-{now}.{more}"),
    });
    let mut paths = names.map(|name| folder.path().join(name));
    paths.find(|path| !folder.fs().exists(path)).unwrap_or_else(|| folder.path().join("repair"))
}

fn carry_out(
    folder: &mut OfflineFolder,
    name: &str,
    plan: &Plan,
    keep: &Path,
) -> Result<(), Ended> {
    let dir = folder.dir(name);
    let failed = |error: std::io::Error| {
        Ended::failed(format!("{name} is not repaired, try again: {error}"))
    };
    plan.carry_out(folder.fs(), &dir, &keep.join(name)).map_err(failed)?;
    let note = serde_json::to_vec_pretty(&plan_json(plan)).unwrap_or_default();
    folder.fs().atomic_write(&keep.join(format!("{name}.json")), &note).map_err(failed)?;
    let written = folder.set_ends(name, plan.start, plan.end);
    written.map_err(|error| Ended::failed(error.to_string()))?;
    if topic_of(name) == "__cluster_metadata" {
        keep_strays(folder, keep).map_err(failed)?;
    }
    Ok(())
}

/// A catalog that has lost records may not know topics that are there: the next start would take
/// their folders for those of deleted topics.
fn keep_strays(folder: &OfflineFolder, keep: &Path) -> std::io::Result<()> {
    let expected = folder.expected_partitions()?;
    for name in folder.partitions()? {
        if !topic_of(&name).starts_with("__") && !expected.contains_key(&name) {
            tell(format_args!("{name} is of no topic any more, and is now in {}", keep.display()));
            folder.fs().rename(&folder.dir(&name), &keep.join(&name))?;
        }
    }
    folder.fs().sync_dir(keep)?;
    folder.fs().sync_dir(folder.path())
}

fn show(plan: &Plan, out: &mut Output) -> Result<(), Ended> {
    let row = |lost: &Lost| {
        let file = lost.file.file_name().map(|name| name.to_string_lossy().into_owned());
        vec![
            or_dash(file),
            lost.position.to_string(),
            lost.length.to_string(),
            lost.from.to_string(),
            lost.to.map_or_else(|| "?".to_owned(), |to| to.to_string()),
            lost.readable.to_string(),
        ]
    };
    let header = ["FILE", "AT BYTE", "BYTES", "FROM OFFSET", "TO OFFSET", "READABLE RECORDS"];
    out.table(&header, plan.lost.iter().map(row).collect())?;
    if plan.left > 0 {
        out.line(format_args!("damage stays in {} other places", plan.left))?;
    }
    Ok(())
}

fn lost_json(lost: &Lost) -> Value {
    json!({
        "file": lost.file.display().to_string(),
        "position": lost.position,
        "bytes": lost.length,
        "from_offset": lost.from.0,
        "to_offset": lost.to.map(|to| to.0),
        "readable_records": lost.readable,
    })
}

fn plan_json(plan: &Plan) -> Value {
    json!({
        "lost": plan.lost.iter().map(lost_json).collect::<Vec<_>>(),
        "log_start_offset": plan.start.0,
        "log_end_offset": plan.end.0,
        "damage_left": plan.left,
    })
}

fn as_json(log: &Inspection, plan: &Plan, kept: Option<&Path>) -> Value {
    json!({
        "damage": log.damage().map(damage_json).collect::<Vec<_>>(),
        "plan": plan_json(plan),
        "done": kept.is_some(),
        "kept_in": kept.map(|path| path.display().to_string()),
    })
}
