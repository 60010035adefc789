//! Writes chosen images of a layout as one archive that every engine loads: an OCI layout, and `docker save`'s `manifest.json`
//! over the same blobs, as Docker writes since version 25.
//!
//! Blobs go in as they are stored, so the images keep all their digests. Members are in the order of their names and have no time
//! and no owner: the same images give the same bytes.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read, Write},
};

use oci_spec::image::{Descriptor, ImageIndexBuilder, MediaType};
use serde::Serialize;

use super::{Error, oci::CONTAINERD_NAME};
use crate::{
    digest::Digest,
    layout::{Document, Layout, REF_NAME, canonical},
    tarball::{Entry, Kind, TarWriter, Timespec},
};

/// What an archive is to be readable as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As `docker save`'s, and as an OCI layout.
    #[default]
    Docker,
    /// As an OCI layout only.
    Oci,
}

/// One image to be written.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its manifest, which is in the layout.
    pub manifest: Descriptor,
    /// The names that it has in the archive.
    pub names: Vec<Name>,
}

/// A name in the forms that the two formats have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// With its registry: `docker.io/library/alpine:3.20`.
    pub full: String,
    /// As it is typed: `alpine:3.20`.
    pub familiar: String,
    /// What stands behind the colon.
    pub tag: String,
}

/// An entry of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Writes `images` of `layout` to `output`. Every blob is verified on its way.
pub fn write(
    layout: &Layout,
    images: &[Outgoing],
    form: Form,
    output: impl Write,
) -> Result<(), Error> {
    let mut blobs: BTreeMap<String, Descriptor> = BTreeMap::new();
    let mut listed = Vec::new();
    for image in images {
        let Document::Manifest(manifest) = layout.document(&image.manifest)? else {
            return Err(Error::invalid(format!("`{}` is an index", image.manifest.digest())));
        };
        let all = [&image.manifest, manifest.config()].into_iter().chain(manifest.layers());
        for descriptor in all {
            blobs.insert(member(descriptor)?, descriptor.clone());
        }
        let names: Vec<String> = image.names.iter().map(|name| name.familiar.clone()).collect();
        listed.push(Listed {
            config: member(manifest.config())?,
            repo_tags: (!names.is_empty()).then_some(names),
            layers: manifest.layers().iter().map(member).collect::<Result<_, _>>()?,
        });
    }
    let mut archive = Archive { tar: TarWriter::new(output) };
    archive.directory("blobs/")?;
    archive.directory("blobs/sha256/")?;
    for (name, descriptor) in &blobs {
        archive.file(name, descriptor.size(), layout.blob(descriptor)?)?;
    }
    archive.document("index.json", &canonical(&index(images)))?;
    if form == Form::Docker {
        archive.document("manifest.json", &canonical(&listed))?;
    }
    archive.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.tar.finish().map_err(Error::Write)?;
    Ok(())
}

/// The member that a blob is.
fn member(descriptor: &Descriptor) -> Result<String, Error> {
    let digest = Digest::try_from(descriptor).map_err(crate::layout::Error::from)?;
    Ok(format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex()))
}

/// `index.json`: an entry for each name, with the names where containerd and Docker keep them and where the specification has them.
fn index(images: &[Outgoing]) -> oci_spec::image::ImageIndex {
    let mut entries = Vec::new();
    for image in images {
        let bare = Descriptor::new(
            MediaType::ImageManifest,
            image.manifest.size(),
            image.manifest.digest().clone(),
        );
        if image.names.is_empty() {
            entries.push(bare.clone());
        }
        for name in &image.names {
            let mut named = bare.clone();
            named.set_annotations(Some(HashMap::from([
                (CONTAINERD_NAME.to_owned(), name.full.clone()),
                (REF_NAME.to_owned(), name.tag.clone()),
            ])));
            entries.push(named);
        }
    }
    ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(entries)
        .build()
        .expect("all that an index needs is set")
}

struct Archive<W> {
    tar: TarWriter<W>,
}

impl<W: Write> Archive<W> {
    fn directory(&mut self, name: &str) -> Result<(), Error> {
        self.append(name, Kind::Directory, 0o755, 0, io::empty())
    }

    fn document(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        self.file(name, content.len() as u64, content)
    }

    fn file(&mut self, name: &str, size: u64, mut data: impl Read) -> Result<(), Error> {
        self.append(name, Kind::File, 0o644, size, &mut data)?;
        // The verdict on a blob comes with its end.
        let end = io::copy(&mut data, &mut io::sink());
        end.map(drop).map_err(|source| failure(name, source))
    }

    fn append(
        &mut self,
        name: &str,
        kind: Kind,
        mode: u32,
        size: u64,
        data: impl Read,
    ) -> Result<(), Error> {
        let entry = Entry {
            name: name.as_bytes().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Timespec::default(),
            size,
            xattrs: Vec::new(),
            extents: None,
        };
        self.tar.append(&entry, data).map_err(|source| failure(name, source))
    }
}

/// A blob that is not what its name says is another thing than a disk that is full.
fn failure(name: &str, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::InvalidData || source.kind() == io::ErrorKind::UnexpectedEof
    {
        let digest = name.trim_start_matches("blobs/").replacen('/', ":", 1);
        return Error::Layout(crate::layout::Error::Blob { digest, source });
    }
    Error::Write(source)
}
