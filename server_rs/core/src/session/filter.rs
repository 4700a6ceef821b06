//! Which variables someone is interested in.

use std::collections::BTreeSet;

/// Names and a glob; a variable matches if either has it. With neither, all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    names: BTreeSet<String>,
    pattern: Option<Glob>,
}

impl Filter {
    /// A filter of names, whether they exist or not, and a glob, unless it is empty.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>, pattern: &str) -> Self {
        let pattern = (!pattern.is_empty()).then(|| Glob::new(pattern));
        Self { names: names.into_iter().map(Into::into).collect(), pattern }
    }

    /// Whether it lets the name through.
    pub fn matches(&self, name: &str) -> bool {
        self.is_everything()
            || self.names.contains(name)
            || self.pattern.as_ref().is_some_and(|glob| glob.matches(name))
    }

    /// The names asked for one by one, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether only names asked for one by one match.
    pub(super) fn is_names_only(&self) -> bool {
        self.pattern.is_none() && !self.names.is_empty()
    }

    fn is_everything(&self) -> bool {
        self.pattern.is_none() && self.names.is_empty()
    }
}

/// A pattern for a whole text: `*` is any run of characters, `?` any one, all else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<[char]>);

impl Glob {
    /// Any text is a glob.
    pub fn new(pattern: &str) -> Self {
        let mut chars: Vec<char> = pattern.chars().collect();
        chars.dedup_by(|a, b| *a == '*' && *b == '*');
        Self(chars.into())
    }

    /// Whether the whole text matches. Takes at most the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let (glob, text): (&[char], Vec<char>) = (&self.0, text.chars().collect());
        let (mut g, mut t) = (0, 0);
        // Where the last star is, and up to where in the text it reaches: only that star ever has to take more.
        let mut star = None;
        while t < text.len() {
            match glob.get(g) {
                Some('*') => {
                    star = Some((g, t));
                    g += 1;
                }
                Some(c) if *c == '?' || *c == text[t] => (g, t) = (g + 1, t + 1),
                Some(_) | None => match &mut star {
                    Some((at, reach)) => {
                        *reach += 1;
                        (g, t) = (*at + 1, *reach);
                    }
                    None => return false,
                },
            }
        }
        glob[g..].iter().all(|c| *c == '*')
    }
}
