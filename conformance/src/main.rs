//! `nconform`: compares OCI runtimes, and finds what a test run left on the machine.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the program's only place that prints"
)]

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundle::layer::Compression;
use bundle::layout::Layout;
use clap::{Parser, Subcommand};
use nconform::bench::{self, Contender, FLOOR, Floor, compare};
use nconform::engines;
use nconform::fixture::{find_binary, find_tool, write_large_image};
use nconform::leaks::Survey;
use nconform::managers;

/// How long all engines may take.
const ENGINES_LIMIT: std::time::Duration = std::time::Duration::from_secs(900);

/// Compare OCI runtimes, and find what a test run left behind.
#[derive(Parser)]
#[command(name = "nconform", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure runtimes side by side: time, memory and system calls
    Bench(Bench),
    /// Measure managers of containers side by side: starts, pulls, lists, logs and copies
    BenchNman(BenchNman),
    /// Drive ctr, docker and podman on top of runtimes: what the first one passes, the others must pass
    Engines(Engines),
    /// List cgroups, mounts, processes, interfaces and directories of ours on this machine
    Leaks(Leaks),
    /// Write the image that pulls are measured with (8 layers, 25,000 files, 572 MB) into an OCI layout
    LargeImage(LargeImage),
}

#[derive(clap::Args)]
struct LargeImage {
    /// Compress the layers with zstd rather than gzip
    #[arg(long)]
    zstd: bool,
    /// The layout; in it the image is called `large`
    #[arg(value_name = "DIR")]
    layout: PathBuf,
}

#[derive(clap::Args)]
struct Bench {
    /// A runtime to measure, by path or name; may be repeated. `floor` is bench/floor.c, what the kernel itself costs
    /// [default: nrun, runc and crun, as far as they are installed, and floor where a C compiler is]
    #[arg(long, value_name = "PATH")]
    runtime: Vec<PathBuf>,
    /// How often each case is measured for each runtime; crowds of 16 a quarter of that, of 100 a tenth
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Measure only this; may be repeated
    #[arg(long, value_enum, value_name = "CASE")]
    case: Vec<bench::Case>,
    /// Write a bar chart of the medians of CPU time to a file as SVG, too
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the results to a file as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Engines {
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
    report: ReportFormat,
    /// What the names of cgroups begin with: given by the process that contains this one
    #[arg(long, hide = true, value_name = "NAME")]
    inside: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    /// Tables
    Text,
    /// JUnit's XML
    Junit,
    /// JSON
    Json,
}

#[derive(clap::Args)]
struct BenchNman {
    /// How often each short case is measured; pulls and what moves a gigabyte are a tenth of that
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Measure only this; may be repeated
    #[arg(long, value_enum, value_name = "CASE")]
    case: Vec<managers::Case>,
    /// How many bytes a log and a copied file have
    #[arg(long, default_value_t = 1_000_000_000, value_name = "BYTES")]
    bytes: u64,
    /// Write the results to a file as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Leaks {
    /// Write what is there to a file, for a later `--since`
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    save: Option<PathBuf>,
    /// List only what was not there when the file was saved; exit with 1 if there is something
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Bench(args) => bench(&args),
        Command::BenchNman(args) => bench_nman(&args),
        Command::Engines(args) => drive_engines(&args),
        Command::Leaks(args) => leaks(&args),
        Command::LargeImage(args) => large_image(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("nconform: {error}");
        ExitCode::from(2)
    })
}

