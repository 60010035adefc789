//! `nbundle ls`.

use bundle::{
    layout::{Document, Error, Layout, REF_NAME},
    tarball::printable,
};
use oci_spec::image::Descriptor;

use super::{Failure, Outcome, print};
use crate::cli;

pub(crate) fn run(args: &cli::Ls) -> Result<Outcome, Failure> {
    let layout = Layout::open(&args.layout)?;
    let mut rows = vec![["NAME", "DIGEST", "PLATFORM", "LAYERS", "SIZE"].map(str::to_owned)];
    let mut damaged = Vec::new();
    for image in layout.index()?.manifests() {
        let (name, digest) = (name(image), image.digest().as_ref());
        let short = digest.split_once(':').map_or(digest, |(_, hex)| hex.get(..12).unwrap_or(hex));
        let [platform, layers, size] = look_into(&layout, image).unwrap_or_else(|why| {
            damaged.push(format!("`{name}`: {why}"));
            ["-"; 3].map(str::to_owned)
        });
        rows.push([name, printable(short.as_bytes()), platform, layers, size]);
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    for [name, digest, platform, layers, size] in &rows {
        print(format_args!(
            "{name:0$}  {digest:1$}  {platform:2$}  {layers:3$}  {size}",
            widths[0], widths[1], widths[2], widths[3]
        ))?;
    }
    if damaged.is_empty() {
        return Ok(Outcome::Done);
    }
    // Last: one that cannot be read does not keep the others from being listed.
    Err(Failure::new(format!("cannot tell what these images are:\n  {}", damaged.join("\n  "))))
}

/// The name of an image in the layout, which may come from anybody.
fn name(image: &Descriptor) -> String {
    let name = image.annotations().as_ref().and_then(|a| a.get(REF_NAME));
    name.map_or_else(|| "-".to_owned(), |name| printable(name.as_bytes()))
}

/// Its platform, the number of its layers and their size.
fn look_into(layout: &Layout, image: &Descriptor) -> Result<[String; 3], Error> {
    let (platform, layers, size) = match layout.document(image)? {
        Document::Manifest(manifest) => {
            let complete = layout.complete(image.clone(), (*manifest).clone())?;
            let config = complete.config;
            let size: u64 = manifest.layers().iter().map(Descriptor::size).sum();
            let platform = format!("{}/{}", config.os(), config.architecture());
            (platform, manifest.layers().len().to_string(), human(size))
        }
        Document::Index(index) => {
            (format!("{} platforms", index.manifests().len()), "-".to_owned(), "-".to_owned())
        }
    };
    Ok([printable(platform.as_bytes()), layers, size])
}

fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_for_a_person() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(999), "999 B");
        assert_eq!(human(1_550), "1.6 kB");
        assert_eq!(human(999_960), "1.0 MB");
        assert_eq!(human(3_490_000), "3.5 MB");
    }
}
