//! Mount options: from the strings of config.json to flags, attributes and file system parameters.
//!
//! The names are those of mount(8) with the additions of runtime-spec (recursive attributes, `tmpcopyup`, `idmap`) and those of crun
//! (`src-nofollow`, `dest-nofollow`, `copy-symlink`, mappings behind `idmap=`; crun(1)). What is not in the tables belongs to the file system and is passed on as it is. This is the only list of them: the checks, the
//! planner and `features` read it.

use rustix::mount::MountPropagationFlags as Propagation;
use sys::mount::{self, Attributes};

/// What a list of options means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `bind` or `rbind`.
    pub bind: bool,
    /// `rbind`: with the mounts below the source.
    pub recursive: bool,
    /// `remount`.
    pub remount: bool,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Attributes of the mount and what is below it (`rro`, ...).
    pub recursive_attributes: Attributes,
    /// Propagation changes, `MS_*` bits each, in the order in which they were given.
    pub propagation: Vec<u64>,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `idmap` or `ridmap`, the latter as `Some(true)`.
    pub idmap: Option<bool>,
    /// What is behind `idmap=` or `ridmap=`, for [`super::mount_mappings::parse`].
    pub id_mappings: Option<String>,
    /// `src-nofollow`: a link at the source is mounted itself.
    pub src_nofollow: bool,
    /// `dest-nofollow`: a link at the destination is mounted over.
    pub dest_nofollow: bool,
    /// `copy-symlink`: a link at the source is made anew at the destination, and nothing is mounted.
    pub copy_symlink: bool,
    /// Flags of the superblock as the kernel's parameters of that name: `sync`, `lazytime`, ...
    pub superblock: Vec<&'static str>,
    /// `iversion`: a flag of the superblock for which there is no parameter, only a bit of mount(2).
    pub version: bool,
    /// Parameters of the file system, as they were given.
    pub data: Vec<String>,
}

/// The effect of an option in the table.
#[derive(Clone, Copy)]
enum Effect {
    Nothing,
    Bind {
        recursive: bool,
    },
    Remount,
    Set(u64),
    Clear(u64),
    /// A value of the access-time field, which is replaced as a whole.
    AccessTime(u64),
    /// Not this value of the access-time field: takes back an option before it, and changes nothing else.
    NotAccessTime(u64),
    Propagation(Propagation),
    CopyUp,
    IdMap {
        recursive: bool,
    },
    SourceLink,
    TargetLink,
    CopyLink,
    Superblock,
    Version(bool),
}

use Effect::{
    AccessTime, Bind, Clear, CopyLink, CopyUp, IdMap, NotAccessTime, Nothing, Remount, Set,
    SourceLink, Superblock, TargetLink, Version,
};

/// Options without a recursive form.
const TABLE: &[(&str, Effect)] = &[
    ("defaults", Nothing),
    // Whether the kernel logs why a mount failed.
    ("silent", Nothing),
    ("loud", Nothing),
    ("bind", Bind { recursive: false }),
    ("rbind", Bind { recursive: true }),
    ("remount", Remount),
    ("tmpcopyup", CopyUp),
    ("idmap", IdMap { recursive: false }),
    ("ridmap", IdMap { recursive: true }),
    ("src-nofollow", SourceLink),
    ("dest-nofollow", TargetLink),
    ("copy-symlink", CopyLink),
    ("sync", Superblock),
    ("async", Superblock),
    ("dirsync", Superblock),
    ("lazytime", Superblock),
    ("nolazytime", Superblock),
    ("mand", Superblock),
    ("nomand", Superblock),
    ("iversion", Version(true)),
    ("noiversion", Version(false)),
    ("private", Effect::Propagation(Propagation::PRIVATE)),
    ("rprivate", Effect::Propagation(Propagation::PRIVATE.union(Propagation::REC))),
    ("slave", Effect::Propagation(Propagation::DOWNSTREAM)),
    ("rslave", Effect::Propagation(Propagation::DOWNSTREAM.union(Propagation::REC))),
    ("shared", Effect::Propagation(Propagation::SHARED)),
    ("rshared", Effect::Propagation(Propagation::SHARED.union(Propagation::REC))),
    ("unbindable", Effect::Propagation(Propagation::UNBINDABLE)),
    ("runbindable", Effect::Propagation(Propagation::UNBINDABLE.union(Propagation::REC))),
];

