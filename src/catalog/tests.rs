//! The rules of topics, partitions and settings, a row at a time; and that state is nothing but
//! replayed records.

mod configs;
mod fixture;
mod properties;
mod records;
mod topics;
