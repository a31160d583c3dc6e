//! The checker itself: one hand-made bad history for each row, and good ones that pass.

#[path = "mod.rs"]
mod checker;

use checker::{
    End, Event, FinalRead, Isolation, Outcome, Poll, Producer, Promise, Row, Seen, Send, Value,
    Watermarks, check,
};

/// Fails unless the history shows exactly these rows.
fn shows(history: &[Event], rows: &[Row]) {
    let report = check(history);
    let mut found: Vec<Row> = report.anomalies.iter().map(|anomaly| anomaly.row).collect();
    found.sort();
    found.dedup();
    assert_eq!(found, rows, "{report}");
}

fn sends(kind: Producer) -> Event {
    Event::Producer { producer: 1, kind }
}

fn send(value: Value, outcome: Outcome) -> Send {
    let promise = Promise::Kept;
    Send { producer: 1, partition: 0, value, promise, outcome, txn: None }
}

/// Value 10 at offset 0, and so on.
fn sent(count: i64) -> Vec<Event> {
    let event = |offset: i64| Event::Send(send(10 + offset.unsigned_abs(), Outcome::Ok(offset)));
    (0..count).map(event).collect()
}

fn seen(records: &[(i64, Value)]) -> Vec<Seen> {
    records
        .iter()
        .map(|(offset, value)| Seen { partition: 0, offset: *offset, value: *value })
        .collect()
}

fn poll(records: &[(i64, Value)]) -> Event {
    let isolation = Isolation::Committed;
    Event::Poll(Poll { consumer: 1, isolation, records: seen(records), txn: None })
}

fn last(records: &[(i64, Value)]) -> Event {
    let log_end = records.last().map_or(0, |(offset, _)| offset + 1);
    Event::FinalRead(FinalRead { partition: 0, log_end, records: seen(records) })
}

/// `txn` writes values at offsets of partition 0.
fn writes(txn: u32, records: &[(i64, Value)]) -> Vec<Event> {
    let mut events = vec![Event::Begin { txn, at_ms: 0, timeout_ms: 1_000 }];
    events.extend(records.iter().map(|(offset, value)| {
        Event::Send(Send { txn: Some(txn), ..send(*value, Outcome::Ok(*offset)) })
    }));
    events
}

fn commits(txn: u32) -> [Event; 2] {
    [Event::Committing { txn }, Event::Ended { txn, end: End::Committed }]
}

fn reads_in(txn: u32, record: (i64, Value)) -> Event {
    let isolation = Isolation::Committed;
    Event::Poll(Poll { consumer: 1 + txn, isolation, records: seen(&[record]), txn: Some(txn) })
}

#[test]
fn a_good_history_passes() {
    let mut history = vec![sends(Producer::Idempotent)];
    history.extend(sent(3));
    history.push(Event::Send(send(13, Outcome::Info))); // Never arrived.
    history.push(Event::Send(send(14, Outcome::Info))); // Arrived.
    history.push(Event::Send(send(15, Outcome::Fail)));
    history.push(poll(&[(0, 10), (1, 11)]));
    history.push(poll(&[(2, 12), (3, 14)]));
    history.push(Event::Commit { group: 1, partition: 0, offset: 2 });
    history.push(Event::Committed { group: 1, partition: 0, offset: 2 });
    history.push(Event::Reassigned { consumer: 1 });
    history.push(poll(&[(2, 12), (3, 14)]));
    history.push(last(&[(0, 10), (1, 11), (2, 12), (3, 14)]));
    shows(&history, &[]);
    let report = check(&history);
    assert_eq!((report.acknowledged, report.unknown, report.polled), (3, 2, 6));
}

#[test]
fn a_good_history_of_transactions_passes() {
    // Two transactions whose writes lie between each other (G0), one that is given up, and one that
    // is open while the last stable offset waits for it.
    let mut history = writes(1, &[(0, 10), (2, 12)]);
    history.extend(writes(2, &[(1, 11), (3, 13)]));
    history.extend(writes(3, &[(6, 16)]));
    history.push(Event::Watermarks(Watermarks {
        partition: 0,
        at_ms: 900,
        last_stable: 0,
        high_watermark: 7,
    }));
    history.extend(commits(1));
    history.extend(commits(2));
    history.push(Event::Ended { txn: 3, end: End::Aborted });
    history.push(poll(&[(0, 10), (1, 11), (2, 12), (3, 13)]));
    history.push(reads_in(4, (0, 10)));
    history.push(last(&[(0, 10), (1, 11), (2, 12), (3, 13)]));
    shows(&history, &[]);
}

