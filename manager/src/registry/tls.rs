//! Whom to trust: the authorities of this machine and of one registry.
//!
//! A registry's own authority counts for that registry alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::error::Error;
use crate::certificates;

/// Directories that hold `HOST[:PORT]/*.crt`, authorities for one registry each, and `HOST[:PORT]/hosts.toml`.
const CERTS_DIRECTORIES: [&str; 4] = [
    "/etc/nman/certs.d",
    "/etc/containerd/certs.d",
    "/etc/docker/certs.d",
    "/etc/containers/certs.d",
];

/// How far a registry's identity is checked.
#[derive(Clone, Debug)]
pub struct Tls {
    /// False accepts any certificate, and plain HTTP where TLS is not spoken, from any host.
    pub verify: bool,
    /// Files of further trusted authorities, in PEM.
    pub ca_files: Vec<PathBuf>,
    /// Directories that hold `HOST[:PORT]/*.crt` and `HOST[:PORT]/hosts.toml`.
    pub certs_directories: Vec<PathBuf>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            verify: true,
            ca_files: Vec::new(),
            certs_directories: CERTS_DIRECTORIES.iter().map(PathBuf::from).collect(),
        }
    }
}

impl Tls {
    /// The TLS settings for a registry that goes by these names: Docker Hub has two, of which users
    /// know one and see the other in errors.
    /// `client` is the certificate, and its key, that shows the registry who we are.
    pub(super) fn config(
        &self,
        names: &[&str],
        client: Option<&(PathBuf, PathBuf)>,
    ) -> Result<TlsConfig, Error> {
        let roots = if self.verify { self.roots(names)? } else { Vec::new() };
        let client = client.map(|(certificate, key)| read_client(certificate, key)).transpose()?;
        Ok(TlsConfig::builder()
            .client_cert(client)
            .root_certs(RootCerts::new_with_certs(&roots))
            .disable_verification(!self.verify)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build())
    }

    fn roots(&self, names: &[&str]) -> Result<Vec<Certificate<'static>>, Error> {
        let mut roots = Vec::new();
        if let Some(bundle) = certificates::host_bundle() {
            read_certificates(&bundle, &mut roots)?;
        }
        for directory in &self.certs_directories {
            for name in names {
                for file in certificate_files(&directory.join(name))? {
                    read_certificates(&file, &mut roots)?;
                }
            }
        }
        for file in &self.ca_files {
            read_certificates(file, &mut roots)?;
        }
        Ok(roots)
    }
}

/// The `*.crt` files of a registry's directory, which need not exist.
fn certificate_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::Setup(certificates::unusable(directory, &error.to_string())));
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect();
    files.sort();
    Ok(files)
}

fn read_certificates(path: &Path, into: &mut Vec<Certificate<'static>>) -> Result<(), Error> {
    let mut read = Vec::new();
    certificates::read(path, &mut read).map_err(Error::Setup)?;
    into.extend(read.iter().map(|der| Certificate::from_der(der).to_owned()));
    Ok(())
}

fn read_client(certificate: &Path, key: &Path) -> Result<ClientCert, Error> {
    let mut chain = Vec::new();
    read_certificates(certificate, &mut chain)?;
    let pem = certificates::contents(key).map_err(Error::Setup)?;
    let key = PrivateKey::from_pem(&pem)
        .map_err(|_| Error::Setup(certificates::unusable(key, certificates::NO_KEY)))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.crt");
        fs::write(&file, "not a certificate\n").unwrap();
        let tls = Tls { ca_files: vec![file.clone()], ..Tls::default() };
        let error = tls.config(&["r"], None).unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()), "{error}");
        assert!(error.ends_with("no certificate in it"), "{error}");
    }

    #[test]
    fn a_missing_ca_file_is_an_error_but_a_missing_certs_directory_is_not() {
        let missing = PathBuf::from("/nonexistent/ca.crt");
        let with_file = Tls { ca_files: vec![missing.clone()], ..Tls::default() };
        let error = with_file.config(&["r"], None).unwrap_err().to_string();
        assert!(error.ends_with("no such file or directory"), "{error}");
        let with_directory = Tls { certs_directories: vec![missing], ..Tls::default() };
        with_directory.config(&["r"], None).unwrap();
    }
}
