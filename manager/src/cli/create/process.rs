//! Options about the process and how it sees itself.

use crate::cli::values::key_value;
use crate::cli::variable;
use clap::Args;
use std::path::PathBuf;

/// What runs, as whom, and with which environment.
#[derive(Clone, Debug, Default, Args)]
pub struct ProcessArgs {
    /// Set an environment variable, or pass on one of ours
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = variable)]
    pub env: Vec<(String, Option<String>)>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Further groups of the process: names of the image, or numbers
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Replace the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Host name of the container
    #[arg(short = 'h', long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,
    /// NIS domain name of the container
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub domainname: Option<String>,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = label)]
    pub label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<PathBuf>,
    /// Set an annotation, which the runtime reads
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation)]
    pub annotation: Vec<(String, String)>,
}

fn hostname(text: &str) -> Result<String, String> {
    let good = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    if text.len() <= 64 && text.split('.').all(good) {
        Ok(text.to_owned())
    } else {
        Err("a host name is made of letters, digits, `-` and `.`, 64 characters at most".to_owned())
    }
}

fn label(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid label '{text}': empty name"));
    }
    Ok(text.to_owned())
}

fn annotation(text: &str) -> Result<(String, String), String> {
    key_value(text).map_err(|_| "an annotation is KEY=VALUE".to_owned())
}
