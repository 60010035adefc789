//! `nman images`: the images that are here.

use crate::cli::{Format, ImagesArgs};
use crate::clock::human;
use crate::error::Result;
use crate::reference::Reference;
use crate::settings::Settings;
use crate::store::{Image, Store};
use crate::table::{Table, plain};
use serde_json::json;

const HEADS: [&str; 5] = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];

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
            let created = image.time();
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
