//! `nman export`: a container's root file system as a tar archive, without what is mounted in it.

use crate::cli::ExportArgs;
use crate::container::Containers;
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::output::Output;
use crate::reach::{Reach, View};
use crate::settings::Settings;
use bundle::layer::{self, PackOptions};

/// Writes the archive to a file, or to stdout if that is no terminal.
pub fn export(settings: &Settings, args: &ExportArgs) -> Result<()> {
    let dir = Containers::open(&settings.containers())?.find(&args.container)?;
    let record = dir.record()?;
    let mut output = Output::open(args.output.as_deref(), "export")?;
    let reach = Reach::open(settings, &dir, &record, View::Root)?;
    let options = PackOptions { owner_map: reach.owners().inverse(), ..PackOptions::default() };
    layer::export(reach.root(), &options, &mut output)
        .map_err(|source| Error::Archive(bundle::archive::Error::Layer(source)))?;
    output.keep()?;
    emit_container(settings, &record, "export", &[]);
    Ok(())
}
