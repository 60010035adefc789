//! `nbundle build`.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    process::Command,
};

use bundle::{
    image::{Builder, Busybox},
    layer::Limits,
};

use super::{
    Failure, Outcome,
    target::{Target, configure, plain_config},
};
use crate::cli;

pub(crate) fn run(args: cli::Build) -> Result<Outcome, Failure> {
    let cli::Build { source, target, config, package_version } = args;
    match (source.from_busybox, source.from_tar) {
        (Some(binary), _) => {
            let busybox = read_busybox(&binary, package_version)?;
            let target = Target::open(target)?;
            let time = target.time().unwrap_or_default();
            let builder = busybox.build(target.builder(), time, |c| configure(config, c))?;
            target.finish(builder)
        }
        (None, Some(tarball)) => {
            let archive = open(&tarball)?;
            let target = Target::open(target)?;
            let mut builder =
                from_tar(&target, archive, &tarball)?.config(configure(config, plain_config()));
            if let Some(version) = &package_version {
                builder = builder.annotation("org.opencontainers.image.version", version);
            }
            target.finish(builder)
        }
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

fn open(tarball: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if tarball.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let failed = |e: io::Error| Failure::file("open", tarball, &e);
    let file = File::open(tarball).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into())
            .with_hint("the command `pack` makes an image of a directory"));
    }
    Ok(Box::new(file))
}

fn from_tar<'t>(
    target: &'t Target,
    archive: impl Read + Send,
    tarball: &Path,
) -> Result<Builder<'t>, Failure> {
    let mut builder = target.builder();
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    builder.import(archive, &Limits::default(), &format!("nbundle build --from-tar {name}"))?;
    Ok(builder)
}

fn read_busybox(path: &Path, version: Option<String>) -> Result<Busybox, Failure> {
    let binary = fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
    Busybox::check_static(&binary).map_err(|why| {
        Failure::new(format!("`{}` cannot be used: {why}", path.display()))
            .with_hint("Debian has one in the package `busybox-static`")
    })?;
    let applets = list_applets(path)?;
    Ok(Busybox { binary, applets, version: version.or_else(|| own_version(path)) })
}

/// With their directories where the binary knows them, else bare.
fn list_applets(path: &Path) -> Result<Vec<String>, Failure> {
    for option in ["--list-full", "--list"] {
        let output =
            Command::new(path).arg(option).output().map_err(|e| Failure::file("run", path, &e))?;
        let names: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        if output.status.success() && !names.is_empty() {
            return Ok(names);
        }
    }
    Err(Failure::new(format!("`{}` does not list its commands: it is no busybox", path.display())))
}

/// `1.35.0` of the first line, `BusyBox v1.35.0 (Debian 1:1.35.0-4+b1) multi-call binary.`
fn own_version(path: &Path) -> Option<String> {
    let output = Command::new(path).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.strip_prefix("BusyBox v")?.split_whitespace().next()?;
    Some(version.to_owned())
}
