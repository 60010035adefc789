//! The `WWW-Authenticate` header: which login a server wants (RFC 9110, section 11.6.1).

/// What a server asks for before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token, to be had from another server.
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// The name under which the token server knows this registry.
        service: Option<String>,
    },
}

/// Reads the challenges of all the header's values and picks the strongest that we can answer.
pub(super) fn strongest<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for (scheme, parameters) in schemes(header) {
            let find = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = find("realm")
            {
                return Some(Challenge::Bearer { realm, service: find("service") });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

type Parameters = Vec<(String, String)>;

/// Splits `Basic realm="a", Bearer realm="b",service="c"` into schemes with their parameters.
fn schemes(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        let after = tail.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, tail) = parameter_value(value.trim_start_matches([' ', '\t']));
                parameters.push((word.to_owned(), value));
                rest = tail;
            }
            (Some(_), None) => return found,
            (None, _) => {
                found.push((word.to_owned(), Vec::new()));
                rest = tail;
            }
        }
    }
}

/// A token or a quoted string with backslash escapes, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
    }

    #[test]
    fn a_token_challenge_names_its_realm_and_service() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#;
        let expected = bearer("https://auth.docker.io/token", Some("registry.docker.io"));
        assert_eq!(strongest([hub].into_iter()), expected);
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let both = r#"Basic realm="a, b=\"c\"", bearer REALM = "https://t/x" , scope="x,y""#;
        assert_eq!(strongest([both].into_iter()), bearer("https://t/x", None));
        assert_eq!(strongest(["Negotiate", "Basic"].into_iter()), Some(Challenge::Basic));
    }

    #[test]
    fn malformed_headers_are_no_challenge() {
        for header in ["", ",,,", "=", "=x", "Bearer", "Bearer realm", "Bearer service=x", "é=\"\\"]
        {
            assert_eq!(strongest([header].into_iter()), None, "{header}");
        }
        assert_eq!(strongest([r#"Bearer realm="x"#].into_iter()), bearer("x", None));
    }
}
