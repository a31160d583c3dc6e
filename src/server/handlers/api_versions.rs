//! ApiVersions (API 18, v0-4): what this broker serves. KIP-511 (v3): the client's software is named.
//! Answered before the broker is ready, and on any connection at any time.

use crate::codec::{Message, Reader};
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::protocol::{ApiKey, ErrorCode, response_frame};
use crate::server::connection::Answer;
use crate::server::dispatch::Call;
use crate::server::frame::Frame;

/// The first version whose clients bear a feature that begins at level 0.
const MINIMUM_ZERO_SINCE: i16 = 4;
/// The feature by which clients know that ends of transactions raise the epoch (KIP-890).
const TRANSACTION_VERSION: &str = "transaction.version";
const TRANSACTION_VERSION_LEVEL: i16 = 2;
/// The first version that names the client's software.
const NAMED_SINCE: i16 = 3;

pub(in crate::server) fn answer(call: &Call, mut reader: Reader) -> Answer {
    match ApiVersionsRequest::decode(&mut reader, call.version) {
        Ok(request) => call.answer(&respond(call.version, &request)),
        Err(error) => call.undecodable(&error.to_string()),
    }
}

/// Answers a version that is not served: in version 0, with just the row of ApiVersions itself.
pub(in crate::server) fn too_new(call: &Call) -> Answer {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion,
        api_keys: vec![row(ApiKey::ApiVersions)],
        ..ApiVersionsResponse::default()
    };
    let frame = response_frame(call.api, 0, call.correlation_id, &response);
    match call.written(frame) {
        Some(bytes) => Answer::Now(Frame::from_bytes(bytes)),
        None => Answer::Close("ApiVersions could not be answered".to_owned()),
    }
}

fn respond(version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    if version >= NAMED_SINCE
        && !(is_name(&request.client_software_name) && is_name(&request.client_software_version))
    {
        let error_code = ErrorCode::InvalidRequest;
        return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
    }
    let supported = SupportedFeatureKey {
        name: TRANSACTION_VERSION.to_owned(),
        min_version: 0,
        max_version: TRANSACTION_VERSION_LEVEL,
    };
    let finalized = FinalizedFeatureKey {
        name: TRANSACTION_VERSION.to_owned(),
        max_version_level: TRANSACTION_VERSION_LEVEL,
        min_version_level: TRANSACTION_VERSION_LEVEL,
    };
    ApiVersionsResponse {
        api_keys: ApiKey::ALL.iter().map(|api| row(*api)).collect(),
        supported_features: if version >= MINIMUM_ZERO_SINCE {
            vec![supported]
        } else {
            Vec::new()
        },
        finalized_features_epoch: 0,
        finalized_features: vec![finalized],
        ..ApiVersionsResponse::default()
    }
}

fn row(api: ApiKey) -> ApiVersion {
    let versions = api.advertised();
    ApiVersion { api_key: api.code(), min_version: versions.min, max_version: versions.max }
}

/// Letters, digits, dots and hyphens, with a letter or digit at both ends (KIP-511).
fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.bytes().all(inside)
        && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}
