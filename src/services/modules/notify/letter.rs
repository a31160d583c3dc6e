//! What users are told, and by whom they are told it: from an event to a letter.

use serde_json::{Value, json};

use crate::services::error::{Result, permanent};
use crate::services::modules::body::{needed, text};
use crate::services::unit::Input;

/// Bytes of an address (RFC 5321, 4.5.3.1).
const ADDRESS_BYTES_MAX: usize = 254;

/// What kind of letter it is, and so by which event its sending is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Told by `email.sent`.
    Mail,
    /// Told by `notification.sent`.
    Notification,
}

/// A letter to one user.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Letter {
    pub(super) kind: Kind,
    /// An address, or where none is known the user's id.
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) text: String,
    /// Which of the letters it is.
    pub(super) template: String,
    /// What it is about.
    pub(super) about: Value,
}

/// `user.created`, in either envelope, and `user.registered`.
pub(super) fn welcome(input: &Input, tenant: &str) -> Result<Letter> {
    let body = &input.body;
    let to = address(needed(body, "email")?)?;
    let first = text(body, "name").or_else(|| text(body, "firstName"));
    let greeting = first.map_or_else(|| "Welcome!".to_owned(), |name| format!("Welcome, {name}!"));
    let place = if tenant.is_empty() { String::new() } else { format!(" at {tenant}") };
    Ok(Letter {
        kind: Kind::Mail,
        to,
        subject: "Welcome".to_owned(),
        text: format!("{greeting}\n\nYour account{place} is ready."),
        template: "welcome".to_owned(),
        about: json!({ "userId": text(body, "userId") }),
    })
}

/// `workflow.generated`, and the saga's `workflow.ready`: title and message of the reference document.
pub(super) fn workflow_ready(input: &Input) -> Result<Letter> {
    Ok(Letter {
        kind: Kind::Notification,
        to: address(needed(&input.body, "userId")?)?,
        subject: "Workflow Ready".to_owned(),
        text: "Your AI-generated workflow is ready to use".to_owned(),
        template: "workflow.ready".to_owned(),
        about: json!({ "workflowId": text(&input.body, "workflowId") }),
    })
}

/// `workflow.executed`.
pub(super) fn execution_complete(input: &Input) -> Result<Letter> {
    let body = &input.body;
    let workflow_id = text(body, "workflowId");
    let named = workflow_id.as_deref().unwrap_or_default();
    let status = text(body, "status").unwrap_or_else(|| "completed".to_owned());
    Ok(Letter {
        kind: Kind::Notification,
        to: address(needed(body, "userId")?)?,
        subject: "Workflow Completed".to_owned(),
        text: format!("Your workflow {named} has been executed: {status}"),
        template: "workflow.executed".to_owned(),
        about: json!({ "workflowId": workflow_id, "executionId": text(body, "executionId") }),
    })
}

/// `system.alerts`, to whoever looks after the system.
pub(super) fn alert(input: &Input, to: &str) -> Result<Letter> {
    let body = &input.body;
    let said = |fields: &[&str]| fields.iter().find_map(|field| text(body, field));
    let what = said(&["title", "alert"]).unwrap_or_else(|| input.name.to_string());
    let what = if what.is_empty() { "system.alerts".to_owned() } else { what };
    let why = said(&["message", "reason", "error"]).unwrap_or_default();
    Ok(Letter {
        kind: Kind::Notification,
        to: address(to.to_owned())?,
        subject: format!("System Alert: {what}"),
        text: format!("{why}\n\n{body}"),
        template: "system.alert".to_owned(),
        about: json!({ "alertId": &*input.event_id }),
    })
}

/// `notification-requested`: title and message as the asker gives them, to a user's id or, as a mail, to an
/// address.
pub(super) fn requested(input: &Input) -> Result<Letter> {
    let body = &input.body;
    let (kind, to) = match text(body, "email") {
        Some(email) => (Kind::Mail, email),
        None => (Kind::Notification, needed(body, "userId")?),
    };
    let template = text(body, "template").unwrap_or_else(|| "notification".to_owned());
    Ok(Letter {
        kind,
        to: address(to)?,
        subject: text(body, "title").unwrap_or_else(|| template.clone()),
        text: text(body, "message").unwrap_or_default(),
        template,
        about: body.get("data").cloned().unwrap_or(Value::Null),
    })
}

/// `saga.notification.requested`, of the types that are known.
pub(super) fn of_saga(input: &Input) -> Result<Letter> {
    match needed(&input.body, "type")?.as_str() {
        "workflow.ready" => workflow_ready(input),
        other => Err(permanent("unknown-notification").because(other)),
    }
}

/// An address, or an id, that can stand in a mail's head.
pub(super) fn address(text: String) -> Result<String> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || "<>,;:\"()\\".contains(c);
    if text.len() > ADDRESS_BYTES_MAX || text.chars().any(is_bad) {
        return Err(permanent("bad-recipient").because(format!("{text:?} is no address")));
    }
    Ok(text)
}
