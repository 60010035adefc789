//! `nman inspect`: everything that is written down about a container or an image, as one JSON array.

mod network;
pub mod state;

use crate::container::{Containers, Dir};
use crate::error::{Error, Result};
use crate::images;
use crate::settings::Settings;
use crate::store::Store;
use serde_json::{Value, json};

/// The objects of those that were found, and what went wrong with the others.
pub fn inspect(settings: &Settings, names: &[String]) -> Result<(Vec<Value>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        let object = match containers.find(name) {
            Ok(dir) => container(settings, &dir),
            Err(Error::NoSuchContainer(_)) => image(settings, name),
            Err(error) => Err(error),
        };
        match object {
            Ok(object) => found.push(object),
            Err(error) => errors.push(error),
        }
    }
    Ok((found, errors))
}

/// Docker's names for what Docker has too.
fn container(settings: &Settings, dir: &Dir) -> Result<Value> {
    let (record, state) = (dir.record()?, dir.state()?);
    let path = dir.join("config.json");
    let config: Value = match std::fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?
        }
        // It was killed while it was made.
        Err(_) => Value::Null,
    };
    let networks = network::settings(settings, dir, &record)?;
    let process = &config["process"];
    let mut object = json!({
        "Id": record.id,
        "Created": record.created,
        "Path": record.command.first(),
        "Args": record.command.get(1..),
        "State": state::state(dir, &record, &state),
        "Image": record.image.id,
        "RestartCount": state.supervised.restart_count,
        "Name": format!("/{}", record.name),
        "LogPath": dir.log(),
        "Runtime": record.runtime,
        "HostConfig": {
            "Memory": config["linux"]["resources"]["memory"]["limit"].as_i64().unwrap_or(0),
            "CpuQuota": config["linux"]["resources"]["cpu"]["quota"].as_i64().unwrap_or(0),
            "CpuPeriod": config["linux"]["resources"]["cpu"]["period"].as_i64().unwrap_or(0),
            "CpusetCpus": config["linux"]["resources"]["cpu"]["cpus"].as_str().unwrap_or(""),
            "ReadonlyRootfs": config["root"]["readonly"].as_bool().unwrap_or(false),
        },
        "Mounts": config["mounts"].as_array().map(|mounts| {
            mounts.iter().filter(|mount| mount["type"] == "bind").cloned().collect::<Vec<_>>()
        }),
        "NetworkSettings": networks,
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
    });
    state::add_host_config(&record, &mut object["HostConfig"]);
    network::add_host_config(&record, &mut object["HostConfig"]);
    object["Config"]["ExposedPorts"] = network::exposed(&record);
    object["Config"]["Healthcheck"] = state::health_check(&record);
    Ok(object)
}

/// An image, where no container has the name.
fn image(settings: &Settings, name: &str) -> Result<Value> {
    let store = Store::open(&settings.root)?;
    let image = store.find(name).map_err(|_| Error::refusal(format!("No such object: {name}")))?;
    images::describe(&store, &image)
}
