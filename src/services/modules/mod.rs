//! Modules: services and sagas that belong together and come with ottla, ready to be run as packs.

pub mod ai;
pub mod auth;
mod body;
pub mod notify;
pub mod orders;
mod route;
#[cfg(test)]
mod testing;
pub mod workflow;

use std::sync::Arc;
use std::time::Duration;

pub use self::route::{FieldError, Fields, Posted, Route};
use super::saga::Versions;
use super::service::Service;
use super::unit::Emission;
use crate::config::broker::BrokerConfig;

/// The packs that there are, by name.
pub const PACKS: &[&str] = &["notify", "orders", "workflow"];

/// How long modules take an event with the same id and key for the same event.
const DEDUP: Duration = Duration::from_secs(7 * 86_400);

/// Services and sagas under one name.
#[derive(Clone, Debug)]
pub struct Module {
    name: Arc<str>,
    pub(super) services: Vec<Service>,
    pub(super) sagas: Vec<Versions>,
    pub(super) routes: Vec<Route>,
}

impl Module {
    /// A module of this name, without anything in it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), services: Vec::new(), sagas: Vec::new(), routes: Vec::new() }
    }

    /// With this service.
    #[must_use]
    pub fn service(mut self, service: impl Into<Service>) -> Self {
        self.services.push(service.into());
        self
    }

    /// With this saga, in one version or several.
    #[must_use]
    pub fn saga(mut self, versions: Versions) -> Self {
        self.sagas.push(versions);
        self
    }

    /// With a route, `POST /path`, that publishes an event of what is posted there and is answered before anybody
    /// handles it.
    #[must_use]
    pub fn publishes(
        mut self,
        route: impl Into<Arc<str>>,
        event: impl Fn(Posted<'_>) -> Result<Emission, FieldError> + Send + Sync + 'static,
    ) -> Self {
        self.routes.push(Route::new(route, event));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its services.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Its sagas.
    pub fn sagas(&self) -> &[Versions] {
        &self.sagas
    }

    /// Its routes, but for those of its sagas.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

/// Why a pack cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// There is none of this name.
    #[error("no pack is called {name}; there are: {}", known(PACKS))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A setting does not say what the pack needs.
    #[error("{key}: {problem}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong, with the value.
        problem: String,
    },
}

fn known(packs: &[&str]) -> String {
    if packs.is_empty() { "none".to_owned() } else { packs.join(", ") }
}

/// The module of a pack, as the settings have it.
///
/// # Errors
/// [`PackError`]: no such pack, or a setting that it cannot work with.
pub fn pack(name: &str, settings: &BrokerConfig) -> Result<Module, PackError> {
    match name {
        "notify" => notify::module(settings),
        "orders" => orders::module(settings),
        "workflow" => ai::Provider::named(&settings.ai_provider).map(workflow::module),
        _ => Err(PackError::Unknown { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_pack_is_refused_with_the_names_that_there_are() {
        let error = pack("commerz", &BrokerConfig::default()).unwrap_err();
        assert!(error.to_string().starts_with("no pack is called commerz; there are: "), "{error}");
    }
}
