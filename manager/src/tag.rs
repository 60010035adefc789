//! `nman tag`: one more name for an image, or a list of images.

use crate::cli::TagArgs;
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::reference::Reference;
use crate::settings::Settings;
use crate::store::{Found, Store};

/// Gives the image the name, which is taken from whatever had it.
pub fn tag(settings: &Settings, args: &TagArgs) -> Result<()> {
    let store = Store::open(&settings.root)?;
    let name = target(&args.target)?;
    let id = match store.find_any(&args.source)? {
        Found::List(list) => {
            store.tag_list(&list, &name)?;
            list.digest
        }
        Found::Image(image) => {
            store.tag(&image, &name)?;
            image.id
        }
    };
    emit(settings, Kind::Image, "tag", id.as_str(), &[("name", &name.to_string())]);
    Ok(())
}

/// A name that an image here may get: one with a digest is its registry's to give.
pub(crate) fn target(text: &str) -> Result<Reference> {
    let name: Reference = text.parse()?;
    if name.digest().is_some() {
        return Err(Error::refusal("refusing to create a tag with a digest reference".to_owned()));
    }
    Ok(name)
}
