use serde_json::{Value, json};

use super::add;
use crate::services::modules::Module;
use crate::services::modules::testing::{Bench, header, key, value};

async fn bench() -> Bench {
    Bench::new(vec![add(Module::new("auth"))]).await
}

fn user(bench: &Bench, user_id: &str) -> Value {
    bench.row("auth.users", user_id).unwrap_or_default()
}

#[tokio::test]
async fn r18_r23_a_login_is_told_in_both_envelopes() {
    let bench = bench().await;
    let body = json!({
        "userId": "u-1", "tenantId": "t-1", "email": "u-1@example.com", "ipAddress": "10.0.0.1",
        "userAgent": "curl", "permissions": ["workflow.create"], "sessionId": "session-7",
    });
    bench.post("POST /api/auth/login", "login-1", body).await.unwrap();
    bench.settle().await;
    let first = bench.only("user.authenticated");
    assert_eq!(key(&first), "u-1");
    let headers = ["event-type", "tenant-id", "timestamp"].map(|name| header(&first, name));
    assert_eq!(headers, ["user.authenticated", "t-1", "1700000000000"]);
    let said = value(&first);
    for (field, expected) in [
        ("eventId", json!("login-1")),
        ("userId", json!("u-1")),
        ("tenantId", json!("t-1")),
        ("email", json!("u-1@example.com")),
        ("timestamp", json!(1_700_000_000_000_i64)),
        ("ipAddress", json!("10.0.0.1")),
        ("userAgent", json!("curl")),
        ("permissions", json!(["workflow.create"])),
    ] {
        assert_eq!(said[field], expected, "{field}");
    }
    let second = bench.only("user-events");
    assert_eq!(key(&second), "u-1");
    let said = value(&second);
    assert_eq!(
        (&said["eventType"], &said["version"], &said["source"]),
        (&json!("user.authenticated"), &json!("1.0"), &json!("api-gateway"))
    );
    assert_eq!(
        said["payload"],
        json!({"userId": "u-1", "email": "u-1@example.com", "sessionId": "session-7", "authMethod": "oauth2",
            "ipAddress": "10.0.0.1", "userAgent": "curl", "tenantId": "t-1"})
    );
    let row = user(&bench, "u-1");
    assert_eq!(
        (&row["last_login_at"], &row["login_count"]),
        (&json!(1_700_000_000_000_i64), &json!(1))
    );
    let activity = bench.only_value("user.activity");
    assert_eq!(
        (&activity["activity"], &activity["tenantId"]),
        (&json!("user_login"), &json!("t-1"))
    );
}

#[tokio::test]
async fn what_cannot_be_a_login_names_its_field() {
    let bench = bench().await;
    for (body, field) in [
        (json!({"tenantId": "t", "email": "e"}), "userId"),
        (
            json!({"userId": "u", "tenantId": "t", "email": "e", "authMethod": "password"}),
            "authMethod",
        ),
        (
            json!({"userId": "u", "tenantId": "t", "email": "e", "permissions": [1]}),
            "permissions[0]",
        ),
        (
            json!({"userId": "u", "tenantId": "t", "email": "e", "workflow": {}}),
            "workflow.description",
        ),
        (json!(["u"]), "body"),
    ] {
        let error = bench.post("POST /api/auth/login", "e", body).await.unwrap_err();
        assert_eq!(error.field, field);
    }
}

