//! `index.json`: which images a layout has, and under which names.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use rustix::fs::FlockOperation;

use super::{Error, Layout, canonical, read_bounded};
use crate::reason::is_full;

/// The annotation that names an image in a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

pub(super) const INDEX: &str = "index.json";

impl Layout {
    /// The index; an empty one where there is none.
    pub fn index(&self) -> Result<ImageIndex, Error> {
        Ok(self.written_index()?.unwrap_or_else(empty))
    }

    /// The index, if there is one.
    pub fn written_index(&self) -> Result<Option<ImageIndex>, Error> {
        let path = self.path().join(INDEX);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", &path, error)),
        };
        let index = serde_json::from_slice(&bytes);
        index
            .map(Some)
            .map_err(|e| Error::Document { name: path.display().to_string(), why: e.to_string() })
    }

    /// Changes the index. Others who do the same wait for it; who only reads sees the old or the new one, whole.
    pub fn update_index<T>(&self, change: impl FnOnce(&mut ImageIndex) -> T) -> Result<T, Error> {
        let _lock = self.lock()?;
        self.change_index(change)
    }

    /// Keeps others from changing the layout, until it is dropped.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let lock = File::open(self.path()).map_err(|e| Error::file("open", self.path(), e))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))
            .map_err(|e| Error::file("lock", self.path(), e))?;
        Ok(lock)
    }

    /// Changes the index under a lock that is held.
    pub(super) fn change_index<T>(
        &self,
        change: impl FnOnce(&mut ImageIndex) -> T,
    ) -> Result<T, Error> {
        let mut index = self.index()?;
        let answer = change(&mut index);
        replace(self.path(), INDEX, &canonical(&index))?;
        Ok(answer)
    }

    /// Names an image. What had the name before loses it; its blobs stay.
    pub fn tag(&self, name: &str, image: &Descriptor) -> Result<(), Error> {
        self.update_index(|index| {
            let mut images = index.manifests().clone();
            let mut image = image.clone();
            let mut annotations = image.annotations().clone().unwrap_or_default();
            annotations.insert(REF_NAME.to_owned(), name.to_owned());
            image.set_annotations(Some(annotations));
            images.retain(|known| ref_name(known) != Some(name));
            images.push(image);
            index.set_manifests(images);
        })
    }

    /// Takes a name away; whether it was there.
    pub fn untag(&self, name: &str) -> Result<bool, Error> {
        self.update_index(|index| {
            let mut images = index.manifests().clone();
            let before = images.len();
            images.retain(|known| ref_name(known) != Some(name));
            let found = images.len() < before;
            index.set_manifests(images);
            found
        })
    }

    /// The image of a name, or the only image when no name is given.
    pub fn find(&self, name: Option<&str>) -> Result<Descriptor, Error> {
        let index = self.index()?;
        let images = index.manifests();
        let fail = |what: String| Error::NoImage {
            what,
            layout: self.path().to_owned(),
            names: images.iter().filter_map(ref_name).map(str::to_owned).collect(),
        };
        match name {
            Some(name) => images
                .iter()
                .find(|image| ref_name(image) == Some(name))
                .cloned()
                .ok_or_else(|| fail(format!("no image `{name}`"))),
            None => match &images[..] {
                [image] => Ok(image.clone()),
                [] => Err(fail("no image".to_owned())),
                _ => Err(fail(format!("{} images, and no name was given,", images.len()))),
            },
        }
    }
}

/// The name of an image in the index.
pub(crate) fn ref_name(image: &Descriptor) -> Option<&str> {
    annotation(image.annotations().as_ref(), REF_NAME)
}

fn annotation<'a>(map: Option<&'a HashMap<String, String>>, key: &str) -> Option<&'a str> {
    map?.get(key).map(String::as_str)
}

fn empty() -> ImageIndex {
    ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(Vec::new())
        .build()
        .expect("all that an index needs is set")
}

/// What a file is called until it is whole.
pub(super) fn temporary(name: &str) -> String {
    format!(".{name}.new")
}

/// Replaces the file `name` in `dir` at once. Called under the lock, so whatever has the temporary name was left behind, or lies in wait:
/// a layout may come from anywhere, and a link there would lead to any file of the host, a FIFO nowhere.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> Result<(), Error> {
    let path = dir.join(name);
    let temporary = dir.join(temporary(name));
    let write = || {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(&temporary)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&temporary, &path)
    };
    let written = write().or_else(|error| {
        if !is_full(&error) {
            return Err(error);
        }
        let _ = fs::remove_file(&temporary);
        shrink(&path, content).unwrap_or(Err(error))
    });
    written.map_err(|e| Error::file("write", &path, e))
}

/// Writes over a file that has room for it: on a disk that is full, what makes room has to be written down first. `None` if it has not.
fn shrink(path: &Path, content: &[u8]) -> Option<io::Result<()>> {
    let mut file = File::options().write(true).open(path).ok()?;
    let length = content.len() as u64;
    (file.metadata().ok()?.len() >= length).then(|| {
        file.write_all(content)?;
        file.set_len(length)?;
        file.sync_data()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shorter_is_written_over_what_was_there_and_what_is_longer_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json");
        fs::write(&path, "0123456789").unwrap();
        shrink(&path, b"abc").unwrap().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert!(shrink(&path, b"abcd").is_none());
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }
}
