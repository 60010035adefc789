//! A registry as the hosts that answer for it: mirrors in their order, and the registry itself.
//!
//! What a host does not have, or cannot be asked, the next is asked for. Each is sent its own login, never another's.

use std::io::Read;
use std::sync::OnceLock;

use bundle::digest::{Digest, Expected, Verifier};
use oci_spec::image::Descriptor;

use super::auth::Credentials;
use super::blob::Resumable;
use super::client::{Approach, Client};
use super::error::Error;
use super::hosts::{self, Host};
use super::logins::Logins;
use super::{Access, Document, Registry};
use crate::reference::Reference;

/// One repository of a registry, seen by somebody who wants to pull from it.
#[derive(Debug)]
pub struct Mirrors {
    domain: String,
    repository: String,
    access: Access,
    hosts: Vec<Host>,
    /// A connection to each that was asked.
    clients: Vec<OnceLock<Client>>,
}

impl Mirrors {
    /// Prepares to pull the reference's repository. Nothing is sent yet.
    pub fn new(reference: &Reference, access: &Access) -> Result<Self, Error> {
        let directories = &access.tls.certs_directories;
        let mut hosts = hosts::hosts(reference.domain(), reference.endpoint(), directories)?;
        hosts.retain(|host| host.can.pull || host.can.resolve);
        if hosts.is_empty() {
            return Err(none_may("pulled from", reference.domain()));
        }
        Ok(Self {
            domain: reference.domain().to_owned(),
            repository: reference.repository().to_owned(),
            access: access.clone(),
            clients: hosts.iter().map(|_| OnceLock::new()).collect(),
            hosts,
        })
    }

    /// The tags that the registry has for the repository.
    pub fn tags(&self) -> Result<Vec<String>, Error> {
        self.first(|host| host.can.resolve, |client| client.tags())
    }

    fn client(&self, position: usize) -> Result<&Client, Error> {
        let (slot, host) = (&self.clients[position], &self.hosts[position]);
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let approach = Approach {
            credentials: credentials(host, &self.domain, self.access.credentials.as_ref())?,
            tls: self.access.tls.clone(),
            repository: self.repository.clone(),
            scopes: vec![format!("repository:{}:pull", self.repository)],
        };
        let client = Client::connect(host, &self.domain, approach)?;
        Ok(slot.get_or_init(|| client))
    }

    /// The answer of the first host that has one; the errors of all, if none has.
    fn first<T>(
        &self,
        may: impl Fn(&Host) -> bool,
        ask: impl Fn(&Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut errors = Vec::new();
        for (position, _) in self.hosts.iter().enumerate().filter(|(_, host)| may(host)) {
            match self.client(position).and_then(&ask) {
                Ok(answer) => return Ok(answer),
                Err(error) => errors.push(error),
            }
        }
        Err(Error::of_all(errors).unwrap_or_else(|| none_may("asked", &self.domain)))
    }

    /// Content from byte `from` on, from the first host at or behind `position` that has it; and which that was.
    pub(super) fn content(
        &self,
        path: &str,
        from: u64,
        position: usize,
    ) -> Result<(ureq::http::Response<ureq::Body>, usize), Error> {
        let mut errors = Vec::new();
        for position in position..self.hosts.len() {
            if !self.hosts[position].can.pull {
                continue;
            }
            match self.client(position).and_then(|client| client.get_from(path, from)) {
                Ok(answer) => return Ok((answer, position)),
                Err(error) => errors.push(error),
            }
        }
        Err(Error::of_all(errors).unwrap_or_else(|| none_may("pulled from", &self.domain)))
    }

    /// How many hosts there are.
    pub(super) fn count(&self) -> usize {
        self.hosts.len()
    }
}

/// The login for a host: its own. What the caller gave is for the registry itself.
pub(super) fn credentials(
    host: &Host,
    domain: &str,
    given: Option<&Credentials>,
) -> Result<Option<Credentials>, Error> {
    let name = if host.is_mirror { &host.authority } else { domain };
    match (given, Logins::of_user()) {
        (Some(given), _) if !host.is_mirror => Ok(Some(given.clone())),
        (_, Some(logins)) => logins.find(name),
        (_, None) => Ok(None),
    }
}

fn none_may(what: &str, domain: &str) -> Error {
    Error::Setup(format!("no host may be {what} for `{domain}` by its hosts.toml"))
}

impl Registry for Mirrors {
    fn resolve(&self, selector: &str) -> Result<Document, Error> {
        // What a digest stands for cannot be lied about.
        let is_digest = selector.parse::<Digest>().is_ok();
        let may = |host: &Host| if is_digest { host.can.pull } else { host.can.resolve };
        self.first(may, |client| client.document(selector, None))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let selector = digest_of(descriptor)?.to_string();
        let mut document = self.first(
            |host| host.can.pull,
            |client| client.document(&selector, Some(descriptor.size())),
        )?;
        if document.media_type.is_empty() {
            document.media_type = descriptor.media_type().to_string();
        }
        Ok(document)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.blob_at(0, descriptor)
    }

    fn places(&self) -> usize {
        self.hosts.iter().rposition(|host| host.can.pull).map_or(0, |last| last + 1)
    }

    fn blob_at(
        &self,
        place: usize,
        descriptor: &Descriptor,
    ) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = digest_of(descriptor)?;
        let size = descriptor.size();
        let body = Resumable::open(self, format!("blobs/{digest}"), size, place)?;
        Ok(Box::new(Verifier::new(body, Expected { digest, size: Some(size) })))
    }
}

pub(super) fn digest_of(descriptor: &Descriptor) -> Result<Digest, Error> {
    Digest::try_from(descriptor).map_err(|error| Error::Invalid(error.to_string()))
}
