//! From a struct and its attribute to the implementation, or to what is wrong and where.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Index, LitStr, Member, Result, Type};

/// Letters a topic's name may have.
const TOPIC_LETTERS_MAX: usize = 249;

/// The envelopes by their names, and the variants of `ottla::services::Envelope`.
const ENVELOPES: [(&str, &str); 6] = [
    ("cloudevents", "CloudEvents"),
    ("flat", "Flat"),
    ("payload", "Payload"),
    ("command", "Command"),
    ("domain", "Domain"),
    ("data", "Data"),
];

/// What is derived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An event.
    Event,
    /// A command, which is an event with a reply.
    Command,
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Command => "command",
        }
    }
}

/// What the attribute says.
#[derive(Default)]
struct Said {
    topic: Option<LitStr>,
    name: Option<LitStr>,
    key: Option<LitStr>,
    envelope: Option<LitStr>,
    reply: Option<Type>,
}

/// The implementations.
pub(crate) fn expand(input: &DeriveInput, kind: Kind) -> Result<TokenStream> {
    let attribute = kind.attribute();
    let Data::Struct(body) = &input.data else {
        let message = format!("{} {attribute} is a struct: one type, one name", article(kind));
        return Err(Error::new_spanned(&input.ident, message));
    };
    let said = Said::of(&input.attrs, kind)?;
    let span = input.ident.span();
    let topic = needed(said.topic, span, kind, "topic = \"..\"", "where it is sent")?;
    check_topic(&topic)?;
    let key = needed(said.key, span, kind, "key = \"field\"", "what it is about")?;
    let path = key_path(&key, &input.ident.to_string(), &body.fields)?;
    let name = said.name.unwrap_or_else(|| LitStr::new(&input.ident.to_string(), span));
    if name.value().is_empty() {
        return Err(Error::new(name.span(), "the name is empty"));
    }
    let envelope = envelope(said.envelope.as_ref())?;
    let own = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let text = quote_spanned!(key.span()=> ::std::string::ToString::to_string(&self #(.#path)*));
    let command = match (kind, said.reply) {
        (Kind::Event, _) => None,
        (Kind::Command, reply) => {
            let reply = needed(reply, span, kind, "reply = Type", "the event that answers it")?;
            Some(quote! {
                #[automatically_derived]
                impl #impl_generics ::ottla::services::Command for #own #type_generics #where_clause {
                    type Reply = #reply;
                }
            })
        }
    };
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::ottla::services::Event for #own #type_generics #where_clause {
            const TOPIC: &'static str = #topic;
            const NAME: &'static str = #name;
            const ENVELOPE: ::ottla::services::Envelope = ::ottla::services::Envelope::#envelope;

            fn key(&self) -> ::std::string::String {
                #text
            }
        }
        #command
    })
}

impl Said {
    fn of(attributes: &[Attribute], kind: Kind) -> Result<Self> {
        let mut said = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident(kind.attribute())) {
            attribute.parse_nested_meta(|meta| said.take(&meta, kind))?;
        }
        Ok(said)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>, kind: Kind) -> Result<()> {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        let place = match &*word {
            "topic" => &mut self.topic,
            "name" => &mut self.name,
            "key" => &mut self.key,
            "envelope" => &mut self.envelope,
            "reply" if kind == Kind::Command => {
                if self.reply.is_some() {
                    return Err(meta.error("reply is said twice"));
                }
                self.reply = Some(meta.value()?.parse()?);
                return Ok(());
            }
            "reply" => return Err(meta.error("an event has no reply: derive Command instead")),
            _ => return Err(meta.error(unknown(kind))),
        };
        if place.is_some() {
            return Err(meta.error(format!("{word} is said twice")));
        }
        *place = Some(meta.value()?.parse()?);
        Ok(())
    }
}

fn unknown(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "unknown: there are topic, name, key and envelope",
        Kind::Command => "unknown: there are topic, name, key, envelope and reply",
    }
}

fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "an",
        Kind::Command => "a",
    }
}

fn needed<T>(said: Option<T>, span: Span, kind: Kind, form: &str, what: &str) -> Result<T> {
    let (article, attribute) = (article(kind), kind.attribute());
    let message =
        || format!("{article} {attribute} says {what}: #[{attribute}({form})] is missing");
    said.ok_or_else(|| Error::new(span, message()))
}

fn check_topic(topic: &LitStr) -> Result<()> {
    let text = topic.value();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let wrong = if text.is_empty() || matches!(&*text, "." | "..") {
        format!("no topic can be named {text:?}")
    } else if text.len() > TOPIC_LETTERS_MAX {
        format!("a topic's name has at most {TOPIC_LETTERS_MAX} letters, this {}", text.len())
    } else if let Some(letter) = text.chars().find(|c| !is_letter(*c)) {
        format!("a topic's name is of letters, figures, '.', '_' and '-', not {letter:?}")
    } else {
        return Ok(());
    };
    Err(Error::new(topic.span(), wrong))
}

