//! How long a broker bears with a client, and what it holds meanwhile: requests that are half sent,
//! answers that nobody reads, waits that outlast the broker. Each on a broker of the test's own,
//! most with a clock that the test moves.

use std::time::Duration;

use ottla::Ottla;
use ottla::broker::ShellError;
use ottla::clock::Clock;
use ottla::groups::{Command, JoinGroup, Protocol, Reply};
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::fetch::FetchRequest;
use ottla::types::Timestamp;
use uuid::Uuid;

use super::batch::Batch;
use super::broker::Broker;
use super::client::Client;
use super::group::subscription;
use super::kit::{self, FETCH, PRODUCE};

/// More than the sockets between a broker and a client with a small one hold.
const LARGE_ANSWER: usize = 12 << 20;

/// A broker whose clock stands still until it is moved, and which never tires of idle clients.
fn with_clock() -> (Broker, Clock) {
    let clock = Clock::manual(Timestamp(kit::now_ms()));
    let broker = Broker::start_with(|builder| {
        builder.clock(clock.clone()).with_config(|config| config.connections_max_idle_ms = -1)
    });
    (broker, clock)
}

fn is_alive(client: &mut Client) -> bool {
    client.call(4, &kit::metadata_request(&[])).brokers.len() == 1
}

/// A topic whose whole content is a large answer.
fn large_topic(client: &mut Client) -> String {
    let topic = kit::topic(client, 1);
    let batch = Batch::of(&[&"x".repeat(1_000_000)]).bytes();
    for _ in 0..LARGE_ANSWER / batch.len() {
        kit::produced(client, &topic, 0, batch.clone());
    }
    topic
}

/// Asks for all of a topic, and reads nothing.
fn ask_and_never_read(broker: &Broker, topic: &str) -> Client {
    let mut client = broker.connect();
    client.take_little();
    let mut request = FetchRequest { max_bytes: i32::MAX, ..kit::fetch_request(topic, 0, 0) };
    request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    let _unread = client.send(FETCH, &request);
    kit::until("the answer is on its way", || client.is_answered());
    client
}

#[test]
fn a_request_that_is_never_whole_ends_its_connection() {
    let (broker, clock) = with_clock();
    let mut good = broker.connect();
    let mut half = broker.connect();
    half.send_raw(&100_i32.to_be_bytes());
    half.send_raw(&[0; 9]);
    assert!(is_alive(&mut good));
    kit::until("the broker's patience is over", || {
        // Each byte that comes renews nothing.
        half.try_send_raw(&[0]);
        assert!(clock.advance(1_000));
        half.is_closed()
    });
    let waited = clock.now().monotonic.0;
    assert!(waited >= 30_000, "{waited} ms");
    assert!(is_alive(&mut good), "idle, which is another thing");
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let (broker, clock) = with_clock();
    let topic = large_topic(&mut broker.connect());
    let unread = ask_and_never_read(&broker, &topic);
    kit::until("the others are gone", || broker.connection_count() == 1);
    kit::until("it is cut off", || {
        assert!(clock.advance(1_000));
        broker.connection_count() == 0
    });
    let waited = clock.now().monotonic.0;
    assert!(waited >= 30_000, "{waited} ms");
    drop(unread);
}

