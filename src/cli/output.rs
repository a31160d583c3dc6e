//! The only place that prints: text, tables and JSON to stdout, complaints to stderr.
//!
//! A reader that has gone away (`ottla consume orders | head -1`) is the end of the work, not an
//! error: writing then gives [`Ended::PipeClosed`].

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::{Row, Table, presets};
use serde_json::Value;

use super::ended::Ended;

/// What a command prints to.
pub(crate) struct Output {
    out: BufWriter<Box<dyn Write>>,
}

impl Output {
    /// The standard output.
    pub(crate) fn stdout() -> Self {
        Self::to(Box::new(io::stdout()))
    }

    /// Any other writer.
    pub(crate) fn to(out: Box<dyn Write>) -> Self {
        Self { out: BufWriter::new(out) }
    }

    /// Prints one line.
    ///
    /// # Errors
    /// See [`Output::bytes`].
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Ended> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// `PipeClosed` when nobody reads any more, `Failed` for a full disk and the like.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Prints one JSON document, indented.
    ///
    /// # Errors
    /// See [`Output::bytes`].
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Ended> {
        serde_json::to_writer_pretty(&mut self.out, value).map_err(io::Error::from)?;
        self.line("")
    }

    /// Prints JSON in one line.
    ///
    /// # Errors
    /// See [`Output::bytes`].
    pub(crate) fn json_line(&mut self, value: &Value) -> Result<(), Ended> {
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        self.line("")
    }

    /// Prints rows under a header, in columns.
    ///
    /// # Errors
    /// See [`Output::bytes`].
    pub(crate) fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Ended> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(Row::from(header.to_vec()));
        table.add_rows(rows);
        if let Some(column) = table.column_mut(0) {
            column.set_padding((0, 1));
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Sends on what was printed so far.
    ///
    /// # Errors
    /// See [`Output::bytes`].
    pub(crate) fn flush(&mut self) -> Result<(), Ended> {
        Ok(self.out.flush()?)
    }
}

/// Tells the user something beside the output: a line on stderr.
pub(crate) fn tell(text: impl Display) {
    // Where even stderr is closed, nobody is left to be told.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether a person is watching stderr.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// What `dash` stands for: a value that is not there.
pub(crate) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
