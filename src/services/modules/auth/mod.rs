//! Users and their logins: what the gateway takes in, the exchange of an identity provider's code, the user
//! service, the interview service. Who somebody is, is not checked here: this is no identity provider.
//!
//! | group | reads | writes |
//! |---|---|---|
//! | `auth-service-group` | `auth.callbacks` | `user.authenticated`; `security.event` where the provider refuses |
//! | `api-gateway` | `user.authenticated` | `user-events`: `user.authenticated` |
//! | `user-service-group` | `user-events`, `user.created`, `user.permissions.changed`, `saga.user.validation.requested` | `auth.users`, `user.activity`, `saga.user.validation.completed` |
//! | `interview-service-group` | `user-events`, `interview-events` | `auth.interviews`, `interview-events` |

pub mod events;
mod interviews;
mod provider;
mod users;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use self::events::{Callback, LoggedIn};
pub use self::interviews::{INTERVIEWS, Interview};
use self::provider::{Exchange, Provider};
pub use self::users::{Grants, USERS, User};
use super::route::{FieldError, Fields, Posted};
use super::workflow::events::UserAuthenticated;
use super::{DEDUP, Module};
use crate::services::error::ServiceError;
use crate::services::event::Envelope;
use crate::services::unit::{Emission, Input};
use crate::services::{Cx, Result, Service, service};

/// Where those who ask for a session may come from (R24).
const AUTH_METHODS: &[&str] = &["oauth2", "jwt_refresh"];
/// Why a session may end.
const LOGOUT_REASONS: &[&str] = &["manual", "timeout", "security"];

/// A module with all of this.
pub(super) fn add(module: Module) -> Module {
    module
        .service(exchange_service())
        .service(gateway())
        .service(users::users())
        .service(interviews::interviews())
        .publishes("POST /api/auth/login", login)
        .publishes("POST /api/auth/callback", callback)
        .publishes("POST /api/auth/logout", logout)
        .publishes("POST /api/auth/register", register)
        .publishes("POST /api/auth/permissions", permissions)
        .publishes("POST /api/interviews", interview)
}

/// The OAuth exchange, behind the answer to the callback.
fn exchange_service() -> Service {
    let provider = Provider::default();
    let exchange = move |event: Callback, cx: Cx| {
        let provider = provider.clone();
        async move { exchange(provider, event, cx).await }
    };
    service("auth-service-group").on(exchange).dedup(DEDUP).on_failure(refused).done()
}

async fn exchange(provider: Provider, event: Callback, cx: Cx) -> Result {
    let who = cx.effect("exchange", Exchange { provider, code: event.code }).await?;
    cx.emit(&UserAuthenticated {
        user_id: who.user_id,
        tenant_id: event.tenant_id,
        email: who.email,
        timestamp: cx.now().0,
        ip_address: event.ip_address,
        user_agent: event.user_agent,
        permissions: Vec::new(),
        session_id: who.session_id,
        auth_method: "oauth2".to_owned(),
        workflow: None,
    })
}

/// A code that the provider refuses is nothing to try again: somebody who watches over security is told.
fn refused(input: &Input, error: &ServiceError) -> Option<Emission> {
    (error.reason == "invalid_grant").then(|| Emission {
        topic: "security.event".into(),
        name: "LOGIN_REFUSED".into(),
        envelope: Envelope::Data,
        key: input.event_id.to_string(),
        body: json!({
            "reason": error.reason,
            "message": error.message,
            "ipAddress": input.body.get("ipAddress"),
        }),
        headers: Vec::new(),
    })
}

/// The gateway tells the services of the second document of every login.
fn gateway() -> Service {
    let tell = |event: UserAuthenticated, cx: Cx| async move {
        cx.emit(&LoggedIn {
            user_id: event.user_id,
            email: event.email,
            session_id: event.session_id,
            auth_method: event.auth_method,
            ip_address: event.ip_address,
            user_agent: event.user_agent,
            tenant_id: event.tenant_id,
        })
    };
    service("api-gateway").on(tell).dedup(DEDUP).done()
}

/// An event in an envelope of the first document.
fn flat(topic: &str, key: String, body: Value) -> Emission {
    emission(topic, topic, Envelope::Flat, key, body)
}

fn emission(topic: &str, name: &str, envelope: Envelope, key: String, body: Value) -> Emission {
    let headers = Vec::new();
    Emission { topic: topic.into(), name: name.into(), envelope, key, body, headers }
}

