//! Pushing to a repository: what is there already is not sent, what breaks off is taken up again.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use bundle::digest::Digest;
use oci_spec::image::Descriptor;
use ureq::http::{Method, Response, StatusCode};
use ureq::{Body, ResponseExt as _};

use super::Access;
use super::answer::absolute;
use super::client::{Approach, Call, Client, Content};
use super::error::Error;
use super::hosts;
use super::mirrors::{credentials, digest_of};
use crate::reference::Reference;

/// How often the upload of one blob may break and begin again.
const MAX_ATTEMPTS: u32 = 4;
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// One repository of a registry, seen by somebody who wants to push to it.
#[derive(Debug)]
pub struct Target {
    client: Client,
}

/// A blob that is to be sent.
pub struct Upload<'a> {
    /// What it is.
    pub descriptor: &'a Descriptor,
    /// Opens its content at an offset; it may be called more than once.
    pub content: &'a dyn Fn(u64) -> io::Result<Box<dyn Read + 'a>>,
    /// A larger blob is sent in pieces of this size, and continues behind the last whole one after a fault.
    pub chunk: u64,
    /// Told how many bytes have been sent.
    pub sent: &'a dyn Fn(u64),
}

impl Target {
    /// Prepares to push to the reference's repository, and to take blobs over from `sources`, other repositories of the same
    /// registry.
    pub fn connect(
        reference: &Reference,
        access: &Access,
        sources: &[String],
    ) -> Result<Self, Error> {
        let domain = reference.domain();
        let all = hosts::hosts(domain, reference.endpoint(), &access.tls.certs_directories)?;
        let host = all.into_iter().find(|host| host.can.push).ok_or_else(|| {
            Error::Setup(format!("no host may be pushed to for `{domain}` by its hosts.toml"))
        })?;
        let mut scopes = vec![format!("repository:{}:pull,push", reference.repository())];
        scopes.extend(sources.iter().map(|source| format!("repository:{source}:pull")));
        let approach = Approach {
            credentials: credentials(&host, domain, access.credentials.as_ref())?,
            tls: access.tls.clone(),
            repository: reference.repository().to_owned(),
            scopes,
        };
        Ok(Self { client: Client::connect(&host, domain, approach)? })
    }

    /// Finds out whether a registry accepts the login in `access`, or asks for none.
    pub fn log_in(domain: &str, endpoint: &str, access: &Access) -> Result<(), Error> {
        let all = hosts::hosts(domain, endpoint, &access.tls.certs_directories)?;
        let host = all.into_iter().find(|host| !host.is_mirror).ok_or_else(|| {
            Error::Setup(format!("`{domain}` has only mirrors by its hosts.toml"))
        })?;
        let approach = Approach {
            credentials: access.credentials.clone(),
            tls: access.tls.clone(),
            ..Approach::default()
        };
        Client::connect(&host, domain, approach)?.ping()
    }

    /// Whether the repository has the blob.
    pub fn has(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let call = Call {
            method: Method::HEAD,
            url: self.client.url(&format!("blobs/{}", digest_of(descriptor)?)),
            headers: Vec::new(),
            content: Content::None,
        };
        let answer = self.client.call(&call, &[StatusCode::OK, StatusCode::NOT_FOUND])?;
        Ok(answer.status() == StatusCode::OK)
    }

    /// Takes the blob over from another repository of the registry, if that has it and the registry can.
    pub fn mount(&self, descriptor: &Descriptor, from: &str) -> Result<bool, Error> {
        let digest = digest_of(descriptor)?;
        let answer = self.begin(&format!("blobs/uploads/?mount={digest}&from={from}"))?;
        if answer.status() == StatusCode::CREATED {
            return Ok(true);
        }
        // The registry has begun an upload instead, which nobody is going to continue. It may forget that by itself.
        if let Ok(url) = self.location(&answer) {
            let call =
                Call { method: Method::DELETE, url, headers: Vec::new(), content: Content::None };
            let _ = self.client.once(&call, &[StatusCode::NO_CONTENT]);
        }
        Ok(false)
    }

    /// Sends a blob.
    pub fn upload(&self, upload: &Upload<'_>) -> Result<(), Error> {
        let mut attempts = 1;
        loop {
            (upload.sent)(0);
            let size = upload.descriptor.size();
            let result =
                if size > upload.chunk { self.in_pieces(upload) } else { self.at_once(upload) };
            match result {
                // What the registry has of a broken upload is not known: another is begun.
                Err(error) if error.is_transient() && attempts < MAX_ATTEMPTS => {
                    thread::sleep(RETRY_AFTER * attempts);
                    attempts += 1;
                }
                result => return result,
            }
        }
    }

