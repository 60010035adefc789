//! `nman inspect`: everything that is written down about a container or an image, as one JSON array.

use crate::container::{Containers, Dir};
use crate::error::{Error, Result};
use crate::settings::Settings;
use serde_json::{Value, json};

/// The objects of those that were found, and what went wrong with the others.
pub fn inspect(settings: &Settings, names: &[String]) -> Result<(Vec<Value>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match containers.find(name).and_then(|dir| container(&dir)) {
            Ok(object) => found.push(object),
            Err(error) => errors.push(error),
        }
    }
    Ok((found, errors))
}

/// Docker's names for what Docker has too.
fn container(dir: &Dir) -> Result<Value> {
    let (record, state) = (dir.record()?, dir.state()?);
    let path = dir.join("config.json");
    let config: Value = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?,
        // It was killed while it was made.
        Err(_) => Value::Null,
    };
    let process = &config["process"];
    Ok(json!({
        "Id": record.id,
        "Created": record.created,
        "Path": record.command.first(),
        "Args": record.command.get(1..),
        "State": {
            "Status": state.status.as_str(),
            "Running": state.status == crate::container::Status::Running,
            "Pid": state.pid.unwrap_or(0),
            "ExitCode": state.exit_code.unwrap_or(0),
            "Error": state.error.as_deref().unwrap_or(""),
            "StartedAt": state.started,
            "FinishedAt": state.finished,
        },
        "Image": record.image.id,
        "Name": format!("/{}", record.name),
        "LogPath": dir.log(),
        "Runtime": record.runtime,
        "HostConfig": {
            "AutoRemove": record.remove,
            "Memory": config["linux"]["resources"]["memory"]["limit"].as_i64().unwrap_or(0),
            "CpuQuota": config["linux"]["resources"]["cpu"]["quota"].as_i64().unwrap_or(0),
            "CpuPeriod": config["linux"]["resources"]["cpu"]["period"].as_i64().unwrap_or(0),
            "CpusetCpus": config["linux"]["resources"]["cpu"]["cpus"].as_str().unwrap_or(""),
            "ReadonlyRootfs": config["root"]["readonly"].as_bool().unwrap_or(false),
        },
        "Mounts": config["mounts"].as_array().map(|mounts| {
            mounts.iter().filter(|mount| mount["type"] == "bind").cloned().collect::<Vec<_>>()
        }),
        "Config": {
            "Hostname": config["hostname"],
            "User": format!("{}:{}", process["user"]["uid"], process["user"]["gid"]),
            "Tty": record.attachment.terminal,
            "OpenStdin": record.attachment.stdin,
            "Env": process["env"],
            "Cmd": process["args"],
            "Image": record.image.name,
            "WorkingDir": process["cwd"],
            "Labels": record.labels,
            "StopSignal": record.stop.signal,
            "StopTimeout": record.stop.timeout,
        },
    }))
}
