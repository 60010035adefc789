//! Which network of a container carries which of its published ports: in each family the first that can. Pure.

use crate::container::Record;
use crate::error::{Error, Result};
use crate::network::port;
use crate::network::{HostPort, PortMapping, PortRequest};
use std::net::IpAddr;

/// The ports that a container asks for, as far as no network carries them yet.
#[derive(Debug)]
pub(super) struct Publication {
    wanted: Vec<Wanted>,
    /// Whether a network was there that publishes ports at all.
    met: bool,
}

#[derive(Debug)]
struct Wanted {
    request: PortRequest,
    v4: bool,
    v6: bool,
}

impl Publication {
    /// Everything that the container asks for.
    ///
    /// # Errors
    /// Its record is not as it was written.
    pub(super) fn of(record: &Record) -> Result<Self> {
        let mut requests = Vec::new();
        for text in &record.network.publish {
            requests.extend(port::parse(text)?);
        }
        Ok(Self::from(requests))
    }

    fn from(requests: Vec<PortRequest>) -> Self {
        let wanted = requests.into_iter().map(|request| Wanted {
            v4: request.host_address.is_none_or(|address| address.is_ipv4()),
            v6: request.host_address.is_none_or(|address| address.is_ipv6()),
            request,
        });
        Self { wanted: wanted.collect(), met: false }
    }

    /// What a network with these families is to carry; `everywhere` are the addresses that a request without one stands for.
    pub(super) fn requests(
        &mut self,
        v4: bool,
        v6: bool,
        everywhere: &[IpAddr],
    ) -> Vec<PortRequest> {
        self.met = true;
        let request = |wanted: &Wanted| {
            let (v4, v6) = (wanted.v4 && v4, wanted.v6 && v6);
            let is_missing = |address: &IpAddr| if address.is_ipv4() { v4 } else { v6 };
            let host_address = match wanted.request.host_address {
                None if everywhere.iter().all(is_missing) => None,
                None => Some(*everywhere.iter().find(|address| is_missing(address))?),
                Some(address) => Some(address),
            };
            (v4 || v6).then(|| PortRequest { host_address, ..wanted.request.clone() })
        };
        self.wanted.iter().filter_map(request).collect()
    }

    /// Notes what a network carries. What is left of it for the other family is to have the same number.
    pub(super) fn carried(&mut self, ports: &[PortMapping]) {
        for port in ports {
            let is_v4 = port.host_address.is_ipv4();
            let found = self.wanted.iter_mut().find(|wanted| wanted.is_met_by(port, is_v4));
            let Some(wanted) = found else { continue };
            let missing = if is_v4 { &mut wanted.v4 } else { &mut wanted.v6 };
            *missing = false;
            wanted.request.host_port = HostPort::FirstOf(port.host_port..=port.host_port);
        }
    }

    /// Refuses an address of a family that no network of the container has. Where none publishes anything, as on internal
    /// networks, nothing is published, as in Docker.
    pub(super) fn check(&self) -> Result<()> {
        let mut missing = self.wanted.iter().filter(|wanted| wanted.v4 || wanted.v6);
        let explicit = missing.find_map(|wanted| Some((wanted, wanted.request.host_address?)));
        match explicit {
            Some((Wanted { request, v6, .. }, address)) if self.met => {
                let family = if *v6 { "IPv6" } else { "IPv4" };
                Err(Error::WrongState {
                    message: format!(
                        "cannot publish port {}/{} on {address}: no network of the container has {family}",
                        request.container_port, request.protocol,
                    ),
                    hint: Some(format!(
                        "`nman network create --{}` makes one",
                        family.to_ascii_lowercase()
                    )),
                })
            }
            _ => Ok(()),
        }
    }
}

impl Wanted {
    fn is_met_by(&self, port: &PortMapping, is_v4: bool) -> bool {
        let request = &self.request;
        (if is_v4 { self.v4 } else { self.v6 })
            && (request.container_port, request.protocol) == (port.container_port, port.protocol)
            && request.host_address.is_none_or(|address| address == port.host_address)
            && match &request.host_port {
                HostPort::Any => true,
                HostPort::FirstOf(range) => range.contains(&port.host_port),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

    fn publication(texts: &[&str]) -> Publication {
        Publication::from(texts.iter().flat_map(|text| port::parse(text).unwrap()).collect())
    }

    fn addresses(requests: &[PortRequest]) -> Vec<Option<IpAddr>> {
        requests.iter().map(|request| request.host_address).collect()
    }

    fn mapping(text: &str) -> PortMapping {
        text.parse().unwrap()
    }

    #[test]
    fn each_family_is_carried_by_the_first_network_that_has_it_under_one_number() {
        let mut publication = publication(&["8000-8010:80", "127.0.0.1:81:81", "[::1]:82:82"]);
        let first = publication.requests(true, false, &[V4]);
        assert_eq!(addresses(&first), [None, Some("127.0.0.1".parse().unwrap())]);
        publication.carried(&[mapping("8003:80"), mapping("127.0.0.1:81:81")]);
        let second = publication.requests(true, true, &[V4, V6]);
        assert_eq!(addresses(&second), [Some(V6), Some("::1".parse().unwrap())]);
        assert_eq!(second[0].host_port, HostPort::FirstOf(8003..=8003));
        publication.carried(&[mapping("[::]:8003:80"), mapping("[::1]:82:82")]);
        assert_eq!(publication.requests(true, true, &[V4, V6]), []);
        publication.check().unwrap();
    }

    #[test]
    fn a_network_of_both_families_carries_both() {
        let mut publication = publication(&["80", "80"]);
        let both = publication.requests(true, true, &[V4, V6]);
        assert_eq!(addresses(&both), [None, None]);
        publication.carried(&["1:80", "[::]:1:80", "2:80", "[::]:2:80"].map(mapping));
        assert_eq!(publication.requests(true, true, &[V4, V6]), []);
    }

    #[test]
    fn an_address_of_a_family_that_no_network_has_is_refused_and_any_address_is_not() {
        let mut any = publication(&["80:80"]);
        any.requests(true, false, &[V4]);
        any.carried(&[mapping("80:80")]);
        any.check().unwrap();
        let mut own = publication(&["[::]:80:80"]);
        own.check().expect("no network publishes");
        assert_eq!(own.requests(true, false, &[V4]), []);
        let error = own.check().unwrap_err().to_string();
        assert_eq!(error, "cannot publish port 80/tcp on ::: no network of the container has IPv6");
    }
}
