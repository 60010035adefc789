//! `--change` of `commit` and `import`: a line of a Dockerfile, applied to an image's configuration.
//!
//! The configuration is JSON and not a type, because Docker keeps more in it (HEALTHCHECK, ONBUILD, SHELL) than OCI's type
//! has: what is not changed passes through as it is.

use crate::duration;
use crate::error::{Error, Result};
use crate::expand::{exec_form, expand, pairs, split};
use crate::path;
use serde_json::{Map, Value, json};

/// What takes the meaning from the next character: a line has no directive that says otherwise.
const ESCAPE: char = '\\';

/// Applies `changes`, in their order, to the `config` member of an image's configuration.
pub fn apply(config: &mut Map<String, Value>, changes: &[String]) -> Result<()> {
    let mut change = Change { config, command_was_set: false };
    for line in changes {
        change.apply(line)?;
    }
    Ok(())
}

struct Change<'a> {
    config: &'a mut Map<String, Value>,
    /// ENTRYPOINT takes the old command away, but not one of the same call.
    command_was_set: bool,
}

impl Change<'_> {
    fn apply(&mut self, line: &str) -> Result<()> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (word, rest) = (word.to_ascii_uppercase(), rest.trim());
        if rest.is_empty() {
            return Err(Error::refusal(format!("{word} requires at least one argument")));
        }
        match word.as_str() {
            "CMD" => {
                self.command_was_set = true;
                self.set("Cmd", self.command(rest)?);
            }
            "ENTRYPOINT" => {
                if !self.command_was_set {
                    self.config.remove("Cmd");
                }
                self.set("Entrypoint", self.command(rest)?);
            }
            "ENV" => self.env(rest)?,
            "LABEL" => {
                for (key, value) in self.pairs("LABEL", rest)? {
                    self.object("Labels").insert(key, value.into());
                }
            }
            "EXPOSE" => self.expose(rest)?,
            "VOLUME" => self.volumes(rest)?,
            "USER" => self.set("User", self.expand(rest)?),
            "WORKDIR" => self.workdir(rest)?,
            "STOPSIGNAL" => self.set("StopSignal", self.expand(rest)?),
            "ONBUILD" => self.on_build(rest)?,
            "HEALTHCHECK" => {
                let check = self.health_check(rest)?;
                self.set("Healthcheck", check);
            }
            _ => return Err(Error::refusal(format!("{word} is not a valid change command"))),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.config.insert(key.to_owned(), value.into());
    }

    fn object(&mut self, key: &str) -> &mut Map<String, Value> {
        let slot = self.config.entry(key).or_insert_with(|| json!({}));
        if !slot.is_object() {
            *slot = json!({});
        }
        slot.as_object_mut().expect("it was made one")
    }

    /// The exec form is taken as it is; the shell form goes to the image's shell.
    fn command(&self, text: &str) -> Result<Vec<String>> {
        Ok(of_words(text)?.unwrap_or_else(|| {
            let shell = self.config.get("Shell").and_then(Value::as_array);
            let shell: Vec<String> =
                shell.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            let shell = if shell.is_empty() { vec!["/bin/sh".into(), "-c".into()] } else { shell };
            shell.into_iter().chain([text.to_owned()]).collect()
        }))
    }

    fn env(&mut self, rest: &str) -> Result<()> {
        for (key, value) in self.pairs("ENV", rest)? {
            // A variable may have left nothing of it.
            if key.is_empty() {
                return Err(Error::refusal(format!("invalid environment variable: ={value}")));
            }
            let variable = Value::from(format!("{key}={value}"));
            let slot = self.config.entry("Env").or_insert_with(|| json!([]));
            if !slot.is_array() {
                *slot = json!([]);
            }
            let Some(list) = slot.as_array_mut() else { continue };
            let is_it = |old: &Value| {
                old.as_str()
                    .and_then(|old| old.split_once('='))
                    .is_some_and(|(name, _)| name == key)
            };
            match list.iter_mut().find(|old| is_it(old)) {
                Some(old) => *old = variable,
                None => list.push(variable),
            }
        }
        Ok(())
    }

    /// `K=V K="V W"`, or `K V W`.
    fn pairs(&self, instruction: &str, rest: &str) -> Result<Vec<(String, String)>> {
        let pairs = pairs(instruction, rest, ESCAPE).map_err(Error::refusal)?;
        pairs.iter().map(|(key, value)| Ok((self.expand(key)?, self.expand(value)?))).collect()
    }

    fn expose(&mut self, rest: &str) -> Result<()> {
        for port in split(rest, ESCAPE) {
            let port = self.expand(&port)?;
            let (numbers, protocol) = port.split_once('/').unwrap_or((&port, ""));
            let protocol = match protocol.to_ascii_lowercase() {
                none if none.is_empty() => "tcp".to_owned(),
                protocol => protocol,
            };
            // Of what would publish it, only the container's side is the image's.
            let numbers = numbers.rsplit_once(':').map_or(numbers, |(_, inside)| inside);
            let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
            let invalid = || Error::refusal(format!("invalid containerPort: {port}"));
            let first: u16 = first.parse().map_err(|_| invalid())?;
            let last: u16 = last.parse().map_err(|_| invalid())?;
            if first == 0 || first > last || !matches!(&*protocol, "tcp" | "udp" | "sctp") {
                return Err(invalid());
            }
            for number in first..=last {
                self.object("ExposedPorts").insert(format!("{number}/{protocol}"), json!({}));
            }
        }
        Ok(())
    }

    fn volumes(&mut self, rest: &str) -> Result<()> {
        let paths = of_words(rest)?.unwrap_or_else(|| split(rest, ESCAPE));
        if paths.is_empty() {
            return Err(Error::refusal("VOLUME requires at least one argument"));
        }
        for path in paths {
            let path = self.expand(&path)?;
            if path.trim().is_empty() {
                return Err(Error::refusal("VOLUME specified can not be an empty string"));
            }
            self.object("Volumes").insert(path, json!({}));
        }
        Ok(())
    }

    fn workdir(&mut self, rest: &str) -> Result<()> {
        let typed = self.expand(rest)?;
        let current = self.config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/");
        let joined = if typed.starts_with('/') { typed } else { format!("{current}/{typed}") };
        self.set("WorkingDir", path::clean(&joined));
        Ok(())
    }

    fn on_build(&mut self, rest: &str) -> Result<()> {
        let word = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "ONBUILD" => {
                return Err(Error::refusal("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"));
            }
            "MAINTAINER" | "FROM" => {
                return Err(Error::refusal(format!("{word} isn't allowed as an ONBUILD trigger")));
            }
            _ => {}
        }
        let slot = self.config.entry("OnBuild").or_insert_with(|| json!([]));
        match slot.as_array_mut() {
            Some(list) => list.push(rest.into()),
            None => *slot = json!([rest]),
        }
        Ok(())
    }

    fn health_check(&self, rest: &str) -> Result<Value> {
        let mut check = Map::new();
        let mut rest = rest;
        while let Some(option) = rest.strip_prefix("--") {
            let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
            let invalid = || Error::refusal(format!("HEALTHCHECK: invalid option `--{option}`"));
            let (name, value) = option.split_once('=').ok_or_else(invalid)?;
            let time = || match nanoseconds(value) {
                Some(1..1_000_000) => {
                    Err(Error::refusal(format!("Interval \"{name}\" cannot be less than 1ms")))
                }
                time => time.ok_or_else(invalid),
            };
            let (field, value) = match name {
                "retries" => match value.parse::<i32>().map_err(|_| invalid())?.try_into() {
                    Ok(retries) => ("Retries", retries),
                    Err(_) => {
                        let message = format!("--retries cannot be negative ({value})");
                        return Err(Error::refusal(message));
                    }
                },
                "interval" => ("Interval", time()?),
                "timeout" => ("Timeout", time()?),
                "start-period" => ("StartPeriod", time()?),
                "start-interval" => ("StartInterval", time()?),
                _ => return Err(invalid()),
            };
            if check.insert(field.to_owned(), value.into()).is_some() {
                return Err(Error::refusal(format!("Duplicate flag specified: {name}")));
            }
            rest = after.trim_start();
        }
        let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let test: Vec<String> = match (kind.to_ascii_uppercase().as_str(), command.trim()) {
            ("NONE", "") => vec!["NONE".into()],
            ("CMD", command) => match of_words(command)? {
                Some(words) if !words.is_empty() => {
                    ["CMD".to_owned()].into_iter().chain(words).collect()
                }
                None if !command.is_empty() => vec!["CMD-SHELL".into(), command.to_owned()],
                _ => return Err(Error::refusal("Missing command after HEALTHCHECK CMD")),
            },
            (other, _) => {
                return Err(Error::refusal(format!(
                    "Unknown type {other:?} in HEALTHCHECK (try CMD)"
                )));
            }
        };
        // Zero stands for the default, and Docker leaves it out.
        check.retain(|_, value| *value != 0);
        check.insert("Test".to_owned(), test.into());
        Ok(check.into())
    }

    /// Takes quotes away and puts in variables of the configuration's own environment.
    fn expand(&self, text: &str) -> Result<String> {
        expand(text, ESCAPE, &|name| self.variable(name)).map_err(Error::refusal)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let list = self.config.get("Env").and_then(Value::as_array);
        let values = list.into_iter().flatten().filter_map(Value::as_str);
        let found = values.filter_map(|v| v.split_once('=')).find(|(key, _)| *key == name);
        found.map(|(_, value)| value.to_owned())
    }
}

