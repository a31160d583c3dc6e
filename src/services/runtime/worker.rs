//! A group's worker: takes its place in the group, works until that is lost, and begins anew.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::gate::Breakers;
use super::plan::Plan;
use super::session::{End, Session};
use super::status::Status;
use super::store::Owners;
use super::topics;
use crate::client::cluster::{Cluster, ClusterError, JoinAs, Membership};

/// Silence after which others take a group's partitions: long, so that a restart finds them as they were.
const SESSION_TIMEOUT_MS: i32 = 120_000;
/// The longest that a transaction stays open.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
/// Pauses between tries to reach a cluster; the first comes at once.
const PAUSE_MS: u64 = 250;
const PAUSE_MS_MAX: u64 = 30_000;

/// What a group's worker and its parts share.
pub(super) struct Shared {
    pub(super) plan: Arc<Plan>,
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) status: Arc<Status>,
    pub(super) owners: Arc<Owners>,
    pub(super) breakers: Arc<Breakers>,
    /// Which of several processes this is.
    pub(super) instance: u32,
}

impl Shared {
    fn instance_id(&self) -> String {
        format!("ottla-{}-{}", self.plan.group, self.instance)
    }
}

/// Keeps a worker at work until it is told to stop, also after a panic of its own: what it had not committed comes
/// again.
pub(super) async fn keep(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    loop {
        // A task of its own, whose panic is an error here; it ends with this one.
        let mut worker = JoinSet::new();
        worker.spawn(run(Arc::clone(&shared), stop.clone()));
        match worker.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(group_id = %shared.plan.group, %error, "a worker failed");
                shared.status.metrics.restarts.add(1);
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = shared.cluster.clock().sleep_ms(PAUSE_MS_MAX) => {}
                }
            }
            _ => return,
        }
    }
}

/// Works until it is told to stop.
async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut member = None;
    let mut failures = 0_u32;
    while !*stop.borrow() {
        let before = shared.status.metrics.commits.get();
        let ended = session(&shared, member.take(), &mut stop).await;
        shared.status.show(|standing| {
            standing.is_idle = false;
            standing.store = None;
        });
        match ended {
            Ok(None) => return,
            Ok(Some(rejoined)) => {
                tracing::info!(group_id = %shared.plan.group, "partitions are shared out anew");
                member = Some(rejoined);
                failures = 0;
            }
            Err(error) => {
                let has_worked = shared.status.metrics.commits.get() != before;
                failures = if has_worked { 1 } else { failures.saturating_add(1) };
                tracing::warn!(group_id = %shared.plan.group, %error, "a group begins anew");
                pause(&shared, failures, &mut stop).await;
            }
        }
        shared.status.metrics.restarts.add(1);
    }
}

/// One session; a membership where the group shares out anew, none where the services stop.
async fn session(
    shared: &Arc<Shared>,
    member: Option<Box<dyn Membership>>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Box<dyn Membership>>, ClusterError> {
    let begun = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ok(None),
        begun = begin(shared, member) => begun?,
    };
    let mut session = begun;
    match session.work(stop).await? {
        End::Stopped => session.leave().await.map(|()| None),
        End::Rebalance => session.into_rejoined().await.map(Some),
    }
}

async fn begin(
    shared: &Arc<Shared>,
    member: Option<Box<dyn Membership>>,
) -> Result<Session, ClusterError> {
    let layout = topics::ensure(&*shared.cluster, &shared.plan).await?;
    let id = shared.instance_id();
    // First the id: what the one before left open has ended then, and is read below or never was.
    let producer = shared.cluster.producer(id.clone(), TRANSACTION_TIMEOUT_MS).await?;
    let member = match member {
        Some(member) => member,
        None => {
            let join = JoinAs {
                group: shared.plan.group.to_string(),
                topics: layout.inputs.iter().map(ToString::to_string).collect(),
                instance_id: id,
                session_timeout_ms: SESSION_TIMEOUT_MS,
            };
            shared.cluster.join(join).await?
        }
    };
    Session::begin(Arc::clone(shared), &layout, member, producer).await
}

async fn pause(shared: &Shared, failures: u32, stop: &mut watch::Receiver<bool>) {
    if failures <= 1 {
        return;
    }
    let pause = PAUSE_MS.saturating_mul(1 << failures.saturating_sub(2).min(10)).min(PAUSE_MS_MAX);
    let clock = shared.cluster.clock();
    let due = clock.now().wall.plus_ms(i64::try_from(pause).unwrap_or(i64::MAX));
    shared.status.show(|standing| {
        standing.is_idle = true;
        standing.is_paused = true;
        standing.next_due = Some(due);
    });
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = clock.sleep_ms(pause) => {}
    }
}
