//! Logins in Docker's own file, `config.json`, and in the credential helpers that it names.
//!
//! What others keep in the file stays as it is. A login belongs to the registry under whose name it was stored and is found
//! by that name alone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};

use super::auth::Credentials;
use super::error::Error;
use super::helper::Helper;

/// The key of Docker Hub's credentials in Docker's configuration.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name that stands for an identity token in a credential helper.
const TOKEN_USER: &str = "<token>";
/// Nobody needs a larger one.
const MAX_FILE: u64 = 4 << 20;

/// Where logins are kept.
#[derive(Clone, Debug)]
pub struct Logins {
    path: PathBuf,
    /// Where credential helpers are looked for: the value of `PATH`.
    helpers: OsString,
}

/// Where a login went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the file, which says so to anybody who can read it.
    File(PathBuf),
    /// With a credential helper.
    Helper(String),
}

impl Logins {
    /// Those of this user.
    pub fn of_user() -> Option<Self> {
        Some(Self::in_file(&Self::path_of_user()?))
    }

    /// Docker's configuration file of this user: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
    pub fn path_of_user() -> Option<PathBuf> {
        let named = std::env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty());
        let directory = named.map(PathBuf::from).or_else(|| {
            let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
            home.map(|home| PathBuf::from(home).join(".docker"))
        })?;
        Some(directory.join("config.json"))
    }

    /// Those in a file.
    pub fn in_file(path: &Path) -> Self {
        let helpers = std::env::var_os("PATH").unwrap_or_default();
        Self { path: path.to_owned(), helpers }
    }

    /// The login for the registry `domain`, from its helper or from the file.
    pub fn find(&self, domain: &str) -> Result<Option<Credentials>, Error> {
        let config = self.read()?;
        let keys = keys(domain);
        for key in &keys {
            if let Some(helper) = self.helper(&config, key)
                && let Some((username, secret)) = helper.get(key)?
            {
                return Ok(Some(if username == TOKEN_USER {
                    Credentials::IdentityToken(secret)
                } else {
                    Credentials::Password { username, password: secret }
                }));
            }
        }
        for key in &keys {
            if let Some(entry) = config.get("auths").and_then(|auths| auths.get(key)) {
                let found = entry_credentials(entry);
                return found.map_err(|why| {
                    let path = self.path.display();
                    Error::Setup(format!(
                        "cannot use the credentials for `{domain}` in `{path}`: {why}"
                    ))
                });
            }
        }
        Ok(None)
    }

    /// Keeps a login that was found right under `key`.
    pub fn store(&self, key: &str, credentials: &Credentials) -> Result<Kept, Error> {
        let mut config = self.read()?;
        let helper = self.helper(&config, key);
        let entry = match (&helper, credentials) {
            (Some(helper), Credentials::Password { username, password }) => {
                helper.store(key, username, password)?;
                json!({})
            }
            (Some(helper), Credentials::IdentityToken(token)) => {
                helper.store(key, TOKEN_USER, token)?;
                json!({})
            }
            (None, Credentials::Password { username, password }) => {
                json!({"auth": BASE64_STANDARD.encode(format!("{username}:{password}"))})
            }
            (None, Credentials::IdentityToken(token)) => json!({"identitytoken": token}),
        };
        let auths = config.entry("auths").or_insert_with(|| json!({}));
        let Some(auths) = auths.as_object_mut() else {
            return Err(self.unusable("write", "`auths` is not an object"));
        };
        auths.insert(key.to_owned(), entry);
        self.write(&config)?;
        Ok(match helper {
            Some(helper) => Kept::Helper(helper.name),
            None => Kept::File(self.path.clone()),
        })
    }

    /// Forgets the login for `domain` under each name that it may have; whether there was one.
    pub fn erase(&self, domain: &str) -> Result<bool, Error> {
        let mut config = self.read()?;
        let mut found = false;
        for key in keys(domain) {
            let in_file = config
                .get_mut("auths")
                .and_then(Value::as_object_mut)
                .is_some_and(|auths| auths.remove(&key).is_some());
            if let Some(helper) = self.helper(&config, &key)
                && (in_file || helper.get(&key)?.is_some())
            {
                helper.erase(&key)?;
                found = true;
            }
            found |= in_file;
        }
        if found {
            self.write(&config)?;
        }
        Ok(found)
    }

    /// The helper for one registry, else the one for all.
    fn helper(&self, config: &Map<String, Value>, key: &str) -> Option<Helper> {
        let own = config.get("credHelpers").and_then(|helpers| {
            let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
            helpers.get(key).or_else(|| helpers.get(bare))
        });
        let name = own.or_else(|| config.get("credsStore"))?.as_str()?;
        let helper = Helper { name: name.to_owned(), search: self.helpers.clone() };
        (!name.is_empty()).then_some(helper)
    }

    fn read(&self) -> Result<Map<String, Value>, Error> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if is_absence(&error) => return Ok(Map::new()),
            Err(error) => return Err(self.unusable("read", &bundle::reason::reason(&error))),
        };
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, MAX_FILE), &mut text)
            .map_err(|error| self.unusable("read", &bundle::reason::reason(&error)))?;
        if text.trim().is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_str(&text)
            .map_err(|error| self.unusable("read", &format!("it is malformed: {error}")))
    }

    /// Replaces the file at once; it is for its owner only.
    fn write(&self, config: &Map<String, Value>) -> Result<(), Error> {
        let failed = |error: io::Error| self.unusable("write", &bundle::reason::reason(&error));
        // The file may be a link into somebody's collection of settings: what it leads to is replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let temporary = directory.join(format!(".config.json.{}", std::process::id()));
        let write = || {
            let mut options = File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            let mut text = Vec::new();
            let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
            let mut serializer = serde_json::Serializer::with_formatter(&mut text, tabs);
            serde::Serialize::serialize(config, &mut serializer)?;
            text.push(b'\n');
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| {
            // It may hold a secret.
            let _ = fs::remove_file(&temporary);
            failed(error)
        })
    }

    fn unusable(&self, action: &str, why: &str) -> Error {
        Error::Setup(format!("cannot {action} `{}`: {why}", self.path.display()))
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The names under which a registry's login may be stored; the first is the one to store it under.
fn keys(domain: &str) -> Vec<String> {
    if domain == "docker.io" {
        return vec![HUB_KEY.to_owned(), domain.to_owned(), "index.docker.io".to_owned()];
    }
    let schemes = ["https://", "http://"];
    let mut keys = vec![domain.to_owned()];
    keys.extend(schemes.map(|scheme| format!("{scheme}{domain}")));
    keys.extend(schemes.map(|scheme| format!("{scheme}{domain}/v1/")));
    keys
}

/// What an entry of `auths` says; one that only marks that a helper has the login, nothing.
fn entry_credentials(entry: &Value) -> Result<Option<Credentials>, &'static str> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::IdentityToken(token.to_owned())));
    }
    let pair = match (text("auth"), text("username"), text("password")) {
        (Some(auth), ..) => {
            let malformed = "`auth` is not base64 of user:password";
            let decoded = BASE64_STANDARD.decode(auth).map_err(|_| malformed)?;
            let decoded = String::from_utf8(decoded).map_err(|_| malformed)?;
            let (username, password) = decoded.split_once(':').ok_or(malformed)?;
            // Some writers put a NUL behind it.
            Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
        }
        (None, Some(username), Some(password)) => Some((username.to_owned(), password.to_owned())),
        _ => None,
    };
    Ok(pair.map(|(username, password)| Credentials::Password { username, password }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn logins() -> (TempDir, Logins) {
        let directory = tempfile::tempdir().unwrap();
        let logins = Logins::in_file(&directory.path().join("deep/config.json"));
        (directory, logins)
    }

    fn password(username: &str, password: &str) -> Credentials {
        Credentials::Password { username: username.to_owned(), password: password.to_owned() }
    }

    fn put(logins: &Logins, config: &Value) {
        fs::create_dir_all(logins.path.parent().unwrap()).unwrap();
        fs::write(&logins.path, config.to_string()).unwrap();
    }

    #[test]
    fn a_login_is_found_by_its_registrys_name_and_by_no_other() {
        let (_directory, logins) = logins();
        let auth = |text: &str| json!({"auth": BASE64_STANDARD.encode(text)});
        put(
            &logins,
            &json!({"auths": {
                HUB_KEY: auth("hub:1"), "localhost:5000": auth("local:2:3"),
                "https://quay.io": {"identitytoken": "3"}, "plain": {"username": "u", "password": "p"},
            }}),
        );
        let find = |domain: &str| logins.find(domain).unwrap();
        assert_eq!(find("docker.io"), Some(password("hub", "1")));
        assert_eq!(find("localhost:5000"), Some(password("local", "2:3")));
        assert_eq!(find("quay.io"), Some(Credentials::IdentityToken("3".to_owned())));
        assert_eq!(find("plain"), Some(password("u", "p")));
        for other in ["localhost", "localhost:5001", "io", "registry-1.docker.io"] {
            assert_eq!(find(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_stored_is_found_and_the_rest_of_the_file_stays() {
        let (_directory, logins) = logins();
        put(
            &logins,
            &json!({"psFormat": "table", "auths": {"other": {"auth": "dTpw"}}, "aliases": {"x": "y"}}),
        );
        assert_eq!(
            logins.store("r:1", &password("ann", "s:e")).unwrap(),
            Kept::File(logins.path.clone())
        );
        assert_eq!(logins.find("r:1").unwrap(), Some(password("ann", "s:e")));
        let config = logins.read().unwrap();
        assert_eq!(config.keys().collect::<Vec<_>>(), ["psFormat", "auths", "aliases"]);
        assert_eq!(config["auths"]["other"]["auth"], "dTpw");
        assert!(logins.erase("r:1").unwrap());
        assert!(!logins.erase("r:1").unwrap());
        assert_eq!(logins.find("r:1").unwrap(), None);
        assert_eq!(logins.find("other").unwrap(), Some(password("u", "p")));
    }

    #[test]
    fn the_file_is_for_its_owner_only() {
        let (_directory, logins) = logins();
        put(&logins, &json!({}));
        fs::set_permissions(&logins.path, fs::Permissions::from_mode(0o644)).unwrap();
        logins.store("r", &password("a", "b")).unwrap();
        assert_eq!(fs::metadata(&logins.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(logins.path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_a_link_leads_to_is_replaced_and_the_link_stays() {
        let (directory, logins) = logins();
        let kept = directory.path().join("settings.json");
        fs::write(&kept, r#"{"psFormat": "table"}"#).unwrap();
        fs::create_dir(directory.path().join("deep")).unwrap();
        std::os::unix::fs::symlink(&kept, &logins.path).unwrap();
        logins.store("r", &password("a", "b")).unwrap();
        assert_eq!(fs::read_link(&logins.path).unwrap(), kept);
        let text = fs::read_to_string(&kept).unwrap();
        assert!(text.contains("psFormat") && text.contains("auths"), "{text}");
    }

    #[test]
    fn a_malformed_file_is_named_and_never_overwritten() {
        let (_directory, logins) = logins();
        assert_eq!(logins.find("r").unwrap(), None);
        put(&logins, &json!({"auths": {"r": {"auth": "?"}}}));
        let error = logins.find("r").unwrap_err().to_string();
        assert!(error.ends_with("`auth` is not base64 of user:password"), "{error}");
        fs::write(&logins.path, "{").unwrap();
        let error = logins.store("r", &password("a", "b")).unwrap_err().to_string();
        assert!(
            error.contains(logins.path.to_str().unwrap()) && error.contains("malformed"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&logins.path).unwrap(), "{");
    }

    #[test]
    fn a_registrys_own_helper_goes_before_the_one_for_all() {
        let (_directory, logins) = logins();
        let config = json!({"credsStore": "all", "credHelpers": {"r:1": "own", "index.docker.io/v1/": "hub"}});
        let config = config.as_object().unwrap();
        let helper = |key: &str| logins.helper(config, key).unwrap().name;
        assert_eq!(helper("r:1"), "own");
        assert_eq!(helper("https://r:1"), "own");
        assert_eq!(helper("r:2"), "all");
        assert_eq!(helper(HUB_KEY), "hub");
    }
}
