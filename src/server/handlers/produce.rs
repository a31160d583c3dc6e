//! Produce (API 0, v3-13): appends batches. KIP-98 (v3), KIP-467 (v8: which records were refused),
//! KIP-890 (v11 and v12: transactions), KIP-516 (v13: topics by id).
//!
//! The append happens here and now, on the connection's own thread; acks=1 and acks=-1 are answered
//! once every partition's high watermark has passed the batch (who has an answer expects to read
//! it), and later requests of the connection are appended meanwhile. A batch that begins a transaction
//! in its partition waits for the coordinator first, and later requests of the connection wait too, for
//! batches keep their order. acks=0 is never answered: an error closes the connection.

use crate::broker::{Beginning, ProduceError, TopicRef, Written};
use crate::codec::{Message, Reader};
use crate::partition::AppendError;
use crate::protocol::ErrorCode;
use crate::protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use crate::records::{BatchError, BatchHeader, Codec, ValidBatch};
use crate::server::connection::{Answer, Outcome};
use crate::server::dispatch::Cx;
use crate::types::{Now, PartitionIndex, TopicId, TransactionVersion};

/// The first version that names topics by id.
const TOPIC_ID_SINCE: i16 = 13;
/// The first version that adds partitions to the transaction.
const ADDS_SINCE: i16 = 12;
/// The first version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE_SINCE: i16 = 11;
/// The first version whose clients know zstd.
const ZSTD_SINCE: i16 = 7;

/// A row of the response whose batch is stored: it waits until that is visible.
struct StoredRow {
    topic: usize,
    partition: usize,
    written: Written,
}

/// A row of the response whose batch begins a transaction in its partition: it waits for the
/// coordinator.
struct BeginningRow {
    topic: usize,
    partition: usize,
    batch: Beginning,
}

/// What a partition is told that nothing was written to.
enum Refused {
    Said(PartitionProduceResponse),
    /// Not yet: the coordinator is asked first.
    NotBegun(PartitionProduceResponse),
}

impl From<PartitionProduceResponse> for Refused {
    fn from(answer: PartitionProduceResponse) -> Self {
        Self::Said(answer)
    }
}

pub(super) fn handle(cx: Cx, mut reader: Reader) -> Answer {
    let request = match ProduceRequest::decode(&mut reader, cx.call.version) {
        Ok(request) => request,
        Err(error) => return cx.call.undecodable(&error.to_string()),
    };
    let acks = request.acks;
    let transactional_id = request.transactional_id.clone();
    let (response, waiting, beginning) = append(&cx, request);
    if !beginning.is_empty() {
        let id = transactional_id.unwrap_or_default();
        return Answer::Parked(Box::pin(begin(cx, id, acks, response, (waiting, beginning))));
    }
    if acks == 0 {
        return match first_error(&response) {
            Some(error) => Answer::Close(failed(error)),
            None => Answer::Silent,
        };
    }
    if waiting.iter().all(is_visible) {
        return cx.call.answer(&response);
    }
    Answer::AfterSync(Box::pin(async move {
        let response = when_visible(response, waiting).await;
        cx.call.outcome(&response)
    }))
}

fn failed(error: ErrorCode) -> String {
    format!("produce with acks=0 failed: {error}")
}

/// Appends the batches that begin a transaction in their partition, if the coordinator lets them.
async fn begin(
    cx: Cx,
    transactional_id: String,
    acks: i16,
    mut response: ProduceResponse,
    (mut waiting, beginning): (Vec<StoredRow>, Vec<BeginningRow>),
) -> Outcome {
    let version =
        if cx.call.version >= ADDS_SINCE { TransactionVersion::V2 } else { TransactionVersion::V0 };
    let (places, batches): (Vec<_>, Vec<_>) =
        beginning.into_iter().map(|it| ((it.topic, it.partition), it.batch)).unzip();
    let results = cx.broker.produce_beginning(&transactional_id, version, batches).await;
    for ((topic, partition), result) in places.into_iter().zip(results) {
        let Some(row) = response.responses.get_mut(topic) else { continue };
        let Some(row) = row.partition_responses.get_mut(partition) else { continue };
        match result {
            Ok(written) => {
                *row = accepted(row.index, &written);
                waiting.push(StoredRow { topic, partition, written });
            }
            Err(error) => {
                *row = refused(row.index, &error);
                row.error_code = code_of_beginning(row.error_code, &error, cx.call.version);
            }
        }
    }
    if acks == 0 {
        return match first_error(&response) {
            Some(error) => Outcome::Close(failed(error)),
            None => Outcome::Silent,
        };
    }
    let response = when_visible(response, waiting).await;
    cx.call.outcome(&response)
}

