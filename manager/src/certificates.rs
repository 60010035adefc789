//! Certificates and keys in files of PEM, and the authorities that this machine trusts.
//!
//! The host's own bundle is read at run time, never a list that was compiled in, so that an administrator's additions and removals
//! count.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

/// Where distributions keep the bundle of trusted authorities; the first that exists is used.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Names the bundle instead, by OpenSSL's convention.
const BUNDLE_VARIABLE: &str = "SSL_CERT_FILE";

/// What is wrong with a file that should have a private key.
pub const NO_KEY: &str = "no private key in it";

/// Whether this machine has a bundle of trusted authorities.
#[must_use]
pub fn has_authorities() -> bool {
    std::env::var_os(BUNDLE_VARIABLE).is_some_and(|path| Path::new(&path).exists())
        || BUNDLES.iter().any(|path| Path::new(path).exists())
}

/// The machine's bundle of trusted authorities, where it has one.
#[must_use]
pub fn host_bundle() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(BUNDLE_VARIABLE).filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(path));
    }
    BUNDLES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// All certificates of a file, appended.
///
/// # Errors
/// It cannot be read, is no PEM, or has none.
pub fn read(path: &Path, into: &mut Vec<CertificateDer<'static>>) -> Result<(), String> {
    let pem = contents(path)?;
    let before = into.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        into.push(certificate.map_err(|_| unusable(path, "malformed PEM"))?);
    }
    if into.len() == before {
        return Err(unusable(path, "no certificate in it"));
    }
    Ok(())
}

/// The first private key of a file.
///
/// # Errors
/// It cannot be read, or has none.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&contents(path)?).map_err(|_| unusable(path, NO_KEY))
}

/// What is in a file of PEM.
///
/// # Errors
/// It cannot be read.
pub fn contents(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| unusable(path, &bundle::reason::reason(&error)))
}

/// That a file of certificates, or the certificates of a directory, are of no use.
#[must_use]
pub fn unusable(path: &Path, why: &str) -> String {
    format!("cannot use the certificates in `{}`: {why}", path.display())
}
