//! No circle of modules, in any crate of the server: of the children of one module, none leads back to itself through
//! `use`, however deep inside them the imports stand. Cargo sees to the same between the crates.
//!
//! A module may use what its parent has, and a parent its children: those are one subject.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use regex::Regex;

const CRATES: [&str; 5] = ["core", "proto", "client", "server", "cli"];
/// What only tests see may look at everything.
const OF_TESTS: [&str; 4] = ["tests", "hostile", "properties", "testing"];

type Module = Vec<String>;
/// The edges between the children of a module, each with an example.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn no_module_uses_itself_through_its_siblings() {
    for name in CRATES {
        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"));
        assert!(sources.len() > 2, "{name} has hardly a module: were its sources found?");
        for (parent, edges) in uses(&sources) {
            let circle = circle(&edges);
            assert!(circle.is_none(), "a circle in {name}::{}: {}", parent.join("::"), circle.unwrap());
        }
    }
}

#[test]
fn a_circle_is_found_through_re_exports_and_children_and_nothing_else_is_one() {
    let sources = |texts: &[(&str, &str)]| {
        texts.iter().map(|(module, text)| (parts(module), (*text).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let circles = |texts: &[(&str, &str)]| uses(&sources(texts)).values().filter_map(circle).count();
    let through_a_re_export = [
        ("a", "pub use one::{Thing, More};"),
        ("a::one", "use super::two::deep::Other;"),
        ("a::two", ""),
        ("a::two::deep", "use crate::{a::More, b};"),
        ("b", ""),
    ];
    assert_eq!(circles(&through_a_re_export), 1);
    let parents_and_children =
        [("a", "use one::Thing; struct Own;"), ("a::one", "use super::Own;"), ("b", "use crate::a::Own;")];
    assert_eq!(circles(&parents_and_children), 0);
}

/// The text of each module, without comments and without what only tests see.
fn sources(directory: &Path) -> BTreeMap<Module, String> {
    let comment = Regex::new("//[^\n]*").unwrap();
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(directory).unwrap().with_extension("");
        let mut module: Module = name.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if ["mod", "lib", "main"].contains(&&**module.last().unwrap()) {
            module.pop();
        }
        if module.iter().all(|part| !OF_TESTS.contains(&&**part)) {
            let text = fs::read_to_string(path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            found.insert(module, comment.replace_all(text, "").into_owned());
        }
    }
    found
}

/// Who uses whom among the children of each module.
fn uses(sources: &BTreeMap<Module, String>) -> BTreeMap<Module, Edges> {
    let statement = Regex::new(r"\buse\s+([^;]+);").unwrap();
    let inline = Regex::new(r"\b(?:crate|super|self)(?:::\w+)+").unwrap();
    let (mut paths, mut names) = (Vec::new(), BTreeMap::new());
    for (module, text) in sources {
        for found in statement.captures_iter(text) {
            for leaf in leaves(&found[1]) {
                let (path, alias) = leaf.split_once(" as ").unwrap_or((&leaf, ""));
                let path = path.trim_end_matches("::self");
                if let Some(path) = absolute(sources, module, path) {
                    let name =
                        if alias.is_empty() { path.last().cloned().unwrap_or_default() } else { alias.to_owned() };
                    names.insert((module.clone(), name), path.clone());
                    paths.push((module, path));
                }
            }
        }
        let rest = statement.replace_all(text, "");
        paths.extend(inline.find_iter(&rest).filter_map(|it| Some((module, absolute(sources, module, it.as_str())?))));
    }
    let mut edges: BTreeMap<Module, Edges> = BTreeMap::new();
    for (from, path) in paths {
        let to = resolve(sources, &names, &path, 5);
        let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        if common < from.len() && common < to.len() {
            let example = format!("{} uses {}", from.join("::"), to.join("::"));
            let siblings = edges.entry(from[..common].to_vec()).or_default();
            siblings.entry(from[common].clone()).or_default().entry(to[common].clone()).or_insert(example);
        }
    }
    edges
}

/// The paths of a use tree, without white space but around `as`. None of what only looks like one, in a message.
fn leaves(tree: &str) -> Vec<String> {
    let tree = tree.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((before, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let Some(inner) = rest.trim().strip_suffix('}') else { return Vec::new() };
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(leaves).map(|leaf| format!("{}{leaf}", before.trim())).collect()
}

/// Where a path begins, from the root of the crate; none if it leads out of it.
fn absolute(sources: &BTreeMap<Module, String>, module: &Module, path: &str) -> Option<Module> {
    let mut path = parts(path);
    let mut base = module.clone();
    match &*path[0] {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            while path.first().is_some_and(|part| part == "super") {
                path.remove(0);
                base.pop();
            }
            return Some([base, path].concat());
        }
        child => {
            let is_own = sources.contains_key(&[&**module, &[child.to_owned()]].concat());
            return is_own.then(|| [base, path].concat());
        }
    }
    Some([base, path.split_off(1)].concat())
}

/// The module that a path leads into: where what it names was re-exported, the module that has it.
fn resolve(
    sources: &BTreeMap<Module, String>,
    names: &BTreeMap<(Module, String), Module>,
    path: &[String],
    patience: usize,
) -> Module {
    let known = (0..=path.len()).rev().find(|length| sources.contains_key(&path[..*length])).unwrap_or_default();
    let (module, rest) = path.split_at(known);
    if let Some(name) = rest.first()
        && let Some(target) = names.get(&(module.to_vec(), name.clone()))
        && patience > 0
        && target[..] != path[..=known]
    {
        return resolve(sources, names, &[&**target, &rest[1..]].concat(), patience - 1);
    }
    module.to_vec()
}

fn parts(path: &str) -> Module {
    path.split("::").map(|part| part.trim().to_owned()).collect()
}

/// A way from a child back to itself, as the imports that it consists of.
fn circle(edges: &Edges) -> Option<String> {
    edges.keys().find_map(|start| {
        let (mut open, mut seen) = (vec![(start, String::new())], BTreeSet::new());
        while let Some((at, way)) = open.pop() {
            for (next, example) in edges.get(at).into_iter().flatten() {
                let way = format!("{way}\n  {example}");
                if next == start {
                    return Some(way);
                }
                if seen.insert(next) {
                    open.push((next, way));
                }
            }
        }
        None
    })
}
