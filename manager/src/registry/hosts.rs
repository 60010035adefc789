//! Which hosts answer for a registry: `hosts.toml` in the layout that containerd reads.
//!
//!     /etc/nman/certs.d/docker.io/hosts.toml
//!
//! A file names mirrors in the order in which they are asked, and may say how the registry itself is reached. The directory
//! also holds the registry's certificates, see [`tls`](super::tls). Reading is pure but for the files themselves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Table;

use super::error::Error;

/// The file in a registry's directory.
const HOSTS_FILE: &str = "hosts.toml";
/// The directory for registries that have none of their own.
const DEFAULT_DIRECTORY: &str = "_default";

/// A host that answers for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// `HOST[:PORT]`.
    pub(super) authority: String,
    /// Whether it is reached without TLS: said so, or to be found out if it is this machine.
    pub(super) plain: Option<bool>,
    /// What stands before `/REPOSITORY/...` in a request's path.
    pub(super) prefix: String,
    pub(super) can: Capabilities,
    /// Whether any certificate is accepted.
    pub(super) skip_verify: bool,
    /// Further authorities, for this host alone.
    pub(super) ca_files: Vec<PathBuf>,
    /// Certificate and key to show; one file may hold both.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    /// Sent with every request to this host.
    pub(super) headers: Vec<(String, String)>,
    /// Whether it stands in for the registry, rather than being it.
    pub(super) is_mirror: bool,
}

/// What a host is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// Content by its digest.
    pub(super) pull: bool,
    /// What a tag stands for: a host that can be out of date, or lie, is not asked.
    pub(super) resolve: bool,
    /// Taking content in.
    pub(super) push: bool,
}

impl Capabilities {
    const ALL: Self = Self { pull: true, resolve: true, push: true };
}

impl Host {
    /// The registry itself, with nothing said about it.
    pub(super) fn origin(authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            plain: None,
            prefix: "/v2".to_owned(),
            can: Capabilities::ALL,
            skip_verify: false,
            ca_files: Vec::new(),
            client: None,
            headers: Vec::new(),
            is_mirror: false,
        }
    }
}

/// The hosts that answer for the registry `domain`, which is reached at `endpoint`, in the order in which they are asked.
pub(super) fn hosts(
    domain: &str,
    endpoint: &str,
    directories: &[PathBuf],
) -> Result<Vec<Host>, Error> {
    for name in [domain, DEFAULT_DIRECTORY] {
        for directory in directories.iter().map(|directory| directory.join(name)) {
            let path = directory.join(HOSTS_FILE);
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(unusable(&path, &bundle::reason::reason(&error))),
            };
            return parse(&text, domain, endpoint, &directory).map_err(|why| unusable(&path, &why));
        }
    }
    Ok(vec![Host::origin(endpoint)])
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::Setup(format!("cannot use `{}`: {why}", path.display()))
}

/// What may be said of a host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany<PathBuf>>,
    client: Option<Client>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    header: Table,
    /// containerd's, and without a meaning here: every dial has a limit.
    #[serde(default, rename = "dial_timeout")]
    _dial_timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    Both(PathBuf),
    Files(Vec<OneOrMany<PathBuf>>),
}

fn parse(text: &str, domain: &str, endpoint: &str, directory: &Path) -> Result<Vec<Host>, String> {
    let one_line = |error: toml::de::Error| error.message().replace('\n', " ");
    let mut table: Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        format!("line {line}: {}", one_line(error))
    })?;
    let server: Option<String> =
        table.remove("server").map(toml::Value::try_into).transpose().map_err(one_line)?;
    // In the order of the file.
    let mirrors: Option<Table> =
        table.remove("host").map(toml::Value::try_into).transpose().map_err(one_line)?;
    let settings: Settings = table.try_into().map_err(one_line)?;
    let mut hosts = Vec::new();
    for (url, settings) in mirrors.unwrap_or_default() {
        let settings: Settings =
            settings.try_into().map_err(|error| format!("host `{url}`: {}", one_line(error)))?;
        let is_mirror = authority_of(&url) != endpoint && authority_of(&url) != domain;
        hosts.push(
            settings
                .host(&url, directory, is_mirror)
                .map_err(|why| format!("host `{url}`: {why}"))?,
        );
    }
    // Docker Hub's web site is not its registry.
    let server = match server {
        Some(server) if authority_of(&server) != domain => server,
        Some(server) => server.replacen(domain, endpoint, 1),
        None => endpoint.to_owned(),
    };
    let origin = settings
        .host(&server, directory, false)
        .map_err(|why| format!("server `{server}`: {why}"))?;
    if hosts.iter().all(|host: &Host| host.authority != origin.authority) {
        hosts.push(origin);
    }
    Ok(hosts)
}

fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