/// Options that also exist with an `r` in front, for the mount and everything below it.
const ATTRIBUTES: &[(&str, Effect)] = &[
    ("ro", Set(mount::RDONLY)),
    ("rw", Clear(mount::RDONLY)),
    ("nosuid", Set(mount::NOSUID)),
    ("suid", Clear(mount::NOSUID)),
    ("nodev", Set(mount::NODEV)),
    ("dev", Clear(mount::NODEV)),
    ("noexec", Set(mount::NOEXEC)),
    ("exec", Clear(mount::NOEXEC)),
    ("nodiratime", Set(mount::NODIRATIME)),
    ("diratime", Clear(mount::NODIRATIME)),
    ("nosymfollow", Set(mount::NOSYMFOLLOW)),
    ("symfollow", Clear(mount::NOSYMFOLLOW)),
    ("noatime", AccessTime(mount::NOATIME)),
    ("atime", AccessTime(mount::RELATIME)),
    ("relatime", AccessTime(mount::RELATIME)),
    ("norelatime", NotAccessTime(mount::RELATIME)),
    ("strictatime", AccessTime(mount::STRICTATIME)),
    ("nostrictatime", NotAccessTime(mount::STRICTATIME)),
];

/// Every option name that is known, sorted, for `features`.
pub fn names() -> Vec<String> {
    let plain = TABLE.iter().chain(ATTRIBUTES).map(|(name, _)| (*name).to_owned());
    let mut names: Vec<String> =
        plain.chain(ATTRIBUTES.iter().map(|(name, _)| format!("r{name}"))).collect();
    names.sort_unstable();
    names
}

/// Whether an option is known, and not a parameter of a file system.
pub fn is_known(option: &str) -> bool {
    find(TABLE, option).or_else(|| find(ATTRIBUTES, option)).is_some()
        || recursive(option).is_some()
        || id_mappings(option).is_some()
}

/// Reads a list of options.
pub fn parse(options: &[String]) -> Options {
    let mut parsed = Options::default();
    for option in options {
        if let Some((name, effect)) = find(TABLE, option).or_else(|| find(ATTRIBUTES, option)) {
            parsed.take(effect, name);
        } else if let Some(effect) = recursive(option) {
            change(&mut parsed.recursive_attributes, effect);
        } else if let Some((recursive, mappings)) = id_mappings(option) {
            parsed.idmap = Some(recursive);
            parsed.id_mappings = Some(mappings.to_owned());
        } else {
            parsed.data.push(option.clone());
        }
    }
    parsed
}

fn find(table: &'static [(&str, Effect)], name: &str) -> Option<(&'static str, Effect)> {
    table.iter().find(|(known, _)| *known == name).copied()
}

fn recursive(option: &str) -> Option<Effect> {
    option.strip_prefix('r').and_then(|name| find(ATTRIBUTES, name)).map(|(_, effect)| effect)
}

/// Whether an option maps ids by mappings of its own, with the mounts below or without, and what those are.
pub fn id_mappings(option: &str) -> Option<(bool, &str)> {
    let (name, mappings) = option.split_once('=')?;
    match name {
        "idmap" => Some((false, mappings)),
        "ridmap" => Some((true, mappings)),
        _ => None,
    }
}

impl Options {
    /// The same for a file system that is made: nothing is below it, so that a recursive attribute is its own. It counts after those
    /// without `r`, as for a bind mount.
    #[must_use]
    pub fn of_new_file_system(mut self) -> Options {
        let Attributes { set, clear, .. } = std::mem::take(&mut self.recursive_attributes);
        let own = &mut self.attributes;
        own.set = own.set & !clear | set;
        own.clear = own.clear & !(set & !mount::ATIME_FIELD) | clear;
        self
    }

    fn take(&mut self, effect: Effect, name: &'static str) {
        match effect {
            Nothing => {}
            Bind { recursive } => {
                self.bind = true;
                self.recursive |= recursive;
            }
            Remount => self.remount = true,
            CopyUp => self.copy_up = true,
            IdMap { recursive } => self.idmap = Some(recursive),
            SourceLink => self.src_nofollow = true,
            TargetLink => self.dest_nofollow = true,
            CopyLink => self.copy_symlink = true,
            Superblock => self.superblock.push(name),
            Version(on) => self.version = on,
            Effect::Propagation(flags) => self.propagation.push(flags.bits().into()),
            Set(_) | Clear(_) | AccessTime(_) | NotAccessTime(_) => {
                change(&mut self.attributes, effect);
            }
        }
    }
}

