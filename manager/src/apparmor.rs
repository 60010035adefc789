//! The AppArmor profile of a container: which one it gets, and the loading of our own.
//!
//! Whether a profile is loaded is a question to the kernel, of three system calls, where AppArmor is enabled: the list of profiles, long
//! on a desktop, is never read. A container that is to be confined by a profile never runs without.

use crate::bundle::host::{HostFacts, has_apparmor};
use crate::bundle::{Confinement, UNCONFINED, amend};
use crate::container::{Containers, Dir, Record};
use crate::error::{Error, Result, reason};
use crate::privilege::is_in_namespace;
use crate::program::find_program;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The profile of a container that names none, and is not privileged.
pub const PROFILE: &str = "nman-default";

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
    /// The kernel was asked, in vain: whether it is loaded, the runtime finds out.
    Unknown,
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
    /// There is nobody to ask: the kernel's security file system is not mounted, as in a container.
    NoAnswer,
}

impl Availability {
    /// Whether a container is given it.
    #[must_use]
    pub fn is_given(&self) -> bool {
        !matches!(self, Self::Absent(_))
    }
}

/// Looks for a profile.
#[must_use]
pub fn find(name: &str) -> Availability {
    match ask(Path::new(QUERIES), name) {
        Answer::Loaded => Availability::Loaded,
        Answer::NotLoaded if name != PROFILE => Availability::Absent(Lack::NotOurs),
        Answer::NotLoaded if !may_load() => Availability::Absent(Lack::NotRoot),
        Answer::NotLoaded => find_program(PARSER)
            .map_or(Availability::Absent(Lack::NoParser), Availability::Loadable),
        Answer::Nobody => Availability::Absent(Lack::NoAnswer),
        Answer::Failed => Availability::Unknown,
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
    Ok(choice.lack.and_then(|lack| warning(lack, host.namespace.is_none())))
}

/// Makes sure of a container's profile before another start: see [`provide`]. One that was made where our profile could not be had
/// has it from now on, if it can be had by now. What comes back is said to whoever starts it.
///
/// # Errors
/// It is neither loaded nor can it be, or it cannot be written down.
pub fn provide_again(
    containers: &Containers,
    dir: &Dir,
    record: &mut Record,
) -> Result<Option<String>> {
    let Some(choice) = choose_again(record, has_apparmor, find)? else {
        return provide(record).map(|()| None);
    };
    record.apparmor = choice.profile;
    provide(record)?;
    if let Some(profile) = &record.apparmor {
        write_down(containers, dir, profile)?;
    }
    Ok(choice.lack.and_then(|lack| warning(lack, may_load())))
}

/// What is chosen for a container that has no profile, and has not said that it wants none. Where there is no AppArmor, that is found
/// out by the name of one file, and nothing else is asked.
fn choose_again(
    record: &Record,
    is_enabled: impl FnOnce() -> bool,
    find: impl FnOnce(&str) -> Availability,
) -> Result<Option<Choice>> {
    let is_open = || Confinement::of(&record.host_config).apparmor.is_none();
    if record.apparmor.is_some() || !is_enabled() || !is_open() {
        return Ok(None);
    }
    decide(true, None, find).map(Some)
}

/// First what the runtime reads: with the record alone, nobody would choose again for a container that runs without. So it would be,
/// too, if an `update` at the same moment wrote what it has read before.
fn write_down(containers: &Containers, dir: &Dir, profile: &str) -> Result<()> {
    let profile = Some(profile.to_owned());
    containers.change(dir, |record| {
        amend(record, dir, |spec| {
            let process = spec.process_mut().as_mut();
            process.map(|process| process.set_apparmor_profile(profile.clone())).is_some()
        })?;
        record.apparmor = profile;
        Ok(())
    })
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
        Availability::Loaded | Availability::Unknown | Availability::Absent(Lack::NoAnswer) => {
            Ok(())
        }
        Availability::Loadable(parser) => load(&parser),
        Availability::Absent(lack) => Err(missing(name, lack)),
    }
}

/// What comes of a wish.
#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    profile: Option<String>,
    /// Why it is none, although there is AppArmor and nobody has said that it is to be none.
    lack: Option<Lack>,
}

/// Where the wish is for our own profile, as without a word it is, that is the one; a user has it where root has loaded it.
fn decide(
    enabled: bool,
    asked: Option<&str>,
    find: impl FnOnce(&str) -> Availability,
) -> Result<Choice> {
    let given = |name: &str| Choice { profile: Some(name.to_owned()), lack: None };
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
            Availability::Absent(lack) => Ok(Choice { profile: None, lack: Some(lack) }),
            _ => Ok(given(PROFILE)),
        },
    }
}

