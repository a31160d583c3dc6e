//! The interview service: interviews pause when their user leaves, and go on when he is back.

use serde::{Deserialize, Serialize};

use super::events::{
    InterviewCompleted, InterviewPaused, InterviewResumed, InterviewStarted, LoggedIn, LoggedOut,
};
use crate::services::{Cx, Result, Service, Table, permanent, service};

/// The interviews of a user that are not over, by his id.
pub static INTERVIEWS: Table<String, Vec<Interview>> = Table::new("auth.interviews");

/// The document's group.
const GROUP: &str = "interview-service-group";
/// Interviews of one user at a time.
const INTERVIEWS_MAX: usize = 100;

/// An interview that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interview {
    /// Which.
    pub interview_id: String,
    /// Whether it waits for its user.
    pub is_paused: bool,
}

/// The service.
pub(super) fn interviews() -> Service {
    service(GROUP)
        .on(started)
        .by(|event: &InterviewStarted| event.user_id.clone())
        .done()
        .on(completed)
        .by(|event: &InterviewCompleted| event.user_id.clone())
        .done()
        .on(logged_in)
        .by(|event: &LoggedIn| event.user_id.clone())
        .done()
        .on(logged_out)
        .by(|event: &LoggedOut| event.user_id.clone())
        .done()
}

async fn started(event: InterviewStarted, cx: Cx) -> Result {
    let mut all = cx.get(&INTERVIEWS, &event.user_id).await?.unwrap_or_default();
    if all.iter().any(|known| known.interview_id == event.interview_id) {
        return Ok(());
    }
    if all.len() >= INTERVIEWS_MAX {
        let message = format!("user {} has {INTERVIEWS_MAX} interviews", event.user_id);
        return Err(permanent("too-many-interviews").because(message));
    }
    all.push(Interview { interview_id: event.interview_id, is_paused: false });
    cx.put(&INTERVIEWS, &event.user_id, &all)
}

async fn completed(event: InterviewCompleted, cx: Cx) -> Result {
    let mut all = cx.get(&INTERVIEWS, &event.user_id).await?.unwrap_or_default();
    all.retain(|known| known.interview_id != event.interview_id);
    cx.put(&INTERVIEWS, &event.user_id, &all)
}

async fn logged_in(event: LoggedIn, cx: Cx) -> Result {
    for interview_id in turn(&cx, &event.user_id, false).await? {
        cx.emit(&InterviewResumed { user_id: event.user_id.clone(), interview_id })?;
    }
    Ok(())
}

async fn logged_out(event: LoggedOut, cx: Cx) -> Result {
    for interview_id in turn(&cx, &event.user_id, true).await? {
        cx.emit(&InterviewPaused { user_id: event.user_id.clone(), interview_id })?;
    }
    Ok(())
}

/// Pauses a user's interviews, or lets them go on, and gives those that were not so before.
async fn turn(cx: &Cx, user_id: &String, is_paused: bool) -> Result<Vec<String>> {
    let mut all = cx.get(&INTERVIEWS, user_id).await?.unwrap_or_default();
    let mut turned = Vec::new();
    for interview in all.iter_mut().filter(|one| one.is_paused != is_paused) {
        interview.is_paused = is_paused;
        turned.push(interview.interview_id.clone());
    }
    if !turned.is_empty() {
        cx.put(&INTERVIEWS, user_id, &all)?;
    }
    Ok(turned)
}