#[test]
fn lost_write() {
    let mut history = sent(3);
    history.push(poll(&[(0, 10), (2, 12)]));
    shows(&history, &[Row::LostWrite]);
}

#[test]
fn a_lost_suffix_is_only_allowed_where_the_promise_says_so() {
    for (promise, rows) in [(Promise::Kept, vec![Row::Unseen]), (Promise::SuffixMayGo, vec![])] {
        let mut history: Vec<Event> = Vec::new();
        for offset in 0..4_i32 {
            let value = 10 + u64::from(offset.unsigned_abs());
            let outcome = Outcome::Ok(i64::from(offset));
            history.push(Event::Send(Send { promise, ..send(value, outcome) }));
        }
        history.push(last(&[(0, 10), (1, 11)]));
        shows(&history, &rows);
        history.pop();
        history.push(last(&[(0, 10), (1, 11), (3, 13)]));
        let rows = [vec![Row::LostWrite], rows].concat();
        shows(&history, &rows);
    }
}

#[test]
fn unseen() {
    let mut history = sent(3);
    history.push(last(&[(0, 10), (1, 11)]));
    shows(&history, &[Row::Unseen]);
}

#[test]
fn what_was_read_once_must_stay() {
    let history = [Event::Send(send(10, Outcome::Info)), poll(&[(0, 10)]), last(&[])];
    shows(&history, &[Row::Unseen]);
}

#[test]
fn inconsistent_offset() {
    let mut history = sent(1);
    history.push(Event::Send(send(20, Outcome::Info)));
    history.push(poll(&[(0, 20)]));
    shows(&history, &[Row::InconsistentOffset]);
}

#[test]
fn duplicate() {
    for (kind, rows) in [
        (Producer::Idempotent, vec![Row::Duplicate]),
        (Producer::Once, vec![Row::Duplicate]),
        (Producer::Resends, vec![]),
    ] {
        let mut history = vec![sends(kind)];
        history.extend(sent(1));
        history.push(poll(&[(0, 10), (1, 10)]));
        shows(&history, &rows);
        assert_eq!(check(&history).resent, usize::from(rows.is_empty()));
    }
}

#[test]
fn aborted_read() {
    let refused = [Event::Send(send(10, Outcome::Fail)), poll(&[(0, 10)])];
    shows(&refused, &[Row::AbortedRead]);
    let mut given_up = writes(1, &[(0, 10)]);
    given_up.push(Event::Ended { txn: 1, end: End::Aborted });
    given_up.push(poll(&[(0, 10)]));
    shows(&given_up, &[Row::AbortedRead]);
    let Some(Event::Poll(poll)) = given_up.last_mut() else { panic!("a poll") };
    poll.isolation = Isolation::Uncommitted;
    shows(&given_up, &[]);
}

#[test]
fn intermediate_read_before_the_commit() {
    let mut history = writes(1, &[(0, 10)]);
    history.push(poll(&[(0, 10)]));
    history.extend(commits(1));
    shows(&history, &[Row::IntermediateRead]);
}

#[test]
fn intermediate_read_of_a_part() {
    let mut history = writes(1, &[(0, 10), (1, 11), (2, 12)]);
    history.extend(commits(1));
    history.push(poll(&[(0, 10), (2, 12)]));
    history.push(Event::Reassigned { consumer: 1 });
    history.push(last(&[(0, 10), (1, 11), (2, 12)]));
    shows(&history, &[Row::IntermediateRead]);
}

#[test]
fn precommitted_read() {
    let mut history = writes(1, &[(0, 10)]);
    history.push(reads_in(1, (0, 10)));
    history.extend(commits(1));
    shows(&history, &[Row::PrecommittedRead]);
}

#[test]
fn torn_transaction() {
    let mut history = writes(1, &[(0, 10)]);
    let elsewhere = Send { partition: 1, txn: Some(1), ..send(11, Outcome::Info) };
    history.push(Event::Send(elsewhere));
    history.push(Event::Committing { txn: 1 });
    history.push(Event::Ended { txn: 1, end: End::Info });
    history.push(last(&[(0, 10)]));
    history.push(Event::FinalRead(FinalRead { partition: 1, log_end: 0, records: Vec::new() }));
    shows(&history, &[Row::TornTransaction]);
}

