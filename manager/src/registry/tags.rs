//! The tags of a repository, which a registry may give out page by page.

use serde::Deserialize;
use ureq::ResponseExt as _;

use super::answer::absolute;
use super::client::{Call, Client};
use super::error::Error;

/// The largest page that is read.
const MAX_PAGE: u64 = 4 << 20;
/// More than any repository has, and what of them is kept fits into memory.
const MAX_TAGS: usize = 250_000;
/// Somebody who sends pages without end is not listened to for ever.
const MAX_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    /// `null` for a repository whose tags were all removed.
    tags: Option<Vec<String>>,
}

impl Client {
    pub(super) fn tags(&self) -> Result<Vec<String>, Error> {
        let mut tags = Vec::new();
        let mut url = self.url("tags/list");
        for _ in 0..MAX_PAGES {
            let (next, content) = self.whole(&Call::get(url), |answer| {
                let link = answer.headers().get("link").and_then(|link| link.to_str().ok());
                let next = link.and_then(next_page);
                let next = next.and_then(|next| absolute(next, answer.get_uri()));
                Ok((next, self.read(answer, MAX_PAGE + 1, MAX_PAGE, "the list of tags")?))
            })?;
            let page: Page = serde_json::from_slice(&content).map_err(|error| {
                Error::Invalid(format!("the list of tags is malformed: {error}"))
            })?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > MAX_TAGS {
                return Err(Error::Invalid(format!("it lists more than {MAX_TAGS} tags")));
            }
            match next {
                Some(next) => url = next,
                None => return Ok(tags),
            }
        }
        Err(Error::Invalid(format!("the list of tags has more than {MAX_PAGES} pages")))
    }
}

/// The target of `<URL>; rel="next"` (RFC 8288).
fn next_page(link: &str) -> Option<&str> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| {
        let parameter = parameter.replace(['"', ' '], "");
        parameter.eq_ignore_ascii_case("rel=next")
    };
    parameters.split(';').any(is_next).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_the_next_page_is_told_from_others() {
        let next = r#"</v2/app/tags/list?last=b&n=2>; rel="next""#;
        assert_eq!(next_page(next), Some("/v2/app/tags/list?last=b&n=2"));
        assert_eq!(next_page("<x>;rel=next"), Some("x"));
        for other in ["", "<x>", "<x>; rel=\"prev\"", "x; rel=next", "<x; rel=next"] {
            assert_eq!(next_page(other), None, "{other}");
        }
    }
}
