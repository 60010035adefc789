//! `nconform`: compares OCI runtimes, and finds what a test run left on the machine.

mod commands;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundle::layer::Compression;
use bundle::layout::Layout;
use bundle::reason::reason;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use nconform::bench::{self, FLOOR, Floor, compare, peak};
use nconform::contender::Contender;
use nconform::fixture::{find_binary, find_tool, write_large_image};
use nconform::leaks::Survey;
use nconform::managers;
use nconform::probe;

use commands::ResultFile;

/// Compare OCI runtimes, and find what a test run left behind.
#[derive(Parser)]
#[command(name = "nconform", version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 done, and nothing was found against a runtime that is judged; \
1 something was, or a runtime could not be tried at all; 2 wrong command line, or the machine lacks something. A benchmark is judged by no figure.";

#[derive(Subcommand)]
enum Command {
    /// Take runtimes through the conformance suite, side by side
    Run(commands::run::Run),
    /// Run the prebuilt programs of the OCI runtime-tools validation suite
    Validation(commands::validation::Validation),
    /// Measure runtimes side by side: time, memory and system calls
    Bench(Bench),
    /// Measure managers of containers side by side: starts, pulls, lists, logs and copies
    BenchNman(BenchNman),
    /// Try the attacks that have broken runtimes, against canaries in private namespaces
    Attack(commands::attack::Attack),
    /// Drive ctr, docker and podman on top of runtimes: what the first one passes, the others must pass
    Engines(commands::engines::Engines),
    /// List cgroups, mounts, processes, interfaces and directories of ours on this machine
    Leaks(Leaks),
    /// Write the image that pulls are measured with (8 layers, 25,000 files, 572 MB) into an OCI layout
    LargeImage(LargeImage),
    /// Print a script that completes command lines in a shell
    Completion {
        /// Which shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Serve a supervisor of the suite
    #[command(name = nconform::suite::WORKER, hide = true)]
    Worker(commands::run::Worker),
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
    /// How often each case is measured for each runtime; after a rest half as often, crowds of 16 a quarter of that, of 100 a tenth
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
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    if peak::is_meant(&name) {
        return peak::serve(&words.collect::<Vec<_>>());
    }
    if probe::is_meant(&name) {
        let answer = probe::answer(&words.collect::<Vec<_>>());
        return commands::print(format_args!("{answer}\n"))
            .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let result = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Validation(args) => commands::validation::run(&args),
        Command::Worker(args) => commands::run::worker(&args),
        Command::Bench(args) => bench(&args),
        Command::BenchNman(args) => bench_nman(&args),
        Command::Attack(args) => commands::attack::run(&args),
        Command::Engines(args) => commands::engines::drive(&args),
        Command::Leaks(args) => leaks(&args),
        Command::LargeImage(args) => large_image(&args),
        Command::Completion { shell } => completion(shell),
    };
    result.unwrap_or_else(|error| {
        commands::tell(&format!("nconform: {error}\n"));
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
    let svg = args.svg.as_deref().map(ResultFile::open).transpose()?;
    let json = args.json.as_deref().map(ResultFile::open).transpose()?;
    let report = compare(&contenders, &cases, args.runs.into(), &commands::progress);
    commands::progress("");
    commands::print(&report)?;
    if let Some(file) = svg {
        file.write(&report.chart())?;
    }
    if let Some(file) = json {
        file.write(&commands::json(&report))?;
    }
    // A bar does not decide it: most are on times, which the machine has a part in.
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
    let json = args.json.as_deref().map(ResultFile::open).transpose()?;
    let report = managers::compare(&plan, &commands::progress);
    commands::progress("");
    commands::print(&report)?;
    if let Some(file) = json {
        file.write(&commands::json(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The runtimes that were asked for, else those that are there; the floor last.
fn contenders(asked: &[PathBuf], floor: Result<&Floor, &String>) -> Result<Vec<Contender>, String> {
    if asked.is_empty() {
        let mut found = commands::contenders(&[])?;
        found.extend(floor.ok().map(Floor::contender).transpose()?);
        return Ok(found);
    }
    let mut found = Vec::new();
    for path in asked {
        if path == Path::new(FLOOR) {
            found.push(floor.map_err(Clone::clone)?.contender()?);
        } else {
            found.extend(commands::contenders(std::slice::from_ref(path))?);
        }
    }
    Contender::tell_apart(&mut found);
    Ok(found)
}

fn large_image(args: &LargeImage) -> Result<ExitCode, String> {
    let layout = Layout::create(&args.layout).map_err(|error| error.to_string())?;
    let compression = if args.zstd { Compression::Zstd } else { Compression::Gzip };
    let manifest = write_large_image(&layout, compression).map_err(|error| error.to_string())?;
    commands::print(format_args!("{}\n", manifest.digest()))?;
    Ok(ExitCode::SUCCESS)
}

fn completion(shell: Shell) -> Result<ExitCode, String> {
    // The generators would offer hidden commands as well.
    let all = Cli::command();
    let visible = all.get_subcommands().filter(|command| !command.is_hide_set());
    let mut root = clap::Command::new("nconform").version("").subcommands(visible);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut root, "nconform", &mut script);
    commands::print(String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

fn leaks(args: &Leaks) -> Result<ExitCode, String> {
    let now = Survey::take();
    if let Some(file) = &args.save {
        ResultFile::open(file)?.write(&commands::json(&now))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(file) = &args.since else {
        commands::print(&now)?;
        return Ok(ExitCode::SUCCESS);
    };
    let failed = |why: String| format!("cannot read `{}`: {why}", file.display());
    let text = std::fs::read(file).map_err(|error| failed(reason(&error)))?;
    let before: Survey =
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let left = now.since(&before);
    commands::print(&left)?;
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nconform::fixture::{check_manual, check_roff, manual_pages};

    #[test]
    fn manual_pages_match_the_command_line() {
        check_manual(Cli::command());
        check_roff(&manual_pages(Cli::command()));
    }
}
