//! ListTransactions (API 66, v0-2): transactional ids (KIP-664), those that run for long (v1, KIP-994),
//! those that fit a pattern (v2, KIP-1152).

use crate::protocol::ErrorCode;
use crate::protocol::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, TransactionState,
};
use crate::server::dispatch::Cx;
use crate::txn::{Command, IdPattern, ListTransactions, Reply};
use crate::types::ProducerId;

pub(super) async fn handle(cx: Cx, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let pattern = request.transactional_id_pattern.as_deref().map(IdPattern::parse).transpose();
    let pattern = match pattern {
        Ok(pattern) => pattern.flatten(),
        Err(error) => return refused((&error).into()),
    };
    let command = Command::List(ListTransactions {
        states: request.state_filters,
        producer_ids: request.producer_id_filters.into_iter().map(ProducerId).collect(),
        duration_ms: request.duration_filter,
        pattern,
    });
    match cx.broker.transactions().call(command).await {
        Ok(Reply::List(listed)) => {
            let rows = listed.transactions.into_iter().map(|listed| TransactionState {
                transactional_id: listed.transactional_id,
                producer_id: listed.producer_id.0,
                transaction_state: listed.state.name().to_owned(),
            });
            ListTransactionsResponse {
                unknown_state_filters: listed.unknown_states,
                transaction_states: rows.collect(),
                ..ListTransactionsResponse::default()
            }
        }
        Ok(_) => refused(ErrorCode::UnknownServerError),
        Err(error) => refused((&error).into()),
    }
}

fn refused(error_code: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse { error_code, ..ListTransactionsResponse::default() }
}
