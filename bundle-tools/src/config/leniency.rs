//! What runc takes and the types of `oci-spec` refuse.
//!
//! Engines are written against runc, whose JSON decoder reads `null` as "not given" and whose
//! types hold strings where ours hold enumerations. After a parse has failed, the text is edited so
//! that such places are read as runc reads them; whatever is still wrong after that is an error.
//! Nothing is edited that would make a container run with more privileges than were asked for.

use std::ops::Range;

use oci_spec::runtime::Capability;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::error::Problem;
use super::scan::{self, Value};

/// What a text describes, which decides where in a configuration its pointers start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// A whole configuration.
    Config,
    /// The value of `/process` in one.
    Process,
}

impl Document {
    /// The pointer of the document's root in a configuration.
    fn base(self) -> &'static str {
        match self {
            Document::Config => "",
            Document::Process => "/process",
        }
    }
}

/// The text as it has to be read, and what should be told about that.
pub(super) fn forgive(text: &str, document: Document) -> (String, Vec<Problem>) {
    let mut edits = Edits::default();
    scan::walk(text, |value| {
        let pointer = format!("{}{}", document.base(), value.pointer);
        edits.null(value, &pointer);
        edits.platform(value, &pointer);
        edits.device_rule_type(value, &pointer);
        edits.affinity(value, &pointer);
        edits.scheduler_flag(value, &pointer);
        edits.huge_limit(value, &pointer);
        edits.capability(value, &pointer);
        edits.user(value, &pointer);
        edits.seccomp(value, &pointer);
    });
    (edits.apply(text), edits.warnings)
}

/// Objects that are maps with any key, and how runc reads a `null` in them.
pub(super) const MAPS: [(&str, &str); 6] = [
    ("/annotations", "\"\""),
    ("/linux/sysctl", "\"\""),
    ("/linux/resources/unified", "\"\""),
    ("/linux/resources/rdma", "{}"),
    ("/linux/netDevices", "{}"),
    ("/linux/timeOffsets", "{}"),
];

/// Sections for other platforms, and two that no version of the specification has.
pub(super) const FOREIGN: [&str; 6] =
    ["/windows", "/solaris", "/vm", "/zos", "/uidMappings", "/gidMappings"];

#[derive(Default)]
struct Edits {
    edits: Vec<(Range<usize>, String)>,
    warnings: Vec<Problem>,
    known_capabilities: Vec<String>,
    unknown_capabilities: usize,
    has_user: bool,
    has_seccomp_rules: bool,
}

impl Edits {
    fn replace(&mut self, range: Range<usize>, with: &str) {
        // By where they begin, the longer one first: nearly always at the end.
        let order = |edit: &Range<usize>| (edit.start, std::cmp::Reverse(edit.end));
        let place = self.edits.partition_point(|(other, _)| order(other) <= order(&range));
        self.edits.insert(place, (range, with.to_owned()));
    }

    /// Gives a member a name that nothing knows, by which it is ignored like any unknown one.
    fn ignore_member(&mut self, value: &Value<'_>) {
        let inside_quote = value.key + 1;
        self.replace(inside_quote..inside_quote, "~");
    }

    fn warn(&mut self, value: &Value<'_>, message: String) {
        self.warnings.push(Problem { pointer: value.pointer.to_owned(), message, hint: None });
    }

    /// `null` is "not given" for a property, and an empty value in a map.
    fn null(&mut self, value: &Value<'_>, pointer: &str) {
        let is_member = value.key != value.range.start;
        if value.raw != "null" || !is_member {
            return;
        }
        let parent = &pointer[..pointer.rfind('/').unwrap_or(0)];
        match MAPS.iter().find(|(map, _)| *map == parent) {
            Some((_, empty)) => self.replace(value.range.clone(), empty),
            None => self.ignore_member(value),
        }
    }

    /// Sections for other platforms are none of our business, whatever is in them.
    fn platform(&mut self, value: &Value<'_>, pointer: &str) {
        if FOREIGN.contains(&pointer) && value.raw != "null" {
            self.ignore_member(value);
        }
    }

    /// A device rule with an empty type is for all types, like one without.
    fn device_rule_type(&mut self, value: &Value<'_>, pointer: &str) {
        let rule = pointer.starts_with("/linux/resources/devices/") && pointer.ends_with("/type");
        if rule && value.raw == "\"\"" {
            self.ignore_member(value);
        }
    }

