//! Membership: partitions shared with others, places taken back, old holders fenced.

use super::super::super::cluster::MemberStanding;
use super::*;
use crate::groups::{Command, DescribedGroup, GroupState, Reply};

fn partitions(member: &dyn Membership) -> Vec<i32> {
    member.assigned().iter().map(|at| at.partition.0).collect()
}

async fn described(run: &Run) -> DescribedGroup {
    let described = run.broker.groups().call(Command::Describe(vec!["group".to_owned()])).await;
    let Reply::Describe(groups) = described.unwrap() else { panic!("another answer") };
    groups.into_iter().flatten().next().unwrap()
}

#[tokio::test]
async fn two_members_share_and_the_second_gives_back() {
    let run = Run::new().await;
    let mut one = run.member("one").await;
    assert_eq!(partitions(&*one), [0, 1, 2]);
    assert_eq!(one.heartbeat().await.unwrap(), MemberStanding::Settled);
    let join = run.cluster.join(join_as("two"));
    let rejoin = async {
        while one.heartbeat().await.unwrap() == MemberStanding::Settled {
            tokio::task::yield_now().await;
        }
        one.rejoin().await.unwrap();
    };
    let (two, ()) = tokio::join!(join, rejoin);
    let mut two = two.unwrap();
    assert_eq!(partitions(&*one), [0, 1]);
    assert_eq!(partitions(&*two), [2]);
    assert_ne!(one.identity().generation, Generation(1));

    two.leave().await.unwrap();
    two.leave().await.unwrap();
    assert_eq!(one.heartbeat().await.unwrap(), MemberStanding::Rebalancing);
    one.rejoin().await.unwrap();
    assert_eq!(partitions(&*one), [0, 1, 2]);
    run.kill().await;
}

#[tokio::test]
async fn an_instance_that_comes_back_takes_its_place_at_once() {
    let run = Run::new().await;
    let mut old = run.member("one").await;
    let mut new = run.member("one").await;
    assert_eq!(partitions(&*new), [0, 1, 2]);
    assert_eq!(new.identity().generation, old.identity().generation);
    let error = old.heartbeat().await.unwrap_err();
    assert!(matches!(error, ClusterError::Fenced(_)), "{error}");
    assert!(matches!(old.rejoin().await, Err(ClusterError::Fenced(_))));
    assert_eq!(new.heartbeat().await.unwrap(), MemberStanding::Settled);
    run.kill().await;
}

#[tokio::test]
async fn a_leader_that_comes_back_shares_out_what_is_new() {
    let run = Run::new().await;
    let old = run.member("one").await;
    run.cluster.ensure_topics(vec![topic("in", 5)]).await.unwrap();
    let new = run.member("one").await;
    assert_eq!(partitions(&*new), [0, 1, 2, 3, 4]);
    assert_ne!(new.identity().generation, old.identity().generation);
    run.kill().await;
}

#[tokio::test]
async fn a_member_is_shown_as_ottla() {
    let run = Run::new().await;
    let _member = run.member("one").await;
    let group = described(&run).await;
    assert_eq!((group.state, group.protocol.as_str()), (GroupState::Stable, "range"));
    let member = &group.members[0];
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("ottla", "/127.0.0.1"));
    assert!(member.member_id.starts_with("one-"));
    run.kill().await;
}

#[tokio::test]
async fn silence_ends_a_membership_and_joining_again_begins_one() {
    let clock = Clock::manual(instant());
    let run = Run::on(FaultyFs::new(), clock.clone()).await;
    run.cluster.ensure_topics(vec![topic("in", 2)]).await.unwrap();
    let mut member = run.member("one").await;
    let before = member.identity();
    assert!(clock.advance(60_000));
    while !described(&run).await.members.is_empty() {
        tokio::task::yield_now().await; // A heartbeat that comes before the timer would count.
    }
    while member.heartbeat().await.unwrap() == MemberStanding::Settled {
        tokio::task::yield_now().await;
    }
    member.rejoin().await.unwrap();
    assert_eq!(partitions(&*member), [0, 1]);
    assert_ne!(member.identity(), before);
    let mut bad = join_as("two");
    bad.session_timeout_ms = 1;
    let error = run.cluster.join(bad).await.err().unwrap();
    assert!(error.to_string().contains("session timeout 1 ms"), "{error}");
    run.kill().await;
}