impl Settings {
    fn host(self, url: &str, directory: &Path, is_mirror: bool) -> Result<Host, String> {
        let (scheme, rest) = url.split_once("://").map_or((None, url), |(s, rest)| (Some(s), rest));
        let plain = match scheme {
            None => None,
            Some("https") => Some(false),
            Some("http") => Some(true),
            Some(other) => return Err(format!("`{other}` is not http or https")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() || authority.contains(['@', '?', '#', ' ']) {
            return Err("it is not a URL of a host".to_owned());
        }
        let path = path.trim_matches('/');
        let prefix = match (self.override_path, path) {
            (true, "") => String::new(),
            (true, path) => format!("/{path}"),
            (false, "" | "v2") => "/v2".to_owned(),
            (false, path) => format!("/{path}/v2"),
        };
        let beside = |path: PathBuf| directory.join(path);
        Ok(Host {
            authority: authority.to_owned(),
            plain,
            prefix,
            can: capabilities(self.capabilities, is_mirror)?,
            skip_verify: self.skip_verify,
            ca_files: match self.ca {
                None => Vec::new(),
                Some(OneOrMany::One(file)) => vec![beside(file)],
                Some(OneOrMany::Many(files)) => files.into_iter().map(beside).collect(),
            },
            client: self
                .client
                .map(Client::files)
                .transpose()?
                .map(|(c, k)| (beside(c), beside(k))),
            headers: headers(self.header)?,
            is_mirror,
        })
    }
}

impl Client {
    /// Of containerd's forms those that name one certificate.
    fn files(self) -> Result<(PathBuf, PathBuf), String> {
        let mut files = match self {
            Self::Both(file) => return Ok((file.clone(), file)),
            Self::Files(files) => files.into_iter(),
        };
        let pair = match (files.next(), files.next()) {
            (Some(OneOrMany::One(file)), None) => Some((file.clone(), file)),
            (Some(OneOrMany::Many(pair)), None) => {
                <[PathBuf; 2]>::try_from(pair).ok().map(|[c, k]| (c, k))
            }
            _ => None,
        };
        pair.ok_or_else(|| "`client` must name one certificate and its key".to_owned())
    }
}

/// A mirror is pushed to only if its file says so: what is meant for the registry should get there.
fn capabilities(names: Option<Vec<String>>, is_mirror: bool) -> Result<Capabilities, String> {
    let Some(names) = names else {
        return Ok(Capabilities { push: !is_mirror, ..Capabilities::ALL });
    };
    let mut can = Capabilities { pull: false, resolve: false, push: false };
    for name in names {
        match &*name {
            "pull" => can.pull = true,
            "resolve" => can.resolve = true,
            "push" => can.push = true,
            _ => return Err(format!("`{name}` is not one of pull, resolve and push")),
        }
    }
    Ok(can)
}

fn headers(table: Table) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    for (name, value) in table {
        let values: OneOrMany<String> = value
            .try_into()
            .map_err(|_| format!("header `{name}` is neither text nor a list of it"))?;
        let values = match values {
            OneOrMany::One(value) => vec![value],
            OneOrMany::Many(values) => values,
        };
        headers.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Host>, String> {
        parse(text, "docker.io", "registry-1.docker.io", Path::new("/etc/nman/certs.d/docker.io"))
    }

    #[test]
    fn mirrors_are_asked_in_the_order_of_the_file_and_then_the_registry() {
        let hosts = parsed(
            r#"
            server = "https://docker.io"
            [host."https://z.example"]
              capabilities = ["pull", "resolve"]
            [host."http://a.example:5000/proxy"]
              skip_verify = true
            "#,
        )
        .unwrap();
        let names: Vec<_> = hosts.iter().map(|host| &*host.authority).collect();
        assert_eq!(names, ["z.example", "a.example:5000", "registry-1.docker.io"]);
        assert!(hosts[0].can.resolve && !hosts[0].can.push && hosts[0].is_mirror);
        assert_eq!((hosts[1].plain, &*hosts[1].prefix), (Some(true), "/proxy/v2"));
        assert!(hosts[1].skip_verify && !hosts[0].skip_verify);
        assert!(!hosts[2].is_mirror && hosts[2].can == Capabilities::ALL);
    }

    #[test]
    fn settings_at_the_top_are_those_of_the_registry_itself() {
        let hosts = parsed("skip_verify = true\nca = \"ca.pem\"\n").unwrap();
        assert_eq!(hosts.len(), 1);
        assert!(hosts[0].skip_verify);
        assert_eq!(hosts[0].ca_files, [PathBuf::from("/etc/nman/certs.d/docker.io/ca.pem")]);
    }

    #[test]
    fn certificates_headers_and_paths_are_taken_as_containerd_takes_them() {
        let hosts = parsed(
            r#"
            [host."https://m.example/team"]
              override_path = true
              ca = ["/a.pem", "b.pem"]
              client = [["c.pem", "c.key"]]
              [host."https://m.example/team".header]
                x-one = "1"
                x-two = ["2", "3"]
            "#,
        )
        .unwrap();
        let host = &hosts[0];
        assert_eq!(host.prefix, "/team");
        assert_eq!(host.ca_files[0], PathBuf::from("/a.pem"));
        let (certificate, key) = host.client.clone().unwrap();
        assert!(certificate.ends_with("docker.io/c.pem") && key.ends_with("docker.io/c.key"));
        let pairs = [("x-one", "1"), ("x-two", "2"), ("x-two", "3")];
        assert_eq!(host.headers, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, part) in [
            ("server = [", "line 1: "),
            ("[host.\"ftp://x\"]", "host `ftp://x`: `ftp` is not http or https"),
            ("[host.\"https://\"]", "host `https://`: it is not a URL"),
            ("[host.\"https://u:p@x\"]", "it is not a URL"),
            ("capabilities = [\"pulls\"]", "`pulls` is not one of pull, resolve and push"),
            ("mirror = 1", "unknown field `mirror`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_directory_for_all_registries_serves_those_that_have_none() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, mirror: &str| {
            fs::create_dir(directory.path().join(name)).unwrap();
            let file = directory.path().join(name).join(HOSTS_FILE);
            fs::write(file, format!("[host.\"https://{mirror}\"]\n")).unwrap();
        };
        write("r.example", "own");
        write(DEFAULT_DIRECTORY, "all");
        let directories = [PathBuf::from("/nonexistent"), directory.path().to_owned()];
        let first = |name: &str| hosts(name, name, &directories).unwrap()[0].authority.clone();
        assert_eq!(first("r.example"), "own");
        assert_eq!(first("other.example"), "all");
    }
}
