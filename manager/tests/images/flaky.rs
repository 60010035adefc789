//! Registries whose connections break, and what is asked of them then.

use std::sync::atomic::{AtomicUsize, Ordering};

use bundle::digest::Digest;
use nconform::fixture::Sandbox;
use nman::progress::NoProgress;
use nman::pull::{PullOptions, pull};

use crate::images::{TestImage, store};
use crate::lying::{Answer, Request, Server};

fn is_first_layer(request: &Request, image: &TestImage) -> bool {
    request.path.ends_with(Digest::of(&image.layers[0]).as_str())
}

/// Where what is asked for begins, unless it is the whole.
fn range(request: &Request) -> Option<usize> {
    request.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// What a server that knows ranges answers.
fn part(whole: Answer, from: usize) -> Answer {
    let length = whole.body.len();
    let range = format!("bytes {from}-{}/{length}", length - 1);
    let body = whole.body[from..].to_vec();
    Answer { status: 206, body, ..whole }.with("Content-Range", &range)
}

/// An answer whose connection breaks after so many bytes.
fn cut(answer: Answer, count: usize) -> Answer {
    let length = answer.body.len();
    let body = answer.body[..count.min(length)].to_vec();
    Answer { body, length: Some(length), ..answer }
}

/// Pulls an image whose first layer breaks off in the middle at the first time; `rest` is what the server answers to the request for the
/// rest. How often the layer was asked for: from its beginning, and from somewhere on.
fn requests(rest: impl Fn(Answer, usize) -> Answer + Send + Sync + 'static) -> (usize, usize) {
    let image = TestImage::two_layers();
    let (copy, asked) = (image.clone(), AtomicUsize::new(0));
    let server = Server::with_image(image.clone(), move |request, answer| {
        if !is_first_layer(request, &copy) {
            return answer;
        }
        let is_first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        let half = answer.body.len() / 2;
        match range(request) {
            Some(from) => rest(answer, from),
            None if is_first => cut(answer, half),
            None => answer,
        }
    });
    pulled(&server, &image)
}

/// Pulls, and counts like [`requests`].
fn pulled(server: &Server, image: &TestImage) -> (usize, usize) {
    let (_root, store) = store();
    pull(&server.reference(), &PullOptions::default(), &store, &NoProgress).unwrap();
    let all = server.requests();
    let of_layer = all.iter().filter(|request| is_first_layer(request, image));
    let (rest, whole): (Vec<_>, Vec<_>) = of_layer.partition(|request| range(request).is_some());
    (whole.len(), rest.len())
}

#[test]
fn a_download_is_taken_up_where_it_broke_off() {
    let _sandbox = Sandbox::enter();
    assert_eq!(requests(part), (1, 1));
    // From one that knows no ranges, what came before comes again.
    assert_eq!(requests(|answer, _| answer), (1, 1));
}

#[test]
fn a_download_whose_rest_is_refused_begins_anew() {
    let _sandbox = Sandbox::enter();
    assert_eq!(requests(|_, _| Answer::status(416)), (2, 1));
}

#[test]
fn a_download_whose_rest_is_another_part_begins_anew() {
    let _sandbox = Sandbox::enter();
    assert_eq!(requests(|answer, from| part(answer, from / 2)), (2, 1));
}

#[test]
fn a_download_that_breaks_again_before_new_bytes_come_is_taken_up_again() {
    let _sandbox = Sandbox::enter();
    let asked = AtomicUsize::new(0);
    let counted = requests(move |answer, from| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => cut(answer, from / 2),
        _ => answer,
    });
    assert_eq!(counted, (1, 2));
}

#[test]
fn a_download_may_break_as_often_as_it_gets_on() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let copy = image.clone();
    let server = Server::with_image(image.clone(), move |request, answer| {
        if !is_first_layer(request, &copy) {
            return answer;
        }
        match range(request) {
            Some(from) => cut(part(answer, from), 16),
            None => cut(answer, 16),
        }
    });
    let times = image.layers[0].len().div_ceil(16);
    assert!(times > 8, "the layer is too small to say anything");
    assert_eq!(pulled(&server, &image), (1, times - 1));
}

#[test]
fn a_registry_that_starts_anew_within_a_download_is_waited_for() {
    let _sandbox = Sandbox::enter();
    let asked = AtomicUsize::new(0);
    // More often than any one request is made again.
    let counted = requests(move |answer, from| match asked.fetch_add(1, Ordering::SeqCst) {
        0..4 => Answer::status(503),
        _ => part(answer, from),
    });
    assert_eq!(counted, (1, 5));
}

#[test]
fn a_manifest_that_breaks_off_is_asked_for_again() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let asked = AtomicUsize::new(0);
    let server = Server::with_image(image.clone(), move |request, answer| {
        let is_first = || asked.fetch_add(1, Ordering::SeqCst) == 0;
        if request.path.contains("/manifests/") && is_first() { cut(answer, 100) } else { answer }
    });
    assert_eq!(pulled(&server, &image), (1, 0));
}
