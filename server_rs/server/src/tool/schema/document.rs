//! What a stranger's schema may be: looked through before it is compiled, so that compiling and running it are sure
//! to end.

use std::{
    collections::{HashMap, HashSet},
    ptr,
};

use jsonschema::Draft;
use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

use super::{
    keywords::{ALWAYS, ANCHORS, ELSEWHERE, LEFT_OVER, OPEN, PERHAPS, REFERENCES, held},
    pattern::Pattern,
};

/// How deep a schema may nest.
const MAX_NESTING: usize = 64;
/// How many schemas inside each other may be applied to one value, references counted.
const MAX_CHAIN: usize = 16;
/// How many schemas may be applied to one value in all, references followed.
const MAX_APPLIED: usize = 10_000;
/// The bytes that all patterns together may be compiled to.
const MAX_PATTERNS: usize = 4 * 1024 * 1024;

/// What is known of a schema that may be compiled.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    /// Its version of JSON Schema.
    pub(super) draft: Draft,
    /// The arguments that it declares.
    pub(super) declared: Vec<Declared<'a>>,
    /// Whether others are refused.
    pub(super) closed: bool,
    /// The steps that a byte of a member's name takes where names are matched.
    pub(super) name_cost: usize,
}

/// An argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// What it has to be; none if only its presence is asked for.
    pub(super) schema: Option<&'a Json>,
    /// Whether it has to be given.
    pub(super) required: bool,
}

