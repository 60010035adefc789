//! What a new container's monitor is asked to do: from the command line and the image to a [`Supervision`]. Pure.

use crate::cli::SupervisionArgs;
use crate::container::{Dir, LogConfig, LogDriver, Record, RestartPolicy, Supervision};
use crate::error::{Error, Result};
use crate::health;
use std::collections::BTreeMap;

/// What options may depend on.
pub struct Inputs<'a> {
    /// What was typed.
    pub args: &'a SupervisionArgs,
    /// The image's HEALTHCHECK.
    pub health: Option<health::OfImage>,
    /// The container's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its environment, as far as it is known.
    pub env: &'a [(String, Option<String>)],
}

/// Plans it. What contradicts itself is refused.
pub fn plan(inputs: Inputs<'_>) -> Result<Supervision> {
    let args = inputs.args;
    if args.rm && args.restart != RestartPolicy::No {
        return Err(Error::Usage(
            "conflicting options: cannot specify both --restart and --rm".to_owned(),
        ));
    }
    Ok(Supervision {
        restart: args.restart,
        log: log(args, inputs.labels, inputs.env)?,
        health: health::plan(args, inputs.health)?,
        init: args.init,
    })
}

/// The options that both drivers with files take.
const LOG_OPTIONS: [&str; 10] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];

fn log(
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
        if !LOG_OPTIONS.contains(&key.as_str())
            || key.ends_with("-regex")
            || driver == LogDriver::None
        {
            return Err(unknown(key, driver));
        }
        let wrong = |what: &str| {
            Error::Usage(format!("invalid value for log option {key}: `{value}` is not {what}"))
        };
        match key.as_str() {
            "max-size" => {
                config.max_size =
                    size(value).ok_or_else(|| wrong("a size, such as 10m, or -1 for no limit"))?;
            }
            "max-buffer-size" => drop(size(value).ok_or_else(|| wrong("a size, such as 1m"))?),
            "max-file" => {
                config.max_files = value
                    .parse()
                    .ok()
                    .filter(|&n| n > 0)
                    .ok_or_else(|| wrong("a number from 1 on"))?;
            }
            "compress" => config.compress = value.parse().map_err(|_| wrong("true or false"))?,
            "mode" if !matches!(value.as_str(), "blocking" | "non-blocking") => {
                return Err(Error::Usage(format!("logger: logging mode not supported: {value}")));
            }
            "labels" => config.attributes.extend(
                value
                    .split(',')
                    .filter_map(|key| labels.get_key_value(key))
                    .map(|(k, v)| (k.clone(), v.clone())),
            ),
            "env" => config.attributes.extend(
                env.iter()
                    .filter(|(name, _)| value.split(',').any(|wanted| wanted == name))
                    .filter_map(|(name, value)| Some((name.clone(), value.clone()?))),
            ),
            _ => {}
        }
    }
    Ok(config)
}

/// What every line of a container's log is marked with, as a JSON object; empty for nothing. `tag` is a template, of
/// which the fields are known that say something here.
#[must_use]
pub fn log_attributes(record: &Record) -> String {
    let config = &record.supervision.log;
    let mut attributes = config.attributes.clone();
    if let Some(tag) = config.options.get("tag") {
        let values = [
            ("{{.ID}}", record.id.short()),
            ("{{.FullID}}", record.id.as_str()),
            ("{{.Name}}", record.name.as_str()),
            ("{{.ImageName}}", &record.image.name),
            ("{{.ImageFullID}}", &record.image.id),
            ("{{.DaemonName}}", "nman"),
        ];
        let tag = values.iter().fold(tag.clone(), |tag, (field, value)| tag.replace(field, value));
        attributes.insert("tag".to_owned(), tag);
    }
    if attributes.is_empty() {
        return String::new();
    }
    serde_json::to_string(&attributes).unwrap_or_default()
}

/// Where the init of `--init` is in a container: Docker's place.
pub const INIT: &str = "/sbin/docker-init";

/// Its copy in a container's directory.
pub const INIT_FILE: &str = "init";

/// Puts a copy of the init into the container's directory, if it is asked for.
pub fn provide_init(record: &Record, dir: &Dir) -> Result<()> {
    if record.supervision.init {
        dir.write_program(INIT_FILE, sys::init::PROGRAM)?;
    }
    Ok(())
}

/// What is executed in a container: its command, or the init with the command behind it.
#[must_use]
pub fn command(record: &Record) -> Vec<String> {
    let init = [INIT.to_owned(), "--".to_owned()];
    let init = init.into_iter().filter(|_| record.supervision.init);
    init.chain(record.command.iter().cloned()).collect()
}

fn unknown(key: &str, driver: LogDriver) -> Error {
    Error::Usage(format!("unknown log opt '{key}' for {} log driver", driver.as_str()))
}

/// A size in Docker's decimal units; -1 is no limit.
fn size(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(0);
    }
    let lower = text.to_ascii_lowercase();
    let number = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, unit) = match number.as_bytes().last()? {
        b'k' => (&number[..number.len() - 1], 1000.0),
        b'm' => (&number[..number.len() - 1], 1e6),
        b'g' => (&number[..number.len() - 1], 1e9),
        _ => (number, 1.0),
    };
    let size = digits.parse::<f64>().ok()? * unit;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked against the range"
    )]
    (1.0..1e18).contains(&size).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(args: &SupervisionArgs) -> Result<Supervision> {
        let labels =
            BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let env = [("E".to_owned(), Some("x".to_owned())), ("F".to_owned(), Some("y".to_owned()))];
        plan(Inputs { args, health: None, labels: &labels, env: &env })
    }

    fn with(options: &[&str]) -> Result<LogConfig> {
        let log_opt = options.iter().map(|&option| option.to_owned()).collect();
        planned(&SupervisionArgs { log_opt, ..Default::default() })
            .map(|supervision| supervision.log)
    }

    #[test]
    fn logs_are_rotated_unless_it_is_said_otherwise() {
        let config = with(&[]).unwrap();
        assert_eq!((config.max_size, config.max_files), (20_000_000, 5));
        let config = with(&["max-size=10k", "max-file=3", "compress=true"]).unwrap();
        assert_eq!((config.max_size, config.max_files, config.compress), (10_000, 3, true));
        assert_eq!(with(&["max-size=-1"]).unwrap().max_size, 0);
    }

    #[test]
    fn wrong_log_options_are_named() {
        let said = |option: &str| with(&[option]).unwrap_err().to_string();
        assert_eq!(said("max-siz=1m"), "unknown log opt 'max-siz' for local log driver");
        assert!(said("max-size=many").contains("max-size: `many`"), "{}", said("max-size=many"));
        assert!(said("max-file=0").contains("from 1 on"));
        assert_eq!(said("mode=fast"), "logger: logging mode not supported: fast");
    }

    #[test]
    fn labels_and_variables_mark_the_lines() {
        let config = with(&["labels=a,c", "env=F"]).unwrap();
        let expected = [("F".to_owned(), "y".to_owned()), ("a".to_owned(), "1".to_owned())];
        assert_eq!(config.attributes, BTreeMap::from(expected));
    }

    #[test]
    fn what_removes_itself_is_not_restarted() {
        let args =
            SupervisionArgs { rm: true, restart: RestartPolicy::Always, ..Default::default() };
        let error = planned(&args).unwrap_err();
        assert_eq!(
            error.to_string(),
            "conflicting options: cannot specify both --restart and --rm"
        );
    }
}
