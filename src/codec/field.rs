//! How values of each type stand in a message, and what a message's table says about a field.

use bytes::Bytes;
use uuid::Uuid;

use super::error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
use super::reader::Reader;
use super::writer::Writer;

/// An array takes room for this many elements before the first is read; more as they come.
const ELEMENTS_RESERVED_MAX: usize = 1_024;

/// A range of versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl Versions {
    /// No version at all.
    pub const NONE: Self = Self { min: 0, max: -1 };

    /// From `min` on.
    pub const fn since(min: i16) -> Self {
        Self { min, max: i16::MAX }
    }

    /// From `min` to `max`.
    pub const fn between(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    /// Whether `version` is one of them.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Each of them, from the lowest.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }
}

/// The form that a message has in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The version.
    pub version: i16,
    /// Whether lengths are compact and structs end with tagged fields (KIP-482).
    pub flexible: bool,
}

/// A type that can stand in a message. `nullable` says whether this version allows a null.
pub trait Field: Sized + PartialEq {
    /// The fewest bytes a value takes in any version: what a count of elements is checked against.
    const SIZE_MIN: usize = 1;

    /// Reads a value.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    fn read(reader: &mut Reader, layout: Layout, nullable: bool) -> Result<Self, DecodeError>;

    /// Writes a value.
    ///
    /// # Errors
    /// A value that this version cannot carry.
    fn write(&self, writer: &mut Writer, layout: Layout, nullable: bool)
    -> Result<(), EncodeError>;
}

/// A type whose wire form knows null, so that an `Option` of it is a [`Field`] too.
pub trait Nullable: Field {
    /// Reads a value or null.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    fn read_nullable(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError>;

    /// Writes a value or null.
    ///
    /// # Errors
    /// A value that this version cannot carry.
    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError>;
}

/// What a message's table says about one field.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// `Struct.field`, for errors.
    pub name: &'static str,
    /// The versions that carry it.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Versions,
    /// The number of a tagged field.
    pub tag: Option<u32>,
    /// Whether a value is dropped silently in a version that does not carry it.
    pub ignorable: bool,
}

impl Column {
    /// Reads the field, if it stands in this version and is not a tagged one.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, with the field's name.
    pub fn read<T: Field>(
        &self,
        reader: &mut Reader,
        layout: Layout,
        value: &mut T,
    ) -> Result<(), DecodeError> {
        if self.tag.is_none() && self.versions.contains(layout.version) {
            *value = self.read_value(reader, layout)?;
        }
        Ok(())
    }

    /// Reads the field, if its tag is `tag` and this version has it: true.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, with the field's name.
    pub fn read_tagged<T: Field>(
        &self,
        tag: u32,
        reader: &mut Reader,
        layout: Layout,
        value: &mut T,
    ) -> Result<bool, DecodeError> {
        let is_it = self.tag == Some(tag) && self.versions.contains(layout.version);
        if is_it {
            *value = self.read_value(reader, layout)?;
        }
        Ok(is_it)
    }

    /// Writes the field, if it stands in this version and is not a tagged one.
    ///
    /// # Errors
    /// `NotInVersion` for a value this version cannot carry and that must not be dropped; else what
    /// the type refuses.
    pub fn write<T: Field>(
        &self,
        writer: &mut Writer,
        layout: Layout,
        value: &T,
        default: &T,
    ) -> Result<(), EncodeError> {
        if !self.versions.contains(layout.version) {
            if self.ignorable || value == default {
                return Ok(());
            }
            return Err(
                EncodeError::from(EncodeProblem::NotInVersion(layout.version)).in_field(self.name)
            );
        }
        if self.tag.is_some() {
            return Ok(());
        }
        self.write_value(writer, layout, value)
    }

    /// Adds the field to the tagged ones, if it is one of this version and not at its default.
    ///
    /// # Errors
    /// What the type refuses.
    pub fn write_tagged<T: Field>(
        &self,
        tagged: &mut TaggedFields,
        layout: Layout,
        value: &T,
        default: &T,
    ) -> Result<(), EncodeError> {
        let Some(tag) = self.tag else { return Ok(()) };
        if !self.versions.contains(layout.version) || value == default {
            return Ok(());
        }
        let mut writer = Writer::new();
        self.write_value(&mut writer, layout, value)?;
        tagged.0.push((tag, writer));
        Ok(())
    }

    fn read_value<T: Field>(&self, reader: &mut Reader, layout: Layout) -> Result<T, DecodeError> {
        T::read(reader, layout, self.nullable.contains(layout.version))
            .map_err(|error| error.in_field(self.name))
    }

