//! What becomes of a build: an image, or its files in a directory or an archive; and `--squash`.

use super::archive::Exports;
use super::builder::{Stand, note};

use super::workshop::{Workshop, apart, give_exact_modes};
use crate::cli::BuildOutput;
use crate::clock::Timestamp;
use crate::cp::place::Root;
use crate::cp::tree::{Copier, Owners};
use crate::error::{Error, Result};
use crate::new_image::{NewImage, history};
use crate::output::Output;
use bundle::digest::Digest;
use bundle::layer::{self, Limits, Options, PackOptions, Whiteouts};
use bundle::tarball::Timespec;
use oci_spec::image::Descriptor;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Where the result goes.
pub(super) struct Outputs {
    /// It becomes an image that is kept.
    pub(super) image: bool,
    /// Where the image goes besides.
    pub(super) exports: Exports,
    directories: Vec<PathBuf>,
    archives: Vec<Output>,
}

impl Outputs {
    /// Opens what can be opened before there is anything to write: a terminal is refused before a long build, not after it.
    pub(super) fn open(wishes: &[BuildOutput]) -> Result<Self> {
        let mut outputs = Self {
            image: wishes.is_empty(),
            exports: Exports::default(),
            directories: Vec::new(),
            archives: Vec::new(),
        };
        for wish in wishes {
            match wish {
                BuildOutput::Image => outputs.image = true,
                BuildOutput::Directory(path) => outputs.directories.push(path.clone()),
                BuildOutput::Archive(path) => {
                    outputs.archives.push(Output::open(Some(path), "build")?);
                }
                BuildOutput::Images(form, path) => outputs.exports.add_archive(*form, path)?,
                BuildOutput::Layout(path) => outputs.exports.add_layout(path.clone()),
            }
        }
        Ok(outputs)
    }

    /// That it can take what is built for several platforms.
    pub(super) fn check_several(&self) -> Result<()> {
        self.exports.check_several()?;
        match self.archives.is_empty() {
            true => Ok(()),
            false => Err(Error::Rejected {
                message: "an archive has the files of one platform".to_owned(),
                hint: Some(
                    "write them to a directory, in which each platform has its own".to_owned(),
                ),
            }),
        }
    }

    /// Writes the files that a stage has ended with; what is to be said of files that are left out. Directories have them
    /// in `below`, if there is one, and archives are written once.
    pub(super) fn write(
        &mut self,
        workshop: &Workshop<'_>,
        stand: &Stand,
        latest: Option<i64>,
        below: Option<&str>,
    ) -> Result<Vec<String>> {
        let at = |directory: &PathBuf| below.map_or(directory.clone(), |name| directory.join(name));
        let directories: Vec<PathBuf> = self.directories.iter().map(at).collect();
        let archives = std::mem::take(&mut self.archives);
        if directories.is_empty() && archives.is_empty() {
            return Ok(Vec::new());
        }
        apart(|| {
            give_exact_modes();
            let mounted = workshop.mount(stand.chain(), "output")?;
            let root = Root::Container { root: mounted.root.fd(), name: "the image" };
            let mut warnings = Vec::new();
            for directory in &directories {
                warnings.extend(write_to(&root, directory)?);
            }
            let latest = latest.map(|seconds| Timespec { tv_sec: seconds, tv_nsec: 0 });
            let options = PackOptions { latest, ..PackOptions::default() };
            for mut archive in archives {
                layer::export(mounted.root.fd(), &options, &mut archive)
                    .map_err(|source| Error::Archive(bundle::archive::Error::Layer(source)))?;
                archive.keep()?;
            }
            workshop.clear(mounted)?;
            Ok(warnings)
        })
    }
}

/// Copies all files to a directory, in which they belong to whoever builds, and says which are left out. Nothing that comes from an image makes
/// anybody of the host more than they are.
fn write_to(root: &Root<'_>, directory: &Path) -> Result<Option<String>> {
    let made = fs::DirBuilder::new().mode(0o755).recursive(true).create(directory);
    made.map_err(Error::io("make", directory))?;
    let shown = directory.display().to_string();
    let there = Root::Host.destination(&format!("{shown}/."))?.place;
    let source = root.source("/.", true)?.place;
    let mut copier = Copier::of_untrusted(Owners::One(0, 0));
    copier.merge(&source, &there).map_err(|fault| fault.explain("the image", &shown))?;
    Ok(copier.left_out().first().map(|first| {
        let count = copier.left_out().len();
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let first = String::from_utf8_lossy(first);
        format!("devices are not copied to `{shown}`: `{first}`{more}")
    }))
}

/// Makes one layer of those that steps have made; the configuration and the layers of the image.
pub(super) fn squash(
    workshop: &Workshop<'_>,
    new: &NewImage<'_>,
    stand: &Stand,
    latest: Option<i64>,
) -> Result<(Value, Vec<Descriptor>)> {
    let mut document = stand.document.clone();
    let Some(image) = &stand.image else { return Ok((document, Vec::new())) };
    let (count, entries) = stand.begins_with;
    let mut layers = image.layers.clone();
    let own = layers.split_off(count);
    if own.len() < 2 {
        layers.extend(own);
        return Ok((document, layers));
    }
    let made = apart(|| {
        give_exact_modes();
        let here = workshop.mount(&stand.chain()[..count], "squash")?;
        for descriptor in &own {
            let digest = Digest::try_from(descriptor).map_err(bundle::layout::Error::from);
            let digest = digest.map_err(crate::store::Error::from)?;
            let blob = workshop.store.blob(&digest, descriptor.size())?;
            // Onto what is mounted: what a layer takes away is taken from the layers below, too.
            let limits = Limits::of_own();
            let options = Options { whiteouts: Whiteouts::Apply, limits, ..Options::default() };
            layer::unpack(blob, here.root.fd(), &options).map_err(|error| Error::Rejected {
                message: format!("cannot unpack layer {}: {error}", digest.short()),
                hint: error.hint(),
            })?;
        }
        let layer = workshop.pack(new, &here, latest)?;
        workshop.clear(here)?;
        Ok(layer)
    })?;
    if let Some(ids) = document["rootfs"]["diff_ids"].as_array_mut() {
        ids.truncate(count);
        ids.extend(made.iter().map(|(_, diff_id)| diff_id.to_string().into()));
    }
    for entry in document["history"].as_array_mut().into_iter().flatten().skip(entries) {
        entry["empty_layer"] = json!(true);
    }
    let created = latest.map_or_else(Timestamp::now, |seconds| Timestamp::from_unix(seconds, 0));
    let comment = format!("{} layers in one", own.len());
    note(&mut document, history(&created.to_string(), "", Some(&comment), made.is_none()));
    layers.extend(made.map(|(descriptor, _)| descriptor));
    Ok((document, layers))
}
