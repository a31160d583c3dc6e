//! DescribeTransactions (API 65, v0): where transactional ids stand (KIP-664).

use std::collections::HashSet;

use crate::broker::Broker;
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};
use crate::server::dispatch::Cx;
use crate::txn::{Command, DescribedTransaction, Reply, TxnError};

/// Ids and partitions told of in one answer; those beyond are refused, to be asked again. Unlike Kafka,
/// which has no such limit.
const ROW_COUNT_MAX: usize = 20_000;
/// Ids that the coordinator is asked about in one step.
const AT_ONCE: usize = 16;

pub(super) async fn handle(
    cx: Cx,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    describe(&cx.broker, request.transactional_ids).await
}

/// Tells of each id once, and of a few at a time, so that the coordinator goes on meanwhile.
async fn describe(broker: &Broker, asked: Vec<String>) -> DescribeTransactionsResponse {
    let mut seen = HashSet::new();
    let ids: Vec<_> = asked.iter().filter(|id| seen.insert(id.as_str())).cloned().collect();
    let mut transaction_states = Vec::new();
    let mut row_count = 0;
    for ids in ids.chunks(AT_ONCE) {
        if row_count >= ROW_COUNT_MAX {
            let beyond = ids.iter().map(|id| failed(id.clone(), ErrorCode::PolicyViolation));
            transaction_states.extend(beyond);
            continue;
        }
        let states = describe_some(broker, ids.to_vec()).await;
        let topics = states.iter().flat_map(|state| &state.topics);
        row_count += states.len() + topics.map(|topic| topic.partitions.len()).sum::<usize>();
        transaction_states.extend(states);
    }
    DescribeTransactionsResponse { transaction_states, ..DescribeTransactionsResponse::default() }
}

async fn describe_some(broker: &Broker, ids: Vec<String>) -> Vec<TransactionState> {
    let described = broker.transactions().call(Command::Describe(ids.clone())).await;
    match described {
        Ok(Reply::Describe(described)) => {
            ids.into_iter().zip(described).map(|(id, described)| row(id, described)).collect()
        }
        Ok(_) => ids.into_iter().map(|id| failed(id, ErrorCode::UnknownServerError)).collect(),
        Err(error) => ids.into_iter().map(|id| failed(id, (&error).into())).collect(),
    }
}

fn row(id: String, described: Result<DescribedTransaction, TxnError>) -> TransactionState {
    let described = match described {
        Ok(described) => described,
        Err(error) => return failed(id, (&error).into()),
    };
    let topics = described.partitions.into_iter().map(|(topic, partitions)| TopicData {
        topic,
        partitions: partitions.into_iter().map(|partition| partition.0).collect(),
    });
    TransactionState {
        error_code: ErrorCode::None,
        transactional_id: id,
        transaction_state: described.state.name().to_owned(),
        transaction_timeout_ms: described.timeout_ms,
        transaction_start_time_ms: described.started.map_or(-1, |started| started.0),
        producer_id: described.producer.producer_id.0,
        producer_epoch: described.producer.producer_epoch.0,
        topics: topics.collect(),
    }
}

fn failed(transactional_id: String, error_code: ErrorCode) -> TransactionState {
    TransactionState { error_code, transactional_id, ..TransactionState::default() }
}

#[cfg(test)]
mod tests {
    use super::super::describe_producers::tests::broker;
    use super::*;

    #[tokio::test]
    async fn each_id_is_told_once() {
        let asked = ["a", "b", "a", "a"].map(str::to_owned).to_vec();
        let states = describe(&broker(), asked).await.transaction_states;
        let told: Vec<_> =
            states.iter().map(|row| (row.transactional_id.as_str(), row.error_code)).collect();
        let code = ErrorCode::TransactionalIdNotFound;
        assert_eq!(told, [("a", code), ("b", code)]);
    }

    #[tokio::test]
    async fn what_is_too_much_for_one_answer_is_refused() {
        let asked = (0..ROW_COUNT_MAX + 2).map(|number| number.to_string()).collect();
        let states = describe(&broker(), asked).await.transaction_states;
        let codes: Vec<_> = states.iter().map(|row| row.error_code).collect();
        assert_eq!(codes[..ROW_COUNT_MAX], vec![ErrorCode::TransactionalIdNotFound; ROW_COUNT_MAX]);
        assert_eq!(codes[ROW_COUNT_MAX..], [ErrorCode::PolicyViolation; 2]);
    }
}
