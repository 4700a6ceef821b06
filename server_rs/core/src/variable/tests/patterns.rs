use super::*;

fn text(pattern: &str) -> Spec {
    let limits = StringConstraints { pattern: Some(Pattern::new(pattern)), ..StringConstraints::default() };
    Spec::new(Type::String, Constraints::String(limits))
}

#[test]
fn a_pattern_has_to_match_the_whole_text() {
    for (pattern, matching, other) in [
        ("a|ab", "ab", "abc"),
        ("[a-z]+", "abc", "abc\n"),
        ("(?m)a$", "a", "a\nb"),
        ("", "", "x"),
        (".", "ä", "a\n"),
        ("(?i)yes", "YES", "yess"),
    ] {
        let spec = text(pattern);
        spec.validate().unwrap();
        assert!(spec.accept(&name(), matching.into()).is_ok(), "{pattern}");
        assert_eq!(broken(&spec, other), format!("pattern={pattern}"));
    }
}

#[test]
fn an_invalid_or_oversize_pattern_is_refused_at_registration() {
    for pattern in
        ["(", "a)|(b", "[", "*", r"(a)\1", "(?=a)", "(?:a{1000}){1000}", r"\w{200}", "(?x)a #", r"\p{NoSuch}"]
    {
        assert_eq!(refused_field(&text(pattern)), "constraints.pattern", "{pattern}");
    }
    for pattern in [r"\w+", r"[A-Za-z0-9_]{1,128}", r"\d{4}-\d{2}-\d{2}", r"[\w.+-]+@[\w-]+\.[\w.]+", ".{1,200}"] {
        assert!(text(pattern).validate().is_ok(), "{pattern}");
    }
}

#[test]
fn no_pattern_can_stall() {
    let hostile = format!("{}!", "a".repeat(Pattern::MAX_TEXT - 1));
    for pattern in
        ["(a+)+", "(a|a)*", "(a|aa)+", "(.*)*", "[ab]*a[ab]{3500}c", "(?:a?){500}a{500}", "(?:[a-z]{1,30}a?){60}"]
    {
        let spec = text(pattern);
        spec.validate().unwrap();
        // One that backtracks would not be back before the end of the world.
        let _back = spec.accept(&name(), (&*hostile).into());
    }
    let longer = "a".repeat(Pattern::MAX_TEXT + 1);
    assert!(matches!(text("a*").accept(&name(), (&*longer).into()), Err(Error::ConstraintViolated { .. })));
}
