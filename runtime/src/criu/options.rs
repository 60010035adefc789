//! What the command line asks of criu, and the directories that it works in.

use super::rpc::{CgroupMode, Options, field};
use crate::cli::Parsed;
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use sys::namespace::Kinds;

/// The switches of the two commands, and criu's fields for them. A command has those that its definition lists.
const SWITCHES: [(&str, u32); 9] = [
    ("tcp-established", field::TCP_ESTABLISHED),
    ("tcp-skip-in-flight", field::TCP_SKIP_IN_FLIGHT),
    ("tcp-close", field::TCP_CLOSE),
    ("link-remap", field::LINK_REMAP),
    ("ext-unix-sk", field::EXT_UNIX_SK),
    ("shell-job", field::SHELL_JOB),
    ("file-locks", field::FILE_LOCKS),
    ("lazy-pages", field::LAZY_PAGES),
    ("auto-dedup", field::AUTO_DEDUP),
];

/// The directories of a dump or restore, open.
#[derive(Debug)]
pub struct Directories {
    /// `--image-path`
    pub images: OwnedFd,
    /// Its path.
    pub images_path: PathBuf,
    work: Option<(OwnedFd, PathBuf)>,
    log: &'static str,
}

impl Directories {
    /// Opens them, and makes those that are missing: the images' too, with `make`.
    ///
    /// # Errors
    /// When one cannot be made or opened.
    pub fn open(parsed: &Parsed, log: &'static str, make: bool) -> Result<Directories> {
        let path = |name| parsed.value(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let images_path = path("image-path").unwrap_or_else(|| "checkpoint".into());
        let images = open(&images_path, make)?;
        let work = match path("work-path") {
            None => None,
            Some(path) => Some((open(&path, true)?, path)),
        };
        Ok(Directories { images, images_path, work, log })
    }

    /// Tells criu of them. Its log is written to a new file: with a link of that name in a directory from elsewhere, it would
    /// write to any file of the host.
    ///
    /// # Errors
    /// When something has the log's name that cannot be removed.
    pub fn set(&self, options: &mut Options) -> Result<()> {
        options.images = self.images.as_raw_fd();
        options.work = self.work.as_ref().map(|(fd, _)| fd.as_raw_fd());
        options.number(field::LOG_LEVEL, 4).string(field::LOG_FILE, self.log);
        let (directory, path) = self.of_log();
        for name in [self.log, "stats-dump", "stats-restore"] {
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    let path = path.join(name);
                    return Err(Error::system(format!("remove `{}`", path.display()), errno));
                }
            }
        }
        Ok(())
    }

    /// Adds what the log says to an error of criu's.
    pub fn explain(&self, error: Error) -> Error {
        let (directory, path) = self.of_log();
        match error {
            Error::Criu(failure) => {
                Error::Criu(Box::new(failure.with_log(directory.as_fd(), path, self.log)))
            }
            error => error,
        }
    }

    fn of_log(&self) -> (&OwnedFd, &Path) {
        match &self.work {
            Some((fd, path)) => (fd, path),
            None => (&self.images, &self.images_path),
        }
    }
}

fn open(path: &Path, make: bool) -> Result<OwnedFd> {
    if make {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
            Error::io(format!("make the directory `{}`", path.display()), &error)
        })?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::system(format!("open the directory `{}`", path.display()), errno))
}

/// The options that a dump and a restore have in common, and what `annotations` add: `org.criu.config` names a configuration
/// file of criu's, whose settings go before ours, and an empty one names none (runc's rule).
///
/// # Errors
/// For a mode or kind of namespace that there is not.
pub fn common(parsed: &Parsed, config_file: Option<&str>) -> Result<Options> {
    let mut options = Options::default();
    for (name, number) in SWITCHES {
        options.switch(number, parsed.is_set(name));
    }
    options
        .number(field::MANAGE_CGROUPS, 1)
        .number(field::MANAGE_CGROUPS_MODE, cgroup_mode(parsed)? as u64)
        .number(field::NOTIFY_SCRIPTS, 1)
        .number(field::ORPHAN_PTS_MASTER, 1)
        .number(field::EMPTY_NS, empty_namespaces(parsed)?.bits());
    match config_file {
        None => drop(options.string(field::CONFIG_FILE, "/etc/criu/runc.conf")),
        Some("") => {}
        Some(path) => drop(options.string(field::CONFIG_FILE, path)),
    }
    Ok(options)
}

