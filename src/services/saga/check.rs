//! What is wrong with the data of a saga, and where: by the path of the field, so that whoever sent it can show
//! it beside that field.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why no saga begins with this data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DataError {
    /// The path of the field, `items[1].quantity`; empty where it is the data as a whole.
    pub field: String,
    /// What is wrong with it, with the value: `must be at least 1, got 0`.
    pub message: String,
}

impl DataError {
    /// That field is wrong, for this reason.
    pub fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for DataError {}

/// Reads data as its type has it.
///
/// # Errors
/// The first field that is not as the type wants it; one that is missing by its own name.
pub(super) fn typed<D: DeserializeOwned>(data: &Value) -> Result<D, DataError> {
    serde_path_to_error::deserialize(data).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        let message = error.into_inner().to_string();
        match missing(&message) {
            Some(field) if path.is_empty() => DataError::new(field, "is missing"),
            Some(field) => DataError::new(format!("{path}.{field}"), "is missing"),
            None => DataError::new(path, message),
        }
    })
}

/// The field that serde says is missing: of such a one the path is its parent's.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "read, and not used")]
    struct Order {
        customer_id: String,
        items: Vec<Item>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "read, and not used")]
    struct Item {
        quantity: u32,
    }

    fn check(data: &Value, expected: &str) {
        assert_eq!(typed::<Order>(data).unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        check(&json!({}), "customer_id: is missing");
        check(&json!({ "customer_id": "c", "items": [{}] }), "items[0].quantity: is missing");
        check(
            &json!({ "customer_id": "c", "items": [{ "quantity": 1 }, { "quantity": "two" }] }),
            "items[1].quantity: invalid type: string \"two\", expected u32",
        );
        check(&json!(7), "invalid type: integer `7`, expected struct Order");
    }
}
