//! Modes as chmod(1) has them: `0755`, `u=rwX,go=rX`.
//!
//! Pure. Letters say what becomes of the mode that a file has. Where they name nobody, all are meant: there is no umask here.

/// What a file's permissions become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chmod {
    text: String,
    change: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// These, whatever they were.
    To(u32),
    /// Changed by each clause in its turn.
    By(Vec<Clause>),
}

/// One change to the permissions of some: `go-w`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    /// The bits of all that are concerned: 0o4700 for `u`.
    who: u32,
    change: Change,
    grant: Grant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Take,
    Set,
}

/// What is added or taken.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Grant {
    Letters {
        /// The bits, for everybody whom they can be for.
        bits: u32,
        /// `X`: execution of what is a directory, or what somebody may execute.
        search: bool,
    },
    /// What the owner, the group or others have: how far their bits are from those of others.
    SameAs(u32),
}

impl Chmod {
    /// Reads an octal number up to 07777, or clauses of letters between commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, or letters such as u=rwX,go=rX"
            )
        };
        let change = if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            Form::To(mode.ok_or_else(invalid)?)
        } else {
            let mut clauses = Vec::new();
            for part in text.split(',') {
                clauses.extend(clauses_of(part).ok_or_else(invalid)?);
            }
            Form::By(clauses)
        };
        Ok(Self { text: text.to_owned(), change })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The permissions of a file that has had `mode`, with setuid, setgid and the sticky bit.
    #[must_use]
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match &self.change {
            Form::To(mode) => *mode,
            Form::By(clauses) => {
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }
}

/// The clauses of `ug+r-w`: those whom it names, then one change or several.
fn clauses_of(text: &str) -> Option<Vec<Clause>> {
    let named = text.find(['+', '-', '='])?;
    let (names, mut rest) = text.split_at(named);
    let mut who = if names.is_empty() { 0o7777 } else { 0 };
    for c in names.chars() {
        who |= match c {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    let mut clauses = Vec::new();
    while let Some(sign) = rest.chars().next() {
        let change = match sign {
            '+' => Change::Add,
            '-' => Change::Take,
            _ => Change::Set,
        };
        let behind = &rest[1..];
        let end = behind.find(['+', '-', '=']).unwrap_or(behind.len());
        let (letters, next) = behind.split_at(end);
        clauses.push(Clause { who, change, grant: grant(letters)? });
        rest = next;
    }
    Some(clauses)
}

fn grant(letters: &str) -> Option<Grant> {
    match letters {
        "u" => return Some(Grant::SameAs(6)),
        "g" => return Some(Grant::SameAs(3)),
        "o" => return Some(Grant::SameAs(0)),
        _ => {}
    }
    let (mut bits, mut search) = (0, false);
    for c in letters.chars() {
        match c {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            's' => bits |= 0o6000,
            't' => bits |= 0o1000,
            'X' => search = true,
            _ => return None,
        }
    }
    Some(Grant::Letters { bits, search })
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let bits = match self.grant {
            Grant::Letters { bits, search } => {
                let executes = search && (is_directory || mode & 0o111 != 0);
                bits | if executes { 0o111 } else { 0 }
            }
            Grant::SameAs(shift) => ((mode >> shift) & 7) * 0o111,
        };
        let bits = bits & self.who;
        match self.change {
            Change::Add => mode | bits,
            Change::Take => mode & !bits,
            // As with chmod(1), `=` leaves a directory the bits that only a number or `-` takes from it.
            Change::Set if is_directory => (mode & !(self.who & 0o777)) | bits,
            Change::Set => (mode & !self.who) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_change_a_mode_as_chmod_does() {
        for (text, mode, is_directory, expected) in [
            ("0640", 0o4755, false, 0o640),
            ("755", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("a+x", 0o644, false, 0o755),
            ("+x", 0o600, false, 0o711),
            ("go-rwx", 0o777, false, 0o700),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("o+t", 0o777, true, 0o1777),
            ("u=rw", 0o4755, false, 0o655),
            ("=rx", 0o2750, true, 0o2555),
            ("g=u", 0o750, false, 0o770),
            ("o=g-w", 0o760, false, 0o764),
            ("ug+r-w", 0o222, false, 0o442),
            ("a=", 0o777, false, 0),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(mode, is_directory), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "8", "10000", "rwx", "z+r", "u+q", "u=rwx,", "u=gw", "-1z"] {
            let refused = Chmod::parse(text).unwrap_err();
            assert!(refused.starts_with(&format!("invalid chmod parameter: '{text}'")), "{text}");
        }
    }
}
