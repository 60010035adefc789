//! `RUN --mount`: what a command sees besides its image, and that is no part of what it makes.
//!
//! Pure: the words of the option.

use crate::cli::mounts::fields;
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
        /// One build at a time has it.
        locked: bool,
        /// Mode, owner and group of a new one.
        look: (u32, u32, u32),
        /// Whether it can be written to.
        writable: bool,
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
    },
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
    sharing: Option<String>,
    readonly: Option<bool>,
    required: bool,
    mode: Option<u32>,
    owner: (u32, u32),
}

/// Reads the option's value. `workdir` is where a path begins that is not absolute.
pub fn parse(text: &str, workdir: &str) -> Result<Mount, String> {
    let mut wish = Wish::default();
    for field in fields(text)? {
        wish.take(&field)?;
    }
    wish.finish(text, workdir)
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

    fn finish(self, text: &str, workdir: &str) -> Result<Mount, String> {
        let kind = self.kind.as_deref().unwrap_or("bind");
        let look = |mode: u32| (self.mode.unwrap_or(mode), self.owner.0, self.owner.1);
        let needs_target = || format!("RUN --mount=type={kind} needs a target");
        let target = match (self.target.clone(), kind, &self.id) {
            (Some(target), _, _) => target,
            (None, "secret", Some(id)) => format!("/run/secrets/{id}"),
            _ => return Err(needs_target()),
        };
        let what = match kind {
            "cache" => self.cache(&target, look(0o755))?,
            "bind" => What::Bind {
                from: self.from,
                source: self.source.unwrap_or_else(|| "/".to_owned()),
                writable: self.readonly == Some(false),
            },
            "tmpfs" => What::Tmpfs { size: self.size },
            "secret" => {
                let own = self.target.as_deref().and_then(|path| path.rsplit('/').next());
                let id =
                    self.id.clone().or_else(|| own.map(str::to_owned)).ok_or_else(needs_target)?;
                What::Secret { id, required: self.required, look: look(0o400) }
            }
            other => return Err(format!("RUN --mount=type={other} is not supported")),
        };
        let target = if target.starts_with('/') { target } else { format!("{workdir}/{target}") };
        let target = clean(&target);
        if target == "/" {
            return Err("RUN --mount cannot be on `/`".to_owned());
        }
        Ok(Mount { text: text.to_owned(), target, what })
    }

    fn cache(&self, target: &str, look: (u32, u32, u32)) -> Result<What, String> {
        if self.from.is_some() || self.source.is_some() {
            return Err(
                "RUN --mount=type=cache with `from` or `source` is not supported".to_owned()
            );
        }
        let locked = match self.sharing.as_deref() {
            None | Some("shared") => false,
            Some("locked") => true,
            Some(other) => return Err(format!("RUN --mount: sharing={other} is not supported")),
        };
        let id = self.id.clone().unwrap_or_else(|| clean(target));
        Ok(What::Cache { id, locked, look, writable: self.readonly != Some(true) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> (String, What) {
        let mount = parse(text, "/w").unwrap();
        (mount.target, mount.what)
    }

    #[test]
    fn every_kind_has_its_defaults() {
        let cache = |id: &str, locked, look| What::Cache {
            id: id.to_owned(),
            locked,
            look,
            writable: true,
        };
        let bind = |from: Option<&str>, source: &str, writable| What::Bind {
            from: from.map(str::to_owned),
            source: source.to_owned(),
            writable,
        };
        for (text, target, expected) in [
            ("type=cache,target=/c/", "/c", cache("/c", false, (0o755, 0, 0))),
            (
                "type=cache,dst=c,id=x,sharing=locked,uid=5,gid=6,mode=0700",
                "/w/c",
                cache("x", true, (0o700, 5, 6)),
            ),
            ("target=/src", "/src", bind(None, "/", false)),
            ("type=bind,from=a,source=b,target=/c,rw", "/c", bind(Some("a"), "b", true)),
            ("type=tmpfs,target=/t,size=1m", "/t", What::Tmpfs { size: Some("1m".to_owned()) }),
            (
                "type=secret,id=key,required",
                "/run/secrets/key",
                What::Secret { id: "key".to_owned(), required: true, look: (0o400, 0, 0) },
            ),
            (
                "type=secret,target=/root/.netrc",
                "/root/.netrc",
                What::Secret { id: ".netrc".to_owned(), required: false, look: (0o400, 0, 0) },
            ),
        ] {
            assert_eq!(what(text), (target.to_owned(), expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, why) in [
            ("type=ssh", "needs a target"),
            ("type=ssh,target=/x", "type=ssh is not supported"),
            ("type=cache", "type=cache needs a target"),
            ("type=cache,target=/x,sharing=private", "sharing=private"),
            ("type=cache,target=/x,from=y", "`from` or `source`"),
            ("type=secret,id=x,env=Y", "`env=Y` is not supported"),
            ("type=tmpfs,target=/", "cannot be on `/`"),
            ("type=bind,target=/x,uid=y", "invalid value for uid: y"),
        ] {
            let error = parse(text, "/").unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
