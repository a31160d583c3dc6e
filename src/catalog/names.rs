//! Which names a topic may have.

use super::error::CatalogError;

const NAME_SIZE_MAX: usize = 249;

/// Kafka's own topics that clients see as internal.
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// The log of the catalog itself; no topic of that name can be made.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";

/// Whether a topic belongs to the broker itself.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether a topic may be called so: what Kafka allows, which is also what makes a safe folder name.
///
/// # Errors
/// [`CatalogError::InvalidName`], with what is wrong.
pub fn check_name(name: &str) -> Result<(), CatalogError> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "it is empty".to_owned(),
        "." | ".." => "it is a folder's".to_owned(),
        _ if name.len() > NAME_SIZE_MAX => {
            format!("it has {} bytes, {NAME_SIZE_MAX} are allowed", name.len())
        }
        _ if !name.chars().all(is_legal) => {
            "only letters, digits, '.', '_' and '-' are allowed".to_owned()
        }
        _ => return Ok(()),
    };
    let name = name.chars().take(NAME_SIZE_MAX).collect();
    Err(CatalogError::InvalidName { name, reason })
}

/// The form in which two names may not be equal: metric names cannot tell `.` from `_`.
pub(super) fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}