/// The last of two contradicting options wins, as in mount(8).
fn change(attributes: &mut Attributes, effect: Effect) {
    match effect {
        Set(bit) => {
            attributes.set |= bit;
            attributes.clear &= !bit;
        }
        Clear(bit) => {
            attributes.clear |= bit;
            attributes.set &= !bit;
        }
        AccessTime(value) => {
            attributes.clear |= mount::ATIME_FIELD;
            attributes.set = attributes.set & !mount::ATIME_FIELD | value;
        }
        NotAccessTime(value)
            if attributes.clear & mount::ATIME_FIELD != 0
                && attributes.set & mount::ATIME_FIELD == value =>
        {
            attributes.clear &= !mount::ATIME_FIELD;
            attributes.set &= !mount::ATIME_FIELD;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_list(list: &str) -> Options {
        parse(&list.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn attributes_and_data_are_told_apart() {
        let options = parse_list("nosuid,strictatime,mode=755,size=65536k,ro");
        assert_eq!(options.attributes.set, mount::NOSUID | mount::STRICTATIME | mount::RDONLY);
        assert_eq!(options.data, ["mode=755", "size=65536k"]);
        assert!(!options.bind);
    }

    #[test]
    fn the_last_of_two_contradicting_options_wins() {
        assert_eq!(
            parse_list("ro,rw").attributes,
            Attributes { clear: mount::RDONLY, ..Attributes::default() }
        );
        assert_eq!(parse_list("rw,ro").attributes.set, mount::RDONLY);
        assert_eq!(parse_list("noatime,relatime").attributes.set, mount::RELATIME);
    }

    #[test]
    fn recursive_attributes_are_kept_apart_from_plain_ones() {
        let options = parse_list("rbind,rro,rnoatime");
        assert!(options.bind && options.recursive);
        assert!(options.attributes.is_empty());
        assert_eq!(options.recursive_attributes.set, mount::RDONLY | mount::NOATIME);
    }

    #[test]
    fn a_recursive_attribute_is_a_new_file_systems_own_and_counts_last() {
        let made = |list: &str| parse_list(list).of_new_file_system();
        for list in ["rro", "rw,rro", "rro,rw"] {
            assert_eq!(made(list), parse_list("ro"), "{list}");
        }
        assert_eq!(made("ro,nosuid,rrw"), parse_list("nosuid,rw"));
        assert_eq!(made("noatime,rstrictatime"), parse_list("strictatime"));
        assert_eq!(made("noatime,rnodev"), parse_list("noatime,nodev"));
    }

    #[test]
    fn names_that_begin_with_r_but_are_not_recursive_forms_are_data() {
        assert_eq!(parse_list("rootcontext=x,rsize=4096").data, ["rootcontext=x", "rsize=4096"]);
        assert!(parse_list("relatime").recursive_attributes.is_empty());
    }

    #[test]
    fn mappings_are_an_option_and_no_parameter_of_a_file_system() {
        let options = parse_list("ridmap=uids=0-1-2;gids=0-1-2,src-nofollow");
        assert_eq!(options.idmap, Some(true));
        assert_eq!(options.id_mappings.as_deref(), Some("uids=0-1-2;gids=0-1-2"));
        assert!(options.src_nofollow && options.data.is_empty());
        assert!(is_known("idmap=x") && !is_known("idmap2=x"));
    }

    #[test]
    fn an_access_time_that_is_not_wanted_takes_back_only_what_the_list_asked_for() {
        assert!(parse_list("norelatime,nostrictatime").attributes.is_empty());
        assert!(parse_list("strictatime,nostrictatime").attributes.is_empty());
        assert_eq!(parse_list("noatime,norelatime").attributes.set, mount::NOATIME);
        assert!(parse_list("rstrictatime,rnostrictatime").recursive_attributes.is_empty());
    }

    /// config.md, "Linux mount options", in version 1.3 of runtime-spec.
    #[test]
    fn every_option_of_the_specification_is_known() {
        let specified = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
            nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime \
            rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime \
            rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow rw shared \
            silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap runbindable";
        let names = names();
        for option in specified.split_whitespace() {
            assert!(is_known(option), "{option}");
            assert!(names.iter().any(|name| name == option), "{option}");
            assert!(parse_list(option).data.is_empty(), "{option}");
        }
        assert!(!is_known("size=1") && !is_known("rbind,ro") && !is_known("r"));
    }

    #[test]
    fn propagation_keeps_its_order() {
        let flags = parse_list("rslave,shared").propagation;
        assert_eq!(
            flags,
            [u64::from(libc_bits::MS_SLAVE | libc_bits::MS_REC), u64::from(libc_bits::MS_SHARED)]
        );
    }

    mod libc_bits {
        pub(super) const MS_REC: u32 = 0x4000;
        pub(super) const MS_SLAVE: u32 = 1 << 19;
        pub(super) const MS_SHARED: u32 = 1 << 20;
    }
}
