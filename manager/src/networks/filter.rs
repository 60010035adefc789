//! What `network ls` and `network prune` choose networks by.

use crate::clock::Timestamp;
use crate::duration;
use crate::error::{Error, Result};
use crate::listing::Filters;
use std::collections::BTreeMap;

/// Whether a network fits `label`, `label!` and `until`. One that nobody has made, such as `host`, is of no time, and older than any.
///
/// # Errors
/// [`Error::Usage`] for a time that is none.
pub(super) fn takes(
    filters: &Filters,
    labels: &BTreeMap<String, String>,
    created: Option<Timestamp>,
) -> Result<bool> {
    let mut old_enough = true;
    for text in filters.values("until") {
        let until = duration::moment(text).map_err(Error::Usage)?;
        old_enough &= created.is_none_or(|created| created < until);
    }
    Ok(filters.labelled(labels) && old_enough)
}