    /// In a list of CPUs, spaces and empty entries mean nothing, and neither does an empty list.
    fn affinity(&mut self, value: &Value<'_>, pointer: &str) {
        if !pointer.starts_with("/process/execCPUAffinity/") {
            return;
        }
        let Ok(list) = serde_json::from_str::<String>(value.raw) else { return };
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries: Vec<&str> = entries.collect();
        if entries.is_empty() {
            self.ignore_member(value);
        } else if let plain = entries.join(",")
            && plain != list
        {
            self.replace(value.range.clone(), &serde_json::Value::from(plain).to_string());
        }
    }

    /// The specification's spellings, which `oci-spec` derives wrongly from its Rust names.
    fn scheduler_flag(&mut self, value: &Value<'_>, pointer: &str) {
        if !pointer.starts_with("/process/scheduler/flags/") {
            return;
        }
        match value.raw {
            "\"SCHED_FLAG_DL_OVERRUN\"" => {
                self.replace(value.range.clone(), "\"SCHED_FLAG_D_L_OVERRUN\"");
            }
            "\"SCHED_FLAG_RESET_ON_FORK\"" => {
                self.replace(value.range.clone(), "\"SCHED_RESET_ON_FORK\"");
            }
            _ => {}
        }
    }

    /// A limit of huge pages is a `uint64`, and `oci-spec` has a signed number. The kernel counts pages, of which there are no more in
    /// the one than in the other (`PAGE_COUNTER_MAX`): neither limits anything.
    fn huge_limit(&mut self, value: &Value<'_>, pointer: &str) {
        let limit = pointer.starts_with("/linux/resources/hugepageLimits/")
            && pointer.ends_with("/limit")
            && value.raw.parse::<u64>().is_ok_and(|limit| i64::try_from(limit).is_err());
        if limit {
            self.replace(value.range.clone(), &i64::MAX.to_string());
        }
    }

    /// "Any value which cannot be mapped to a relevant kernel interface … MUST be logged as a
    /// warning": a name that is newer than this program must not stop a container.
    fn capability(&mut self, value: &Value<'_>, pointer: &str) {
        let Some(set) = pointer.strip_prefix("/process/capabilities/") else { return };
        if !set.contains('/') {
            if self.unknown_capabilities > 0 && value.raw.starts_with('[') {
                let kept = format!("[{}]", self.known_capabilities.join(","));
                self.replace(value.range.clone(), &kept);
            }
            self.known_capabilities.clear();
            self.unknown_capabilities = 0;
            return;
        }
        match serde_json::from_str::<String>(value.raw) {
            Ok(name) if !is_capability(&name) => {
                self.unknown_capabilities += 1;
                self.warn(value, format!("unknown capability `{name}` is ignored"));
            }
            // Values of other types stay, to be found by the parser.
            _ => self.known_capabilities.push(value.raw.to_owned()),
        }
    }

    /// A process without a user is root's.
    fn user(&mut self, value: &Value<'_>, pointer: &str) {
        if pointer == "/process/user" && value.raw != "null" {
            self.has_user = true;
        }
        if pointer == "/process" && value.raw.starts_with('{') && !self.has_user {
            let empty = value.raw[1..].trim_ascii_start() == "}";
            let inside = value.range.start + 1;
            self.replace(inside..inside, if empty { "\"user\":{}" } else { "\"user\":{}," });
        }
    }

    /// No default action and no rule is how an engine that was built so says "unconfined".
    fn seccomp(&mut self, value: &Value<'_>, pointer: &str) {
        let empty = matches!(value.raw, "\"\"" | "null")
            || value.raw.trim_matches(['[', ']']).trim_ascii().is_empty();
        match pointer {
            "/linux/seccomp/defaultAction" | "/linux/seccomp/syscalls" if !empty => {
                self.has_seccomp_rules = true;
            }
            "/linux/seccomp" if value.raw.starts_with('{') && !self.has_seccomp_rules => {
                self.ignore_member(value);
                self.warn(value, "has no default action and no rule: nothing is filtered".into());
            }
            _ => {}
        }
    }

    /// The text with all edits made. Of two edits that overlap, the one around the other is made.
    fn apply(&self, text: &str) -> String {
        let mut edited = String::with_capacity(text.len() + 16 * self.edits.len());
        let mut done = 0;
        for (range, with) in &self.edits {
            if range.start >= done {
                edited.push_str(&text[done..range.start]);
                edited.push_str(with);
                done = range.end;
            }
        }
        edited.push_str(&text[done..]);
        edited
    }
}

