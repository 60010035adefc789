//! `nconform run`: runtimes through the conformance suite.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use nconform::fixture::BUSYBOX;
use nconform::suite::{self, Mode, Order, Plan, Results, TOPICS};

use super::ResultFile;

/// How the results are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A table for people, with what failed below it
    Text,
    /// TAP version 14, a subtest for each runtime
    Tap,
    /// JUnit XML, a test suite for each runtime
    Junit,
    /// JSON
    Json,
    /// A page for a browser that needs no other file
    Html,
}

/// The arguments of `run`.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// A runtime to test, by path or name; may be repeated [default: nrun, runc and crun, as far as
    /// they are installed]
    #[arg(long, value_name = "PATH")]
    runtime: Vec<PathBuf>,
    /// Have systemd make the cgroups: pass `--systemd-cgroup`
    #[arg(long)]
    systemd: bool,
    /// Run the runtimes as an ordinary user
    #[arg(long)]
    rootless: bool,
    /// Run only a topic, or the cases with this in `TOPIC: NAME`; may be repeated
    #[arg(long, value_name = "TOPIC")]
    filter: Vec<String>,
    /// How to write the results
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    report: Format,
    /// Write them to a file, and the table to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long a case may take, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Test one runtime after the other rather than all at once
    #[arg(long)]
    serial: bool,
    /// List the topics and cases that would be run, and run none
    #[arg(long)]
    list: bool,
}

/// The arguments of a worker.
#[derive(clap::Args)]
pub(crate) struct Worker {
    #[arg(long)]
    runtime: PathBuf,
    #[arg(long)]
    limit: u64,
    #[arg(long)]
    systemd: bool,
    #[arg(long)]
    rootless: bool,
}

/// Runs the suite.
pub(crate) fn run(args: &Run) -> Result<ExitCode, String> {
    let cases = suite::select(&args.filter)?;
    let mode = Mode { systemd: args.systemd, rootless: args.rootless };
    if args.list {
        let listed = list(&cases, mode);
        if listed.is_empty() {
            return Err("each of these cases needs root, or another driver (`--systemd`)".into());
        }
        super::print(listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.rootless && !rustix::process::geteuid().is_root() {
        return Err("the suite makes namespaces, mounts and cgroups and needs root; `--rootless` \
                    runs the part that an ordinary user can run"
            .to_owned());
    }
    if args.systemd && !suite::Facts::probe().systemd() {
        return Err("systemd does not manage this host, so that it can make no cgroups".to_owned());
    }
    if !Path::new(BUSYBOX).is_file() {
        let missing =
            format!("`{BUSYBOX}` is missing: containers are made of it; install busybox-static");
        return Err(missing);
    }
    let plan = Plan {
        contenders: super::contenders(&args.runtime)?,
        mode,
        cases,
        limit: Duration::from_secs(args.timeout),
        serial: args.serial,
    };
    let file = args.output.as_deref().map(ResultFile::open).transpose()?;
    let results = suite::run(&plan, &super::progress)?;
    super::progress("");
    let report = render(args.report, &results);
    if let Some(file) = file {
        file.write(&report)?;
        super::print(suite::report::text(&results))?;
    } else {
        super::print(report)?;
    }
    Ok(if results.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Serves a supervisor.
pub(crate) fn worker(args: &Worker) -> Result<ExitCode, String> {
    let order = Order {
        program: args.runtime.clone(),
        mode: Mode { systemd: args.systemd, rootless: args.rootless },
        limit: Duration::from_secs(args.limit),
    };
    suite::serve(&order)?;
    Ok(ExitCode::SUCCESS)
}

fn render(format: Format, results: &Results) -> String {
    match format {
        Format::Text => suite::report::text(results),
        Format::Tap => suite::report::tap(results),
        Format::Junit => suite::report::junit(results),
        Format::Json => suite::report::json(results),
        Format::Html => suite::report::html(results),
    }
}

/// Topics with their section, and below each its cases that say something of a runtime that is run so.
fn list(selected: &[usize], mode: Mode) -> String {
    let mut text = String::new();
    let mut number = 0;
    for topic in TOPICS {
        let mut lines = String::new();
        for case in topic.cases {
            if selected.contains(&number) && case.unfit(mode).is_none() {
                lines += &format!("  {}\n", case.name);
            }
            number += 1;
        }
        if !lines.is_empty() {
            text += &format!("{}: {} ({})\n{lines}", topic.name, topic.title, topic.section);
        }
    }
    text
}
