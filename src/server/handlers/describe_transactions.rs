//! DescribeTransactions (API 65, v0): where transactional ids stand (KIP-664).

use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};
use crate::server::dispatch::Cx;
use crate::txn::{Command, DescribedTransaction, Reply, TxnError};

pub(super) async fn handle(
    cx: Cx,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let ids = request.transactional_ids;
    let command = Command::Describe(ids.clone());
    let described = cx.broker.transactions().call(command).await;
    let transaction_states = match described {
        Ok(Reply::Describe(described)) => {
            ids.into_iter().zip(described).map(|(id, described)| row(id, described)).collect()
        }
        Ok(_) => ids.into_iter().map(|id| failed(id, ErrorCode::UnknownServerError)).collect(),
        Err(error) => ids.into_iter().map(|id| failed(id, (&error).into())).collect(),
    };
    DescribeTransactionsResponse { transaction_states, ..DescribeTransactionsResponse::default() }
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
