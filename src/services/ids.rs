//! Ids that follow from what they are about, so that a second try comes to the same.

use uuid::Uuid;

/// The name space of ids that ottla derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x0774_1a00_5e41_4e5a_8c5e_7c1e_5ed0_1d5a);

/// A UUID (version 5) of these parts: equal parts in equal order give the same, others another.
pub fn derived(parts: &[&str]) -> String {
    uuid(parts).hyphenated().to_string()
}

/// The same as a number.
pub fn number(parts: &[&str]) -> u64 {
    uuid(parts).as_u64_pair().0
}

fn uuid(parts: &[&str]) -> Uuid {
    let mut name = Vec::new();
    for part in parts {
        // With its length, so that no two lists of parts read alike.
        name.extend_from_slice(part.len().to_string().as_bytes());
        name.push(b':');
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}