fn bench(args: &Bench) -> Result<ExitCode, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("a benchmark of runtimes needs root".to_owned());
    }
    if find_tool("strace").is_none() || find_tool("busybox").is_none() {
        return Err("strace or busybox is missing: `make deps-bench` installs them".to_owned());
    }
    let floor = Floor::build();
    let contenders = contenders(&args.runtime, floor.as_ref())?;
    let cases = if args.case.is_empty() { bench::Case::ALL.to_vec() } else { args.case.clone() };
    let report = compare(&contenders, &cases, args.runs.into(), &progress);
    progress("");
    print!("{report}");
    if let Some(file) = &args.svg {
        std::fs::write(file, report.chart())
            .map_err(|error| format!("cannot write `{}`: {error}", file.display()))?;
    }
    if let Some(file) = &args.json {
        write_json(file, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn drive_engines(args: &Engines) -> Result<ExitCode, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("engines and their daemons need root".to_owned());
    }
    let kinds = [managers::Kind::Ctr, managers::Kind::Docker, managers::Kind::Podman];
    let asked = |kind: &managers::Kind| {
        args.engine.is_empty() || args.engine.iter().any(|name| name == kind.name())
    };
    let engines: Vec<managers::Kind> = kinds.into_iter().filter(asked).collect();
    let missing = engines::missing(&engines);
    if !missing.is_empty() {
        return Err(format!("missing: {}: `make deps-engines` installs them", missing.join(", ")));
    }
    let default = [PathBuf::from("runc"), find_binary("nrun").unwrap_or_else(|_| "nrun".into())];
    let paths = if args.runtime.is_empty() { &default[..] } else { &args.runtime };
    let runtimes: Vec<Contender> =
        paths.iter().map(|path| probe(path)).collect::<Result<_, _>>()?;
    let Some(name) = args.inside.clone() else {
        let own = std::env::args_os().skip(1).chain(["--inside".into()]).collect::<Vec<_>>();
        let status = engines::contain(&own, ENGINES_LIMIT)?;
        return Ok(ExitCode::from(
            status.code().and_then(|code| code.try_into().ok()).unwrap_or(2),
        ));
    };
    let plan = engines::Plan { runtimes, engines, filter: args.filter.clone(), name };
    let report = engines::drive(&plan, &progress);
    progress("");
    match args.report {
        ReportFormat::Text => print!("{report}"),
        ReportFormat::Junit => print!("{}", report.junit()),
        ReportFormat::Json => {
            println!("{}", serde_json::to_string_pretty(&report).expect("plain data serialises"));
        }
    }
    Ok(if report.faults() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says on a terminal what is being measured.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

fn bench_nman(args: &BenchNman) -> Result<ExitCode, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("a benchmark of managers needs root".to_owned());
    }
    let missing = ["docker-registry", "skopeo", "busybox", "setpriv"];
    if let Some(name) = missing.into_iter().find(|name| find_tool(name).is_none()) {
        return Err(format!("`{name}` is missing: `make deps-bench-nman` installs it"));
    }
    let ours = |name: &str| {
        find_binary(name).or_else(|path| find_tool(name).ok_or(path)).map_err(|path| {
            format!("`{}` is missing: build it with `cargo build --bin {name}`", path.display())
        })
    };
    let all = || managers::Case::ALL.to_vec();
    let plan = managers::Plan {
        nman: ours("nman")?,
        runtime: ours("nrun")?,
        runs: args.runs.into(),
        cases: if args.case.is_empty() { all() } else { args.case.clone() },
        bytes: args.bytes,
    };
    let report = managers::compare(&plan, &progress);
    progress("");
    print!("{report}");
    if let Some(file) = &args.json {
        write_json(file, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The runtimes that were asked for, else those that are there; the floor last.
fn contenders(asked: &[PathBuf], floor: Result<&Floor, &String>) -> Result<Vec<Contender>, String> {
    if asked.is_empty() {
        let ours = find_binary("nrun").ok().or_else(|| find_tool("nrun"));
        let peers = ["runc", "crun"].into_iter().filter_map(find_tool);
        let found = ours.into_iter().chain(peers).map(|path| Contender::probe(&path));
        let floor = floor.into_iter().map(Floor::contender);
        return found.chain(floor).collect();
    }
    let resolve = |path: &PathBuf| match path == Path::new(FLOOR) {
        true => floor.map_err(Clone::clone)?.contender(),
        false => probe(path),
    };
    asked.iter().map(resolve).collect()
}

/// A runtime by path, or by the name of an installed program.
fn probe(path: &Path) -> Result<Contender, String> {
    let by_name = path.components().count() == 1;
    let installed = if by_name { find_tool(&path.to_string_lossy()) } else { None };
    let path = installed.unwrap_or_else(|| path.to_owned());
    // Engines are given the path, and have other working directories.
    Contender::probe(&std::path::absolute(&path).unwrap_or(path))
}

fn large_image(args: &LargeImage) -> Result<ExitCode, String> {
    let layout = Layout::create(&args.layout).map_err(|error| error.to_string())?;
    let compression = if args.zstd { Compression::Zstd } else { Compression::Gzip };
    let manifest = write_large_image(&layout, compression).map_err(|error| error.to_string())?;
    println!("{}", manifest.digest());
    Ok(ExitCode::SUCCESS)
}

fn leaks(args: &Leaks) -> Result<ExitCode, String> {
    let now = Survey::take();
    if let Some(file) = &args.save {
        write_json(file, &now)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(file) = &args.since else {
        print!("{now}");
        return Ok(ExitCode::SUCCESS);
    };
    let failed = |why: String| format!("cannot read `{}`: {why}", file.display());
    let text = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    let before: Survey =
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let left = now.since(&before);
    print!("{left}");
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_json(file: &Path, value: &impl serde::Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).expect("plain data always serialises");
    std::fs::write(file, text + "\n")
        .map_err(|error| format!("cannot write `{}`: {error}", file.display()))
}
