//! Which stages a Dockerfile has, what each stands on, and which of them the wanted one needs.
//!
//! Pure. Stages that nothing needs are not built.

use super::cache::INLINE_CACHE;
use super::dockerfile::{Dockerfile, Fault, Flag, Instruction};
use crate::cli::{ContextSource, NamedContext};
use crate::expand::{expand, pairs, split};
use crate::fields::fields;
use crate::new_image::SOURCE_DATE_EPOCH;
use crate::reference::Reference;
use crate::registry::Platform;
use crate::suggest::nearest;
use std::collections::BTreeMap;

/// Arguments that need no declaration, and that change nothing about what a step does.
pub const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments that tell the builder something, whether the file declares them or not.
const OF_BUILDER: [&str; 2] = [SOURCE_DATE_EPOCH, INLINE_CACHE];

/// What a stage stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage, by its place in the file.
    Stage(usize),
    /// An image.
    Image {
        /// Its name or its id.
        name: String,
        /// The platform that `--platform` asks for.
        platform: Option<String>,
    },
    /// Files that `--build-context` has named so.
    Context(String),
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it is called.
    pub name: Option<String>,
    /// What it stands on.
    pub base: Base,
    /// Its FROM.
    pub from: Instruction,
    /// The instructions behind it.
    pub steps: Vec<Instruction>,
}

/// Where files are copied from that are not in the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A stage of the file, by its place.
    Stage(usize),
    /// An image, by its name or its id.
    Image(String),
    /// Files that `--build-context` has named, by its place among them.
    Context(usize),
}

/// What is to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// All stages of the file.
    pub stages: Vec<Stage>,
    /// Those that are needed, in the order in which they are built; the last is the wanted one.
    pub order: Vec<usize>,
    /// The arguments before the first FROM, with their values: what `ARG NAME` in a stage takes.
    pub globals: BTreeMap<String, String>,
    /// The character that escapes.
    pub escape: char,
}

/// What is given from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `--build-arg`
    pub args: BTreeMap<String, String>,
    /// `--target`
    pub target: Option<String>,
    /// The platform of the result, if it was asked for.
    pub platform: Option<Platform>,
    /// `--build-context`: what goes before stages and images of the same name.
    pub contexts: Vec<NamedContext>,
}

impl Given {
    /// What a name means that was given; the last one counts.
    fn context(&self, name: &str) -> Option<Origin> {
        let at = self.contexts.iter().rposition(|context| is_same_name(&context.name, name))?;
        Some(match &self.contexts[at].source {
            ContextSource::Image(image) => Origin::Image(image.clone()),
            ContextSource::Layout { text, .. } => Origin::Image(text.clone()),
            ContextSource::Files(_) => Origin::Context(at),
        })
    }
}

/// Whether two names mean one thing: whatever the case of their letters, or as names of images, of which `base`, `base:latest` and
/// `docker.io/library/base` are one.
fn is_same_name(one: &str, other: &str) -> bool {
    let image = |name: &str| name.parse::<Reference>().ok();
    one.eq_ignore_ascii_case(other) || image(one).is_some_and(|one| image(other) == Some(one))
}

/// Plans the stages.
pub fn plan(file: &Dockerfile, given: &Given) -> Result<Plan, Fault> {
    let mut globals = platforms(given);
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in &file.instructions {
        match (instruction.word.as_str(), stages.last_mut()) {
            ("FROM", _) => {
                stages.push(stage(instruction, &stages, &globals, (file.escape, given))?);
            }
            (_, Some(stage)) => stage.steps.push(instruction.clone()),
            ("ARG", None) => global(instruction, &mut globals, given, file.escape)?,
            (word, None) => {
                let why = format!("no build stage in current context: {word} comes before FROM");
                return Err(Fault::new(instruction.line, why));
            }
        }
    }
    if stages.is_empty() {
        return Err(Fault::new(1, "no build stage in current context: there is no FROM"));
    }
    check_origins(&stages, given)?;
    let wanted = match &given.target {
        None => stages.len() - 1,
        Some(target) => find(&stages, target).ok_or_else(|| no_target(&stages, target))?,
    };
    let order = needed(&stages, wanted, given);
    Ok(Plan { stages, order, globals, escape: file.escape })
}

