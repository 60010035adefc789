//! The command line, as it is typed.

use std::path::PathBuf;

use bundle::platform::Platform;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// The times that RFC 3339 has a form for: those of the years 0 to 9999, in seconds since 1970.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

/// Makes, checks, unpacks and packs OCI bundles and image layouts
///
/// A bundle is a directory with a `config.json` and a root file system: what a runtime such as nrun or runc starts. An image
/// layout is a directory with `index.json` and `blobs`: what registries and tools such as skopeo exchange.
#[derive(Debug, Parser)]
#[command(name = "nbundle", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_STATUS: &str =
    "Exit status: 0 done; 1 failed, or `check` found faults; 2 wrong command line.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a config.json to start from
    Spec(Spec),
    /// Report everything that is wrong with a bundle's config.json
    Check(Check),
    /// Unpack an image into a bundle that a runtime can start
    Unpack(Unpack),
    /// Pack a root file system into an image
    Pack(Pack),
    /// Make an image from a busybox binary or from a tarball
    Build(Build),
    /// List the images of a layout
    Ls(Ls),
    /// Print a script that completes command lines in a shell
    Completion(Completion),
}

#[derive(Debug, Args)]
pub(crate) struct Spec {
    /// The bundle's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    /// For a caller without root's privileges: a user namespace with root as the caller
    #[arg(long)]
    pub(crate) rootless: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The bundle's directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) bundle: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// The layout, and the image's name in it if it has several
    #[arg(long, value_name = "LAYOUT[:NAME]")]
    pub(crate) image: String,
    /// Which image of a multi-platform image, such as linux/arm64 [default: the best for this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// The bundle to make; a directory that is not there yet, or empty
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// For a caller without root's privileges: all files belong to the caller, device nodes are left out
    #[arg(long)]
    pub(crate) rootless: bool,
    /// Bytes that the image may become, if it is meant to be larger than the default allows
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_size: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The root file system
    #[arg(long, value_name = "DIR")]
    pub(crate) rootfs: PathBuf,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) config: Config,
    /// How the layer is compressed
    #[arg(long, value_enum, default_value_t = CompressionName::Gzip)]
    pub(crate) compression: CompressionName,
    /// Give all files to root
    #[arg(long)]
    pub(crate) root_owned: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) config: Config,
    /// The version of what the image is made from, to be written into it
    #[arg(long, value_name = "VERSION")]
    pub(crate) package_version: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Source {
    /// A statically linked busybox, with links for all its commands
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/bin/busybox")]
    pub(crate) from_busybox: Option<PathBuf>,
    /// The tarball of a root file system, plain or compressed, or `-` for stdin; it becomes the layer as it is, with gzip in the place of xz and bzip2
    #[arg(long, value_name = "FILE")]
    pub(crate) from_tar: Option<PathBuf>,
}

/// Where an image goes.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The image's name
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) tag: String,
    /// The image layout to put it into; made if it is not there
    #[arg(short, long, value_name = "DIR", required_unless_present = "archive")]
    pub(crate) output: Option<PathBuf>,
    /// An OCI archive to write it to instead, which is one file
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub(crate) archive: Option<PathBuf>,
    /// When the image was made, in seconds since 1970; files get this time too. Without it an image has no time, files keep theirs
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(FIRST..=LAST))]
    pub(crate) time: Option<i64>,
    /// An annotation of the manifest
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) annotation: Vec<(String, String)>,
}

/// What a container of the image runs.
#[derive(Debug, Default, Args)]
pub(crate) struct Config {
    /// The command, a word each time
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) cmd: Vec<String>,
    /// What the command is an argument of, a word each time
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) entrypoint: Vec<String>,
    /// An environment variable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// The working directory
    #[arg(long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// The user, and the group behind a colon
    #[arg(long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// A label
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// The image layout
    #[arg(value_name = "LAYOUT")]
    pub(crate) layout: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompressionName {
    Gzip,
    Zstd,
    None,
}

/// A name as the image specification has it (annotations.md, `org.opencontainers.image.ref.name`): others look for no other one.
fn name(text: &str) -> Result<String, String> {
    let single = text.replace("--", "-");
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if single.split(['-', '.', '_', ':', '@', '+', '/']).all(is_word) {
        return Ok(text.to_owned());
    }
    Err("a name is of letters and digits, with one of `-._:@+/` or `--` between them".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is not of the form KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use nconform::fixture::{check_manual, check_roff, manual_pages};

    use super::Cli;

    #[test]
    fn a_time_is_one_that_others_can_read() {
        let pack = |time| {
            let words =
                ["nbundle", "pack", "--rootfs", "r", "--tag", "x", "-o", "l", "--time", time];
            Cli::try_parse_from(words)
        };
        for time in ["-1", "0", "253402300799"] {
            pack(time).unwrap();
        }
        for time in ["999999999999", "253402300800", "-62167219201"] {
            let error = pack(time).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("is not in"), "{error}");
        }
    }

    #[test]
    fn manual_pages_match_the_command_line() {
        check_manual(Cli::command());
        check_roff(&manual_pages(Cli::command()));
    }
}
