//! HTTP routes by which a module takes something in: what is posted becomes an event, and is answered as soon as
//! that is durable. Whoever serves HTTP checks the JSON by [`Route::event`] and publishes what it gives.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::services::unit::Emission;
use crate::types::Timestamp;

/// What was posted.
#[derive(Clone, Copy, Debug)]
pub struct Posted<'a> {
    /// The body.
    pub body: &'a Value,
    /// The id that the event will have, the same where the same request comes again: what has no id of its own is
    /// called after it.
    pub event_id: &'a str,
    /// When it came.
    pub at: Timestamp,
}

/// A field of what was posted that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The field: `items[0].quantity`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

type Publish = Arc<dyn Fn(Posted<'_>) -> Result<Emission, FieldError> + Send + Sync>;

/// A route, and the event that it publishes.
#[derive(Clone)]
pub struct Route {
    route: Arc<str>,
    publish: Publish,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.route).finish()
    }
}

impl Route {
    /// `POST /path`, and what makes an event of what is posted there.
    pub fn new(
        route: impl Into<Arc<str>>,
        publish: impl Fn(Posted<'_>) -> Result<Emission, FieldError> + Send + Sync + 'static,
    ) -> Self {
        Self { route: route.into(), publish: Arc::new(publish) }
    }

    /// `POST /path`.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The event to publish.
    ///
    /// # Errors
    /// The first field that is wrong: 422.
    pub fn event(&self, posted: Posted<'_>) -> Result<Emission, FieldError> {
        if !posted.body.is_object() {
            return Err(FieldError::new("body", "an object is needed"));
        }
        (self.publish)(posted)
    }
}

impl FieldError {
    /// What is wrong with a field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Letters of a text that says who or what something is: a name, an address, an id.
const WORD_BYTES_MAX: usize = 256;

/// The fields of an object that was posted, or of one in it.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    body: &'a Value,
    path: String,
}

impl<'a> Posted<'a> {
    /// The body's fields.
    pub fn fields(&self) -> Fields<'a> {
        Fields { body: self.body, path: String::new() }
    }
}

