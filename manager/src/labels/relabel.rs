//! Giving files the label of a container: what `z` and `Z` of a mount mean, and what its layers need.

use crate::container::{MountPoint, Record, Relabel};
use crate::error::{Error, Result};
use crate::passwd::resolve;
use crate::selinux::tree::{Place, has_label, place, tree};
use crate::selinux::{self, Labels};
use crate::snapshot::Prepared;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Directories of the host that are never a container's: with another label the host does not work any more. As Docker and Podman
/// have it, and so are the homes of [`homes`].
const OF_HOST: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// Labels what a mount shows, if it asks for it and the container has labels. `source` may be open as a path only.
///
/// # Errors
/// It is the host's, or a file cannot be labelled. Where file systems have no labels, nothing is done.
pub fn relabel(record: &Record, point: &MountPoint, source: &OwnedFd) -> Result<()> {
    let (Some(labels), Some(wish)) = (&record.selinux, point.relabel()) else { return Ok(()) };
    let shown = point.shown();
    let kept = places_of_host();
    if place(source).is_ok_and(|place| kept.contains(&place)) {
        return Err(Error::Rejected {
            message: format!("SELinux relabeling of {shown} is not allowed"),
            hint: Some(
                "mount a directory below it, or give `--security-opt label=disable` in place of z"
                    .to_owned(),
            ),
        });
    }
    let label = label_for(labels, wish);
    tree(source, &label, &kept, point.detail.non_recursive).map_err(|(path, errno)| {
        let place = if path.is_empty() { String::new() } else { format!("/{path}") };
        Error::system(format!("set the SELinux label of `{shown}{place}`"))(errno)
    })
}

fn label_for(labels: &Labels, wish: Relabel) -> String {
    match wish {
        Relabel::Shared => labels.shared(),
        Relabel::Private => labels.mount.clone(),
    }
}

/// The directories of the host.
fn places_of_host() -> Vec<Place> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let homes = homes(std::env::var_os("HOME"), std::env::var("SUDO_USER").ok(), &passwd);
    let paths = OF_HOST.iter().map(Path::new).chain(homes.iter().map(PathBuf::as_path));
    let stats = paths.filter_map(|path| rustix::fs::stat(path).ok());
    stats.map(|stat| (stat.st_dev, stat.st_ino)).collect()
}

/// The caller's home, and that of the user who has become root by sudo(8).
fn homes(own: Option<OsString>, sudo_user: Option<String>, passwd: &str) -> Vec<PathBuf> {
    let name = sudo_user.filter(|name| !name.is_empty());
    let theirs = name.and_then(|name| resolve(&name, passwd, "").ok());
    let theirs = theirs.map(|identity| PathBuf::from(identity.home));
    own.map(PathBuf::from).into_iter().chain(theirs).collect()
}

/// Labels the layers of a container that is to be confined: see [`label_layers`].
///
/// # Errors
/// A file cannot be labelled.
pub fn provide_layers(record: &Record, prepared: &Prepared) -> Result<()> {
    match &record.selinux {
        Some(labels) if !labels.process.is_empty() => label_layers(prepared),
        _ => Ok(()),
    }
}

/// Labels layers that are not labelled as the policy has it now: they were unpacked before SELinux was enabled, or somebody has
/// relabelled the disk since. That of its top is the last label that a layer gets, and says of all the others.
///
/// # Errors
/// A file cannot be labelled.
pub fn label_layers(prepared: &Prepared) -> Result<()> {
    let Some(label) = selinux::of_layers() else { return Ok(()) };
    for layer in prepared.lower.iter().chain(&prepared.data) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top =
            rustix::fs::open(layer, flags, Mode::empty()).map_err(Error::io("open", layer))?;
        if !has_label(top.as_fd(), &label) {
            tree(&top, &label, &[], true).map_err(|(path, errno)| {
                Error::system(format!("set the SELinux label of `{}/{path}`", layer.display()))(
                    errno,
                )
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selinux::tree::tests::{OURS, opened};
    use std::os::unix::fs::symlink;

    #[test]
    fn directories_of_the_host_are_known_by_any_path() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("/etc", &link).unwrap();
        for (path, expected) in [
            (Path::new("/"), true),
            (Path::new("/usr/../etc/"), true),
            (&link, true),
            (directory.path(), false),
            (Path::new("/etc/ssl"), false),
        ] {
            if path.exists() {
                let place = place(&opened(path)).unwrap();
                assert_eq!(places_of_host().contains(&place), expected, "{}", path.display());
            }
        }
    }

    #[test]
    fn the_homes_of_who_calls_and_of_who_has_called_sudo_are_the_hosts() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/users/ann:/bin/sh\n";
        let found = |own: Option<&str>, sudo_user: Option<&str>| {
            homes(own.map(OsString::from), sudo_user.map(str::to_owned), passwd)
        };
        assert_eq!(found(Some("/root"), None), [Path::new("/root")]);
        assert_eq!(found(Some("/root"), Some("ann")), ["/root", "/users/ann"].map(Path::new));
        assert_eq!(found(None, Some("ann")), [Path::new("/users/ann")]);
        for nobody in ["", "nosuch"] {
            assert!(found(None, Some(nobody)).is_empty(), "{nobody:?}");
        }
    }

    #[test]
    fn what_is_shared_and_what_is_private_have_other_labels() {
        let labels = Labels { process: String::new(), mount: OURS.to_owned() };
        assert_eq!(label_for(&labels, Relabel::Private), OURS);
        assert_eq!(label_for(&labels, Relabel::Shared), "system_u:object_r:nrt_file_t:s0");
    }
}
