//! Values of `nman build --cache-from` and `--cache-to`.

use crate::fields::fields;
use bundle::digest::Digest;
use std::path::PathBuf;
use std::str::FromStr;

/// One `--cache-from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSource {
    /// Names of images or caches, which may be here, too.
    Names(Vec<String>),
    /// A name in a registry.
    Registry(String),
    /// An image layout.
    Layout {
        /// Its directory.
        path: PathBuf,
        /// What is taken of it.
        what: InLayout,
    },
}

/// What is meant of an image layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InLayout {
    /// What is called `latest`, or the only thing that there is.
    Latest,
    /// What has this tag.
    Tag(String),
    /// What has this digest.
    Digest(Digest),
}

impl InLayout {
    /// What an image or a cache in a layout is called without a word about that, as in BuildKit.
    pub const TAG: &str = "latest";
}

/// One `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTarget {
    /// Where it goes.
    pub place: CachePlace,
    /// Whether steps are in it that the result does not stand on.
    pub all: bool,
    /// Whether the build goes on if it cannot be written.
    pub ignore_error: bool,
}

/// Where a cache goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// To a registry, under a name.
    Registry(String),
    /// Into an image layout, under a tag.
    Layout(PathBuf, String),
    /// Into the image that is built.
    Inline,
}

/// `type=TYPE,KEY=VALUE,...`, of which each may be asked for once.
struct Options {
    kind: String,
    pairs: Vec<(String, String)>,
}

impl Options {
    fn parse(fields: &[String]) -> Result<Self, String> {
        let mut pairs = Vec::new();
        for field in fields {
            match field.split_once('=') {
                Some((key, value)) if !value.is_empty() => {
                    pairs.push((key.to_owned(), value.to_owned()));
                }
                _ => return Err(format!("`{field}` is not KEY=VALUE")),
            }
        }
        let mut options = Self { kind: String::new(), pairs };
        options.kind = options.take("type").ok_or("type is required")?;
        Ok(options)
    }

    /// The last value counts.
    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.pairs.iter().rposition(|(name, _)| name == key)?;
        let (_, value) = self.pairs.remove(at);
        self.pairs.retain(|(name, _)| name != key);
        Some(value)
    }

    fn required(&mut self, key: &str) -> Result<String, String> {
        self.take(key).ok_or_else(|| format!("type={} needs {key}=", self.kind))
    }

    /// That nothing is left that nobody has asked for.
    fn end(self) -> Result<(), String> {
        match self.pairs.first() {
            Some((key, _)) => Err(format!("type={} has no `{key}=`", self.kind)),
            None => Ok(()),
        }
    }
}

/// The names, if there are nothing but names.
fn names(fields: &[String]) -> Option<Vec<String>> {
    let is_name = |field: &String| !field.contains('=') && !field.is_empty();
    fields.iter().all(is_name).then(|| fields.to_vec())
}

impl FromStr for CacheSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields = fields(text)?;
        if let Some(names) = names(&fields) {
            return Ok(Self::Names(names));
        }
        let mut options = Options::parse(&fields)?;
        let source = match options.kind.as_str() {
            "registry" => Self::Registry(options.required("ref")?),
            "local" => {
                let path = options.required("src")?.into();
                let tag = options.take("tag").unwrap_or_else(|| InLayout::TAG.to_owned());
                let what = match options.take("digest") {
                    Some(text) => match text.parse() {
                        Ok(digest) => InLayout::Digest(digest),
                        Err(_) => return Err(format!("`{text}` is no digest")),
                    },
                    None => InLayout::Tag(tag),
                };
                Self::Layout { path, what }
            }
            kind => return Err(format!("type={kind} is not supported")),
        };
        options.end()?;
        Ok(source)
    }
}