/// What is said of a container that has no profile, to those who can do something about it.
fn warning(lack: Lack, is_root: bool) -> Option<String> {
    let (why, help) = match lack {
        Lack::NoParser => (
            format!("there is no `{PARSER}` to load its profile `{PROFILE}` with"),
            "Install Debian's package apparmor",
        ),
        Lack::NoAnswer if is_root => (
            format!("securityfs is not mounted, where its profile `{PROFILE}` would be found"),
            "Mount it on /sys/kernel/security",
        ),
        Lack::NoAnswer | Lack::NotRoot | Lack::NotOurs => return None,
    };
    Some(format!(
        "AppArmor is enabled, but {why}: the container is not confined by it. {help}, or give `--security-opt apparmor=unconfined`."
    ))
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

/// What comes of asking for a profile.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Loaded,
    NotLoaded,
    /// There is no file to ask by.
    Nobody,
    /// Asking fails: in a unit of systemd with `ProtectKernelTunables=` the file is read-only, say.
    Failed,
}

/// Asks for what a profile lets its programs do with `/`, which fails if there is no such profile. As for the runtime, a name may
/// be one in a namespace, or several stacked.
fn ask(queries: &Path, name: &str) -> Answer {
    let file = match rustix::fs::open(queries, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Answer::Nobody,
        Err(_) => return Answer::Failed,
    };
    // AA_CLASS_FILE, by which the kernel knows what kind of an object follows.
    match rustix::io::write(file, format!("label\0{name}\0\u{2}/").as_bytes()) {
        Ok(_) => Answer::Loaded,
        Err(Errno::NOENT) => Answer::NotLoaded,
        Err(_) => Answer::Failed,
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
        for lack in [Lack::NotRoot, Lack::NoAnswer, Lack::NoParser] {
            let none = decided(None, Availability::Absent(lack)).unwrap();
            assert_eq!(none, Choice { profile: None, lack: Some(lack) });
        }
    }

    #[test]
    fn a_lack_is_told_to_who_can_do_something_about_it() {
        let said = |lack, is_root| warning(lack, is_root).unwrap_or_default();
        assert!(said(Lack::NoParser, true).contains("Install Debian's package apparmor"));
        assert!(said(Lack::NoAnswer, true).contains("securityfs is not mounted"));
        for lack in [Lack::NoAnswer, Lack::NotRoot] {
            assert_eq!(said(lack, false), "", "of a user, {lack:?}");
        }
    }

    #[test]
    fn only_a_missing_file_means_that_there_is_nobody_to_ask() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        assert_eq!(ask(&file, PROFILE), Answer::Nobody);
        std::fs::write(&file, "").unwrap();
        assert_eq!(ask(&file, PROFILE), Answer::Loaded);
        assert_eq!(std::fs::read(&file).unwrap(), b"label\0nman-default\0\x02/");
        // Neither to be opened for writing, nor to be written to.
        for other in [directory.path(), Path::new("/dev/full")] {
            assert_eq!(ask(other, PROFILE), Answer::Failed);
        }
    }

    #[test]
    fn a_profile_that_nobody_can_ask_for_is_taken_all_the_same() {
        for asked in [None, Some(PROFILE)] {
            assert_eq!(profile(asked, Availability::Unknown).as_deref(), Some(PROFILE));
        }
        assert!(Availability::Unknown.is_given());
    }

    fn record(options: &[&str]) -> Record {
        let words = [options, &["image", "true"]].concat();
        let (mut record, _) = crate::bundle::tests::record(&words, "{}").unwrap();
        record.apparmor = None;
        record
    }

    #[test]
    fn what_has_no_profile_and_names_none_is_given_ours_at_a_later_start() {
        let again = |record: &Record, found: Availability| {
            choose_again(record, || true, |_| found).unwrap()
        };
        let plain = record(&[]);
        assert_eq!(again(&plain, loadable()).unwrap().profile.as_deref(), Some(PROFILE));
        let none = again(&plain, Availability::Absent(Lack::NoParser)).unwrap();
        assert_eq!((none.profile, none.lack), (None, Some(Lack::NoParser)));
        for options in [&["--privileged"][..], &["--security-opt", "apparmor=unconfined"]] {
            assert_eq!(again(&record(options), Availability::Loaded), None, "{options:?}");
        }
        let find = |_: &str| -> Availability { panic!("the kernel was asked") };
        assert_eq!(choose_again(&plain, || false, find).unwrap(), None);
        let chosen = Record { apparmor: Some(PROFILE.to_owned()), ..plain };
        let is_enabled = || -> bool { panic!("the host was asked") };
        assert_eq!(choose_again(&chosen, is_enabled, find).unwrap(), None);
    }

    #[test]
    fn a_profile_that_is_chosen_later_is_in_the_record_and_in_the_bundle() {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::open(root.path()).unwrap();
        let record = record(&[]);
        let (dir, _guard) = containers.reserve(&record).unwrap();
        let spec = oci_spec::runtime::Spec::default();
        dir.write_bundle(&record, &spec).unwrap();
        write_down(&containers, &dir, PROFILE).unwrap();
        assert_eq!(dir.record().unwrap().apparmor.as_deref(), Some(PROFILE));
        let text = std::fs::read(dir.join("config.json")).unwrap();
        let written: oci_spec::runtime::Spec = serde_json::from_slice(&text).unwrap();
        let process = written.process().as_ref().unwrap();
        assert_eq!(process.apparmor_profile().as_deref(), Some(PROFILE));
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
