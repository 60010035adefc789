//! Where a container's output is to go: from `--log-driver` and `--log-opt` to a [`LogConfig`]. Pure.

use crate::boolean::boolean;
use crate::cli::SupervisionArgs;
use crate::container::{LogConfig, LogDriver, Record};
use crate::error::{Error, Result};
use crate::forward::{Destination, size, tag};
use regex_lite::Regex;
use std::collections::BTreeMap;

/// What every driver takes but `none`. `mode` changes nothing: no file of ours makes a container wait, and another's log is not
/// waited for either. `max-buffer-size` is how much waits for one that is slow, or is to be tried again.
const MARKS: [&str; 7] =
    ["labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"];
/// What drivers with files take.
const FILES: [&str; 3] = ["max-size", "max-file", "compress"];
/// What drivers take that keep files beside what they send elsewhere.
const CACHE: [&str; 4] = ["cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];
/// Where syslog is, and what it is told.
const SYSLOG: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];
/// Where GELF goes, and how.
const GELF: [&str; 5] = [
    "gelf-address",
    "gelf-compression-type",
    "gelf-compression-level",
    "gelf-tcp-max-reconnect",
    "gelf-tcp-reconnect-delay",
];
/// Where fluentd is, and how it is spoken to.
const FLUENTD: [&str; 9] = [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
];

/// The options that a driver takes.
fn known(driver: LogDriver) -> impl Iterator<Item = &'static str> {
    let (marks, files, own): (&[&str], &[&str], &[&str]) = match driver {
        LogDriver::None => (&[], &[], &[]),
        LogDriver::JsonFile | LogDriver::Local => (&MARKS, &FILES, &[]),
        LogDriver::Journald => (&MARKS, &CACHE, &[]),
        LogDriver::Syslog => (&MARKS, &CACHE, &SYSLOG),
        LogDriver::Gelf => (&MARKS, &CACHE, &GELF),
        LogDriver::Fluentd => (&MARKS, &CACHE, &FLUENTD),
    };
    [marks, files, own].into_iter().flatten().copied()
}