/// What the coordinator's refusal is to a producer of this version (KIP-890): a trouble that will pass
/// is NOT_ENOUGH_REPLICAS, which they all retry.
fn code_of_beginning(code: ErrorCode, error: &ProduceError, version: i16) -> ErrorCode {
    if !matches!(error, ProduceError::Transaction(_)) {
        return code;
    }
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_SINCE => ErrorCode::InvalidTxnState,
        ErrorCode::ConcurrentTransactions if version >= ADDS_SINCE => code,
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        code => code,
    }
}

fn is_visible(waiting: &StoredRow) -> bool {
    waiting.written.partition.watermarks().high_watermark >= waiting.written.appended.end
}

/// BeginningRow for every partition; one that went offline meanwhile answers with its error.
async fn when_visible(mut response: ProduceResponse, waiting: Vec<StoredRow>) -> ProduceResponse {
    for StoredRow { topic, partition, written } in waiting {
        let Err(error) = written.partition.visible(written.appended.end).await else { continue };
        let row = response.responses.get_mut(topic);
        if let Some(row) = row.and_then(|row| row.partition_responses.get_mut(partition)) {
            *row = refused(row.index, &ProduceError::Append(error));
        }
    }
    response
}

/// Looks at each partition in the order of Kafka's checks: what concerns the whole request, then
/// topic and form of the batch, then acks, then everything else.
fn append(
    cx: &Cx,
    request: ProduceRequest,
) -> (ProduceResponse, Vec<StoredRow>, Vec<BeginningRow>) {
    let now = cx.call.context.clock.now();
    let known_acks = (-1..=1).contains(&request.acks);
    let unnamed = request.transactional_id.is_none() && has_transactional_batch(&request);
    let (mut waiting, mut beginning) = (Vec::new(), Vec::new());
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut row = TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: Vec::with_capacity(topic.partition_data.len()),
        };
        let target = target(cx.call.version, &topic);
        for data in topic.partition_data {
            let index = data.index;
            let records = data.records.clone();
            let result = if unnamed {
                Err(refused_with(index, ErrorCode::TransactionalIdAuthorizationFailed, None).into())
            } else if let Err(error) = check_form(cx, &target, &data) {
                Err(refused(index, &error).into())
            } else if !known_acks {
                Err(refused_with(index, ErrorCode::InvalidRequiredAcks, None).into())
            } else {
                append_one(cx, &target, data, now)
            };
            let (topic, partition) = (responses.len(), row.partition_responses.len());
            row.partition_responses.push(match result {
                Err(Refused::NotBegun(answer)) => {
                    let (topic_ref, partition_index) = (target.clone(), PartitionIndex(index));
                    let records = records.unwrap_or_default();
                    let batch = Beginning { topic: topic_ref, partition: partition_index, records };
                    beginning.push(BeginningRow { topic, partition, batch });
                    answer
                }
                Err(Refused::Said(answer)) => answer,
                Ok(written) => {
                    let answer = accepted(index, &written);
                    waiting.push(StoredRow { topic, partition, written });
                    answer
                }
            });
        }
        responses.push(row);
    }
    (ProduceResponse { responses, ..ProduceResponse::default() }, waiting, beginning)
}

/// Whether any batch claims to be part of a transaction: without a transactional id the whole request
/// is refused then.
fn has_transactional_batch(request: &ProduceRequest) -> bool {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    partitions
        .filter_map(|data| BatchHeader::parse(data.records.as_deref()?).ok())
        .any(|header| header.attributes.is_transactional() && header.producer_id.0 >= 0)
}

fn target(version: i16, topic: &TopicProduceData) -> TopicRef {
    if version >= TOPIC_ID_SINCE {
        TopicRef::Id(TopicId(topic.topic_id))
    } else {
        TopicRef::Name(topic.name.clone())
    }
}

