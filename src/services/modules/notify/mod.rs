//! The pack `notify`: tells users what has happened, by a channel that is set, and says by an event that it did.
//!
//! | topic | letter | told by |
//! |---|---|---|
//! | `user.created`; `user.registered` of `user-events` | welcome mail | `email.sent` |
//! | `workflow.generated`; `saga.notification.requested` | `Workflow Ready` | `notification.sent` |
//! | `workflow.executed` | completion | `notification.sent` |
//! | `system.alerts` | alert, to `notify.alerts.to` | `notification.sent` |
//! | `notification-requested` | as asked for | `email.sent` where it has an address, or `notification.sent` |
//!
//! A letter is sent once an event, as far as its channel can promise that: its key follows from the event, and the
//! maildir knows keys. The console does not: after a crash a line may come twice.

mod letter;
mod maildir;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::json;

use self::letter::{Kind, Letter};
use self::maildir::Maildir;
use super::auth::events::Registered;
use super::body::tenant;
use super::{DEDUP, Module, PackError};
use crate::config::broker::BrokerConfig;
use crate::services::envelope::headers::{TENANT_ID, add};
use crate::services::event::{Effect, Envelope};
use crate::services::unit::Emission;
use crate::services::{Cx, Result, Service, service, transient};
use crate::types::Timestamp;

/// The document's group.
const GROUP: &str = "notification-service-group";

/// How letters go out.
#[derive(Clone, Debug)]
enum Channel {
    /// As a line of the log.
    Console,
    /// As a file.
    Maildir(Maildir),
}

/// What the pack is set to.
#[derive(Debug)]
struct Post {
    channel: Channel,
    alerts_to: String,
}

/// The pack.
///
/// # Errors
/// A maildir is asked for, and nothing says where.
pub(super) fn module(settings: &BrokerConfig) -> Result<Module, PackError> {
    let channel = match &*settings.notify_channel {
        "maildir" => {
            let folder = settings.notify_maildir.as_deref().ok_or(PackError::Setting {
                key: "notify.maildir",
                problem: "notify.channel=maildir needs the folder".to_owned(),
            })?;
            Channel::Maildir(Maildir::new(folder, &settings.notify_from))
        }
        _ => Channel::Console,
    };
    letter::address(settings.notify_alerts_to.clone())
        .map_err(|error| PackError::Setting { key: "notify.alerts.to", problem: error.message })?;
    let post = Post { channel, alerts_to: settings.notify_alerts_to.clone() };
    Ok(Module::new("notify").service(notifications(&Arc::new(post))))
}

type Write = fn(&Post, &Cx) -> Result<Letter>;

/// The letters, by topic.
const LETTERS: &[(&str, Write)] = &[
    ("user.created", |_, cx| letter::welcome(cx.input(), &tenant(cx.input()))),
    ("workflow.generated", |_, cx| letter::workflow_ready(cx.input())),
    ("workflow.executed", |_, cx| letter::execution_complete(cx.input())),
    ("system.alerts", |post, cx| letter::alert(cx.input(), &post.alerts_to)),
    ("notification-requested", |_, cx| letter::requested(cx.input())),
    ("saga.notification.requested", |_, cx| letter::of_saga(cx.input())),
];

fn notifications(post: &Arc<Post>) -> Service {
    let mut all = service(GROUP);
    for (topic, write) in LETTERS {
        let post = Arc::clone(post);
        let tell = move |cx: Cx| {
            let post = Arc::clone(&post);
            async move {
                let letter = write(&post, &cx)?;
                send(&post, letter, cx).await
            }
        };
        all = all.on_raw([*topic], tell).dedup(DEDUP).breaker("notify").done();
    }
    let post = Arc::clone(post);
    let registered = move |_: Registered, cx: Cx| {
        let post = Arc::clone(&post);
        async move {
            let letter = letter::welcome(cx.input(), &tenant(cx.input()))?;
            send(&post, letter, cx).await
        }
    };
    all.on(registered).dedup(DEDUP).breaker("notify").done()
}

/// Sends a letter and says so.
async fn send(post: &Post, letter: Letter, cx: Cx) -> Result {
    let input = cx.input();
    // Ids that are made of the time are the same for two events of one ms: the key tells them apart. So it is
    // with two alerts about one saga, whose effects would have one key.
    let key = String::from_utf8_lossy(input.key.as_deref().unwrap_or_default());
    let name = format!("letter/{}/{}/{key}", input.at.topic, input.event_id);
    let deliver = Deliver { channel: post.channel.clone(), at: cx.now(), letter: letter.clone() };
    let message_id = cx.effect(&name, deliver).await?;
    cx.emit_raw(sent(&cx, letter, &message_id));
    Ok(())
}

/// By which event a letter's sending is told.
fn sent(cx: &Cx, letter: Letter, message_id: &str) -> Emission {
    let (topic, name) = match letter.kind {
        Kind::Mail => ("email.sent", "EMAIL_SENT"),
        Kind::Notification => ("notification.sent", "NOTIFICATION_SENT"),
    };
    let body = json!({
        "messageId": message_id,
        "to": letter.to,
        "title": letter.subject,
        "template": letter.template,
        "data": letter.about,
    });
    let mut headers = Vec::new();
    let tenant_id = tenant(cx.input());
    if !tenant_id.is_empty() {
        add(&mut headers, TENANT_ID, &tenant_id);
    }
    let (topic, name) = (topic.into(), name.into());
    Emission { topic, name, envelope: Envelope::Data, key: letter.to, body, headers }
}

/// Sends a letter.
struct Deliver {
    channel: Channel,
    at: Timestamp,
    letter: Letter,
}

impl Effect for Deliver {
    /// The message's id.
    type Out = String;

    async fn run(&self, key: &str) -> Result<String> {
        match &self.channel {
            Channel::Console => {
                let Letter { to, subject, text, .. } = &self.letter;
                tracing::info!(%to, %subject, %text, "notification");
            }
            Channel::Maildir(maildir) => {
                let (maildir, at) = (maildir.clone(), self.at);
                let (name, letter) = (key.to_owned(), self.letter.clone());
                on_disk(move || maildir.deliver(&name, at, &letter)).await?;
            }
        }
        Ok(key.to_owned())
    }

    /// What was written to the log is not looked for there.
    async fn lookup(&self, key: &str) -> Result<Option<String>> {
        let Channel::Maildir(maildir) = &self.channel else { return Ok(None) };
        let (maildir, at, name) = (maildir.clone(), self.at, key.to_owned());
        let is_there = on_disk(move || maildir.has(&name, at)).await?;
        Ok(is_there.then(|| key.to_owned()))
    }
}

/// Does what keeps its thread waiting, for as long as a disk takes.
async fn on_disk<T: Send + 'static>(
    what: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(what).await;
    let done = done.map_err(|error| transient("maildir").because(error))?;
    done.map_err(|error| transient("maildir").because(error))
}