fn is_capability(name: &str) -> bool {
    let name: StrDeserializer<'_, ValueError> = name.into_deserializer();
    Capability::deserialize(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> String {
        forgive(text, Document::Config).0
    }

    #[test]
    fn null_is_not_given() {
        assert_eq!(edited(r#"{"hooks": null}"#), r#"{"~hooks": null}"#);
        let map = r#"{"annotations": {"a": null}, "linux": {"netDevices": {"eth0": null}}}"#;
        let read = r#"{"annotations": {"a": ""}, "linux": {"netDevices": {"eth0": {}}}}"#;
        assert_eq!(edited(map), read);
        assert_eq!(edited("[null]"), "[null]");
        assert_eq!(edited("null"), "null");
    }

    #[test]
    fn sections_for_other_platforms_are_left_out_whatever_they_hold() {
        let text = r#"{"windows": {"layerFolders": 1, "x": null}, "vm": []}"#;
        let read = r#"{"~windows": {"layerFolders": 1, "~x": null}, "~vm": []}"#;
        assert_eq!(edited(text), read);
    }

    #[test]
    fn unknown_capabilities_are_left_out_and_told() {
        let text = r#"{"capabilities": {"bounding": ["CAP_NEW", "CAP_KILL", "", 7], "ambient": ["X"],
            "effective": ["CAP_KILL"]}, "user": {}}"#;
        let (read, warnings) = forgive(text, Document::Process);
        assert!(read.contains(r#""bounding": ["CAP_KILL",7]"#), "{read}");
        assert!(read.contains(r#""ambient": []"#), "{read}");
        assert!(read.contains(r#""effective": ["CAP_KILL"]"#), "{read}");
        let told: Vec<String> = warnings.iter().map(Problem::to_string).collect();
        let expected = [
            "/capabilities/bounding/0: unknown capability `CAP_NEW` is ignored",
            "/capabilities/bounding/2: unknown capability `` is ignored",
            "/capabilities/ambient/0: unknown capability `X` is ignored",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_missing_user_is_root() {
        assert_eq!(edited(r#"{"process": {}}"#), r#"{"process": {"user":{}}}"#);
        assert_eq!(edited(r#"{"process": {"a": 1}}"#), r#"{"process": {"user":{},"a": 1}}"#);
        let null = r#"{"process": {"user": null}}"#;
        assert_eq!(edited(null), r#"{"process": {"user":{},"~user": null}}"#);
        let given = r#"{"process": {"user": {"uid": 7}}}"#;
        assert_eq!(edited(given), given);
    }

    #[test]
    fn seccomp_is_left_out_only_when_it_says_nothing_at_all() {
        for empty in [r#"{}"#, r#"{"defaultAction": "", "syscalls": [ ]}"#] {
            let (read, warnings) =
                forgive(&format!(r#"{{"linux": {{"seccomp": {empty}}}}}"#), Document::Config);
            assert!(read.contains("~seccomp"), "{read}");
            assert_eq!(warnings.len(), 1);
        }
        for given in [r#"{"syscalls": [{}]}"#, r#"{"defaultAction": "SCMP_ACT_KILL"}"#] {
            let text = format!(r#"{{"linux": {{"seccomp": {given}}}}}"#);
            assert_eq!(edited(&text), text);
        }
    }

    #[test]
    fn the_other_spellings_that_runc_takes_are_taken() {
        let text = r#"{"linux": {"resources": {"devices": [{"type": ""}]}}, "process": {"user": {},
            "execCPUAffinity": {"initial": ", ", "final": " 0-3, ,7"},
            "scheduler": {"flags": ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RESET_ON_FORK"]}}}"#;
        let read = edited(text);
        let parts = [
            r#""~type": """#,
            r#""~initial": ", ""#,
            r#": "0-3,7""#,
            "FLAG_D_L_OVERRUN",
            "SCHED_RESET_ON_FORK",
        ];
        for part in parts {
            assert!(read.contains(part), "{read}");
        }
    }

    #[test]
    fn a_limit_of_huge_pages_that_is_none_is_taken() {
        let limits = |limit: &str| {
            let limits = format!(r#"[{{"pageSize": "2MB", "limit": {limit}}}]"#);
            format!(r#"{{"linux": {{"resources": {{"hugepageLimits": {limits}}}}}}}"#)
        };
        let most = limits("9223372036854775807");
        for limit in ["9223372036854775808", "18446744073709551615"] {
            assert_eq!(edited(&limits(limit)), most);
        }
        for other in ["18446744073709551616", "9223372036854775807", "-1", "1e19"] {
            assert_eq!(edited(&limits(other)), limits(other));
        }
    }
}