/// What is told before acks are looked at: the topic is unknown, or its batch is none that may be
/// sent in this version.
fn check_form(cx: &Cx, target: &TopicRef, data: &PartitionProduceData) -> Result<(), ProduceError> {
    let topic = match target {
        TopicRef::Name(name) => {
            cx.broker.registry.by_name(name).ok_or(ProduceError::UnknownTopicOrPartition)?
        }
        TopicRef::Id(id) => cx.broker.registry.by_id(*id).ok_or(ProduceError::UnknownTopicId)?,
    };
    let partition = topic.partition(PartitionIndex(data.index));
    partition.ok_or(ProduceError::UnknownTopicOrPartition)?;
    let records = data.records.as_deref().unwrap_or_default();
    let form = ValidBatch::peek(records);
    // Kafka looks at the codec before it looks for a second batch.
    if let Ok(_) | Err(BatchError::MoreThanOne) = form
        && cx.call.version < ZSTD_SINCE
        && ValidBatch::peek_codec(records) == Some(Codec::Zstd)
    {
        return Err(ProduceError::UnsupportedCodec);
    }
    match form {
        // What is too short for a header is told later, with what is told of the CRC.
        Ok(()) | Err(BatchError::Length(_)) => Ok(()),
        Err(error) => Err(AppendError::from(error).into()),
    }
}

fn append_one(
    cx: &Cx,
    target: &TopicRef,
    data: PartitionProduceData,
    now: Now,
) -> Result<Written, Refused> {
    let index = data.index;
    let written = cx.broker.produce(target, PartitionIndex(index), data.records, now);
    written.map_err(|error| {
        let log_start_offset = if tells_log_start(&error) {
            cx.broker.log_start(target, PartitionIndex(index)).map_or(-1, |start| start.0)
        } else {
            -1
        };
        let answer = PartitionProduceResponse { log_start_offset, ..refused(index, &error) };
        match error {
            ProduceError::Append(AppendError::TransactionNotBegun { .. }) => {
                Refused::NotBegun(answer)
            }
            _ => Refused::Said(answer),
        }
    })
}

fn accepted(index: i32, written: &Written) -> PartitionProduceResponse {
    let appended = written.appended;
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.0,
        log_append_time_ms: appended.log_append_time.map_or(-1, |time| time.0),
        log_start_offset: appended.log_start_offset.0,
        ..PartitionProduceResponse::default()
    }
}

fn refused(index: i32, error: &ProduceError) -> PartitionProduceResponse {
    let mut answer = refused_with(index, error.into(), Some(error.to_string()));
    if let ProduceError::Append(
        AppendError::InvalidRecord(records) | AppendError::InvalidTimestamp(records),
    ) = error
    {
        answer.record_errors = records
            .iter()
            .map(|record| BatchIndexAndErrorMessage {
                batch_index: record.index,
                batch_index_error_message: Some(record.message.clone()),
            })
            .collect();
    }
    answer
}

/// Whether the answer tells where the log starts: as in Kafka, where the log itself looked at the
/// records, and not for what is refused by its size or its outer form.
fn tells_log_start(error: &ProduceError) -> bool {
    match error {
        ProduceError::Append(AppendError::Batch(error)) => !matches!(
            error,
            BatchError::NoBatch { .. }
                | BatchError::MoreThanOne
                | BatchError::OldMagic { .. }
                | BatchError::UnknownMagic { .. }
                | BatchError::TooLarge { .. }
                | BatchError::Length(_)
                | BatchError::Crc { .. }
        ),
        ProduceError::Append(
            AppendError::InvalidTimestamp(_)
            | AppendError::InvalidRecord(_)
            | AppendError::Producer(_),
        ) => true,
        ProduceError::Append(
            AppendError::TooLarge { .. }
            | AppendError::LargerThanSegment { .. }
            | AppendError::TransactionNotBegun { .. }
            | AppendError::Build(_)
            | AppendError::Storage(_)
            | AppendError::DiskFull
            | AppendError::TooManyFiles(_),
        )
        | ProduceError::UnknownTopicOrPartition
        | ProduceError::UnknownTopicId
        | ProduceError::UnsupportedCodec
        | ProduceError::NotLeader
        | ProduceError::InternalTopic(_)
        | ProduceError::NoRecords
        | ProduceError::Transaction(_) => false,
    }
}

fn refused_with(
    index: i32,
    error_code: ErrorCode,
    error_message: Option<String>,
) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code,
        base_offset: -1,
        error_message,
        ..PartitionProduceResponse::default()
    }
}

fn first_error(response: &ProduceResponse) -> Option<ErrorCode> {
    let rows = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    rows.map(|row| row.error_code).find(|code| code.is_error())
}
