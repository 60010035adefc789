//! What `update` is asked for, as JSON in the form of `linux.resources`, and how it is laid over what a container has.
//!
//! JSON and not the types: only there is a limit that is not given different from one that is zero.

use crate::cli::Parsed;
use crate::error::{Error, Result};
use oci_spec::runtime::LinuxResources;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io::Read;

/// More than any list of limits needs.
const LONGEST: u64 = 1 << 20;

/// The names that runc knows, section by section; Go's decoder takes them in any case.
const SECTIONS: [(&str, &[&str]); 6] = [
    (
        "",
        &[
            "devices",
            "memory",
            "cpu",
            "pids",
            "blockIO",
            "hugepageLimits",
            "network",
            "rdma",
            "unified",
        ],
    ),
    (
        "memory",
        &[
            "limit",
            "reservation",
            "swap",
            "kernel",
            "kernelTCP",
            "swappiness",
            "disableOOMKiller",
            "useHierarchy",
            "checkBeforeUpdate",
        ],
    ),
    (
        "cpu",
        &[
            "shares",
            "quota",
            "burst",
            "period",
            "realtimeRuntime",
            "realtimePeriod",
            "cpus",
            "mems",
            "idle",
        ],
    ),
    ("pids", &["limit"]),
    (
        "blockIO",
        &[
            "weight",
            "leafWeight",
            "weightDevice",
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        ],
    ),
    ("network", &["classID", "priorities"]),
];

/// Limits for which zero, or an empty list, means: as it is.
const ZERO_IS_UNCHANGED: [(&str, &[&str]); 3] = [
    ("memory", &["limit", "reservation", "swap", "kernel", "kernelTCP"]),
    ("cpu", &["shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"]),
    ("blockIO", &["weight", "leafWeight"]),
];

/// What is asked for, by `--resources` or flag by flag, and what is to be warned of.
///
/// # Errors
/// When the file cannot be read, or a limit is none.
pub(super) fn asked(parsed: &Parsed) -> Result<(Value, Vec<String>)> {
    let mut warnings = Vec::new();
    let asked = match parsed.value("resources").filter(|path| !path.is_empty()) {
        Some(path) => {
            let asked = normal(read(path)?, &mut warnings);
            check(&asked, path)?;
            asked
        }
        None => {
            for name in ["kernel-memory", "kernel-memory-tcp"] {
                if given(parsed, name).is_some() {
                    warnings.push(format!("Setting --{name} is ignored and will be removed"));
                }
            }
            normal(of_flags(parsed)?, &mut warnings)
        }
    };
    Ok((asked, warnings))
}

/// Reads one JSON value and no further: whoever writes it need not close the pipe.
fn read(path: &str) -> Result<Value> {
    let what = || format!("read the resources from `{path}`");
    let source: Box<dyn Read> = match path {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(std::fs::File::open(path).map_err(|error| Error::io(what(), &error))?),
    };
    let mut json = serde_json::Deserializer::from_reader(source.take(LONGEST));
    let value = Value::deserialize(&mut json).map_err(|error| match error.is_io() {
        true => Error::io(what(), &error.into()),
        false => Error::Usage(format!("cannot {}: {error}", what())),
    })?;
    match value {
        Value::Object(_) => Ok(value),
        // Nothing at all is asked for, as with runc.
        Value::Null => Ok(json!({})),
        _ => Err(Error::Usage(format!("cannot {}: it must be a JSON object", what()))),
    }
}

/// Finds the section that is not what it should be.
fn check(asked: &Value, path: &str) -> Result<()> {
    for (name, value) in asked.as_object().into_iter().flatten() {
        if let Err(error) = typed(&json!({ name: value })) {
            return Err(Error::Usage(format!("invalid resources in `{path}`: `{name}`: {error}")));
        }
    }
    Ok(())
}