    fn write_value<T: Field>(
        &self,
        writer: &mut Writer,
        layout: Layout,
        value: &T,
    ) -> Result<(), EncodeError> {
        value
            .write(writer, layout, self.nullable.contains(layout.version))
            .map_err(|error| error.in_field(self.name))
    }
}

/// The tagged fields of one struct, on their way out.
#[derive(Debug, Default)]
pub struct TaggedFields(Vec<(u32, Writer)>);

impl TaggedFields {
    /// Writes them in the order of their tags, as Kafka does.
    ///
    /// # Errors
    /// `Length` for a value over 2^31-1 bytes.
    pub fn write(mut self, writer: &mut Writer) -> Result<(), EncodeError> {
        self.0.sort_by_key(|(tag, _)| *tag);
        writer.uvarint(length_u32(self.0.len())?);
        for (tag, value) in &self.0 {
            writer.uvarint(*tag);
            writer.uvarint(length_u32(value.len())?);
            writer.raw(value.as_slice());
        }
        Ok(())
    }
}

fn length_u32(length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeProblem::Length(length).into())
}

/// Makes fields of the types that have one form in all versions.
macro_rules! fixed {
    ($($ty:ty: $method:ident, $size:literal;)*) => {$(
        impl Field for $ty {
            const SIZE_MIN: usize = $size;

            fn read(reader: &mut Reader, _: Layout, _: bool) -> Result<Self, DecodeError> {
                reader.$method()
            }

            fn write(&self, writer: &mut Writer, _: Layout, _: bool) -> Result<(), EncodeError> {
                writer.$method(*self);
                Ok(())
            }
        }
    )*};
}

fixed! {
    bool: bool, 1;
    i8: i8, 1;
    i16: i16, 2;
    u16: u16, 2;
    i32: i32, 4;
    i64: i64, 8;
    f64: f64, 8;
    Uuid: uuid, 16;
}

impl Field for String {
    fn read(reader: &mut Reader, layout: Layout, _: bool) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, layout)?.ok_or(DecodeProblem::Null.into())
    }

    fn write(&self, writer: &mut Writer, layout: Layout, _: bool) -> Result<(), EncodeError> {
        writer.nullable_string(Some(self), layout.flexible)
    }
}

impl Nullable for String {
    fn read_nullable(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        reader.nullable_string(layout.flexible)
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        writer.nullable_string(value.map(Self::as_str), layout.flexible)
    }
}

impl Field for Bytes {
    fn read(reader: &mut Reader, layout: Layout, _: bool) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, layout)?.ok_or(DecodeProblem::Null.into())
    }

    fn write(&self, writer: &mut Writer, layout: Layout, _: bool) -> Result<(), EncodeError> {
        writer.nullable_bytes(Some(self), layout.flexible)
    }
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        reader.nullable_bytes(layout.flexible)
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        writer.nullable_bytes(value.map(AsRef::as_ref), layout.flexible)
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(reader: &mut Reader, layout: Layout, _: bool) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, layout)?.ok_or(DecodeProblem::Null.into())
    }

    fn write(&self, writer: &mut Writer, layout: Layout, _: bool) -> Result<(), EncodeError> {
        writer.length(Some(self.len()), layout.flexible)?;
        self.iter().try_for_each(|element| element.write(writer, layout, false))
    }
}

impl<T: Field> Nullable for Vec<T> {
    fn read_nullable(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.count(layout.flexible, T::SIZE_MIN)? else { return Ok(None) };
        let mut elements = Self::with_capacity(count.min(ELEMENTS_RESERVED_MAX));
        for _ in 0..count {
            reader.charge(size_of::<T>())?;
            elements.push(T::read(reader, layout, false)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        match value {
            Some(elements) => elements.write(writer, layout, false),
            None => writer.length(None, layout.flexible),
        }
    }
}

impl<T: Nullable> Field for Option<T> {
    fn read(reader: &mut Reader, layout: Layout, nullable: bool) -> Result<Self, DecodeError> {
        if nullable {
            T::read_nullable(reader, layout)
        } else {
            T::read(reader, layout, false).map(Some)
        }
    }

    fn write(
        &self,
        writer: &mut Writer,
        layout: Layout,
        nullable: bool,
    ) -> Result<(), EncodeError> {
        match self {
            value if nullable => T::write_nullable(value.as_ref(), writer, layout),
            Some(value) => value.write(writer, layout, false),
            None => Err(EncodeProblem::Null(layout.version).into()),
        }
    }
}
