//! Services beside the broker in this process. They run on threads of their own, which give way to the broker's:
//! a handler that never yields stops other handlers at most.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::StartError;
use crate::client::cluster::Cluster;
use crate::clock::Clock;
use crate::config::broker::BrokerConfig;
use crate::ids::Ids;
use crate::services::http::Api;
use crate::services::{App, Handle, Running, modules};

/// How much less of a busy processor the services' threads get than the broker's: by `nice`, added to that of the
/// process.
const NICE: i32 = 10;
/// The nicest there is.
const NICE_MAX: i32 = 19;
/// The name of their threads.
const THREAD_NAME: &str = "ottla-service";
/// Threads for what must wait for the disk.
const BLOCKING_THREADS_MAX: usize = 8;
/// How long services may take to end by themselves, in ms; then they end as if the process were killed.
const END_MAX_MS: u64 = 1_500;

/// Services that run beside a broker, seen from outside.
#[derive(Debug)]
pub struct Services {
    api: Api,
    running: Running,
    pub(super) address: Option<SocketAddr>,
    /// Ends who listens for them.
    pub(super) stop: watch::Sender<bool>,
    runtime: Threads,
}

/// A runtime that may be dropped anywhere: its threads end by themselves.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Deref for Services {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        self.running.handle()
    }
}

impl Services {
    /// Starts them on this cluster, where clients know the broker by this address.
    pub(super) fn start(
        app: &App,
        cluster: Arc<dyn Cluster>,
        brokers: String,
        ids: Ids,
    ) -> Result<Self, StartError> {
        let runtime = runtime().map_err(|error| StartError::Internal(error.to_string()))?;
        let runtime = Threads(Some(runtime));
        let running = {
            // What is spawned from here on runs there.
            let _entered = runtime.0.as_ref().map(Runtime::enter);
            app.start(Arc::clone(&cluster))?
        };
        let api = Api::of(app, cluster, running.handle().clone()).at(brokers, ids);
        Ok(Self { api, running, address: None, stop: watch::Sender::new(false), runtime })
    }

    /// What they answer over HTTP, for calls without a socket.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Ends them: what is done is committed, what runs is ended and comes again.
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        let Self { running, runtime, .. } = self;
        // Real time: whoever stops them waits, whatever the broker's clock shows.
        let clock = Clock::system();
        tokio::select! {
            () = running.stop() => {}
            () = clock.sleep_ms(END_MAX_MS) => {
                let after = Duration::from_millis(END_MAX_MS);
                tracing::warn!(?after, "services did not end by themselves: what they had not \
                    committed comes again");
            }
        }
        drop(runtime);
    }
}

/// The app with the packs that the settings name; none where there is nothing to run.
pub(super) fn with_packs(
    app: Option<App>,
    config: &BrokerConfig,
) -> Result<Option<App>, StartError> {
    let mut all = app;
    for name in &config.ottla_packs {
        let module = modules::pack(name, config)?;
        all = Some(all.unwrap_or_default().module(module));
    }
    if let Some(app) = &all {
        if app.is_remote() {
            return Err(StartError::RemoteCluster);
        }
        app.check()?;
    }
    Ok(all)
}

fn runtime() -> std::io::Result<Runtime> {
    let own = rustix::process::getpriority_process(None).unwrap_or(0);
    // Said as a number, not as a difference: a thread begins with that of the thread that made it.
    let nice = own.saturating_add(NICE).min(NICE_MAX);
    tokio::runtime::Builder::new_multi_thread()
        .thread_name(THREAD_NAME)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .on_thread_start(move || {
            if let Err(error) = rustix::process::setpriority_process(None, nice) {
                tracing::warn!(%error, "threads of services are as urgent as the broker's");
            }
        })
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ottla;
    use crate::config::value::HttpPort;

    #[tokio::test]
    async fn services_on_another_cluster_are_refused() {
        let started = Ottla::builder().ephemeral().app(App::new().remote(true)).start().await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains("KAFKA_BOOTSTRAP_SERVERS"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_port_in_use_keeps_no_service_from_running() {
        let taken = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = HttpPort::On(taken.local_addr().unwrap().port());
        let builder = Ottla::builder().ephemeral().app(App::new());
        let builder = builder.with_config(|config| config.ottla_services_port = port);
        let ottla = builder.start().await.unwrap();
        assert_eq!(ottla.services_address(), None);
        assert!(ottla.services().is_some());
        ottla.stop().await.unwrap();
    }
}