fn cgroup_mode(parsed: &Parsed) -> Result<CgroupMode> {
    match parsed.value("manage-cgroups-mode").unwrap_or_default() {
        "" => Ok(CgroupMode::Default),
        "soft" => Ok(CgroupMode::Soft),
        "full" => Ok(CgroupMode::Full),
        "strict" => Ok(CgroupMode::Strict),
        "ignore" => Ok(CgroupMode::Ignore),
        other => Err(Error::Usage(format!(
            "Invalid manage-cgroups-mode value `{other}`: it is `soft`, `full`, `strict` or `ignore`"
        ))),
    }
}

/// A network namespace never takes its interfaces along: they belong to whoever made them, an engine or a hook, who makes them anew.
fn empty_namespaces(parsed: &Parsed) -> Result<Kinds> {
    match parsed.values("empty-ns").find(|kind| *kind != "network") {
        None => Ok(Kinds::NETWORK),
        Some(other) => Err(Error::Usage(format!(
            "namespace \"{other}\" is not supported: --empty-ns takes `network`"
        ))),
    }
}

/// `--parent-path`, which criu looks for below the images.
///
/// # Errors
/// When it is absolute, or no directory.
pub fn parent(parsed: &Parsed, images: &Path) -> Result<Option<String>> {
    let Some(parent) = parsed.value("parent-path").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    if Path::new(parent).is_absolute() {
        return Err(Error::Usage("--parent-path must be relative".into()));
    }
    let path = images.join(parent);
    match rustix::fs::stat(&path).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode)) {
        Ok(rustix::fs::FileType::Directory) => Ok(Some(parent.to_owned())),
        Ok(_) => Err(invalid_parent(&path, Errno::NOTDIR)),
        Err(errno) => Err(invalid_parent(&path, errno)),
    }
}

fn invalid_parent(path: &Path, errno: Errno) -> Error {
    Error::Usage(format!("invalid --parent-path: `{}`: {}", path.display(), sys::text(errno)))
}

/// `--page-server`: an IPv6 address stands in brackets.
///
/// # Errors
/// When it is not an address and a port.
pub fn page_server(parsed: &Parsed) -> Result<Option<(String, i32)>> {
    let Some(text) = parsed.value("page-server").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let form = || Error::Usage("Use --page-server ADDRESS:PORT to specify page server".into());
    let (address, port) = text.rsplit_once(':').ok_or_else(form)?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(address);
    if address.is_empty() || port.is_empty() || bare.is_none() && address.contains(':') {
        return Err(form());
    }
    let number = port.parse::<u16>().ok().filter(|number| *number != 0);
    let number = number.ok_or_else(|| Error::Usage(format!("Invalid port number `{port}`")))?;
    Ok(Some((address.to_owned(), number.into())))
}

