//! `nman rename`: another name for a container, whether it runs or not.

use crate::cli::RenameArgs;
use crate::container::{ContainerName, Containers};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::settings::Settings;

/// Renames a container.
pub fn rename(settings: &Settings, args: &RenameArgs) -> Result<()> {
    if args.new.is_empty() {
        return Err(Error::refusal("Error: Neither old nor new names may be empty"));
    }
    let containers = Containers::open(&settings.containers())?;
    let name = ContainerName::parse(&args.new).map_err(Error::refusal)?;
    let dir = containers.find(&args.name)?;
    let old = dir.record()?.name;
    if old == name {
        return Err(Error::Rejected {
            message: "Renaming a container with the same name as its current name".to_owned(),
            hint: None,
        });
    }
    let record = containers.rename(&dir, &name)?;
    // With the slash, as Docker's daemon has it.
    emit_container(settings, &record, "rename", &[("oldName", &format!("/{old}"))]);
    Ok(())
}