/// As the types that limits are planned from; without device rules, which are not ours to change.
///
/// # Errors
/// When a value has another type.
pub(super) fn typed(resources: &Value) -> Result<LinuxResources> {
    let mut resources = resources.clone();
    strip_nulls(&mut resources);
    if let Value::Object(resources) = &mut resources {
        resources.shift_remove("devices");
        // The types read a limit that is not there as one of 0.
        let limitless = |pids: &Value| pids.is_object() && pids.get("limit").is_none();
        if resources.get("pids").is_some_and(limitless) {
            resources.shift_remove("pids");
        }
        let pages = resources.get_mut("hugepageLimits").and_then(Value::as_array_mut);
        pages.into_iter().flatten().filter_map(|pages| pages.get_mut("limit")).for_each(bound);
    }
    if resources.is_null() {
        return Ok(LinuxResources::default());
    }
    serde_json::from_value(resources).map_err(|error| Error::Usage(error.to_string()))
}

/// From 2^63 on the kernel counts no pages, so that nothing is limited, and the type has no larger number (as in config.json).
fn bound(limit: &mut Value) {
    if limit.as_u64().is_some_and(|limit| i64::try_from(limit).is_err()) {
        *limit = i64::MAX.into();
    }
}

fn given<'p>(parsed: &'p Parsed, name: &str) -> Option<&'p str> {
    parsed.value(name).filter(|value| !value.is_empty())
}

fn of_flags(parsed: &Parsed) -> Result<Value> {
    let mut resources = json!({"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}});
    let mut set = |section: &str, member: &str, value: Value| resources[section][member] = value;
    for (name, member) in
        [("memory", "limit"), ("memory-swap", "swap"), ("memory-reservation", "reservation")]
    {
        if let Some(text) = given(parsed, name) {
            set("memory", member, size(text).map_err(|why| invalid(name, &why))?.into());
        }
    }
    for (name, member, signed) in [
        ("cpu-period", "period", false),
        ("cpu-quota", "quota", true),
        ("cpu-burst", "burst", false),
        ("cpu-share", "shares", false),
        ("cpu-rt-period", "realtimePeriod", false),
        ("cpu-rt-runtime", "realtimeRuntime", true),
        ("cpu-idle", "idle", true),
    ] {
        if let Some(text) = given(parsed, name) {
            let number = if signed {
                text.parse::<i64>().map(Value::from)
            } else {
                text.parse::<u64>().map(Value::from)
            };
            let why = |_| format!("`{text}` is no whole number that fits");
            set("cpu", member, number.map_err(why).map_err(|why| invalid(name, &why))?);
        }
    }
    for (name, member) in [("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")] {
        if let Some(list) = given(parsed, name) {
            set("cpu", member, list.into());
        }
    }
    for (name, section, member) in
        [("blkio-weight", "blockIO", "weight"), ("pids-limit", "pids", "limit")]
    {
        if let Some(text) = parsed.value(name) {
            let number = text
                .parse::<i64>()
                .ok()
                .filter(|number| section == "pids" || u16::try_from(*number).is_ok());
            let why = || invalid(name, &format!("`{text}` is no whole number that fits"));
            set(section, member, number.ok_or_else(why)?.into());
        }
    }
    Ok(resources)
}

fn invalid(name: &str, why: &str) -> Error {
    Error::Usage(format!("invalid value for {name}: {why}"))
}

/// A number of bytes, as Docker writes it: `512M`, `1.5 GiB`, `64kb`, in powers of 1024 all of them; `-1` for no limit.
fn size(text: &str) -> std::result::Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || format!("invalid size: `{text}`");
    let end =
        text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' ')).ok_or_else(wrong)?;
    let (number, suffix) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let power = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(format!("invalid suffix: `{suffix}`")),
    };
    let unit = 1024_i64.pow(power);
    let bytes = match number.parse::<i64>() {
        Ok(whole) => whole.checked_mul(unit),
        // A fraction: 52 bits of it are exact.
        Err(_) => {
            let bytes = number.parse::<f64>().map_err(|_| wrong())? * unit as f64;
            (bytes < i64::MAX as f64).then_some(bytes as i64)
        }
    };
    bytes.ok_or_else(wrong)
}