#[tokio::test]
async fn r88_a_code_is_exchanged_once_and_interviews_go_on() {
    let bench = bench().await;
    for id in ["i-1", "i-2"] {
        let body = json!({"userId": "u-1", "interviewId": id});
        bench.post("POST /api/interviews", &format!("e-{id}"), body).await.unwrap();
    }
    bench.settle().await;
    let body = json!({"userId": "u-1", "sessionId": "s", "reason": "timeout"});
    bench.post("POST /api/auth/logout", "out-1", body).await.unwrap();
    bench.settle().await;
    assert!(
        bench
            .values("interview-events")
            .iter()
            .filter(|it| it["eventType"] == "interview.paused")
            .count()
            == 2
    );

    let body = json!({"code": "code-u-1", "tenantId": "t-1"});
    bench.post("POST /api/auth/callback", "cb-1", body.clone()).await.unwrap();
    bench.settle().await;
    let told = bench.values("user-events");
    let login = told.iter().find(|it| it["eventType"] == "user.authenticated").unwrap();
    assert_eq!(login["payload"]["email"], "u-1@example.com");
    assert_eq!(user(&bench, "u-1")["login_count"], 1);
    let resumed: Vec<_> = bench
        .values("interview-events")
        .into_iter()
        .filter(|it| it["eventType"] == "interview.resumed")
        .map(|it| it["payload"]["interviewId"].clone())
        .collect();
    assert_eq!(resumed, ["i-1", "i-2"]);

    bench.post("POST /api/auth/callback", "cb-2", body).await.unwrap();
    bench.settle().await;
    let event = bench.only_value("security.event");
    assert_eq!(
        (&event["type"], &event["data"]["reason"]),
        (&json!("LOGIN_REFUSED"), &json!("invalid_grant"))
    );
    assert_eq!(bench.values("user.authenticated").len(), 1);
    assert!(bench.values("auth-service-group.dlq").is_empty());
}

/// S1's publisher has no keys, and sends what neither of the services knows.
#[tokio::test]
async fn both_groups_see_events_of_other_programs() {
    let bench = bench().await;
    let event = |name: &str, payload: Value| {
        json!({
            "eventId": format!("{name}-1"), "eventType": name, "timestamp": "2025-01-01T00:00:00Z",
            "version": "1.0", "source": "api-gateway", "payload": payload,
        })
    };
    let registered = json!({"userId": "u-7", "email": "u-7@example.com", "registrationMethod": "authentik",
        "firstName": "Ada", "lastName": "L."});
    bench.send("user-events", None, event("user.registered", registered)).await;
    bench.send("user-events", None, event("user.profile_updated", json!({"userId": "u-7"}))).await;
    let login = json!({"userId": "u-7", "email": "u-7@example.com", "sessionId": "s", "authMethod": "jwt_refresh"});
    for _ in 0..2 {
        bench.send("user-events", None, event("user.authenticated", login.clone())).await;
    }
    bench.settle().await;
    let row = user(&bench, "u-7");
    assert_eq!((&row["name"], &row["login_count"]), (&json!("Ada L."), &json!(1)));
    for group in ["user-service-group", "interview-service-group"] {
        assert!(bench.values(&format!("{group}.dlq")).is_empty(), "{group}");
    }
}

#[tokio::test]
async fn the_newest_permissions_count_in_whatever_order_they_come() {
    let bench = bench().await;
    let changed = json!({"eventId": "e-2", "userId": "u-1", "tenantId": "t-1", "permissions": ["b"], "timestamp": 20});
    bench.send("user.permissions.changed", Some("u-1"), changed).await;
    bench.settle().await;
    let created = json!({"eventId": "e-1", "userId": "u-1", "tenantId": "t-1", "email": "x@example.com",
        "permissions": ["a"], "timestamp": 10});
    bench.send("user.created", Some("u-1"), created).await;
    // The fifth document's envelope, in the same topic.
    let other = json!({"type": "USER_CREATED", "data": {"userId": "u-2", "email": "y@example.com", "role": "admin"},
        "metadata": {"tenantId": "t-2", "source": "auth-service", "eventId": "e-3"}});
    bench.send("user.created", Some("u-2"), other).await;
    bench.settle().await;
    let row = user(&bench, "u-1");
    assert_eq!(
        (&row["email"], &row["tenants"]["t-1"]["permissions"]),
        (&json!("x@example.com"), &json!(["b"]))
    );
    let row = user(&bench, "u-2");
    assert_eq!(
        (&row["email"], &row["tenants"]["t-2"]["permissions"]),
        (&json!("y@example.com"), &json!([]))
    );
}
