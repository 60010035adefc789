//! Writes chosen images of a layout as one archive that every engine loads: an OCI layout, and `docker save`'s `manifest.json`
//! over the same blobs, as Docker writes since version 25.
//!
//! Blobs go in as they are stored, so the images keep all their digests. Members are in the order of their names and have no time
//! and no owner: the same images give the same bytes.

use std::io::{self, Read, Write};

use serde::Serialize;

use super::{
    Error,
    outgoing::{Blob, Outgoing, blobs, index, manifest, member},
};
use crate::{
    layout::{Layout, canonical},
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
    let listed = match form {
        Form::Docker => Some(images.iter().map(|image| listed(layout, image))),
        Form::Oci => None,
    };
    let listed: Option<Vec<Listed>> = listed.map(Iterator::collect).transpose()?;
    let mut archive = Archive { tar: TarWriter::new(output) };
    archive.directory("blobs/")?;
    archive.directory("blobs/sha256/")?;
    for (name, blob) in &blobs(layout, images)? {
        match blob {
            Blob::Kept(descriptor) => {
                archive.file(name, descriptor.size(), layout.blob(descriptor)?)?;
            }
            Blob::Given(content) => archive.document(name, content)?,
        }
    }
    archive.document("index.json", &canonical(&index(images)))?;
    if let Some(listed) = listed {
        archive.document("manifest.json", &canonical(&listed))?;
    }
    archive.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.tar.finish().map_err(Error::Write)?;
    Ok(())
}

/// What `manifest.json` says of an image. It has no word for an index.
fn listed(layout: &Layout, image: &Outgoing) -> Result<Listed, Error> {
    if image.index.is_some() {
        return Err(Error::invalid(format!("`{}` is an index", image.manifest.digest())));
    }
    let manifest = manifest(layout, &image.manifest)?;
    let names: Vec<String> = image.names.iter().map(|name| name.familiar.clone()).collect();
    Ok(Listed {
        config: member(manifest.config())?,
        repo_tags: (!names.is_empty()).then_some(names),
        layers: manifest.layers().iter().map(member).collect::<Result<_, _>>()?,
    })
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
