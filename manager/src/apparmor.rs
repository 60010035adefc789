//! The AppArmor profile of a container: which one it gets, and the loading of our own.
//!
//! Whether a profile is loaded is a question to the kernel, of three system calls, where AppArmor is enabled: the list of profiles, long
//! on a desktop, is never read. A container that is to be confined by a profile never runs without.

use crate::bundle::Confinement;
use crate::bundle::host::HostFacts;
use crate::container::Record;
use crate::error::{Error, Result, reason};
use crate::rootless::is_in_namespace;
use crate::rootless::mapping::find_program;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The profile of a container that names none, and is not privileged.
pub const PROFILE: &str = "nman-default";

/// Docker's word, and AppArmor's, for no profile.
pub const UNCONFINED: &str = "unconfined";

/// Our profile, as the parser takes it.
const TEXT: &str = include_str!("../apparmor/nman-default");

/// What the profile says first: by which version of AppArmor's features it is meant. Parsers before 3.0 have no file for it.
const ABI: (&str, &str) = ("abi <abi/3.0>,", "/etc/apparmor.d/abi/3.0");

const PARSER: &str = "apparmor_parser";

/// Where the kernel answers questions about profiles, to everybody.
const QUERIES: &str = "/sys/kernel/security/apparmor/.access";

/// Whether a profile can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It is loaded.
    Loaded,
    /// It is ours, and this parser loads it.
    Loadable(PathBuf),
    /// It is not there.
    Absent(Lack),
}

/// Why a profile cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is not loaded, and not ours to load.
    NotOurs,
    /// It is ours, but only the host's root loads profiles.
    NotRoot,
    /// There is no parser.
    NoParser,
    /// The kernel cannot be asked: its security file system is not mounted, as in a container.
    NoAnswer,
}

impl Availability {
    /// Whether a container can have it.
    #[must_use]
    pub fn is_given(&self) -> bool {
        matches!(self, Self::Loaded | Self::Loadable(_))
    }
}

/// Whether programs can be confined by AppArmor.
#[must_use]
pub fn is_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

/// Looks for a profile.
#[must_use]
pub fn find(name: &str) -> Availability {
    match is_loaded(name) {
        Ok(true) => Availability::Loaded,
        Ok(false) if name != PROFILE => Availability::Absent(Lack::NotOurs),
        Ok(false) if !may_load() => Availability::Absent(Lack::NotRoot),
        Ok(false) => find_program(PARSER)
            .map_or(Availability::Absent(Lack::NoParser), Availability::Loadable),
        Err(_) => Availability::Absent(Lack::NoAnswer),
    }
}

/// Gives a new container its profile; `find` is asked for it where there is AppArmor. What comes back is said to whoever makes it.
///
/// # Errors
/// The profile that was asked for cannot be had.
pub fn choose(
    host: &HostFacts,
    record: &mut Record,
    find: impl FnOnce(&str) -> Availability,
) -> Result<Option<String>> {
    let asked = Confinement::of(&record.host_config).apparmor;
    let choice = decide(host.apparmor, asked.as_deref(), find)?;
    record.apparmor = choice.profile;
    Ok(choice.warning)
}

/// Makes sure that a container's profile is loaded before it is started: after a reboot none is that no file of the host's names.
///
/// # Errors
/// It is neither loaded nor can it be.
pub fn provide(record: &Record) -> Result<()> {
    let Some(name) = record.apparmor.as_deref().filter(|name| *name != UNCONFINED) else {
        return Ok(());
    };
    match find(name) {
        // What the kernel does not tell us it tells the runtime.
        Availability::Loaded | Availability::Absent(Lack::NoAnswer) => Ok(()),
        Availability::Loadable(parser) => load(&parser),
        Availability::Absent(lack) => Err(missing(name, lack)),
    }
}

/// What comes of a wish.
#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    profile: Option<String>,
    warning: Option<String>,
}

