//! What `--userns` says, and the mappings that it comes to for a user without root. Pure.
//!
//! The ids on the far side are those of the namespace that all of the user's commands share: the user itself is 0 in it, and 1 and
//! up are its ranges, of /etc/subuid and /etc/subgid.

use super::Mapping;
use std::str::FromStr;

/// `--userns`, in the words of Docker and Podman.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// None of the container's own.
    Host,
    /// As `--uidmap` and `--gidmap` say.
    Private,
    /// Ids that no other container has, this many.
    Auto(Option<u32>),
    /// The user is in the container who it is on the host, or has these ids.
    KeepId(Kept),
    /// All ids but the user's own.
    NoMap,
}

/// `keep-id:uid=N,gid=M,size=K`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Who the user is in the container.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// How many ids there are beside, where it is not to be all; more than none.
    pub size: Option<u32>,
}

impl FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) =
            text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        match (name, options) {
            ("" | "host", None) => Ok(Self::Host),
            ("private", None) => Ok(Self::Private),
            ("nomap", None) => Ok(Self::NoMap),
            ("auto", None) => Ok(Self::Auto(None)),
            ("auto", Some(options)) => {
                let size = options.strip_prefix("size=").and_then(|size| size.parse().ok());
                let size = size.filter(|size| *size > 0);
                size.map(|size| Self::Auto(Some(size))).ok_or_else(|| {
                    format!("invalid option '{options}' for --userns auto, there is size=NUMBER")
                })
            }
            ("keep-id", options) => options.unwrap_or_default().parse().map(Self::KeepId),
            _ => Err("invalid USER mode, it is `host`, `auto[:size=NUMBER]`, `keep-id[:uid=NUMBER,gid=NUMBER,size=NUMBER]`, `nomap`, or `private` with --uidmap".to_owned()),
        }
    }
}

impl FromStr for Kept {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        /// As everywhere: half of user space takes what is above for negative.
        const LARGEST: u32 = i32::MAX as u32;
        let mut kept = Self::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, number) = option.split_once('=').unwrap_or((option, ""));
            let place = match name {
                "uid" => &mut kept.uid,
                "gid" => &mut kept.gid,
                "size" => &mut kept.size,
                _ => {
                    return Err(format!(
                        "unknown option '{name}' for --userns keep-id, there are uid=NUMBER, gid=NUMBER and size=NUMBER"
                    ));
                }
            };
            let least = u32::from(name == "size");
            let number = number.parse().ok().filter(|number| (least..=LARGEST).contains(number));
            *place = Some(
                number.ok_or_else(|| format!("invalid {name} for --userns keep-id: '{option}'"))?,
            );
        }
        Ok(kept)
    }
}

/// The mapping in which our id 0, of `count` ids, is `wanted`; the others come from 0 on in their order, around it.
#[must_use]
pub fn keep_id(count: u32, wanted: u32) -> Vec<Mapping> {
    let others = count.saturating_sub(1);
    let below = others.min(wanted);
    let lines = [
        Mapping { inside: 0, outside: 1, size: below },
        Mapping { inside: wanted, outside: 0, size: 1 },
        Mapping {
            inside: wanted.saturating_add(1),
            outside: below.saturating_add(1),
            size: others - below,
        },
    ];
    lines.into_iter().filter(|line| line.size > 0).collect()
}

/// The mapping without our id 0.
#[must_use]
pub fn no_map(count: u32) -> Vec<Mapping> {
    let line = Mapping { inside: 0, outside: 1, size: count.saturating_sub(1) };
    Some(line).filter(|line| line.size > 0).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Mapping]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn modes_have_podmans_options_and_no_others() {
        let mode = |text: &str| text.parse::<Mode>();
        assert_eq!(mode(""), Ok(Mode::Host));
        assert_eq!(mode("auto:size=10"), Ok(Mode::Auto(Some(10))));
        assert_eq!(mode("nomap"), Ok(Mode::NoMap));
        assert_eq!(mode("keep-id"), Ok(Mode::KeepId(Kept::default())));
        let kept = Kept { uid: Some(200), gid: Some(210), size: None };
        assert_eq!(mode("keep-id:gid=210,uid=200"), Ok(Mode::KeepId(kept)));
        let kept = |uid, size| Ok(Mode::KeepId(Kept { uid, size, ..Kept::default() }));
        assert_eq!(mode("keep-id:uid=0"), kept(Some(0), None));
        assert_eq!(mode("keep-id:size=5"), kept(None, Some(5)));
        for bad in ["keep", "host:x", "auto:size=0", "auto:x", "nomap:uid=1", "private:x"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        let wrong = |text: &str| mode(text).unwrap_err();
        assert!(wrong("keep-id:sizes=5").contains("unknown option 'sizes'"));
        assert!(wrong("keep-id:size=0").contains("invalid size"));
        assert!(wrong("keep-id:uid=x").contains("invalid uid"));
        assert!(wrong("keep-id:uid=-1").contains("invalid uid"));
        assert!(wrong("keep-id:gid=2147483648").contains("invalid gid"));
        assert!(wrong("keep-id:uid").contains("invalid uid"));
    }

    #[test]
    fn the_user_is_who_it_is_and_the_others_are_around_it() {
        assert_eq!(texts(&keep_id(65_537, 1000)), ["0:1:1000", "1000:0:1", "1001:1001:64536"]);
        // Every id is there once on either side.
        let sum: u32 = keep_id(65_537, 1000).iter().map(|line| line.size).sum();
        assert_eq!(sum, 65_537);
        assert_eq!(texts(&keep_id(65_537, 0)), ["0:0:1", "1:1:65536"]);
        assert_eq!(texts(&keep_id(11, 10)), ["0:1:10", "10:0:1"]);
        // One that is above all others.
        assert_eq!(texts(&keep_id(11, 100_000)), ["0:1:10", "100000:0:1"]);
        assert_eq!(texts(&keep_id(1, 1000)), ["1000:0:1"]);
    }

    #[test]
    fn without_the_user_all_others_are_there() {
        assert_eq!(texts(&no_map(65_537)), ["0:1:65536"]);
        assert_eq!(texts(&no_map(1)), Vec::<String>::new());
    }
}
