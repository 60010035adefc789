//! Images for the command line: obtained for `run`, and pulled.

use crate::cli::{PullArgs, PullWhen, RegistryArgs};
use crate::error::Result;
use crate::progress::{self, NoProgress};
use crate::pull::{Policy, PullOptions, pull};
use crate::reference::Reference;
use crate::registry::Tls;
use crate::settings::Settings;
use crate::store::{Image, Store};

/// The image that `run` names, by name or id: from the store, or from its registry.
pub fn obtain(
    store: &Store,
    name: &str,
    when: PullWhen,
    quiet: bool,
    registry: &RegistryArgs,
) -> Result<Image> {
    if when != PullWhen::Always
        && let Ok(image) = store.find(name)
        && image.chain_ids.iter().all(|chain| store.snapshots().contains(chain))
    {
        return Ok(image);
    }
    let policy = match when {
        PullWhen::Always => Policy::Always,
        PullWhen::Missing => Policy::Missing,
        PullWhen::Never => Policy::Never,
    };
    let options = options(registry, policy);
    let reference = parse(name)?;
    if quiet {
        return Ok(pull(&reference, &options, store, &NoProgress)?);
    }
    Ok(pull(&reference, &options, store, &*progress::for_stderr())?)
}

/// `nman pull`: the image's full name, or its id.
pub fn pull_named(settings: &Settings, args: &PullArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    let reference = parse(&args.image)?;
    let options = options(&args.registry, Policy::Always);
    let image = if args.quiet {
        pull(&reference, &options, &store, &NoProgress)?
    } else {
        pull(&reference, &options, &store, &*progress::for_stderr())?
    };
    Ok(if args.quiet { format!("{}\n", image.id) } else { format!("{}\n", reference.canonical()) })
}

fn parse(name: &str) -> Result<Reference> {
    Ok(name.parse::<Reference>()?)
}

fn options(registry: &RegistryArgs, policy: Policy) -> PullOptions {
    let tls = Tls {
        verify: registry.tls_verify,
        ca_files: registry.ca_file.iter().cloned().collect(),
        ..Tls::default()
    };
    PullOptions { platform: registry.platform.clone(), credentials: None, tls, policy }
}