impl FromStr for CacheTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields = fields(text)?;
        if let [name] = names(&fields).unwrap_or_default().as_slice() {
            let place = CachePlace::Registry(name.clone());
            return Ok(Self { place, all: false, ignore_error: false });
        }
        let mut options = Options::parse(&fields)?;
        let place = match options.kind.as_str() {
            "registry" => CachePlace::Registry(options.required("ref")?),
            "local" => {
                let path = options.required("dest")?.into();
                let tag = options.take("tag").unwrap_or_else(|| InLayout::TAG.to_owned());
                CachePlace::Layout(path, tag)
            }
            "inline" => CachePlace::Inline,
            kind => return Err(format!("type={kind} is not supported")),
        };
        let all = match options.take("mode").as_deref() {
            None | Some("min") => false,
            Some("max") if place == CachePlace::Inline => {
                return Err(
                    "type=inline has what the image stands on, which is mode=min".to_owned()
                );
            }
            Some("max") => true,
            Some(mode) => return Err(format!("mode={mode} is neither min nor max")),
        };
        let ignore_error = match options.take("ignore-error").as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => return Err("ignore-error is true or false".to_owned()),
        };
        options.end()?;
        Ok(Self { place, all, ignore_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_taken_from_names_registries_and_layouts() {
        let parsed = |text: &str| text.parse::<CacheSource>();
        let names = |names: &[&str]| {
            Ok(CacheSource::Names(names.iter().map(ToString::to_string).collect()))
        };
        assert_eq!(parsed("r:5000/app"), names(&["r:5000/app"]));
        assert_eq!(parsed("a,b:1"), names(&["a", "b:1"]));
        assert_eq!(parsed("type=registry,ref=a:1"), Ok(CacheSource::Registry("a:1".to_owned())));
        let layout = |what| Ok(CacheSource::Layout { path: "d".into(), what });
        assert_eq!(parsed("type=local,src=d"), layout(InLayout::Tag("latest".to_owned())));
        assert_eq!(parsed("type=local,src=d,tag=x"), layout(InLayout::Tag("x".to_owned())));
        let digest = Digest::of(b"x");
        let text = format!("type=local,src=d,digest={digest}");
        assert_eq!(parsed(&text), layout(InLayout::Digest(digest)));
        for (text, why) in [
            ("", "`` is not KEY=VALUE"),
            ("ref=a", "type is required"),
            ("type=registry", "type=registry needs ref="),
            ("type=local,dest=d", "type=local needs src="),
            ("type=local,src=d,digest=x", "`x` is no digest"),
            ("type=registry,ref=a,mode=max", "type=registry has no `mode=`"),
            ("type=gha", "type=gha is not supported"),
        ] {
            assert!(parsed(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn caches_go_to_registries_layouts_and_into_the_image() {
        let parsed = |text: &str| text.parse::<CacheTarget>();
        let target = |place| CacheTarget { place, all: false, ignore_error: false };
        let registry = || CachePlace::Registry("a:1".to_owned());
        assert_eq!(parsed("a:1"), Ok(target(registry())));
        assert_eq!(
            parsed("type=registry,ref=a:1,mode=max,ignore-error=true"),
            Ok(CacheTarget { place: registry(), all: true, ignore_error: true })
        );
        let layout = |tag: &str| CachePlace::Layout("d".into(), tag.to_owned());
        assert_eq!(parsed("type=local,dest=d,mode=min"), Ok(target(layout("latest"))));
        assert_eq!(parsed("type=local,dest=d,tag=x"), Ok(target(layout("x"))));
        assert_eq!(parsed("type=inline"), Ok(target(CachePlace::Inline)));
        for (text, why) in [
            ("a,b", "`a` is not KEY=VALUE"),
            ("type=local,src=d", "type=local needs dest="),
            ("type=inline,mode=max", "mode=min"),
            ("type=registry,ref=a,mode=all", "neither min nor max"),
            ("type=registry,ref=a,ignore-error=perhaps", "true or false"),
            ("type=registry,ref=a,image-manifest=true", "has no `image-manifest=`"),
        ] {
            assert!(parsed(text).unwrap_err().contains(why), "{text}");
        }
    }
}
