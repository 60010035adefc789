//! `nbundle pack`.

use std::os::fd::AsFd;

use bundle::layer::{Compression, PackOptions};
use rustix::fs::{Mode, OFlags};

use super::{
    Failure, Outcome,
    target::{Target, configure, plain_config},
};
use crate::cli::{self, CompressionName};

pub(crate) fn run(args: cli::Pack) -> Result<Outcome, Failure> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let rootfs = rustix::fs::open(&args.rootfs, flags, Mode::empty())
        .map_err(|errno| Failure::file("open", &args.rootfs, &errno.into()))?;
    let target = Target::open(args.target)?;
    let options = PackOptions {
        mtime: target.time(),
        owner: args.root_owned.then_some((0, 0)),
        ..PackOptions::default()
    };
    let mut builder = target.builder().config(configure(args.config, plain_config()));
    builder.pack(rootfs.as_fd(), &options, compression(args.compression), "nbundle pack")?;
    target.finish(builder)
}

fn compression(name: CompressionName) -> Compression {
    match name {
        CompressionName::Gzip => Compression::Gzip,
        CompressionName::Zstd => Compression::Zstd,
        CompressionName::None => Compression::Plain,
    }
}