/// Where the wish is for our own profile, as without a word it is, that is the one; a user has it where root has loaded it.
fn decide(
    enabled: bool,
    asked: Option<&str>,
    find: impl FnOnce(&str) -> Availability,
) -> Result<Choice> {
    let given = |name: &str| Choice { profile: Some(name.to_owned()), warning: None };
    match asked {
        None | Some(UNCONFINED) if !enabled => Ok(Choice::default()),
        Some(name) if !enabled => Err(Error::Rejected {
            message: format!(
                "cannot confine the container by AppArmor profile `{name}`: AppArmor is not enabled on this host"
            ),
            hint: Some("leave the option out, or give `apparmor=unconfined`".to_owned()),
        }),
        Some(UNCONFINED) => Ok(given(UNCONFINED)),
        Some(name) => match find(name) {
            Availability::Absent(lack) if lack != Lack::NoAnswer => Err(missing(name, lack)),
            _ => Ok(given(name)),
        },
        None => match find(PROFILE) {
            Availability::Absent(lack) => {
                let warning = (lack == Lack::NoParser).then(|| {
                    format!(
                        "AppArmor is enabled, but there is no `{PARSER}` to load its profile `{PROFILE}` with: the container is not confined by it. Install Debian's package apparmor, or give `--security-opt apparmor=unconfined`."
                    )
                });
                Ok(Choice { profile: None, warning })
            }
            _ => Ok(given(PROFILE)),
        },
    }
}

/// That a profile is not loaded.
fn missing(name: &str, lack: Lack) -> Error {
    let hint = match lack {
        Lack::NotOurs | Lack::NoAnswer => {
            "`apparmor_parser -r FILE` loads a profile, `aa-status` lists those that are; `apparmor=unconfined` is none at all"
        }
        Lack::NotRoot => {
            "root loads it with any container, or at boot where it is in /etc/apparmor.d; `apparmor=unconfined` is none at all"
        }
        Lack::NoParser => {
            "install Debian's package apparmor, which has `apparmor_parser`, or give `apparmor=unconfined`"
        }
    };
    Error::Rejected {
        message: format!(
            "cannot confine the container by AppArmor profile `{name}`: it is not loaded"
        ),
        hint: Some(hint.to_owned()),
    }
}

/// Only the host's root has a say in what is loaded: a user namespace has where it has a policy of its own.
fn may_load() -> bool {
    rustix::process::geteuid().is_root() && !is_in_namespace()
}

