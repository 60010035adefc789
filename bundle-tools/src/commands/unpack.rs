//! `nbundle unpack`.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use bundle::{
    digest::DiffId,
    generate,
    image::to_spec,
    layer::{self, Limits, Options, Whiteouts},
    layout::{Image, Layout},
};

use super::{Failure, Outcome, print, spec, warn};
use crate::cli;

pub(crate) fn run(args: &cli::Unpack) -> Result<Outcome, Failure> {
    let (layout, name) = split_reference(&args.image);
    let layout = Layout::open(layout)?;
    let image = layout.image(&layout.find(name)?, args.platform.as_ref())?;
    let target = Target::make(&args.bundle)?;
    let rootfs = target.rootfs()?;
    unpack_layers(&layout, &image, &rootfs, args)?;
    let spec = to_spec(&image.config, rootfs.as_fd(), spec::options(args.rootless))?;
    target.write_config(&generate::to_json(&spec))?;
    target.keep();
    print(format_args!(
        "unpacked `{}` into `{}`",
        image.descriptor.digest(),
        args.bundle.display()
    ))?;
    Ok(Outcome::Done)
}

fn unpack_layers(
    layout: &Layout,
    image: &Image,
    rootfs: &File,
    args: &cli::Unpack,
) -> Result<(), Failure> {
    let mut limits = Limits::default();
    if let Some(bytes) = args.max_size {
        // Who states a size has looked at the image.
        limits = Limits { bytes, ..Limits::of_own() };
    }
    let options = Options {
        whiteouts: Whiteouts::Apply,
        owners: !args.rootless,
        devices: !args.rootless,
        limits,
        ..Options::default()
    };
    for (layer, expected) in image.manifest.layers().iter().zip(&image.diff_ids) {
        let stats = layer::unpack(layout.blob(layer)?, rootfs.as_fd(), &options)?;
        check_diff_id(layer.digest().as_ref(), expected, &stats.diff_id)?;
        warn(&stats.ignored, stats.ignored_more);
    }
    Ok(())
}

fn check_diff_id(layer: &str, expected: &DiffId, got: &DiffId) -> Result<(), Failure> {
    if got == expected {
        return Ok(());
    }
    Err(Failure::new(format!(
        "layer `{layer}` has diff id `{got}` where its image expects `{expected}`"
    )))
}

/// The layout's path and the name in it. The first colon divides, as in skopeo's `oci:`.
fn split_reference(text: &str) -> (&Path, Option<&str>) {
    match text.split_once(':') {
        Some((path, name)) => (Path::new(path), Some(name)),
        None => (Path::new(text), None),
    }
}

/// The bundle in the making: taken away again if it is dropped before [`keep`](Self::keep).
struct Target {
    bundle: PathBuf,
    /// Whether the directory itself is ours.
    made: bool,
    kept: bool,
}

impl Target {
    fn make(bundle: &Path) -> Result<Self, Failure> {
        let made = match fs::create_dir(bundle) {
            Ok(()) => true,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let mut entries =
                    fs::read_dir(bundle).map_err(|e| Failure::file("read", bundle, &e))?;
                if entries.next().is_some() {
                    let message = format!("`{}` is not empty", bundle.display());
                    return Err(
                        Failure::new(message).with_hint("name a directory that is yet to be made")
                    );
                }
                false
            }
            Err(e) => return Err(Failure::file("make", bundle, &e)),
        };
        Ok(Self { bundle: bundle.to_owned(), made, kept: false })
    }

    fn rootfs(&self) -> Result<File, Failure> {
        let path = self.bundle.join("rootfs");
        fs::create_dir(&path)
            .and_then(|()| File::open(&path))
            .map_err(|e| Failure::file("make", &path, &e))
    }

    fn write_config(&self, json: &str) -> Result<(), Failure> {
        let path = self.bundle.join("config.json");
        fs::write(&path, json).map_err(|e| Failure::file("write", &path, &e))
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let _ = fs::remove_dir_all(self.bundle.join("rootfs"));
        let _ = fs::remove_file(self.bundle.join("config.json"));
        if self.made {
            let _ = fs::remove_dir(&self.bundle);
        }
    }
}
