//! `RUN --mount`: what a command sees besides its image, and that is no part of what it makes.
//!
//! Pure: the words of the option.

use crate::fields::fields;
use crate::path::clean;

/// One mount of a RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The option's value, with the values of variables in it: what it is for the step's key.
    pub text: String,
    /// Where it is in the container.
    pub target: String,
    /// What it is.
    pub what: What,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A directory that outlives builds.
    Cache {
        /// What it is called; builds that call it the same have the same.
        id: String,
        /// Who else may have it at the same time.
        sharing: Sharing,
        /// Mode, owner and group of a new one.
        look: (u32, u32, u32),
        /// Whether it can be written to.
        writable: bool,
        /// The stage or image that it begins with the files of; it begins with nothing without one.
        from: Option<String>,
        /// The path there.
        source: String,
    },
    /// Files of the context, of a stage, or of an image. What is written to them is gone afterwards.
    Bind {
        /// The stage or image; none for the context.
        from: Option<String>,
        /// The path there.
        source: String,
        /// Whether they can be written to.
        writable: bool,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// How large it may become, as it was typed.
        size: Option<String>,
    },
    /// A file that `--secret` has brought.
    Secret {
        /// What it is called there.
        id: String,
        /// Without it the step fails.
        required: bool,
        /// Its mode, owner and group.
        look: (u32, u32, u32),
        /// It is a file at the mount's target.
        is_file: bool,
        /// The variable whose value it is.
        variable: Option<String>,
    },
    /// The socket of an agent for SSH that `--ssh` has brought.
    Ssh {
        /// What it is called there.
        id: String,
        /// Without it the step fails.
        required: bool,
        /// Its mode, owner and group.
        look: (u32, u32, u32),
    },
}

/// Which builds may have a cache at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All.
    Shared,
    /// One; others wait.
    Locked,
    /// One; others have another cache.
    Private,
}

/// What the option has said so far.
#[derive(Default)]
struct Wish {
    kind: Option<String>,
    id: Option<String>,
    target: Option<String>,
    source: Option<String>,
    from: Option<String>,
    size: Option<String>,
    variable: Option<String>,
    sharing: Option<String>,
    readonly: Option<bool>,
    required: bool,
    mode: Option<u32>,
    owner: (u32, u32),
}

/// Reads the option's value. `workdir` is where a path begins that is not absolute, and `agents` how many sockets of agents the command
/// has already.
pub fn parse(text: &str, workdir: &str, agents: usize) -> Result<Mount, String> {
    let mut wish = Wish::default();
    for field in fields(text)? {
        wish.take(&field)?;
    }
    wish.finish(text, workdir, agents)
}