/// Looks through a schema; says what is wrong with it if it may not be compiled.
pub(super) fn inspect(root: &Json) -> Result<Findings<'_>, String> {
    let Some(top) = root.as_object() else {
        return Err("has to be a JSON object; leave it empty to take any arguments".into());
    };
    if let Some(other) = top.get("type").filter(|ty| *ty != "object") {
        return Err(format!(r#"has to be of "type": "object", as arguments are, not {}"#, shown(other)));
    }
    check_nesting(root, 0)?;
    let draft = Draft::default().detect(root);
    if matches!(draft, Draft::Unknown) {
        return Err(format!(r#"is of the unknown "$schema" {}; 2020-12 is usual"#, shown(&top["$schema"])));
    }
    let mut document = Document {
        root,
        draft,
        anchors: HashMap::new(),
        applied: HashMap::new(),
        repeating: HashSet::new(),
        patterns: Vec::new(),
    };
    document.explore()?;
    let mut weights = HashMap::new();
    document.applied.keys().try_for_each(|schema| document.weigh(*schema, &mut weights, 0).map(drop))?;
    let (declared, closed) = document.declared();
    Ok(Findings { draft, declared, closed, name_cost: document.check_patterns()? })
}

fn check_nesting(json: &Json, depth: usize) -> Result<(), String> {
    if depth > MAX_NESTING {
        return Err(format!("nests more than {MAX_NESTING} levels deep"));
    }
    match json {
        Json::Array(items) => items.iter().try_for_each(|item| check_nesting(item, depth + 1)),
        Json::Object(members) => members.values().try_for_each(|member| check_nesting(member, depth + 1)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(()),
    }
}

/// A schema within the document, by where it is in memory.
type Place = usize;

fn place(schema: &Json) -> Place {
    ptr::from_ref(schema).addr()
}

/// A schema that another one applies to the same value.
#[derive(Clone, Copy)]
struct Applied<'a> {
    schema: &'a Json,
    always: bool,
}

struct Document<'a> {
    root: &'a Json,
    draft: Draft,
    anchors: HashMap<&'a str, &'a Json>,
    /// What each schema applies to the same value.
    applied: HashMap<Place, Vec<Applied<'a>>>,
    /// Those that apply all of it again, to know what it left over.
    repeating: HashSet<Place>,
    /// Whether it is one of names.
    patterns: Vec<(&'a str, bool)>,
}

impl<'a> Document<'a> {
    /// Finds all schemas, from the root and through references.
    fn explore(&mut self) -> Result<(), String> {
        let mut rest = vec![self.root];
        while !rest.is_empty() {
            let mut references = Vec::new();
            while let Some(schema) = rest.pop() {
                if self.applied.contains_key(&place(schema)) {
                    continue;
                }
                self.check_identity(schema)?;
                if LEFT_OVER.iter().any(|keyword| !schema[*keyword].is_null()) {
                    self.repeating.insert(place(schema));
                }
                let (applied, elsewhere) = self.parts(schema);
                rest.extend(applied.iter().map(|applied| applied.schema).chain(elsewhere));
                self.applied.insert(place(schema), applied);
                let texts = REFERENCES.iter().filter_map(|keyword| schema[*keyword].as_str());
                references.extend(texts.map(|reference| (schema, reference)));
            }
            for (schema, reference) in references {
                let target = self.resolve(reference)?;
                self.applied.entry(place(schema)).or_default().push(Applied { schema: target, always: true });
                rest.push(target);
            }
        }
        Ok(())
    }

    fn check_identity(&mut self, schema: &'a Json) -> Result<(), String> {
        for anchor in ANCHORS.iter().filter_map(|keyword| schema[*keyword].as_str()) {
            if self.anchors.insert(anchor, schema).is_some_and(|other| !ptr::eq(other, schema)) {
                return Err(format!("has the anchor {} twice", short(anchor)));
            }
        }
        if ptr::eq(schema, self.root) {
            return Ok(());
        }
        let id = self.draft.id_keyword();
        if let Some(text) = schema[id].as_str() {
            return Err(format!("has the {id:?} {} inside; only the whole schema may have one", short(text)));
        }
        if !schema["$schema"].is_null() && Draft::default().detect(schema) != self.draft {
            return Err(format!(r#"has another "$schema" inside: {}"#, shown(&schema["$schema"])));
        }
        Ok(())
    }

    /// The schemas that this one applies to the same value, and its other ones.
    fn parts(&mut self, schema: &'a Json) -> (Vec<Applied<'a>>, Vec<&'a Json>) {
        let (mut applied, mut elsewhere) = (Vec::new(), Vec::new());
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            let keyword = keyword.as_str();
            let always = ALWAYS.contains(&keyword);
            if always || PERHAPS.contains(&keyword) {
                applied.extend(held(keyword, value).into_iter().map(|schema| Applied { schema, always }));
            } else if ELSEWHERE.contains(&keyword) {
                elsewhere.extend(held(keyword, value));
            }
            if keyword == "pattern" {
                self.patterns.extend(value.as_str().map(|source| (source, false)));
            } else if keyword == "patternProperties" {
                self.patterns
                    .extend(value.as_object().into_iter().flatten().map(|(source, _)| (source.as_str(), true)));
            }
        }
        (applied, elsewhere)
    }

    fn resolve(&self, reference: &str) -> Result<&'a Json, String> {
        let Some(fragment) = reference.strip_prefix('#') else {
            return Err(format!("refers to {}, outside of itself; put it into \"$defs\"", short(reference)));
        };
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let target = match &*fragment {
            pointer if pointer.is_empty() || pointer.starts_with('/') => self.root.pointer(pointer),
            anchor => self.anchors.get(anchor).copied(),
        };
        target.ok_or_else(|| format!("refers to {}, which it does not have", short(reference)))
    }

    /// How many schemas one schema applies to the same value, itself included, and how many inside each other.
    fn weigh(
        &self,
        schema: Place,
        weights: &mut HashMap<Place, Option<(usize, usize)>>,
        depth: usize,
    ) -> Result<(usize, usize), String> {
        match weights.get(&schema) {
            Some(Some(weight)) => return Ok(*weight),
            Some(None) => return Err("refers to itself without an end, for one and the same value".into()),
            None => weights.insert(schema, None),
        };
        let (mut count, mut chain) = (1_usize, 1);
        for applied in self.applied.get(&schema).into_iter().flatten() {
            if depth >= MAX_CHAIN {
                chain = usize::MAX;
                break;
            }
            let weight = self.weigh(place(applied.schema), weights, depth + 1)?;
            // As measured, and more for one inside the other.
            let times = if self.repeating.contains(&schema) { 3 } else { 1 };
            count = count.saturating_add(weight.0.saturating_mul(times));
            chain = chain.max(weight.1.saturating_add(1));
        }
        if chain > MAX_CHAIN {
            return Err(format!("applies more than {MAX_CHAIN} schemas inside each other to one value"));
        }
        if count > MAX_APPLIED {
            return Err(format!("applies more than {MAX_APPLIED} schemas to one value"));
        }
        weights.insert(schema, Some((count, chain)));
        Ok((count, chain))
    }

    /// The arguments that are declared for the whole, and whether nothing is said of others.
    fn declared(&self) -> (Vec<Declared<'a>>, bool) {
        let mut declared: Vec<Declared<'a>> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut closed = true;
        let mut seen = HashSet::new();
        let mut rest = vec![Applied { schema: self.root, always: true }];
        while let Some(Applied { schema, always }) = rest.pop() {
            if !seen.insert((place(schema), always)) {
                continue;
            }
            closed &= OPEN.iter().all(|keyword| schema[*keyword].is_null());
            let properties = schema["properties"].as_object().into_iter().flatten();
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
            let arguments = properties
                .map(|(name, schema)| Declared { name, schema: Some(schema), required: false })
                .chain(required.map(|name| Declared { name, schema: None, required: always }));
            for argument in arguments {
                let index = *known.entry(argument.name).or_insert_with(|| {
                    declared.push(argument);
                    declared.len() - 1
                });
                declared[index].required |= argument.required;
                declared[index].schema = declared[index].schema.or(argument.schema);
            }
            let applied = self.applied.get(&place(schema)).into_iter().flatten();
            rest.extend(applied.rev().map(|applied| Applied { always: always && applied.always, ..*applied }));
        }
        (declared, closed)
    }

    /// The steps that a byte of a member's name takes.
    fn check_patterns(&self) -> Result<usize, String> {
        let (mut name_cost, mut size) = (0, 0);
        for (source, of_names) in &self.patterns {
            let problem = |problem| format!("has a pattern that {problem}: {}", short(source));
            let pattern = Pattern::compile(source).map_err(problem)?;
            name_cost += if *of_names { pattern.cost() } else { 0 };
            size += pattern.size();
            if size > MAX_PATTERNS {
                return Err(format!("has patterns that compile to more than {MAX_PATTERNS} bytes together"));
            }
        }
        Ok(name_cost)
    }
}

/// Text of a stranger, for a message.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// The same for what may be anything.
pub(super) fn shown(json: &Json) -> String {
    json.as_str().map_or_else(|| short(&json.to_string()), short)
}
