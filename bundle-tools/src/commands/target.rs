//! Where a new image goes: into a layout, or by way of a temporary one into an archive.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bundle::{archive, image::Builder, layout::Layout, tarball::Timespec};
use oci_spec::image::ConfigBuilder;
use rustix::fs::{FlockOperation, flock};

use super::{Failure, Outcome, print, warn};
use crate::cli;

/// A layout to build into.
pub(super) struct Target {
    args: cli::Target,
    layout: InUse,
    /// Removed with everything in it at the end.
    _temporary: Option<tempfile::TempDir>,
}

impl Target {
    pub(super) fn open(args: cli::Target) -> Result<Self, Failure> {
        let (path, temporary) = match (&args.output, &args.archive) {
            (Some(output), _) => (output.clone(), None),
            (None, archive) => {
                // Beside the archive, where there is room for it.
                let dir = parent(archive.as_deref().unwrap_or(Path::new(".")));
                let temporary = tempfile::Builder::new()
                    .prefix(".nbundle-")
                    .tempdir_in(&dir)
                    .map_err(|e| Failure::file("make a directory in", &dir, &e))?;
                (temporary.path().join("layout"), Some(temporary))
            }
        };
        Ok(Self { layout: InUse::open(&path)?, args, _temporary: temporary })
    }

    pub(super) fn builder(&self) -> Builder<'_> {
        let builder = Builder::new(&self.layout.layout).created(self.args.time.map(rfc3339));
        self.args.annotation.iter().fold(builder, |b, (key, value)| b.annotation(key, value))
    }

    /// The time that all files get, if they do not keep theirs.
    pub(super) fn time(&self) -> Option<Timespec> {
        self.args.time.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 })
    }

    /// Stores and names the image, and prints its digest.
    pub(super) fn finish(&self, builder: Builder<'_>) -> Result<Outcome, Failure> {
        warn(builder.ignored(), 0);
        let image = builder.finish()?;
        self.layout.layout.tag(&self.args.tag, &image)?;
        if let Some(archive) = &self.args.archive {
            write_archive(&self.layout.layout, archive)?;
        }
        print(image.digest())?;
        Ok(Outcome::Done)
    }
}

/// A layout that this program writes to. One that was made for an image that then could not be made is taken away again when this is
/// dropped, unless another nbundle is writing to it by then: each has a shared lock on the marker for as long.
struct InUse {
    layout: Layout,
    marker: File,
    /// Whether there was none, and whether there was no directory either.
    made: bool,
    made_directory: bool,
}

impl InUse {
    fn open(path: &Path) -> Result<Self, Failure> {
        let made_directory = !path.exists();
        loop {
            let made = !Layout::at(path).marker().exists();
            let layout = Layout::create(path)?;
            let Some(marker) = lock(&layout.marker())? else { continue };
            return Ok(Self { layout, marker, made, made_directory });
        }
    }
}

/// A shared lock on a marker; none where whoever made it has just taken it away again.
fn lock(marker: &Path) -> Result<Option<File>, Failure> {
    let failed = |e: io::Error| Failure::file("lock", marker, &e);
    let file = match File::open(marker) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockShared))
        .map_err(|errno| failed(errno.into()))?;
    let is_there = file.metadata().map_err(failed)?.nlink() > 0;
    Ok(is_there.then_some(file))
}

impl Drop for InUse {
    fn drop(&mut self) {
        if self.made && flock(&self.marker, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What has an image in it is not empty, and stays.
            let _ = self.layout.remove_empty(self.made_directory);
        }
    }
}