fn of_words(text: &str) -> Result<Option<Vec<String>>> {
    exec_form(text).map_err(Error::refusal)
}

fn nanoseconds(text: &str) -> Option<u64> {
    duration::parse(text).ok().map(duration::nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(config: &Value, changes: &[&str]) -> Value {
        let mut config = config.as_object().unwrap().clone();
        let changes: Vec<String> = changes.iter().map(|&line| line.to_owned()).collect();
        apply(&mut config, &changes).unwrap();
        config.into()
    }

    fn refused(change: &str) -> String {
        apply(&mut Map::new(), &[change.to_owned()]).unwrap_err().to_string()
    }

    #[test]
    fn commands_have_an_exec_form_and_a_shell_form() {
        let config = changed(&json!({}), &[r#"CMD ["a", "b c"]"#]);
        assert_eq!(config["Cmd"], json!(["a", "b c"]));
        let config = changed(&json!({}), &["cmd echo $HOME"]);
        assert_eq!(config["Cmd"], json!(["/bin/sh", "-c", "echo $HOME"]));
        let config = changed(&json!({"Shell": ["/bin/ash"]}), &["ENTRYPOINT run"]);
        assert_eq!(config["Entrypoint"], json!(["/bin/ash", "run"]));
    }

    #[test]
    fn an_entrypoint_takes_away_the_old_command_and_not_a_new_one() {
        let old = json!({"Cmd": ["old"]});
        assert_eq!(changed(&old, &[r#"ENTRYPOINT ["e"]"#]).get("Cmd"), None);
        let both = changed(&old, &[r#"CMD ["new"]"#, r#"ENTRYPOINT ["e"]"#]);
        assert_eq!(both["Cmd"], json!(["new"]));
    }

    #[test]
    fn variables_are_replaced_added_and_expanded() {
        let old = json!({"Env": ["PATH=/bin", "A=1"]});
        let lines = ["ENV PATH=$PATH:/sbin B=\"x y\" C='$A'", "ENV D some words", "ENV E=${X:-d}"];
        let new = changed(&old, &lines);
        let env = ["PATH=/bin:/sbin", "A=1", "B=x y", "C=$A", "D=some words", "E=d"];
        assert_eq!(new["Env"], json!(env));
    }

    #[test]
    fn labels_ports_volumes_and_the_rest_are_set() {
        let new = changed(
            &json!({"WorkingDir": "/a", "Labels": null}),
            &[
                "LABEL one=1 \"two words\"=\"2 2\"",
                "EXPOSE 8080:80 53/UDP 8000-8001",
                "VOLUME /data /logs",
                "VOLUME [\"/with space\"]",
                "USER 1000:1000",
                "WORKDIR b/../c",
                "STOPSIGNAL SIGINT",
                "ONBUILD RUN make",
                "HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f localhost",
            ],
        );
        assert_eq!(new["Labels"], json!({"one": "1", "two words": "2 2"}));
        let ports: Vec<_> = new["ExposedPorts"].as_object().unwrap().keys().collect();
        assert_eq!(ports, ["80/tcp", "53/udp", "8000/tcp", "8001/tcp"]);
        let volumes: Vec<_> = new["Volumes"].as_object().unwrap().keys().collect();
        assert_eq!(volumes, ["/data", "/logs", "/with space"]);
        assert_eq!((&new["User"], &new["WorkingDir"]), (&json!("1000:1000"), &json!("/a/c")));
        assert_eq!((&new["StopSignal"], &new["OnBuild"]), (&json!("SIGINT"), &json!(["RUN make"])));
        assert_eq!(
            new["Healthcheck"],
            json!({
                "Interval": 90_000_000_000_u64, "Retries": 2,
                "Test": ["CMD-SHELL", "curl -f localhost"],
            })
        );
    }

    #[test]
    fn ports_are_spelled_as_for_publishing() {
        let ports = "EXPOSE 80/TCP 81/ 8080:82 127.0.0.1:83:84/Udp 9000-9001:85-86";
        let new = changed(&json!({}), &[ports]);
        let ports: Vec<_> = new["ExposedPorts"].as_object().unwrap().keys().collect();
        assert_eq!(ports, ["80/tcp", "81/tcp", "82/tcp", "84/udp", "85/tcp", "86/tcp"]);
        // What only begins like a list is a shell's.
        let new = changed(&json!({}), &["CMD [ -e /x ] && run"]);
        assert_eq!(new["Cmd"], json!(["/bin/sh", "-c", "[ -e /x ] && run"]));
        // Zero is the default, as in Docker.
        let zeros = "HEALTHCHECK --start-period=0s --retries=0 CMD [\"a\"]";
        assert_eq!(changed(&json!({}), &[zeros])["Healthcheck"], json!({"Test": ["CMD", "a"]}));
        assert_eq!(changed(&json!({"Cmd": ["a"]}), &["CMD []"])["Cmd"], json!([]));
    }

    #[test]
    fn what_is_no_change_is_refused_in_dockers_words() {
        assert_eq!(refused("RUN make"), "RUN is not a valid change command");
        assert_eq!(refused("CMD"), "CMD requires at least one argument");
        assert_eq!(refused("ENV x"), "ENV must have two arguments");
        assert_eq!(refused("EXPOSE http"), "invalid containerPort: http");
        assert!(refused("LABEL a=\"x").ends_with("looking for matching double-quote"));
        for port in ["80/x", "80:", "8080:http", "81-80", "0", "0-1", "8080:0/udp"] {
            assert_eq!(
                refused(&format!("EXPOSE {port}")),
                format!("invalid containerPort: {port}")
            );
        }
        assert_eq!(refused("ENV $NO=b"), "invalid environment variable: =b");
        for change in ["CMD [\"a\", 1]", "ENTRYPOINT [1]", "VOLUME [null]", "HEALTHCHECK CMD [1]"] {
            let why = "when using JSON array syntax, arrays must be comprised of strings only";
            assert_eq!(refused(change), why, "{change}");
        }
        assert_eq!(refused("VOLUME []"), "VOLUME requires at least one argument");
        assert_eq!(refused("VOLUME \"\""), "VOLUME specified can not be an empty string");
        assert_eq!(refused("HEALTHCHECK --retries=-1 CMD x"), "--retries cannot be negative (-1)");
        assert_eq!(refused("HEALTHCHECK CMD []"), "Missing command after HEALTHCHECK CMD");
        assert_eq!(
            refused("HEALTHCHECK --timeout=999us CMD x"),
            "Interval \"timeout\" cannot be less than 1ms"
        );
        assert_eq!(
            refused("HEALTHCHECK --interval=1s --interval=2s CMD x"),
            "Duplicate flag specified: interval"
        );
        assert!(refused("LABEL a=1 b").starts_with("Syntax error - can't find = in \"b\""));
        assert_eq!(refused("ONBUILD FROM x"), "FROM isn't allowed as an ONBUILD trigger");
        assert!(refused("HEALTHCHECK --interval=soon CMD x").contains("`--interval=soon`"));
    }
}
