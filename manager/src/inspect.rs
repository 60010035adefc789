//! `nman inspect`: everything that is written down about a container or an image, as one JSON array.

pub mod state;

use crate::container::{Containers, Dir, Record};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::store::Store;
use crate::{images, network};
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
    let networks = network_settings(settings, &record)?;
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
    object["Config"]["Healthcheck"] = state::health_check(&record);
    Ok(object)
}

/// Addresses and published ports, while the container is connected.
fn network_settings(settings: &Settings, record: &Record) -> Result<Value> {
    let plans = network::State::open(&settings.state)?.connected_to(&record.id)?;
    let mut networks = serde_json::Map::new();
    let mut ports = serde_json::Map::new();
    for plan in &plans {
        let address = plan.addresses.first();
        let object = json!({
            "IPAddress": address.map(|leased| leased.address),
            "IPPrefixLen": address.map(|leased| leased.subnet.prefix()),
            "Gateway": address.map(|leased| leased.gateway),
            "MacAddress": plan.mac,
        });
        networks.insert(plan.network.to_string(), object);
        for port in &plan.ports {
            let key = format!("{}/{}", port.container_port, port.protocol);
            let list = ports.entry(key).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!({
                    "HostIp": port.host_address.to_string(), "HostPort": port.host_port.to_string(),
                }));
            }
        }
    }
    let first = networks.values().next().cloned().unwrap_or_default();
    Ok(json!({
        "Mode": record.network.network,
        "IPAddress": first["IPAddress"].as_str().unwrap_or(""),
        "Gateway": first["Gateway"].as_str().unwrap_or(""),
        "Ports": ports,
        "Networks": networks,
    }))
}

/// An image, where no container has the name.
fn image(settings: &Settings, name: &str) -> Result<Value> {
    let store = Store::open(&settings.root)?;
    let image = store.find(name).map_err(|_| Error::refusal(format!("No such object: {name}")))?;
    images::describe(&store, &image)
}
