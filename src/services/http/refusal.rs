//! Why a request is not answered as it wishes, and how that is told.

use serde_json::json;

use super::Reply;
use crate::client::cluster::ClusterError;
use crate::services::error::ServiceError;

/// Seconds after which a client may try again what failed in passing.
const RETRY_AFTER_SECONDS: &str = "1";

/// A status of 400 or more, in a word and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: u16,
    error: &'static str,
    message: String,
    field: Option<String>,
    /// Line and column in the body.
    position: Option<(usize, usize)>,
    /// The methods that there are.
    allow: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: u16, error: &'static str, message: impl Into<String>) -> Self {
        let (field, position, allow) = (None, None, None);
        Self { status, error, message: message.into(), field, position, allow }
    }

    /// A field of what was sent: 422.
    pub(super) fn of_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let field = Some(field.into()).filter(|field| !field.is_empty());
        Self { field, ..Self::new(422, "invalid", message) }
    }

    /// A body that is no JSON: 400.
    pub(super) fn of_json(error: &serde_json::Error) -> Self {
        let message = format!("the body is no JSON: {error}");
        let position = Some((error.line(), error.column()));
        Self { position, ..Self::new(400, "malformed-json", message) }
    }

    /// A method that the path does not have: 405.
    pub(super) fn of_method(allow: String) -> Self {
        let message = format!("this path takes {allow}");
        Self { allow: Some(allow), ..Self::new(405, "method-not-allowed", message) }
    }
}

impl From<ClusterError> for Refusal {
    fn from(error: ClusterError) -> Self {
        Self::new(503, "cluster", error.to_string())
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        Self::new(503, "state", error.to_string())
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let mut body = json!({ "error": refusal.error });
        if let Some(field) = &refusal.field {
            body["field"] = json!(field);
        }
        body["message"] = json!(refusal.message);
        if let Some((line, column)) = refusal.position {
            (body["line"], body["column"]) = (json!(line), json!(column));
        }
        let reply = Self::json(refusal.status, &body);
        let reply = match refusal.allow {
            Some(allow) => reply.with_header("allow", allow),
            None => reply,
        };
        if refusal.status == 503 {
            return reply.with_header("retry-after", RETRY_AFTER_SECONDS);
        }
        reply
    }
}
