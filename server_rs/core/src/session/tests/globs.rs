use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::{glob::Glob, session::Filter};

/// The definition, without any cleverness.
fn matches(glob: &[char], text: &[char]) -> bool {
    match (glob, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=text.len()).any(|taken| matches(rest, &text[taken..])),
        (['?', glob @ ..], [_, text @ ..]) => matches(glob, text),
        ([g, glob @ ..], [t, text @ ..]) => g == t && matches(glob, text),
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_glob_matches_as_defined(glob in "[ab*?]{0,7}", text in "[ab*?]{0,8}") {
        let (g, t): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
        prop_assert_eq!(Glob::new(&glob).matches(&text), matches(&g, &t));
    }

    #[test]
    fn everything_else_in_a_glob_is_itself(text in "[^*?]{0,20}", other in "[^*?]{0,20}") {
        prop_assert!(Glob::new(&text).matches(&text));
        prop_assert_eq!(Glob::new(&text).matches(&other), text == other);
    }
}

#[test]
fn a_glob_is_anchored_and_escaped() {
    for (glob, text) in
        [("llm_*", "my_llm_x"), ("a.b", "axb"), ("[ab]", "a"), ("a|b", "a"), ("(a)*", "a"), ("a", "aa"), ("^a$", "a")]
    {
        assert!(!Glob::new(glob).matches(text), "{glob} {text}");
    }
    assert!(Glob::new("llm_*").matches("llm_") && Glob::new("ä?").matches("äö") && Glob::new("*").matches(""));
}

#[test]
fn no_glob_can_stall() {
    let started = Instant::now();
    assert!(!Glob::new(&"*a".repeat(10_000)).matches(&"a".repeat(9_999)));
    assert!(!Glob::new(&format!("{}b", "*a".repeat(50))).matches(&"a".repeat(10_000)));
    assert!(Glob::new(&"*".repeat(1_000_000)).matches("anything"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_filter_without_anything_lets_all_through() {
    assert!(Filter::default().matches("x") && Filter::new(Vec::<String>::new(), "").matches("x"));
    let filter = Filter::new(["a"], "b*");
    assert!(filter.matches("a") && filter.matches("bc") && !filter.matches("ab"));
}