/// The fields of a dotted path; that the first exists is checked here, the others by the compiler.
fn key_path(key: &LitStr, own: &str, fields: &Fields) -> Result<Vec<Member>> {
    let text = key.value();
    let mut path = Vec::new();
    for part in text.split('.') {
        path.push(member(part, key.span()).ok_or_else(|| {
            let message = format!("key = {text:?} is no field: write \"field\" or \"field.field\"");
            Error::new(key.span(), message)
        })?);
    }
    let all: Vec<Member> = fields.members().collect();
    if path.first().is_some_and(|first| all.contains(first)) {
        return Ok(path);
    }
    let first = text.split('.').next().unwrap_or_default();
    let names: Vec<_> = all.iter().map(|field| quote!(#field).to_string()).collect();
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let message = format!("{own} has no field `{first}` to be the key; its fields: {there}");
    Err(Error::new(key.span(), message))
}

fn member(text: &str, span: Span) -> Option<Member> {
    if let Ok(index) = text.parse() {
        return Some(Member::Unnamed(Index { index, span }));
    }
    let mut ident: syn::Ident = syn::parse_str(text).ok()?;
    ident.set_span(span);
    Some(Member::Named(ident))
}

fn envelope(said: Option<&LitStr>) -> Result<syn::Ident> {
    let Some(said) = said else { return Ok(format_ident!("CloudEvents")) };
    let text = said.value();
    if let Some((_, variant)) = ENVELOPES.iter().find(|(name, _)| *name == text) {
        return Ok(format_ident!("{variant}"));
    }
    let names: Vec<_> = ENVELOPES.iter().map(|(name, _)| *name).collect();
    let message = format!("no envelope is named {text:?}; there are {}", names.join(", "));
    Err(Error::new(said.span(), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, text: &str) -> String {
        let input = syn::parse_str(text).expect("Rust");
        expand(&input, kind).expect_err("a mistake").to_string()
    }

    #[test]
    fn events_say_what_is_wrong_with_them() {
        let check = |attribute: &str, expected: &str| {
            let text = format!("#[event({attribute})] struct Paid {{ id: u8, sum: u8 }}");
            assert_eq!(message(Kind::Event, &text), expected, "{attribute}");
        };
        check(
            r#"key = "id""#,
            r#"an event says where it is sent: #[event(topic = "..")] is missing"#,
        );
        check(
            r#"topic = "t""#,
            r#"an event says what it is about: #[event(key = "field")] is missing"#,
        );
        check(
            r#"topic = "t", key = "order_id""#,
            "Paid has no field `order_id` to be the key; its fields: id, sum",
        );
        check(
            r#"topic = "t", key = "a b""#,
            r#"key = "a b" is no field: write "field" or "field.field""#,
        );
        check(
            r#"topic = "t t", key = "id""#,
            "a topic's name is of letters, figures, '.', '_' and '-', not ' '",
        );
        check(r#"topic = "", key = "id""#, r#"no topic can be named """#);
        check(r#"topic = "t", name = "", key = "id""#, "the name is empty");
        check(
            r#"topic = "t", key = "id", envelope = "avro""#,
            r#"no envelope is named "avro"; there are cloudevents, flat, payload, command, domain, data"#,
        );
        check(r#"topic = "t", topic = "u""#, "topic is said twice");
        check(r#"tpoic = "t""#, "unknown: there are topic, name, key and envelope");
        check("reply = Paid", "an event has no reply: derive Command instead");
        let long = format!(r#"topic = "{}", key = "id""#, "t".repeat(250));
        check(&long, "a topic's name has at most 249 letters, this 250");
    }

    #[test]
    fn commands_say_what_is_wrong_with_them() {
        assert_eq!(
            message(Kind::Command, r#"#[command(topic = "t", key = "id")] struct Pay { id: u8 }"#),
            "a command says the event that answers it: #[command(reply = Type)] is missing"
        );
        assert_eq!(
            message(Kind::Command, "#[command(replies = Paid)] struct Pay { id: u8 }"),
            "unknown: there are topic, name, key, envelope and reply"
        );
        assert_eq!(
            message(Kind::Command, "#[event(topic = \"t\")] struct Pay;"),
            r#"a command says where it is sent: #[command(topic = "..")] is missing"#
        );
    }

    #[test]
    fn only_structs_are_events() {
        let text = r#"#[event(topic = "t", key = "id")] enum Paid { Yes, No }"#;
        assert_eq!(message(Kind::Event, text), "an event is a struct: one type, one name");
        let text = r#"#[event(topic = "t", key = "id")] struct Paid;"#;
        let expected = "Paid has no field `id` to be the key; its fields: none";
        assert_eq!(message(Kind::Event, text), expected);
    }
}
