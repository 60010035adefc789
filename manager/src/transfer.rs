//! `nman pull` and `nman push`: one image, or all tags of a repository.

use crate::cli::{PullArgs, PushArgs, RegistryArgs, TlsArgs};
use crate::error::{Error, Result};
use crate::event::{self, Kind};
use crate::progress::{self, NoProgress, Progress};
use crate::pull::{self, Policy, PullOptions, pull};
use crate::push::{PushOptions, Sent, push, push_list};
use crate::reference::Reference;
use crate::registry::{Access, Platform, Tls};
use crate::settings::Settings;
use crate::store::{Image, Store};
use bundle::platform;

/// `nman pull`: the full name of what was pulled.
pub fn pull_named(settings: &Settings, args: &PullArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    let reference = repository_or_tag(&args.image, args.all_tags)?;
    let options = options(&args.registry, Policy::Always);
    let progress = reporter(args.quiet);
    if !args.all_tags {
        if says_no_tag(&args.image) {
            progress.note("Using default tag: latest");
        }
        pull(&reference, &options, &store, &*progress)?;
        event::emit(settings, Kind::Image, "pull", &reference.to_string(), &name(&reference));
        return Ok(format!("{}\n", reference.canonical()));
    }
    for tag in pull::tags(&reference, &options)? {
        let tagged = reference.with_tag(&tag)?;
        pull(&tagged, &options, &store, &*progress)?;
        event::emit(settings, Kind::Image, "pull", &tagged.to_string(), &name(&tagged));
    }
    Ok(format!("{}\n", reference.canonical_name()))
}

/// `nman push`: what each registry has now, in Docker's words; with `--quiet`, the image's full name.
pub fn push_named(settings: &Settings, args: &PushArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    let reference = repository_or_tag(&args.image, args.all_tags)?;
    let access = Access { credentials: None, tls: tls(&args.tls) };
    let options = PushOptions { access, platform: args.platform.clone(), ..PushOptions::default() };
    let progress = reporter(args.quiet);
    let names = if args.all_tags { tagged(&store, &reference)? } else { vec![reference.clone()] };
    if !args.all_tags && says_no_tag(&args.image) {
        progress.note("Using default tag: latest");
    }
    progress.note(&format!("The push refers to repository [{}]", reference.canonical_name()));
    let mut text = String::new();
    for pushed_name in &names {
        let pushed = match store.named_list(pushed_name)? {
            Some(_) if args.platform.is_some() => push(pushed_name, &options, &store, &*progress)?,
            Some(list) => {
                let sent = Sent { list: &list.list, format: None, images: true };
                push_list(pushed_name, sent, &options, &store, &*progress)?
            }
            None => {
                if let Some(image) = store.named(pushed_name)? {
                    check_platform(&image, &pushed_name.to_string(), args.platform.as_ref())?;
                }
                push(pushed_name, &options, &store, &*progress)?
            }
        };
        event::emit(settings, Kind::Image, "push", &pushed_name.to_string(), &name(pushed_name));
        let selector = pushed_name.selector();
        text.push_str(&format!("{selector}: digest: {} size: {}\n", pushed.digest, pushed.size));
    }
    let whole = if args.all_tags { reference.canonical_name() } else { reference.canonical() };
    Ok(if args.quiet { format!("{whole}\n") } else { text })
}

/// What was typed says which registry is trusted how.
pub fn options(registry: &RegistryArgs, policy: Policy) -> PullOptions {
    let platform = registry.platform.clone();
    PullOptions { platform, credentials: None, tls: tls(&registry.tls), policy }
}

/// Certificates and what else says whom to trust.
pub(crate) fn tls(args: &TlsArgs) -> Tls {
    let ca_files = args.ca_file.iter().cloned().collect();
    Tls { verify: args.tls_verify, ca_files, ..Tls::default() }
}

/// Who tells a person how it gets on.
pub(crate) fn reporter(quiet: bool) -> Box<dyn Progress> {
    if quiet { Box::new(NoProgress) } else { progress::for_stderr() }
}

fn repository_or_tag(text: &str, all_tags: bool) -> Result<Reference> {
    let reference: Reference = text.parse()?;
    if all_tags && !says_no_tag(text) {
        return Err(Error::Usage("tag can't be used with --all-tags/-a".to_owned()));
    }
    Ok(reference)
}

/// Whether neither a tag nor a digest was typed.
fn says_no_tag(text: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or(text);
    !last.contains([':', '@'])
}

/// All names of the repository that are here.
fn tagged(store: &Store, repository: &Reference) -> Result<Vec<Reference>> {
    let is_same = |name: &Reference| {
        name.canonical_name() == repository.canonical_name() && name.tag().is_some()
    };
    let images = store.list()?.into_iter().flat_map(|image| image.names);
    let lists = store.lists()?.into_iter().flat_map(|list| list.names);
    let mut names: Vec<Reference> = images.chain(lists).filter(is_same).collect();
    names.sort();
    if names.is_empty() {
        let message =
            format!("An image does not exist locally with the tag: {}", repository.familiar_name());
        return Err(Error::Rejected {
            message,
            hint: Some("`nman images` lists what is here".to_owned()),
        });
    }
    Ok(names)
}

fn name(reference: &Reference) -> [(&'static str, &str); 1] {
    [("name", reference.repository())]
}

/// Refuses an image that is for another platform than the one that was asked for; `typed` is what it was called. Of an image for
/// several platforms the store has one.
pub fn check_platform(image: &Image, typed: &str, platform: Option<&Platform>) -> Result<()> {
    let Some(wanted) = platform.filter(|wanted| !wanted.fits(&image.config)) else { return Ok(()) };
    let of_image = platform::name(&image.config);
    Err(Error::Rejected {
        message: format!(
            "image with reference {typed} was found but its platform ({of_image}) does not match the specified platform ({wanted})"
        ),
        hint: Some(format!("`nman pull --platform {wanted} {typed}` may get it for {wanted}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag_and_a_tag_does_not_go_with_all_tags() {
        for text in ["app", "r:5000/app", "[::1]:5000/a/b"] {
            assert!(says_no_tag(text), "{text}");
            assert!(repository_or_tag(text, true).is_ok(), "{text}");
        }
        let digest = format!("app@sha256:{}", "0".repeat(64));
        for text in ["app:1", "r:5000/app:1", &digest] {
            assert!(!says_no_tag(text), "{text}");
            let error = repository_or_tag(text, true).unwrap_err().to_string();
            assert_eq!(error, "tag can't be used with --all-tags/-a");
        }
    }
}