impl Plan {
    /// The given arguments that the file declares nowhere.
    #[must_use]
    pub fn unconsumed<'g>(&self, given: &'g Given) -> Vec<&'g str> {
        let declared = |name: &str| {
            let steps = self.stages.iter().flat_map(|stage| &stage.steps);
            let mut arguments = steps.filter(|step| step.word == "ARG");
            arguments.any(|step| {
                let names = arguments_of(step, self.escape);
                names.iter().any(|(declared, _)| declared == name)
            })
        };
        let names = given.args.keys().map(String::as_str);
        names
            .filter(|name| !PREDEFINED.contains(name) && !OF_BUILDER.contains(name))
            .filter(|name| !self.globals.contains_key(*name) && !declared(name))
            .collect()
    }

    /// What `COPY --from` and its like in stage `at` mean: an earlier stage, or an image.
    #[must_use]
    pub fn origin(&self, at: usize, text: &str, given: &Given) -> Origin {
        origin(&self.stages[..at], text, given)
    }

    /// The earlier stages that an instruction takes files from in stage `at`, also one that only the image says that it begins with.
    #[must_use]
    pub fn origins(&self, at: usize, step: &Instruction, given: &Given) -> Vec<usize> {
        origins(&self.stages[..at], step, given)
    }

    /// What the stage `wanted` needs, in the order of the file, itself last.
    #[must_use]
    pub fn needed(&self, wanted: usize, given: &Given) -> Vec<usize> {
        needed(&self.stages, wanted, given)
    }

    /// How many steps a stage has, as far as the Dockerfile tells.
    #[must_use]
    pub fn steps(&self, at: usize) -> usize {
        1 + self.stages[at].steps.len()
    }
}

/// What a mount of RUN says that its files are from; said more than once, the last counts.
pub(super) fn from_of(mount: &str) -> Option<String> {
    let fields = fields(mount).unwrap_or_default();
    let mut pairs = fields.iter().rev().filter_map(|field| field.split_once('='));
    let from = pairs.find(|(key, _)| key.eq_ignore_ascii_case("from"));
    from.map(|(_, value)| value.to_owned())
}

/// What the options of an instruction say that files are from.
fn froms(step: &Instruction) -> impl Iterator<Item = String> {
    let from = |flag: &Flag| match (flag.name.as_str(), &flag.value) {
        ("from", Some(value)) => Some(value.clone()),
        ("mount", Some(value)) => from_of(value),
        _ => None,
    };
    step.flags.iter().filter_map(from)
}

/// Refuses to take files from a stage that is not an earlier one. No registry is asked for an image of that name or number, which
/// would be whoever's has made it.
fn check_origins(stages: &[Stage], given: &Given) -> Result<(), Fault> {
    let steps = stages.iter().enumerate().flat_map(|(at, stage)| {
        stage.steps.iter().flat_map(move |step| froms(step).map(move |text| (at, step, text)))
    });
    for (at, step, text) in steps {
        if given.context(&text).is_some() || find(&stages[..at], &text).is_some() {
            continue;
        }
        let is_number = text.parse::<usize>().is_ok();
        let why = match find(stages, &text) {
            Some(stage) if stage == at => format!("stage `{text}` takes files from itself"),
            Some(stage) => {
                let line = stages[stage].from.line;
                format!(
                    "stage `{text}` begins later, on line {line}: files come from earlier stages"
                )
            }
            None if step.word == "COPY" && is_number => {
                format!("invalid stage index {text}: the stage is number {at}")
            }
            None => continue,
        };
        return Err(Fault::new(step.line, why));
    }
    Ok(())
}

fn origins(earlier: &[Stage], step: &Instruction, given: &Given) -> Vec<usize> {
    let named = froms(step).map(|text| origin(earlier, &text, given));
    let stage = |origin| match origin {
        Origin::Stage(at) => Some(at),
        Origin::Image(_) | Origin::Context(_) => None,
    };
    named.filter_map(stage).collect()
}

fn origin(earlier: &[Stage], text: &str, given: &Given) -> Origin {
    let named = given.context(text).or_else(|| find(earlier, text).map(Origin::Stage));
    named.unwrap_or_else(|| Origin::Image(text.to_owned()))
}

