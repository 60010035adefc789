//! Commands for the files of a container.

use clap::{ArgAction, Args};
use std::path::PathBuf;

/// `nman commit`
#[derive(Debug, Args)]
pub struct CommitArgs {
    /// Author, such as "Jo Doe <jo@example.org>"
    #[arg(short, long, value_name = "AUTHOR")]
    pub author: Option<String>,
    /// Apply a line of a Dockerfile to the image (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, USER, VOLUME, WORKDIR, ...)
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// Message for the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Pause the container meanwhile
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub pause: bool,
    /// Do not pause the container
    #[arg(long)]
    pub no_pause: bool,
    /// Name or id of the container
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

/// `nman diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// `nman export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// File to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// `nman cp`
#[derive(Debug, Args)]
#[command(
    override_usage = "nman cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       nman cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
)]
pub struct CpArgs {
    /// Keep the owners of the files
    #[arg(short, long)]
    pub archive: bool,
    /// Copy what a symlink points to, if SRC_PATH is one
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Do not say how much was copied, as it is never said where stdout is no terminal, unless this is false
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub quiet: Option<bool>,
    /// What is copied: CONTAINER:PATH, a path here, or `-` for a tar archive on stdin
    #[arg(value_name = "SRC_PATH")]
    pub source: String,
    /// Where it goes: CONTAINER:PATH, a path here, or `-` for a tar archive on stdout
    #[arg(value_name = "DEST_PATH")]
    pub target: String,
}
