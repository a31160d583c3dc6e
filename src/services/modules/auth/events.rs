//! Events of `user-events` and `interview-events`: a topic each for events of several names, as the second
//! reference document has them. The interviews' names are ours: the document leaves them out.

use ottla_macros::Event;
use serde::{Deserialize, Serialize};

/// `user.authenticated` of `user-events`.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "user-events", name = "user.authenticated", key = "user_id")]
#[event(envelope = "payload")]
#[serde(rename_all = "camelCase")]
pub struct LoggedIn {
    /// Who.
    pub user_id: String,
    /// Where mail reaches him.
    pub email: String,
    /// The session that began.
    pub session_id: String,
    /// `oauth2` or `jwt_refresh`.
    pub auth_method: String,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Of which tenant, where that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant_id: String,
}

/// `user.registered` of `user-events`.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "user-events", name = "user.registered", key = "user_id")]
#[event(envelope = "payload")]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// Who.
    pub user_id: String,
    /// Where mail reaches him.
    pub email: String,
    /// `authentik`.
    #[serde(default)]
    pub registration_method: String,
    /// His first name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// His last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
}

/// `user.logged_out` of `user-events`.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "user-events", name = "user.logged_out", key = "user_id")]
#[event(envelope = "payload")]
#[serde(rename_all = "camelCase")]
pub struct LoggedOut {
    /// Who.
    pub user_id: String,
    /// The session that ended.
    pub session_id: String,
    /// `manual`, `timeout` or `security`.
    pub reason: String,
}

/// What a user does, for the activity log and for statistics.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "user.activity", name = "user.activity", key = "user_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct UserActivity {
    /// Who.
    pub user_id: String,
    /// Of which tenant; empty where nobody said.
    pub tenant_id: String,
    /// `user_login`.
    pub activity: String,
    /// When, in ms since 1970.
    pub timestamp: i64,
}

/// An interview has begun.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "interview-events", name = "interview.started", key = "user_id")]
#[event(envelope = "payload")]
#[serde(rename_all = "camelCase")]
pub struct InterviewStarted {
    /// Whose.
    pub user_id: String,
    /// Which.
    pub interview_id: String,
}

/// An interview waits for its user to come back.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "interview-events", name = "interview.paused", key = "user_id")]
#[event(envelope = "payload")]
#[serde(rename_all = "camelCase")]
pub struct InterviewPaused {
    /// Whose.
    pub user_id: String,
    /// Which.
    pub interview_id: String,
}

/// An interview goes on.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "interview-events", name = "interview.resumed", key = "user_id")]
#[event(envelope = "payload")]
#[serde(rename_all = "camelCase")]
pub struct InterviewResumed {
    /// Whose.
    pub user_id: String,
    /// Which.
    pub interview_id: String,
}

/// An interview is over.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "interview-events", name = "interview.completed", key = "user_id")]
#[event(envelope = "payload")]
#[serde(rename_all = "camelCase")]
pub struct InterviewCompleted {
    /// Whose.
    pub user_id: String,
    /// Which.
    pub interview_id: String,
}

/// Somebody came back from the identity provider with a code.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "auth.callbacks", name = "auth.callback", key = "code")]
#[serde(rename_all = "camelCase")]
pub struct Callback {
    /// What the provider gives tokens for, once.
    pub code: String,
    /// Of which tenant.
    pub tenant_id: String,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}
