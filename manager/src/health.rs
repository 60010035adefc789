//! A container's health: how it is to be found out, from the command line and the image, and what has been found out.
//!
//! The findings stand in a file of their own beside the state, because they change with every check. Docker's names and
//! limits hold: the last five results are kept, and 4096 bytes of what each has written.

use crate::cli::SupervisionArgs;
use crate::clock::Timestamp;
use crate::container::{Dir, HealthCheck, Record};
use crate::error::{Error, Result};
use crate::store;
use oci_spec::runtime::Process;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The file of the findings.
pub const FILE: &str = "health.json";
/// The process that is run, in the runtime's terms.
pub const PROCESS: &str = "health.process";
/// So many results are kept.
pub const KEPT: usize = 5;
/// So much of a check's output is kept.
pub const LONGEST_OUTPUT: usize = 4096;

/// What has been found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// The verdict.
    pub status: Status,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last results, the newest at the end.
    pub log: Vec<Finding>,
}

impl Default for Health {
    fn default() -> Self {
        Self { status: Status::Starting, failing_streak: 0, log: Vec::new() }
    }
}

/// Writes down the process that a container's monitor runs to find out: the container's own with another command.
pub fn prepare(record: &Record, dir: &Dir, process: Option<&Process>) -> Result<()> {
    let (Some(check), Some(process)) = (&record.supervision.health, process) else {
        return Ok(());
    };
    let mut process = process.clone();
    process.set_args(Some(check.command()));
    process.set_terminal(Some(false)).set_console_size(None);
    // The runtime gives it the container's score, which is not the same at every start.
    process.set_oom_score_adj(None);
    dir.write(PROCESS, &process)
}

/// Takes a score for the OOM killer out of the process of a check that was written down with one.
///
/// # Errors
/// The file cannot be read or written, or is none.
pub fn forget_score(dir: &Dir) -> Result<()> {
    let path = dir.join(PROCESS);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(Error::io("read", &path))?,
    };
    let mut process: Process =
        serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?;
    if process.oom_score_adj().is_none() {
        return Ok(());
    }
    process.set_oom_score_adj(None);
    dir.write(PROCESS, &process)
}

/// The verdict about a container, in Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is known yet.
    Starting,
    /// The last check went well.
    Healthy,
    /// Too many failed in a row.
    Unhealthy,
}

impl Status {
    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One check's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0 for healthy; -1 when there was no exit code.
    pub exit_code: i32,
    /// What it wrote.
    pub output: String,
}

impl Health {
    /// Takes a result in. Whether the verdict has changed.
    pub fn take(&mut self, check: &HealthCheck, finding: Finding, starting: bool) -> bool {
        let before = self.status;
        if finding.exit_code == 0 {
            self.failing_streak = 0;
            self.status = Status::Healthy;
        } else if !(starting && self.status == Status::Starting) {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = Status::Unhealthy;
            }
        }
        self.log.push(finding);
        let surplus = self.log.len().saturating_sub(KEPT);
        self.log.drain(..surplus);
        before != self.status
    }
}

