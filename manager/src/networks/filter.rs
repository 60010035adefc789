//! What `network ls` and `network prune` choose networks by.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::listing::Filters;
use std::collections::BTreeMap;

/// Whether a network fits `label`, `label!` and `until`. One that nobody has made, such as `host`, is of no time, and older than any.
///
/// # Errors
/// A time that is none.
pub(super) fn takes(
    filters: &Filters,
    labels: &BTreeMap<String, String>,
    created: Option<Timestamp>,
) -> Result<bool> {
    let until = filters.until()?;
    let is_older = created.zip(until).is_none_or(|(created, until)| created < until);
    Ok(filters.labelled(labels) && is_older)
}
