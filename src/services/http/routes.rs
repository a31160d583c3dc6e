//! The table of routes: what is answered, what is refused, and what the API says of itself follow from it.

use super::ask::decoded;
use super::refusal::Refusal;
use crate::services::modules::Route;
use crate::services::saga::Versions;

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Begins a saga.
    Start(usize),
    /// Shows one.
    Saga(usize),
    /// Shows what it has done.
    History(usize),
    /// Lists sagas.
    Sagas,
    /// Publishes an event of a module.
    Publish(usize),
    /// Whether the cluster is there.
    Kafka,
    /// Whether this is alive.
    Live,
    /// Whether all groups work.
    Ready,
    /// All groups.
    Services,
    /// One.
    Service,
    /// All routes.
    OpenApi,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// `GET` or `POST`.
    pub(super) method: &'static str,
    /// The path; `{id}` stands for any one part.
    pub(super) path: String,
    /// What it does.
    pub(super) summary: String,
    pub(super) target: Target,
}

/// All lines, no two of them for the same requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes(Vec<Line>);

impl Routes {
    /// The routes of these sagas and modules, and those that there are always.
    pub(super) fn of(sagas: &[Versions], events: &[Route]) -> Self {
        let mut routes = Self::default();
        let fixed = [
            ("/api/sagas", "The newest sagas: ?saga=NAME&state=running&limit=100", Target::Sagas),
            ("/health/kafka", "Whether the cluster is there", Target::Kafka),
            ("/health/live", "Whether this is alive", Target::Live),
            ("/health/ready", "Whether all services work", Target::Ready),
            ("/health/services", "All services", Target::Services),
            ("/health/services/{group}", "What a service has done and waits for", Target::Service),
            ("/openapi.json", "This description", Target::OpenApi),
        ];
        for (path, summary, target) in fixed {
            routes.add("GET", path.to_owned(), summary.to_owned(), target);
        }
        for (index, versions) in sagas.iter().enumerate() {
            let name = versions.name();
            routes.add_saga(index, name, &format!("POST /api/saga/{name}"));
            if let Some(route) = &versions.newest().http {
                routes.add_saga(index, name, route);
            }
        }
        for (index, event) in events.iter().enumerate() {
            if let Some(path) = posted(event.route()) {
                let summary = "Publishes an event, and answers before it is handled".to_owned();
                routes.add("POST", path, summary, Target::Publish(index));
            }
        }
        routes
    }

    fn add_saga(&mut self, index: usize, name: &str, route: &str) {
        let Some(path) = posted(route) else { return };
        if self.0.iter().any(|line| line.path == path && line.target == Target::Start(index)) {
            return; // Its own route is the usual one.
        }
        let (one, history) = (format!("{path}/{{id}}"), format!("{path}/{{id}}/history"));
        self.add("POST", path, format!("Begins a saga {name}"), Target::Start(index));
        self.add("GET", one, format!("A saga {name}"), Target::Saga(index));
        let summary = format!("What a saga {name} has done");
        self.add("GET", history, summary, Target::History(index));
    }

    fn add(&mut self, method: &'static str, path: String, summary: String, target: Target) {
        if self.0.iter().any(|line| line.method == method && is_same(&line.path, &path)) {
            tracing::warn!(method, path, "a route is there already: the first one stays");
            return;
        }
        self.0.push(Line { method, path, summary, target });
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.0
    }

    /// Who answers, with what stands for the names in its path.
    pub(super) fn find(&self, method: &str, path: &str) -> Result<(Target, Vec<String>), Refusal> {
        // What is asked of a GET without its body is answered as one.
        let wanted = if method == "HEAD" { "GET" } else { method };
        let matching = || {
            let lines = self.0.iter();
            lines.filter_map(|line| matched(&line.path, path).map(|found| (line, found)))
        };
        // The one with fewest names says it best.
        let best = matching()
            .filter(|(line, _)| line.method == wanted)
            .min_by_key(|(_, parameters)| parameters.len());
        if let Some((line, parameters)) = best {
            return Ok((line.target, parameters));
        }
        let mut methods: Vec<_> = matching().map(|(line, _)| line.method).collect();
        methods.sort_unstable();
        methods.dedup();
        if methods.is_empty() {
            let message = "no such path: GET /openapi.json lists those that there are";
            return Err(Refusal::new(404, "not-found", message));
        }
        Err(Refusal::of_method(methods.join(", ").replace("GET", "GET, HEAD")))
    }
}

/// The path of a route `POST /path`; another is passed over, and said so.
fn posted(route: &str) -> Option<String> {
    let path = route.strip_prefix("POST ").map(str::trim).filter(|path| path.starts_with('/'));
    if path.is_none() {
        tracing::warn!(route, "no route: it must be POST /path");
    }
    path.map(|path| path.trim_end_matches('/').to_owned())
}

fn is_name(part: &str) -> bool {
    part.starts_with('{') && part.ends_with('}')
}

/// Whether two paths stand for the same requests.
fn is_same(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || (is_name(one) && is_name(other)) => {}
            _ => return false,
        }
    }
}

/// What stands in a path for the names of a template, if it fits.
fn matched(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut parts, mut given) = (template.split('/'), path.split('/'));
    let mut parameters = Vec::new();
    loop {
        match (parts.next(), given.next()) {
            (None, None) => return Some(parameters),
            (Some(part), Some(text)) if is_name(part) && !text.is_empty() => {
                parameters.push(decoded(text)?);
            }
            (Some(part), Some(text)) if part == text => {}
            _ => return None,
        }
    }
}
