//! `-v`, `--mount` and `--tmpfs`: each is parsed once, by clap, into the mount that it asks for.
//!
//! A source is made absolute here; whether it is there is found out when the container is made.

use crate::cli::Size;
use crate::container::{Detail, MountKind, MountPoint, Relabel};
use crate::fields::fields;
use crate::volume_name::VolumeName;

/// A mount without options.
fn plain(kind: MountKind, target: &str) -> MountPoint {
    MountPoint {
        kind,
        name: String::new(),
        source: String::new(),
        destination: target.to_owned(),
        driver: if kind == MountKind::Volume { "local".to_owned() } else { String::new() },
        mode: String::new(),
        writable: true,
        propagation: if kind == MountKind::Bind { "rprivate".to_owned() } else { String::new() },
        detail: Detail::default(),
    }
}

/// The target without what does not change where it is: a name is never left for another by `..`.
fn target(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("invalid mount path: '{text}' mount path must be absolute"));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(format!("/{}", parts.join("/")))
}

fn is_propagation(text: &str) -> bool {
    matches!(text, "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared")
}

/// `[SOURCE:]TARGET[:OPTIONS]`
pub fn volume(text: &str) -> Result<MountPoint, String> {
    let wrong = |why: String| format!("invalid volume specification: '{text}': {why}");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, place, options) = match parts.as_slice() {
        [place] => ("", *place, ""),
        [source, place] if !source.is_empty() => (*source, *place, ""),
        [source, place, options] if !source.is_empty() && !options.is_empty() => {
            (*source, *place, *options)
        }
        _ => return Err(wrong("it is [SOURCE:]TARGET[:OPTIONS]".to_owned())),
    };
    let place = target(place).map_err(wrong)?;
    let mut point = match source.chars().next() {
        Some('/' | '.') => {
            let mut point = plain(MountKind::Bind, &place);
            point.source = absolute(source)?;
            point.detail.create_source = true;
            point
        }
        None => plain(MountKind::Volume, &place),
        Some(_) => {
            let mut point = plain(MountKind::Volume, &place);
            VolumeName::parse(source)?.as_str().clone_into(&mut point.name);
            point
        }
    };
    options.clone_into(&mut point.mode);
    if contradicts_itself(options) {
        return Err(wrong(format!("invalid mode: {options}")));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => point.writable = false,
            // How far behind a virtual machine's view may be: there is none between host and container.
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            "nocopy" if point.kind == MountKind::Volume => point.detail.no_copy = true,
            "idmap" => point.detail.id_map = true,
            option if is_propagation(option) && point.kind == MountKind::Bind => {
                option.clone_into(&mut point.propagation);
            }
            _ => return Err(wrong(format!("invalid mode: {option}"))),
        }
    }
    Ok(point)
}

/// Docker's rule: one option of each sort, for which of two would hold?
fn contradicts_itself(options: &str) -> bool {
    let is_of_sort: [fn(&str) -> bool; 5] = [
        |option| matches!(option, "ro" | "rw"),
        |option| matches!(option, "z" | "Z"),
        |option| matches!(option, "cached" | "delegated" | "consistent"),
        |option| option == "nocopy",
        is_propagation,
    ];
    is_of_sort
        .iter()
        .any(|is_of_sort| options.split(',').filter(|option| is_of_sort(option)).count() > 1)
}

/// A path that begins with `.` is meant from here.
fn absolute(path: &str) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|_| "the working directory is gone".to_owned())?;
    path.into_os_string().into_string().map_err(|_| "a path of the host must be UTF-8".to_owned())
}

/// What a tmpfs can be told, by the words of tmpfs(5) and of mount(8).
fn is_tmpfs_option(option: &str) -> bool {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match name {
        "size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge" => {
            !value.is_empty()
        }
        _ => matches!(
            option,
            "ro" | "rw"
                | "exec"
                | "noexec"
                | "suid"
                | "nosuid"
                | "dev"
                | "nodev"
                | "atime"
                | "noatime"
                | "diratime"
                | "nodiratime"
                | "relatime"
                | "norelatime"
                | "strictatime"
                | "sync"
                | "async"
                | "tmpcopyup"
        ),
    }
}

/// `TARGET[:OPTIONS]`
pub fn tmpfs(text: &str) -> Result<MountPoint, String> {
    let (place, options) = text.split_once(':').unwrap_or((text, ""));
    let mut point = plain(MountKind::Tmpfs, &target(place)?);
    options.clone_into(&mut point.mode);
    point.detail.options = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        if !is_tmpfs_option(option) {
            return Err(format!("invalid tmpfs option \"{option}\""));
        }
        point.writable &= option != "ro";
        let opposite = option.strip_prefix("no").map_or(format!("no{option}"), str::to_owned);
        point.detail.options.retain(|known| *known != opposite && known != option);
        point.detail.options.push(option.to_owned());
    }
    Ok(point)
}