/// What is asked for in the names of the specification, without what asks for nothing.
fn normal(mut asked: Value, warnings: &mut Vec<String>) -> Value {
    strip_nulls(&mut asked);
    spell(&mut asked, "", warnings);
    let Value::Object(resources) = &mut asked else { return asked };
    // Engines send a container's whole resources. Its devices stay as they are.
    resources.shift_remove("devices");
    for (section, _) in &SECTIONS[1..] {
        if let Some(value) = resources.get_mut(*section) {
            spell(value, section, warnings);
        }
    }
    for (section, members) in ZERO_IS_UNCHANGED {
        if let Some(Value::Object(section)) = resources.get_mut(section) {
            section.retain(|name, value| !(members.contains(&name.as_str()) && is_zero(value)));
        }
    }
    if let Some(Value::Object(memory)) = resources.get_mut("memory") {
        let before = memory.len();
        memory.retain(|name, _| !matches!(name.as_str(), "kernel" | "kernelTCP"));
        if memory.len() < before {
            warnings.push("Kernel memory settings are ignored and will be removed".into());
        }
    }
    // No process at all is not a limit that a container could have: runc takes it for the next.
    if let Some(limit) = resources.get_mut("pids").and_then(|pids| pids.get_mut("limit"))
        && is_zero(limit)
    {
        *limit = 1.into();
    }
    resources.retain(|_, section| section.as_object().is_none_or(|members| !members.is_empty()));
    asked
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || value.as_str() == Some("")
}

/// Gives the members of a section their names as the specification spells them, and tells which nobody knows.
fn spell(value: &mut Value, section: &str, warnings: &mut Vec<String>) {
    let known =
        SECTIONS.iter().find(|(name, _)| *name == section).map_or(&[][..], |(_, known)| known);
    let Value::Object(members) = value else { return };
    let mut spelled = Map::new();
    for (name, value) in std::mem::take(members) {
        match known.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
            Some(known) => drop(spelled.insert((*known).to_owned(), value)),
            None => {
                let place = if section.is_empty() { name } else { format!("{section}/{name}") };
                warnings.push(format!("unknown resource `{place}` is ignored"));
            }
        }
    }
    *members = spelled;
}

