//! What a container sees of the host: paths, named volumes, and directories of its own for the image's volumes.

use crate::bundle::Bind;
use crate::bundle::rootfs::Rootfs;
use crate::cli::{Volume, VolumeSource};
use crate::container::{Dir, make_private};
use crate::error::{Error, Result};
use crate::settings::Settings;
use oci_spec::image::ImageConfiguration;
use rustix::fs::{Gid, Mode, Uid};
use std::path::{Path, PathBuf};

/// The files about the network that every container sees.
const FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];

/// Every bind of a container: the files about its network, what `-v` asks for, and the image's volumes where `-v`
/// says nothing about them. Directories that have to be made are made.
pub fn binds(
    settings: &Settings,
    dir: &Dir,
    rootfs: &Rootfs,
    asked: &[Volume],
    image: &ImageConfiguration,
) -> Result<Vec<Bind>> {
    let of_image =
        image.config().as_ref().and_then(|config| config.volumes().clone()).unwrap_or_default();
    let of_image = of_image.into_iter().map(|target| Volume {
        source: VolumeSource::Anonymous,
        target,
        read_only: false,
        propagation: "rprivate".to_owned(),
    });
    let volumes: Vec<Volume> = asked
        .iter()
        .cloned()
        .chain(of_image.filter(|volume| !asked.iter().any(|asked| same_place(asked, volume))))
        .collect();
    let mut binds = Vec::new();
    for (at, volume) in volumes.iter().enumerate() {
        let source = source(settings, dir, rootfs, volume, at)?;
        binds.push(Bind {
            source,
            target: volume.target.clone(),
            read_only: volume.read_only,
            propagation: volume.propagation.clone(),
        });
    }
    for file in FILES {
        let target = format!("/etc/{file}");
        if !binds.iter().any(|bind| bind.target == target) {
            let propagation = "rprivate".to_owned();
            binds.push(Bind { source: dir.join(file), target, read_only: false, propagation });
        }
    }
    Ok(binds)
}

fn same_place(a: &Volume, b: &Volume) -> bool {
    let parts = |volume: &Volume| -> Vec<String> {
        volume.target.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    parts(a) == parts(b)
}

fn source(
    settings: &Settings,
    dir: &Dir,
    rootfs: &Rootfs,
    volume: &Volume,
    at: usize,
) -> Result<PathBuf> {
    match &volume.source {
        VolumeSource::Path(path) => std::fs::canonicalize(path).map_err(|error| Error::Rejected {
            message: format!(
                "cannot mount `{}` on `{}`: {}",
                path.display(),
                volume.target,
                crate::error::reason(&error)
            ),
            hint: Some(
                "a path of the host has to exist; give a name without `/` for a volume".to_owned(),
            ),
        }),
        VolumeSource::Named(name) => {
            let path = settings.volumes().join(name).join("_data");
            fill(&path, rootfs, &volume.target)?;
            Ok(path)
        }
        VolumeSource::Anonymous => {
            let path = dir.join("volumes").join(at.to_string());
            fill(&path, rootfs, &volume.target)?;
            Ok(path)
        }
    }
}

/// Makes a volume's directory, with the owner and the permissions that the image has there.
fn fill(path: &Path, rootfs: &Rootfs, target: &str) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(path);
    make_private(parent)?;
    std::fs::create_dir(path).map_err(Error::io("make", path))?;
    let (uid, gid, mode) = rootfs.ownership(target).unwrap_or((0, 0, 0o755));
    let change = || -> rustix::io::Result<()> {
        rustix::fs::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))
    };
    change().map_err(Error::io("set the owner of", path))
}
