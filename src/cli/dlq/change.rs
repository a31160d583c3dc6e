//! How a dead letter's value is changed: as a whole, or at JSON pointers.

use bytes::Bytes;
use serde_json::Value;

/// A change of a JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// At this pointer there is this.
    Set(String, Value),
    /// At this pointer there is nothing.
    Unset(String),
}

impl Change {
    /// Reads `POINTER=JSON`; what is no JSON is text.
    pub(super) fn parse_set(text: &str) -> Result<Self, String> {
        let (pointer, value) = text
            .split_once('=')
            .filter(|(pointer, _)| pointer.starts_with('/'))
            .ok_or_else(|| format!("{text:?} is not POINTER=JSON, such as /total=5"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Self::Set(pointer.to_owned(), value))
    }

    /// Reads a pointer to what is to go.
    pub(super) fn parse_unset(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unset(text.to_owned()));
        }
        Err(format!("{text:?} is no JSON pointer: it begins with /"))
    }

    fn pointer(&self) -> &str {
        match self {
            Self::Set(pointer, _) | Self::Unset(pointer) => pointer,
        }
    }

    /// Makes the change.
    fn apply(&self, whole: &mut Value) -> Result<(), String> {
        let pointer = self.pointer();
        let nothing = || format!("there is nothing at {pointer}");
        let (parent, last) = pointer.rsplit_once('/').ok_or_else(nothing)?;
        let last = last.replace("~1", "/").replace("~0", "~");
        let parent =
            whole.pointer_mut(parent).ok_or_else(|| format!("there is nothing at {parent}"))?;
        match (parent, self) {
            (Value::Object(fields), Self::Set(_, value)) => {
                fields.insert(last, value.clone());
            }
            (Value::Object(fields), Self::Unset(_)) => {
                fields.shift_remove(&last).ok_or_else(nothing)?;
            }
            (Value::Array(items), Self::Set(_, value)) if last == "-" => items.push(value.clone()),
            (Value::Array(items), change) => {
                let place: usize = last.parse().map_err(|_| nothing())?;
                let item = items.get_mut(place).ok_or_else(nothing)?;
                match change {
                    Self::Set(_, value) => *item = value.clone(),
                    Self::Unset(_) => drop(items.remove(place)),
                }
            }
            (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {
                return Err(nothing());
            }
        }
        Ok(())
    }
}

/// A value with changes made to it, in order.
///
/// # Errors
/// A sentence for the user.
pub(super) fn changed(value: Option<&Bytes>, changes: &[Change]) -> Result<Bytes, String> {
    let value = value.ok_or("the value is null: give another with --value-file")?;
    let mut whole: Value = serde_json::from_slice(value).map_err(|error| {
        format!("the value is no JSON, give another with --value-file: {error}")
    })?;
    for change in changes {
        change.apply(&mut whole)?;
    }
    Ok(Bytes::from(whole.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<String, String> {
        let value = Bytes::from_static(br#"{"b":{"c":[1,2]},"a/b":1,"t":"x"}"#);
        let change = Change::parse_set(text).or_else(|_| Change::parse_unset(text))?;
        changed(Some(&value), &[change]).map(|bytes| String::from_utf8(bytes.into()).unwrap())
    }

    #[test]
    fn values_are_set_and_taken_out_where_a_pointer_says() {
        for (text, expected) in [
            ("/t=5", r#"{"b":{"c":[1,2]},"a/b":1,"t":5}"#),
            ("/t=anna", r#"{"b":{"c":[1,2]},"a/b":1,"t":"anna"}"#),
            ("/a~1b=null", r#"{"b":{"c":[1,2]},"a/b":null,"t":"x"}"#),
            ("/b/c/1={\"d\":1}", r#"{"b":{"c":[1,{"d":1}]},"a/b":1,"t":"x"}"#),
            ("/b/c/-=3", r#"{"b":{"c":[1,2,3]},"a/b":1,"t":"x"}"#),
            ("/b/new=true", r#"{"b":{"c":[1,2],"new":true},"a/b":1,"t":"x"}"#),
            ("/b/c/0", r#"{"b":{"c":[2]},"a/b":1,"t":"x"}"#),
            ("/b", r#"{"a/b":1,"t":"x"}"#),
        ] {
            assert_eq!(set(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["/b/c/2=1", "/x/y=1", "/t/u=1", "/b/x", "/b/c/-"] {
            assert!(set(text).is_err_and(|error| error.starts_with("there is nothing")), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_not_changed() {
        let change = [Change::Unset("/a".to_owned())];
        assert!(changed(None, &change).is_err());
        assert!(changed(Some(&Bytes::from_static(b"\xff")), &change).is_err());
        assert!(Change::parse_set("a=1").is_err() && Change::parse_unset("a").is_err());
    }
}
