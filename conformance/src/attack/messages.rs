//! Class G: what a runtime is told, and what its stages tell each other.

use super::Verdict;
use super::cases::{not_tried, run};
use crate::fixture::{BundleDir, Runtime};

/// More id mappings than a message of 64 KiB holds. A length that overflowed took namespaces away from a container
/// (CVE-2021-43784): one that starts must have each of them.
pub(super) fn many_mappings(runtime: &Runtime) -> Verdict {
    for count in [340_u32, 2_000, 5_000] {
        let bundle =
            BundleDir::with_id_mappings(count).shell("echo $(wc -l </proc/self/uid_map) mappings");
        match run(runtime, &bundle) {
            Ok(output) if output.crashed() => return Verdict::Broken(output.to_string()),
            Ok(output) if output.stdout().contains("mappings") => {
                if output.text() != format!("{count} mappings") {
                    return Verdict::Broken(format!("{count} were asked for; {output}"));
                }
            }
            Ok(_) => {}
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}

/// Texts that are no configuration: cut off, too deep, too large for any number, with bytes that are no text.
pub(super) fn damaged_config(runtime: &Runtime) -> Verdict {
    let whole = serde_json::to_vec(BundleDir::new().config()).expect("a value always serialises");
    let cut = (1..16).map(|part| whole[..whole.len() * part / 16].to_vec());
    let numbers = ["1e999", "-18446744073709551616", "\"\\ud800\"", "\"\u{0}\""]
        .map(|value| format!(r#"{{"ociVersion":"1.0.2","process":{{"user":{{"uid":{value}}}}}}}"#));
    let texts = cut
        .chain(numbers.map(String::into_bytes))
        .chain(["[".repeat(200_000), "{\"process\":".repeat(100_000)].map(String::into_bytes))
        .chain([b"\xff\xfe".to_vec(), b"null".to_vec(), Vec::new()]);
    for text in texts {
        match run(runtime, &BundleDir::new().raw_config(&text)) {
            Ok(output) if output.crashed() => {
                return Verdict::Broken(format!("{} bytes; {output}", text.len()));
            }
            Ok(output) if output.success() => {
                return Verdict::Broken(format!("{} bytes were accepted; {output}", text.len()));
            }
            Ok(_) => {}
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}