/// Adds what was asked for to a configuration.
pub(super) fn configure(
    args: cli::Config,
    mut config: oci_spec::image::Config,
) -> oci_spec::image::Config {
    let some = |words: Vec<String>| (!words.is_empty()).then_some(words);
    if let Some(cmd) = some(args.cmd) {
        config.set_cmd(Some(cmd));
    }
    if let Some(entrypoint) = some(args.entrypoint) {
        config.set_entrypoint(Some(entrypoint));
    }
    let mut env = config.env().clone().unwrap_or_default();
    for (key, value) in args.env {
        env.retain(|known| known.split_once('=').is_none_or(|(name, _)| name != key));
        env.push(format!("{key}={value}"));
    }
    config.set_env(some(env));
    if args.workdir.is_some() {
        config.set_working_dir(args.workdir);
    }
    if args.user.is_some() {
        config.set_user(args.user);
    }
    if !args.label.is_empty() {
        let mut labels: HashMap<String, String> = config.labels().clone().unwrap_or_default();
        labels.extend(args.label);
        config.set_labels(Some(labels));
    }
    config
}

/// The configuration of an image that nothing is known of but that it is a Unix.
pub(super) fn plain_config() -> oci_spec::image::Config {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    ConfigBuilder::default()
        .env(vec![path.to_owned()])
        .cmd(vec!["/bin/sh".to_owned()])
        .build()
        .expect("a configuration needs nothing")
}

/// A file appears whole or not at all. A device or a pipe is written to: a new file in its place would take it from everybody.
fn write_archive(layout: &Layout, path: &Path) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::file("write", path, &e);
    let save = |file: &File| {
        let mut output = BufWriter::with_capacity(128 << 10, file);
        archive::save(layout, &mut output)?;
        output.flush().map_err(failed)
    };
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return save(&File::options().write(true).open(path).map_err(failed)?);
    }
    let file = tempfile::Builder::new()
        .prefix(".nbundle-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent(path))
        .map_err(failed)?;
    save(file.as_file())?;
    file.persist(path).map(|_: File| ()).map_err(|e| failed(e.error))
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A time in seconds since 1970 as RFC 3339 in UTC.
fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from days, by eras of 400 years that start on the 1st of March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::digest::Expected;

    #[test]
    fn a_layout_that_was_made_for_nothing_is_taken_away_again() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        drop(InUse::open(&path("new")).unwrap());
        assert!(!path("new").exists());
        // Somebody else's directory, and somebody else's layout.
        fs::create_dir(path("own")).unwrap();
        drop(InUse::open(&path("own")).unwrap());
        assert_eq!(fs::read_dir(path("own")).unwrap().count(), 0);
        Layout::create(path("there")).unwrap();
        drop(InUse::open(&path("there")).unwrap());
        Layout::open(path("there")).unwrap();
        // One that others write to, or have written to.
        let (first, second) =
            (InUse::open(&path("two")).unwrap(), InUse::open(&path("two")).unwrap());
        drop(first);
        second.layout.put(&b"a blob"[..], None).unwrap();
        drop(second);
        Layout::open(path("two")).unwrap();
        let filled = InUse::open(&path("filled")).unwrap();
        filled.layout.put(&b"a blob"[..], None).unwrap();
        drop(filled);
        Layout::open(path("filled")).unwrap();
    }

    #[test]
    fn who_fails_takes_nothing_away_from_others_that_begin_at_the_same_moment() {
        for _ in 0..20 {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("l");
            let fails = || drop(InUse::open(&path).unwrap());
            let works = || InUse::open(&path).unwrap().layout.put(&b"a blob"[..], None);
            std::thread::scope(|scope| {
                scope.spawn(fails);
                let first = scope.spawn(works);
                scope.spawn(fails);
                let second = scope.spawn(works);
                let stored = first.join().unwrap().unwrap();
                assert_eq!(second.join().unwrap().unwrap(), stored);
                let expected = Expected { digest: stored.0, size: Some(stored.1) };
                assert!(Layout::open(&path).unwrap().has(&expected));
            });
        }
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(-62_167_219_200), "0000-01-01T00:00:00Z");
        assert_eq!(rfc3339(253_402_300_799), "9999-12-31T23:59:59Z");
    }
}
