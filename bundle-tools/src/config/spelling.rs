//! Names of properties in another case than the specification's.
//!
//! runc's decoder takes them in any case, `"CPU": {"Cpus": "0"}`, and generators come to rely on that: to ignore them as unknown
//! properties would leave out a limit, or a filter, without a word. They are respelt in the text, before it is parsed, and told. Only
//! the case of ASCII letters changes, so that every position in the text stays true.

use std::ops::Range;

use super::error::Problem;
use super::leniency::{FOREIGN, MAPS};
use super::scan;

/// Respells the names in `text`, which need not be JSON, and says which.
pub(super) fn correct(text: &mut String) -> Vec<Problem> {
    if any_misspelt(text) { respell(text) } else { Vec::new() }
}

/// Looks at every key, wherever it is: this is all that a correct text costs. A key is the string before a colon; what only looks
/// like one, in a string with a colon or an escaped quote, is looked at once more in vain.
fn any_misspelt(text: &str) -> bool {
    text.split(':').any(|before| {
        let Some(key) = before.trim_ascii_end().strip_suffix('"') else { return false };
        let start = key.bytes().rposition(|byte| byte == b'"').map_or(0, |quote| quote + 1);
        misspelt(&key.as_bytes()[start..]).is_some()
    })
}

/// Where the string that begins here is closed, or the end of the text.
fn end_of_string(text: &[u8]) -> usize {
    let mut at = 0;
    let ends = |&byte: &u8| matches!(byte, b'"' | b'\\');
    while let Some(found) = text.get(at..).and_then(|rest| rest.iter().position(ends)) {
        at += found;
        match text[at] {
            b'"' => return at,
            _ => at += 2,
        }
    }
    text.len()
}

#[cold]
fn respell(text: &mut String) -> Vec<Problem> {
    let mut edits: Vec<(Range<usize>, &str)> = Vec::new();
    let mut warnings = Vec::new();
    scan::walk(text, |value| {
        let is_member = value.key != value.range.start;
        let start = value.key + 1;
        let Some(string) = text.get(start..).filter(|_| is_member) else { return };
        let range = start..start + end_of_string(string.as_bytes());
        let Some(name) = text.get(range.clone()).and_then(|key| misspelt(key.as_bytes())) else {
            return;
        };
        let Some(pointer) = property(value.pointer) else { return };
        let message = format!("is spelt `{}`, and read as `{name}`", &text[range.clone()]);
        warnings.push(Problem { pointer, message, hint: None });
        edits.push((range, name));
    });
    for (range, name) in edits {
        text.replace_range(range, name);
    }
    warnings
}

/// The pointer as it is when every name in it is respelt; nothing for a key that is no name of a property.
fn property(pointer: &str) -> Option<String> {
    let mut respelt = String::with_capacity(pointer.len());
    let mut free = false;
    for step in pointer.split('/').skip(1) {
        free = MAPS.iter().any(|(map, _)| *map == respelt);
        let name = if free { None } else { misspelt(step.as_bytes()) };
        respelt.push('/');
        respelt.push_str(name.unwrap_or(step));
        if FOREIGN.contains(&respelt.as_str()) {
            return None;
        }
    }
    (!free).then_some(respelt)
}

/// The name of a property that a key has, when the key is in another case.
fn misspelt(key: &[u8]) -> Option<&'static str> {
    let letter = usize::from(key.first()?.to_ascii_lowercase().checked_sub(b'a')?);
    let (first, behind) = (*FIRST.get(letter)?, *FIRST.get(letter + 1)?);
    let name =
        NAMES[first..behind].iter().find(|name| key.eq_ignore_ascii_case(name.as_bytes()))?;
    (name.as_bytes() != key).then_some(*name)
}

/// For each letter, and for what comes after the last, where the names that begin with it begin in [`NAMES`].
const FIRST: [usize; 27] = {
    let mut first = [0; 27];
    let mut letter = 0;
    while letter < first.len() {
        let mut at = 0;
        while at < NAMES.len() && ((NAMES[at].as_bytes()[0] - b'a') as usize) < letter {
            at += 1;
        }
        first[letter] = at;
        letter += 1;
    }
    first
};

