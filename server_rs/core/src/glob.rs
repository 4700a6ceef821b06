//! Patterns of names, for filters of variables and for the sessions that a token is for.

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
