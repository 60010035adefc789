//! Options about limits.

use crate::cli::{CpuSet, Cpus, Memory};
use clap::Args;

/// What the container may use up.
#[derive(Clone, Debug, Default, Args)]
pub struct ResourceArgs {
    /// Limit memory, such as 512m
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Limit CPU time to this number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<Cpus>,
    /// Run on these CPUs only, such as 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<CpuSet>,
    /// Cgroup below which the container gets its own
    #[arg(long, value_name = "PATH", value_parser = cgroup_parent, default_value = "/nman")]
    pub cgroup_parent: String,
}

/// A path below the root of the cgroup tree, which nothing can lead out of (class F of the known attacks).
fn cgroup_parent(text: &str) -> Result<String, String> {
    let good = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    match text.strip_prefix('/') {
        Some(rest) if rest.split('/').all(good) => Ok(text.to_owned()),
        _ => Err("a cgroup is an absolute path of plain names".to_owned()),
    }
}
