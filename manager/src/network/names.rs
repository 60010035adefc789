//! What containers are called on their networks, besides their own names: one empty file for each, read by resolvers.
//!
//! `<state>/network/names/NETWORK/NAME/CONTAINER`. Several containers may have one name; then each is an answer.
//! Addresses are not repeated here: they stand in the containers' plans, so that a name without a plan is no answer.

use super::error::{Error, Result};
use super::name::NetworkName;
use super::state::{State, make_directory};
use crate::id::ContainerId;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The longest name that a query can hold.
const LONGEST: usize = 253;

/// Whether this is a name that a container can have on a network, in lower case: it becomes a file's name.
#[must_use]
pub fn is_valid(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
    (1..=LONGEST).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
}

/// Makes names known. Called with the lock of all networks.
pub(super) fn add(
    state: &State,
    network: &NetworkName,
    container: &ContainerId,
    names: &[String],
) -> Result<()> {
    for name in names {
        let directory = place(state, network, name)?;
        make_directory(&directory)?;
        let path = directory.join(container.as_str());
        std::fs::write(&path, "").map_err(|error| Error::file("create", path, error))?;
    }
    Ok(())
}

/// Forgets them; none is fine.
pub(super) fn remove(
    state: &State,
    network: &NetworkName,
    container: &ContainerId,
    names: &[String],
) -> Result<()> {
    for name in names {
        let directory = place(state, network, name)?;
        let path = directory.join(container.as_str());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::file("remove", path, error));
            }
            // Refused while another container has the name as well.
            _ => drop(std::fs::remove_dir(&directory)),
        }
    }
    Ok(())
}

/// The containers that have that name, in the order of their ids.
#[must_use]
pub fn owners(state: &State, network: &NetworkName, name: &str) -> Vec<ContainerId> {
    let Ok(directory) = place(state, network, name) else { return Vec::new() };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut owners: Vec<ContainerId> =
        entries.filter_map(|entry| ContainerId::parse(entry.file_name().to_str()?)).collect();
    owners.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    owners
}

fn place(state: &State, network: &NetworkName, name: &str) -> Result<PathBuf> {
    if is_valid(name) {
        return Ok(state.names().join(network.as_str()).join(name));
    }
    Err(Error::Invalid {
        what: "network alias",
        text: name.to_owned(),
        reason: format!(
            "a name on a network is made of letters, digits, `_`, `.` and `-`, {LONGEST} at most"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_everybody_who_has_it_until_the_last_is_gone() {
        let run = tempfile::tempdir().unwrap();
        let state = State::open(run.path()).unwrap();
        let network: NetworkName = "web".parse().unwrap();
        let (a, b) = (ContainerId::random(), ContainerId::random());
        let names = ["db".to_owned()];
        add(&state, &network, &a, &names).unwrap();
        add(&state, &network, &b, &names).unwrap();
        assert_eq!(owners(&state, &network, "db").len(), 2);
        assert!(owners(&state, &"other".parse().unwrap(), "db").is_empty());
        remove(&state, &network, &a, &names).unwrap();
        assert_eq!(owners(&state, &network, "db"), std::slice::from_ref(&b));
        remove(&state, &network, &b, &names).unwrap();
        remove(&state, &network, &b, &names).unwrap();
        assert!(!state.names().join("web/db").exists());
    }

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for bad in ["", ".", "..", "../x", "a/b", "A", "-a", "a b", "a\0", "a.", &"a".repeat(254)] {
            assert!(!is_valid(bad), "{bad:?}");
        }
        for good in ["a", "_x", "db.test", "a..b", "3fa2c0de3fa2"] {
            assert!(is_valid(good), "{good:?}");
        }
    }
}