/// With the headers that the first document gives its events.
fn with_headers(mut emission: Emission, tenant_id: &str, posted: Posted<'_>) -> Emission {
    use crate::services::envelope::headers::{TENANT_ID, TIMESTAMP, add};
    add(&mut emission.headers, TENANT_ID, tenant_id);
    add(&mut emission.headers, TIMESTAMP, &posted.at.0.to_string());
    emission
}

/// Who and where from: what every login says.
fn visitor(fields: &Fields<'_>, body: &mut Value) -> Result<(), FieldError> {
    for field in ["ipAddress", "userAgent"] {
        if let Some(text) = fields.word_if(field)? {
            body[field] = text.into();
        }
    }
    Ok(())
}

fn login(posted: Posted<'_>) -> Result<Emission, FieldError> {
    let fields = posted.fields();
    let (user_id, tenant_id) = (fields.word("userId")?, fields.word("tenantId")?);
    let session = || format!("session-{}", posted.event_id);
    let mut body = json!({
        "userId": user_id,
        "tenantId": tenant_id,
        "email": fields.word("email")?,
        "timestamp": posted.at.0,
        "permissions": fields.words("permissions")?,
        "sessionId": fields.word_if("sessionId")?.unwrap_or_else(session),
        "authMethod": fields.one_of("authMethod", AUTH_METHODS)?,
    });
    visitor(&fields, &mut body)?;
    if let Some(wish) = fields.object_if("workflow")? {
        let description = wish.text_if("description")?.filter(|text| !text.is_empty());
        body["workflow"] = json!({
            "workflowId": wish.word_if("workflowId")?,
            "description": description.ok_or_else(|| wish.wrong("description", "missing"))?,
            "businessContext": wish.text_if("businessContext")?,
            "priority": wish.word_if("priority")?.unwrap_or_else(|| "normal".to_owned()),
        });
    }
    Ok(with_headers(flat("user.authenticated", user_id, body), &tenant_id, posted))
}

fn callback(posted: Posted<'_>) -> Result<Emission, FieldError> {
    let fields = posted.fields();
    let code = fields.word("code")?;
    let mut body =
        json!({ "code": code, "tenantId": fields.word_if("tenantId")?.unwrap_or_default() });
    visitor(&fields, &mut body)?;
    Ok(emission("auth.callbacks", "auth.callback", Envelope::CloudEvents, code, body))
}

fn logout(posted: Posted<'_>) -> Result<Emission, FieldError> {
    let fields = posted.fields();
    let user_id = fields.word("userId")?;
    let body = json!({
        "userId": user_id,
        "sessionId": fields.word("sessionId")?,
        "reason": fields.one_of("reason", LOGOUT_REASONS)?,
    });
    Ok(emission("user-events", "user.logged_out", Envelope::Payload, user_id, body))
}

fn register(posted: Posted<'_>) -> Result<Emission, FieldError> {
    let fields = posted.fields();
    let user_id = fields.word_if("userId")?.unwrap_or_else(|| posted.event_id.to_owned());
    let tenant_id = fields.word("tenantId")?;
    let mut body = json!({
        "userId": user_id,
        "tenantId": tenant_id,
        "email": fields.word("email")?,
        "permissions": fields.words("permissions")?,
        "timestamp": posted.at.0,
    });
    if let Some(name) = fields.word_if("name")? {
        body["name"] = name.into();
    }
    Ok(with_headers(flat("user.created", user_id, body), &tenant_id, posted))
}

fn permissions(posted: Posted<'_>) -> Result<Emission, FieldError> {
    let fields = posted.fields();
    let (user_id, tenant_id) = (fields.word("userId")?, fields.word("tenantId")?);
    if fields.get("permissions").is_none() {
        return Err(fields.wrong("permissions", "missing"));
    }
    let body = json!({
        "userId": user_id,
        "tenantId": tenant_id,
        "permissions": fields.words("permissions")?,
        "timestamp": posted.at.0,
    });
    Ok(with_headers(flat("user.permissions.changed", user_id, body), &tenant_id, posted))
}

fn interview(posted: Posted<'_>) -> Result<Emission, FieldError> {
    let fields = posted.fields();
    let user_id = fields.word("userId")?;
    let interview_id = fields.word_if("interviewId")?.unwrap_or_else(|| posted.event_id.to_owned());
    let body = json!({ "userId": user_id, "interviewId": interview_id });
    Ok(emission("interview-events", "interview.started", Envelope::Payload, user_id, body))
}