/// `type=TYPE,source=SOURCE,target=TARGET,...`, or `SOURCE:TARGET[:OPTIONS]` as `-v` has it.
pub fn mount(text: &str) -> Result<MountPoint, String> {
    let fields = fields(text)?;
    if let [only] = fields.as_slice()
        && !only.contains('=')
        && only.contains(':')
    {
        let mut point = volume(only)?;
        point.detail.create_source = false;
        return Ok(point);
    }
    let mut wish = Wish { readonly: None, ..Wish::default() };
    for field in &fields {
        wish.take(field)?;
    }
    wish.finish()
}

/// What `--mount` has said so far.
#[derive(Default)]
struct Wish {
    kind: Option<MountKind>,
    source: String,
    target: String,
    readonly: Option<bool>,
    propagation: String,
    relabel: Option<Relabel>,
    detail: Detail,
    /// The first key that belongs to one type only.
    typed: Option<String>,
}

impl Wish {
    fn take(&mut self, field: &str) -> Result<(), String> {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let flag = |value: Option<&str>| match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(value) => {
                Err(format!("invalid value for {key}: {value}, it is `true` or `false`"))
            }
        };
        let text = || match value {
            Some(value) => Ok(value.to_owned()),
            None => Err(format!("invalid field '{field}' must be a key=value pair")),
        };
        if ["bind-", "volume-", "tmpfs-", "image-"].iter().any(|type_| key.starts_with(type_)) {
            self.typed.get_or_insert_with(|| key.clone());
        }
        match key.as_str() {
            "type" => self.kind = Some(kind(&text()?)?),
            "source" | "src" => self.source = text()?,
            "target" | "destination" | "dst" => self.target = text()?,
            "readonly" | "ro" => self.readonly = Some(flag(value)?),
            "rw" => self.readonly = Some(!flag(value)?),
            "consistency" => drop(text()?),
            "bind-propagation" => {
                self.propagation = text()?;
                if !is_propagation(&self.propagation) {
                    return Err(format!("invalid propagation mode: {}", self.propagation));
                }
            }
            "bind-nonrecursive" => self.detail.non_recursive = flag(value)?,
            "bind-recursive" => self.recursion(&text()?)?,
            "bind-create-src" => self.detail.create_source = flag(value)?,
            "idmap" => self.detail.id_map = flag(value)?,
            "relabel" => self.relabel = Some(relabel(&text()?)?),
            "volume-nocopy" => self.detail.no_copy = flag(value)?,
            "volume-subpath" | "image-subpath" => self.detail.subpath = subpath(&text()?)?,
            "volume-driver" if text()? == "local" => {}
            "volume-driver" => {
                return Err(format!("unknown volume driver: {}, there is `local`", text()?));
            }
            "volume-label" | "volume-opt" | "tmpfs-size" | "tmpfs-mode" => {
                self.special(&key, &text()?)?;
            }
            _ if value.is_none() => {
                return Err(format!("invalid field '{field}' must be a key=value pair"));
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    /// Keys of volumes and of file systems in memory.
    fn special(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = |why: &str| format!("invalid value for {key}: {why}");
        let (name, setting) = value.split_once('=').unwrap_or((value, ""));
        match key {
            "volume-label" => drop(self.detail.labels.insert(name.to_owned(), setting.to_owned())),
            "volume-opt" => {
                self.detail.volume_options.insert(name.to_owned(), setting.to_owned());
            }
            "tmpfs-size" => {
                let size = value.parse::<Size>().map_err(|why| wrong(&why))?;
                self.detail.options.push(format!("size={}", size.0));
            }
            _ => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                let mode = mode.ok_or_else(|| wrong(&format!("{value}, it is an octal number")))?;
                self.detail.options.push(format!("mode={mode:o}"));
            }
        }
        Ok(())
    }

    fn recursion(&mut self, value: &str) -> Result<(), String> {
        match value {
            "enabled" => {}
            "disabled" => self.detail.non_recursive = true,
            "writable" => self.detail.read_only_top = true,
            "readonly" if self.readonly == Some(false) => {
                return Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".to_owned());
            }
            "readonly" => {}
            _ => {
                return Err(format!(
                    "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ));
            }
        }
        Ok(())
    }

    /// A volume that is made for the container is empty: there is nothing in it to choose, or only to be read.
    fn check_anonymous(&self) -> Result<(), &'static str> {
        if !self.detail.subpath.is_empty() {
            return Err("must not set Subpath when using anonymous volumes");
        }
        if self.readonly == Some(true) {
            return Err("must not set ReadOnly mode when using anonymous volumes");
        }
        Ok(())
    }

    fn finish(self) -> Result<MountPoint, String> {
        let kind = self.kind.unwrap_or(MountKind::Volume);
        let word = word(kind);
        if let Some(key) = &self.typed
            && !key.starts_with(&format!("{word}-"))
        {
            let other = key.split('-').next().unwrap_or_default();
            return Err(format!("cannot mix '{other}-*' options with mount type '{word}'"));
        }
        let wrong = |why: &str| format!("invalid mount config for type \"{word}\": {why}");
        if self.target.is_empty() {
            return Err("target is required".to_owned());
        }
        let mut point = plain(kind, &target(&self.target).map_err(|why| wrong(&why))?);
        match kind {
            MountKind::Bind if self.source.is_empty() => {
                return Err(wrong("field Source must not be empty"));
            }
            MountKind::Bind if self.source.starts_with('.') => {
                point.source = absolute(&self.source)?;
            }
            MountKind::Bind if !self.source.starts_with('/') => {
                return Err(wrong(&format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    self.source
                )));
            }
            MountKind::Bind => point.source = self.source,
            MountKind::Tmpfs if !self.source.is_empty() => {
                return Err(wrong("field Source must not be specified"));
            }
            MountKind::Image if self.source.is_empty() => {
                return Err(wrong("field Source must not be empty"));
            }
            MountKind::Volume if !self.source.is_empty() => {
                VolumeName::parse(&self.source)?.as_str().clone_into(&mut point.name);
            }
            MountKind::Volume => self.check_anonymous().map_err(wrong)?,
            MountKind::Tmpfs => {}
            MountKind::Image => point.name = self.source,
        }
        if !self.propagation.is_empty() {
            point.propagation = self.propagation;
        }
        point.writable = !self.readonly.unwrap_or(kind == MountKind::Image);
        if let Some(wish) = self.relabel {
            if !matches!(kind, MountKind::Bind | MountKind::Volume) {
                return Err(wrong("field relabel must not be specified"));
            }
            wish.word().clone_into(&mut point.mode);
        }
        point.detail = self.detail;
        if kind == MountKind::Tmpfs {
            point.detail.options.splice(0..0, ["noexec", "nosuid", "nodev"].map(str::to_owned));
            if !point.writable {
                point.detail.options.push("ro".to_owned());
            }
        }
        Ok(point)
    }
}

fn relabel(text: &str) -> Result<Relabel, String> {
    match text {
        "shared" => Ok(Relabel::Shared),
        "private" => Ok(Relabel::Private),
        _ => Err(format!("invalid value for relabel: {text}, it is `shared` or `private`")),
    }
}

fn kind(text: &str) -> Result<MountKind, String> {
    match text.to_ascii_lowercase().as_str() {
        "bind" => Ok(MountKind::Bind),
        "volume" => Ok(MountKind::Volume),
        "tmpfs" => Ok(MountKind::Tmpfs),
        "image" => Ok(MountKind::Image),
        _ => Err(format!("mount type unknown: \"{text}\", it is bind, volume, tmpfs or image")),
    }
}

/// Docker's word for a kind of mount.
pub(crate) fn word(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Image => "image",
    }
}