/// The findings about a container; the default where there are none yet.
#[must_use]
pub fn read(dir: &Dir) -> Health {
    let text = std::fs::read(dir.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// What `ps` shows of it: `healthy`, or `health: starting`.
#[must_use]
pub fn word(dir: &Dir) -> &'static str {
    match read(dir).status {
        Status::Starting => "health: starting",
        status => status.as_str(),
    }
}

/// The check of a new container: the image's, as the command line changes it.
pub fn plan(
    args: &SupervisionArgs,
    image: Option<store::HealthCheck>,
) -> Result<Option<HealthCheck>> {
    let asked = args.health_cmd.is_some()
        || args.health_interval.is_some()
        || args.health_timeout.is_some()
        || args.health_start_period.is_some()
        || args.health_start_interval.is_some()
        || args.health_retries.is_some();
    if args.no_healthcheck {
        if asked {
            return Err(Error::Usage(
                "--no-healthcheck conflicts with --health-* options".to_owned(),
            ));
        }
        return Ok(None);
    }
    let image = image.unwrap_or_default();
    let test = match &args.health_cmd {
        Some(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        None => image.test,
    };
    match test.first().map(String::as_str) {
        Some("CMD" | "CMD-SHELL") if test.len() > 1 => {}
        _ => return Ok(None),
    }
    let mut check = HealthCheck::new(test);
    for (name, asked, of_image, place) in [
        ("interval", args.health_interval, image.interval, &mut check.interval),
        ("timeout", args.health_timeout, image.timeout, &mut check.timeout),
        ("start-period", args.health_start_period, image.start_period, &mut check.start_period),
        (
            "start-interval",
            args.health_start_interval,
            image.start_interval,
            &mut check.start_interval,
        ),
    ] {
        let wanted = asked.unwrap_or(Duration::from_nanos(of_image));
        if !wanted.is_zero() {
            if wanted < Duration::from_millis(1) {
                return Err(Error::Usage(format!("--health-{name} cannot be less than 1ms")));
            }
            *place = wanted;
        }
    }
    if let Some(retries) =
        args.health_retries.or(Some(image.retries)).filter(|&retries| retries > 0)
    {
        check.retries = retries;
    }
    Ok(Some(check))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(exit_code: i32) -> Finding {
        let now = Timestamp::now();
        Finding { start: now, end: now, exit_code, output: String::new() }
    }

    #[test]
    fn so_many_failures_in_a_row_make_it_unhealthy_and_one_success_heals() {
        let check = HealthCheck::new(vec!["CMD".into(), "x".into()]);
        let mut health = Health::default();
        assert!(!health.take(&check, finding(1), false));
        assert!(!health.take(&check, finding(1), false));
        assert!(health.take(&check, finding(1), false));
        assert_eq!((health.status, health.failing_streak), (Status::Unhealthy, 3));
        assert!(health.take(&check, finding(0), false));
        assert_eq!((health.status, health.failing_streak), (Status::Healthy, 0));
        for _ in 0..10 {
            health.take(&check, finding(0), false);
        }
        assert_eq!(health.log.len(), KEPT);
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_until_it_was_healthy_once() {
        let check = HealthCheck { retries: 1, ..HealthCheck::new(vec!["CMD".into(), "x".into()]) };
        let mut health = Health::default();
        health.take(&check, finding(1), true);
        assert_eq!((health.status, health.failing_streak), (Status::Starting, 0));
        health.take(&check, finding(0), true);
        assert!(health.take(&check, finding(1), true));
        assert_eq!(health.status, Status::Unhealthy);
    }

    #[test]
    fn the_command_line_goes_before_the_image_and_the_image_before_the_defaults() {
        let image = || {
            store::HealthCheck::of_image(br#"{"config":{"Healthcheck":{"Test":["CMD","a"],"Interval":5000000000,"Retries":7}}}"#)
        };
        let check = plan(&SupervisionArgs::default(), image()).unwrap().unwrap();
        assert_eq!(check.test, ["CMD", "a"]);
        assert_eq!(
            (check.interval, check.timeout),
            (Duration::from_secs(5), Duration::from_secs(30))
        );
        assert_eq!(check.retries, 7);
        let args = SupervisionArgs {
            health_cmd: Some("b".into()),
            health_retries: Some(1),
            ..Default::default()
        };
        let check = plan(&args, image()).unwrap().unwrap();
        assert_eq!((check.test, check.retries), (vec!["CMD-SHELL".to_owned(), "b".to_owned()], 1));
        assert_eq!(
            plan(&SupervisionArgs { no_healthcheck: true, ..Default::default() }, image()).unwrap(),
            None
        );
        assert!(plan(&SupervisionArgs { no_healthcheck: true, ..args }, None).is_err());
        assert_eq!(
            plan(
                &SupervisionArgs::default(),
                store::HealthCheck::of_image(br#"{"config":{"Healthcheck":{"Test":["NONE"]}}}"#)
            )
            .unwrap(),
            None
        );
        assert_eq!(
            plan(&SupervisionArgs::default(), store::HealthCheck::of_image(b"{}")).unwrap(),
            None
        );
    }
}