impl<'a> Fields<'a> {
    /// A field as it is; none where it is missing or null.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.body.get(field).filter(|value| !value.is_null())
    }

    /// An id, a name, an address: no empty text, at most 256 bytes, no control characters.
    ///
    /// # Errors
    /// It is missing, or something else.
    pub fn word(&self, field: &str) -> Result<String, FieldError> {
        self.word_if(field)?.ok_or_else(|| self.wrong(field, "missing"))
    }

    /// The same, where it may be missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn word_if(&self, field: &str) -> Result<Option<String>, FieldError> {
        let Some(text) = self.text_if(field)? else { return Ok(None) };
        if text.is_empty() {
            return Err(self.wrong(field, "empty"));
        }
        if text.len() > WORD_BYTES_MAX {
            return Err(self.wrong(field, &format!("over {WORD_BYTES_MAX} bytes")));
        }
        if text.chars().any(char::is_control) {
            return Err(self.wrong(field, "control characters"));
        }
        Ok(Some(text))
    }

    /// One of these words, or the first of them where it is missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn one_of(&self, field: &str, words: &[&str]) -> Result<String, FieldError> {
        match self.word_if(field)? {
            None => Ok(words.first().copied().unwrap_or_default().to_owned()),
            Some(word) if words.contains(&&*word) => Ok(word),
            Some(_) => Err(self.wrong(field, &format!("one of {}", words.join(", ")))),
        }
    }

    /// Any text, which may be missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn text_if(&self, field: &str) -> Result<Option<String>, FieldError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(field, "a text is needed")),
        }
    }

    /// A number that is not negative.
    ///
    /// # Errors
    /// It is missing, or something else.
    pub fn amount(&self, field: &str) -> Result<f64, FieldError> {
        let value = self.get(field).ok_or_else(|| self.wrong(field, "missing"))?;
        let amount = value.as_f64().ok_or_else(|| self.wrong(field, "a number is needed"))?;
        if amount < 0.0 { Err(self.wrong(field, "negative")) } else { Ok(amount) }
    }

    /// A whole number from 1.
    ///
    /// # Errors
    /// It is missing, or something else.
    pub fn count(&self, field: &str) -> Result<u64, FieldError> {
        let value = self.get(field).ok_or_else(|| self.wrong(field, "missing"))?;
        let count = value.as_u64().filter(|count| *count > 0);
        count.ok_or_else(|| self.wrong(field, "a whole number from 1 is needed"))
    }

    /// Texts, none where the field is missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn words(&self, field: &str) -> Result<Vec<String>, FieldError> {
        let texts = match self.get(field) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.wrong(field, "a list of texts is needed")),
        };
        let words = texts.iter().enumerate().map(|(at, text)| match text.as_str() {
            Some(word) => Ok(word.to_owned()),
            None => Err(self.wrong(&format!("{field}[{at}]"), "a text is needed")),
        });
        words.collect()
    }

    /// An object in a field, which may be missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn object_if(&self, field: &str) -> Result<Option<Self>, FieldError> {
        let Some(body) = self.get(field) else { return Ok(None) };
        if !body.is_object() {
            return Err(self.wrong(field, "an object is needed"));
        }
        Ok(Some(Self { body, path: format!("{}{field}.", self.path) }))
    }

    /// The objects of a list, at least one.
    ///
    /// # Errors
    /// It is missing, empty, or something else.
    pub fn objects(&self, field: &str) -> Result<Vec<Self>, FieldError> {
        let items = match self.get(field) {
            None => return Err(self.wrong(field, "missing")),
            Some(Value::Array(items)) if items.is_empty() => {
                return Err(self.wrong(field, "at least one is needed"));
            }
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.wrong(field, "a list is needed")),
        };
        let objects = items.iter().enumerate().map(|(at, body)| {
            let path = format!("{}{field}[{at}]", self.path);
            if !body.is_object() {
                return Err(FieldError::new(path, "an object is needed"));
            }
            Ok(Self { body, path: format!("{path}.") })
        });
        objects.collect()
    }

    /// What is wrong with a field of this object.
    pub fn wrong(&self, field: &str, message: &str) -> FieldError {
        FieldError::new(format!("{}{field}", self.path), message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(body: Value, read: impl Fn(&Fields<'_>) -> Option<FieldError>) -> String {
        let posted = Posted { body: &body, event_id: "e", at: Timestamp(0) };
        read(&posted.fields()).expect("something is wrong").to_string()
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        let items = |fields: &Fields<'_>| {
            let each = |items: Vec<Fields<'_>>| items[0].count("quantity").map(drop);
            fields.objects("items").and_then(each).err()
        };
        assert_eq!(wrong(json!({}), items), "items: missing");
        assert_eq!(wrong(json!({"items": []}), items), "items: at least one is needed");
        assert_eq!(wrong(json!({"items": [7]}), items), "items[0]: an object is needed");
        let none = wrong(json!({"items": [{"quantity": 0}]}), items);
        assert_eq!(none, "items[0].quantity: a whole number from 1 is needed");
        let amount = |fields: &Fields<'_>| fields.amount("total").err();
        assert_eq!(wrong(json!({"total": -0.5}), amount), "total: negative");
        assert_eq!(wrong(json!({"total": "7"}), amount), "total: a number is needed");
        let word = |fields: &Fields<'_>| fields.word("userId").err();
        assert_eq!(wrong(json!({"userId": null}), word), "userId: missing");
        assert_eq!(wrong(json!({"userId": ""}), word), "userId: empty");
        assert_eq!(wrong(json!({"userId": "a\r\nb"}), word), "userId: control characters");
        assert_eq!(wrong(json!({"userId": 7}), word), "userId: a text is needed");
        let nested = |fields: &Fields<'_>| {
            fields.object_if("workflow").and_then(|it| it.expect("there").word("name")).err()
        };
        assert_eq!(wrong(json!({"workflow": {}}), nested), "workflow.name: missing");
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        let route = Route::new("POST /x", |_| unreachable!("the body is refused before"));
        let posted = Posted { body: &json!([1]), event_id: "e", at: Timestamp(0) };
        assert_eq!(route.event(posted).unwrap_err().field, "body");
    }
}