#[test]
fn torn_although_its_commit_was_answered() {
    let mut history = writes(1, &[]);
    let nowhere = Send { txn: Some(1), ..send(10, Outcome::Info) };
    history.push(Event::Send(nowhere));
    history.extend(commits(1));
    history.push(last(&[]));
    shows(&history, &[Row::TornTransaction]);
    // With the commit given up it may be nowhere.
    let ended = history.len() - 2;
    history[ended] = Event::Ended { txn: 1, end: End::Aborted };
    shows(&history, &[]);
}

#[test]
fn circular_flow_over_three() {
    let mut history = Vec::new();
    for (txn, at) in [(1, 0), (2, 1), (3, 2)] {
        history.extend(writes(txn, &[(at, 10 + at.unsigned_abs())]));
        history.extend(commits(txn));
    }
    history.extend([reads_in(2, (0, 10)), reads_in(3, (1, 11))]);
    shows(&history, &[]);
    history.push(reads_in(1, (2, 12)));
    shows(&history, &[Row::CircularFlow]);
}

#[test]
fn circular_flow() {
    let mut history = writes(1, &[(0, 10)]);
    history.extend(writes(2, &[(1, 11)]));
    history.extend(commits(1));
    history.extend(commits(2));
    history.push(reads_in(2, (0, 10)));
    shows(&history, &[]);
    history.push(reads_in(1, (1, 11)));
    shows(&history, &[Row::CircularFlow]);
}

#[test]
fn poll_skip() {
    let mut history = sent(3);
    history.push(poll(&[(0, 10)]));
    history.push(poll(&[(2, 12)]));
    history.push(Event::Reassigned { consumer: 1 });
    history.push(poll(&[(1, 11)]));
    shows(&history, &[Row::PollSkip]);
}

#[test]
fn nonmonotonic_poll() {
    let mut history = sent(2);
    history.push(poll(&[(0, 10), (1, 11)]));
    history.push(poll(&[(1, 11)]));
    shows(&history, &[Row::NonmonotonicPoll]);
}

#[test]
fn internal_poll_skip() {
    let mut history = sent(3);
    history.push(poll(&[(0, 10), (2, 12)]));
    history.push(Event::Reassigned { consumer: 1 });
    history.push(poll(&[(1, 11)]));
    shows(&history, &[Row::InternalPollSkip]);
}

#[test]
fn internal_nonmonotonic_poll() {
    let mut history = sent(2);
    history.push(poll(&[(1, 11), (0, 10)]));
    shows(&history, &[Row::InternalNonmonotonicPoll]);
}

#[test]
fn nonmonotonic_send() {
    for (kind, rows) in [
        (Producer::Idempotent, vec![Row::NonmonotonicSend]),
        (Producer::Once, vec![Row::NonmonotonicSend]),
        (Producer::Resends, vec![]),
    ] {
        let history = [
            sends(kind),
            Event::Send(send(10, Outcome::Ok(1))),
            Event::Send(send(11, Outcome::Ok(0))),
        ];
        shows(&history, &rows);
    }
}

#[test]
fn committed_offset_went_back() {
    for (kept, rows) in
        [(4, vec![Row::CommitWentBack]), (-1, vec![Row::CommitWentBack]), (5, vec![])]
    {
        let history = [
            Event::Commit { group: 1, partition: 0, offset: 5 },
            Event::Committed { group: 1, partition: 0, offset: kept },
        ];
        shows(&history, &rows);
    }
}

#[test]
fn committed_offset_beyond_the_end() {
    let mut history = sent(2);
    history.push(Event::Committed { group: 1, partition: 0, offset: 3 });
    history.push(last(&[(0, 10), (1, 11)]));
    shows(&history, &[Row::CommitBeyondEnd]);
}

#[test]
fn last_stable_offset_stuck() {
    let marks = |at_ms| {
        Event::Watermarks(Watermarks { partition: 0, at_ms, last_stable: 0, high_watermark: 1 })
    };
    let mut history = writes(1, &[(0, 10)]);
    history.push(marks(1_000));
    shows(&history, &[]);
    history.push(marks(1_001)); // Older than its timeout.
    shows(&history, &[Row::LastStableStuck]);
    let mut ended = writes(1, &[(0, 10)]);
    ended.extend(commits(1));
    ended.push(marks(10));
    shows(&ended, &[Row::LastStableStuck]);
    // What is open elsewhere is no excuse.
    let elsewhere = Send { partition: 1, txn: Some(1), ..send(10, Outcome::Ok(0)) };
    let begin = Event::Begin { txn: 1, at_ms: 0, timeout_ms: 1_000 };
    shows(&[begin, Event::Send(elsewhere), marks(10)], &[Row::LastStableStuck]);
}