/// Asks for what a profile lets its programs do with `/`, which fails if there is no such profile. As for the runtime, a name may
/// be one in a namespace, or several stacked.
fn is_loaded(name: &str) -> rustix::io::Result<bool> {
    let file = rustix::fs::open(QUERIES, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // AA_CLASS_FILE, by which the kernel knows what kind of an object follows.
    match rustix::io::write(file, format!("label\0{name}\0\u{2}/").as_bytes()) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Loads our profile. Two that do so at once load the same.
fn load(parser: &Path) -> Result<()> {
    let failed = |why: &str| Error::Rejected {
        message: format!(
            "cannot load the AppArmor profile `{PROFILE}` with `{}`: {why}",
            parser.display()
        ),
        hint: Some(
            "`--security-opt apparmor=unconfined` runs a container without a profile".to_owned(),
        ),
    };
    let mut child = Command::new(parser)
        .args(["--replace", "--skip-cache"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&reason(&error)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A parser that does not read to the end has failed, and says why.
        let _ = stdin.write_all(text(Path::new(ABI.1).exists()).as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(&reason(&error)))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(first_error(&String::from_utf8_lossy(&output.stderr))))
}

/// The profile for a parser that knows the features which it is meant by, or for one that has never heard of such.
fn text(knows_abi: bool) -> String {
    if knows_abi { TEXT.to_owned() } else { TEXT.replacen(ABI.0, "", 1) }
}

/// What the parser could not do, without what it merely warns of.
fn first_error(said: &str) -> &str {
    let mut lines = said.lines().map(str::trim);
    let error = lines.find(|line| !line.is_empty() && !line.starts_with("Warning"));
    error.unwrap_or("it does not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(asked: Option<&str>, found: Availability) -> Result<Choice> {
        decide(true, asked, |_| found)
    }

    fn profile(asked: Option<&str>, found: Availability) -> Option<String> {
        decided(asked, found).unwrap().profile
    }

    fn loadable() -> Availability {
        Availability::Loadable("/sbin/apparmor_parser".into())
    }

    #[test]
    fn a_container_has_our_profile_where_that_can_be_had() {
        for found in [Availability::Loaded, loadable()] {
            assert_eq!(profile(None, found.clone()).as_deref(), Some(PROFILE));
            assert_eq!(profile(Some(PROFILE), found).as_deref(), Some(PROFILE));
        }
        for lack in [Lack::NotRoot, Lack::NoAnswer] {
            let none = decided(None, Availability::Absent(lack)).unwrap();
            assert_eq!(none, Choice::default(), "nothing to be done about it by who asks");
        }
        let none = decided(None, Availability::Absent(Lack::NoParser)).unwrap();
        assert_eq!(none.profile, None);
        assert!(none.warning.unwrap().contains("Install Debian's package apparmor"));
    }

    #[test]
    fn a_profile_that_was_asked_for_is_had_or_refused() {
        assert_eq!(profile(Some("strict"), Availability::Loaded).as_deref(), Some("strict"));
        let silent = Availability::Absent(Lack::NoAnswer);
        assert_eq!(profile(Some("strict"), silent).as_deref(), Some("strict"));
        for (name, lack, hint) in [
            ("strict", Lack::NotOurs, "apparmor_parser -r"),
            (PROFILE, Lack::NotRoot, "root loads it"),
            (PROFILE, Lack::NoParser, "package apparmor"),
        ] {
            let refused = decided(Some(name), Availability::Absent(lack)).unwrap_err();
            assert!(refused.to_string().ends_with(&format!("`{name}`: it is not loaded")));
            assert!(refused.hint().unwrap().contains(hint), "{refused}");
        }
    }

    #[test]
    fn nobody_asks_the_kernel_where_there_is_nothing_to_ask() {
        let asks = |_: &str| -> Availability { panic!("the kernel was asked") };
        assert_eq!(decide(false, None, asks).unwrap(), Choice::default());
        assert_eq!(decide(false, Some(UNCONFINED), asks).unwrap(), Choice::default());
        let unconfined = decide(true, Some(UNCONFINED), asks).unwrap();
        assert_eq!(unconfined.profile.as_deref(), Some(UNCONFINED));
        let refused = decide(false, Some("strict"), asks).unwrap_err().to_string();
        assert!(refused.ends_with("AppArmor is not enabled on this host"), "{refused}");
    }

    #[test]
    fn the_profile_has_its_name_in_every_place() {
        assert!(TEXT.contains(&format!("\nprofile {PROFILE} ")));
        for rule in ["signal (send, receive)", "ptrace (read, readby, trace, tracedby)"] {
            assert!(TEXT.contains(&format!("  {rule} peer={PROFILE},\n")), "{rule}");
        }
    }

    #[test]
    fn an_old_parser_is_told_nothing_of_features() {
        assert!(text(true).contains("\nabi <abi/3.0>,\n"));
        assert_eq!(text(false).lines().filter(|line| line.starts_with("abi ")).count(), 0);
        assert!(text(false).contains("deny mount,"));
    }

    #[test]
    fn a_parsers_warnings_are_no_errors() {
        let said = "Warning from stdin (line 1): odd\n\napparmor_parser: Unable to replace \"x\".  Permission denied\nmore\n";
        assert_eq!(
            first_error(said),
            "apparmor_parser: Unable to replace \"x\".  Permission denied"
        );
        assert_eq!(first_error("Warning: odd\n"), "it does not say why");
    }
}
