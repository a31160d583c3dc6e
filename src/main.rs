//! The `ottla` command: parse, start, exit code.

fn main() -> std::process::ExitCode {
    ottla::cli::run()
}
