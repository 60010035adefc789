//! Values as text: the way Go prints them, and `printf`.

use serde_json::{Map, Value};

/// Fields that are lists in Docker's structures, which are `[]` where they are nil.
const LISTS: [&str; 35] = [
    "Aliases",
    "Args",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Layers",
    "Links",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];

/// Fields that are maps there whatever their keys look like: `map[]` where they are nil.
const MAPS: [&str; 14] = [
    "Annotations",
    "Containers",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Fields that are pointers there.
const POINTERS: [&str; 10] = [
    "Health",
    "Healthcheck",
    "IPAMConfig",
    "Init",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "SizeRootFs",
    "SizeRw",
    "StopTimeout",
];

/// Whether an object is a structure: its fields begin with a capital, while others choose the keys of a map.
pub(super) fn is_ours(map: &Map<String, Value>) -> bool {
    !map.is_empty() && map.keys().all(|key| key.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// A value as `{{ }}` prints it.
#[must_use]
pub fn text_of(value: &Value) -> String {
    text_in("", value)
}

/// The same of what stands in a field, or behind a key, of this name: of what is not set its name tells what it would be.
pub(super) fn text_in(name: &str, value: &Value) -> String {
    match value {
        Value::Null => nil(name).to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(text_of).collect::<Vec<_>>().join(" "))
        }
        // The value of a member of a set.
        Value::Object(map) if map.is_empty() && name.contains('/') => "{}".to_owned(),
        Value::Object(map) if is_ours(map) && !MAPS.contains(&name) => {
            let fields = map.iter().map(|(key, value)| text_in(key, value));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|&(key, _)| key);
            let pair = |(key, value): (&String, &Value)| format!("{key}:{}", text_in(key, value));
            format!("map[{}]", pairs.into_iter().map(pair).collect::<Vec<_>>().join(" "))
        }
    }
}

/// What is not set. A port, which is a key with a slash, has a list; of any other name nobody knows what it would be.
fn nil(name: &str) -> &'static str {
    match name {
        list if LISTS.contains(&list) || list.contains('/') => "[]",
        map if MAPS.contains(&map) => "map[]",
        pointer if POINTERS.contains(&pointer) => "<nil>",
        _ => "<no value>",
    }
}

/// JSON in one line. Keys of an object stay in the order that it has.
pub(super) fn json_of(value: &Value) -> String {
    value.to_string()
}

/// The widest that a value is made: a template is no way to use up memory.
const WIDEST: usize = 10_000;

/// `printf`: `%s %v %d %q %t %x %X %f %g %c %%` with flags, width and precision.
pub(super) fn formatted(format: &str, arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.find(|c: char| !matches!(c, '-' | '+' | '#' | ' ' | '.' | '0'..='9'));
        let Some(end) = end else {
            text.push_str("%!(NOVERB)");
            return text;
        };
        let (flags, verb) = (&rest[..end], rest[end..].chars().next().unwrap_or('%'));
        rest = &rest[end + verb.len_utf8()..];
        if verb == '%' {
            text.push('%');
            continue;
        }
        match arguments.next() {
            Some(value) => text.push_str(&padded(flags, &converted(verb, flags, value))),
            None => text.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    text.push_str(rest);
    text
}

fn converted(verb: char, flags: &str, value: &Value) -> String {
    // No digits stand for zero.
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse().ok() };
    let precision: Option<usize> = flags.split_once('.').and_then(|(_, digits)| number(digits));
    let text = text_of(value);
    match (verb, value) {
        ('s' | 'v', _) => precision.map_or(text.clone(), |most| text.chars().take(most).collect()),
        ('q', _) => format!("{text:?}"),
        ('t', Value::Bool(_)) => text,
        ('x', Value::String(_)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('d' | 'x' | 'X' | 'c', Value::Number(number)) => match (verb, number.as_i64()) {
            ('d', Some(_)) => text,
            ('x', Some(number)) => format!("{number:x}"),
            ('X', Some(number)) => format!("{number:X}"),
            ('c', Some(number)) => u32::try_from(number)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or('\u{fffd}')
                .to_string(),
            _ => format!("%!{verb}(float64={text})"),
        },
        ('f', Value::Number(number)) => {
            let places = precision.unwrap_or(6).min(WIDEST);
            format!("{:.places$}", number.as_f64().unwrap_or_default())
        }
        ('g', Value::Number(_)) => text,
        _ => format!("%!{verb}({text})"),
    }
}

fn padded(flags: &str, text: &str) -> String {
    let (flags, _) = flags.split_once('.').unwrap_or((flags, ""));
    let sign = flags.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &flags[sign.len()..];
    let width = digits.parse::<usize>().unwrap_or(0).min(WIDEST);
    let zeros = digits.starts_with('0') && !sign.contains('-');
    match (sign.contains('-'), zeros) {
        (true, _) => format!("{text:<width$}"),
        (false, true) => match text.strip_prefix('-') {
            Some(number) => format!("-{number:0>rest$}", rest = width.saturating_sub(1)),
            None => format!("{text:0>width$}"),
        },
        (false, false) => format!("{text:>width$}"),
    }
}
