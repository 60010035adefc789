//! Pull and unpack of a large image from a registry on loopback.

use std::fs;
use std::process::Stdio;

use bundle::layer::Compression;

use super::Plan;
use super::arena::Arena;
use super::engine::Kind;
use super::measure::measure;
use super::report::{Bar, Series, Table};

/// In KiB: 40 MB.
const PEAK: u64 = 40_000;

/// Every manager pulls, then forgets the image, so that the next pull is a first one.
pub(super) fn pull(arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Vec<Table> {
    let compressions = [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
    let tables = compressions.map(|(name, compression)| {
        progress(&format!("making the {name} image"));
        let image = match arena.push_large_image(compression, name) {
            Ok(image) => image,
            Err(why) => return Table::failed(&title(name), &why),
        };
        let mut series: Vec<Series> =
            arena.engines.iter().map(|engine| Series::new(engine.kind.name())).collect();
        let rounds = plan.few();
        // The registry's files come into the cache with the first round, which does not count.
        for round in 0..=rounds {
            for (engine, series) in arena.engines.iter().zip(&mut series) {
                progress(&format!("pull of {name} with {} {round}/{rounds}", engine.kind.name()));
                let fresh = arena.path().join("fresh");
                let engine = engine.elsewhere(&fresh);
                series.push(round, || measure(engine.pull(&image), arena.path(), &arena.daemons));
                let mut remove = engine.remove_image(&image);
                let _ = remove.stdout(Stdio::null()).stderr(Stdio::null()).status();
                let _ = fs::remove_dir_all(&fresh);
            }
        }
        let bars = bars(&series);
        Table::of_series(&title(name), &series, bars)
    });
    tables.into()
}

fn title(compression: &str) -> String {
    format!("pull of 572 MB in 8 {compression} layers")
}

fn bars(series: &[Series]) -> Vec<Bar> {
    let mut bars = Vec::new();
    let peers = series.iter().filter(|series| series.name != Kind::Nman.name());
    let fastest = peers.filter_map(|peer| Some((peer.wall()?, &peer.name))).min();
    if let (Some(ours), Some((peer, name))) = (series[0].wall(), fastest) {
        bars.push(Bar::ratio(
            &format!("wall, at most 1/4 of the fastest peer's ({name})"),
            ours,
            peer,
            0.25,
        ));
    }
    if let Some(peak) = series[0].peak_kib() {
        bars.push(Bar::new("resident memory, at most 40 MB", format!("{peak} KiB"), peak <= PEAK));
    }
    bars
}