impl Wish {
    fn take(&mut self, field: &str) -> Result<(), String> {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let flag = || match value {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("invalid value for {key}: {value}")),
        };
        let number = |radix| {
            u32::from_str_radix(value, radix)
                .map_err(|_| format!("invalid value for {key}: {value}"))
        };
        let text = || match value {
            "" => Err(format!("{key} of a mount has no value")),
            value => Ok(Some(value.to_owned())),
        };
        match key.to_ascii_lowercase().as_str() {
            "type" => self.kind = text()?,
            "id" => self.id = text()?,
            "target" | "dst" | "destination" => self.target = text()?,
            "source" | "src" => self.source = text()?,
            "from" => self.from = text()?,
            "size" | "tmpfs-size" => self.size = text()?,
            "env" => self.variable = text()?,
            "sharing" => self.sharing = text()?,
            "ro" | "readonly" => self.readonly = Some(flag()?),
            "rw" | "readwrite" => self.readonly = Some(!flag()?),
            "required" => self.required = flag()?,
            "mode" => self.mode = Some(number(8)?),
            "uid" => self.owner.0 = number(10)?,
            "gid" => self.owner.1 = number(10)?,
            _ => return Err(format!("RUN --mount: `{field}` is not supported")),
        }
        Ok(())
    }

    fn finish(self, text: &str, workdir: &str, agents: usize) -> Result<Mount, String> {
        let kind = self.kind.clone().unwrap_or_else(|| "bind".to_owned());
        let kind = kind.as_str();
        if self.variable.is_some() && kind != "secret" {
            return Err(format!("RUN --mount=type={kind}: `env` is not supported"));
        }
        let needs_target = || format!("RUN --mount=type={kind} needs a target");
        let target = match (&self.target, kind) {
            (Some(target), _) => target.clone(),
            (None, "secret") => {
                let id = self.secret_id().ok_or_else(needs_target)?;
                format!("/run/secrets/{}", id.rsplit('/').next().unwrap_or(&id))
            }
            (None, "ssh") => format!("/run/buildkit/ssh_agent.{agents}"),
            (None, _) => return Err(needs_target()),
        };
        let what = self.what(kind, &target)?;
        let target = if target.starts_with('/') { target } else { format!("{workdir}/{target}") };
        let target = clean(&target);
        if target == "/" {
            return Err("RUN --mount cannot be on `/`".to_owned());
        }
        Ok(Mount { text: text.to_owned(), target, what })
    }

    fn what(self, kind: &str, target: &str) -> Result<What, String> {
        let look = |mode: u32| (self.mode.unwrap_or(mode), self.owner.0, self.owner.1);
        Ok(match kind {
            "cache" => self.cache(target, look(0o755))?,
            "bind" => What::Bind {
                from: self.from,
                source: self.source.unwrap_or_else(|| "/".to_owned()),
                writable: self.readonly == Some(false),
            },
            "tmpfs" => What::Tmpfs { size: self.size },
            "secret" => What::Secret {
                id: self.secret_id().unwrap_or_else(|| target.to_owned()),
                required: self.required,
                look: look(0o400),
                is_file: self.target.is_some() || self.variable.is_none(),
                variable: self.variable,
            },
            "ssh" => What::Ssh {
                look: look(0o600),
                required: self.required,
                id: self.id.unwrap_or_else(|| "default".to_owned()),
            },
            other => return Err(format!("RUN --mount=type={other} is not supported")),
        })
    }

    /// What a secret is called: as it says, or as its file.
    fn secret_id(&self) -> Option<String> {
        let of_file = || self.target.as_deref()?.rsplit('/').next().map(str::to_owned);
        self.id.clone().or_else(|| self.source.clone()).or_else(of_file)
    }

    fn cache(&self, target: &str, look: (u32, u32, u32)) -> Result<What, String> {
        if self.from.is_none() && self.source.is_some() {
            return Err("RUN --mount=type=cache with `source` needs a `from`".to_owned());
        }
        let sharing = match self.sharing.as_deref() {
            None | Some("shared") => Sharing::Shared,
            Some("locked") => Sharing::Locked,
            Some("private") => Sharing::Private,
            Some(other) => return Err(format!("RUN --mount: sharing={other} is not supported")),
        };
        Ok(What::Cache {
            id: self.id.clone().unwrap_or_else(|| clean(target)),
            sharing,
            look,
            writable: self.readonly != Some(true),
            from: self.from.clone(),
            source: self.source.clone().unwrap_or_else(|| "/".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> (String, What) {
        let mount = parse(text, "/w", 1).unwrap();
        (mount.target, mount.what)
    }

    #[test]
    fn every_kind_has_its_defaults() {
        let cache = |id: &str, sharing, look| What::Cache {
            id: id.to_owned(),
            sharing,
            look,
            writable: true,
            from: None,
            source: "/".to_owned(),
        };
        let bind = |from: Option<&str>, source: &str, writable| What::Bind {
            from: from.map(str::to_owned),
            source: source.to_owned(),
            writable,
        };
        for (text, target, expected) in [
            ("type=cache,target=/c/", "/c", cache("/c", Sharing::Shared, (0o755, 0, 0))),
            (
                "type=cache,dst=c,id=x,sharing=locked,uid=5,gid=6,mode=0700",
                "/w/c",
                cache("x", Sharing::Locked, (0o700, 5, 6)),
            ),
            ("target=/src", "/src", bind(None, "/", false)),
            ("type=bind,from=a,source=b,target=/c,rw", "/c", bind(Some("a"), "b", true)),
            ("type=tmpfs,target=/t,size=1m", "/t", What::Tmpfs { size: Some("1m".to_owned()) }),
            (
                "type=cache,target=/c,sharing=private,from=x,source=/y",
                "/c",
                What::Cache {
                    id: "/c".to_owned(),
                    sharing: Sharing::Private,
                    look: (0o755, 0, 0),
                    writable: true,
                    from: Some("x".to_owned()),
                    source: "/y".to_owned(),
                },
            ),
        ] {
            assert_eq!(what(text), (target.to_owned(), expected), "{text}");
        }
    }

    #[test]
    fn secrets_and_agents_are_where_they_are_looked_for() {
        let secret = |id: &str, required, is_file, variable: Option<&str>| What::Secret {
            id: id.to_owned(),
            required,
            look: (0o400, 0, 0),
            is_file,
            variable: variable.map(str::to_owned),
        };
        for (text, target, expected) in [
            ("type=secret,id=key,required", "/run/secrets/key", secret("key", true, true, None)),
            (
                "type=secret,id=key,env=KEY",
                "/run/secrets/key",
                secret("key", false, false, Some("KEY")),
            ),
            (
                "type=secret,src=key,env=KEY,target=/k",
                "/k",
                secret("key", false, true, Some("KEY")),
            ),
            (
                "type=ssh",
                "/run/buildkit/ssh_agent.1",
                What::Ssh { id: "default".to_owned(), required: false, look: (0o600, 0, 0) },
            ),
            (
                "type=ssh,id=k,required,mode=0666,uid=5",
                "/run/buildkit/ssh_agent.1",
                What::Ssh { id: "k".to_owned(), required: true, look: (0o666, 5, 0) },
            ),
            (
                "type=secret,target=/root/.netrc",
                "/root/.netrc",
                secret(".netrc", false, true, None),
            ),
        ] {
            assert_eq!(what(text), (target.to_owned(), expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, why) in [
            ("type=gpu,target=/x", "type=gpu is not supported"),
            ("type=secret", "needs a target"),
            ("type=cache", "type=cache needs a target"),
            ("type=cache,target=/x,sharing=none", "sharing=none"),
            ("type=cache,target=/x,source=/y", "needs a `from`"),
            ("type=tmpfs,target=/x,env=Y", "`env` is not supported"),
            ("type=tmpfs,target=/", "cannot be on `/`"),
            ("type=bind,target=/x,uid=y", "invalid value for uid: y"),
        ] {
            let error = parse(text, "/", 0).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
