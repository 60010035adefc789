//! What `inspect` says about how a container is looked after, under Docker's names.

use crate::container::{Dir, Record, State, Status};
use crate::{duration, health};
use serde_json::{Value, json};

/// Docker's zero time: what has not happened yet.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The object `State`.
pub fn state(dir: &Dir, record: &Record, state: &State) -> Value {
    let time = |time: Option<crate::clock::Timestamp>| {
        time.map_or_else(|| json!(NEVER), |time| json!(time))
    };
    let mut object = json!({
        "Status": state.status.as_str(),
        "Running": state.status.is_up(),
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.supervised.oom_killed,
        "Dead": false,
        "Pid": state.pid.unwrap_or(0),
        "ExitCode": state.exit_code.unwrap_or(0),
        "Error": state.error.as_deref().unwrap_or(""),
        "StartedAt": time(state.started),
        "FinishedAt": time(state.finished),
    });
    if record.supervision.health.is_some() {
        object["Health"] = json!(health::read(dir));
    }
    object
}

/// Adds what `HostConfig` says about it.
pub fn add_host_config(record: &Record, object: &mut Value) {
    let supervision = &record.supervision;
    object["AutoRemove"] = json!(record.remove);
    object["RestartPolicy"] = json!({
        "Name": supervision.restart.name(),
        "MaximumRetryCount": supervision.restart.retries(),
    });
    object["LogConfig"] = json!({
        "Type": supervision.log.driver.as_str(),
        "Config": supervision.log.options,
    });
    object["Init"] = json!(supervision.init);
}

/// The object `Config.Healthcheck`; null without one. Times are in nanoseconds, as in Docker.
pub fn health_check(record: &Record) -> Value {
    record.supervision.health.as_ref().map_or(Value::Null, |check| {
        json!({
            "Test": check.test,
            "Interval": duration::nanoseconds(check.interval),
            "Timeout": duration::nanoseconds(check.timeout),
            "StartPeriod": duration::nanoseconds(check.start_period),
            "StartInterval": duration::nanoseconds(check.start_interval),
            "Retries": check.retries,
        })
    })
}
