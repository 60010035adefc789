//! What a user namespace maps, as the kernel tells it in /proc/PID/uid_map and gid_map (user_namespaces(7)).

pub mod mode;

/// One line of a mapping: ids in the container, on the host, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first one in the container.
    pub inside: u32,
    /// The first one on the host.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

impl std::str::FromStr for Mapping {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("invalid mapping '{text}', it is CONTAINER:HOST[:SIZE]");
        let numbers: Vec<u32> = text
            .split(':')
            .map(|part| part.parse().map_err(|_| wrong()))
            .collect::<std::result::Result<_, _>>()?;
        let (inside, outside, size) = match numbers.as_slice() {
            [inside, outside] => (*inside, *outside, 1),
            [inside, outside, size] if *size > 0 => (*inside, *outside, *size),
            _ => return Err(wrong()),
        };
        if inside.checked_add(size).is_none() || outside.checked_add(size).is_none() {
            return Err(wrong());
        }
        Ok(Self { inside, outside, size })
    }
}

impl std::fmt::Display for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.size)
    }
}

/// The mappings of a record; they were checked when they were typed.
#[must_use]
pub fn mappings(list: &[String]) -> Vec<Mapping> {
    list.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The lines of such a text: ids inside of the namespace, outside of it, and how many. One that is none is passed over.
fn lines(map: &str) -> impl Iterator<Item = Mapping> {
    map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        let (inside, outside, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(Mapping { inside, outside, size })
    })
}

/// Who somebody in the namespace is outside of it.
#[must_use]
pub fn outside(map: &str, id: u32) -> Option<u32> {
    lines(map).find_map(|line| {
        let offset = id.checked_sub(line.inside).filter(|offset| *offset < line.size)?;
        line.outside.checked_add(offset)
    })
}

/// How many ids there are in the namespace, from 0 to the first gap.
#[must_use]
pub fn count(map: &str) -> u32 {
    let mut lines: Vec<Mapping> = lines(map).collect();
    lines.sort_unstable_by_key(|line| line.inside);
    let mut next = 0_u32;
    for line in lines {
        if line.inside != next {
            break;
        }
        next = next.saturating_add(line.size);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_USER: &str = "         1     100000      65536\n         0       1000          1\n";
    const OF_HOST: &str = "0 0 4294967295\n";

    #[test]
    fn somebody_is_found_behind_the_namespace() {
        assert_eq!(outside(OF_USER, 0), Some(1000));
        assert_eq!(outside(OF_USER, 3), Some(100_002));
        assert_eq!(outside(OF_USER, 65_537), None);
        assert_eq!(outside(OF_HOST, 1000), Some(1000));
        assert_eq!(outside("", 0), None);
    }

    #[test]
    fn ids_are_counted_to_the_first_gap() {
        assert_eq!(count(OF_USER), 65_537);
        assert_eq!(count("0 1000 1\n5 6 7\n"), 1);
        assert_eq!(count(OF_HOST), u32::MAX);
        assert_eq!(count(""), 0);
    }

    #[test]
    fn a_mapping_has_three_numbers() {
        assert_eq!(
            "0:100000:65536".parse(),
            Ok(Mapping { inside: 0, outside: 100_000, size: 65_536 })
        );
        assert_eq!("5:6".parse::<Mapping>().unwrap().to_string(), "5:6:1");
        for bad in ["", "0", "0:1:0", "a:1:1", "0:1:2:3", "0:4294967295:2", "-1:0:1"] {
            assert!(bad.parse::<Mapping>().is_err(), "{bad}");
        }
    }
}
