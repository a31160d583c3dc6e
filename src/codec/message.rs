//! The `message!` macro: from one field list the struct and both directions. How to write one stands
//! in the docs of [`crate::codec`].

use super::error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
use super::field::{Field, Layout, Versions};
use super::reader::Reader;
use super::writer::Writer;

/// A struct with versions of its own: a request, a response, the value of a journal record.
pub trait Message: Field + Default {
    /// Kafka's name.
    const NAME: &'static str;
    /// The versions that can be read and written. Which of them are served is another matter.
    const VERSIONS: Versions;
    /// The versions with compact lengths and tagged fields.
    const FLEXIBLE: Versions;

    /// Reads one message; bytes after it are left.
    ///
    /// # Errors
    /// `Version` for one outside of `VERSIONS`; else whatever is wrong with the bytes.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let layout = Self::layout(version).ok_or(DecodeProblem::Version(version));
        Self::read(reader, layout.map_err(|problem| in_message::<Self>(problem.into()))?, false)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// `Version` for one outside of `VERSIONS`; else a value that this version cannot carry. What was
    /// written until then is left in the writer.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let layout = Self::layout(version).ok_or_else(|| {
            EncodeError::from(EncodeProblem::Version(version)).in_field(Self::NAME)
        })?;
        self.write(writer, layout, false)
    }

    /// The form of a version, if there is such a version.
    fn layout(version: i16) -> Option<Layout> {
        let flexible = Self::FLEXIBLE.contains(version);
        Self::VERSIONS.contains(version).then_some(Layout { version, flexible })
    }
}

fn in_message<M: Message>(error: DecodeError) -> DecodeError {
    error.in_field(M::NAME)
}

/// Makes structs that are read and written by one field list; see the docs of [`crate::codec`].
macro_rules! message {
    ($(
        $(#[$doc:meta])*
        $vis:vis struct $name:ident
        $(: versions $low:literal - $high:literal, flexible $($flexible:literal +)? $($none:ident)?)? {
            $(
                $(#[$field_doc:meta])*
                $field:ident: $ty:ty,
                $from:literal $sep:tt $($to:literal)? $($ignorable:ident)?
                $(, null $null_from:literal $null_sep:tt $($null_to:literal)?)?
                $(, tag $tag:literal)?
                $(, default $default:expr)?;
            )*
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $(
                $(#[$field_doc])*
                #[doc = concat!(
                    "Versions ", $from, stringify!($sep), $($to,)?
                    $(", ", stringify!($ignorable),)?
                    $(", null ", $null_from, stringify!($null_sep), $($null_to,)?)?
                    $(", tag ", $tag,)?
                    $(", default `", stringify!($default), "`",)?
                    "."
                )]
                pub $field: $ty,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::codec::message!(@default $($default)?)),* }
            }
        }

        #[allow(non_upper_case_globals, reason = "each is named as the field it describes")]
        impl $name {
            $(
                const $field: $crate::codec::Column = $crate::codec::Column {
                    name: concat!(stringify!($name), ".", stringify!($field)),
                    versions: $crate::codec::message!(@versions $from $sep $($to)?),
                    nullable: $crate::codec::message!(
                        @versions $($null_from $null_sep $($null_to)?)?
                    ),
                    tag: $crate::codec::message!(@tag $($tag)?),
                    ignorable: $crate::codec::message!(@ignorable $($ignorable)?),
                };
            )*
        }

        impl $crate::codec::Field for $name {
            fn read(
                reader: &mut $crate::codec::Reader,
                layout: $crate::codec::Layout,
                _nullable: bool,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let mut value = Self::default();
                $(Self::$field.read(reader, layout, &mut value.$field)?;)*
                if layout.flexible {
                    reader.tagged_fields(|_tag, _reader| {
                        Ok(false $(
                            || Self::$field.read_tagged(_tag, _reader, layout, &mut value.$field)?
                        )*)
                    })?;
                }
                Ok(value)
            }

            fn write(
                &self,
                writer: &mut $crate::codec::Writer,
                layout: $crate::codec::Layout,
                _nullable: bool,
            ) -> Result<(), $crate::codec::EncodeError> {
                let default = Self::default();
                $(Self::$field.write(writer, layout, &self.$field, &default.$field)?;)*
                if layout.flexible {
                    let mut tagged = $crate::codec::TaggedFields::default();
                    $(
                        Self::$field
                            .write_tagged(&mut tagged, layout, &self.$field, &default.$field)?;
                    )*
                    tagged.write(writer)?;
                }
                Ok(())
            }
        }

        impl $crate::codec::Nullable for $name {
            fn read_nullable(
                reader: &mut $crate::codec::Reader,
                layout: $crate::codec::Layout,
            ) -> Result<Option<Self>, $crate::codec::DecodeError> {
                let is_present = reader.i8()? >= 0;
                is_present
                    .then(|| $crate::codec::Field::read(reader, layout, false))
                    .transpose()
            }

            fn write_nullable(
                value: Option<&Self>,
                writer: &mut $crate::codec::Writer,
                layout: $crate::codec::Layout,
            ) -> Result<(), $crate::codec::EncodeError> {
                writer.i8(if value.is_some() { 1 } else { -1 });
                value.map_or(Ok(()), |value| {
                    $crate::codec::Field::write(value, writer, layout, false)
                })
            }
        }

        $(
            impl $crate::codec::Message for $name {
                const NAME: &'static str = stringify!($name);
                const VERSIONS: $crate::codec::Versions =
                    $crate::codec::message!(@versions $low - $high);
                const FLEXIBLE: $crate::codec::Versions =
                    $crate::codec::message!(@flexible $($flexible)? $($none)?);
            }
        )?

        #[cfg(test)]
        impl $crate::codec::testing::Sample for $name {
            fn sample(
                random: &mut $crate::codec::testing::Random,
                layout: $crate::codec::Layout,
                _nullable: bool,
            ) -> Self {
                let mut value = Self::default();
                $(random.fill(&Self::$field, layout, &mut value.$field);)*
                value
            }
        }
    )+};

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@versions) => { $crate::codec::Versions::NONE };
    (@versions $from:literal +) => { $crate::codec::Versions::since($from) };
    (@versions $from:literal - $to:literal) => { $crate::codec::Versions::between($from, $to) };
    (@flexible none) => { $crate::codec::Versions::NONE };
    (@flexible $from:literal) => { $crate::codec::Versions::since($from) };
    (@tag) => { None };
    (@tag $tag:literal) => { Some($tag) };
    (@ignorable) => { false };
    (@ignorable ignorable) => { true };
}

pub(crate) use message;