/// A stage by its name, whatever the case of its letters, or by its number.
fn find(stages: &[Stage], text: &str) -> Option<usize> {
    let is_called =
        |stage: &Stage| stage.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(text));
    stages.iter().rposition(is_called).or_else(|| text.parse().ok().filter(|at| *at < stages.len()))
}

fn no_target(stages: &[Stage], target: &str) -> Fault {
    let names = stages.iter().filter_map(|stage| stage.name.as_deref());
    let hint = nearest(target, names).map(|name| format!("did you mean `{name}`?"));
    let line = stages.last().map_or(1, |stage| stage.from.line);
    Fault { line, why: format!("target stage \"{target}\" could not be found"), hint }
}

/// The arguments that are there without being declared before the first FROM.
fn platforms(given: &Given) -> BTreeMap<String, String> {
    let host = Platform::host();
    let target = given.platform.as_ref().unwrap_or(&host);
    let mut all = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &host)] {
        // What this machine can do is no part of what it is called.
        let variant = platform.variant().filter(|_| *platform != host).unwrap_or_default();
        let (os, architecture) = (platform.os(), platform.architecture());
        let name = format!("{os}/{architecture}/{variant}");
        all.insert(format!("{prefix}PLATFORM"), name.trim_end_matches('/').to_owned());
        all.insert(format!("{prefix}OS"), os.to_owned());
        all.insert(format!("{prefix}ARCH"), architecture.to_owned());
        all.insert(format!("{prefix}VARIANT"), variant.to_owned());
    }
    all
}

/// An ARG before the first FROM. One without a value has none, unless it was given.
fn global(
    instruction: &Instruction,
    globals: &mut BTreeMap<String, String>,
    given: &Given,
    escape: char,
) -> Result<(), Fault> {
    for (name, default) in arguments(instruction, escape)? {
        let default = default
            .map(|text| expand(&text, escape, &|name| globals.get(name).cloned()))
            .transpose()
            .map_err(|why| Fault::new(instruction.line, why))?;
        if let Some(value) = given.args.get(&name).cloned().or(default) {
            globals.insert(name, value);
        }
    }
    Ok(())
}

fn arguments_of(instruction: &Instruction, escape: char) -> Vec<(String, Option<String>)> {
    arguments(instruction, escape).unwrap_or_default()
}

/// The names that an ARG declares, with the text of their defaults.
pub fn arguments(
    instruction: &Instruction,
    escape: char,
) -> Result<Vec<(String, Option<String>)>, Fault> {
    let mut all = Vec::new();
    for word in split(&instruction.rest, escape) {
        if !word.contains('=') {
            all.push((word, None));
            continue;
        }
        let pairs = pairs("ARG", &word, escape);
        let pairs = pairs.map_err(|why| Fault::new(instruction.line, why))?;
        all.extend(pairs.into_iter().map(|(name, value)| (name, Some(value))));
    }
    Ok(all)
}

fn stage(
    from: &Instruction,
    earlier: &[Stage],
    globals: &BTreeMap<String, String>,
    (escape, given): (char, &Given),
) -> Result<Stage, Fault> {
    let fault = |why: String| Fault::new(from.line, why);
    let put_in =
        |text: &str| expand(text, escape, &|name| globals.get(name).cloned()).map_err(fault);
    let words = split(&from.rest, escape);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (image, name) = match words[..] {
        [image] => (image, None),
        [image, middle, name] if middle.eq_ignore_ascii_case("as") => (image, Some(name)),
        _ => return Err(fault("FROM requires either one or three arguments".to_owned())),
    };
    let name = name.map(|name| stage_name(name).map_err(fault)).transpose()?;
    let mut platform = None;
    for flag in &from.flags {
        match (flag.name.as_str(), &flag.value) {
            ("platform", Some(text)) => platform = Some(put_in(text)?),
            _ => return Err(fault(format!("Unknown flag: {}", flag.name))),
        }
    }
    let image = put_in(image)?;
    if image.is_empty() {
        let why = format!("base name ({}) should not be blank", words[0]);
        let hint = Some("declare it by an ARG before the first FROM, with a default".to_owned());
        return Err(Fault { line: from.line, why, hint });
    }
    let is_stage =
        |stage: &Stage| stage.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&image));
    let platform = platform.filter(|text| !text.is_empty());
    let base = match earlier.iter().rposition(is_stage) {
        _ if let Some(context) = given.context(&image) => match context {
            Origin::Image(name) => Base::Image { name, platform },
            _ => Base::Context(image),
        },
        Some(at) => Base::Stage(at),
        None if image == "scratch" => Base::Scratch,
        None => Base::Image { name: image, platform },
    };
    Ok(Stage { name, base, from: from.clone(), steps: Vec::new() })
}

