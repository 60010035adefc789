//! Which names an image loses and whether it goes, by Docker's rules, decided before anything is touched.

use bundle::digest::Digest;

use super::Error;
use crate::reference::Reference;

/// A container that was made from an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The beginning of its id.
    pub container: String,
    /// Whether it runs.
    pub running: bool,
}

/// What was asked for, and what is known of the image.
#[derive(Clone, Debug)]
pub(super) struct Wish<'a> {
    pub(super) id: &'a Digest,
    /// All its names.
    pub(super) names: &'a [Reference],
    /// The name that was given; none if it was an id.
    pub(super) named: Option<&'a Reference>,
    pub(super) users: &'a [User],
    pub(super) force: bool,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    /// Names to take away.
    pub(super) untag: Vec<Reference>,
    /// Whether the image goes as well.
    pub(super) delete: bool,
}

/// The name that was typed. One with a digest is never an id: where the image only came by that digest and has other names, there is
/// nothing to take from it, and they stay.
pub(super) fn named(names: &[Reference], typed: Reference) -> Option<Reference> {
    if names.contains(&typed) {
        return Some(typed);
    }
    // A tag before a digest says nothing.
    typed.digest()?;
    let same = |name: &&Reference| {
        name.canonical_name() == typed.canonical_name() && name.digest() == typed.digest()
    };
    Some(names.iter().find(same).cloned().unwrap_or(typed))
}

/// Whether a digest that the image was pulled by goes with the tag `name`: nobody has asked to keep it, and without it the last tag of a
/// repository would leave the image behind.
fn goes_with(digest: &Reference, name: &Reference, names: &[Reference]) -> bool {
    let same = |other: &Reference| other.canonical_name() == name.canonical_name();
    let is_tag = |other: &Reference| other.digest().is_none();
    is_tag(name)
        && !is_tag(digest)
        && same(digest)
        && !names.iter().any(|other| is_tag(other) && same(other) && other != name)
}