/// Every name of a property that the specification has for Linux, in the order of their letters without their case.
#[rustfmt::skip]
const NAMES: [&str; 157] = [
    "access", "action", "additionalGids", "allow", "ambient", "annotations", "apparmorProfile", "architectures",
    "args", "blockIO", "bounding", "burst", "capabilities", "cgroupsPath", "checkBeforeUpdate", "class", "classID",
    "closID", "commandLine", "consoleSize", "containerID", "cpu", "cpus", "createContainer", "createRuntime", "cwd",
    "deadline", "defaultAction", "defaultErrnoRet", "destination", "devices", "deviceTree", "disableOOMKiller",
    "domain", "domainname", "dtdevs", "effective", "enableMonitoring", "env", "errnoRet", "execCPUAffinity",
    "fileMode", "final", "firstGFN", "firstMFN", "flags", "gid", "gidMappings", "hard", "hcaHandles", "hcaObjects",
    "height", "hooks", "hostID", "hostname", "hugepageLimits", "idle", "index", "inheritable", "initial", "intelRdt",
    "iomems", "ioPriority", "irqs", "kernel", "kernelTCP", "l3CacheSchema", "leafWeight", "limit", "linux",
    "listenerMetadata", "listenerPath", "major", "maskedPaths", "memBwSchema", "memory", "memoryPolicy", "mems",
    "minor", "mode", "mountLabel", "mounts", "name", "names", "namespaces", "nanosecs", "netDevices", "network",
    "nice", "nodes", "noNewPrivileges", "nrMFNs", "ociVersion", "oomScoreAdj", "op", "options", "pageSize", "path",
    "period", "permitted", "personality", "pids", "policy", "poststart", "poststop", "prestart", "priorities",
    "priority", "process", "quota", "rate", "rdma", "readonly", "readonlyPaths", "realtimePeriod", "realtimeRuntime",
    "reservation", "resources", "rlimits", "root", "rootfsPropagation", "runtime", "scheduler", "schemata", "seccomp",
    "secs", "selinuxLabel", "shares", "size", "soft", "source", "startContainer", "swap", "swappiness", "syscalls",
    "sysctl", "terminal", "throttleReadBpsDevice", "throttleReadIOPSDevice", "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice", "timeOffsets", "timeout", "type", "uid", "uidMappings", "umask", "unified",
    "useHierarchy", "user", "username", "value", "valueTwo", "vcpus", "weight", "weightDevice", "width",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn corrected(text: &str) -> (String, Vec<String>) {
        let mut text = text.to_owned();
        let warnings = correct(&mut text);
        (text, warnings.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn the_list_is_in_the_order_in_which_it_is_searched() {
        let lower: Vec<String> = NAMES.iter().map(|name| name.to_ascii_lowercase()).collect();
        assert!(lower.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn each_name_is_found_in_any_case() {
        for name in NAMES {
            assert_eq!(misspelt(name.as_bytes()), None);
            let other = name.to_ascii_uppercase();
            assert_eq!(misspelt(other.as_bytes()), (other != name).then_some(name));
        }
    }

    #[test]
    fn a_name_in_another_case_is_respelt_in_its_place_and_told() {
        let (text, told) =
            corrected(r#"{"Linux": {"resources": {"CPU" : {"Cpus": "0", "mems": "1"}}}}"#);
        assert_eq!(text, r#"{"linux": {"resources": {"cpu" : {"cpus": "0", "mems": "1"}}}}"#);
        let expected = [
            "/linux/resources/cpu/cpus: is spelt `Cpus`, and read as `cpus`",
            "/linux/resources/cpu: is spelt `CPU`, and read as `cpu`",
            "/linux: is spelt `Linux`, and read as `linux`",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn values_keys_of_maps_and_what_is_not_known_stay_as_they_are() {
        for text in [
            r#"{"hostname": "CPU", "process": {"args": ["CPU", "Cpus"], "env": ["\"CPU\": 1"]}}"#,
            r#"{"annotations": {"CPU": "x", "Type": "y"}, "linux": {"sysctl": {"NAME": "1"}}}"#,
            r#"{"linux": {"netDevices": {"Name": {"name": "x"}}, "resources": {"unified": {"Memory": "1"}}}}"#,
            r#"{"windows": {"Network": {"CPU": 1}}, "Cpu\u0073": 1, "cpuset": 1, "ſecs": 1}"#,
        ] {
            assert_eq!(corrected(text), (text.to_owned(), Vec::new()));
        }
        let (text, told) =
            corrected(r#"{"LINUX": {"RDMA": 1, "NetDevices": {"Type": {"Name": "x"}}}}"#);
        assert_eq!(text, r#"{"linux": {"rdma": 1, "netDevices": {"Type": {"name": "x"}}}}"#);
        assert_eq!(told[1], "/linux/netDevices/Type/name: is spelt `Name`, and read as `name`");
    }

    #[test]
    fn text_that_is_not_json_is_no_panic() {
        let text = r#"{"Linux": {"CPU": "\", "é\"": {"Cpus": [1, "x\"#;
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let (corrected, _) = corrected(&text[..end]);
            assert_eq!(corrected.len(), end);
        }
    }
}
