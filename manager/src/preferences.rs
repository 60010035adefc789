//! What a user has written down in Docker's configuration file, `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, beside the
//! logins: keys to detach by, formats of lists, and what a prune is never to remove.
//!
//! A file that cannot be read says nothing, as with Docker, which warns and goes on.

use crate::registry::Logins;
use serde_json::Value;

/// One value of the file.
fn value(key: &str) -> Option<Value> {
    let text = std::fs::read(Logins::path_of_user()?).ok()?;
    let mut config: Value = serde_json::from_slice(&text).ok()?;
    config.get_mut(key).map(Value::take)
}

/// A text of the file, such as `psFormat`; an empty one is none.
#[must_use]
pub fn text(key: &str) -> Option<String> {
    value(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Where the file is, for messages.
#[must_use]
pub fn place() -> String {
    Logins::path_of_user().map_or_else(String::new, |path| path.display().to_string())
}

/// The filters of a prune: those that were typed, and `pruneFilters` of the file as far as they do not contradict them.
#[must_use]
pub fn prune_filters(typed: &[String]) -> Vec<String> {
    let own = value("pruneFilters");
    let own = own.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    merged(typed, own)
}

/// Docker's rule: `label=x` of the file gives way to a typed `label!=x`, and the other way round.
fn merged<'a>(typed: &[String], own: impl Iterator<Item = &'a str>) -> Vec<String> {
    let fits = |filter: &&str| match filter.split_once('=') {
        Some(("label", label)) => !typed.contains(&format!("label!={label}")),
        Some(("label!", label)) => !typed.contains(&format!("label={label}")),
        Some(_) => true,
        None => false,
    };
    typed.iter().cloned().chain(own.filter(fits).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_comes_before_what_the_file_says() {
        let merge = |typed: &[&str], own: &[&str]| {
            let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
            merged(&typed, own.iter().copied())
        };
        assert_eq!(merge(&[], &["label!=keep", "until=1h", "odd"]), ["label!=keep", "until=1h"]);
        assert_eq!(merge(&["label=keep"], &["label!=keep"]), ["label=keep"]);
        assert_eq!(merge(&["label!=a=b"], &["label=a=b", "label=a"]), ["label!=a=b", "label=a"]);
    }
}