/// Decides. A name can always be taken from an image that has another; the last one, and the image, go if no container is in
/// the way.
pub(super) fn plan(wish: &Wish<'_>) -> Result<Removal, Error> {
    let running = wish.users.iter().find(|user| user.running);
    let stopped = wish.users.first();
    let id = wish.id.short();
    let conflict = |message: String| Err(Error::Conflict(message));
    if let Some(name) = wish.named {
        let mut untag = vec![name.clone()];
        untag.extend(
            wish.names.iter().filter(|digest| goes_with(digest, name, wish.names)).cloned(),
        );
        if wish.names.iter().any(|known| !untag.contains(known)) {
            return Ok(Removal { untag, delete: false });
        }
        return match stopped {
            Some(user) if !wish.force => conflict(format!(
                "unable to remove repository reference \"{name}\" (must force) - container {} is using its referenced image {id}",
                user.container
            )),
            // The container keeps it; it stays without a name.
            _ => Ok(Removal { untag, delete: running.is_none() }),
        };
    }
    if let Some(user) = running {
        return conflict(format!(
            "unable to delete {id} (cannot be forced) - image is being used by running container {}",
            user.container
        ));
    }
    if !wish.force {
        let repository =
            |name: &Reference| (name.domain().to_owned(), name.repository().to_owned());
        let alone =
            |name: &&Reference| !wish.names.iter().any(|tag| goes_with(name, tag, wish.names));
        let names: Vec<&Reference> = wish.names.iter().filter(alone).collect();
        let first = names.first().map(|name| repository(name));
        if names.iter().any(|name| Some(repository(name)) != first) {
            return conflict(format!(
                "unable to delete {id} (must be forced) - image is referenced in multiple repositories"
            ));
        }
        if names.len() > 1 {
            return conflict(format!(
                "unable to delete {id} (must be forced) - image is referenced by several tags"
            ));
        }
        if let Some(user) = stopped {
            return conflict(format!(
                "unable to delete {id} (must be forced) - image is being used by stopped container {}",
                user.container
            ));
        }
    }
    Ok(Removal { untag: wish.names.to_vec(), delete: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(running: bool) -> User {
        User { container: "c0ffee".to_owned(), running }
    }

    fn decide(
        names: &[&str],
        named: Option<&str>,
        users: &[User],
        force: bool,
    ) -> Result<(usize, bool), String> {
        let id = Digest::of(b"image");
        let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
        let named: Option<Reference> = named.map(|name| name.parse().unwrap());
        let wish = Wish { id: &id, names: &names, named: named.as_ref(), users, force };
        plan(&wish)
            .map(|removal| (removal.untag.len(), removal.delete))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_image_goes_with_its_last_name() {
        assert_eq!(decide(&["a", "b"], Some("a"), &[], false), Ok((1, false)));
        assert_eq!(decide(&["a"], Some("a"), &[], false), Ok((1, true)));
        assert_eq!(decide(&["a"], None, &[], false), Ok((1, true)));
        assert_eq!(decide(&[], None, &[], false), Ok((0, true)));
    }

    #[test]
    fn an_id_with_several_names_must_be_forced() {
        let id = Digest::of(b"image");
        assert_eq!(
            decide(&["a", "b"], None, &[], false).unwrap_err(),
            format!(
                "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                id.short()
            )
        );
        assert!(decide(&["a:1", "a:2"], None, &[], false).is_err());
        assert_eq!(decide(&["a", "b"], None, &[], true), Ok((2, true)));
    }

    #[test]
    fn a_name_with_a_digest_is_never_an_id() {
        let digest = Digest::of(b"manifest");
        let pinned: Reference = format!("a@{digest}").parse().unwrap();
        let tagged: Reference = format!("a:1@{digest}").parse().unwrap();
        let tag: Reference = "a:1".parse().unwrap();
        assert_eq!(named(std::slice::from_ref(&tag), pinned.clone()), Some(pinned.clone()));
        assert_eq!(named(&[tag.clone(), pinned.clone()], tagged), Some(pinned.clone()));
        assert_eq!(named(&["b".parse().unwrap()], tag), None);

        let pinned = pinned.to_string();
        assert_eq!(decide(&["a:1", "b"], Some(&pinned), &[], true), Ok((1, false)));
        assert_eq!(decide(&["a:1"], Some(&pinned), &[user(false)], false), Ok((1, false)));
        assert_eq!(decide(&["a:1", &pinned], Some(&pinned), &[], false), Ok((1, false)));
        assert_eq!(decide(&[&pinned], Some(&pinned), &[], false), Ok((1, true)));
    }

    #[test]
    fn a_stopped_container_has_to_be_overruled_and_a_running_one_cannot_be() {
        let stopped = [user(false)];
        let error = decide(&["a"], Some("a"), &stopped, false).unwrap_err();
        assert!(error.contains("unable to remove repository reference \"a:latest\" (must force) - container c0ffee is using its referenced image"), "{error}");
        assert_eq!(decide(&["a"], Some("a"), &stopped, true), Ok((1, true)));
        let error = decide(&["a"], None, &stopped, false).unwrap_err();
        assert!(error.ends_with("image is being used by stopped container c0ffee"), "{error}");
        assert_eq!(decide(&["a"], None, &stopped, true), Ok((1, true)));

        let running = [user(false), user(true)];
        let error = decide(&["a"], None, &running, true).unwrap_err();
        assert!(error.contains("(cannot be forced)"), "{error}");
        // By name it becomes nameless, and the container keeps it.
        assert_eq!(decide(&["a"], Some("a"), &running, true), Ok((1, false)));
        // One name of several is nobody's loss.
        assert_eq!(decide(&["a", "b"], Some("a"), &running, false), Ok((1, false)));
    }

    #[test]
    fn a_digest_goes_with_the_last_tag_of_its_repository() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        let other = format!("b@sha256:{}", "0".repeat(64));
        assert_eq!(decide(&["a:1", &digest], Some("a:1"), &[], false), Ok((2, true)));
        assert_eq!(decide(&["a:1", "a:2", &digest], Some("a:1"), &[], false), Ok((1, false)));
        assert_eq!(decide(&["a:1", &digest, &other], Some("a:1"), &[], false), Ok((2, false)));
        assert_eq!(decide(&["a:1", &digest], Some(&digest), &[], false), Ok((1, false)));
        assert_eq!(decide(&["a:1", &digest], None, &[], false), Ok((2, true)));
        assert!(decide(&["a:1", &other], None, &[], false).unwrap_err().contains("multiple"));
        let refused = decide(&["a:1", &digest], Some("a:1"), &[user(false)], false).unwrap_err();
        assert!(refused.contains("must force"), "{refused}");
    }
}
