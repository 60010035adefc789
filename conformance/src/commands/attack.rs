//! `nconform attack`: what has broken runtimes, tried on runtimes.

use std::path::PathBuf;
use std::process::ExitCode;

use nconform::attack;
use nconform::fixture::find_tool;

/// The arguments of `attack`.
#[derive(clap::Args)]
pub(crate) struct Attack {
    /// A runtime to attack, by path or name; may be repeated, and the first decides the exit status [default: nrun, runc and
    /// crun, as far as they are installed]
    #[arg(long, value_name = "PATH")]
    runtime: Vec<PathBuf>,
    /// Only the attacks of a class, by its letter, or those whose name contains this
    #[arg(long, value_name = "CLASS", default_value = "")]
    filter: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Attacks; fails when an attack on the first runtime works, or none could be tried.
pub(crate) fn run(args: &Attack) -> Result<ExitCode, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("attacks are tried as root, in private namespaces".to_owned());
    }
    if find_tool("busybox").is_none() {
        return Err("busybox is missing: containers are made of it; install busybox-static".into());
    }
    let contenders = super::contenders(&args.runtime)?;
    let report = attack::attack(&contenders, &args.filter, &super::progress);
    super::progress("");
    if report.is_empty() {
        return Err(format!("no attack is of a class or has a name like `{}`", args.filter));
    }
    if args.json {
        super::print(super::json(&report))?;
    } else {
        super::print(&report)?;
    }
    // What could not be tried has shown nothing.
    let withstood = report.broken(0) == 0 && report.safe(0) > 0;
    Ok(if withstood { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
