//! Commands that speak with registries.

use super::{RegistryArgs, TlsArgs};
use crate::registry::Platform;
use clap::Args;

/// `nman pull`
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Pull all tags of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// Say nothing but the image's full name
    #[arg(short, long)]
    pub quiet: bool,
    /// Accepted for compatibility: no signatures of that kind are looked at
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_content_trust: Option<bool>,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub image: String,
}

/// `nman push`
#[derive(Clone, Debug, Default, Args)]
pub struct PushArgs {
    /// Push all tags of the repository that are here
    #[arg(short, long)]
    pub all_tags: bool,
    /// Say nothing but the image's full name
    #[arg(short, long)]
    pub quiet: bool,
    /// Accepted for compatibility: no signatures of that kind are made
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_content_trust: Option<bool>,
    /// Refuse an image that is for another platform; of a list, take that for this one
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
    /// How far the registry is trusted.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Image
    #[arg(value_name = "NAME[:TAG]")]
    pub image: String,
}

/// `nman login`
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// User name
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Password or personal access token
    #[arg(short, long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Take the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// How far the registry is trusted.
    #[command(flatten)]
    pub registry: TlsArgs,
    /// Registry [default: Docker Hub]
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,
}

/// `nman logout`
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Registry [default: Docker Hub]
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,
}