/// `--status-fd`: an open fd that can be written to; -1 is none.
///
/// # Errors
/// When it is not.
pub fn status_fd(parsed: &Parsed) -> Result<Option<OwnedFd>> {
    let Some(text) = parsed.value("status-fd").filter(|text| *text != "-1") else {
        return Ok(None);
    };
    let wrong = |why: &str| Error::Usage(format!("invalid --status-fd argument {text}: {why}"));
    let number = text.parse().map_err(|_| wrong("it must be a file descriptor"))?;
    let fd = sys::fd::inherited(number).map_err(|errno| wrong(&sys::text(errno)))?;
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(|errno| wrong(&sys::text(errno)))?;
    if flags & OFlags::RWMODE == OFlags::RDONLY {
        return Err(wrong("not writable"));
    }
    Ok(Some(fd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn parsed(line: &str) -> Parsed {
        cli::parse(line.split_whitespace().map(str::to_owned)).unwrap()
    }

    #[test]
    fn every_switch_of_the_command_line_reaches_criu() {
        let both =
            "--tcp-established --ext-unix-sk --shell-job --file-locks --lazy-pages --auto-dedup";
        let switches = |line: &str| common(&parsed(line), None).unwrap().numbers;
        let mut on = switches(&format!("checkpoint c --tcp-skip-in-flight --link-remap {both}"));
        on.extend(switches("restore c --tcp-close"));
        let off = switches("checkpoint c");
        for (name, field) in SWITCHES {
            assert!(on.contains(&(field, 1)), "{name}");
            assert!(!off.contains(&(field, 1)), "{name}");
        }
    }

    #[test]
    fn networks_are_left_to_whoever_made_them() {
        let options = common(&parsed("restore c --empty-ns network"), None).unwrap();
        assert!(options.numbers.contains(&(field::EMPTY_NS, Kinds::NETWORK.bits())));
        let plain = common(&parsed("restore c"), None).unwrap();
        assert_eq!(options.numbers, plain.numbers);
        let error = common(&parsed("restore c --empty-ns ipc"), None).unwrap_err();
        assert!(error.to_string().contains("namespace \"ipc\" is not supported"));
    }

    #[test]
    fn a_configuration_file_of_criu_s_is_runcs_unless_an_annotation_says_otherwise() {
        let file = |annotation| {
            let options = common(&parsed("restore c"), annotation).unwrap();
            let found = options.strings.iter().find(|(number, _)| *number == field::CONFIG_FILE);
            found.map(|(_, path)| path.clone())
        };
        assert_eq!(file(None).as_deref(), Some("/etc/criu/runc.conf"));
        assert_eq!(file(Some("/x")).as_deref(), Some("/x"));
        assert_eq!(file(Some("")), None);
    }

    #[test]
    fn modes_of_cgroups_are_criu_s() {
        for (name, number) in [("soft", 3), ("full", 4), ("strict", 5), ("ignore", 0)] {
            let options =
                common(&parsed(&format!("restore c --manage-cgroups-mode {name}")), None).unwrap();
            assert!(options.numbers.contains(&(field::MANAGE_CGROUPS_MODE, number)), "{name}");
        }
        let error = common(&parsed("restore c --manage-cgroups-mode hard"), None).unwrap_err();
        assert!(error.to_string().contains("Invalid manage-cgroups-mode value"));
    }

    #[test]
    fn a_page_server_is_an_address_and_a_port() {
        let of = |text: &str| page_server(&parsed(&format!("checkpoint c --page-server {text}")));
        assert_eq!(of("10.0.0.1:27").unwrap(), Some(("10.0.0.1".into(), 27)));
        assert_eq!(of("[fe80::1]:27").unwrap(), Some(("fe80::1".into(), 27)));
        for text in ["10.0.0.1", ":27", "host:", "host:0", "host:99999", "host:x", "fe80::1:27"] {
            assert!(of(text).is_err(), "{text}");
        }
        assert_eq!(page_server(&parsed("checkpoint c")).unwrap(), None);
    }

    #[test]
    fn a_parent_is_a_directory_relative_to_the_images() {
        let images = tempfile::tempdir().unwrap();
        std::fs::create_dir(images.path().join("first")).unwrap();
        std::fs::write(images.path().join("file"), "").unwrap();
        let of = |text: &str| {
            let line = format!("checkpoint c --parent-path {text}");
            parent(&parsed(&line), images.path()).map_err(|error| error.to_string())
        };
        assert_eq!(of("first").unwrap().as_deref(), Some("first"));
        assert!(of("/first").unwrap_err().contains("must be relative"));
        assert!(of("file").unwrap_err().contains("not a directory"));
        assert!(of("none").unwrap_err().contains("no such file"));
    }
}