fn stage_name(name: &str) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let fits = lower.starts_with(|c: char| c.is_ascii_lowercase()) && lower.chars().all(is_part);
    if !fits || lower == "scratch" {
        return Err(format!(
            "invalid name for build stage: \"{name}\", name can't start with a number or contain symbols"
        ));
    }
    Ok(lower)
}

fn needed(stages: &[Stage], wanted: usize, given: &Given) -> Vec<usize> {
    let mut is_needed = vec![false; wanted + 1];
    is_needed[wanted] = true;
    // A stage needs only earlier ones.
    for at in (0..=wanted).rev().collect::<Vec<_>>() {
        if !is_needed[at] {
            continue;
        }
        let stage = &stages[at];
        if let Base::Stage(base) = stage.base {
            is_needed[base] = true;
        }
        for other in stage.steps.iter().flat_map(|step| origins(&stages[..at], step, given)) {
            is_needed[other] = true;
        }
    }
    (0..=wanted).filter(|at| is_needed[*at]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    fn planned(text: &str, given: &Given) -> Result<Plan, Fault> {
        plan(&parse(text).unwrap(), given)
    }

    fn given(args: &[(&str, &str)], target: Option<&str>) -> Given {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Given {
            args: args.iter().map(pair).collect(),
            target: target.map(str::to_owned),
            ..Given::default()
        }
    }

    fn image(name: &str) -> Base {
        Base::Image { name: name.to_owned(), platform: None }
    }

    #[test]
    fn stages_stand_on_images_on_each_other_and_on_nothing() {
        let text = "FROM a AS One\nRUN x\nFROM one as two\nFROM scratch\nFROM 0";
        let plan = planned(text, &Given::default()).unwrap();
        let bases: Vec<&Base> = plan.stages.iter().map(|stage| &stage.base).collect();
        // A number is a stage for COPY alone.
        assert_eq!(bases, [&image("a"), &Base::Stage(0), &Base::Scratch, &image("0")]);
        assert_eq!(plan.stages[0].steps.len(), 1);
        assert_eq!(plan.origin(2, "1", &Given::default()), Origin::Stage(1));
        assert_eq!(plan.origin(2, "TWO", &Given::default()), Origin::Stage(1));
        // A stage that comes later is none.
        assert_eq!(plan.origin(1, "two", &Given::default()), Origin::Image("two".to_owned()));
    }

    #[test]
    fn only_what_the_wanted_stage_needs_is_built() {
        let text = "FROM a AS base\nFROM base AS tools\nFROM b AS unused\nFROM c AS app\n\
                    COPY --from=tools /x /x\nFROM app AS test\nFROM d AS last\nCOPY --from=3 /x /x";
        let order = |target| planned(text, &given(&[], target)).map(|plan| plan.order);
        assert_eq!(order(None).unwrap(), [0, 1, 3, 5]);
        assert_eq!(order(Some("tools")).unwrap(), [0, 1]);
        assert_eq!(order(Some("4")).unwrap(), [0, 1, 3, 4]);
        let fault = order(Some("tols")).unwrap_err();
        assert_eq!(fault.why, "target stage \"tols\" could not be found");
        assert_eq!(fault.hint.as_deref(), Some("did you mean `tools`?"));
    }

    #[test]
    fn the_stage_of_a_mount_is_what_the_mount_says_last_in_any_case() {
        let text = "FROM a AS one\nFROM b AS two\nFROM c AS three\nFROM d\n\
                    RUN --mount=target=/x,FROM=one,From=two --mount=\"type=bind\",target=/y,\"from=Three\" x";
        let plan = planned(text, &Given::default()).unwrap();
        assert_eq!(plan.order, [1, 2, 3]);
        let trigger = parse("FROM x\nCOPY --from=ONE a b").unwrap().instructions[1].clone();
        assert_eq!(plan.origins(3, &trigger, &Given::default()), [0]);
        assert_eq!(plan.origins(0, &trigger, &Given::default()), [] as [usize; 0]);
    }

    #[test]
    fn a_context_that_was_given_goes_before_stages_and_images_of_its_name() {
        let contexts = ["tools=dir", "base=docker-image://other:1", "B=docker-image://b"];
        let contexts = contexts.iter().map(|text| text.parse().unwrap()).collect();
        let given = Given { contexts, ..Given::default() };
        let text = "FROM base AS tools\nFROM x AS b\nFROM scratch\nCOPY --from=tools /x /x\nCOPY --from=b /y /y";
        let plan = planned(text, &given).unwrap();
        assert_eq!(plan.stages[0].base, image("other:1"));
        assert_eq!(plan.order, [2]);
        assert_eq!(plan.origin(2, "Tools", &given), Origin::Context(0));
        assert_eq!(plan.origin(2, "b", &given), Origin::Image("b".to_owned()));
        assert_eq!(plan.origin(2, "0", &given), Origin::Stage(0));
        for name in ["base:latest", "docker.io/library/base", "index.docker.io/base:latest"] {
            assert_eq!(
                planned(&format!("FROM {name}"), &given).unwrap().stages[0].base,
                image("other:1")
            );
        }
        for name in ["base:2", "team/base", "localhost:5000/base"] {
            assert_eq!(
                planned(&format!("FROM {name}"), &given).unwrap().stages[0].base,
                image(name)
            );
        }
        let contexts = vec!["docker.io/library/x:latest=dir".parse().unwrap()];
        let full = Given { contexts, ..Given::default() };
        assert_eq!(planned("FROM a", &full).unwrap().origin(0, "x", &full), Origin::Context(0));
        let plan = planned("FROM Tools", &given).unwrap();
        assert_eq!(plan.stages[0].base, Base::Context("Tools".to_owned()));
    }

    #[test]
    fn arguments_before_the_first_stage_are_for_from() {
        let text = "ARG V=1\nARG NAME=img:$V\nARG NONE\nFROM --platform=$TARGETPLATFORM ${NAME}";
        let plan = planned(text, &given(&[("V", "2")], None)).unwrap();
        let Base::Image { name, platform } = &plan.stages[0].base else { panic!("{plan:?}") };
        assert_eq!(name, "img:2");
        assert!(platform.as_ref().is_some_and(|text| text.starts_with("linux/")));
        assert_eq!(plan.globals.get("NONE"), None);
        let fault = planned("FROM $NOPE", &Given::default()).unwrap_err();
        assert_eq!(fault.why, "base name ($NOPE) should not be blank");
    }

    #[test]
    fn an_argument_that_nothing_declares_is_told() {
        let given = given(&[("G", "1"), ("S", "1"), ("X", "1"), ("http_proxy", "1")], None);
        let plan = planned("ARG G\nFROM a\nARG S=2 T", &given).unwrap();
        assert_eq!(plan.unconsumed(&given), ["X"]);
    }

    #[test]
    fn what_is_no_stage_is_refused_with_its_line() {
        for (text, expected) in [
            ("\nRUN x\nFROM a", "2: no build stage in current context: RUN comes before FROM"),
            ("ARG A", "1: no build stage in current context: there is no FROM"),
            ("FROM a b", "1: FROM requires either one or three arguments"),
            ("FROM a\nCOPY --from=1 x y", "2: invalid stage index 1: the stage is number 0"),
            ("FROM a AS me\nCOPY --from=Me x y", "2: stage `Me` takes files from itself"),
            (
                "FROM a\nRUN --mount=from=late,target=/x y\nFROM b AS late",
                "2: stage `late` begins later, on line 3: files come from earlier stages",
            ),
            ("FROM --foo=1 a", "1: Unknown flag: foo"),
            (
                "FROM a AS 1x",
                "1: invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
            ),
        ] {
            let fault = planned(text, &Given::default()).unwrap_err();
            assert_eq!(format!("{}: {}", fault.line, fault.why), expected);
        }
    }
}
