//! `nbundle ls`.

use bundle::{
    digest::Digest,
    layout::{Document, Layout, REF_NAME},
};
use oci_spec::image::Descriptor;

use super::{Failure, Outcome, print};
use crate::cli;

pub(crate) fn run(args: &cli::Ls) -> Result<Outcome, Failure> {
    let layout = Layout::open(&args.layout)?;
    let mut rows = vec![["NAME", "DIGEST", "PLATFORM", "LAYERS", "SIZE"].map(str::to_owned)];
    for image in layout.index()?.manifests() {
        rows.push(row(&layout, image)?);
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    for [name, digest, platform, layers, size] in &rows {
        print(format_args!(
            "{name:0$}  {digest:1$}  {platform:2$}  {layers:3$}  {size}",
            widths[0], widths[1], widths[2], widths[3]
        ));
    }
    Ok(Outcome::Done)
}

fn row(layout: &Layout, image: &Descriptor) -> Result<[String; 5], Failure> {
    let name = image.annotations().as_ref().and_then(|a| a.get(REF_NAME)).cloned();
    let digest = Digest::try_from(image).map_err(bundle::layout::Error::from)?;
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
    let name = name.unwrap_or_else(|| "-".to_owned());
    Ok([name, digest.short().to_owned(), platform, layers, size])
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
