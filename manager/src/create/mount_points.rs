//! What is mounted in a container: what its command line asks for, its image's volumes, and what other containers have.

use super::record::{Wish, last_of_each};
use crate::container::{Containers, Detail, MountKind, MountPoint, Record};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::volume::VolumeName;

impl Wish<'_> {
    /// What the command line mounts, and the image's volumes where it mounts nothing.
    pub(super) fn mounts(&self, settings: &Settings) -> Result<Vec<MountPoint>> {
        let storage = &self.args.storage;
        let mut mounts: Vec<MountPoint> = Vec::new();
        let typed = storage.volume.iter().map(|typed| &typed.point);
        let tmpfs = last_of_each(&storage.tmpfs, |point| &point.destination);
        for point in typed.chain(&storage.mount).chain(&tmpfs) {
            if mounts.iter().any(|known| known.destination == point.destination) {
                return Err(Error::Usage(format!("Duplicate mount point: {}", point.destination)));
            }
            mounts.push(point.clone());
        }
        let of_image =
            self.image.config.config().as_ref().and_then(|config| config.volumes().clone());
        for text in of_image.into_iter().flatten() {
            // It is the image's text, so that it is cleaned and may be wrong.
            let Ok(mut point) = crate::cli::mounts::volume(&text) else {
                return Err(Error::Rejected {
                    message: format!("the image has a bad volume: '{text}'"),
                    hint: None,
                });
            };
            if point.kind != MountKind::Volume || !point.name.is_empty() {
                return Err(Error::Rejected {
                    message: format!("the image has a bad volume: '{text}'"),
                    hint: None,
                });
            }
            point.detail = Detail::default();
            if !mounts.iter().any(|known| known.destination == point.destination) {
                mounts.push(point);
            }
        }
        for point in mounts.iter_mut().filter(|point| point.kind == MountKind::Volume) {
            if point.name.is_empty() {
                point.name = VolumeName::random().to_string();
                point.detail.anonymous = true;
            }
            let data = settings.volumes().join(&point.name).join("_data");
            point.source = data.display().to_string();
        }
        Ok(mounts)
    }
}

/// Puts in what the records of other containers say: the volumes of `--volumes-from`, and the ids of those whose namespaces
/// are joined.
pub(crate) fn resolve_references(containers: &Containers, record: &mut Record) -> Result<()> {
    let mut inherited: Vec<MountPoint> = Vec::new();
    for text in &record.host_config.volumes_from {
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        if !matches!(mode, "" | "ro" | "rw" | "z" | "Z") {
            return Err(Error::Usage(format!(
                "invalid mode: {mode} of --volumes-from {text}, it is ro or rw"
            )));
        }
        for mut point in containers.find(name)?.record()?.mounts {
            if point.kind == MountKind::Image || point.kind == MountKind::Tmpfs {
                continue;
            }
            point.writable &= mode != "ro";
            // Its files have the label that the donor has given them. To take them for this container alone has to be asked for.
            match mode {
                "z" | "Z" => mode.clone_into(&mut point.mode),
                _ => point.forget_relabel(),
            }
            inherited.retain(|known| known.destination != point.destination);
            inherited.push(point);
        }
    }
    // A mount of the container's own comes before one that it inherits; an anonymous one of the image gives way.
    let of_image = |point: &MountPoint, record: &Record| {
        point.detail.anonymous && !record.host_config.volumes_from.is_empty()
    };
    let own = std::mem::take(&mut record.mounts);
    for point in own {
        let same = |known: &MountPoint| known.destination == point.destination;
        if of_image(&point, record) && inherited.iter().any(same) {
            continue;
        }
        inherited.retain(|known| !same(known));
        record.mounts.push(point);
    }
    record.mounts.extend(inherited);
    for mode in [&mut record.host_config.pid_mode, &mut record.host_config.ipc_mode] {
        if let Some(name) = mode.strip_prefix("container:") {
            *mode = format!("container:{}", containers.find(name)?.record()?.id);
        }
    }
    Ok(())
}
