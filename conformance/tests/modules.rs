//! A crate's modules stand above each other: whoever reads one reads those below it, and never comes back to where they were.
//!
//! What a module needs is read from its text: the paths that begin with `crate::`, without comments and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that need each other, and why they may.
const KNOWN: [(&str, &[&str], &str); 1] = [(
    "runtime",
    &[
        "bare_mounts",
        "cgroup",
        "cli",
        "criu",
        "error",
        "failure",
        "hook",
        "hooks",
        "host",
        "id",
        "intel_rdt",
        "log",
        "plan",
        "process",
        "record",
        "rootless",
        "signal",
    ],
    "the one error type wraps those of the planner and of each step, which return it themselves",
)];

/// The modules of a crate, and those that each of them names.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_module_of_a_crate_needs_itself_by_way_of_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    for name in ["bundle-tools", "manager", "runtime", "sys", "systemd"] {
        let graph = graph_of(&root.join(name).join("src"));
        let known =
            KNOWN.iter().find(|(known, ..)| *known == name).map_or(&[][..], |known| known.1);
        let circle: Vec<&str> = in_circles(&graph).into_iter().collect();
        let new: Vec<&&str> = circle.iter().filter(|module| !known.contains(module)).collect();
        assert!(
            new.is_empty(),
            "modules of {name} that need themselves by way of others: {new:?}\n{}",
            ways(&graph, &circle)
        );
        let gone: Vec<&&str> = known.iter().filter(|module| !circle.contains(module)).collect();
        assert!(gone.is_empty(), "no longer in a circle, strike them from the list: {gone:?}");
    }
}

#[test]
fn what_a_module_names_is_found_in_every_form_and_not_in_comments_and_tests() {
    let text = "use crate::{one, two::{self, Thing}, three as other};\n// crate::comment\nfn f() { crate::four::call() }\n#[cfg(test)]\nmod tests { use crate::five; }\n";
    let found: BTreeSet<String> = named(text);
    let expected = ["four", "one", "three", "two"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
    let graph = |pairs: &[(&str, &str)]| -> Graph {
        let mut graph = Graph::new();
        for (from, to) in pairs {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            graph.entry((*to).to_owned()).or_default();
        }
        graph
    };
    assert!(in_circles(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    let circle = graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]);
    assert_eq!(in_circles(&circle), BTreeSet::from(["b", "c"]));
}

fn graph_of(source: &Path) -> Graph {
    let mut graph = Graph::new();
    for path in files(source) {
        let within = path.strip_prefix(source).expect("below it");
        let name = within.iter().next().expect("a file").to_string_lossy();
        let name = name.strip_suffix(".rs").unwrap_or(&name).to_owned();
        let text = fs::read_to_string(&path).expect("a source file");
        graph.entry(name).or_default().extend(named(&text));
    }
    let modules: BTreeSet<String> = graph.keys().cloned().collect();
    for (name, needs) in &mut graph {
        needs.retain(|need| need != name && modules.contains(need));
    }
    graph
}

/// Every source file of a crate but those that are tests alone.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of sources").flatten() {
        let path = entry.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The first name behind each `crate::`.
fn named(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    code.split("crate::").skip(1).flat_map(first_names).collect()
}

/// The names that a path begins with: one, or several in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect()
    };
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names) = (0_usize, vec![name(list)]);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&list[at + 1..])),
            _ => {}
        }
    }
    names
}

/// The modules that are reached from themselves.
fn in_circles(graph: &Graph) -> BTreeSet<&str> {
    let reaches = |from: &str| {
        let (mut seen, mut ahead) = (BTreeSet::new(), vec![from]);
        while let Some(module) = ahead.pop() {
            for next in graph.get(module).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    ahead.push(next);
                }
            }
        }
        seen.contains(from)
    };
    graph.keys().map(String::as_str).filter(|module| reaches(module)).collect()
}

/// Who names whom among them, a line each.
fn ways(graph: &Graph, circle: &[&str]) -> String {
    let line = |module: &&str| {
        let needs: Vec<&str> = graph[*module]
            .iter()
            .map(String::as_str)
            .filter(|need| circle.contains(need))
            .collect();
        format!("{module} -> {}", needs.join(", "))
    };
    circle.iter().map(line).collect::<Vec<_>>().join("\n")
}