/// A path within a volume; it is resolved there later, whatever it contains, but has no business outside.
fn subpath(text: &str) -> Result<String, String> {
    let leaves = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if text.is_empty() || leaves {
        return Err(format!("invalid subpath: {text}, it is a relative path within the volume"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_source_target_and_options() {
        let point = volume("/src:/dst//x/.:ro,z,rslave").unwrap();
        assert_eq!((point.kind, point.source.as_str()), (MountKind::Bind, "/src"));
        assert_eq!((point.destination.as_str(), point.propagation.as_str()), ("/dst/x", "rslave"));
        assert!(!point.writable && point.detail.create_source);
        let point = volume("data:/d:nocopy").unwrap();
        assert_eq!((point.kind, point.name.as_str()), (MountKind::Volume, "data"));
        assert!(point.detail.no_copy && point.writable);
        assert_eq!(volume("/d").unwrap().name, "");
        for mode in ["cached", "delegated", "ro,consistent"] {
            let point = volume(&format!("/a:/x:{mode}")).unwrap();
            assert_eq!((point.mode.as_str(), point.writable), (mode, !mode.contains("ro")));
        }
        for bad in [
            "",
            "a",
            "/a:b",
            "/a:/",
            "/a:/..",
            "/a:/b:bad",
            "/a:/b:ro:x",
            "a/b:/c",
            ":/b",
            "/a:/b:nocopy",
            "/a:/b:rw,ro",
            "a:/b:ro,nocopy,ro",
            "/a:/b:z,Z",
            "/a:/b:rshared,ro,rslave",
            "/a:/b:cached,delegated",
            "a:/b:nocopy,nocopy",
        ] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mount_is_made_of_keys_and_values() {
        let point =
            mount("type=bind,source=/src,target=/dst,readonly,bind-propagation=rshared").unwrap();
        assert_eq!((point.kind, point.writable), (MountKind::Bind, false));
        assert_eq!(point.propagation, "rshared");
        assert!(!point.detail.create_source, "--mount makes no source");
        let point = mount(
            "src=data,dst=/d,volume-subpath=a/b,volume-nocopy=true,ro=false,volume-opt=type=tmpfs",
        )
        .unwrap();
        assert_eq!((point.kind, point.name.as_str()), (MountKind::Volume, "data"));
        assert_eq!(point.detail.subpath, "a/b");
        assert_eq!(point.detail.volume_options["type"], "tmpfs");
        let point = mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        assert_eq!(
            point.detail.options,
            ["noexec", "nosuid", "nodev", "size=1048576", "mode=1770"]
        );
        let point = mount("type=volume,\"volume-opt=o=a,b\",dst=/d").unwrap();
        assert_eq!(point.detail.volume_options["o"], "a,b");
        assert!(!mount("type=image,src=alpine,dst=/i").unwrap().writable);
        assert_eq!(mount("/a:/b:ro").unwrap().source, "/a");
    }

    #[test]
    fn files_are_labelled_for_all_containers_or_for_this_one() {
        let bind = |key: &str| mount(&format!("type=bind,source=/s,target=/t{key}")).unwrap();
        for (point, wish) in [
            (volume("/a:/b:ro,z").unwrap(), Some(Relabel::Shared)),
            (volume("data:/b:Z").unwrap(), Some(Relabel::Private)),
            (volume("/a:/b:ro").unwrap(), None),
            (bind(",relabel=shared"), Some(Relabel::Shared)),
            (bind(",relabel=private"), Some(Relabel::Private)),
            (bind(""), None),
        ] {
            assert_eq!(point.relabel(), wish, "{}", point.mode);
        }
    }

    #[test]
    fn a_bad_mount_has_dockers_words() {
        for (text, why) in [
            ("type=bind,source=/s", "target is required"),
            (
                "type=bind,target=/t",
                "invalid mount config for type \"bind\": field Source must not be empty",
            ),
            ("type=nosuch,target=/t", "mount type unknown: \"nosuch\""),
            ("nosuch", "invalid field 'nosuch' must be a key=value pair"),
            ("nosuch=1,target=/t", "unexpected key 'nosuch' in 'nosuch=1'"),
            (
                "type=bind,source=/s,target=/t,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            ("type=bind,source=/s,target=/t,readonly=maybe", "invalid value for readonly: maybe"),
            ("type=bind,source=s,target=/t", "mount path must be absolute"),
            ("type=tmpfs,source=/s,target=/t", "field Source must not be specified"),
            ("source=v1,target=/t,volume-subpath=../x", "invalid subpath: ../x"),
            (
                "type=volume,target=/t,readonly",
                "must not set ReadOnly mode when using anonymous volumes",
            ),
            ("target=/t,volume-subpath=x", "must not set Subpath when using anonymous volumes"),
            ("type=tmpfs,target=/t,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
            ("target=/", "destination can't be '/'"),
            ("type=bind,source=/s,target=/t,relabel=all", "invalid value for relabel: all"),
            ("type=tmpfs,target=/t,relabel=shared", "field relabel must not be specified"),
        ] {
            let error = mount(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_tmpfs_is_closed_unless_it_is_told_otherwise() {
        assert_eq!(tmpfs("/t").unwrap().detail.options, ["noexec", "nosuid", "nodev"]);
        let options = tmpfs("/t:exec,size=64k,mode=700").unwrap().detail.options;
        assert_eq!(options, ["nosuid", "nodev", "exec", "size=64k", "mode=700"]);
        assert!(tmpfs("/t:bad").unwrap_err().contains("invalid tmpfs option \"bad\""));
        assert!(tmpfs("t").is_err());
    }
}
