//! What a person sees while layers come in or go out.
//!
//! The pipeline reports to a [`Progress`] and never writes anywhere itself. [`Bars`] draws on a
//! terminal, [`Lines`] writes a line per event to a file or a pipe, [`NoProgress`] is silent.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bundle::digest::Digest;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Which way layers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a registry to here.
    Pull,
    /// From here to a registry.
    Push,
}

impl Way {
    /// What is being done while bytes pass, and what is left when all have.
    fn doing(self, all_passed: bool) -> &'static str {
        match (self, all_passed) {
            (Self::Pull, false) => "Downloading",
            (Self::Pull, true) => "Extracting",
            (Self::Push, _) => "Pushing",
        }
    }
}

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was here already.
    Present,
    /// It was fetched and unpacked.
    Pulled,
    /// The registry had it already.
    PresentThere,
    /// The registry took it over from another of its repositories.
    Mounted(String),
    /// It was sent.
    Pushed,
    /// Its licence forbids that it is sent.
    Skipped,
    /// It was not finished; the command as a whole reports why.
    Failed,
}

impl Outcome {
    fn text(&self) -> String {
        match self {
            Self::Present => "Already exists".to_owned(),
            Self::Pulled => "Pull complete".to_owned(),
            Self::PresentThere => "Layer already exists".to_owned(),
            Self::Mounted(from) => format!("Mounted from {from}"),
            Self::Pushed => "Pushed".to_owned(),
            Self::Skipped => "Skipped foreign layer".to_owned(),
            Self::Failed => "Failed".to_owned(),
        }
    }
}

/// Somebody who wants to know how a pull or a push gets on.
pub trait Progress: Sync {
    /// Something that is said once: where from, which digest, what came of it.
    fn note(&self, text: &str);

    /// A layer of `size` bytes waits for its turn.
    fn layer(&self, digest: &Digest, size: u64, way: Way) -> Box<dyn LayerProgress + '_>;
}

/// The progress of one layer.
pub trait LayerProgress: Send + Sync {
    /// `bytes` more have passed.
    fn advance(&self, bytes: u64);

    /// `bytes` have passed in all; what broke off begins again further back.
    fn stands_at(&self, bytes: u64);

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
    fn note(&self, _: &str) {}

    fn layer(&self, _: &Digest, _: u64, _: Way) -> Box<dyn LayerProgress + '_> {
        Box::new(Self)
    }
}

impl LayerProgress for NoProgress {
    fn advance(&self, _: u64) {}

    fn stands_at(&self, _: u64) {}

    fn end(&self, _: Outcome) {}
}

/// Writes Docker's lines: the notes, and one for each layer that ends.
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
}

impl<W: Write + Send> Progress for Lines<W> {
    fn note(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever closed the pipe does not want to know; the work itself goes on.
        let _ = writeln!(out, "{text}");
    }

    fn layer(&self, digest: &Digest, _: u64, _: Way) -> Box<dyn LayerProgress + '_> {
        Box::new(LayerLine { lines: self, name: digest.short().to_owned() })
    }
}

struct LayerLine<'a, W> {
    lines: &'a Lines<W>,
    name: String,
}

impl<W: Write + Send> LayerProgress for LayerLine<'_, W> {
    fn advance(&self, _: u64) {}

    fn stands_at(&self, _: u64) {}

    fn end(&self, outcome: Outcome) {
        self.lines.note(&format!("{}: {}", self.name, outcome.text()));
    }
}

/// Draws a bar per layer on the terminal behind stderr.
#[derive(Debug)]
pub struct Bars {
    bars: MultiProgress,
    /// Those that are drawn now, from the top.
    layers: Mutex<Vec<ProgressBar>>,
}

impl Bars {
    /// Draws nothing until work begins.
    pub fn new() -> Self {
        // Ten times a second is smooth enough and costs nothing that can be measured.
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { bars, layers: Mutex::new(Vec::new()) }
    }

    fn layers(&self) -> MutexGuard<'_, Vec<ProgressBar>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes ordinary lines of the bars, so that what comes next stands below them.
    fn settle(&self) {
        let layers = std::mem::take(&mut *self.layers());
        let _ = self.bars.clear();
        let mut stderr = std::io::stderr();
        for bar in &layers {
            self.bars.remove(bar);
            let _ = writeln!(stderr, "{}: {}", bar.prefix(), bar.message());
        }
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Progress for Bars {
    fn note(&self, text: &str) {
        self.settle();
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn layer(&self, digest: &Digest, size: u64, way: Way) -> Box<dyn LayerProgress + '_> {
        let bar = self.bars.add(ProgressBar::new(size).with_style(style("{prefix}: {msg}")));
        bar.set_prefix(digest.short().to_owned());
        bar.set_message("Waiting");
        self.layers().push(bar.clone());
        Box::new(LayerBar { bar, way, size })
    }
}

/// The style of a template, which is one of ours and so is valid.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

struct LayerBar {
    bar: ProgressBar,
    way: Way,
    size: u64,
}

impl LayerProgress for LayerBar {
    fn advance(&self, bytes: u64) {
        self.stands_at(self.bar.position() + bytes);
    }

    fn stands_at(&self, bytes: u64) {
        let before = self.bar.position();
        if before == 0 && bytes > 0 {
            let size = "{decimal_bytes}/{decimal_total_bytes}";
            self.bar.set_style(style(&format!("{{prefix}}: {{msg:11}} [{{bar:30}}] {size}")));
            self.bar.set_message(self.way.doing(false));
        }
        if before < self.size && bytes >= self.size {
            self.bar.set_message(self.way.doing(true));
        }
        self.bar.set_position(bytes);
    }

    fn end(&self, outcome: Outcome) {
        self.bar.set_style(style("{prefix}: {msg}"));
        self.bar.finish_with_message(outcome.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_notes_and_what_became_of_each_layer() {
        let digest = Digest::of(b"x");
        let lines = Lines::new(Vec::new());
        lines.note("1: Pulling from app");
        let layer = lines.layer(&digest, 10, Way::Pull);
        layer.advance(10);
        layer.end(Outcome::Pulled);
        layer.end(Outcome::Mounted("base".to_owned()));
        drop(layer);
        let text = String::from_utf8(lines.into_inner()).unwrap();
        let short = digest.short();
        let expected =
            format!("1: Pulling from app\n{short}: Pull complete\n{short}: Mounted from base\n");
        assert_eq!(text, expected);
    }
}
