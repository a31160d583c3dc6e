//! A broker that is starting: its listeners are open, and what they are asked waits for it.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::Broker;

/// Where the broker will be once it is ready.
#[derive(Debug)]
pub struct Boot {
    broker: OnceLock<Arc<Broker>>,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Failed,
}

impl Default for Boot {
    fn default() -> Self {
        Self { broker: OnceLock::new(), state: watch::Sender::new(State::Starting) }
    }
}

impl Boot {
    /// The broker, if it is ready.
    pub fn broker(&self) -> Option<Arc<Broker>> {
        self.broker.get().cloned()
    }

    /// Waits for the broker; `None` if it will not come.
    pub async fn ready(&self) -> Option<Arc<Broker>> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| *state != State::Starting).await;
        settled.ok()?;
        self.broker()
    }

    /// Lets everyone in: metadata, coordinators and declared topics work from here on.
    pub fn set_ready(&self, broker: Arc<Broker>) {
        if self.broker.set(broker).is_ok() {
            self.state.send_replace(State::Ready);
        }
    }

    /// Gives up: those who wait are told.
    pub fn set_failed(&self) {
        self.state.send_replace(State::Failed);
    }
}
