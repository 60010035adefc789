//! A small honest image from a static busybox binary: what it is and where it came from stands in it, and it carries no name of
//! somebody else's.

use std::{collections::HashMap, io, path::Path};

use oci_spec::image::{Config, ConfigBuilder};

use super::{Builder, Error};
use crate::{
    layer::{self, Compression},
    tarball::{Entry, Kind, TarWriter, Timespec},
};

/// A busybox binary and what is known of it.
#[derive(Clone, Debug)]
pub struct Busybox {
    /// The content of the binary.
    pub binary: Vec<u8>,
    /// Where its commands go, as `--list-full` prints them: `bin/sh`, `usr/bin/env`.
    pub applets: Vec<String>,
    /// Its version, as the package that it came from says, if anybody told.
    pub version: Option<String>,
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The binary itself, and the start of an initial ramdisk.
const NO_LINK: &[&str] = &["bin/busybox", "busybox", "linuxrc"];

const DIRECTORIES: &[(&str, u32)] = &[
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sbin", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n";

impl Busybox {
    /// Whether the binary needs nothing that the image does not have. `Err` says what it is instead.
    pub fn check_static(binary: &[u8]) -> Result<(), &'static str> {
        match has_interpreter(binary) {
            Some(false) => Ok(()),
            Some(true) => Err("it is dynamically linked"),
            None => Err("it is not a 64-bit ELF executable"),
        }
    }

    /// Adds the layer and the configuration to `builder`. The files have the time `mtime`; `adjust` has the last word on the
    /// configuration.
    pub fn build<'l>(
        &self,
        mut builder: Builder<'l>,
        mtime: Timespec,
        adjust: impl FnOnce(Config) -> Config,
    ) -> Result<Builder<'l>, Error> {
        let by = "nbundle build --from-busybox";
        builder.layer(Compression::Gzip, by, |output| self.write(mtime, output))?;
        let version = self.version.as_deref().unwrap_or("unknown");
        let builder = builder
            .config(adjust(self.config(version)))
            .annotation("org.opencontainers.image.title", "busybox")
            .annotation("org.opencontainers.image.version", version)
            .annotation("org.opencontainers.image.licenses", "GPL-2.0-only")
            .annotation("org.opencontainers.image.description", DESCRIPTION);
        Ok(builder)
    }

    fn config(&self, version: &str) -> Config {
        let labels = HashMap::from([
            ("org.opencontainers.image.version".to_owned(), version.to_owned()),
            ("org.opencontainers.image.description".to_owned(), DESCRIPTION.to_owned()),
        ]);
        ConfigBuilder::default()
            .env(vec![format!("PATH={PATH}")])
            .cmd(vec!["sh".to_owned()])
            .working_dir("/")
            .labels(labels)
            .build()
            .expect("a configuration needs nothing")
    }

    fn os_release(&self) -> String {
        let version = self.version.as_deref().unwrap_or("unknown");
        format!(
            "ID=nbundle-busybox\nNAME=\"BusyBox image made by nbundle\"\nVERSION_ID=\"{version}\"\n\
             PRETTY_NAME=\"BusyBox {version}, an image made by nbundle\"\n"
        )
    }

    fn write(&self, mtime: Timespec, output: &mut dyn io::Write) -> Result<(), layer::Error> {
        let os_release = self.os_release();
        let mut entries: Vec<(Entry, &[u8])> = vec![
            (entry("bin/busybox", Kind::File, 0o755), &self.binary),
            (entry("etc/group", Kind::File, 0o644), GROUP.as_bytes()),
            (entry("etc/os-release", Kind::File, 0o644), os_release.as_bytes()),
            (entry("etc/passwd", Kind::File, 0o644), PASSWD.as_bytes()),
        ];
        for (name, mode) in DIRECTORIES {
            entries.push((entry(&format!("{name}/"), Kind::Directory, *mode), b""));
        }
        let known = ["bin/", "sbin/", "usr/bin/", "usr/sbin/"];
        for applet in self.applets.iter().filter(|a| !NO_LINK.contains(&a.as_str())) {
            // A build without paths lists bare names.
            let name = match applet.rsplit_once('/') {
                None => format!("bin/{applet}"),
                Some((dir, _)) if known.contains(&format!("{dir}/").as_str()) => applet.clone(),
                Some(_) => continue,
            };
            let target = Kind::Symlink(b"/bin/busybox".to_vec());
            entries.push((entry(&name, target, 0o777), b""));
        }
        entries.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        entries.dedup_by(|(a, _), (b, _)| a.name == b.name);
        let mut tar = TarWriter::new(output);
        let failed = |e| layer::Error::Stream(e);
        tar.append(&Entry { mtime, ..entry("./", Kind::Directory, 0o755) }, io::empty())
            .map_err(failed)?;
        for (mut entry, data) in entries {
            entry.mtime = mtime;
            entry.size = data.len() as u64;
            tar.append(&entry, data).map_err(failed)?;
        }
        tar.finish().map(drop).map_err(failed)
    }
}

const DESCRIPTION: &str = "A shell and small commands: one static busybox binary, taken from the machine on which nbundle made this image";

fn entry(name: &str, kind: Kind, mode: u32) -> Entry {
    Entry {
        name: Path::new(name).as_os_str().as_encoded_bytes().to_vec(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Timespec::default(),
        size: 0,
        xattrs: Vec::new(),
        extents: None,
    }
}

/// Whether a 64-bit little-endian ELF file names an interpreter (PT_INTERP), which only a dynamically linked one does.
fn has_interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        bytes
            .iter()
            .rev()
            .try_fold(0_usize, |n, b| n.checked_mul(256)?.checked_add(usize::from(*b)))
    };
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count).try_fold(false, |found, n| {
        let kind = number(table.checked_add(n.checked_mul(size)?)?, 4)?;
        Some(found || kind == PT_INTERP as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_static_executable_will_do() {
        assert_eq!(Busybox::check_static(b"#!/bin/sh"), Err("it is not a 64-bit ELF executable"));
        assert!(Busybox::check_static(b"\x7fELF\x02\x01").is_err());
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(Busybox::check_static(&own), Ok(()), "the tests are built for musl");
        let dynamic = std::fs::read("/usr/bin/env").unwrap();
        assert_eq!(Busybox::check_static(&dynamic), Err("it is dynamically linked"));
    }

    #[test]
    fn commands_are_links_and_nothing_lands_outside_of_the_usual_directories() {
        let busybox = Busybox {
            binary: b"binary".to_vec(),
            applets: ["bin/sh", "usr/bin/env", "linuxrc", "opt/x", "bin/busybox"]
                .map(str::to_owned)
                .to_vec(),
            version: Some("1.35".to_owned()),
        };
        let mut bytes = Vec::new();
        busybox.write(Timespec::default(), &mut bytes).unwrap();
        let mut links = Vec::new();
        layer::scan(&bytes[..], &layer::Limits::default(), |entry| {
            if let Kind::Symlink(target) = &entry.kind {
                assert_eq!(target, b"/bin/busybox");
                links.push(String::from_utf8(entry.name.clone()).unwrap());
            }
        })
        .unwrap();
        assert_eq!(links, ["bin/sh", "usr/bin/env"]);
    }
}
