//! Named contexts that are images in image layouts: `--build-context NAME=oci-layout://DIR`.
//!
//! A Dockerfile reaches no other directory of the host so than those that the command line names.

use crate::cli::{ContextSource, NamedContext};
use crate::error::Result;
use crate::layout::find;
use crate::progress::NoProgress;
use crate::pull::{Called, Cause, Error, Source, install_as};
use crate::registry::{Platform, Registry as _};
use crate::store::{self, Image, Store, key_of_held};
use bundle::layout::Layout;

/// The image that a context of this name is, brought here and held until no build is under way; nothing if no context is called so. Of an image for several
/// platforms it is that for `platform`, or, where nobody has asked for one, that which runs on this machine.
pub(super) fn obtain(
    store: &Store,
    contexts: &[NamedContext],
    name: &str,
    platform: Option<&Platform>,
) -> Result<Option<Image>> {
    let is_it = |context: &&NamedContext| matches!(&context.source, ContextSource::Layout { text, .. } if text == name);
    let Some(context) = contexts.iter().find(is_it) else { return Ok(None) };
    let image = bring(store, &context.source, platform);
    Ok(image.map_err(|cause| Error::new("take", name.to_owned(), cause))?)
}

fn bring(
    store: &Store,
    source: &ContextSource,
    asked: Option<&Platform>,
) -> std::result::Result<Option<Image>, Cause> {
    let ContextSource::Layout { path, what, .. } = source else { return Ok(None) };
    store.check_writable()?;
    let layout = Layout::open(path).map_err(store::Error::from)?;
    let descriptor = find(&layout, what)?;
    let document = layout.manifest(&descriptor)?;
    let host = Platform::host();
    let platform = asked.unwrap_or(&host);
    let source = Source { asked: asked.is_some(), ..Source::new(&layout, platform) };
    install_as(&source, document, Called::Step(&key_of_held()), store, &NoProgress).map(Some)
}
