//! `nconform engines`: ctr, docker and podman on top of runtimes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nconform::engines;
use nconform::managers::Kind;

/// How long all engines may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The arguments of `engines`.
#[derive(clap::Args)]
pub(crate) struct Engines {
    /// A runtime, by path or name; may be repeated, and the first is the yardstick [default: runc and nrun]
    #[arg(long, value_name = "PATH")]
    runtime: Vec<PathBuf>,
    /// Only this engine; may be repeated
    #[arg(long, value_name = "NAME", value_parser = ["ctr", "docker", "podman"])]
    engine: Vec<String>,
    /// Only operations whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// What is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    report: Format,
    /// What the names of cgroups begin with: given by the process that contains this one
    #[arg(long, hide = true, value_name = "NAME")]
    inside: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Tables
    Text,
    /// JUnit's XML
    Junit,
    /// JSON
    Json,
}

/// Drives the engines; from the outside, starts the process that does.
pub(crate) fn drive(args: &Engines) -> Result<ExitCode, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("engines and their daemons need root".to_owned());
    }
    let asked =
        |kind: &Kind| args.engine.is_empty() || args.engine.iter().any(|name| name == kind.name());
    let engines: Vec<Kind> =
        [Kind::Ctr, Kind::Docker, Kind::Podman].into_iter().filter(asked).collect();
    let missing = engines::missing(&engines);
    if !missing.is_empty() {
        return Err(format!("missing: {}: `make deps-engines` installs them", missing.join(", ")));
    }
    let default = ["runc", "nrun"].map(PathBuf::from);
    let paths = if args.runtime.is_empty() { &default[..] } else { &args.runtime };
    let runtimes = super::contenders(paths)?;
    let Some(name) = args.inside.clone() else {
        let own: Vec<OsString> = std::env::args_os().skip(1).chain(["--inside".into()]).collect();
        let status = engines::contain(&own, LIMIT)?;
        return Ok(ExitCode::from(
            status.code().and_then(|code| code.try_into().ok()).unwrap_or(2),
        ));
    };
    let plan = engines::Plan { runtimes, engines, filter: args.filter.clone(), name };
    let report = engines::drive(&plan, &super::progress);
    super::progress("");
    match args.report {
        Format::Text => super::print(&report)?,
        Format::Junit => super::print(report.junit())?,
        Format::Json => super::print(super::json(&report))?,
    }
    Ok(if report.faults() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
