//! Images for the command line: obtained for `run`, pulled, listed and removed.

use crate::cli::{Format, ImagesArgs, LoadArgs, PullWhen, RegistryArgs};
use crate::clock::{Timestamp, human};
use crate::container::Containers;
use crate::error::{Error, Result};
use crate::event;
use crate::load::{load, load_file};
use crate::progress;
use crate::pull::{Policy, pull};
use crate::reference::Reference;
use crate::registry::Platform;
use crate::settings::Settings;
use crate::store::{Image, Removed, Store};
use crate::table::{Table, plain};
use crate::transfer;
use serde_json::json;

const HEADS: [&str; 5] = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];

/// The image that `run` names, by name or id: from the store, or from its registry.
pub fn obtain(
    settings: &Settings,
    store: &Store,
    name: &str,
    when: PullWhen,
    registry: &RegistryArgs,
) -> Result<Image> {
    if when != PullWhen::Always
        && let Ok(image) = store.find(name)
        && image.chain_ids.iter().all(|chain| store.snapshots().contains(chain))
    {
        return Ok(image);
    }
    let policy = match when {
        PullWhen::Always => Policy::Always,
        PullWhen::Missing => Policy::Missing,
        PullWhen::Never => Policy::Never,
    };
    let options = transfer::options(registry, policy);
    let reference = parse(name)?;
    let image = pull(&reference, &options, store, &*progress::for_stderr())?;
    let attributes = [("name", reference.repository())];
    event::emit(settings, event::Kind::Image, "pull", &reference.to_string(), &attributes);
    Ok(image)
}

/// `nman load`: what was loaded, in Docker's words.
pub fn load_archive(settings: &Settings, args: &LoadArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    let platform = Platform::host();
    let images = match &args.input {
        Some(path) => load_file(path, &platform, &store)?,
        None if crate::terminal::stdin_is_terminal() => {
            return Err(Error::Usage("requested load from stdin, but stdin is empty".to_owned()));
        }
        None => load(std::io::stdin(), "stdin", &platform, &store)?,
    };
    let mut text = String::new();
    for image in &images {
        for name in &image.names {
            text.push_str(&format!("Loaded image: {name}\n"));
        }
        if image.names.is_empty() {
            text.push_str(&format!("Loaded image ID: {}\n", image.id));
        }
    }
    Ok(text)
}

fn parse(name: &str) -> Result<Reference> {
    Ok(name.parse::<Reference>()?)
}

/// `nman images`: the list as text.
pub fn images(settings: &Settings, args: &ImagesArgs) -> Result<String> {
    let images = Store::open(&settings.root)?.list()?;
    let id = |image: &Image| {
        if args.no_trunc { image.id.to_string() } else { image.id.short().to_owned() }
    };
    if args.quiet {
        return Ok(images.iter().map(|image| id(image) + "\n").collect());
    }
    let mut table = Table::new(&HEADS);
    let mut objects = String::new();
    for image in &images {
        for (repository, tag) in names(image) {
            let created = image.created.as_deref().and_then(Timestamp::parse);
            let age = created.map_or("N/A".to_owned(), |time| format!("{} ago", human(time.age())));
            let size = human_size(image.size);
            match args.format {
                Format::Table => {
                    table.push(vec![plain(&repository), plain(&tag), id(image), age, size]);
                }
                Format::Json => {
                    let object = json!({
                        "Repository": repository, "Tag": tag, "ID": id(image), "CreatedSince": age,
                        "CreatedAt": image.created, "Size": size, "Digest": image.manifest_digest.as_str(),
                    });
                    objects.push_str(&format!("{object}\n"));
                }
            }
        }
    }
    Ok(if args.format == Format::Json { objects } else { table.render() })
}

/// Repository and tag of each of an image's names; `<none>` for what it has not.
fn names(image: &Image) -> Vec<(String, String)> {
    let none = || "<none>".to_owned();
    if image.names.is_empty() {
        return vec![(none(), none())];
    }
    let split =
        |name: &Reference| (name.familiar_name(), name.tag().map_or_else(none, str::to_owned));
    image.names.iter().map(split).collect()
}

/// A size in Docker's decimal units, three digits.
fn human_size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 999.5 {
            let digits = if unit == "B" || size >= 99.95 {
                0
            } else if size >= 9.995 {
                1
            } else {
                2
            };
            return format!("{size:.digits$}{unit}");
        }
        size /= 1000.0;
    }
    format!("{size:.2}TB")
}

/// `nman rmi`: what was done, in Docker's words, and what went wrong.
pub fn remove(
    settings: &Settings,
    names: &[String],
    force: bool,
) -> Result<(Vec<String>, Vec<Error>)> {
    let store = Store::open(&settings.root)?;
    let containers = Containers::open(&settings.containers())?.list()?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        let removed = store.find(name).map_err(Error::from).and_then(|image| {
            let user = containers.iter().find(|(record, _)| record.image.id == image.id.as_str());
            match user {
                Some((record, _)) if !force => Err(Error::WrongState {
                    message: format!(
                        "unable to remove image `{name}`: container {} is using it",
                        record.id.short()
                    ),
                    hint: Some(format!("remove the container first: `nman rm {}`", record.name)),
                }),
                _ => Ok(store.remove(name, force)?),
            }
        });
        match removed {
            Ok(removed) => done.extend(removed.iter().map(|removed| match removed {
                Removed::Untagged(name) => format!("Untagged: {name}"),
                Removed::Deleted(id) => format!("Deleted: {id}"),
            })),
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_decimal_units() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1234, "1.23kB"),
            (7_797_760, "7.80MB"),
            (77_977_600, "78.0MB"),
            (1_000_000_000, "1.00GB"),
            (5_000_000_000_000, "5.00TB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }
}
