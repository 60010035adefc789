//! Options about what the container sees of the file system.

use crate::cli::Size;
use crate::cli::mounts;
use crate::container::MountPoint;
use clap::Args;

/// Volumes, mounts, and the root file system.
#[derive(Clone, Debug, Default, Args)]
pub struct StorageArgs {
    /// Mount a path of the host or a volume
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]", value_parser = volume)]
    pub volume: Vec<Typed>,
    /// Mount a path, a volume, an image or a file system in memory: type=bind,source=...,target=...
    #[arg(long, value_name = "OPTIONS", value_parser = mounts::mount)]
    pub mount: Vec<MountPoint>,
    /// Mount a file system in memory
    #[arg(long, value_name = "TARGET[:OPTIONS]", value_parser = mounts::tmpfs)]
    pub tmpfs: Vec<MountPoint>,
    /// Mount the volumes of another container
    #[arg(long, value_name = "CONTAINER[:ro|rw]")]
    pub volumes_from: Vec<String>,
    /// Driver of the volumes that are made: there is `local`
    #[arg(long, value_name = "DRIVER", value_parser = ["local"])]
    pub volume_driver: Option<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<Size>,
    /// Option of the storage: size=SIZE, on file systems with project quotas
    #[arg(long, value_name = "NAME=VALUE", value_parser = storage_option)]
    pub storage_opt: Vec<String>,
}

/// A `-v`, and how it was typed: that is what `inspect` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// With an absolute source.
    pub text: String,
    /// What it asks for.
    pub point: MountPoint,
}

fn volume(text: &str) -> Result<Typed, String> {
    let point = mounts::volume(text)?;
    let source = if point.source.is_empty() { &point.name } else { &point.source };
    let mut text = if source.is_empty() { String::new() } else { format!("{source}:") };
    text.push_str(&point.destination);
    if !point.mode.is_empty() {
        text.push_str(&format!(":{}", point.mode));
    }
    Ok(Typed { text, point })
}

/// Docker takes the one option `size`, where the backing file system has project quotas, which overlayfs here does not use.
fn storage_option(_: &str) -> Result<String, String> {
    Err("--storage-opt is supported only for overlay over xfs with 'pquota' mount option; a volume of type tmpfs has a size".to_owned())
}
