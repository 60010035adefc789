//! What a person sees while layers come in.
//!
//! The pipeline reports to a [`Progress`] and never writes anywhere itself. [`Bars`] draws on a
//! terminal, [`Lines`] writes a line per event to a file or a pipe, [`NoProgress`] is silent.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use bundle::digest::Digest;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::reference::Reference;

/// How a layer came to be in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was there already.
    Present,
    /// It was fetched and unpacked.
    Pulled,
    /// It was not finished; the pull as a whole reports why.
    Failed,
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            Self::Present => "Already exists",
            Self::Pulled => "Pull complete",
            Self::Failed => "Failed",
        }
    }
}

/// Somebody who wants to know how a pull gets on.
pub trait Progress: Sync {
    /// A pull of `reference` begins.
    fn begin(&self, reference: &Reference);

    /// Work on a layer of `size` bytes begins.
    fn layer(&self, digest: &Digest, size: u64) -> Box<dyn LayerProgress + '_>;

    /// All is in place, and this is the digest of what the reference stood for.
    fn end(&self, digest: &Digest);
}

/// The progress of one layer.
pub trait LayerProgress: Send + Sync {
    /// `bytes` more have come in and gone to disk.
    fn advance(&self, bytes: u64);

    /// The layer is finished with.
    fn end(&self, outcome: Outcome);
}

/// Bars if stderr is a terminal, else lines.
pub fn for_stderr() -> Box<dyn Progress> {
    let stderr = std::io::stderr();
    if stderr.is_terminal() { Box::new(Bars::new()) } else { Box::new(Lines::new(stderr)) }
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: &Reference) {}

    fn layer(&self, _: &Digest, _: u64) -> Box<dyn LayerProgress + '_> {
        Box::new(Self)
    }

    fn end(&self, _: &Digest) {}
}

impl LayerProgress for NoProgress {
    fn advance(&self, _: u64) {}

    fn end(&self, _: Outcome) {}
}

/// Writes Docker's lines: one when a pull begins, one for each layer that ends, one at the end.
#[derive(Debug)]
pub struct Lines<W> {
    out: Mutex<W>,
}

impl<W: Write + Send> Lines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out: Mutex::new(out) }
    }

    /// What was written, given back.
    pub fn into_inner(self) -> W {
        self.out.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever closed the pipe does not want to know; the pull itself goes on.
        let _ = writeln!(out, "{text}");
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn begin(&self, reference: &Reference) {
        self.line(&pulling_from(reference));
    }

    fn layer(&self, digest: &Digest, _: u64) -> Box<dyn LayerProgress + '_> {
        Box::new(LayerLine { lines: self, name: digest.short().to_owned() })
    }

    fn end(&self, digest: &Digest) {
        self.line(&format!("Digest: {digest}"));
    }
}

struct LayerLine<'a, W> {
    lines: &'a Lines<W>,
    name: String,
}

impl<W: Write + Send> LayerProgress for LayerLine<'_, W> {
    fn advance(&self, _: u64) {}

    fn end(&self, outcome: Outcome) {
        self.lines.line(&format!("{}: {}", self.name, outcome.text()));
    }
}

fn pulling_from(reference: &Reference) -> String {
    let what = reference.tag().map_or_else(|| reference.selector(), str::to_owned);
    format!("{what}: Pulling from {}", reference.repository())
}

/// Draws a bar per layer on the terminal behind stderr.
#[derive(Debug)]
pub struct Bars {
    bars: MultiProgress,
}

impl Bars {
    /// Draws nothing until a pull begins.
    pub fn new() -> Self {
        // Ten times a second is smooth enough and costs nothing that can be measured.
        Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)) }
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Bars {
    fn begin(&self, reference: &Reference) {
        let _ = self.bars.println(pulling_from(reference));
    }

    fn layer(&self, digest: &Digest, size: u64) -> Box<dyn LayerProgress + '_> {
        let style = style("{prefix}: {msg} [{bar:30}] {bytes}/{total_bytes}").progress_chars("=> ");
        let bar = self.bars.add(ProgressBar::new(size).with_style(style));
        bar.set_prefix(digest.short().to_owned());
        bar.set_message("Pulling");
        Box::new(LayerBar(bar))
    }

    fn end(&self, digest: &Digest) {
        // A line below the bars, which stay where they are.
        let line = self.bars.add(ProgressBar::new(0).with_style(style("{msg}")));
        line.finish_with_message(format!("Digest: {digest}"));
    }
}

/// The style of a template, which is one of ours and so is valid.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct LayerBar(ProgressBar);

impl LayerProgress for LayerBar {
    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn end(&self, outcome: Outcome) {
        self.0.set_style(style("{prefix}: {msg}"));
        self.0.finish_with_message(outcome.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_where_from_what_became_of_each_layer_and_the_digest() {
        let digest = Digest::of(b"x");
        let lines = Lines::new(Vec::new());
        lines.begin(&"localhost:5000/app:1".parse().unwrap());
        let layer = lines.layer(&digest, 10);
        layer.advance(10);
        layer.end(Outcome::Pulled);
        drop(layer);
        lines.end(&digest);
        let text = String::from_utf8(lines.into_inner()).unwrap();
        let expected =
            format!("1: Pulling from app\n{}: Pull complete\nDigest: {digest}\n", digest.short());
        assert_eq!(text, expected);
    }
}
