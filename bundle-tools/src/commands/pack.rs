//! `nbundle pack`.

use std::{fs::File, os::fd::AsFd};

use bundle::layer::{Compression, PackOptions};

use super::{
    Failure, Outcome,
    target::{Target, configure, plain_config},
};
use crate::cli::{self, CompressionName};

pub(crate) fn run(args: cli::Pack) -> Result<Outcome, Failure> {
    let rootfs = File::open(&args.rootfs).map_err(|e| Failure::file("open", &args.rootfs, &e))?;
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