    /// Stores a manifest under a tag or its digest, byte for byte.
    pub fn manifest(&self, selector: &str, media_type: &str, content: &[u8]) -> Result<(), Error> {
        let call = Call {
            method: Method::PUT,
            url: self.client.url(&format!("manifests/{selector}")),
            headers: vec![("Content-Type", media_type.to_owned())],
            content: Content::Bytes(content),
        };
        let answer = self.client.call(&call, &[StatusCode::CREATED, StatusCode::OK])?;
        let named = answer.headers().get("docker-content-digest").and_then(|d| d.to_str().ok());
        let digest = Digest::of(content);
        match named.and_then(|named| named.parse::<Digest>().ok()) {
            Some(other) if other != digest && other.algorithm() == digest.algorithm() => {
                let why = format!("the registry stored it as `{other}`");
                Err(Error::Mismatch { object: "manifest", digest, why })
            }
            _ => Ok(()),
        }
    }

    fn begin(&self, path: &str) -> Result<Response<Body>, Error> {
        let call = Call {
            method: Method::POST,
            url: self.client.url(path),
            headers: Vec::new(),
            content: Content::Bytes(&[]),
        };
        self.client.call(&call, &[StatusCode::CREATED, StatusCode::ACCEPTED])
    }

    /// Where an upload continues.
    fn location(&self, answer: &Response<Body>) -> Result<String, Error> {
        let location = answer.headers().get("location").and_then(|location| location.to_str().ok());
        let host = self.client.host();
        location.and_then(|location| absolute(location, answer.get_uri())).ok_or_else(|| {
            Error::Invalid(format!("`{host}` does not say where the upload continues"))
        })
    }

    fn at_once(&self, upload: &Upload<'_>) -> Result<(), Error> {
        let url = self.location(&self.begin("blobs/uploads/")?)?;
        self.send(
            upload,
            Method::PUT,
            with_digest(&url, upload.descriptor)?,
            0,
            upload.descriptor.size(),
        )
        .map(drop)
    }

    fn in_pieces(&self, upload: &Upload<'_>) -> Result<(), Error> {
        let mut url = self.location(&self.begin("blobs/uploads/")?)?;
        let size = upload.descriptor.size();
        let (mut offset, mut faults) = (0, 0);
        while offset < size {
            let length = upload.chunk.min(size - offset);
            match self.send(upload, Method::PATCH, url.clone(), offset, length) {
                Ok(answer) => {
                    url = self.location(&answer)?;
                    offset += length;
                }
                Err(error) if error.is_transient() && faults < MAX_ATTEMPTS => {
                    faults += 1;
                    thread::sleep(RETRY_AFTER);
                    (url, offset) = self.standing(&url, size)?;
                }
                Err(error) => return Err(error),
            }
        }
        let call = Call {
            method: Method::PUT,
            url: with_digest(&url, upload.descriptor)?,
            headers: Vec::new(),
            content: Content::Bytes(&[]),
        };
        self.client.once(&call, &[StatusCode::CREATED]).map(drop)
    }

    /// Sends `length` bytes from `offset`; not again by itself, since the registry may have kept a part of them.
    fn send(
        &self,
        upload: &Upload<'_>,
        method: Method,
        url: String,
        offset: u64,
        length: u64,
    ) -> Result<Response<Body>, Error> {
        let open = || -> io::Result<Box<dyn Read + '_>> {
            let content = (upload.content)(offset)?.take(length);
            Ok(Box::new(Counted { content, at: offset, sent: upload.sent }))
        };
        let wanted = if method == Method::PUT { StatusCode::CREATED } else { StatusCode::ACCEPTED };
        let mut headers = vec![("Content-Type", "application/octet-stream".to_owned())];
        if method == Method::PATCH {
            headers.push(("Content-Range", format!("{offset}-{}", offset + length - 1)));
        }
        let call = Call { method, url, headers, content: Content::Stream(length, &open) };
        self.client.once(&call, &[wanted])
    }

    /// How far a broken upload has come, and where it continues.
    fn standing(&self, url: &str, size: u64) -> Result<(String, u64), Error> {
        let answer = self.client.call(&Call::get(url.to_owned()), &[StatusCode::NO_CONTENT])?;
        let range = answer.headers().get("range").and_then(|range| range.to_str().ok());
        let last = range.and_then(|range| {
            range.trim_start_matches("bytes=").split_once('-')?.1.parse::<u64>().ok()
        });
        // Nothing and one byte look the same, `0-0`: what is sent twice has another digest, and is then sent anew.
        let offset = last.map_or(0, |last| if last == 0 { 0 } else { last + 1 });
        let next = self.location(&answer).unwrap_or_else(|_| url.to_owned());
        if offset > size {
            return Err(Error::Invalid(format!(
                "`{}` claims to have more than was sent",
                self.client.host()
            )));
        }
        Ok((next, offset))
    }
}

fn with_digest(url: &str, descriptor: &Descriptor) -> Result<String, Error> {
    let separator = if url.contains('?') { '&' } else { '?' };
    Ok(format!("{url}{separator}digest={}", digest_of(descriptor)?))
}

/// Tells how far the reading has come.
struct Counted<'a, R> {
    content: R,
    at: u64,
    sent: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.at += count as u64;
        (self.sent)(self.at);
        Ok(count)
    }
}
