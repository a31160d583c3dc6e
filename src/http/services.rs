//! The API of services on its own port: sockets, limits and host checks around what answers without them.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::guard::{Guard, Names, Says, guard};
use super::serve_router;
use crate::clock::Clock;
use crate::services::http::{Api, BODY_BYTES_MAX, Reply};

/// A client that has not sent its body by then is answered 408, in ms.
const BODY_MAX_MS: u64 = 30_000;

/// How it is served.
#[derive(Clone, Debug)]
pub struct ServicesFace {
    /// By which names it may be asked.
    pub names: Names,
    /// For limits of time.
    pub clock: Clock,
}

impl ServicesFace {
    /// Serves until `stop`.
    pub async fn serve(self, listener: TcpListener, api: Api, stop: watch::Receiver<bool>) {
        let guarded = Guard { names: self.names, says: Says::Json };
        let clock = self.clock.clone();
        let router = Router::new()
            .fallback(answer)
            .with_state((api, self.clock))
            .layer(middleware::from_fn_with_state(guarded, guard));
        serve_router(listener, router, clock, stop).await;
    }
}

async fn answer(State((api, clock)): State<(Api, Clock)>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let read = tokio::select! {
        read = to_bytes(body, BODY_BYTES_MAX) => read,
        () = clock.sleep_ms(BODY_MAX_MS) => {
            return of(Reply::refused(408, "timeout", "the body did not come in time"));
        }
    };
    // One that breaks off has nobody who reads the answer.
    let Ok(body) = read else { return of(Reply::too_large()) };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    of(api.request(head.method.as_str(), path, &headers(&head.headers), body).await)
}

fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// As the socket takes it.
pub(super) fn of(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}
