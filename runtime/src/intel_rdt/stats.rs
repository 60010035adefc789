//! What a container has of caches and memory bandwidth, in the form of `runc events`: names are those of runc's `types/events.go`.

use super::Group;
use crate::error::{Error, Result};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What resctrl shows of a container's class; what the host does not divide or count is left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_schema: Option<String>,
    /// A cache each, in the order of their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mbm_stats: Vec<Bandwidth>,
    /// The same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmt_stats: Vec<Occupancy>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct CacheInfo {
    cbm_mask: String,
    min_cbm_bits: u64,
    num_closids: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct BandwidthInfo {
    bandwidth_gran: u64,
    delay_linear: u64,
    min_bandwidth: u64,
    num_closids: u64,
}

/// In bytes, since the group was made.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Bandwidth {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

/// In bytes, now.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

impl Group {
    /// What the file system shows of the class, and counts for the monitoring group if the container has one.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be.
    pub fn stats(&self) -> Result<Stats> {
        let (root, info) = (self.root(), self.root().join("info"));
        let schemata = [root, &self.directory].map(|directory| text(&directory.join("schemata")));
        let [of_root, own] = schemata;
        let (of_root, own) = (of_root?.unwrap_or_default(), own?.unwrap_or_default());
        let mut stats = Stats::default();
        if let Some(cbm_mask) = text(&info.join("L3/cbm_mask"))? {
            let number = |file: &str| counted(&info.join("L3").join(file));
            stats.l3_cache_info = Some(CacheInfo {
                cbm_mask: cbm_mask.trim().to_owned(),
                min_cbm_bits: number("min_cbm_bits")?,
                num_closids: number("num_closids")?,
            });
            (stats.l3_cache_schema_root, stats.l3_cache_schema) =
                (line(&of_root, "L3"), line(&own, "L3"));
        }
        if text(&info.join("MB/num_closids"))?.is_some() {
            let number = |file: &str| counted(&info.join("MB").join(file));
            stats.mem_bw_info = Some(BandwidthInfo {
                bandwidth_gran: number("bandwidth_gran")?,
                delay_linear: number("delay_linear")?,
                min_bandwidth: number("min_bandwidth")?,
                num_closids: number("num_closids")?,
            });
            (stats.mem_bw_schema_root, stats.mem_bw_schema) =
                (line(&of_root, "MB"), line(&own, "MB"));
        }
        self.count(&text(&info.join("L3_MON/mon_features"))?.unwrap_or_default(), &mut stats)?;
        Ok(stats)
    }

    fn count(&self, features: &str, stats: &mut Stats) -> Result<()> {
        let has = |feature: &str| features.lines().any(|line| line.trim() == feature);
        let counted_in = self.monitoring.as_ref().unwrap_or(&self.directory).join("mon_data");
        for cache in caches(&counted_in)? {
            if has("mbm_total_bytes") || has("mbm_local_bytes") {
                stats.mbm_stats.push(Bandwidth {
                    mbm_total_bytes: counted(&cache.join("mbm_total_bytes"))?,
                    mbm_local_bytes: counted(&cache.join("mbm_local_bytes"))?,
                });
            }
            if has("llc_occupancy") {
                let llc_occupancy = counted(&cache.join("llc_occupancy"))?;
                stats.cmt_stats.push(Occupancy { llc_occupancy });
            }
        }
        Ok(())
    }
}

/// A directory for each cache: `mon_L3_00`. None where nothing is counted.
fn caches(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| unreadable(directory, &error))?,
    };
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mon_L3_"))
    };
    let mut caches: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    caches.retain(named);
    caches.sort_unstable();
    Ok(caches)
}

/// The line of schemata about a resource.
fn line(schemata: &str, resource: &str) -> Option<String> {
    let about = |line: &&str| line.split_once(':').is_some_and(|(name, _)| name == resource);
    schemata.lines().map(str::trim).find(about).map(str::to_owned)
}

fn text(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|error| unreadable(path, &error)),
    }
}

/// A number; 0 where there is no such file, or the kernel has none at the moment (`Unavailable`, `Error`).
fn counted(path: &Path) -> Result<u64> {
    Ok(text(path)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::io(format!("read `{}`", path.display()), error)
}