/// Plans it. `labels` and `env` are the container's.
pub(super) fn plan(
    args: &SupervisionArgs,
    labels: &BTreeMap<String, String>,
    env: &[(String, Option<String>)],
) -> Result<LogConfig> {
    let driver = args.log_driver.unwrap_or_default();
    let mut config = LogConfig { driver, ..LogConfig::default() };
    for option in &args.log_opt {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        config.options.insert(key.to_owned(), value.to_owned());
    }
    for (key, value) in &config.options.clone() {
        if !known(driver).any(|known| known == key) {
            return Err(unknown(key, driver));
        }
        let wrong = |what: &str| {
            Error::Usage(format!("invalid value for log option {key}: `{value}` is not {what}"))
        };
        let yes_or_no = || boolean(value).map_err(|_| wrong("true or false"));
        match key.as_str() {
            "max-size" | "cache-max-size" => {
                config.max_size =
                    size(value).ok_or_else(|| wrong("a size, such as 10m, or -1 for no limit"))?;
            }
            "max-buffer-size" => drop(size(value).ok_or_else(|| wrong("a size, such as 1m"))?),
            "max-file" | "cache-max-file" => {
                let count = value.parse().ok().filter(|&count| count > 0);
                config.max_files = count.ok_or_else(|| wrong("a number from 1 on"))?;
            }
            "compress" | "cache-compress" => config.compress = yes_or_no()?,
            "cache-disabled" => config.uncached = yes_or_no()?,
            "mode" if !matches!(value.as_str(), "blocking" | "non-blocking") => {
                return Err(Error::Usage(format!("logger: logging mode not supported: {value}")));
            }
            "labels" | "labels-regex" => {
                let is_wanted = wanted(key, value)?;
                let marks = labels.iter().filter(|(name, _)| is_wanted(name));
                config.attributes.extend(marks.map(|(name, value)| (name.clone(), value.clone())));
            }
            "env" | "env-regex" => {
                let is_wanted = wanted(key, value)?;
                let marks = env.iter().filter(|(name, _)| is_wanted(name));
                config
                    .attributes
                    .extend(marks.filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
            }
            _ => {}
        }
    }
    Destination::of(&config).map_err(Error::Usage)?;
    Ok(config)
}

/// Which names an option means: those that it lists, or that match its regular expression somewhere.
fn wanted(key: &str, value: &str) -> Result<impl Fn(&str) -> bool> {
    let regex =
        key.ends_with("-regex").then(|| Regex::new(value)).transpose().map_err(|error| {
            Error::Usage(format!("invalid value for log option {key}: `{value}`: {error}"))
        })?;
    let listed: Vec<String> = value.split(',').map(str::to_owned).collect();
    Ok(move |name: &str| match &regex {
        Some(regex) => regex.is_match(name),
        None => listed.iter().any(|listed| listed == name),
    })
}

fn unknown(key: &str, driver: LogDriver) -> Error {
    Error::Usage(format!("unknown log opt '{key}' for {} log driver", driver.as_str()))
}

/// What every line of a container's log is marked with, as a JSON object; empty for nothing.
#[must_use]
pub fn attributes(record: &Record) -> String {
    let mut attributes = record.supervision.log.attributes.clone();
    attributes.extend(tag(record).map(|tag| ("tag".to_owned(), tag)));
    if attributes.is_empty() {
        return String::new();
    }
    serde_json::to_string(&attributes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_driver(driver: LogDriver, options: &[&str]) -> Result<LogConfig> {
        let labels =
            BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let env = [("E".to_owned(), Some("x".to_owned())), ("F".to_owned(), Some("y".to_owned()))];
        let log_opt = options.iter().map(|&option| option.to_owned()).collect();
        let args =
            SupervisionArgs { log_driver: Some(driver), log_opt, ..SupervisionArgs::default() };
        plan(&args, &labels, &env)
    }

    fn with(options: &[&str]) -> Result<LogConfig> {
        with_driver(LogDriver::Local, options)
    }

    #[test]
    fn logs_are_rotated_unless_it_is_said_otherwise() {
        let config = with(&[]).unwrap();
        assert_eq!((config.max_size, config.max_files), (20_000_000, 5));
        let config = with(&["max-size=10k", "max-file=3", "compress=true"]).unwrap();
        assert_eq!((config.max_size, config.max_files, config.compress), (10_000, 3, true));
        assert!(with(&["compress=1"]).unwrap().compress, "as Go reads it");
        assert!(!with(&["compress=F"]).unwrap().compress && with(&["compress=yes"]).is_err());
        assert_eq!(with(&["max-size=-1"]).unwrap().max_size, 0);
    }

    #[test]
    fn what_goes_elsewhere_is_kept_unless_it_is_said_otherwise() {
        for (driver, address) in [
            (LogDriver::Journald, None),
            (LogDriver::Syslog, None),
            (LogDriver::Gelf, Some("gelf-address=udp://logs:12201")),
            (LogDriver::Fluentd, None),
        ] {
            let with_driver = |driver, options: &[&str]| {
                let options: Vec<&str> = address.iter().chain(options).copied().collect();
                with_driver(driver, &options)
            };
            let config = with_driver(driver, &[]).unwrap();
            assert_eq!((config.uncached, config.max_size), (false, 20_000_000));
            let options = ["cache-max-size=1k", "cache-max-file=2", "cache-compress=true"];
            let config = with_driver(driver, &options).unwrap();
            assert_eq!((config.max_size, config.max_files, config.compress), (1000, 2, true));
            assert!(with_driver(driver, &["cache-disabled=true"]).unwrap().uncached);
        }
    }

    #[test]
    fn wrong_log_options_are_named() {
        let said = |option: &str| with(&[option]).unwrap_err().to_string();
        assert_eq!(said("max-siz=1m"), "unknown log opt 'max-siz' for local log driver");
        assert!(said("max-size=many").contains("max-size: `many`"), "{}", said("max-size=many"));
        assert!(said("max-file=0").contains("from 1 on"));
        assert_eq!(said("mode=fast"), "logger: logging mode not supported: fast");
        assert_eq!(
            said("cache-disabled=1"),
            "unknown log opt 'cache-disabled' for local log driver"
        );
    }

    #[test]
    fn a_driver_takes_its_own_options_and_no_others() {
        let said = |driver, option: &str| with_driver(driver, &[option]).unwrap_err().to_string();
        for (driver, option) in [
            (LogDriver::Journald, "max-size"),
            (LogDriver::Journald, "syslog-address"),
            (LogDriver::Syslog, "gelf-address"),
            (LogDriver::Fluentd, "fluentd-async-connect"),
            (LogDriver::Syslog, "compress"),
            (LogDriver::None, "tag"),
        ] {
            let name = driver.as_str();
            let expected = format!("unknown log opt '{option}' for {name} log driver");
            assert_eq!(said(driver, &format!("{option}=x")), expected);
        }
        let tls = said(LogDriver::Syslog, "syslog-tls-cert=/cert");
        assert_eq!(tls, "syslog-tls-cert and syslog-tls-key are given together");
        assert_eq!(said(LogDriver::Syslog, "syslog-facility=x"), "invalid syslog facility: `x`");
    }

    #[test]
    fn labels_and_variables_mark_the_lines() {
        let config = with(&["labels=a,c", "env=F"]).unwrap();
        let expected = [("F".to_owned(), "y".to_owned()), ("a".to_owned(), "1".to_owned())];
        assert_eq!(config.attributes, BTreeMap::from(expected));
        let config = with(&["labels-regex=^[b-z]", "env-regex=E|G"]).unwrap();
        let expected = [("E".to_owned(), "x".to_owned()), ("b".to_owned(), "2".to_owned())];
        assert_eq!(config.attributes, BTreeMap::from(expected));
        let wrong = with(&["env-regex=("]).unwrap_err().to_string();
        assert!(wrong.starts_with("invalid value for log option env-regex: `(`: "), "{wrong}");
    }
}
