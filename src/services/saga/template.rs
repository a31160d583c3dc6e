//! Command bodies as templates: `${data.order_id}` stands for a field of the saga's data. Alone in its text it is
//! the field as it is, within a text it is the field's text; `${data.note?}` is null where there is none, and `$${`
//! means `${`.

use serde_json::{Map, Value};

/// JSON with fields of the data in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Template {
    /// As it stands.
    Fixed(Value),
    /// A field.
    Field(Field),
    /// A text with fields in it.
    Text(Vec<Part>),
    /// A list.
    List(Vec<Template>),
    /// An object.
    Object(Vec<(String, Template)>),
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Fixed(String),
    Field(Field),
}

/// A field of the data.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    path: Vec<String>,
    is_optional: bool,
}

impl Template {
    /// Reads the templates in a value.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::parse_text(text)?,
            Value::Array(items) => {
                Self::List(items.iter().map(Self::parse).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let fields = fields.iter();
                let parse = |(name, value): (&String, &Value)| {
                    Ok::<_, String>((name.clone(), Self::parse(value)?))
                };
                Self::Object(fields.map(parse).collect::<Result<_, _>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Fixed(value.clone()),
        })
    }

    fn parse_text(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut fixed = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                fixed.push_str(&rest[..at]);
                fixed.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            fixed.push_str(&rest[..at]);
            let inner = &rest[at + 2..];
            let end = inner.find('}').ok_or_else(|| format!("`{text}`: `${{` without its `}}`"))?;
            if !fixed.is_empty() {
                parts.push(Part::Fixed(std::mem::take(&mut fixed)));
            }
            parts.push(Part::Field(Field::parse(&inner[..end])?));
            rest = &inner[end + 1..];
        }
        fixed.push_str(rest);
        Ok(match (parts.len(), fixed.is_empty(), parts.pop()) {
            (0, _, _) | (_, _, None) => Self::Fixed(Value::String(fixed)),
            (1, true, Some(Part::Field(field))) => Self::Field(field),
            (_, is_whole, Some(last)) => {
                parts.push(last);
                if !is_whole {
                    parts.push(Part::Fixed(fixed));
                }
                Self::Text(parts)
            }
        })
    }

    /// The value with this data.
    ///
    /// # Errors
    /// A field that is missing, or is no text where one is needed.
    pub(super) fn fill(&self, data: &Value) -> Result<Value, String> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Field(field) => field.of(data)?.clone(),
            Self::Text(parts) => {
                let parts = parts.iter().map(|part| part.text(data));
                Value::String(parts.collect::<Result<String, _>>()?)
            }
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.fill(data)).collect::<Result<_, _>>()?)
            }
            Self::Object(fields) => {
                let fill = |(name, value): &(String, Self)| {
                    Ok::<_, String>((name.clone(), value.fill(data)?))
                };
                Value::Object(fields.iter().map(fill).collect::<Result<Map<_, _>, _>>()?)
            }
        })
    }
}

impl Part {
    fn text(&self, data: &Value) -> Result<String, String> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Field(field) => {
                text_of(field.of(data)?).ok_or_else(|| format!("{} is no text", field.name()))
            }
        }
    }
}

/// A value as a part of a text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

impl Field {
    fn parse(inner: &str) -> Result<Self, String> {
        let (name, is_optional) =
            inner.strip_suffix('?').map_or((inner, false), |name| (name, true));
        let wrong = || format!("`${{{inner}}}`: fields are `data.NAME` or `data.NAME.NAME`");
        let path = name.trim().strip_prefix("data.").ok_or_else(wrong)?;
        let path: Vec<_> = path.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Self { path, is_optional })
    }

    fn of<'a>(&self, data: &'a Value) -> Result<&'a Value, String> {
        let mut value = data;
        for name in &self.path {
            let next = match value {
                Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
                Value::Object(fields) => fields.get(name),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            };
            value = match next {
                Some(value) => value,
                None if self.is_optional => return Ok(&Value::Null),
                None => return Err(format!("{} is missing", self.name())),
            };
        }
        Ok(value)
    }

    fn name(&self) -> String {
        format!("data.{}", self.path.join("."))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(template: &Value, expected: Result<Value, &str>) {
        let data =
            json!({ "id": "o-1", "n": 3, "items": [{ "sku": "a" }], "at": { "city": "Ulm" } });
        let filled = Template::parse(template).and_then(|template| template.fill(&data));
        assert_eq!(filled, expected.map_err(str::to_owned), "{template}");
    }

    #[test]
    fn fields_stand_for_themselves_or_for_their_text() {
        check(&json!("${data.items}"), Ok(json!([{ "sku": "a" }])));
        check(&json!("${data.n}"), Ok(json!(3)));
        check(
            &json!("order ${data.id}, ${data.n} in ${data.at.city}"),
            Ok(json!("order o-1, 3 in Ulm")),
        );
        check(&json!("${data.id}${data.n}"), Ok(json!("o-13")));
        check(
            &json!({ "a": ["${data.items.0.sku}", 1, null] }),
            Ok(json!({ "a": ["a", 1, null] })),
        );
        check(&json!("${data.note?}"), Ok(Value::Null));
        check(&json!("<${data.note?}>"), Ok(json!("<>")));
        check(&json!("$${data.id} and $"), Ok(json!("${data.id} and $")));
        check(&json!(""), Ok(json!("")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(&json!("${data.note}"), Err("data.note is missing"));
        check(&json!("${data.id.x}"), Err("data.id.x is missing"));
        check(&json!("a ${data.items}"), Err("data.items is no text"));
        check(&json!("${data.id"), Err("`${data.id`: `${` without its `}`"));
        check(&json!("${id}"), Err("`${id}`: fields are `data.NAME` or `data.NAME.NAME`"));
        check(
            &json!("${data..id}"),
            Err("`${data..id}`: fields are `data.NAME` or `data.NAME.NAME`"),
        );
    }
}
