//! `ottla new service`: writes a crate with a service to begin from.
//!
//! The template is a service itself, called `billing`: a test compiles and runs it, and `new` writes it with another
//! name.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::ended::Ended;
use super::output::Output;

const MAIN: &str = include_str!("template/main.rs");
const MANIFEST: &str = include_str!("template/Cargo.toml.txt");
const IGNORED: &str = "/target\n/ottla-data\n";
/// The template's name, and what stands for the dependency in its manifest.
const NAME: &str = "billing";
const DEPENDENCY: &str = "OTTLA";
const NAME_MAX: usize = 64;
/// Names that cargo takes for no package, beside Rust's own words.
const TAKEN: [&str; 12] = [
    "test",
    "core",
    "std",
    "alloc",
    "proc-macro",
    "proc_macro",
    "ottla",
    "serde",
    "serde_json",
    "tokio",
    "build",
    "deps",
];

/// Write something to begin from
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Service(Service),
}

/// Write a crate with a service: events, a handler, an effect, a saga, and tests of them
#[derive(Debug, clap::Args)]
struct Service {
    /// Its name: the crate's, and what its topics and its group begin with
    #[arg(value_parser = name)]
    name: String,
    /// The folder to make, in place of one of its name
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Take ottla from this folder instead of the registry
    #[arg(long, value_name = "PATH")]
    ottla_path: Option<PathBuf>,
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl New {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` if the folder exists, or cannot be written.
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Ended> {
        let What::Service(service) = self.what;
        service.run(out)
    }
}

impl Service {
    fn run(self, out: &mut Output) -> Result<(), Ended> {
        let folder = self.dir.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        let dependency = self.dependency()?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Ended::failed(format!("{} exists already: nothing was written", folder.display()))
            }
            _ => Ended::failed(format!("{} cannot be made: {error}", folder.display())),
        };
        // Fails where there is one: nothing is ever written over.
        std::fs::create_dir(&folder).map_err(failed)?;
        std::fs::create_dir(folder.join("src")).map_err(failed)?;
        let manifest = MANIFEST.replace(DEPENDENCY, &dependency).replace(NAME, &self.name);
        let files = [
            ("Cargo.toml", manifest),
            ("src/main.rs", MAIN.replace(NAME, &self.name)),
            (".gitignore", IGNORED.to_owned()),
        ];
        for (name, text) in &files {
            write(&folder.join(name), text)?;
        }
        let shown = folder.display().to_string();
        if self.json {
            let files: Vec<_> = files.iter().map(|(name, _)| *name).collect();
            return out.json(&json!({ "name": self.name, "folder": shown, "files": files }));
        }
        out.line(format_args!("service {} is written to {shown}", self.name))?;
        out.line(format_args!("  cd {shown} && cargo test"))?;
        out.line("  cargo run    starts it, with a Kafka broker at localhost:9092")
    }

    /// The line of the manifest.
    fn dependency(&self) -> Result<String, Ended> {
        let Some(path) = &self.ottla_path else {
            return Ok(format!("ottla = {:?}", env!("CARGO_PKG_VERSION")));
        };
        let failed = |error| Ended::failed(format!("{}: {error}", path.display()));
        let path = path.canonicalize().map_err(failed)?;
        if !path.join("Cargo.toml").is_file() {
            let text = format!("{} is no folder of a crate: it has no Cargo.toml", path.display());
            return Err(Ended::failed(text));
        }
        // A string of JSON is one of TOML.
        Ok(format!("ottla = {{ path = {} }}", json!(path.display().to_string())))
    }
}

fn write(path: &Path, text: &str) -> Result<(), Ended> {
    let failed = |error| Ended::failed(format!("{} cannot be written: {error}", path.display()));
    let mut file = File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// A name that a crate, a topic and a group can have.
fn name(text: &str) -> Result<String, String> {
    let is_right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || !text.chars().all(is_right) || text.len() > NAME_MAX {
        return Err(format!(
            "{text:?} is no name of a service: small letters, figures, - and _, a letter first, {NAME_MAX} at most"
        ));
    }
    let is_taken = TAKEN.contains(&text) || RUST_WORDS.contains(&text);
    if is_taken {
        return Err(format!("{text:?} means something to Rust or cargo: choose another name"));
    }
    Ok(text.to_owned())
}

const RUST_WORDS: [&str; 50] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "use", "virtual", "where", "while", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_crate_can_have() {
        for right in ["billing", "a", "order-service_2"] {
            assert_eq!(name(right).as_deref(), Ok(right));
        }
        for wrong in ["", "2a", "-a", "Billing", "a.b", "a b", "../a", "match", "test", "ottla"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_template_is_written_under_any_name() {
        assert!(
            MANIFEST.contains("name = \"billing\"") && MANIFEST.lines().any(|it| it == DEPENDENCY)
        );
        let text = MAIN.replace(NAME, "mail");
        assert!(!text.contains(NAME) && text.contains("topic = \"mail.orders\""));
    }
}
