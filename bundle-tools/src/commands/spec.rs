//! `nbundle spec`.

use std::{fs::File, io::Write};

use bundle::generate;

use super::{Failure, Outcome};
use crate::cli;

pub(crate) fn run(args: &cli::Spec) -> Result<Outcome, Failure> {
    let path = args.bundle.join("config.json");
    // Never over one that is there.
    let mut file = File::create_new(&path).map_err(|e| Failure::file("make", &path, &e))?;
    let json = generate::to_json(&generate::spec(options(args.rootless)));
    file.write_all(json.as_bytes()).map_err(|e| Failure::file("write", &path, &e))?;
    Ok(Outcome::Done)
}

/// What a configuration for this caller on this host needs.
pub(super) fn options(rootless: bool) -> generate::Options {
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    generate::Options { rootless: rootless.then_some(ids), cgroup_namespace: has_cgroup_v2_alone() }
}

fn has_cgroup_v2_alone() -> bool {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC)
}
