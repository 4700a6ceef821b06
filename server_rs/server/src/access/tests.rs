#![allow(clippy::unwrap_used, reason = "a test may panic")]

use snakepit_core::access::Role;

use super::*;

fn table(name: &str, token: &str, rest: &str) -> String {
    let digest = Digest::of(token.as_bytes()).hex();
    format!("[[token]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n{rest}\n")
}

const ALL: &str = "sessions = [\"*\"]\nroles = [\"read\"]";

#[test]
fn a_token_is_found_by_its_digest_with_what_it_may() {
    let limited = "sessions = [\"team-?\", \"demo\"]\nroles = [\"write\", \"read_secret\"]";
    let tokens = Tokens::parse(&(table("a", "one", ALL) + &table("b", "two", limited))).unwrap();
    let found = |token: &str| tokens.find(&Digest::of(token.as_bytes())).cloned();
    let b = found("two").unwrap();
    assert_eq!((&*b.name, b.verified), ("b", true));
    let may: Vec<Role> = Role::ALL.into_iter().filter(|role| b.may(*role)).collect();
    assert_eq!(may, [Role::Write, Role::ReadSecret]);
    let reaches = ["team-1", "demo", "team-12", "Demo", ""].map(|session| b.reaches(session));
    assert_eq!(reaches, [true, true, false, false, false]);
    assert!(found("one").unwrap().reaches_all() && !b.reaches_all());
    assert_eq!(found("three"), None);
    assert_eq!(found(""), None);
}

#[test]
fn a_made_token_is_in_its_table_by_digest_only() {
    let made = NewToken::make("π \"quoted\" \\", &[Role::Read, Role::Admin], &["a*".into(), "b".into()]).unwrap();
    assert!(!made.table.contains(&made.token));
    let tokens = Tokens::parse(&made.table).unwrap();
    let principal = tokens.find(&Digest::of(made.token.as_bytes())).unwrap();
    assert_eq!(&*principal.name, "π \"quoted\" \\");
    assert!(principal.may(Role::Admin) && !principal.may(Role::Write) && principal.reaches("ab"));
    assert_ne!(NewToken::make("x", &[], &[]).unwrap().token, NewToken::make("x", &[], &[]).unwrap().token);
    assert!(NewToken::make("", &[], &[]).is_err());
}

#[test]
fn what_is_wrong_with_a_file_is_told_by_its_line_and_without_its_content() {
    let good = table("a", "one", ALL);
    let canary = "spt_canary";
    let cases = [
        (6, good.clone() + "tokne = 1"),
        (2, format!("[[token]]\nname = \"\"\nsha256 = \"{}\"\n{ALL}", "0".repeat(64))),
        (3, format!("[[token]]\nname = \"a\"\nsha256 = \"{canary}\"\n{ALL}")),
        (3, format!("[[token]]\nname = \"a\"\nsha256 = \"{}\"\n{ALL}", "+1".repeat(32))),
        (5, table("a", "one", "sessions = []\nroles = [\"reader\"]")),
        (1, table("a", "one", "sessions = []")),
        (7, good.clone() + &table("a", "two", ALL)),
        (8, good.clone() + &table("b", "one", ALL)),
        (6, good + "[[token"),
        (1, String::new()),
        (2, "# nothing yet\n".into()),
    ];
    for (line, text) in cases {
        let error = Tokens::parse(&text).unwrap_err();
        assert_eq!(error.line, line, "{error} in\n{text}");
        assert!(!error.to_string().contains(canary));
    }
}
