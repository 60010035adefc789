//! Values of `nman build --output`.

use crate::fields::fields;
use bundle::archive::Form;
use std::path::PathBuf;

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildOutput {
    /// An image, as without the option.
    Image,
    /// The files, in a directory.
    Directory(PathBuf),
    /// An archive of the files; `-` for stdout.
    Archive(PathBuf),
    /// An archive of the image, for `load`; `-` for stdout.
    Images(Form, PathBuf),
    /// The image in an image layout, which is made if it is not there.
    Layout(PathBuf),
}

impl std::str::FromStr for BuildOutput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Archive(text.into()));
        }
        let (mut kind, mut dest, mut tar) = (None, None, None);
        let fields = fields(text)?;
        if let [path] = &fields[..]
            && !path.contains('=')
        {
            return Ok(Self::Directory(path.into()));
        }
        for field in fields {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value.to_owned()),
                Some(("dest", value)) if !value.is_empty() => dest = Some(PathBuf::from(value)),
                Some(("tar", "true" | "1")) => tar = Some(true),
                Some(("tar", "false" | "0")) => tar = Some(false),
                _ => return Err(format!("`{field}` is none of type=, dest= and tar=BOOL")),
            }
        }
        let kind = kind.ok_or("type is required for output")?;
        Self::of(&kind, dest, tar)
    }
}

impl BuildOutput {
    fn of(kind: &str, dest: Option<PathBuf>, tar: Option<bool>) -> Result<Self, String> {
        let required = || format!("dest is required for {kind} exporter");
        let stdout = || PathBuf::from("-");
        Ok(match (kind, tar) {
            ("oci", Some(false)) => {
                let dest = dest.filter(|dest| *dest != stdout());
                Self::Layout(dest.ok_or_else(required)?)
            }
            ("oci", _) => Self::Images(Form::Oci, dest.unwrap_or_else(stdout)),
            (_, Some(_)) => return Err("tar=false is for type=oci".to_owned()),
            ("local", None) => Self::Directory(dest.ok_or_else(required)?),
            ("tar", None) => Self::Archive(dest.unwrap_or_else(stdout)),
            // Without a file, Docker gets it: the image is then where images are.
            ("docker", None) => dest.map_or(Self::Image, |dest| Self::Images(Form::Docker, dest)),
            ("image", None) if dest.is_none() => Self::Image,
            ("image", None) => return Err("an image has no dest".to_owned()),
            _ => return Err(format!("type={kind} is not supported")),
        })
    }

    /// Whether it is written to stdout.
    #[must_use]
    pub fn is_stdout(&self) -> bool {
        match self {
            Self::Archive(dest) | Self::Images(_, dest) => dest.as_os_str() == "-",
            Self::Image | Self::Directory(_) | Self::Layout(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_an_image_files_or_archives_of_either() {
        let parsed = |text: &str| text.parse::<BuildOutput>();
        assert_eq!(parsed("out"), Ok(BuildOutput::Directory("out".into())));
        assert_eq!(parsed("-"), Ok(BuildOutput::Archive("-".into())));
        assert_eq!(parsed("type=local,dest=a"), Ok(BuildOutput::Directory("a".into())));
        assert_eq!(parsed("type=tar,\"dest=a,b\""), Ok(BuildOutput::Archive("a,b".into())));
        assert_eq!(parsed("type=tar"), Ok(BuildOutput::Archive("-".into())));
        assert_eq!(parsed("type=image"), Ok(BuildOutput::Image));
        assert_eq!(parsed("type=docker"), Ok(BuildOutput::Image));
        let images = |form, dest: &str| Ok(BuildOutput::Images(form, dest.into()));
        assert_eq!(parsed("type=docker,dest=x"), images(Form::Docker, "x"));
        assert_eq!(parsed("type=docker,dest=-"), images(Form::Docker, "-"));
        assert_eq!(parsed("type=oci,dest=x"), images(Form::Oci, "x"));
        assert_eq!(parsed("type=oci,tar=true"), images(Form::Oci, "-"));
        assert_eq!(parsed("type=oci,dest=x,tar=false"), Ok(BuildOutput::Layout("x".into())));
        assert!(
            parsed("type=oci").unwrap().is_stdout() && !parsed("type=image").unwrap().is_stdout()
        );
        for (text, why) in [
            ("type=local", "dest is required"),
            ("type=oci,tar=false", "dest is required for oci"),
            ("type=oci,tar=false,dest=-", "dest is required for oci"),
            ("type=docker,tar=false,dest=x", "tar=false is for type=oci"),
            ("type=image,dest=x", "no dest"),
            ("type=registry", "type=registry is not supported"),
            ("dest=x", "type is required"),
            ("type=tar,x=y", "none of type=, dest= and tar="),
        ] {
            assert!(parsed(text).unwrap_err().contains(why), "{text}");
        }
    }
}