/// `null` is "not given", as everywhere in a configuration.
pub(super) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(entries) => entries.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Whether the value at a pointer is asked for. Entries of a list are asked for all together.
pub(super) fn names(asked: &Value, pointer: &str) -> bool {
    let mut place = asked;
    for step in pointer.split('/').skip(1) {
        match place {
            Value::Object(members) => {
                let name = step.replace("~1", "/").replace("~0", "~");
                let Some(value) = members.get(&name) else { return false };
                place = value;
            }
            Value::Array(_) => return true,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(asked: Value) -> (Value, Vec<String>) {
        let mut warnings = Vec::new();
        let asked = normal(asked, &mut warnings);
        (asked, warnings)
    }

    fn flags(line: &str) -> Result<Value> {
        let line = format!("update c1 {line}");
        of_flags(&crate::cli::parse(line.split_whitespace().map(str::to_owned))?)
    }

    #[test]
    fn sizes_are_those_of_docker() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("32b", 32),
            ("32k", 32 << 10),
            ("512M", 512 << 20),
            ("512 MB", 512 << 20),
            ("2GiB", 2 << 30),
            ("1.5g", 3 << 29),
            ("1T", 1 << 40),
            ("3p", 3 << 50),
            ("9223372036854775807", i64::MAX),
            ("-1", -1),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "x", "-2", "-1M", "+1", "1e3", "inf", "nan", "M", "1MM", "1Mi", "9p9", "8192p", ".",
        ] {
            assert!(size(text).is_err(), "{text:?}: {:?}", size(text));
        }
    }

    #[test]
    fn flags_become_resources() {
        let asked = flags(
            "--memory 1M --memory-swap -1 --cpu-quota -1 --cpu-period 5 --cpuset-cpus 0-1 --pids-limit 0 --blkio-weight 10              --cpu-idle 0 --cpu-burst 0",
        );
        let (asked, warnings) = normalised(asked.unwrap());
        let expected = json!({
            "memory": {"limit": 1_048_576, "swap": -1},
            "cpu": {"period": 5, "quota": -1, "burst": 0, "idle": 0, "cpus": "0-1"},
            "pids": {"limit": 1},
            "blockIO": {"weight": 10}
        });
        assert_eq!((asked, warnings), (expected, vec![]));
    }

    #[test]
    fn a_flag_that_is_no_number_is_named() {
        for (line, name) in [
            ("--memory 5Q", "memory: invalid suffix: `Q`"),
            ("--cpu-period -1", "cpu-period"),
            ("--cpu-idle x", "cpu-idle"),
            ("--pids-limit 1.5", "pids-limit"),
            ("--blkio-weight 65536", "blkio-weight"),
        ] {
            let error = flags(line).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid value for {name}")), "{error}");
        }
    }

    #[test]
    fn zero_asks_for_nothing_but_where_it_is_a_limit() {
        let all = json!({
            "devices": [{"allow": true}],
            "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "swappiness": 0},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0,
                    "cpus": "", "mems": "", "idle": 0, "burst": 0},
            "blockIO": {"weight": 0, "leafWeight": null},
            "pids": null
        });
        let expected = json!({
            "memory": {"swappiness": 0}, "cpu": {"idle": 0, "burst": 0}
        });
        assert_eq!(normalised(all), (expected, vec![]));
    }

    #[test]
    fn names_are_taken_in_any_case_and_unknown_ones_are_told() {
        let (asked, warnings) =
            normalised(json!({"CPU": {"Cpus": "1", "x": 1}, "memory": {"kernel": 5}, "y": {}}));
        assert_eq!(asked, json!({"cpu": {"cpus": "1"}}));
        assert_eq!(
            warnings,
            [
                "unknown resource `y` is ignored",
                "unknown resource `cpu/x` is ignored",
                "Kernel memory settings are ignored and will be removed"
            ]
        );
    }

    #[test]
    fn a_section_that_is_none_is_refused_by_its_name() {
        for section in ["memory", "cpu", "pids", "blockIO", "hugepageLimits", "network", "unified"]
        {
            let asked = json!({ section: 5 });
            let error = check(&asked, "file").unwrap_err().to_string();
            assert!(error.contains(&format!("`{section}`: invalid type")), "{section}: {error}");
        }
        assert!(check(&json!({"pids": {}}), "file").is_ok());
    }

    #[test]
    fn a_limit_of_huge_pages_that_is_none_is_taken() {
        let limits =
            |limit: Value| json!({"hugepageLimits": [{"pageSize": "2MB", "limit": limit}]});
        for (given, read) in [(1 << 21, 1 << 21), (u64::MAX, i64::MAX), (1 << 63, i64::MAX)] {
            let resources = typed(&limits(given.into())).unwrap();
            assert_eq!(resources.hugepage_limits().as_ref().unwrap()[0].limit(), read);
        }
        assert!(check(&limits("x".into()), "file").is_err());
    }

    #[test]
    fn pointers_are_found_and_lists_as_a_whole() {
        let asked =
            json!({"memory": {"limit": 1}, "unified": {"a/b": "c"}, "hugepageLimits": [{}]});
        for (pointer, found) in [
            ("/memory/limit", true),
            ("/memory/swap", false),
            ("/cpu/quota", false),
            ("/unified/a~1b", true),
            ("/hugepageLimits/3/limit", true),
        ] {
            assert_eq!(names(&asked, pointer), found, "{pointer}");
        }
    }
}
