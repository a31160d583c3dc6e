//! What services answer over HTTP, without a socket: sagas are begun and looked at, modules take events in, health
//! is told. Whoever has sockets, or a test, calls [`Api::request`].
//!
//! | request | answer |
//! |---|---|
//! | `POST /api/saga/NAME`, and the route that a saga has itself | 202 once the start is durable; with `?wait=2s` 200 and the end, if it comes in time |
//! | `GET` of it with `/ID`, and with `/ID/history` | the saga as it is committed; what it has done |
//! | `GET /api/sagas?saga=&state=&limit=` | the newest sagas |
//! | `POST` on a module's route | 202 once its event is durable |
//! | `GET /health/kafka`, `/health/live`, `/health/ready`, `/health/services`, `/health/services/GROUP` | health |
//! | `GET /openapi.json` | all of this |
//!
//! A `POST` with an `Idempotency-Key` may be repeated: the same key and body are one saga, and another body under the
//! same key is refused; an event has the same id again. What is wrong is told as `{error, message}`, with `field`
//! where it is one.

mod ask;
mod figures;
mod health;
mod history;
mod lookup;
mod openapi;
mod publish;
mod refusal;
mod routes;
mod start;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::Value;

use self::ask::Ask;
use self::figures::AllLetters;
use self::refusal::Refusal;
use self::routes::{Routes, Target};
use self::start::Starts;
use super::modules::Route;
use super::runtime::{App, Handle};
use super::saga::Versions;
use crate::client::cluster::Cluster;
use crate::ids::Ids;

/// The largest body that is read, in bytes; a saga's data may have fewer.
pub const BODY_BYTES_MAX: usize = 2 << 20;

/// The API of running services. Clones are the same.
#[derive(Clone, Debug)]
pub struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cluster: Arc<dyn Cluster>,
    handle: Handle,
    sagas: Vec<Versions>,
    events: Vec<Route>,
    routes: Routes,
    ids: Ids,
    brokers: String,
    starts: Mutex<Starts>,
    letters: Mutex<AllLetters>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body: JSON.
    pub body: Bytes,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: Bytes::from(format!("{body}\n")) }
    }

    fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// What is answered to a body that is too large to be read.
    pub fn too_large() -> Self {
        let message = format!("the body is over {BODY_BYTES_MAX} bytes");
        Refusal::new(413, "too-large", message).into()
    }

    /// What is answered where something else than a route refuses.
    pub fn refused(status: u16, error: &'static str, message: &str) -> Self {
        Refusal::new(status, error, message).into()
    }
}

impl Api {
    /// Of these sagas, which run behind the handle.
    pub fn new(cluster: Arc<dyn Cluster>, handle: Handle, sagas: Vec<Versions>) -> Self {
        Self::with(cluster, handle, sagas, Vec::new())
    }

    /// Of all that an app has, which runs behind the handle.
    pub fn of(app: &App, cluster: Arc<dyn Cluster>, handle: Handle) -> Self {
        Self::with(cluster, handle, app.sagas().to_vec(), app.routes().to_vec())
    }

    fn with(
        cluster: Arc<dyn Cluster>,
        handle: Handle,
        sagas: Vec<Versions>,
        events: Vec<Route>,
    ) -> Self {
        let routes = Routes::of(&sagas, &events);
        let (ids, brokers) = (Ids::random(), cluster.name());
        let (starts, letters) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner {
            cluster,
            handle,
            sagas,
            events,
            routes,
            ids,
            brokers,
            starts,
            letters,
        }))
    }

    /// The same, which calls the cluster by this address, and with ids from here.
    #[must_use]
    pub fn at(self, brokers: impl Into<String>, ids: Ids) -> Self {
        let Inner { cluster, handle, sagas, events, routes, .. } = &*self.0;
        Self(Arc::new(Inner {
            cluster: Arc::clone(cluster),
            handle: handle.clone(),
            sagas: sagas.clone(),
            events: events.clone(),
            routes: routes.clone(),
            ids,
            brokers: brokers.into(),
            starts: Mutex::default(),
            letters: Mutex::default(),
        }))
    }

    /// What it is about.
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// The sagas that it knows.
    pub fn sagas(&self) -> &[Versions] {
        &self.0.sagas
    }

    /// Answers a request: method and path as they stand in it, the query behind a `?`; names of headers in any case.
    pub async fn request(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Reply {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let (target, parameters) = match self.0.routes.find(method, path) {
            Ok(found) => found,
            Err(refusal) => return refusal.into(),
        };
        let ask = Ask { path, query, headers, body, parameters };
        self.answer(target, &ask).await.unwrap_or_else(Reply::from)
    }

    async fn answer(&self, target: Target, ask: &Ask<'_>) -> Result<Reply, Refusal> {
        match target {
            Target::Start(index) => self.start(self.saga(index)?, ask).await,
            Target::Saga(index) => self.show(self.saga(index)?, ask).await,
            Target::History(index) => self.history(self.saga(index)?, ask).await,
            Target::Sagas => self.list(ask).await,
            Target::Publish(index) => self.publish(index, ask).await,
            Target::Kafka => Ok(self.kafka().await),
            Target::Live => Ok(Reply::json(200, &serde_json::json!({ "live": true }))),
            Target::Ready => Ok(self.ready()),
            Target::Services => Ok(self.services()),
            Target::Service => self.service(ask.parameter(0)),
            Target::OpenApi => Ok(Reply::json(200, &openapi::document(&self.0.routes))),
        }
    }

    fn saga(&self, index: usize) -> Result<&Versions, Refusal> {
        self.0.sagas.get(index).ok_or_else(|| Refusal::new(404, "not-found", "no such saga"))
    }
}
