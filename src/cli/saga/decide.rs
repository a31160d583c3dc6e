//! `ottla saga retry`, `skip` and `abandon`.

use std::ops::ControlFlow;

use serde_json::json;

use super::{Found, find, found, standing};
use crate::cli::committed::Committed;
use crate::cli::connect::Connect;
use crate::cli::duration;
use crate::cli::ended::Ended;
use crate::cli::output::Output;
use crate::client::{Client, NamedPartition};
use crate::ids::Ids;
use crate::services::publish::{self, Origin};
use crate::services::saga::{Operation, decision};
use crate::types::Offset;

/// How often it is looked whether the saga has changed, in ms.
const LOOK_MS: u64 = 50;
/// How long after the group has read the decision its outcome may come into sight, in ms.
const SIGHT_MS: u64 = 2_000;

/// Which saga, and who decides.
#[derive(Debug, clap::Args)]
pub(super) struct Decide {
    /// Its id
    id: String,
    /// Its name, where sagas of several names have this id
    #[arg(long, value_name = "NAME")]
    saga: Option<String>,
    /// Who decides, for its history; by default whoever is logged in
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Wait so long for the saga to act on it
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = duration::parse_ms)]
    wait: u64,
}

/// What became of a decision.
enum Came {
    /// The saga has changed.
    Of(Box<Found>),
    /// Its group has read it, and the saga is as before.
    Nothing,
    /// Its group has not read it.
    Unread,
}

impl Decide {
    pub(super) async fn run(
        self,
        operation: Operation,
        connect: &Connect,
        out: &mut Output,
    ) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let (before, mut reader) = find(&mut client, self.saga.as_deref(), &self.id).await?;
        let (id, name) = (&self.id, before.record.name.clone());
        if before.record.status.is_end() {
            let standing = standing(&before.record);
            let text = format!("saga {name} {id} has ended, nothing is left to decide: {standing}");
            return Err(Ended::failed(text));
        }
        let placed = self.send(&mut client, &before, operation).await?;
        let came = self.wait(&mut client, &mut reader, &before, &placed).await?;
        let group = format!("ottla-saga-{name}");
        match came {
            Came::Of(after) => self.tell(operation, &before, &after, connect, out),
            Came::Nothing => Err(Ended::failed(format!(
                "group {group} has read the decision, and saga {name} {id} is as before: \
                 `ottla why {group}` says whether something waits there"
            ))),
            Came::Unread => Err(Ended::failed(format!(
                "the decision is written, and group {group} has not read it within {}: it will when its service \
                 runs, `ottla why {group}` says why it does not",
                duration::show_ms(self.wait)
            ))),
        }
    }

    async fn send(
        &self,
        client: &mut Client,
        before: &Found,
        operation: Operation,
    ) -> Result<(NamedPartition, Offset), Ended> {
        let login = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        let who = self.who.clone().or_else(login).unwrap_or_else(|| "ottla".to_owned());
        let record = &before.record;
        let event_id = Ids::random().uuid().to_string();
        let origin = Origin::new("ottla-cli", event_id)
            .correlation(record.correlation_id.as_str())
            .saga(self.id.as_str());
        let decision = decision(&record.name, &self.id, operation, &who);
        let now = client.clock().now().wall;
        Ok(client.send(&publish::record(&decision, &origin, now)).await?)
    }

    async fn wait(
        &self,
        client: &mut Client,
        reader: &mut Committed,
        before: &Found,
        placed: &(NamedPartition, Offset),
    ) -> Result<Came, Ended> {
        let group = format!("ottla-saga-{}", before.record.name);
        let mut deadline = client.clock().now().monotonic.plus_ms(self.wait);
        let mut is_read = false;
        loop {
            let mut after = None;
            reader
                .read(client, |stored| {
                    let is_it = stored.key.as_deref() == Some(self.id.as_bytes())
                        && *stored.at.topic == *before.partition.topic;
                    if is_it {
                        after = found(&stored).or(after.take());
                    }
                    ControlFlow::Continue(())
                })
                .await?;
            // What happened before the decision was read is none of its doing, but then it is soon read.
            if let Some(after) = after
                && (is_read || self.has_read(client, &group, placed).await?)
            {
                return Ok(Came::Of(Box::new(after)));
            }
            let now = client.clock().now().monotonic;
            if !is_read && self.has_read(client, &group, placed).await? {
                is_read = true;
                deadline = now.plus_ms(SIGHT_MS);
            }
            if now >= deadline {
                return Ok(if is_read { Came::Nothing } else { Came::Unread });
            }
            client.clock().clone().sleep_ms(LOOK_MS).await;
        }
    }

    /// Whether the group has committed an offset behind the decision.
    async fn has_read(
        &self,
        client: &mut Client,
        group: &str,
        (partition, offset): &(NamedPartition, Offset),
    ) -> Result<bool, Ended> {
        let committed = client.committed(group).await?;
        Ok(committed.get(partition).is_some_and(|next| next > offset))
    }

    fn tell(
        &self,
        operation: Operation,
        before: &Found,
        after: &Found,
        connect: &Connect,
        out: &mut Output,
    ) -> Result<(), Ended> {
        let word = match operation {
            Operation::Retry => "retried",
            Operation::Skip => "skipped",
            Operation::Abandon => "abandoned",
        };
        let (before, after) = (&before.record, &after.record);
        if connect.json {
            return out.json(&json!({
                "saga_id": self.id,
                "saga": after.name,
                "decision": word,
                "before": before.status.name(),
                "after": after.status.name(),
                "step": after.step,
            }));
        }
        let standing = standing(after);
        out.line(format_args!("saga {} {} is {word}, and now {standing}", after.name, self.id))
    }
}
