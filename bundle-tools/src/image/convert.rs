//! From an image's configuration to a runtime's, by the rules of the image specification:
//! <https://github.com/opencontainers/image-spec/blob/main/conversion.md>.
//!
//! Labels do not become annotations: an image would reach engines' control knobs with them (class L of the attack classes).

use std::{collections::HashMap, os::fd::BorrowedFd, path::PathBuf};

use oci_spec::{image::ImageConfiguration, runtime::Spec};

use super::user::{User, UserError};
use crate::generate;

const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why an image cannot become a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The image names a user that it does not have.
    #[error(transparent)]
    User(#[from] UserError),
    /// The working directory is not absolute.
    #[error("working directory `{0}` of the image is not an absolute path")]
    WorkingDirectory(String),
}

/// The configuration of a container of the image `config`, whose root file system is in `root` and is called `rootfs` in the bundle.
pub fn to_spec(
    config: &ImageConfiguration,
    root: BorrowedFd<'_>,
    options: generate::Options,
) -> Result<Spec, ConvertError> {
    let image = config.config().clone().unwrap_or_default();
    let mut spec = generate::spec(options);
    let user = User::find(image.user().as_deref().unwrap_or_default(), root)?;
    let cwd = match image.working_dir().as_deref() {
        None | Some("") => "/",
        Some(dir) if dir.starts_with('/') => dir,
        Some(dir) => return Err(ConvertError::WorkingDirectory(dir.to_owned())),
    };
    if let Some(process) = spec.process_mut() {
        let args: Vec<String> =
            image.entrypoint().iter().chain(image.cmd()).flatten().cloned().collect();
        if !args.is_empty() {
            process.set_args(Some(args));
        }
        process.set_env(Some(environment(image.env().as_deref().unwrap_or_default(), &user)));
        process.set_cwd(PathBuf::from(cwd));
        let ids = process.user_mut();
        ids.set_uid(user.uid);
        ids.set_gid(user.gid);
        if !user.additional_gids.is_empty() {
            ids.set_additional_gids(Some(user.additional_gids));
        }
    }
    if let Some(root) = spec.root_mut() {
        root.set_readonly(Some(false));
    }
    if let Some(signal) = image.stop_signal() {
        spec.set_annotations(Some(HashMap::from([(STOP_SIGNAL.to_owned(), signal.clone())])));
    }
    Ok(spec)
}

/// The image's variables, with the few that a shell takes for granted where the image says nothing.
fn environment(image: &[String], user: &User) -> Vec<String> {
    let has = |name: &str| image.iter().any(|v| v.split_once('=').is_some_and(|(n, _)| n == name));
    let mut env = Vec::new();
    if !has("PATH") {
        env.push(DEFAULT_PATH.to_owned());
    }
    env.extend_from_slice(image);
    if !has("TERM") {
        env.push("TERM=xterm".to_owned());
    }
    if !has("HOME") {
        env.push(format!("HOME={}", user.home.as_deref().unwrap_or("/")));
    }
    env
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsFd};

    use oci_spec::image::{ConfigBuilder, ImageConfigurationBuilder};

    use super::*;

    fn convert(config: oci_spec::image::Config) -> Result<Spec, ConvertError> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), "web:x:33:34::/srv:/bin/sh\n").unwrap();
        let config = ImageConfigurationBuilder::default().config(config).build().unwrap();
        let root = fs::File::open(dir.path()).unwrap();
        to_spec(&config, root.as_fd(), generate::Options::default())
    }

    #[test]
    fn command_environment_directory_and_user_are_the_images() {
        let config = ConfigBuilder::default()
            .entrypoint(vec!["/entry".to_owned()])
            .cmd(vec!["a".to_owned(), "b".to_owned()])
            .env(vec!["PATH=/x".to_owned(), "A=1=2".to_owned()])
            .working_dir("/srv")
            .user("web")
            .stop_signal("SIGQUIT")
            .labels(HashMap::from([("run.oci.handler".to_owned(), "evil".to_owned())]))
            .build()
            .unwrap();
        let spec = convert(config).unwrap();
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.args().as_ref().unwrap(), &["/entry", "a", "b"]);
        let env = process.env().as_ref().unwrap();
        assert_eq!(env, &["PATH=/x", "A=1=2", "TERM=xterm", "HOME=/srv"]);
        assert_eq!(process.cwd(), &PathBuf::from("/srv"));
        assert_eq!((process.user().uid(), process.user().gid()), (33, 34));
        let annotations = spec.annotations().clone().unwrap();
        assert_eq!(annotations, HashMap::from([(STOP_SIGNAL.to_owned(), "SIGQUIT".to_owned())]));
    }

    #[test]
    fn an_image_that_says_nothing_gets_what_a_shell_needs() {
        let spec = convert(oci_spec::image::Config::default()).unwrap();
        let env = spec.process().as_ref().unwrap().env().clone().unwrap();
        assert_eq!(env, [DEFAULT_PATH, "TERM=xterm", "HOME=/"]);
    }

    #[test]
    fn a_relative_working_directory_or_an_unknown_user_is_refused() {
        let relative = ConfigBuilder::default().working_dir("srv").build().unwrap();
        assert!(matches!(convert(relative), Err(ConvertError::WorkingDirectory(_))));
        let unknown = ConfigBuilder::default().user("nobody-here").build().unwrap();
        assert!(matches!(convert(unknown), Err(ConvertError::User(_))));
    }
}
