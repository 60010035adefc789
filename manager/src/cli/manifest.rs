//! `nman manifest ...`: lists of images for several platforms, and what registries have.

use super::TlsArgs;
use super::values::key_value;
use crate::registry::list::{Format, Traits};
use clap::{ArgAction, Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// How far registries are trusted, in Docker's words, too.
#[derive(Clone, Debug, Default, Args)]
pub struct ManifestTlsArgs {
    /// Do not verify the registry's certificate, and allow plain HTTP, as `--tls-verify=false` does
    #[arg(long)]
    pub insecure: bool,
    /// In ours.
    #[command(flatten)]
    pub tls: TlsArgs,
}

impl ManifestTlsArgs {
    /// Both taken together.
    #[must_use]
    pub fn tls(&self) -> TlsArgs {
        let mut tls = self.tls.clone();
        tls.tls_verify &= !self.insecure;
        tls
    }
}

/// `nman manifest inspect`
#[derive(Debug, Args)]
pub struct ManifestInspectArgs {
    /// Show each image of an index, with its platform
    #[arg(short, long)]
    pub verbose: bool,
    /// How far the registry is trusted.
    #[command(flatten)]
    pub tls: ManifestTlsArgs,
    /// List that is here, or image in a registry
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub manifest: String,
}

/// What a list says of an image.
#[derive(Clone, Debug, Default, Args)]
pub struct MemberArgs {
    /// Operating system that the image is for
    #[arg(long, value_name = "OS")]
    pub os: Option<String>,
    /// Architecture of the CPU that it is for
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Variant of that architecture
    #[arg(long, value_name = "VARIANT")]
    pub variant: Option<String>,
    /// Version of the operating system that it needs
    #[arg(long, value_name = "VERSION")]
    pub os_version: Option<String>,
    /// Features of the operating system that it needs
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    pub os_features: Vec<String>,
    /// Features of the CPU that it needs
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    pub features: Vec<String>,
    /// Annotation of its entry
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub annotation: Vec<(String, String)>,
}

impl MemberArgs {
    /// What is to be said.
    #[must_use]
    pub fn traits(&self) -> Traits {
        Traits {
            os: self.os.clone(),
            architecture: self.arch.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            features: self.features.clone(),
            annotations: self.annotation.clone(),
        }
    }
}

/// `nman manifest create`
#[derive(Debug, Args)]
pub struct ManifestCreateArgs {
    /// Add to the list, if there is one of this name
    #[arg(short, long)]
    pub amend: bool,
    /// Add all images of what is itself a list, not only that for this machine
    #[arg(long)]
    pub all: bool,
    /// Annotation of the list
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub annotation: Vec<(String, String)>,
    /// How far registries are trusted.
    #[command(flatten)]
    pub tls: ManifestTlsArgs,
    /// Name of the list
    #[arg(value_name = "LIST[:TAG]")]
    pub list: String,
    /// Images to add: here, or in a registry
    #[arg(value_name = "[docker://]IMAGE")]
    pub images: Vec<String>,
}

/// `nman manifest add`
#[derive(Debug, Args)]
pub struct ManifestAddArgs {
    /// Add all images of what is itself a list, not only that for this machine
    #[arg(long)]
    pub all: bool,
    /// What the list says of it.
    #[command(flatten)]
    pub member: MemberArgs,
    /// How far registries are trusted.
    #[command(flatten)]
    pub tls: ManifestTlsArgs,
    /// Name of the list
    #[arg(value_name = "LIST[:TAG]")]
    pub list: String,
    /// Images to add: here, or in a registry
    #[arg(required = true, value_name = "[docker://]IMAGE")]
    pub images: Vec<String>,
}

/// `nman manifest annotate`
#[derive(Debug, Args)]
pub struct ManifestAnnotateArgs {
    /// Annotate the list itself, and no image of it
    #[arg(long)]
    pub index: bool,
    /// What the list says of the image.
    #[command(flatten)]
    pub member: MemberArgs,
    /// How far registries are trusted.
    #[command(flatten)]
    pub tls: ManifestTlsArgs,
    /// Name of the list
    #[arg(value_name = "LIST[:TAG]")]
    pub list: String,
    /// Digest or name of the image
    #[arg(required_unless_present = "index", value_name = "DIGEST|IMAGE")]
    pub image: Option<String>,
}

/// `nman manifest remove`
#[derive(Debug, Args)]
pub struct ManifestRemoveArgs {
    /// How far registries are trusted.
    #[command(flatten)]
    pub tls: ManifestTlsArgs,
    /// Name of the list
    #[arg(value_name = "LIST[:TAG]")]
    pub list: String,
    /// Digest or name of the image
    #[arg(value_name = "DIGEST|IMAGE")]
    pub image: String,
}

/// `nman manifest push`
#[derive(Debug, Args)]
pub struct ManifestPushArgs {
    /// Push the images of the list with it
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub all: bool,
    /// Remove the list here once it is pushed
    #[arg(short, long, visible_alias = "rm")]
    pub purge: bool,
    /// Write the digest of what was pushed to this file
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
    /// Kind of list that is pushed [default: oci, or v2s2 if all its images are of that kind]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub format: Option<ListFormat>,
    /// Do not show how it gets on
    #[arg(short, long)]
    pub quiet: bool,
    /// How far registries are trusted.
    #[command(flatten)]
    pub tls: ManifestTlsArgs,
    /// Name of the list
    #[arg(value_name = "LIST[:TAG]")]
    pub list: String,
    /// Where it is pushed to [default: where its name says]
    #[arg(value_name = "[docker://]DESTINATION")]
    pub destination: Option<String>,
}

/// Kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Image index
    Oci,
    /// Docker's manifest list
    V2s2,
}

impl From<ListFormat> for Format {
    fn from(format: ListFormat) -> Self {
        match format {
            ListFormat::Oci => Self::Oci,
            ListFormat::V2s2 => Self::Docker,
        }
    }
}

/// `nman manifest ...`
#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    /// Make a list of images for several platforms
    Create(ManifestCreateArgs),
    /// Add images to a list
    Add(ManifestAddArgs),
    /// Change what a list says of an image
    Annotate(ManifestAnnotateArgs),
    /// Take an image out of a list
    Remove(ManifestRemoveArgs),
    /// Remove lists
    Rm {
        /// Names or ids of lists
        #[arg(required = true, value_name = "LIST[:TAG]")]
        lists: Vec<String>,
    },
    /// Say with the exit code whether there is a list of this name
    Exists {
        /// Name of the list
        #[arg(value_name = "LIST[:TAG]")]
        list: String,
    },
    /// Push a list to a registry, with its images
    Push(ManifestPushArgs),
    /// Show a list, or the manifest or the index that a registry has under a name, and pull nothing
    Inspect(ManifestInspectArgs),
}
