//! The members of an archive, stored as blobs while the archive is read.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::Read,
};

use oci_spec::image::{Descriptor, MediaType};

use super::{Error, Loaded};
use crate::{
    digest::{Digest, Expected},
    layer::{self, Accepted, Limits},
    layout::{Document, Layout},
    tarball::{Entry, HeaderLimits, Kind, TarError, TarReader, printable},
};

/// How many links may lead from one member to another.
const MAX_LINKS: u32 = 8;

/// What was read of an archive. Dropped without [`keep`](Self::keep), it takes its blobs out of the layout again.
pub(super) struct Intake<'l> {
    layout: &'l Layout,
    members: HashMap<Vec<u8>, Member>,
    /// Blobs that were not in the layout before.
    new: BTreeSet<Digest>,
}

enum Member {
    Blob(Digest, u64),
    /// Another member's name: older `docker save` linked equal layers.
    Link(Vec<u8>),
}

impl Member {
    /// Where it leads to, if it is a link.
    fn target(&self) -> &[u8] {
        match self {
            Self::Blob(..) => &[],
            Self::Link(target) => target,
        }
    }
}

impl<'l> Intake<'l> {
    pub(super) fn read(
        archive: impl Read + Send,
        layout: &'l Layout,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let stream = layer::Decoded::new(archive, limits, Accepted::Archives);
        let stream = stream.map_err(stream_failure)?;
        let mut tar = TarReader::new(stream, HeaderLimits::default());
        let mut intake = Self { layout, members: HashMap::new(), new: BTreeSet::new() };
        let (mut entries, mut remembered) = (0, 0);
        while let Some(entry) = tar.next().map_err(tar_failure)? {
            entries += 1;
            if entries > limits.entries {
                return Err(Error::invalid(format!("it has more than {} members", limits.entries)));
            }
            let name =
                layer::clean(&entry.name, limits.depth).map_err(|e| Error::unreadable(&e))?;
            if let Some(member) = intake.member(&entry, &name, &mut tar)? {
                remembered += layer::weight(&name) + member.target().len();
                if remembered > limits.paths {
                    let why = "the names of its members need too much memory";
                    return Err(Error::invalid(why));
                }
                intake.members.insert(name, member);
            }
        }
        tar.into_inner().finish().map_err(stream_failure)?;
        Ok(intake)
    }

    fn member(
        &mut self,
        entry: &Entry,
        name: &[u8],
        data: impl Read,
    ) -> Result<Option<Member>, Error> {
        match &entry.kind {
            Kind::File if entry.extents.is_some() => {
                Err(Error::invalid(format!("member `{}` is sparse", printable(name))))
            }
            Kind::File => {
                let expected = promised(name).map(Expected::from);
                let before = expected.as_ref().is_some_and(|e| self.layout.contains(&e.digest));
                let mut writer = self.layout.writer(expected)?;
                let mut data = data;
                writer.fill(&mut data).map_err(|e| {
                    // Where reading the archive failed, that is the news.
                    match e.downcast::<TarError>() {
                        Ok(error) => tar_failure(error),
                        Err(e) => Error::Layout(writer.failed(e)),
                    }
                })?;
                let digest = writer.digest()?;
                let before = before || self.layout.contains(&digest);
                let (digest, size) = writer.commit()?;
                if !before {
                    self.new.insert(digest.clone());
                }
                Ok(Some(Member::Blob(digest, size)))
            }
            Kind::Symlink(target) => {
                let dir = name.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
                let target = [&name[..dir], target].concat();
                Ok(Some(Member::Link(clean(&target)?)))
            }
            Kind::HardLink(target) => Ok(Some(Member::Link(clean(target)?))),
            Kind::Directory => Ok(None),
            _ => Err(Error::invalid(format!(
                "member `{}` is neither a file nor a directory",
                printable(name)
            ))),
        }
    }

    pub(super) fn layout(&self) -> &'l Layout {
        self.layout
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name.as_bytes())
    }

    /// The blob that a member is.
    pub(super) fn find(&self, name: &str, media_type: MediaType) -> Result<Descriptor, Error> {
        let missing =
            || Error::invalid(format!("it has no member `{}`", printable(name.as_bytes())));
        let mut name = clean(name.as_bytes())?;
        for _ in 0..MAX_LINKS {
            match self.members.get(&name).ok_or_else(missing)? {
                Member::Blob(digest, size) => {
                    return Ok(Descriptor::new(media_type, *size, digest));
                }
                Member::Link(target) => name.clone_from(target),
            }
        }
        Err(missing())
    }

    /// Keeps what the images refer to, and removes the rest of what was new.
    pub(super) fn keep(mut self, images: &[Loaded]) -> Result<(), Error> {
        for image in images {
            self.keep_document(&image.descriptor)?;
        }
        Ok(())
    }

    fn keep_document(&mut self, descriptor: &Descriptor) -> Result<(), Error> {
        self.keep_blob(descriptor)?;
        match self.layout.document(descriptor)? {
            Document::Manifest(manifest) => {
                self.keep_blob(manifest.config())?;
                manifest.layers().iter().try_for_each(|layer| self.keep_blob(layer))
            }
            Document::Index(index) => index
                .manifests()
                .iter()
                .filter(|d| Digest::try_from(*d).is_ok_and(|digest| self.layout.contains(&digest)))
                .try_for_each(|d| self.keep_document(d)),
        }
    }

    fn keep_blob(&mut self, descriptor: &Descriptor) -> Result<(), Error> {
        let digest = Digest::try_from(descriptor).map_err(crate::layout::Error::from)?;
        self.new.remove(&digest);
        Ok(())
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        for digest in &self.new {
            let _ = fs::remove_file(self.layout.blob_path(digest));
        }
    }
}

fn clean(name: &[u8]) -> Result<Vec<u8>, Error> {
    layer::clean(name, usize::MAX).map_err(|e| Error::unreadable(&e))
}

fn stream_failure(source: std::io::Error) -> Error {
    Error::unreadable(&layer::Error::stream(source))
}

fn tar_failure(error: TarError) -> Error {
    Error::unreadable(&error.into())
}

/// The digest that the name of an OCI archive's member promises.
fn promised(name: &[u8]) -> Option<Digest> {
    let rest = std::str::from_utf8(name.strip_prefix(b"blobs/")?).ok()?;
    rest.replacen('/', ":", 1).parse().ok()
}
