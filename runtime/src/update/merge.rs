//! How what `update` is asked for is laid over what a container has.

use super::resources::strip_nulls;
use serde_json::{Value, json};

/// A pointer into what the container is to have as one into what is asked for, where an entry of a list has another place.
pub(super) fn in_document(asked: &Value, new: &Value, pointer: &str) -> String {
    for (end, _) in pointer.match_indices('/') {
        let (list, rest) = (&pointer[..end], &pointer[end + 1..]);
        let (Some(Value::Array(own)), Some(Value::Array(all))) =
            (asked.pointer(list), new.pointer(list))
        else {
            continue;
        };
        let index = rest.split('/').next().unwrap_or_default();
        let entry = index.parse().ok().and_then(|index: usize| all.get(index));
        let place = entry.and_then(|entry| own.iter().rposition(|known| key(known) == key(entry)));
        if let Some(place) = place {
            return format!("{list}/{place}{}", &rest[index.len()..]);
        }
    }
    pointer.to_owned()
}

/// What the container is to have: what it has, with what is asked for laid over it.
pub(super) fn merge(old: &Value, asked: &Value) -> Value {
    let mut new = old.clone();
    strip_nulls(&mut new);
    lay_over(&mut new, asked);
    let asks = |pointer| asked.pointer(pointer).is_some();
    // Memory without a limit is without one for memory and swap, unless that is asked for, too.
    if asked.pointer("/memory/limit") == Some(&json!(-1)) && !asks("/memory/swap") {
        remove(&mut new, "memory", "swap");
    }
    // The kernel gives up the shares of a group that becomes idle, and takes none for it.
    let idle = |of: &Value| of.pointer("/cpu/idle") == Some(&json!(1));
    if asks("/cpu/idle") && !asks("/cpu/shares") && (idle(asked) || idle(old)) {
        remove(&mut new, "cpu", "shares");
    }
    new
}

fn remove(resources: &mut Value, section: &str, member: &str) {
    if let Some(Value::Object(section)) = resources.get_mut(section) {
        section.shift_remove(member);
    }
}

fn lay_over(place: &mut Value, asked: &Value) {
    match (place, asked) {
        (Value::Object(members), Value::Object(asked)) => {
            for (name, value) in asked {
                match members.get_mut(name) {
                    Some(place) => lay_over(place, value),
                    None => drop(members.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(entries), Value::Array(asked)) => {
            for entry in asked {
                // The last counts where a list names one twice.
                let same = entries.iter_mut().rev().find(|known| key(known) == key(entry));
                match same {
                    Some(place) => lay_over(place, entry),
                    None => entries.push(entry.clone()),
                }
            }
        }
        (place, asked) => *place = asked.clone(),
    }
}

/// What an entry of a list is about: a device, a size of pages, an interface.
fn key(entry: &Value) -> [Option<&Value>; 4] {
    ["major", "minor", "pageSize", "name"].map(|name| entry.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_laid_over_what_there_is() {
        let old = json!({
            "memory": {"limit": 5, "swap": 9, "reservation": null},
            "cpu": {"shares": 7, "quota": 1},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "unified": {"a.b": "1"}
        });
        let asked = json!({
            "memory": {"limit": 6}, "cpu": {"period": 3}, "unified": {"c.d": "2"},
            "hugepageLimits": [{"pageSize": "1GB", "limit": 2}, {"pageSize": "2MB", "limit": 3}],
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]}
        });
        let expected = json!({
            "memory": {"limit": 6, "swap": 9},
            "cpu": {"shares": 7, "quota": 1, "period": 3},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 3}, {"pageSize": "1GB", "limit": 2}],
            "unified": {"a.b": "1", "c.d": "2"},
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]}
        });
        assert_eq!(merge(&old, &asked), expected);
        assert_eq!(merge(&Value::Null, &asked), asked);
    }

    #[test]
    fn no_limit_on_memory_is_none_on_swap_and_idle_has_no_shares() {
        let old = json!({"memory": {"limit": 5, "swap": 9}, "cpu": {"shares": 7}});
        let new = merge(&old, &json!({"memory": {"limit": -1}, "cpu": {"idle": 1}}));
        assert_eq!(new, json!({"memory": {"limit": -1}, "cpu": {"idle": 1}}));
        let new = merge(
            &old,
            &json!({"memory": {"limit": -1, "swap": 9}, "cpu": {"idle": 1, "shares": 2}}),
        );
        assert_eq!(
            new,
            json!({"memory": {"limit": -1, "swap": 9}, "cpu": {"shares": 2, "idle": 1}})
        );
    }

    #[test]
    fn the_shares_of_a_group_that_never_was_idle_stay() {
        let shares = json!({"cpu": {"shares": 7}});
        let new = merge(&shares, &json!({"cpu": {"idle": 0}}));
        assert_eq!(new, json!({"cpu": {"shares": 7, "idle": 0}}));
        let was = json!({"cpu": {"shares": 7, "idle": 1}});
        let new = merge(&was, &json!({"cpu": {"idle": 0}}));
        assert_eq!(new, json!({"cpu": {"idle": 0}}));
    }

    #[test]
    fn an_entry_of_a_list_is_named_by_its_place_in_what_was_asked_for() {
        let old = json!({"hugepageLimits": [{"pageSize": "2MB"}, {"pageSize": "1GB"}],
            "blockIO": {"weightDevice": [{"major": 8, "minor": 0}, {"major": 8, "minor": 16}]}});
        let asked = json!({"hugepageLimits": [{"pageSize": "3MB"}, {"pageSize": "2MB"}],
            "blockIO": {"weightDevice": [{"major": 8, "minor": 16}]}, "memory": {"limit": 5}});
        let new = merge(&old, &asked);
        for (pointer, place) in [
            ("/hugepageLimits/2/limit", "/hugepageLimits/0/limit"),
            ("/hugepageLimits/0/limit", "/hugepageLimits/1/limit"),
            ("/blockIO/weightDevice/1/weight", "/blockIO/weightDevice/0/weight"),
            ("/blockIO/weightDevice/1", "/blockIO/weightDevice/0"),
            // Of one that was not asked for there is no other.
            ("/blockIO/weightDevice/0/weight", "/blockIO/weightDevice/0/weight"),
            ("/memory/limit", "/memory/limit"),
        ] {
            assert_eq!(in_document(&asked, &new, pointer), place, "{pointer}");
        }
    }
}
