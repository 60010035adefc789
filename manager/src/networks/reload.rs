//! `nman network reload`

use crate::connection::{self, ground};
use crate::error::{Error, Result};
use crate::network;
use crate::settings::Settings;

/// Puts back what the host has of every connected container, and asks foreign plug-ins about theirs. Returns the ids of
/// those that are connected, and what could not be put back of others, or the plug-ins complain of.
///
/// # Errors
/// The rules or switches cannot be restored.
pub fn reload(settings: &Settings) -> Result<(Vec<String>, Vec<Error>)> {
    let reloaded = mend(settings);
    // The last container may have left meanwhile: it does not wait for who is at work on a user's namespace for long, and leaves it to them.
    let left = ground::leave(settings);
    let reloaded = reloaded?;
    left.map(|()| reloaded)
}

fn mend(settings: &Settings) -> Result<(Vec<String>, Vec<Error>)> {
    let state = ground::mend(settings)?;
    let (failed, failures): (Vec<_>, Vec<_>) = network::reload(&state)?.into_iter().unzip();
    let mut done = Vec::new();
    let mut errors: Vec<Error> = failures.into_iter().map(Error::from).collect();
    // All that are on a bridge have the same to say of it.
    errors.dedup_by_key(|error| error.to_string());
    for plan in state.connected()?.iter().filter(|plan| !failed.contains(&plan.container)) {
        match connection::check(settings, plan) {
            complaints if complaints.is_empty() => done.push(plan.container.to_string()),
            complaints => errors.extend(complaints),
        }
    }
    done.sort_unstable();
    done.dedup();
    Ok((done, errors))
}
