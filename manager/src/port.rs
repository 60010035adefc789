//! `nman port`: where the published ports of a container are.

use crate::cli::PortArgs;
use crate::connection;
use crate::container::Containers;
use crate::error::{Error, Result};
use crate::network::State;
use crate::settings::Settings;
use std::net::SocketAddr;

/// One line for each published port; with a port, only its addresses.
pub fn port(settings: &Settings, args: &PortArgs) -> Result<String> {
    let dir = Containers::open(&settings.containers())?.find(&args.name)?;
    let record = dir.record()?;
    let plans = State::at(&settings.state).connected_to(&record.id)?;
    let by_user = connection::published_by_user(&record, &dir);
    let mut published: Vec<(u16, String, SocketAddr)> = plans
        .iter()
        .flat_map(|plan| &plan.ports)
        .chain(&by_user)
        .map(|port| {
            let host = SocketAddr::new(port.host_address, port.host_port);
            (port.container_port, port.protocol.to_string(), host)
        })
        .collect();
    published.sort();
    match &args.port {
        None => Ok(published
            .iter()
            .map(|(port, protocol, host)| format!("{port}/{protocol} -> {host}\n"))
            .collect()),
        Some(wanted) => of_one(&published, wanted, &args.name),
    }
}

fn of_one(published: &[(u16, String, SocketAddr)], wanted: &str, name: &str) -> Result<String> {
    let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let number: u16 = number.parse().map_err(|_| {
        Error::Usage(format!("invalid port '{wanted}': a port is PORT or PORT/PROTOCOL"))
    })?;
    let text: String = published
        .iter()
        .filter(|(port, own, _)| *port == number && own == protocol)
        .map(|(_, _, host)| format!("{host}\n"))
        .collect();
    if text.is_empty() {
        return Err(Error::WrongState {
            message: format!("no public port '{number}/{protocol}' published for {name}"),
            hint: Some(format!("`nman port {name}` shows those that are")),
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_is_found_by_its_number_and_protocol() {
        let published = [
            (80, "tcp".to_owned(), "0.0.0.0:8080".parse().unwrap()),
            (80, "udp".to_owned(), "0.0.0.0:9090".parse().unwrap()),
        ];
        assert_eq!(of_one(&published, "80", "web").unwrap(), "0.0.0.0:8080\n");
        assert_eq!(of_one(&published, "80/udp", "web").unwrap(), "0.0.0.0:9090\n");
        let error = of_one(&published, "81", "web").unwrap_err();
        assert_eq!(error.to_string(), "no public port '81/tcp' published for web");
        assert!(of_one(&published, "http", "web").is_err());
    }
}
