//! What `--where` takes: `FIELD=VALUE`, `FIELD!=VALUE`, or `FIELD*=VALUE` for a part of the text. A field is a name that
//! the command knows, or a JSON pointer into the event, which begins with `/`.

use serde_json::Value;

/// A condition on a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    field: String,
    is: Is,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Equal,
    Unequal,
    Containing,
}

impl Condition {
    /// Reads one, for a command that knows these fields.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(crate) fn parse(text: &str, fields: &[&str]) -> Result<Self, String> {
        let (left, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is no condition: give FIELD=VALUE"))?;
        let (field, is) = match (left.strip_suffix('!'), left.strip_suffix('*')) {
            (Some(field), _) => (field, Is::Unequal),
            (None, Some(field)) => (field, Is::Containing),
            (None, None) => (left, Is::Equal),
        };
        if !field.starts_with('/') && !fields.contains(&field) {
            let known = fields.join(", ");
            return Err(format!(
                "{field:?} is no field: {known}, or a JSON pointer such as /total"
            ));
        }
        Ok(Self { field: field.to_owned(), is, value: value.to_owned() })
    }

    /// The pointer into the event, if it is one.
    fn pointer(&self) -> Option<&str> {
        Some(&*self.field).filter(|field| field.starts_with('/'))
    }

    fn holds(&self, found: Option<&str>) -> bool {
        match self.is {
            Is::Equal => found == Some(&self.value),
            Is::Unequal => found != Some(&self.value),
            Is::Containing => found.is_some_and(|found| found.contains(&self.value)),
        }
    }
}

/// Whether all conditions hold: of a record whose fields these are, and whose event is asked for where a pointer is.
pub(crate) fn all_hold(
    conditions: &[Condition],
    field: impl Fn(&str) -> Option<String>,
    event: impl FnOnce() -> Option<Value>,
) -> bool {
    let has_pointer = conditions.iter().any(|condition| condition.pointer().is_some());
    let event = if has_pointer { event() } else { None };
    conditions.iter().all(|condition| {
        let found = match condition.pointer() {
            Some(pointer) => event.as_ref().and_then(|event| event.pointer(pointer)).map(text),
            None => field(&condition.field),
        };
        condition.holds(found.as_deref())
    })
}

/// A value of an event as people write it: text without quotes.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: bool) {
        let condition = Condition::parse(text, &["reason", "key"]).expect(text);
        let field = |name: &str| (name == "reason").then(|| "timeout".to_owned());
        let event = || Some(json!({"order": {"total": 5, "user": "anna"}}));
        assert_eq!(all_hold(&[condition], field, event), expected, "{text}");
    }

    #[test]
    fn conditions_are_read_and_hold() {
        check("reason=timeout", true);
        check("reason=time", false);
        check("reason*=time", true);
        check("reason!=timeout", false);
        check("key=a", false);
        check("key!=a", true);
        check("/order/total=5", true);
        check("/order/user=anna", true);
        check("/order/nobody!=anna", true);
    }

    #[test]
    fn what_is_no_condition_is_named() {
        let no = |text| Condition::parse(text, &["reason"]).expect_err(text);
        assert!(no("reason").contains("give FIELD=VALUE"));
        assert!(no("resaon=a").contains("\"resaon\" is no field: reason, or a JSON pointer"));
    }
}
