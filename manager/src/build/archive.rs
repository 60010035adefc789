//! `--output type=oci` and `type=docker`: the image that was built, as an archive for `load`, or in an image layout.

use super::output::Outputs;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::save::unsaved;
use crate::store::{self, Store};
use bundle::archive::{Form, Outgoing, place, write};
use bundle::layout::Layout;
use std::io::Write as _;
use std::path::PathBuf;

/// Where images go.
#[derive(Default)]
pub(super) struct Exports {
    archives: Vec<(Form, Output)>,
    layouts: Vec<PathBuf>,
}

impl Exports {
    /// Opens the file of an archive, or stdout.
    pub(super) fn add_archive(&mut self, form: Form, path: &std::path::Path) -> Result<()> {
        self.archives.push((form, Output::open(Some(path), "build")?));
        Ok(())
    }

    /// Notes a layout. It is not touched before there is something to put into it.
    pub(super) fn add_layout(&mut self, path: PathBuf) {
        self.layouts.push(path);
    }

    /// Whether images go nowhere.
    pub(super) fn is_empty(&self) -> bool {
        self.archives.is_empty() && self.layouts.is_empty()
    }

    /// That they can take the images of several platforms.
    pub(super) fn check_several(&self) -> Result<()> {
        match self.archives.iter().any(|(form, _)| *form == Form::Docker) {
            false => Ok(()),
            true => Err(Error::Rejected {
                message: "an archive of type=docker has the image of one platform".to_owned(),
                hint: Some("`type=oci` has those of several".to_owned()),
            }),
        }
    }

    /// Writes what was built.
    pub(super) fn write(self, store: &Store, image: &Outgoing) -> Result<()> {
        let images = std::slice::from_ref(image);
        for path in self.layouts {
            let layout = Layout::create(path).map_err(store::Error::from)?;
            place(store.layout(), images, &layout).map_err(unsaved)?;
        }
        for (form, mut output) in self.archives {
            write(store.layout(), images, form, &mut output).map_err(unsaved)?;
            output.flush().map_err(Error::system("write the archive"))?;
            output.keep()?;
        }
        Ok(())
    }
}

impl Outputs {
    /// Whether there has to be an image, kept or not.
    pub(super) fn needs_image(&self) -> bool {
        self.image || !self.exports.is_empty()
    }
}