#[test]
fn requests_in_memory_keep_to_the_budget_and_all_get_through() {
    const BUDGET: usize = 300_000;
    const SENT: usize = 200_000;
    let broker = Broker::start_set(&[("queued.max.request.bytes", "300000")]);
    let mut other = broker.connect();
    let topic = kit::topic(&mut other, 1);
    let before = broker.received_bytes();
    let value = "x".repeat(1_000_000 - 200);
    let mut halves = Vec::new();
    for _ in 0..20 {
        let mut client = broker.connect();
        let request = kit::produce_request(&topic, 0, Batch::of(&[&value]));
        let (frame, sent) = client.frame(PRODUCE, &request);
        client.send_raw(&frame[..SENT]);
        halves.push((client, frame, sent));
    }
    let mut heartbeats = 0;
    // The budget, what each connection may hold without asking, and one frame that goes on.
    let most = BUDGET + 20 * (16 << 10) + SENT;
    kit::until("the budget is used", || {
        assert!(is_alive(&mut other), "small requests have room");
        heartbeats += 100;
        broker.received_bytes() - before > u64::try_from(BUDGET).unwrap()
    });
    for _ in 0..100 {
        assert!(is_alive(&mut other));
        heartbeats += 100;
    }
    let received = broker.received_bytes() - before;
    assert!(received <= u64::try_from(most).unwrap() + heartbeats, "{received} bytes");
    for (client, frame, _) in &mut halves {
        client.send_rest(&frame.slice(SENT..));
    }
    for (mut client, _, sent) in halves {
        let response = client.receive(sent);
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::None);
    }
    assert_eq!(kit::end_offset(&mut other, &topic, 0), 20);
}

#[test]
fn a_client_that_has_finished_sending_gets_the_answer_it_waits_for() {
    let broker = Broker::start();
    let topic = kit::topic(&mut broker.connect(), 1);
    for _ in 0..10 {
        let mut client = broker.connect();
        let request = FetchRequest { max_wait_ms: 50, ..kit::fetch_request(&topic, 0, 0) };
        let (frame, sent) = client.frame(FETCH, &request);
        client.send_raw(&frame);
        client.finish_sending();
        assert!(kit::only_partition(&client.receive(sent)).records.is_empty());
        client.expect_closed();
    }
}

#[test]
fn a_connection_that_is_reset_is_given_up_with_its_parked_request() {
    let broker = Broker::start_set(&[]);
    let mut other = broker.connect();
    let topic = kit::topic(&mut other, 1);
    for finishes_first in [false, true] {
        let mut client = broker.connect();
        let request = FetchRequest { max_wait_ms: 250_000, ..kit::fetch_request(&topic, 0, 0) };
        let _unread = client.send(FETCH, &request);
        if finishes_first {
            client.finish_sending();
        }
        assert!(is_alive(&mut other));
        client.reset();
        kit::until("it is gone", || broker.connection_count() == 1);
    }
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_stop() {
    let broker = Broker::start_set(&[]);
    let topic = large_topic(&mut broker.connect());
    let unread = ask_and_never_read(&broker, &topic);
    let clock = Clock::system();
    broker.stop();
    assert!(clock.elapsed() < Duration::from_secs(5), "{:?}", clock.elapsed());
    drop(unread);
}

/// A join of a new member that asks the coordinator without a connection.
fn join() -> Command {
    let metadata = subscription(&["t"]);
    Command::Join(JoinGroup {
        group_id: "group".to_owned(),
        member_id: String::new(),
        group_instance_id: None,
        client_id: "embedded".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol { name: "range".to_owned(), metadata }],
        requires_member_id: false,
        supports_skip_assignment: false,
        fresh_id: Uuid::new_v4(),
    })
}

#[tokio::test]
async fn a_join_that_begins_while_the_broker_stops_is_answered() {
    let ottla = Ottla::builder().ephemeral().start().await.unwrap();
    let groups = ottla.broker().groups();
    assert!(matches!(groups.call(join()).await, Ok(Reply::Join(Ok(_)))));
    // The second member waits for the first one to join again, until it is told of the stop.
    let (waited, ()) = tokio::join!(groups.call(join()), async { ottla.tasks().stop() });
    assert!(matches!(waited, Err(ShellError::Stopping)), "{waited:?}");
    let clock = Clock::system();
    tokio::select! {
        begun = groups.call(join()) => {
            assert!(matches!(begun, Err(ShellError::Stopping)), "{begun:?}");
        }
        () = clock.sleep_ms(10_000) => panic!("a join waits for a broker that has stopped"),
    }
    ottla.stop().await.unwrap();
}
