//! Credential helpers: programs named `docker-credential-NAME` that keep logins for us.
//!
//! They are called with a verb, read from stdin and answer on stdout. What they print may be a secret, so no message repeats it.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::json;

use super::error::Error;

/// What a helper prints when it has nothing for a registry.
const HAS_NONE: &str = "credentials not found in native keychain";
/// The most that is read of an answer.
const MAX_ANSWER: u64 = 1 << 20;

/// A credential helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Helper {
    /// What stands behind `docker-credential-`.
    pub(super) name: String,
    /// Where it is looked for, in the form of `PATH`.
    pub(super) search: OsString,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Helper {
    /// User name and secret for a registry, if the helper has them.
    pub(super) fn get(&self, key: &str) -> Result<Option<(String, String)>, Error> {
        let (succeeded, output) = self.call("get", key)?;
        if !succeeded {
            let said = String::from_utf8_lossy(&output);
            return if said.trim() == HAS_NONE { Ok(None) } else { Err(self.failed("get")) };
        }
        let answer: Answer = serde_json::from_slice(&output).map_err(|_| {
            Error::Setup(format!(
                "the answer of credential helper `{}` is malformed",
                self.program()
            ))
        })?;
        Ok(Some((answer.username, answer.secret)))
    }

    pub(super) fn store(&self, key: &str, username: &str, secret: &str) -> Result<(), Error> {
        let login = json!({"ServerURL": key, "Username": username, "Secret": secret});
        self.change("store", &login.to_string())
    }

    pub(super) fn erase(&self, key: &str) -> Result<(), Error> {
        self.change("erase", key)
    }

    fn change(&self, verb: &str, input: &str) -> Result<(), Error> {
        let (succeeded, _) = self.call(verb, input)?;
        if succeeded { Ok(()) } else { Err(self.failed(verb)) }
    }

    fn call(&self, verb: &str, input: &str) -> Result<(bool, Vec<u8>), Error> {
        let cannot = |error: io::Error| {
            let why = bundle::reason::reason(&error);
            Error::Setup(format!("cannot run credential helper `{}`: {why}", self.program()))
        };
        // A name from a file must not become a path.
        if self.name.contains('/') {
            return Err(Error::Setup(format!(
                "`{}` is not the name of a credential helper",
                self.name
            )));
        }
        let found = std::env::split_paths(&self.search)
            .map(|directory| directory.join(self.program()))
            .find(|p| p.is_file());
        let program = found.ok_or_else(|| cannot(rustix::io::Errno::NOENT.into()))?;
        let command = Command::new(program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = command.map_err(cannot)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not want it may close it.
            let _ = stdin.write_all(input.as_bytes());
        }
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_ANSWER).read_to_end(&mut output).map_err(cannot)?;
        }
        let status = child.wait().map_err(cannot)?;
        Ok((status.success(), output))
    }

    fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    fn failed(&self, verb: &str) -> Error {
        Error::Setup(format!("credential helper `{}` failed to {verb} the login", self.program()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A helper that keeps one login in a file beside it.
    fn helper(script: &str) -> (tempfile::TempDir, Helper) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        std::fs::write(
            &path,
            format!("#!/bin/sh\ncd '{}'\n{script}\n", directory.path().display()),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let search = directory.path().as_os_str().to_owned();
        (directory, Helper { name: "test".to_owned(), search })
    }

    const KEEPER: &str = r#"case $1 in
        store) cat >kept ;;
        get) read key; [ -e kept ] || { echo "credentials not found in native keychain"; exit 1; }; cat kept ;;
        erase) rm kept ;;
        esac"#;

    #[test]
    fn a_login_that_is_stored_is_given_back_until_it_is_erased() {
        let (_directory, helper) = helper(KEEPER);
        assert_eq!(helper.get("r").unwrap(), None);
        helper.store("r", "ann", "secret").unwrap();
        assert_eq!(helper.get("r").unwrap(), Some(("ann".to_owned(), "secret".to_owned())));
        helper.erase("r").unwrap();
        assert_eq!(helper.get("r").unwrap(), None);
        assert!(helper.erase("r").is_err());
    }

    #[test]
    fn a_helpers_output_is_never_repeated() {
        for script in ["echo hunter2; exit 1", "echo hunter2"] {
            let (_directory, helper) = helper(script);
            let error = helper.get("r").unwrap_err().to_string();
            assert!(
                error.contains("docker-credential-test") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_helper_that_is_not_there_and_one_that_is_a_path_are_named() {
        let missing = Helper { name: "nope".to_owned(), search: "/nonexistent".into() };
        let error = missing.get("r").unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot run credential helper `docker-credential-nope`: no such file or directory"
        );
        let path = Helper { name: "../x".to_owned(), search: "/".into() };
        assert!(path.get("r").unwrap_err().to_string().contains("is not the name"));
    }
}
