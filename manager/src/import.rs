//! `nman import`: an image of one layer, from the archive of a root file system.

use crate::change;
use crate::cli::ImportArgs;
use crate::clock::Timestamp;
use crate::error::{Error, Result, reason};
use crate::event::{Kind, emit};
use crate::new_image::{NewImage, history, source_date_epoch};
use crate::registry::{self, Download, Platform, without_user};
use crate::settings::Settings;
use crate::store::Store;
use crate::{tag, transfer};
use serde_json::{Map, json};
use std::fs::File;
use std::io::{self, Read};

/// What an archive begins with that lz4 has compressed.
const LZ4: &[u8] = b"\x04\x22\x4d\x18";

/// Makes the image; its id as a line.
pub fn import(settings: &Settings, args: &ImportArgs) -> Result<String> {
    let name = args.name.as_deref().map(tag::target).transpose()?;
    let mut config = Map::new();
    change::apply(&mut config, &args.change)?;
    let created = match source_date_epoch()? {
        Some(seconds) => Timestamp::from_unix(seconds, 0),
        None => Timestamp::now(),
    }
    .to_string();
    let source = without_user(&args.source.to_string_lossy());
    let store = Store::open(&settings.root)?;
    store.check_writable()?;
    let archive = recognized(open(args, &source)?, &source)?;
    let image = NewImage::begin(&store)?;
    let (layer, diff_id) = image.import(archive).map_err(|error| Error::Rejected {
        message: format!("cannot import `{source}`: {}", why(&error)),
        hint: error.hint(),
    })?;
    let comment = args.message.clone().unwrap_or_else(|| format!("Imported from {source}"));
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let mut document = json!({
        "architecture": platform.architecture(),
        "os": platform.os(),
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]},
        "history": [history(&created, "", Some(&comment), false)],
    });
    if let Some(variant) = args.platform.as_ref().and_then(Platform::variant) {
        document["variant"] = variant.into();
    }
    let image = image.finish(&document, vec![layer], name.as_ref())?;
    let label = name.map_or_else(|| image.id.to_string(), |name| name.to_string());
    emit(settings, Kind::Image, "import", image.id.as_str(), &[("name", &label)]);
    Ok(format!("{}\n", image.id))
}

/// Why the layer could not be made. What was read and could not be kept says itself which of the two failed.
fn why(error: &Error) -> String {
    match error {
        Error::Layer(bundle::image::Error::Layout(bundle::layout::Error::NewBlob(source))) => {
            reason(source)
        }
        other => other.to_string(),
    }
}

/// What is read; `source` is what messages call it.
fn open(args: &ImportArgs, source: &str) -> Result<Box<dyn Read + Send>> {
    let path = &*args.source;
    let text = path.to_string_lossy();
    if text == "-" {
        if crate::terminal::stdin_is_terminal() {
            return Err(Error::refusal(
                "requested import from stdin, but stdin is empty".to_owned(),
            ));
        }
        return Ok(Box::new(io::stdin()));
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(Box::new(download(&text, args, source)?));
    }
    let file = File::open(path).map_err(Error::io("import", path))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Error::Rejected {
            message: format!("cannot import `{text}`: it is a directory"),
            hint: Some(format!("`tar -C {text} -c . | nman import - NAME` does it")),
        });
    }
    Ok(Box::new(file))
}

fn download(url: &str, args: &ImportArgs, source: &str) -> Result<Download> {
    transfer::reporter(false).note(&format!("Downloading from {source}"));
    Download::open(url, &transfer::tls(&args.tls)).map_err(|error| Error::Rejected {
        message: format!("cannot import `{source}`: {error}"),
        // Others speak of registries.
        hint: error.hint().filter(|_| matches!(error, registry::Error::Tls { .. })),
    })
}

/// Refuses what is compressed in a way that we cannot undo: no program is run for it.
fn recognized(mut archive: Box<dyn Read + Send>, source: &str) -> Result<impl Read + Send> {
    let mut head = Vec::new();
    let read = archive.by_ref().take(LZ4.len() as u64).read_to_end(&mut head);
    read.map_err(Error::system(format!("import `{source}`")))?;
    if head == LZ4 {
        return Err(Error::Rejected {
            message: format!("cannot import `{source}`: it is compressed by lz4"),
            hint: Some(format!("`lz4 -dc {source} | nman import - NAME` does it")),
        });
    }
    Ok(io::Cursor::new(head).chain(archive))
}
