//! `nconform validation`: the programs of the OCI runtime-tools validation suite.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use nconform::validation;

use super::ResultFile;

/// How the results are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A table for people, with what failed below it
    Text,
    /// JUnit XML, a test suite for each runtime
    Junit,
}

/// The arguments of `validation`.
#[derive(clap::Args)]
pub(crate) struct Validation {
    /// Where runtime-tools was built: it holds `runtimetest`, `rootfs-ARCH.tar.gz` and, up to two
    /// directories below, the programs `NAME.t`
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A runtime to test, by path or name; may be repeated [default: nrun, runc and crun, as far as
    /// they are installed]
    #[arg(long, value_name = "PATH")]
    runtime: Vec<PathBuf>,
    /// Run only the programs whose name contains this; may be repeated
    #[arg(long, value_name = "NAME")]
    filter: Vec<String>,
    /// How to write the results
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    report: Format,
    /// Write them to a file, and the table to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long a program may take, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

/// Runs the programs.
pub(crate) fn run(args: &Validation) -> Result<ExitCode, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the validation programs need root".to_owned());
    }
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|error| error.to_string());
    let directory = absolute(&args.dir)?;
    let mut programs = validation::programs(&directory)?;
    programs.retain(|program| {
        args.filter.is_empty() || args.filter.iter().any(|part| program.name.contains(part))
    });
    if programs.is_empty() {
        return Err(format!("no program has `{}` in its name", args.filter.join("` or `")));
    }
    let runtimes = super::contenders(&args.runtime)?;
    let file = args.output.as_deref().map(ResultFile::open).transpose()?;
    let limit = Duration::from_secs(args.timeout);
    let results = validation::run(&directory, &programs, &runtimes, limit, &super::progress);
    super::progress("");
    let report = match args.report {
        Format::Text => validation::text(&results),
        Format::Junit => validation::junit(&results),
    };
    if let Some(file) = file {
        file.write(&report)?;
        super::print(validation::text(&results))?;
    } else {
        super::print(report)?;
    }
    Ok(if results.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
