//! Sagas by scripts, by every kill and pair of kills there can be, and on the runtime.
//!
//! Of the rows of the requirements, the scripts in `testdata` whose names begin with them show R63 to R70, R72 to
//! R77, R79 and R82; `kills.rs` shows R78, and R80 and R81 as far as the saga goes: each undo is one command,
//! however often it is sent.

mod kills;
mod orchestrator;
mod running;
mod sagas;
mod scripts;
mod yaml;
