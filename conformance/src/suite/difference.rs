//! What a case has changed in the configuration that every bundle starts from.

use serde_json::Value;

/// The differences as lines: `/pointer = value` for what was set, `/pointer removed`, in the order of the document.
pub(super) fn between(base: &Value, changed: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk("", base, changed, &mut lines);
    lines
}

fn walk(pointer: &str, base: &Value, changed: &Value, lines: &mut Vec<String>) {
    match (base, changed) {
        (Value::Object(base), Value::Object(changed)) => {
            for (key, value) in changed {
                let pointer = format!("{pointer}/{}", escape(key));
                match base.get(key) {
                    Some(before) => walk(&pointer, before, value, lines),
                    None => lines.push(format!("{pointer} = {value}")),
                }
            }
            let gone = base.keys().filter(|key| !changed.contains_key(*key));
            lines.extend(gone.map(|key| format!("{pointer}/{} removed", escape(key))));
        }
        // What was appended stands alone: the rest of a list of mounts says nothing.
        (Value::Array(base), Value::Array(changed)) if changed.starts_with(base) => {
            for (index, value) in changed.iter().enumerate().skip(base.len()) {
                lines.push(format!("{pointer}/{index} = {value}"));
            }
        }
        _ if base == changed => {}
        _ => lines.push(format!("{pointer} = {changed}")),
    }
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_set_appended_and_removed_is_told_and_nothing_else() {
        let base = json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": true, "order": [1, 2]});
        let changed = json!({"a": {"b": 1, "c": 3, "x/y": {}}, "list": [1, 2, 3], "order": [2, 1]});
        let expected =
            ["/a/c = 3", "/a/x~1y = {}", "/list/2 = 3", "/order = [2,1]", "/gone removed"];
        assert_eq!(between(&base, &changed), expected);
        assert!(between(&base, &base).is_empty());
    }
}
