//! The user service: who there is, what they may do, when they were here last.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::{LoggedIn, Registered, UserActivity};
use crate::services::modules::body::{key, needed, tenant, text};
use crate::services::modules::workflow::events::{UserValidated, ValidateUser, answer_requester};
use crate::services::{Cx, Result, Service, Table, service};

/// Users by their id.
pub static USERS: Table<String, User> = Table::new("auth.users");

/// The document's group.
const GROUP: &str = "user-service-group";

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// Where mail reaches him.
    pub email: String,
    /// His name.
    pub name: String,
    /// What he may do, by tenant.
    pub tenants: BTreeMap<String, Grants>,
    /// When he logged in last, in ms since 1970.
    pub last_login_at: Option<i64>,
    /// How often he did.
    pub login_count: u64,
}

/// What a user may do in a tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grants {
    /// Such as `workflow.create`.
    pub permissions: BTreeSet<String>,
    /// Since when, in ms since 1970: what says something older changes nothing.
    pub since: i64,
}

/// The service. All goes by the user's id: the topics have different numbers of partitions, and not everybody
/// sends the key.
pub(super) fn users() -> Service {
    let by_user = |body: &Value| key(body, "userId");
    service(GROUP)
        .on_raw(["user.created"], created)
        .by(by_user)
        .done()
        .on_raw(["user.permissions.changed"], permissions_changed)
        .by(by_user)
        .done()
        .on(logged_in)
        .by(|event: &LoggedIn| event.user_id.clone())
        .dedup(super::super::DEDUP)
        .done()
        .on(registered)
        .by(|event: &Registered| event.user_id.clone())
        .done()
        .answer_with(validate)
        .by(|command: &ValidateUser| command.user_id.clone())
        .done()
}

/// In either document's envelope: `{eventId, userId, email, tenantId}`, or `{type, data, metadata}`.
async fn created(cx: Cx) -> Result {
    let body = &cx.input().body;
    let user_id = needed(body, "userId")?;
    let mut user = cx.get(&USERS, &user_id).await?.unwrap_or_default();
    user.email = text(body, "email").unwrap_or(user.email);
    user.name = text(body, "name").unwrap_or(user.name);
    let since = time(&cx);
    let tenant = tenant(cx.input());
    // What was changed may be read before what was created: the topics have no order among them.
    if user.tenants.get(&tenant).is_none_or(|known| known.since < since) {
        user.tenants.insert(tenant, Grants { permissions: permissions(body), since });
    }
    cx.put(&USERS, &user_id, &user)
}

async fn permissions_changed(cx: Cx) -> Result {
    let body = &cx.input().body;
    let user_id = needed(body, "userId")?;
    let mut user = cx.get(&USERS, &user_id).await?.unwrap_or_default();
    let (since, tenant) = (time(&cx), tenant(cx.input()));
    if user.tenants.get(&tenant).is_none_or(|known| known.since <= since) {
        user.tenants.insert(tenant, Grants { permissions: permissions(body), since });
    }
    cx.put(&USERS, &user_id, &user)
}

async fn logged_in(event: LoggedIn, cx: Cx) -> Result {
    let mut user = cx.get(&USERS, &event.user_id).await?.unwrap_or_default();
    user.last_login_at = user.last_login_at.max(Some(cx.now().0));
    user.login_count += 1;
    if user.email.is_empty() {
        user.email = event.email;
    }
    cx.put(&USERS, &event.user_id, &user)?;
    cx.emit(&UserActivity {
        user_id: event.user_id,
        tenant_id: event.tenant_id,
        activity: "user_login".to_owned(),
        timestamp: cx.now().0,
    })
}

async fn registered(event: Registered, cx: Cx) -> Result {
    let mut user = cx.get(&USERS, &event.user_id).await?.unwrap_or_default();
    user.email = event.email;
    let names: Vec<_> = [event.first_name, event.last_name].into_iter().flatten().collect();
    if !names.is_empty() {
        user.name = names.join(" ");
    }
    cx.put(&USERS, &event.user_id, &user)
}

/// Valid is who is known in the tenant and may do all that is asked for.
async fn validate(command: ValidateUser, cx: Cx) -> Result<UserValidated> {
    let user = cx.get(&USERS, &command.user_id).await?.unwrap_or_default();
    let valid = user.tenants.get(&command.tenant_id).is_some_and(|grants| {
        command.permissions.iter().all(|asked| grants.permissions.contains(asked))
    });
    let answer = UserValidated { user_id: command.user_id, valid };
    answer_requester(&cx, &answer)?;
    Ok(answer)
}

fn permissions(body: &Value) -> BTreeSet<String> {
    let listed = body.get("permissions").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|permission| permission.as_str().map(str::to_owned)).collect()
}

/// When it happened: as the event says, or else its record.
fn time(cx: &Cx) -> i64 {
    let said = cx.input().body.get("timestamp").and_then(Value::as_i64);
    said.unwrap_or(cx.now().0)
}
