//! `--filter KEY=VALUE`: several values of one key are alternatives, several keys must all hold.

use crate::boolean::boolean;
use crate::clock::Timestamp;
use crate::duration;
use crate::error::{Error, Result};
use crate::suggest::nearest;
use regex_lite::Regex;
use std::collections::BTreeMap;

/// The filters that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Takes filters apart; `known` are the keys that the list has.
    pub fn parse(texts: &[String], known: &[&str]) -> Result<Self> {
        let pair = |text: &String| match text.split_once('=') {
            Some((key, value)) => {
                let key = key.trim().to_lowercase();
                known
                    .contains(&key.as_str())
                    .then(|| (key.clone(), value.trim().to_owned()))
                    .ok_or_else(|| Error::Rejected {
                        message: format!("invalid filter '{key}'"),
                        hint: Some(valid(&key, known)),
                    })
            }
            None => Err(Error::Flag(format!(
                "invalid argument \"{text}\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"
            ))),
        };
        texts.iter().map(pair).collect::<Result<_>>().map(Self)
    }

    /// Whether nothing is filtered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a filter with this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.values(key).next().is_some()
    }

    /// Every value that was given for a key.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    /// Whether one of a key's values fits; without the key, everything does.
    pub fn any(&self, key: &str, mut fits: impl FnMut(&str) -> bool) -> bool {
        let mut values = self.values(key).peekable();
        values.peek().is_none() || values.any(&mut fits)
    }

    /// Whether all of a key's values fit.
    pub fn all(&self, key: &str, fits: impl FnMut(&str) -> bool) -> bool {
        self.values(key).all(fits)
    }

    /// Whether `name` fits a key whose values are regular expressions or parts of names, as Docker has them.
    #[must_use]
    pub fn named(&self, key: &str, name: &str) -> bool {
        self.any(key, |pattern| {
            pattern == name
                || name.contains(pattern)
                || Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name))
        })
    }

    /// Whether the labels are as every `label` says, and as no `label!` does.
    #[must_use]
    pub fn labelled(&self, labels: &BTreeMap<String, String>) -> bool {
        self.all("label", |wanted| has_label(labels, wanted))
            && self.all("label!", |wanted| !has_label(labels, wanted))
    }

    /// The value of a key that says yes or no, such as `dangling`.
    pub fn truth(&self, key: &str) -> Result<Option<bool>> {
        let truth = |text| boolean(text).map_err(|_| self.wrong(key, text, "`true` or `false`"));
        self.values(key).last().map(truth).transpose()
    }

    /// The time before which `until` wants a thing to be from: of several the earliest, since all have to hold.
    pub fn until(&self) -> Result<Option<Timestamp>> {
        let time =
            |text: &str| duration::moment(text).map_err(|hint| rejected("until", text, hint));
        let times: Result<Vec<Timestamp>> = self.values("until").map(time).collect();
        Ok(times?.into_iter().min())
    }

    /// The error for a value that makes no sense.
    #[must_use]
    pub fn wrong(&self, key: &str, value: &str, expected: &str) -> Error {
        rejected(key, value, format!("the value is {expected}"))
    }
}

fn rejected(key: &str, value: &str, hint: String) -> Error {
    Error::Rejected { message: format!("invalid filter '{key}={value}'"), hint: Some(hint) }
}

/// Whether a label is there as `KEY` or `KEY=VALUE` says.
#[must_use]
pub fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|own| own == value),
        None => labels.contains_key(wanted),
    }
}

fn valid(key: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return "this list has no filters".to_owned();
    }
    let near = nearest(key, known.iter().copied());
    let meant = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    format!("{meant}filters are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Filters {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Filters::parse(&texts, &["name", "label", "label!", "dangling"]).unwrap()
    }

    #[test]
    fn values_of_one_key_are_alternatives() {
        let filters = filters(&["name=web", "name=^db$"]);
        for (name, fits) in [("my-web-1", true), ("db", true), ("db2", false)] {
            assert_eq!(filters.named("name", name), fits, "{name}");
        }
        assert!(Filters::default().named("name", "anything"));
    }

    #[test]
    fn every_label_must_be_there_or_not() {
        let labels = BTreeMap::from([("a".to_owned(), "1=2".to_owned())]);
        for (texts, fits) in [
            (&["label=a"][..], true),
            (&["label=a=1=2"], true),
            (&["label=a=1"], false),
            (&["label=a", "label=b"], false),
            (&["label!=a"], false),
            (&["label!=a=1=2"], false),
            (&["label!=a=1", "label!=b"], true),
            (&["label=a", "label!=a"], false),
        ] {
            assert_eq!(filters(texts).labelled(&labels), fits, "{texts:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_those_that_there_are() {
        let error = Filters::parse(&["nmae=x".to_owned()], &["name", "label"]).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'nmae'");
        assert_eq!(error.hint().unwrap(), "did you mean `name`? filters are name, label");
        let error = Filters::parse(&["name".to_owned()], &["name"]).unwrap_err();
        assert!(error.to_string().ends_with("bad format of filter (expected name=value)"));
    }

    #[test]
    fn a_truth_is_read_as_go_reads_it() {
        assert_eq!(filters(&["dangling=1"]).truth("dangling").unwrap(), Some(true));
        assert_eq!(filters(&[]).truth("dangling").unwrap(), None);
        assert!(filters(&["dangling=maybe"]).truth("dangling").is_err());
    }
}
