//! `new`: what it writes is a crate. Its template is compiled into these tests, and its own tests are run with them.

use std::path::Path;

use serde_json::json;

use crate::commands::run;

#[test]
fn what_is_written_is_a_crate_and_nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("mail").display().to_string();
    let done = run("", &["new", "service", "mail", "--dir", &target, "--json"]).json();
    assert_eq!(done["files"], json!(["Cargo.toml", "src/main.rs", ".gitignore"]));
    let read = |name: &str| std::fs::read_to_string(Path::new(&target).join(name)).unwrap();
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("name = \"mail\"") && manifest.contains("ottla = \"0.1.0\""));
    let source = read("src/main.rs");
    assert!(source.contains("topic = \"mail.orders\"") && !source.contains("billing"));
    let again = run("", &["new", "service", "mail", "--dir", &target]).fails(1);
    assert_eq!(again, format!("error: {target} exists already: nothing was written"));
    let elsewhere = folder.path().join("other").display().to_string();
    for (args, code) in [
        (&["new", "service"][..], 2),
        (&["new", "service", "Mail", "--dir", &elsewhere], 2),
        (&["new", "service", "match", "--dir", &elsewhere], 2),
        (&["new", "service", "../mail"], 2),
        (&["new", "service", "mail", "--dir", &elsewhere, "--ottla-path", "/nowhere"], 1),
        (
            &[
                "new",
                "service",
                "mail",
                "--dir",
                &elsewhere,
                "--ottla-path",
                &format!("{target}/src"),
            ],
            1,
        ),
        (&["new", "service", "mail", "--dir", "/nowhere/else"], 1),
    ] {
        let error = run("", args).fails(code);
        assert!(error.starts_with("error: "), "{args:?}: {error}");
    }
    assert!(!Path::new(&elsewhere).exists());
}
